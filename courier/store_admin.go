package courier

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// saveCancelled writes what a cancellation leaves behind: nothing is due any more, a number that was set aside is never
// used, and all the money that is left goes back.
func saveCancelled(ctx context.Context, tx *sqlx.Tx, id uuid.UUID, reason string, now time.Time) error {
	_, err := tx.ExecContext(ctx, `
		WITH gone AS (
			UPDATE deliveries
			SET cancel_reason = $2, cancel_requested_at = $3, cancel_attempt_at = NULL, reconcile_at = NULL, next_attempt_at = NULL,
				refund_due_fen = paid_fen - refunded_fen
			WHERE id = $1
			RETURNING waybill_no
		)
		UPDATE numbers SET state = 'void' FROM gone WHERE numbers.waybill_no = gone.waybill_no`, id, reason, now)
	if err != nil {
		return fmt.Errorf("cancel delivery %s: %w", id, err)
	}
	return nil
}

// saveCancelRequest asks the cancel round to cancel at EMS.
func saveCancelRequest(ctx context.Context, tx *sqlx.Tx, id uuid.UUID, reason string, now, wall time.Time) error {
	_, err := tx.ExecContext(ctx, `
		UPDATE deliveries SET cancel_reason = $2, cancel_requested_at = $3, cancel_attempt_at = $4 WHERE id = $1`, id, reason, now, wall)
	if err != nil {
		return fmt.Errorf("ask to cancel delivery %s: %w", id, err)
	}
	return nil
}

// saveDue makes a delivery due for an order at wall. Its attempts go on counting: with earlier calls behind it the order
// round asks EMS before it believes another refusal.
func saveDue(ctx context.Context, tx *sqlx.Tx, id uuid.UUID, wall time.Time) error {
	_, err := tx.ExecContext(ctx, `
		UPDATE deliveries SET next_attempt_at = $2 WHERE id = $1`, id, wall)
	if err != nil {
		return fmt.Errorf("make delivery %s due: %w", id, err)
	}
	return nil
}

// saveAddress writes a new destination with the fee for it.
func saveAddress(ctx context.Context, tx *sqlx.Tx, d Delivery, sealed []byte, wall time.Time) error {
	r := d.Recipient
	_, err := tx.ExecContext(ctx, `
		UPDATE deliveries
		SET province = $2, city = $3, county = $4, address_sealed = $5, zone = $6, fee_fen = $7, refund_due_fen = $8, next_attempt_at = $9
		WHERE id = $1`, d.ID, r.Province, r.City, r.County, sealed, d.Zone, d.FeeFen, d.RefundDueFen, wall)
	if err != nil {
		return fmt.Errorf("change the address of delivery %s: %w", d.ID, err)
	}
	return nil
}

func hasOpenCase(ctx context.Context, tx *sqlx.Tx, delivery uuid.UUID, kind CaseKind) (bool, error) {
	var open bool
	err := tx.GetContext(ctx, &open, `
		SELECT EXISTS (SELECT 1 FROM cases WHERE delivery_id = $1 AND kind = $2 AND closed_at IS NULL)`, delivery, string(kind))
	if err != nil {
		return false, fmt.Errorf("read the cases of %s: %w", delivery, err)
	}
	return open, nil
}
