package courier

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
)

const (
	// labelChunk is small because a label is some 100 kB, and a chunk is held in memory.
	labelChunk = 64
	// labelFailures is when a label that EMS does not have becomes a clerk's business.
	labelFailures = 10
)

// LabelRound fetches the labels that are due and keeps them sealed, until none is. EMS's own links to them expire, and go
// over plain HTTP (dossier section 2.3), so the PDF itself is asked for and kept.
func (o *Orderer) LabelRound(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := o.labelChunk(ctx)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
	}
	o.metrics.succeeded("label", o.clock.Wall())
	return nil
}

// A labelJob is a label to be fetched, held by a lease.
type labelJob struct {
	DeliveryID uuid.UUID `db:"delivery_id"`
	WaybillNo  string    `db:"waybill_no"`
	Failures   int       `db:"failures"`
}

// A fetchedLabel is a label, or how long to wait for it.
type fetchedLabel struct {
	job    labelJob
	sealed []byte
	wait   time.Duration
	clerk  bool
}

func (o *Orderer) labelChunk(ctx context.Context) (int, error) {
	wall := o.clock.Wall()
	until := wall.Add(o.opts.Lease)
	jobs, err := o.claimLabels(ctx, labelChunk, wall, until)
	if err != nil {
		return 0, fmt.Errorf("claim labels: %w", err)
	}
	if len(jobs) == 0 {
		return 0, nil
	}
	fetched := make([]fetchedLabel, len(jobs))
	o.each(len(jobs), func(i int) { fetched[i] = o.fetchLabel(ctx, jobs[i], until) })
	if err := o.writeLabels(context.WithoutCancel(ctx), fetched, o.clock.Now(), o.clock.Wall()); err != nil {
		return 0, fmt.Errorf("keep %d labels: %w", len(fetched), err)
	}
	return len(jobs), nil
}

func (o *Orderer) fetchLabel(ctx context.Context, j labelJob, until time.Time) fetchedLabel {
	f := fetchedLabel{job: j, wait: backoff(o.opts.RetryAfter, o.opts.RetryMax, j.Failures+1)}
	ctx, cancel, ok := o.within(ctx, until)
	if !ok {
		return f
	}
	defer cancel()
	pdf, err := o.carrier.Label(ctx, j.WaybillNo)
	if err == nil {
		f.sealed = o.vault.SealBytes("labels.pdf", j.DeliveryID, pdf)
		o.at(PointLabelFetched)
		o.metrics.count("label", outcomeConfirmed, 1)
		return f
	}
	f.clerk = errors.Is(err, ErrNoOrder) && j.Failures+1 == labelFailures
	o.metrics.count("label", "failed", 1)
	o.log.Warn("a label is not there yet", "delivery", j.DeliveryID, "waybill", j.WaybillNo, "failures", j.Failures+1, "err", err)
	return f
}

// LabelOf gives the label PDF of a delivery, asking EMS when it is not stored yet. ErrNotFound: there is no such
// delivery, or nothing was ordered for it.
func (o *Orderer) LabelOf(ctx context.Context, id uuid.UUID) ([]byte, error) {
	waybillNo, sealed, err := readLabel(ctx, o.db, id)
	if err != nil {
		return nil, err
	}
	if sealed != nil {
		return o.vault.UnsealBytes("labels.pdf", id, sealed)
	}
	pdf, err := o.carrier.Label(ctx, waybillNo)
	if err != nil {
		return nil, fmt.Errorf("fetch the label of delivery %s: %w", id, err)
	}
	f := fetchedLabel{job: labelJob{DeliveryID: id, WaybillNo: waybillNo}, sealed: o.vault.SealBytes("labels.pdf", id, pdf)}
	if err := o.writeLabels(ctx, []fetchedLabel{f}, o.clock.Now(), o.clock.Wall()); err != nil {
		return nil, fmt.Errorf("keep the label of delivery %s: %w", id, err)
	}
	return pdf, nil
}
