package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"emsd/courier"
	"emsd/courier/ems"
	"emsd/tracking"

	"github.com/jmoiron/sqlx"
)

// chunkProduct times the product's chunks, one after the other: the claim, and what comes after the answers: the fold of
// the news, all writing and the commit.
func chunkProduct(ctx context.Context, t task, m *meter) error {
	db, client, _, err := t.product(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	defer client.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := &chunkWatch{Client: client, now: t.Now, chunks: t.Items, end: cancel}
	clock := courier.Clock{Now: w.read, Wall: time.Now}
	p := tracking.NewPoller(db, benchVault(), w, clock, tracking.Options{Concurrency: t.Workers, Lanes: 1}, quiet, nil)
	if err := m.start(ctx, db); err != nil {
		return err
	}
	if err := p.Round(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	if len(w.writes) < t.Items {
		return fmt.Errorf("%d of %d chunks were due", len(w.writes), t.Items)
	}
	m.Took, m.Writes = w.claims[min(1, t.Items-1):t.Items], w.writes[min(1, t.Items-1):]
	return m.stop(context.WithoutCancel(ctx), db, t.Items)
}

// A chunkWatch is the clock and the courier of a round with one lane. The round reads the clock right before a claim,
// right after the last answer of a chunk, and first of all when the chunk is committed.
type chunkWatch struct {
	*ems.Client
	now    time.Time
	chunks int
	end    context.CancelFunc

	mu             sync.Mutex
	last, answered time.Time // the clock was read; the same for the end of asking, zero unless a chunk is being written
	asked          int       // of this chunk
	claims, writes []float64
}

func (w *chunkWatch) read() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	switch {
	case !w.answered.IsZero():
		w.writes = append(w.writes, now.Sub(w.answered).Seconds())
		w.asked, w.answered = 0, time.Time{}
		if len(w.writes) == w.chunks {
			w.end()
		}
	case w.asked > 0:
		w.answered = now
	}
	w.last = now
	return w.now
}

// Trace is the client's.
func (w *chunkWatch) Trace(ctx context.Context, waybillNo string, known int64) (courier.Trace, error) {
	w.mu.Lock()
	if w.asked == 0 {
		w.claims = append(w.claims, time.Since(w.last).Seconds())
	}
	w.asked++
	w.mu.Unlock()
	return w.Client.Trace(ctx, waybillNo, known)
}

// planProduct runs rounds as the daemon's schedule does, at the account's rate, while time runs.
func planProduct(ctx context.Context, t task, m *meter) error {
	db, client, reg, err := t.product(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	defer client.Close()
	client.SetRate(t.Rate)
	due, err := readDue(ctx, db, t.Now, t.Now.Add(time.Duration(t.Seconds*float64(time.Second))))
	if err != nil {
		return err
	}
	clock := clockFrom(t.Now)
	w := &watch{now: clock.Now, lags: map[courier.Status][]float64{}, due: func(no string) (courier.Status, time.Time, bool) {
		d, ok := due[no]
		return d.stage, d.at, ok
	}}
	p := tracking.NewPoller(db, benchVault(), &watched{client, w}, clock, tracking.Options{Concurrency: t.Workers, Rate: t.Rate}, quiet, tracking.NewMetrics(reg))
	if err := m.start(ctx, db); err != nil {
		return err
	}
	run, cancel := context.WithTimeout(ctx, time.Duration(t.Seconds*float64(time.Second)))
	defer cancel()
	var wg sync.WaitGroup
	var unseen error
	wg.Go(func() { m.Backlog, unseen = watchBacklog(run, db, clock, t.Tick) })
	err = tick(run, t.Tick, p.Round)
	cancel()
	wg.Wait()
	if err := errors.Join(err, unseen); err != nil {
		return err
	}
	m.Lags = w.lags
	return m.stop(ctx, db, w.count())
}

// tick runs rounds by schedule until ctx ends: a tick that comes while a round runs begins the next one at its end.
func tick(ctx context.Context, seconds float64, round func(context.Context) error) error {
	ticks := time.NewTicker(time.Duration(seconds * float64(time.Second)))
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticks.C:
			if err := round(ctx); err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
}

// watchBacklog counts what waits, as the daemon's metric does, ten times a tick.
func watchBacklog(ctx context.Context, db *sqlx.DB, clock courier.Clock, seconds float64) (waiting []float64, err error) {
	ticks := time.NewTicker(time.Duration(seconds * float64(time.Second) / 10))
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return waiting, nil
		case <-ticks.C:
		}
		stages, err := tracking.Backlogs(ctx, db, clock.Now())
		if err != nil && ctx.Err() == nil {
			return waiting, fmt.Errorf("count what waits: %w", err)
		} else if err != nil {
			return waiting, nil
		}
		sum := 0
		for _, s := range stages {
			sum += s.Due
		}
		waiting = append(waiting, float64(sum))
	}
}
