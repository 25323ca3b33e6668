package webhook

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// insertTest queues a test for one endpoint.
func insertTest(ctx context.Context, tx *sqlx.Tx, endpoint, message uuid.UUID, body string, wall time.Time) error {
	_, err := tx.ExecContext(ctx, `
		WITH m AS (
			INSERT INTO webhook_messages (id, type, body, at) VALUES ($2, $3, $4, $5) RETURNING n
		)
		INSERT INTO webhook_outbox (endpoint_id, n, next_attempt_at) SELECT $1, n, $5 FROM m`, endpoint, message, typeTest, body, wall)
	if err != nil {
		return fmt.Errorf("queue a test: %w", err)
	}
	return nil
}

// replay makes messages due again and tells how many. What waits already becomes due at once. What is on its way goes out once
// more when that try is over: whoever asks may have lost what he is being sent this moment, and in an ordered line nothing
// may be sent beside it.
func replay(ctx context.Context, tx *sqlx.Tx, endpoint uuid.UUID, r Replay, wall time.Time) (int, error) {
	which, args := `SELECT n FROM webhook_outbox WHERE endpoint_id = $1 AND failed`, []any{endpoint, wall}
	switch {
	case r.MessageID != "":
		id, _ := ParseMessageID(r.MessageID) // checked
		which, args = `SELECT n FROM webhook_messages WHERE id = $3`, append(args, id)
	case !r.Failed:
		which, args = `SELECT n FROM webhook_messages WHERE position > $3 AND position <= $4`, append(args, r.After, r.Until)
	}
	// Rows are locked in their order, as those who record tries do.
	query := `
		WITH held AS MATERIALIZED (
			SELECT o.n FROM webhook_outbox o WHERE o.endpoint_id = $1 AND o.n IN (` + which + `) ORDER BY o.n FOR UPDATE
		)
		UPDATE webhook_outbox o SET done_at = NULL, failed = false, again = lease_until IS NOT NULL,
			tries = CASE WHEN lease_until IS NULL THEN 0 ELSE tries END, next_attempt_at = CASE WHEN lease_until IS NULL THEN $2 ELSE next_attempt_at END
		FROM held h WHERE o.endpoint_id = $1 AND o.n = h.n`
	res, err := tx.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, fmt.Errorf("replay for webhook endpoint %s: %w", endpoint, err)
	}
	n, err := res.RowsAffected()
	return int(n), err
}
