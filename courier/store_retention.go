package courier

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// An eraseCursor is how far a pass of Erase has come: what cannot be erased yet is looked at once a pass.
type eraseCursor struct {
	since time.Time
	id    uuid.UUID
}

// claimErasable locks up to limit deliveries behind a cursor that may be erased.
func claimErasable(ctx context.Context, tx *sqlx.Tx, before time.Time, after eraseCursor, limit int) (ids []uuid.UUID, last eraseCursor, err error) {
	var rows []struct {
		ID          uuid.UUID `db:"id"`
		StatusSince time.Time `db:"status_since"`
	}
	err = tx.SelectContext(ctx, &rows, `
		SELECT d.id, d.status_since
		FROM deliveries d
		WHERE d.erased_at IS NULL AND d.status IN ('refused', 'cancelled', 'delivered', 'returned', 'lost')
			AND d.status_since < $1 AND (d.status_since, d.id) > ($2, $3)
			AND d.refund_due_fen = 0 AND d.cancel_attempt_at IS NULL
			AND NOT EXISTS (SELECT 1 FROM cases WHERE delivery_id = d.id AND closed_at IS NULL)
			AND NOT EXISTS (SELECT 1 FROM interventions WHERE delivery_id = d.id AND state IN ('by_phone', 'sending', 'unsent', 'unknown', 'agreed'))
			AND (d.status <> 'returned' OR EXISTS (
				SELECT 1 FROM returns WHERE delivery_id = d.id AND num_nonnulls(picked_up_at, redispatched_as, disposed_at) = 1))
		ORDER BY d.status_since, d.id
		LIMIT $4
		FOR NO KEY UPDATE OF d SKIP LOCKED`, before, after.since, after.id, limit)
	if err != nil || len(rows) == 0 {
		return nil, after, err
	}
	for _, r := range rows {
		ids = append(ids, r.ID)
	}
	end := rows[len(rows)-1]
	return ids, eraseCursor{end.StatusSince, end.ID}, nil
}

// eraseDeliveries empties every column of a delivery that holds or finds a person. content_lookup stays: the same application posted
// again is recognised by it, and nobody is found by it who does not hold all of the application.
func eraseDeliveries(ctx context.Context, tx *sqlx.Tx, ids []uuid.UUID, now time.Time) error {
	which := pq.Array(uuidTexts(ids))
	_, err := tx.ExecContext(ctx, `
		UPDATE deliveries
		SET name_sealed = '', phone_sealed = '', id_no_sealed = '', address_sealed = '', password_sealed = NULL, phone_lookup = '', id_no_lookup = '',
			erased_at = $2, updated_at = greatest(updated_at, $2)
		WHERE id = ANY ($1::uuid[])`, which, now)
	if err != nil {
		return err
	}
	for _, statement := range []string{
		`DELETE FROM labels WHERE delivery_id = ANY ($1::uuid[])`,
		`UPDATE returns SET agent_name_sealed = NULL WHERE delivery_id = ANY ($1::uuid[]) AND agent_name_sealed IS NOT NULL`,
		`UPDATE readdressings SET address_sealed = '' WHERE delivery_id = ANY ($1::uuid[])`,
		`UPDATE interventions SET address_sealed = '' WHERE delivery_id = ANY ($1::uuid[]) AND address_sealed IS NOT NULL`,
	} {
		if _, err := tx.ExecContext(ctx, statement, which); err != nil {
			return err
		}
	}
	return nil
}
