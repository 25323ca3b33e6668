package courier

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// dueCharges reads a chunk of envelopes whose charge is not known; the index deliveries_postage_due has just these.
func dueCharges(ctx context.Context, db *sqlx.DB, after uuid.UUID, limit int) ([]audited, error) {
	var items []audited
	err := db.SelectContext(ctx, &items, `
		SELECT id, waybill_no, fee_fen FROM deliveries
		WHERE postage_fen IS NULL AND payment_method = 'prepaid'
			AND status IN ('accepted', 'in_transit', 'out_for_delivery', 'attempt_failed', 'held', 'delivered', 'returning', 'returned')
			AND id > $1
		ORDER BY id
		LIMIT $2`, after, limit)
	if err != nil {
		return nil, fmt.Errorf("read envelopes without postage: %w", err)
	}
	return items, nil
}

// storeCharges writes the charges, each with its event.
func storeCharges(ctx context.Context, tx *sqlx.Tx, items []audited, now time.Time) error {
	ids, fen, weights := make([]string, len(items)), make([]int64, len(items)), make([]int64, len(items))
	events := make([]NewEvent, len(items))
	for i, it := range items {
		ids[i], fen[i], weights[i] = it.ID.String(), it.charge.Fen, int64(it.charge.WeightG)
		events[i] = NewEvent{DeliveryID: it.ID, Type: EventCharged, At: now, Data: EventData{FeeFen: it.FeeFen, AmountFen: it.charge.Fen}}
	}
	_, err := tx.ExecContext(ctx, `
		UPDATE deliveries d SET postage_fen = c.fen, postage_weight_g = c.weight
		FROM unnest($1::uuid[], $2::bigint[], $3::integer[]) AS c(id, fen, weight)
		WHERE d.id = c.id`, pq.Array(ids), pq.Array(fen), pq.Array(weights))
	if err != nil {
		return fmt.Errorf("store postage of %d envelopes: %w", len(items), err)
	}
	return AppendEvents(ctx, tx, events)
}

func longUnpaid(ctx context.Context, tx *sqlx.Tx, before time.Time) ([]uuid.UUID, error) {
	var ids []uuid.UUID
	err := tx.SelectContext(ctx, &ids, `
		SELECT id FROM deliveries d
		WHERE status = 'awaiting_payment' AND status_since < $1
			AND NOT EXISTS (SELECT 1 FROM cases c WHERE c.delivery_id = d.id AND c.kind = 'unpaid')
		ORDER BY status_since
		LIMIT 1000`, before)
	if err != nil {
		return nil, fmt.Errorf("read unpaid deliveries: %w", err)
	}
	return ids, nil
}

func settledUnpaid(ctx context.Context, tx *sqlx.Tx) ([]uuid.UUID, error) {
	var ids []uuid.UUID
	err := tx.SelectContext(ctx, &ids, `
		SELECT c.delivery_id FROM cases c JOIN deliveries d ON d.id = c.delivery_id
		WHERE c.kind = 'unpaid' AND c.closed_at IS NULL AND d.status <> 'awaiting_payment'
		LIMIT 1000`)
	if err != nil {
		return nil, fmt.Errorf("read settled cases: %w", err)
	}
	return ids, nil
}
