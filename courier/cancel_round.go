package courier

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// cancelChunk bounds one transaction of the cancel round.
const cancelChunk = 200

const (
	defaultCancelReason  = "申请人取消寄递"
	readdressReason      = "收件地址更正，重新下单"
	unwantedCancelReason = "重复生成的运单，作废"
)

// CancelRound carries out the cancellations that were asked for, and cancels the waybills that EMS made beyond what was
// ordered, until none is due.
func (o *Orderer) CancelRound(ctx context.Context) error {
	for _, chunk := range []func(context.Context) (int, error){o.cancelChunk, o.unwantedChunk} {
		for {
			if err := ctx.Err(); err != nil {
				return err
			}
			n, err := chunk(ctx)
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
		}
	}
	o.metrics.succeeded("cancel", o.clock.Wall())
	return nil
}

// A cancelJob is a cancellation that is due, held by a lease; Call says that 020006 is to be sent.
type cancelJob struct {
	ID         uuid.UUID `db:"id"`
	AttemptID  uuid.UUID `db:"attempt_id"`
	Status     Status    `db:"status"`
	NumberMode string    `db:"number_mode"`
	OrderNo    string    `db:"order_no"`
	WaybillNo  string    `db:"waybill_no"`
	Reason     string    `db:"reason"`
	Tries      int       `db:"tries"` // of this cancellation, this one included
	Call       bool      `db:"call"`
	LastOrder  string    `db:"last_order"` // outcome of the last 020003
}

// A settledCancel is a cancelJob with what it came to.
type settledCancel struct {
	job   cancelJob
	reply orderReply // outcome is empty when nothing was sent
	step  cancelStep
}

// A cancelStep is what becomes of a cancellation.
type cancelStep struct {
	cancelled bool
	refused   bool          // it will not be cancelled any more
	askOrder  bool          // whether EMS has the order is not known: the reconcile round finds out first
	wait      time.Duration // else: wall time until the next try; 0: left to a clerk
	caseKind  CaseKind
	action    string
	detail    string
}

func (o *Orderer) cancelChunk(ctx context.Context) (int, error) {
	wall := o.clock.Wall()
	until := wall.Add(o.opts.Lease)
	jobs, err := o.claimCancels(ctx, cancelChunk, wall, until)
	if err != nil {
		return 0, fmt.Errorf("claim cancellations: %w", err)
	}
	if len(jobs) == 0 {
		return 0, nil
	}
	o.at(PointCancelIntentCommitted)
	settled := make([]settledCancel, len(jobs))
	o.each(len(jobs), func(i int) { settled[i] = o.cancel(ctx, jobs[i], until) })
	err = o.persist(ctx, until, func(ctx context.Context) error {
		return o.writeCancels(ctx, settled, o.clock.Now(), o.clock.Wall())
	})
	if err != nil {
		return 0, fmt.Errorf("record %d cancellations: %w", len(settled), err)
	}
	o.at(PointCancelOutcomeWritten)
	return len(jobs), nil
}

// cancel takes one cancellation as far as it goes now.
func (o *Orderer) cancel(ctx context.Context, j cancelJob, until time.Time) settledCancel {
	if !j.Call {
		return settledCancel{job: j, step: o.opts.withoutCall(j)}
	}
	r := o.sendCancel(ctx, j.OrderNo, j.WaybillNo, j.Reason, until)
	if r.outcome == outcomeRefused && j.Tries > 1 && j.NumberMode == NumbersReserved {
		// An earlier call may have got through, and EMS may refuse a second one for that reason.
		if _, h := o.holds(ctx, j.WaybillNo, until); h == notHeld {
			r.outcome, r.detail = outcomeConfirmed, ""
		}
	}
	return settledCancel{job: j, reply: r, step: o.opts.afterCancel(j, r)}
}

// sendCancel sends 020006, once.
func (o *Orderer) sendCancel(ctx context.Context, orderNo, waybillNo, reason string, until time.Time) orderReply {
	ctx, cancel, ok := o.within(ctx, until)
	if !ok {
		return orderReply{outcome: outcomeUnsent, handedBack: true}
	}
	defer cancel()
	err := o.carrier.CancelWaybill(ctx, orderNo, waybillNo, reason)
	o.at(PointCancelCalled)
	r := orderReply{outcome: outcomeConfirmed, retCode: "00000"}
	if err != nil {
		r = judgeError(err, Order{})
	}
	o.metrics.count("cancel", r.outcome, 1)
	return r
}

// withoutCall settles what needs no word to EMS, by the status in which the delivery was found.
func (o OrderOptions) withoutCall(j cancelJob) cancelStep {
	switch {
	case j.Status == AwaitingPayment || j.Status == Approved:
		return cancelStep{cancelled: true}
	case j.Status == Ordering && j.NumberMode == NumbersReserved:
		return cancelStep{askOrder: true}
	case j.Status == Ordering && (j.LastOrder == outcomeRefused || j.LastOrder == outcomeUnsent):
		return cancelStep{cancelled: true}
	case j.Status == Ordering:
		return cancelStep{caseKind: CaseOrderUnknown, action: actAskEMS, detail: "下单结果不明且无预留运单号，无法自动取消"}
	case j.Status.Final():
		return cancelStep{refused: true}
	}
	return cancelStep{refused: true, caseKind: CaseOrderRefused, action: actStopEnvelope, detail: "取消时邮件已交寄"}
}

// afterCancel says what follows an answer to 020006.
func (o OrderOptions) afterCancel(j cancelJob, r orderReply) cancelStep {
	switch r.outcome {
	case outcomeConfirmed:
		return cancelStep{cancelled: true}
	case outcomeRefused:
		return cancelStep{refused: true, caseKind: CaseOrderRefused, action: actStopEnvelope, detail: "EMS 不同意取消：" + withCode(r.retCode, r.detail)}
	}
	if j.Tries >= o.Reconciles {
		// 020006 may be sent again at any time, so it goes on; meanwhile a person knows.
		return cancelStep{wait: o.ReconcileMax, caseKind: CaseOrderUnknown, action: actAskEMS, detail: "多次取消未得到 EMS 明确答复"}
	}
	return cancelStep{wait: backoff(o.RetryAfter, o.RetryMax, j.Tries)}
}

// An unwantedJob is a waybill to be cancelled though no delivery stands for it.
type unwantedJob struct {
	WaybillNo  string    `db:"waybill_no"`
	DeliveryID uuid.UUID `db:"delivery_id"`
	OrderNo    string    `db:"order_no"`
	Tries      int       `db:"tries"`
	AttemptID  uuid.UUID `db:"attempt_id"`
}

// A settledUnwanted is an unwantedJob with what it came to; a zero wait without cancelled leaves it to the clerk.
type settledUnwanted struct {
	job       unwantedJob
	reply     orderReply
	cancelled bool
	wait      time.Duration
}

func (o *Orderer) unwantedChunk(ctx context.Context) (int, error) {
	wall := o.clock.Wall()
	until := wall.Add(o.opts.Lease)
	jobs, err := o.claimUnwanted(ctx, cancelChunk, wall, until)
	if err != nil {
		return 0, fmt.Errorf("claim unwanted waybills: %w", err)
	}
	if len(jobs) == 0 {
		return 0, nil
	}
	o.at(PointCancelIntentCommitted)
	settled := make([]settledUnwanted, len(jobs))
	o.each(len(jobs), func(i int) { settled[i] = o.cancelUnwanted(ctx, jobs[i], until) })
	err = o.persist(ctx, until, func(ctx context.Context) error {
		return o.writeUnwanted(ctx, settled, o.clock.Now(), o.clock.Wall())
	})
	if err != nil {
		return 0, fmt.Errorf("record %d cancelled waybills: %w", len(settled), err)
	}
	o.at(PointCancelOutcomeWritten)
	return len(jobs), nil
}

func (o *Orderer) cancelUnwanted(ctx context.Context, j unwantedJob, until time.Time) settledUnwanted {
	s := settledUnwanted{job: j, reply: o.sendCancel(ctx, j.OrderNo, j.WaybillNo, unwantedCancelReason, until)}
	h := notAnswered
	switch s.reply.outcome {
	case outcomeConfirmed:
		s.cancelled = true
		return s
	case outcomeRefused:
		_, h = o.holds(ctx, j.WaybillNo, until)
	}
	// Refused since an earlier call got through, or since no such waybill was ever made: nothing is held then. A label
	// may be late, so that this is believed the second time only.
	s.cancelled = h == notHeld && j.Tries > 1
	if !s.cancelled && (h != held || j.Tries < o.opts.Reconciles) {
		s.wait = backoff(o.opts.RetryAfter, o.opts.RetryMax, j.Tries)
	}
	if !s.cancelled && s.wait == 0 {
		o.log.Error("EMS does not cancel an unwanted waybill; a clerk must", "delivery", j.DeliveryID, "waybill", j.WaybillNo)
	}
	return s
}
