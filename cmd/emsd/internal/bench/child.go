package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"runtime/pprof"
	"strings"
	"time"

	"emsd/cmd/emsd/internal/heap"
	"emsd/courier"

	"github.com/jmoiron/sqlx"
)

// A task is one measured run. Each is a process of its own, so that all begin with the same heap and no run's memory is
// charged to another.
type task struct {
	Kind      string
	DSN       string
	Postgres  int    // process id of the server
	URL       string // of the stub, with the path that it is to answer
	Items     int
	Workers   int
	Now       time.Time // business time
	Profile   string    // file for a CPU profile
	PerSecond float64   // waybills that become due
	Rate      float64   // calls a second that the account allows; 0 for no limit
	Seconds   float64   // that the run lasts
	Keep      bool      // store answers as they come
	Frozen    bool      // business time stands still
	Tick      float64   // seconds between rounds
	Every     int       // a subscriber wants one in so many events
	Hanging   int       // of the subscribers
	Mark      int       // tell the memory after this many items, too
}

// A result is what a run cost.
type result struct {
	Items       int
	Seconds     float64
	WorkerCPU   float64 // seconds
	PostgresCPU float64
	WAL         int64 // bytes
	PeakRSS     int64
	MarkRSS     int64
	Steady      float64                      // polls a second between start and end of a run
	Lags        map[courier.Status][]float64 // seconds from due to asked
	Writes      []float64                    // seconds from the answers of a chunk to its commit
	Backlog     []float64                    // due waybills, counted from time to time
	Took        []float64                    // seconds of single claims, or from paid to ordered
}

func (r result) perSecond() float64 { return float64(r.Items) / r.Seconds }
func (r result) micros() float64    { return (r.WorkerCPU + r.PostgresCPU) / float64(r.Items) * 1e6 }
func (r result) walEach() float64   { return float64(r.WAL) / float64(r.Items) }

// kindStub runs the stub instead of a task.
const kindStub = "stub"

// kinds are the runs by name. Each measures its own part of itself.
var kinds = map[string]func(context.Context, task, *meter) error{
	"poll":            pollProduct,
	"poll-floor":      pollFloor,
	"poll-slow":       slowProduct,
	"punctual":        punctualProduct,
	"punctual-floor":  punctualFloor,
	"chunks":          chunkProduct,
	"plan":            planProduct,
	"poll-slow-floor": slowFloor,
	"order":           orderProduct,
	"order-floor":     orderFloor,
	"claim":           claimProduct,
	"accept":          acceptProduct,
	"accept-floor":    acceptFloor,
	"import":          importProduct,
	"latency":         latencyProduct,
	"send":            sendProduct,
	"send-floor":      sendFloor,
	"news":            newsProduct,
	"feed":            feedProduct,
	"latency-floor":   latencyFloor,
	"receipts":        receiptProduct,
	"webhooks":        webhookProduct,
}

// Child is the process that Run starts for the stub and for every measured run. It speaks with Run alone: the task comes
// on in, the result goes to out.
func Child(ctx context.Context, in io.Reader, out io.Writer) error {
	r := bufio.NewReader(in)
	line, err := r.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read the task: %w", err)
	}
	var t task
	if err := json.Unmarshal(line, &t); err != nil {
		return fmt.Errorf("read the task: %w", err)
	}
	if t.Kind == kindStub {
		return serveStub(r, out)
	}
	f, known := kinds[t.Kind]
	if !known {
		return fmt.Errorf("no run of kind %q", t.Kind)
	}
	if !strings.HasSuffix(t.Kind, "-floor") {
		heap.Reserve() // as the daemon
	}
	m := &meter{task: t}
	if err := f(ctx, t, m); err != nil {
		return fmt.Errorf("%s: %w", t.Kind, err)
	}
	if m.Seconds == 0 {
		return fmt.Errorf("%s: nothing was measured", t.Kind)
	}
	if m.PeakRSS, err = peakRSS(); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(m.result)
}

// A meter measures the part of a run between start and stop.
type meter struct {
	result
	task     task
	began    time.Time
	worker   float64
	postgres float64
	wal      string
	profile  *os.File
}

func (m *meter) start(ctx context.Context, db *sqlx.DB) (err error) {
	if m.wal, err = walPosition(ctx, db); err != nil {
		return err
	}
	if m.task.Profile != "" {
		if m.profile, err = os.Create(m.task.Profile); err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(m.profile); err != nil {
			return err
		}
	}
	if m.postgres, err = treeCPU(m.task.Postgres); err != nil {
		return err
	}
	if m.worker, err = ownCPU(); err != nil {
		return err
	}
	m.began = time.Now()
	return nil
}

func (m *meter) stop(ctx context.Context, db *sqlx.DB, items int) error {
	m.Seconds, m.Items = time.Since(m.began).Seconds(), items
	worker, err := ownCPU()
	if err != nil {
		return err
	}
	postgres, err := treeCPU(m.task.Postgres)
	if err != nil {
		return err
	}
	m.WorkerCPU, m.PostgresCPU = worker-m.worker, postgres-m.postgres
	if m.profile != nil {
		pprof.StopCPUProfile()
		if err := m.profile.Close(); err != nil {
			return err
		}
	}
	m.WAL, err = walSince(ctx, db, m.wal)
	return err
}

// child starts a process of this program that reads its task from stdin.
func (b *bench) child(ctx context.Context) *exec.Cmd {
	cmd := exec.CommandContext(ctx, b.self[0], b.self[1:]...)
	cmd.Env = append(os.Environ(), ChildEnv+"=1")
	cmd.Stderr = b.progress
	return cmd
}

// ChildEnv is set for children, for programs that cannot tell by their arguments: tests.
const ChildEnv = "EMSD_BENCH_CHILD"

// run measures one task in a process of its own.
func (b *bench) run(ctx context.Context, t task) (result, error) {
	var r result
	t.Postgres = b.server.PID()
	ctx, cancel := context.WithTimeout(ctx, runTimeout)
	defer cancel()
	line, err := json.Marshal(t)
	if err != nil {
		return r, err
	}
	var out bytes.Buffer
	cmd := b.child(ctx)
	cmd.Stdin, cmd.Stdout = bytes.NewReader(append(line, '\n')), &out
	if err := cmd.Run(); err != nil {
		return r, fmt.Errorf("run %s over %d items: %w", t.Kind, t.Items, err)
	}
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		return r, fmt.Errorf("read the result of %s: %w", t.Kind, err)
	}
	return r, nil
}

// startStub starts the stub; stop ends it.
func (b *bench) startStub(ctx context.Context) (stop func() error, err error) {
	cmd := b.child(ctx)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the stub: %w", err)
	}
	stop = func() error { return errors.Join(in.Close(), cmd.Wait()) }
	if _, err := io.WriteString(in, `{"Kind":"`+kindStub+"\"}\n"); err != nil {
		return nil, errors.Join(fmt.Errorf("start the stub: %w", err), stop())
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the stub: %w", err), stop())
	}
	b.stub = strings.TrimSpace(line)
	return stop, nil
}

// asked tells what the stub was asked since the last time.
func (b *bench) asked(ctx context.Context) (c counts, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.stub+pathCount, nil)
	if err != nil {
		return c, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return c, fmt.Errorf("ask the stub for its counts: %w", err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&c); err != nil {
		return c, fmt.Errorf("read the stub's counts: %w", err)
	}
	return c, nil
}
