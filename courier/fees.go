package courier

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// A Charge is what EMS charged for an envelope that it accepted (050001).
type Charge struct {
	Fen     int64
	WeightG int
}

// A Charger tells the charge of a waybill; ErrNotFound while there is none yet.
type Charger interface {
	Charge(ctx context.Context, waybillNo string) (Charge, error)
}

// feeChunk and feeCalls bound a chunk of the fee round, which is in no hurry.
const (
	feeChunk = 200
	feeCalls = 8
)

// feeCaseWithin is how long a clerk has for a difference: bills come monthly.
const feeCaseWithin = 7 * 24 * time.Hour

// A FeeAuditor compares what applicants paid with what EMS charged. Envelopes whose recipients pay the courier are not
// its concern: that money never passes through the account.
type FeeAuditor struct {
	db      *sqlx.DB
	charger Charger
	clock   Clock
	log     *slog.Logger
}

// NewFeeAuditor returns a FeeAuditor; it starts nothing.
func NewFeeAuditor(db *sqlx.DB, c Charger, clock Clock, log *slog.Logger) *FeeAuditor {
	return &FeeAuditor{db, c, clock, log}
}

// An audited is one envelope whose charge is asked for.
type audited struct {
	ID        uuid.UUID `db:"id"`
	WaybillNo string    `db:"waybill_no"`
	FeeFen    int64     `db:"fee_fen"`
	charge    Charge
	err       error
}

// Round asks once for every envelope whose charge is not known, and opens a case where it differs from the fee.
func (f *FeeAuditor) Round(ctx context.Context) error {
	var after uuid.UUID
	for ctx.Err() == nil {
		items, err := dueCharges(ctx, f.db, after, feeChunk)
		if err != nil || len(items) == 0 {
			return err
		}
		after = items[len(items)-1].ID
		f.ask(ctx, items)
		if err := f.store(ctx, items); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (f *FeeAuditor) ask(ctx context.Context, items []audited) {
	slots := make(chan struct{}, feeCalls)
	var wg sync.WaitGroup
	for i := range items {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			items[i].charge, items[i].err = f.charger.Charge(ctx, items[i].WaybillNo)
		})
	}
	wg.Wait()
}

func (f *FeeAuditor) store(ctx context.Context, items []audited) error {
	now := f.clock.Now()
	var known []audited
	failed := 0
	for _, it := range items {
		switch {
		case it.err == nil:
			known = append(known, it)
		case !errors.Is(it.err, ErrNotFound):
			failed++
		}
	}
	if failed > 0 {
		f.log.Warn("postage not answered, asked again at the next turn", "waybills", failed)
	}
	if len(known) == 0 {
		return nil
	}
	return InTx(ctx, f.db, func(tx *sqlx.Tx) error {
		if err := storeCharges(ctx, tx, known, now); err != nil {
			return err
		}
		return OpenCases(ctx, tx, feeCases(known, now))
	})
}

// feeCases tells which charges differ from the fee that was quoted and paid.
func feeCases(items []audited, now time.Time) []NewCase {
	var cases []NewCase
	for _, it := range items {
		if it.charge.Fen == it.FeeFen {
			continue
		}
		cases = append(cases, NewCase{DeliveryID: it.ID, Kind: CaseFeeDifference, OpenedAt: now, DueAt: now.Add(feeCaseWithin),
			NextAction: "核对资费表与EMS实收资费，必要时联系EMS对账",
			Detail:     fmt.Sprintf("收取%s元，EMS实收%s元，计费重量%d克", Yuan(it.FeeFen), Yuan(it.charge.Fen), it.charge.WeightG)})
	}
	return cases
}

// unpaidAfter is how long an applicant may take to pay before a clerk is asked to find out.
const unpaidAfter = 7 * 24 * time.Hour

// UnpaidRound opens a case for each delivery that has waited for its money for long, and closes the cases of those that
// wait no more.
func (s *Service) UnpaidRound(ctx context.Context) error {
	now := s.clock.Now()
	return s.inTx(ctx, func(tx *sqlx.Tx) error {
		waiting, err := longUnpaid(ctx, tx, now.Add(-unpaidAfter))
		if err != nil {
			return err
		}
		cases := make([]NewCase, len(waiting))
		for i, id := range waiting {
			cases[i] = NewCase{DeliveryID: id, Kind: CaseUnpaid, OpenedAt: now, DueAt: now.Add(3 * 24 * time.Hour),
				NextAction: "联系申请人：缴费，或改为到派出所领取", Detail: "批准寄递后超过7天未缴清寄递费"}
		}
		if err := OpenCases(ctx, tx, cases); err != nil {
			return err
		}
		settled, err := settledUnpaid(ctx, tx)
		if err != nil {
			return err
		}
		closings := make([]CaseClosing, len(settled))
		for i, id := range settled {
			closings[i] = CaseClosing{DeliveryID: id, Kind: CaseUnpaid, At: now, Outcome: "settled", By: "emsd", Why: "已缴费或已取消"}
		}
		return CloseCases(ctx, tx, closings)
	})
}
