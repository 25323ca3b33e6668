package courier

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// claimCancels leases cancellations that are due; those that need 020006 get their intent in the same commit (I-4).
// A delivery that the reconcile round still works on waits for it.
func (o *Orderer) claimCancels(ctx context.Context, limit int, wall, until time.Time) (jobs []cancelJob, err error) {
	err = InTx(ctx, o.db, func(tx *sqlx.Tx) error {
		return tx.SelectContext(ctx, &jobs, `
			WITH due AS (
				SELECT id FROM deliveries
				WHERE cancel_attempt_at <= $1 AND (status <> 'ordering' OR reconcile_at IS NULL)
				ORDER BY cancel_attempt_at, id
				LIMIT $2
				FOR NO KEY UPDATE SKIP LOCKED
			), ranked AS (
				SELECT id, row_number() OVER (ORDER BY id) AS n FROM due
			), claimed AS (
				UPDATE deliveries d SET cancel_attempt_at = $3, reconciles = CASE WHEN d.status = 'ordered' THEN d.reconciles + 1 ELSE d.reconciles END
				FROM ranked r
				WHERE d.id = r.id
				RETURNING d.id, d.status, coalesce(d.number_mode, '') AS number_mode, coalesce(d.order_no, '') AS order_no,
					coalesce(d.waybill_no, '') AS waybill_no, coalesce(nullif(d.cancel_reason, ''), $5) AS reason, d.reconciles AS tries,
					d.status = 'ordered' AS call, ($4 || lpad(to_hex(r.n), 4, '0'))::uuid AS attempt_id
			), lost AS (
				UPDATE order_attempts a SET outcome = 'unknown', finished_at = $1, detail = '进程中断，未记录结果'
				FROM claimed c WHERE a.delivery_id = c.id AND a.waybill_no = c.waybill_no AND a.outcome IS NULL AND a.call = 'cancel'
			), intents AS (
				INSERT INTO order_attempts (id, delivery_id, call, order_no, waybill_no, started_at)
				SELECT attempt_id, id, 'cancel', order_no, waybill_no, $1 FROM claimed WHERE call
			)
			SELECT id, attempt_id, status, number_mode, order_no, waybill_no, reason, tries, call, coalesce((
				SELECT a.outcome FROM order_attempts a WHERE a.delivery_id = claimed.id AND a.call <> 'cancel'
				ORDER BY a.started_at DESC LIMIT 1), '') AS last_order
			FROM claimed ORDER BY id`, wall, limit, until, idPrefix(), defaultCancelReason)
	})
	return jobs, err
}

// writeCancels records a chunk of cancellations.
func (o *Orderer) writeCancels(ctx context.Context, settled []settledCancel, now, wall time.Time) error {
	attempts := make([]settledOrder, len(settled))
	var refused, waiting []settledCancel
	var asked, ids []uuid.UUID
	done := map[Status][]uuid.UUID{}
	for i, s := range settled {
		attempts[i] = settledOrder{job: orderJob{AttemptID: s.job.AttemptID}, reply: s.reply}
		ids = append(ids, s.job.ID)
		switch {
		case s.step.cancelled:
			done[s.job.Status] = append(done[s.job.Status], s.job.ID)
		case s.step.refused:
			refused = append(refused, s)
		case s.step.askOrder:
			asked = append(asked, s.job.ID)
		default:
			waiting = append(waiting, s)
		}
	}
	return InTx(ctx, o.db, func(tx *sqlx.Tx) error {
		readdressed, err := lockForReaddress(ctx, tx, ids)
		if err != nil {
			return err
		}
		if err := closeAttempts(ctx, tx, attempts, wall); err != nil {
			return err
		}
		done[Ordered], err = o.orderAnew(ctx, tx, done[Ordered], readdressed, now, wall)
		if err != nil {
			return err
		}
		for _, from := range []Status{AwaitingPayment, Approved, Ordering, Ordered} {
			if err := o.cancelAt(ctx, tx, from, done[from], now); err != nil {
				return err
			}
		}
		if err := refuseCancels(ctx, tx, refused, now); err != nil {
			return err
		}
		if err := askBeforeCancel(ctx, tx, asked, wall); err != nil {
			return err
		}
		if err := putOffCancels(ctx, tx, waiting, wall); err != nil {
			return err
		}
		var cases []NewCase
		for _, s := range settled {
			step := s.step
			if _, ok := readdressed[s.job.ID]; ok && step.refused {
				step.caseKind, step.action = CaseAddress, actReaddress
			}
			if step.caseKind != "" {
				cases = append(cases, NewCase{DeliveryID: s.job.ID, Kind: step.caseKind, OpenedAt: now, DueAt: now.Add(o.opts.CaseWithin),
					NextAction: step.action, Detail: step.detail})
			}
		}
		return OpenCases(ctx, tx, cases)
	})
}

// cancelAt cancels deliveries that stand at from: nothing is asked about them any more, their number is never used
// again, and money that came in is due back.
func (o *Orderer) cancelAt(ctx context.Context, tx *sqlx.Tx, from Status, ids []uuid.UUID, now time.Time) error {
	if len(ids) == 0 {
		return nil
	}
	moves := make([]Move, len(ids))
	for i, id := range ids {
		moves[i] = Move{ID: id, From: from, To: Cancelled, At: now}
	}
	moved, err := ApplyMoves(ctx, tx, moves)
	if err != nil {
		return err
	}
	if err := o.movedAway(ctx, tx, from, ids, moved, now); err != nil || len(moved) == 0 {
		return err
	}
	var refunds []struct {
		ID  uuid.UUID `db:"id"`
		Fen int64     `db:"fen"`
	}
	// A waybill that is being asked about is passed over: tracking locks it before the delivery, so that waiting for it
	// here would be a deadlock. Tracking looks for cancelled deliveries itself.
	err = tx.SelectContext(ctx, &refunds, `
		WITH gone AS (
			UPDATE deliveries d
			SET cancel_attempt_at = NULL, reconcile_at = NULL, next_attempt_at = NULL, reconciles = 0, refund_due_fen = d.paid_fen - d.refunded_fen
			WHERE d.id = ANY($1::uuid[])
			RETURNING d.id, d.waybill_no, d.refund_due_fen
		), unused AS (
			UPDATE numbers SET state = 'void' FROM gone WHERE numbers.waybill_no = gone.waybill_no
		), idle AS MATERIALIZED (
			SELECT delivery_id FROM waybills WHERE delivery_id = ANY($1::uuid[]) FOR UPDATE SKIP LOCKED
		), untracked AS (
			UPDATE waybills w SET next_poll_at = NULL, stage = 'cancelled' FROM gone JOIN idle ON idle.delivery_id = gone.id WHERE w.delivery_id = gone.id
		), unlabelled AS (
			UPDATE labels l SET next_attempt_at = NULL FROM gone WHERE l.delivery_id = gone.id
		)
		SELECT id, refund_due_fen AS fen FROM gone WHERE refund_due_fen > 0 ORDER BY id`, pq.Array(uuidTexts(moved)))
	if err != nil {
		return err
	}
	events := make([]NewEvent, len(refunds))
	for i, r := range refunds {
		events[i] = NewEvent{DeliveryID: r.ID, Type: EventRefundDue, At: now, Data: EventData{AmountFen: r.Fen}}
	}
	if err := AppendEvents(ctx, tx, events); err != nil {
		return err
	}
	return CloseCases(ctx, tx, cancelledCases(moved, now))
}

func cancelledCases(ids []uuid.UUID, now time.Time) []CaseClosing {
	var closings []CaseClosing
	for _, id := range ids {
		for _, kind := range []CaseKind{CaseOrderRefused, CaseOrderUnknown, CaseAddress, CaseUnpaid} {
			closings = append(closings, CaseClosing{DeliveryID: id, Kind: kind, At: now, Outcome: "cancelled", By: "emsd", Why: "寄递已取消"})
		}
	}
	return closings
}

// movedAway is for deliveries that EMS agreed to cancel but that no longer stand where they stood: scans came in between.
func (o *Orderer) movedAway(ctx context.Context, tx *sqlx.Tx, from Status, ids, moved []uuid.UUID, now time.Time) error {
	if from != Ordered || len(moved) == len(ids) {
		return nil
	}
	var cases []NewCase
	var rest []uuid.UUID
	gone := make(map[uuid.UUID]bool, len(moved))
	for _, id := range moved {
		gone[id] = true
	}
	for _, id := range ids {
		if !gone[id] {
			rest = append(rest, id)
			cases = append(cases, NewCase{DeliveryID: id, Kind: CaseOrderUnknown, OpenedAt: now, DueAt: now.Add(o.opts.CaseWithin),
				NextAction: actStopEnvelope, Detail: "EMS 已同意取消，但邮件同时有了新的轨迹"})
		}
	}
	_, err := tx.ExecContext(ctx, `UPDATE deliveries SET cancel_attempt_at = NULL WHERE id = ANY($1::uuid[]) AND status <> 'cancelled'`, pq.Array(uuidTexts(rest)))
	if err != nil {
		return err
	}
	return OpenCases(ctx, tx, cases)
}

// refuseCancels drops requests that can no longer be met.
func refuseCancels(ctx context.Context, tx *sqlx.Tx, refused []settledCancel, now time.Time) error {
	if len(refused) == 0 {
		return nil
	}
	ids := make([]uuid.UUID, len(refused))
	var askedEMS []uuid.UUID // the others have moved on before
	for i, s := range refused {
		ids[i] = s.job.ID
		if s.job.Call {
			askedEMS = append(askedEMS, s.job.ID)
		}
	}
	var dropped []uuid.UUID
	err := tx.SelectContext(ctx, &dropped, `
		UPDATE deliveries SET cancel_requested_at = NULL, cancel_attempt_at = NULL, reconciles = 0
		WHERE id = ANY($1::uuid[]) AND cancel_requested_at IS NOT NULL AND status <> 'cancelled'
		RETURNING id`, pq.Array(uuidTexts(ids)))
	if err != nil {
		return err
	}
	readdressed, err := endReaddressings(ctx, tx, askedEMS, readdressRefused, now)
	if err != nil {
		return err
	}
	overtaken, err := endReaddressings(ctx, tx, dropped, readdressOvertaken, now) // those that are still open
	if err != nil {
		return err
	}
	for _, s := range refused { // EMS has it, it seems: what may be done for it depends on a scan that nobody has seen yet
		if slices.Contains(readdressed, s.job.ID) {
			if err := askAnew(ctx, tx, s.job.WaybillNo, now); err != nil {
				return err
			}
		}
	}
	readdressed = append(readdressed, overtaken...)
	events := make([]NewEvent, len(dropped))
	for i, id := range dropped {
		events[i] = NewEvent{DeliveryID: id, Type: EventCancelNo, At: now}
		if slices.Contains(readdressed, id) {
			events[i].Type = EventAddressNo
		}
	}
	return AppendEvents(ctx, tx, events)
}

// askBeforeCancel gives orders that were left to a clerk back to the reconcile round.
func askBeforeCancel(ctx context.Context, tx *sqlx.Tx, ids []uuid.UUID, wall time.Time) error {
	if len(ids) == 0 {
		return nil
	}
	_, err := tx.ExecContext(ctx, `
		UPDATE deliveries SET reconcile_at = $2, reconciles = 0
		WHERE id = ANY($1::uuid[]) AND status = 'ordering' AND reconcile_at IS NULL`, pq.Array(uuidTexts(ids)), wall)
	return err
}

func putOffCancels(ctx context.Context, tx *sqlx.Tx, waiting []settledCancel, wall time.Time) error {
	if len(waiting) == 0 {
		return nil
	}
	ids, at, clerk := make([]string, len(waiting)), make([]time.Time, len(waiting)), make([]bool, len(waiting))
	for i, s := range waiting {
		ids[i], at[i], clerk[i] = s.job.ID.String(), wall.Add(s.step.wait), s.step.wait == 0
	}
	_, err := tx.ExecContext(ctx, `
		UPDATE deliveries d SET cancel_attempt_at = CASE WHEN NOT r.clerk THEN r.at END
		FROM unnest($1::uuid[], $2::timestamptz[], $3::boolean[]) AS r(id, at, clerk)
		WHERE d.id = r.id AND d.cancel_attempt_at IS NOT NULL`, pq.Array(ids), timeArray(at), pq.Array(clerk))
	return err
}

// claimUnwanted leases unwanted waybills and writes the intents to cancel them.
func (o *Orderer) claimUnwanted(ctx context.Context, limit int, wall, until time.Time) (jobs []unwantedJob, err error) {
	err = InTx(ctx, o.db, func(tx *sqlx.Tx) error {
		return tx.SelectContext(ctx, &jobs, `
			WITH due AS (
				SELECT waybill_no FROM unwanted_waybills
				WHERE cancel_at <= $1
				ORDER BY cancel_at, waybill_no
				LIMIT $2
				FOR UPDATE SKIP LOCKED
			), ranked AS (
				SELECT waybill_no, row_number() OVER (ORDER BY waybill_no) AS n FROM due
			), claimed AS (
				UPDATE unwanted_waybills u SET cancel_at = $3, tries = u.tries + 1
				FROM ranked r
				WHERE u.waybill_no = r.waybill_no
				RETURNING u.waybill_no, u.delivery_id, u.order_no, u.tries, ($4 || lpad(to_hex(r.n), 4, '0'))::uuid AS attempt_id
			), lost AS (
				UPDATE order_attempts a SET outcome = 'unknown', finished_at = $1, detail = '进程中断，未记录结果'
				FROM claimed c WHERE a.delivery_id = c.delivery_id AND a.waybill_no = c.waybill_no AND a.outcome IS NULL AND a.call = 'cancel'
			), intents AS (
				INSERT INTO order_attempts (id, delivery_id, call, order_no, waybill_no, started_at)
				SELECT attempt_id, delivery_id, 'cancel', order_no, waybill_no, $1 FROM claimed
			)
			SELECT waybill_no, delivery_id, order_no, tries, attempt_id FROM claimed ORDER BY waybill_no`, wall, limit, until, idPrefix())
	})
	return jobs, err
}

// writeUnwanted records what became of unwanted waybills; the last one cancelled closes the case, when its delivery
// has the waybill it should have, or is cancelled.
func (o *Orderer) writeUnwanted(ctx context.Context, settled []settledUnwanted, now, wall time.Time) error {
	n := len(settled)
	numbers, cancelled, clerk := make([]string, n), make([]bool, n), make([]bool, n)
	at, attempts := make([]time.Time, n), make([]settledOrder, n)
	var ids []uuid.UUID
	for i, s := range settled {
		numbers[i], cancelled[i], clerk[i], at[i] = s.job.WaybillNo, s.cancelled, !s.cancelled && s.wait == 0, wall.Add(s.wait)
		attempts[i] = settledOrder{job: orderJob{AttemptID: s.job.AttemptID}, reply: s.reply}
		ids = append(ids, s.job.DeliveryID)
	}
	return InTx(ctx, o.db, func(tx *sqlx.Tx) error {
		if err := closeAttempts(ctx, tx, attempts, wall); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `
			UPDATE unwanted_waybills u
			SET cancelled_at = CASE WHEN r.cancelled THEN $5::timestamptz END, cancel_at = CASE WHEN NOT r.cancelled AND NOT r.clerk THEN r.at END
			FROM unnest($1::text[], $2::boolean[], $3::boolean[], $4::timestamptz[]) AS r(waybill_no, cancelled, clerk, at)
			WHERE u.waybill_no = r.waybill_no AND u.cancelled_at IS NULL`,
			pq.Array(numbers), pq.Array(cancelled), pq.Array(clerk), timeArray(at), wall)
		if err != nil {
			return err
		}
		var settledIDs []uuid.UUID
		err = tx.SelectContext(ctx, &settledIDs, `
			SELECT id FROM deliveries WHERE id = ANY($1::uuid[]) AND status NOT IN ('approved', 'ordering') ORDER BY id`, pq.Array(uuidTexts(ids)))
		if err != nil {
			return err
		}
		return closeOrderCases(ctx, tx, settledIDs, now)
	})
}
