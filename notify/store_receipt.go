package notify

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

func appendReceipts(ctx context.Context, db *sqlx.DB, gateway string, receipts []Receipt, lookups [][]byte, at time.Time) error {
	n := len(receipts)
	submitted := make([]time.Time, n)
	attempts, providers, codes := make([]*string, n), make([]string, n), make([]string, n)
	successes := make([]bool, n)
	for i, r := range receipts {
		submitted[i] = r.SubmittedAt
		providers[i], codes[i], successes[i] = cut(r.ProviderID, 200), cut(r.Code, 100), r.Success
		if r.AttemptID != uuid.Nil {
			id := r.AttemptID.String()
			attempts[i] = &id
		}
	}
	_, err := db.ExecContext(ctx, `
		INSERT INTO message_receipts (gateway, attempt_id, provider_id, success, code, received_at, phone_lookup, submitted_at)
		SELECT $1, attempt_id, provider_id, success, code, $6, nullif(phone_lookup, ''), submitted_at
		FROM unnest($2::uuid[], $3::text[], $4::boolean[], $5::text[], $7::bytea[], $8::timestamptz[])
			AS r(attempt_id, provider_id, success, code, phone_lookup, submitted_at)`,
		gateway, pq.Array(attempts), pq.Array(providers), pq.Array(successes), pq.Array(codes), at, pq.ByteaArray(lookups), optionalTimes(submitted))
	if err != nil {
		return fmt.Errorf("append %d receipts: %w", n, err)
	}
	return nil
}

// An openReceipt is a receipt with the attempt that it is about, if it is one of ours.
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
	TrialID    *uuid.UUID `db:"trial_id"` // it is about a message to a number of our own,
	TrialClass string     `db:"-"`        // which failed so
}

// claimReceipts locks up to limit receipts that nobody has worked through. A receipt is about the attempt whose id it
// names; else the one to its number whose message the gateway names; else the only one in doubt to that number that may have been taken
// at that time (dossier E.3).
func claimReceipts(ctx context.Context, tx *sqlx.Tx, limit int) ([]openReceipt, error) {
	var open []openReceipt
	err := tx.SelectContext(ctx, &open, `
		WITH r AS MATERIALIZED (
			SELECT id, gateway, attempt_id, provider_id, success, code, received_at, phone_lookup, submitted_at
			FROM message_receipts
			WHERE processed_at IS NULL
			ORDER BY id
			LIMIT $1
			FOR UPDATE SKIP LOCKED
		)
		SELECT r.id, r.gateway, coalesce(a.id, '00000000-0000-0000-0000-000000000000') AS attempt_id, r.provider_id, r.success,
			r.code, r.received_at, coalesce(a.state, '') AS state, m.delivery_id, coalesce(m.milestone, '') AS milestone,
			t.id AS trial_id
		FROM r
		LEFT JOIN LATERAL (
			SELECT id FROM (
				SELECT id FROM sms_trials WHERE id = r.attempt_id AND gateway = r.gateway
				UNION ALL
				SELECT id FROM sms_trials WHERE r.attempt_id IS NULL AND r.provider_id <> '' AND provider_id = r.provider_id AND gateway = r.gateway
			) c LIMIT 1
		) t ON true
		LEFT JOIN LATERAL (
			SELECT id FROM (
				SELECT id, 1 AS rank FROM message_attempts WHERE id = r.attempt_id AND gateway = r.gateway
				UNION ALL
				SELECT id, 2 FROM message_attempts
				WHERE r.attempt_id IS NULL AND r.provider_id <> '' AND phone_lookup = r.phone_lookup AND gateway = r.gateway AND provider_id = r.provider_id
				UNION ALL
				SELECT (array_agg(id))[1], 3 FROM message_attempts
				WHERE t.id IS NULL AND r.attempt_id IS NULL AND r.provider_id <> '' AND gateway = r.gateway AND phone_lookup = r.phone_lookup AND state IN ('sending', 'unknown')
					AND sent_at <= coalesce(r.submitted_at + interval '2 minutes', r.received_at)
					AND (r.submitted_at IS NULL OR sent_at >= r.submitted_at - interval '10 minutes')
				HAVING count(*) = 1
			) c ORDER BY rank LIMIT 1
		) found ON true
		LEFT JOIN message_attempts a ON a.id = found.id
		LEFT JOIN messages m ON m.id = a.message_id
		ORDER BY r.id`, limit)
	return open, err
}

// markReceipts ends receipts and notes on attempts when their first one came.
func markReceipts(ctx context.Context, tx *sqlx.Tx, open []openReceipt, now time.Time) error {
	ids, attempts := make([]int64, len(open)), make([]*string, len(open))
	for i, r := range open {
		ids[i] = r.ID
		if r.AttemptID != uuid.Nil {
			id := r.AttemptID.String()
			attempts[i] = &id
		}
	}
	_, err := tx.ExecContext(ctx, `
		WITH done AS (
			UPDATE message_receipts r SET processed_at = $2, attempt_id = coalesce(o.attempt_id, r.attempt_id)
			FROM unnest($1::bigint[], $3::uuid[]) AS o(id, attempt_id) WHERE r.id = o.id
			RETURNING r.attempt_id, r.gateway, r.received_at
		), first AS (
			SELECT attempt_id, gateway, min(received_at) AS at FROM done WHERE attempt_id IS NOT NULL GROUP BY attempt_id, gateway
		)
		UPDATE message_attempts a SET receipt_at = f.at
		FROM first f WHERE a.id = f.attempt_id AND a.gateway = f.gateway AND a.receipt_at IS NULL`, pq.Array(ids), now, pq.Array(attempts))
	return err
}

// markNoReceipt notes attempts of which nothing was heard though their receipts are due, looking at a few chunks of attempts, and
// counts them by gateway. A chunk in which all is known goes; one with an attempt in doubt is looked at again in an hour.
func markNoReceipt(ctx context.Context, db *sqlx.DB, gateways []string, now time.Time) (counts map[string]int, more bool, err error) {
	const most = 20 // of up to a few hundred attempts each
	var rows []struct {
		Gateway string `db:"gateway"`
		Missing int    `db:"missing"`
		Looked  int    `db:"looked"`
	}
	err = db.SelectContext(ctx, &rows, `
		WITH due AS MATERIALIZED (
			SELECT id, attempts FROM attempt_chunks WHERE check_at < $2 ORDER BY check_at LIMIT $3 FOR UPDATE SKIP LOCKED
		), of AS MATERIALIZED (
			SELECT due.id AS chunk, a.id, a.gateway, a.state, a.no_receipt_at
			FROM due CROSS JOIN unnest(due.attempts) AS o(id) JOIN message_attempts a ON a.id = o.id
		), silent AS MATERIALIZED (
			SELECT id FROM message_attempts
			WHERE id IN (SELECT id FROM of WHERE state = 'accepted' AND no_receipt_at IS NULL AND gateway = ANY ($1)) AND state = 'accepted'
			FOR UPDATE SKIP LOCKED
		), marked AS (
			UPDATE message_attempts a SET no_receipt_at = $2 FROM silent WHERE a.id = silent.id RETURNING a.gateway
		), open AS MATERIALIZED (
			SELECT DISTINCT chunk FROM of WHERE state IN ('sending', 'unknown')
		), later AS (
			UPDATE attempt_chunks SET check_at = $2 + interval '1 hour' WHERE id IN (SELECT chunk FROM open)
		), gone AS (
			DELETE FROM attempt_chunks WHERE id IN (SELECT id FROM due) AND id NOT IN (SELECT chunk FROM open)
		)
		SELECT '' AS gateway, 0 AS missing, count(*) AS looked FROM due
		UNION ALL
		SELECT gateway, count(*), 0 FROM marked GROUP BY gateway`, pq.Array(gateways), now, most)
	counts = make(map[string]int)
	for _, r := range rows {
		if r.Gateway == "" {
			more = r.Looked == most
			continue
		}
		counts[r.Gateway] = r.Missing
	}
	return counts, more, err
}
