package tracking

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"emsd/courier"
)

// A round is the workers that all lanes share, and what they learn about EMS together.
type round struct {
	asker   Asker
	workers int
	limit   int64 // failures in a row that mean that EMS is away

	start sync.Once
	jobs  chan job
	wg    sync.WaitGroup

	inARow atomic.Int64
	down   atomic.Bool
	last   atomic.Pointer[error]
	away   *atomic.Bool
}

type job struct {
	ctx  context.Context
	a    *asked
	done *sync.WaitGroup
}

func (p *Poller) newRound() *round {
	limit := p.patience()
	if p.away.Load() {
		limit = 1
	}
	return &round{asker: p.asker, workers: p.opts.Concurrency, limit: limit, jobs: make(chan job, p.opts.Concurrency), away: &p.away}
}

// patience is how many failures in a row mean that EMS is away, and not that some waybills are odd.
func (p *Poller) patience() int64 { return int64(max(20, p.opts.Concurrency)) }

// close ends the workers; ask must not be running.
func (r *round) close() {
	close(r.jobs)
	r.wg.Wait()
}

// ask asks about every row and returns when each has its answer or was passed over.
func (r *round) ask(ctx context.Context, rows []asked) {
	r.start.Do(func() {
		for range r.workers {
			r.wg.Go(r.work)
		}
	})
	var done sync.WaitGroup
	done.Add(len(rows))
	for i := range rows {
		r.jobs <- job{ctx, &rows[i], &done}
	}
	done.Wait()
}

func (r *round) work() {
	for j := range r.jobs {
		if !r.down.Load() && j.ctx.Err() == nil {
			r.one(j.ctx, j.a)
		}
		j.done.Done()
	}
}

func (r *round) one(ctx context.Context, a *asked) {
	a.trace, a.err = guarded(ctx, r.asker, a.no, a.fingerprint^salt)
	if a.err == nil {
		a.done = true
		if r.inARow.Load() != 0 {
			r.inARow.Store(0)
		}
		return
	}
	if ctx.Err() != nil {
		return // given up by us: says nothing about EMS
	}
	a.done = true
	r.last.Store(&a.err)
	breaker, _ := r.asker.(interface{ Open() bool })
	if r.inARow.Add(1) >= r.limit || breaker != nil && breaker.Open() {
		r.down.Store(true)
		r.away.Store(true)
	}
}

// guarded keeps an answer that nobody foresaw from taking the daemon down with it.
func guarded(ctx context.Context, a Asker, waybillNo string, known int64) (t courier.Trace, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("read the trace: panic: %T", v) // not its text, which may quote the answer
		}
	}()
	return a.Trace(ctx, waybillNo, known)
}

// forgiven reports whether a failure is not held against its waybill: nothing left this machine because EMS is away.
func (r *round) forgiven(err error) bool {
	ce, ok := errors.AsType[*courier.CarrierError](err)
	return ok && ce.Kind == courier.Unsent && r.down.Load()
}

// silence says why the round ended early.
func (r *round) silence() error {
	if last := r.last.Load(); last != nil {
		return fmt.Errorf("%w: %w", errSilent, *last)
	}
	return errSilent
}
