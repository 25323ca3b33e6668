package courier

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// lockByWaybill locks the deliveries of some waybill numbers, by number. Numbers that nobody has are missing.
func lockByWaybill(ctx context.Context, tx *sqlx.Tx, waybillNos []string) (map[string]*deliveryRow, error) {
	var sane []string
	for _, no := range waybillNos {
		if no = normaliseNo(no); plainNumber(no) && no != "" { // the rest may hold what PostgreSQL does not take as text
			sane = append(sane, no)
		}
	}
	var ids []uuid.UUID
	err := tx.SelectContext(ctx, &ids, `SELECT id FROM deliveries WHERE waybill_no = ANY($1)`, pq.Array(sane))
	if err != nil {
		return nil, fmt.Errorf("find the deliveries of %d waybills: %w", len(sane), err)
	}
	rows, err := lockDeliveries(ctx, tx, ids)
	if err != nil {
		return nil, err
	}
	byNumber := make(map[string]*deliveryRow, len(rows))
	for _, r := range rows {
		byNumber[r.WaybillNo.String] = r // as it stands now: it may have got another number since it was found
	}
	return byNumber, nil
}

// beingReaddressed tells which deliveries get another waybill soon, because their address is being changed.
func beingReaddressed(ctx context.Context, tx *sqlx.Tx, ids []uuid.UUID) (map[uuid.UUID]bool, error) {
	var open []uuid.UUID
	err := tx.SelectContext(ctx, &open, `
		SELECT delivery_id FROM readdressings WHERE delivery_id = ANY($1::uuid[]) AND ended_at IS NULL`, pq.Array(uuidTexts(ids)))
	if err != nil {
		return nil, fmt.Errorf("read the readdressings of %d deliveries: %w", len(ids), err)
	}
	set := make(map[uuid.UUID]bool, len(open))
	for _, id := range open {
		set[id] = true
	}
	return set, nil
}

func saveHandOvers(ctx context.Context, tx *sqlx.Tx, ids []uuid.UUID, at time.Time) error {
	if len(ids) == 0 {
		return nil
	}
	_, err := tx.ExecContext(ctx, `
		UPDATE deliveries SET handed_over_at = $2 WHERE id = ANY($1::uuid[]) AND handed_over_at IS NULL`, pq.Array(uuidTexts(ids)), at)
	if err != nil {
		return fmt.Errorf("record the hand-over of %d deliveries: %w", len(ids), err)
	}
	return nil
}
