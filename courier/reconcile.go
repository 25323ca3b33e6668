package courier

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// reconcileChunk is small: each item may carry a label.
const reconcileChunk = 64

// ReconcileRound finds out what became of orders whose outcome is not known, until none is due: it asks EMS for the
// reserved number, and sends the order again under the same number only when EMS does not hold it.
func (o *Orderer) ReconcileRound(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := o.reconcileChunk(ctx)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
	}
	o.metrics.succeeded("reconcile", o.clock.Wall())
	return nil
}

func (o *Orderer) reconcileChunk(ctx context.Context) (int, error) {
	limit := reconcileChunk
	if o.away.Load() {
		limit = 1
	}
	wall := o.clock.Wall()
	until := wall.Add(o.opts.Lease)
	jobs, err := o.claimReconciles(ctx, limit, wall, until)
	if err != nil {
		return 0, fmt.Errorf("claim orders of unknown outcome: %w", err)
	}
	if len(jobs) == 0 {
		return 0, nil
	}
	o.at(PointReconcileClaimed)
	asked := make([]settledOrder, len(jobs))
	again := make([]bool, len(jobs))
	o.each(len(jobs), func(i int) { asked[i], again[i] = o.ask(ctx, jobs[i], until) })
	var known []settledOrder
	var repeat []orderJob
	for i, s := range asked {
		if again[i] {
			repeat = append(repeat, s.job)
		} else {
			known = append(known, s)
		}
	}
	if err := o.settle(ctx, known, until); err != nil {
		return 0, fmt.Errorf("record what EMS holds of %d orders: %w", len(known), err)
	}
	if err := o.repeat(ctx, repeat, until); err != nil {
		return 0, err
	}
	o.at(PointReconcileOutcomeWritten)
	return len(jobs), nil
}

// ask asks EMS for the number of j; again means that the order is to be sent once more.
func (o *Orderer) ask(ctx context.Context, j orderJob, until time.Time) (s settledOrder, again bool) {
	s.job = j
	h := notAnswered
	if j.NumberMode == NumbersReserved {
		var pdf []byte
		pdf, h = o.holds(ctx, j.WaybillNo, until)
		o.at(PointReconcileAsked)
		if h == held {
			s.pdf = o.vault.SealBytes("labels.pdf", j.ID, pdf)
		}
	}
	s.step, again = o.opts.afterAsking(j, h)
	return s, again
}

// holds asks whether EMS holds an order under a number; held comes with its label.
func (o *Orderer) holds(ctx context.Context, waybillNo string, until time.Time) ([]byte, holding) {
	ctx, cancel, ok := o.within(ctx, until)
	if !ok {
		return nil, notAnswered
	}
	defer cancel()
	pdf, err := o.carrier.Label(ctx, waybillNo)
	switch {
	case err == nil:
		o.metrics.count("ask", "held", 1)
		return pdf, held
	case errors.Is(err, ErrNoOrder):
		o.metrics.count("ask", "not_held", 1)
		return nil, notHeld
	}
	o.metrics.count("ask", "not_answered", 1)
	return nil, notAnswered
}

// repeat sends orders again under the number that EMS does not hold, each with a committed intent of its own.
func (o *Orderer) repeat(ctx context.Context, jobs []orderJob, until time.Time) error {
	if len(jobs) == 0 {
		return nil
	}
	wall := o.clock.Wall()
	again := wall.Add(o.opts.Lease)
	jobs, err := o.claimAgain(ctx, jobs, wall, until, again)
	if err != nil {
		return fmt.Errorf("write the intent to repeat orders: %w", err)
	}
	o.at(PointReconcileIntentCommitted)
	settled := make([]settledOrder, len(jobs))
	o.each(len(jobs), func(i int) {
		r := o.create(ctx, jobs[i], again)
		o.at(PointReconcileCalled)
		settled[i] = settledOrder{job: jobs[i], reply: r, step: o.opts.afterAgain(jobs[i], r)}
	})
	if err := o.settle(ctx, settled, again); err != nil {
		return fmt.Errorf("record the outcome of %d repeated orders: %w", len(settled), err)
	}
	o.note("create_again", settled)
	return o.reachable(settled)
}
