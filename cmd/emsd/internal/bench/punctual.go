package bench

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"emsd/courier"
	"emsd/tracking"

	"github.com/jmoiron/sqlx"
)

// headStart is how long after the start of a run the first of the evenly due waybills is due.
const headStart = time.Second

// lookAgain is how soon a round begins anew that found nothing due, and a lane of the floor likewise.
const lookAgain = 5 * time.Millisecond

// measurePunctual gives P9: what becomes due evenly at half of what the floor can do is asked about in time.
func (b *bench) measurePunctual(ctx context.Context) error {
	capacity, err := b.poll(ctx, pollRun{n: b.Sizes.Polls, workers: workers, floor: true})
	if err != nil {
		return err
	}
	perSecond := capacity.perSecond() / 2
	n := int(perSecond * b.Sizes.DueSeconds)
	product, err := b.punctual(ctx, "punctual", n, perSecond)
	if err != nil {
		return err
	}
	floor, err := b.punctual(ctx, "punctual-floor", n, perSecond)
	if err != nil {
		return err
	}
	p, f := milliseconds(product.Lags[courier.InTransit]), milliseconds(floor.Lags[courier.InTransit])
	b.say("punctual: at %.0f/s median %.1f ms, 99th %.1f ms; floor %.1f and %.1f", perSecond, median(p), percentile(p, 99), median(f), percentile(f, 99))
	what := fmt.Sprintf("from due to asked at %s a second, half the floor's rate, ", count(int(perSecond)))
	b.report.add(against("P9", what+"median", "ms", []float64{median(p)}, []float64{median(f)}),
		against("P9", what+"99th percentile", "ms", []float64{percentile(p, 99)}, []float64{percentile(f, 99)}).below(100, 25))
	if len(b.Serve) == 0 {
		return nil
	}
	return b.measureIdle(ctx)
}

func (b *bench) punctual(ctx context.Context, kind string, n int, perSecond float64) (r result, err error) {
	err = b.within(ctx, func(db *sqlx.DB, dsn string) error {
		seed := seedEvenly
		p := pollRun{n: n, floor: kind == "punctual-floor"}
		if p.floor {
			seed = seedFloorEvenly
		}
		if err := seed(ctx, db, n, businessNow, businessNow.Add(headStart), perSecond, b.prints.after); err != nil {
			return fmt.Errorf("seed waybills that become due: %w", err)
		}
		if err := settle(ctx, db); err != nil {
			return err
		}
		t := task{Kind: kind, DSN: dsn, URL: b.stub + pathAfter, Items: n, Workers: workers, Now: businessNow, PerSecond: perSecond}
		if r, err = b.counted(ctx, t, n, 0); err != nil {
			return err
		}
		return checkPolls(ctx, db, p)
	})
	return r, err
}

func punctualProduct(ctx context.Context, t task, m *meter) error {
	db, client, reg, err := t.product(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	defer client.Close()
	clock := clockFrom(t.Now)
	w := &watch{now: clock.Now, due: evenly(t.Now.Add(headStart), t.PerSecond), lags: map[courier.Status][]float64{}}
	p := tracking.NewPoller(db, benchVault(), &watched{client, w}, clock, tracking.Options{Concurrency: t.Workers}, quiet, tracking.NewMetrics(reg))
	if err := m.start(ctx, db); err != nil {
		return err
	}
	for again := time.NewTicker(lookAgain); w.count() < t.Items; {
		if err := p.Round(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-again.C:
		}
	}
	m.Lags = w.lags
	return m.stop(ctx, db, t.Items)
}

func punctualFloor(ctx context.Context, t task, m *meter) error {
	db, err := open(ctx, t.DSN)
	if err != nil {
		return err
	}
	defer db.Close()
	wire, err := newFloorWire(t.URL, t.Workers)
	if err != nil {
		return err
	}
	clock := clockFrom(t.Now)
	w := &watch{now: clock.Now, due: evenly(t.Now.Add(headStart), t.PerSecond), lags: map[courier.Status][]float64{}}
	wire.watch = w
	if err := m.start(ctx, db); err != nil {
		return err
	}
	workers := newPool(t.Workers)
	defer workers.close()
	err = lanes(func() (int, error) {
		n, err := pollFloorChunk(ctx, db, wire, workers, clock.Now())
		if err != nil || n > 0 || w.count() >= t.Items {
			return n, err
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(lookAgain):
		}
		return 1, nil // look again
	})
	if err != nil {
		return err
	}
	m.Lags = w.lags
	return m.stop(ctx, db, t.Items)
}

// settleIn is how long a daemon is left alone before it counts as idle: its first rounds read tables and make partitions.
const settleIn = 3 * time.Second

// measureIdle gives the second half of P9: the daemon as it is installed, with nothing due.
func (b *bench) measureIdle(ctx context.Context) error {
	return b.within(ctx, func(db *sqlx.DB, dsn string) (err error) {
		dir, err := os.MkdirTemp("", "emsd-bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		daemon, stop, err := b.startDaemon(ctx, dsn, dir)
		if err != nil {
			return fmt.Errorf("start the daemon: %w", err)
		}
		defer func() { err = errors.Join(err, stop()) }()
		if err := wait(ctx, settleIn); err != nil {
			return err
		}
		began, own, all := time.Now(), 0.0, 0.0
		if own, err = treeCPU(daemon); err != nil {
			return err
		}
		if all, err = treeCPU(b.server.PID()); err != nil {
			return err
		}
		if err := wait(ctx, time.Duration(b.Sizes.IdleSeconds*float64(time.Second))); err != nil {
			return err
		}
		took := time.Since(began).Seconds()
		after, err := treeCPU(daemon)
		if err != nil {
			return err
		}
		afterAll, err := treeCPU(b.server.PID())
		if err != nil {
			return err
		}
		share, database := (after-own)/took*100, (afterAll-all)/took*100
		b.say("idle: daemon %.2f %% of a core, PostgreSQL %.2f %%", share, database)
		idle := row{id: "P9", what: "idle daemon, nothing due; beside it: PostgreSQL for it", unit: "% of a core", product: []float64{share}, floor: []float64{database}}
		b.report.add(idle.below(1, 0))
		return nil
	})
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// startDaemon starts the daemon with its defaults on a database and waits until it says that it has.
func (b *bench) startDaemon(ctx context.Context, dsn, dir string) (pid int, stop func() error, err error) {
	key := filepath.Join(dir, "key")
	random := make([]byte, 32)
	rand.Read(random) // never fails
	if err := os.WriteFile(key, []byte(base64.StdEncoding.EncodeToString(random)+"\n"), 0o600); err != nil {
		return 0, nil, err
	}
	cmd := exec.CommandContext(ctx, b.Serve[0], b.Serve[1:]...)
	cmd.Env = append(withoutSettings(os.Environ()), "EMSD_DATABASE_URL="+strings.Replace(dsn, "options=", "application_name=emsd-bench&options=", 1), "EMSD_MASTER_KEY_FILE="+key, "EMSD_EMS_URL="+b.stub+pathAfter,
		"EMSD_EMS_SENDER_NO="+account, "EMSD_EMS_AUTHORIZATION="+authorization, "EMSD_EMS_SECRET="+secret, "EMSD_EMS_NUMBERS=assigned",
		"EMSD_LISTEN=127.0.0.1:0", "EMSD_PUBLIC_LISTEN=127.0.0.1:0", "EMSD_OPS_LISTEN=127.0.0.1:0")
	log, err := cmd.StderrPipe()
	if err != nil {
		return 0, nil, err
	}
	if err := cmd.Start(); err != nil {
		return 0, nil, err
	}
	stop = func() error {
		cmd.Process.Signal(syscall.SIGTERM)
		return cmd.Wait()
	}
	lines, said := bufio.NewScanner(log), ""
	for lines.Scan() {
		said = lines.Text()
		if strings.Contains(said, `"msg":"started"`) {
			go io.Copy(b.progress, log) // ends with the daemon
			return cmd.Process.Pid, stop, nil
		}
	}
	return 0, nil, errors.Join(fmt.Errorf("it ended: %s", said), cmd.Wait())
}

// withoutSettings leaves out what would change how the daemon runs.
func withoutSettings(environ []string) []string {
	var kept []string
	for _, kv := range environ {
		if !strings.HasPrefix(kv, "EMSD_") {
			kept = append(kept, kv)
		}
	}
	return kept
}
