package courier

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// paymentsByNumber reads what is recorded under transaction numbers.
func paymentsByNumber(ctx context.Context, tx *sqlx.Tx, numbers []string) (map[string]Payment, error) {
	found := map[string]Payment{}
	if len(numbers) == 0 {
		return found, nil
	}
	var rows []paymentRow
	err := tx.SelectContext(ctx, &rows, `SELECT `+paymentColumns+` FROM payments WHERE transaction_no = ANY($1)`, pq.Array(numbers))
	if err != nil {
		return nil, fmt.Errorf("read %d transactions: %w", len(numbers), err)
	}
	for _, r := range rows {
		found[r.TransactionNo] = r.payment()
	}
	return found, nil
}

// insertPayments writes payments and returns the ids of those it wrote: a number that came in meanwhile is left out. In
// the order of numbers, so that two of them wait for each other in one direction only.
func insertPayments(ctx context.Context, tx *sqlx.Tx, byNumber map[string]Payment) (map[uuid.UUID]bool, error) {
	n := len(byNumber)
	if n == 0 {
		return nil, nil
	}
	var ids, deliveries, kinds, numbers, methods, by []string
	var amounts []int64
	var paid, recorded []time.Time
	for _, no := range slices.Sorted(maps.Keys(byNumber)) {
		p := byNumber[no]
		ids, deliveries, kinds = append(ids, p.ID.String()), append(deliveries, p.DeliveryID.String()), append(kinds, p.Kind)
		numbers, methods, by = append(numbers, no), append(methods, p.Method), append(by, p.RecordedBy)
		amounts, paid, recorded = append(amounts, p.AmountFen), append(paid, p.PaidAt), append(recorded, p.RecordedAt)
	}
	var written []uuid.UUID
	err := tx.SelectContext(ctx, &written, `
		INSERT INTO payments (id, delivery_id, kind, transaction_no, method, amount_fen, paid_at, recorded_at, recorded_by)
		SELECT id, delivery_id, kind, transaction_no, method, amount_fen, paid_at, recorded_at, recorded_by
		FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::timestamptz[], $8::timestamptz[], $9::text[])
			AS p(id, delivery_id, kind, transaction_no, method, amount_fen, paid_at, recorded_at, recorded_by)
		ORDER BY transaction_no
		ON CONFLICT (transaction_no) DO NOTHING
		RETURNING id`,
		pq.Array(ids), pq.Array(deliveries), pq.Array(kinds), pq.Array(numbers), pq.Array(methods), pq.Array(amounts), timeArray(paid),
		timeArray(recorded), pq.Array(by))
	if err != nil {
		return nil, fmt.Errorf("insert %d payments: %w", n, err)
	}
	set := make(map[uuid.UUID]bool, len(written))
	for _, id := range written {
		set[id] = true
	}
	return set, nil
}

// saveSums writes the sums of money of locked deliveries. What waits for payment becomes due for an order at wall; it
// is ordered only once it is approved.
func saveSums(ctx context.Context, tx *sqlx.Tx, ids []uuid.UUID, deliveries map[uuid.UUID]*Delivery, wall time.Time) error {
	n := len(ids)
	paid, due, refunded := make([]int64, n), make([]int64, n), make([]int64, n)
	for i, id := range ids {
		d := deliveries[id]
		paid[i], due[i], refunded[i] = d.PaidFen, d.RefundDueFen, d.RefundedFen
	}
	_, err := tx.ExecContext(ctx, `
		UPDATE deliveries d
		SET paid_fen = s.paid, refund_due_fen = s.due, refunded_fen = s.refunded,
			next_attempt_at = CASE WHEN d.status = 'awaiting_payment' THEN $5::timestamptz ELSE d.next_attempt_at END
		FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[]) AS s(id, paid, due, refunded)
		WHERE d.id = s.id`, pq.Array(uuidTexts(ids)), pq.Array(paid), pq.Array(due), pq.Array(refunded), sql.NullTime{Time: wall, Valid: !wall.IsZero()})
	if err != nil {
		return fmt.Errorf("save the sums of %d deliveries: %w", n, err)
	}
	return nil
}
