package bench

import (
	"context"
	"fmt"

	"emsd/tracking"

	"github.com/jmoiron/sqlx"
)

// measureSlow gives P7. A courier that takes its time leaves only the workers to set the pace.
func (b *bench) measureSlow(ctx context.Context) error {
	for _, workers := range b.Sizes.Crowds {
		ideal := float64(workers) / slowness.Seconds()
		n := int(ideal * b.Sizes.SlowSeconds)
		product, err := b.slow(ctx, "poll-slow", n, workers)
		if err != nil {
			return err
		}
		floor, err := b.slow(ctx, "poll-slow-floor", n, workers)
		if err != nil {
			return err
		}
		b.say("slow: %d workers: product %.0f/s, floor %.0f/s, of %.0f", workers, product.Steady, floor.Steady, ideal)
		bound, stretch := 0.97, 0.99
		if workers >= 1024 {
			bound, stretch = 0.90, 0.97
		}
		what := fmt.Sprintf("polls a second of a courier that takes %s, %s workers; beside it: ", slowness, count(workers))
		b.report.add(against("P7", what+"workers ÷ latency", "/s", []float64{product.Steady}, []float64{ideal}).atLeast(bound, stretch),
			against("P7", "– the same; beside it: the floor", "/s", []float64{product.Steady}, []float64{floor.Steady}))
	}
	return nil
}

func (b *bench) slow(ctx context.Context, kind string, n, workers int) (r result, err error) {
	err = b.within(ctx, func(db *sqlx.DB, dsn string) error {
		p := pollRun{n: n, floor: kind == "poll-slow-floor"}
		if p.floor {
			err = seedFloorPolls(ctx, db, n, businessNow)
		} else {
			err = seedPolls(ctx, db, n, businessNow, b.prints, false)
		}
		if err != nil {
			return err
		}
		if err := settle(ctx, db); err != nil {
			return err
		}
		if r, err = b.counted(ctx, task{Kind: kind, DSN: dsn, URL: b.stub + pathSlow, Items: n, Workers: workers, Now: businessNow}, n, 0); err != nil {
			return err
		}
		return checkPolls(ctx, db, p)
	})
	return r, err
}

// slowProduct is pollProduct that notes when each answer came.
func slowProduct(ctx context.Context, t task, m *meter) error {
	db, client, reg, err := t.product(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	defer client.Close()
	clock := clockFrom(t.Now)
	w := &watch{now: clock.Now}
	p := tracking.NewPoller(db, benchVault(), &watched{client, w}, clock, tracking.Options{Concurrency: t.Workers}, quiet, tracking.NewMetrics(reg))
	if err := m.start(ctx, db); err != nil {
		return err
	}
	if err := p.Round(ctx); err != nil {
		return err
	}
	m.Steady = w.steady()
	return m.stop(ctx, db, t.Items)
}

// slowFloor is pollFloor that notes when each answer came.
func slowFloor(ctx context.Context, t task, m *meter) error {
	db, err := open(ctx, t.DSN)
	if err != nil {
		return err
	}
	defer db.Close()
	wire, err := newFloorWire(t.URL, t.Workers)
	if err != nil {
		return err
	}
	w := &watch{now: clockFrom(t.Now).Now}
	wire.watch = w
	if err := m.start(ctx, db); err != nil {
		return err
	}
	workers := newPool(t.Workers)
	defer workers.close()
	if err := lanes(func() (int, error) { return pollFloorChunk(ctx, db, wire, workers, t.Now) }); err != nil {
		return err
	}
	m.Steady = w.steady()
	return m.stop(ctx, db, t.Items)
}
