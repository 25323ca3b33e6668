package courier

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// saveReaddressing writes that a new address was asked for, in the place of any earlier one.
func saveReaddressing(ctx context.Context, tx *sqlx.Tx, r readdressing, waybillNo string, now time.Time) error {
	_, err := tx.ExecContext(ctx, `
		INSERT INTO readdressings (delivery_id, asked_at, asked_by, reason, address_sealed, province, city, county, old_waybill_no)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (delivery_id) DO UPDATE SET asked_at = excluded.asked_at, asked_by = excluded.asked_by, reason = excluded.reason,
			address_sealed = excluded.address_sealed, province = excluded.province, city = excluded.city, county = excluded.county,
			old_waybill_no = excluded.old_waybill_no, ended_at = NULL, outcome = NULL`,
		r.DeliveryID, now, r.AskedBy, r.Reason, r.Address, r.Province, r.City, r.County, waybillNo)
	if err != nil {
		return fmt.Errorf("ask for another address of delivery %s: %w", r.DeliveryID, err)
	}
	return nil
}

// cancelAsked reports whether EMS was, or is just being, asked to cancel a waybill. The delivery is locked, so that no round
// can begin to.
func cancelAsked(ctx context.Context, tx *sqlx.Tx, id uuid.UUID, waybillNo string) (asked bool, err error) {
	err = tx.GetContext(ctx, &asked, `
		SELECT EXISTS (SELECT 1 FROM order_attempts WHERE delivery_id = $1 AND call = 'cancel' AND waybill_no = $2)`, id, waybillNo)
	if err != nil {
		return false, fmt.Errorf("read whether the waybill of delivery %s was cancelled: %w", id, err)
	}
	return asked, nil
}

// lockReaddressings reads the changes of address that are under way.
func lockReaddressings(ctx context.Context, tx *sqlx.Tx, ids []uuid.UUID) (map[uuid.UUID]readdressing, error) {
	var list []readdressing
	err := tx.SelectContext(ctx, &list, `
		SELECT delivery_id, asked_by, reason, address_sealed, province, city, county
		FROM readdressings WHERE delivery_id = ANY($1::uuid[]) AND ended_at IS NULL ORDER BY delivery_id FOR UPDATE`, pq.Array(uuidTexts(ids)))
	if err != nil {
		return nil, fmt.Errorf("read changes of address: %w", err)
	}
	found := make(map[uuid.UUID]readdressing, len(list))
	for _, r := range list {
		found[r.DeliveryID] = r
	}
	return found, nil
}

// lockForReaddress locks, of the deliveries that are being readdressed, the waybill, the delivery and the readdressing, in
// that order: tracking locks waybills first, and whoever asks for another address holds the delivery when it looks for one.
func lockForReaddress(ctx context.Context, tx *sqlx.Tx, ids []uuid.UUID) (map[uuid.UUID]readdressing, error) {
	open, err := beingReaddressed(ctx, tx, ids)
	if err != nil || len(open) == 0 {
		return nil, err
	}
	some := slices.SortedFunc(maps.Keys(open), func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
	_, err = tx.ExecContext(ctx, `
		SELECT 1 FROM waybills WHERE delivery_id = ANY($1::uuid[]) ORDER BY delivery_id FOR UPDATE`, pq.Array(uuidTexts(some)))
	if err != nil {
		return nil, fmt.Errorf("lock the waybills of %d deliveries: %w", len(some), err)
	}
	if _, err := lockDeliveries(ctx, tx, some); err != nil {
		return nil, err
	}
	return lockReaddressings(ctx, tx, some)
}

// endReaddressings ends those that are under way and tells which.
func endReaddressings(ctx context.Context, tx *sqlx.Tx, ids []uuid.UUID, outcome string, now time.Time) ([]uuid.UUID, error) {
	var ended []uuid.UUID
	err := tx.SelectContext(ctx, &ended, `
		UPDATE readdressings SET ended_at = $2, outcome = $3 WHERE delivery_id = ANY($1::uuid[]) AND ended_at IS NULL
		RETURNING delivery_id`, pq.Array(uuidTexts(ids)), now, outcome)
	if err != nil {
		return nil, fmt.Errorf("end changes of address: %w", err)
	}
	return ended, nil
}

func saveCancelReason(ctx context.Context, tx *sqlx.Tx, id uuid.UUID, reason string) error {
	if _, err := tx.ExecContext(ctx, `UPDATE deliveries SET cancel_reason = $2 WHERE id = $1`, id, reason); err != nil {
		return fmt.Errorf("write why delivery %s is cancelled: %w", id, err)
	}
	return nil
}

// dropWaybills makes deliveries that stand at ordered due for an order, and removes what tracked and labelled the waybill
// that is gone; it tells which. lockForReaddress has locked them.
func dropWaybills(ctx context.Context, tx *sqlx.Tx, ids []uuid.UUID, wall time.Time) (standing []uuid.UUID, err error) {
	err = tx.SelectContext(ctx, &standing, `
		WITH standing AS (
			UPDATE deliveries SET next_attempt_at = $2 WHERE id = ANY($1::uuid[]) AND status = 'ordered' RETURNING id, waybill_no
		), untracked AS (
			DELETE FROM waybills w USING standing s WHERE w.delivery_id = s.id
		), unlabelled AS (
			DELETE FROM labels l USING standing s WHERE l.delivery_id = s.id
		), void AS (
			UPDATE numbers n SET state = 'void' FROM standing s WHERE n.waybill_no = s.waybill_no
		)
		SELECT id FROM standing ORDER BY id`, pq.Array(uuidTexts(ids)), wall)
	if err != nil {
		return nil, fmt.Errorf("drop the waybills of %d deliveries: %w", len(ids), err)
	}
	return standing, nil
}

// clearWaybills takes numbers and password off deliveries that are ordered anew. The order number is another one too:
// what EMS makes of one that it has seen before nobody knows (dossier section 3).
func clearWaybills(ctx context.Context, tx *sqlx.Tx, ids []uuid.UUID) error {
	_, err := tx.ExecContext(ctx, `
		UPDATE deliveries
		SET waybill_no = NULL, number_mode = NULL, order_no = 'RP' || replace(id::text, '-', '') || 'R' || attempts,
			cancel_requested_at = NULL, cancel_attempt_at = NULL, cancel_reason = NULL, reconcile_at = NULL, reconciles = 0,
			password_sealed = NULL, id_checked = false, tracked_at = NULL
		WHERE id = ANY($1::uuid[]) AND status = 'approved'`, pq.Array(uuidTexts(ids)))
	if err != nil {
		return fmt.Errorf("take the waybills off %d deliveries: %w", len(ids), err)
	}
	return nil
}

func dropCancelRequests(ctx context.Context, tx *sqlx.Tx, ids []uuid.UUID) error {
	_, err := tx.ExecContext(ctx, `
		UPDATE deliveries SET cancel_requested_at = NULL, cancel_attempt_at = NULL, cancel_reason = NULL, reconciles = 0
		WHERE id = ANY($1::uuid[]) AND status <> 'cancelled'`, pq.Array(uuidTexts(ids)))
	if err != nil {
		return fmt.Errorf("drop the cancellations of %d deliveries: %w", len(ids), err)
	}
	return nil
}
