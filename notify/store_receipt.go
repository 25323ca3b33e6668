package notify

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

func appendReceipts(ctx context.Context, db *sqlx.DB, gateway string, receipts []Receipt, at time.Time) error {
	n := len(receipts)
	attempts, providers, codes := make([]*string, n), make([]string, n), make([]string, n)
	successes := make([]bool, n)
	for i, r := range receipts {
		providers[i], codes[i], successes[i] = cut(r.ProviderID, 200), cut(r.Code, 100), r.Success
		if r.AttemptID != uuid.Nil {
			id := r.AttemptID.String()
			attempts[i] = &id
		}
	}
	_, err := db.ExecContext(ctx, `
		INSERT INTO message_receipts (gateway, attempt_id, provider_id, success, code, received_at)
		SELECT $1, attempt_id, provider_id, success, code, $6
		FROM unnest($2::uuid[], $3::text[], $4::boolean[], $5::text[]) AS r(attempt_id, provider_id, success, code)`,
		gateway, pq.Array(attempts), pq.Array(providers), pq.Array(successes), pq.Array(codes), at)
	if err != nil {
		return fmt.Errorf("append %d receipts: %w", n, err)
	}
	return nil
}

// An openReceipt is a receipt with the attempt that it names, if it is one of ours.
type openReceipt struct {
	ID         int64      `db:"id"`
	Gateway    string     `db:"gateway"`
	AttemptID  uuid.UUID  `db:"attempt_id"`
	ProviderID string     `db:"provider_id"`
	Success    bool       `db:"success"`
	Code       string     `db:"code"`
	ReceivedAt time.Time  `db:"received_at"`
	State      string     `db:"state"` // of the attempt; empty: a stranger
	DeliveryID *uuid.UUID `db:"delivery_id"`
	Milestone  Milestone  `db:"milestone"`
}

// claimReceipts locks up to limit receipts that nobody has worked through.
func claimReceipts(ctx context.Context, tx *sqlx.Tx, limit int) ([]openReceipt, error) {
	var open []openReceipt
	err := tx.SelectContext(ctx, &open, `
		WITH r AS MATERIALIZED (
			SELECT id, gateway, attempt_id, provider_id, success, code, received_at
			FROM message_receipts
			WHERE processed_at IS NULL
			ORDER BY id
			LIMIT $1
			FOR UPDATE SKIP LOCKED
		)
		SELECT r.id, r.gateway, coalesce(r.attempt_id, '00000000-0000-0000-0000-000000000000') AS attempt_id, r.provider_id, r.success,
			r.code, r.received_at, coalesce(a.state, '') AS state, m.delivery_id, coalesce(m.milestone, '') AS milestone
		FROM r
		LEFT JOIN message_attempts a ON a.id = r.attempt_id AND a.gateway = r.gateway
		LEFT JOIN messages m ON m.id = a.message_id
		ORDER BY r.id`, limit)
	return open, err
}

// markReceipts ends receipts and notes on attempts when their first one came.
func markReceipts(ctx context.Context, tx *sqlx.Tx, open []openReceipt, now time.Time) error {
	ids := make([]int64, len(open))
	for i, r := range open {
		ids[i] = r.ID
	}
	_, err := tx.ExecContext(ctx, `
		WITH done AS (
			UPDATE message_receipts SET processed_at = $2 WHERE id = ANY ($1) RETURNING attempt_id, gateway, received_at
		), first AS (
			SELECT attempt_id, gateway, min(received_at) AS at FROM done WHERE attempt_id IS NOT NULL GROUP BY attempt_id, gateway
		)
		UPDATE message_attempts a SET receipt_at = f.at
		FROM first f WHERE a.id = f.attempt_id AND a.gateway = f.gateway AND a.receipt_at IS NULL`, pq.Array(ids), now)
	return err
}
