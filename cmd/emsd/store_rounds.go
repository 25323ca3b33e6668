package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
)

// oldestDue tells for each round but poll since when its oldest item is due; rounds with nothing due are left out. Rounds that
// work on business time are measured by now, the others by wall.
func oldestDue(ctx context.Context, db *sqlx.DB, now, wall time.Time) (map[string]time.Duration, error) {
	var rows []struct {
		Name    string  `db:"name"`
		Seconds float64 `db:"seconds"`
	}
	err := db.SelectContext(ctx, &rows, `
		SELECT name, extract(epoch FROM since)::float8 AS seconds FROM (
			SELECT 'order' AS name, $2 - min(next_attempt_at) AS since FROM deliveries WHERE status = 'approved' AND cancel_requested_at IS NULL
			UNION ALL SELECT 'reconcile', $2 - min(reconcile_at) FROM deliveries WHERE status = 'ordering' AND reconcile_at IS NOT NULL
			UNION ALL SELECT 'cancel', $2 - min(cancel_attempt_at) FROM deliveries WHERE cancel_attempt_at IS NOT NULL
			UNION ALL SELECT 'label', $2 - min(next_attempt_at) FROM labels WHERE next_attempt_at IS NOT NULL
			UNION ALL SELECT 'publish', $1 - min(at) FROM events WHERE position IS NULL
			UNION ALL SELECT 'send', $1 - min(not_before) FROM messages WHERE queued
			UNION ALL SELECT 'resolve', $2 - min(resolve_at) FROM message_attempts WHERE state = 'unknown' AND resolve_at IS NOT NULL
			UNION ALL SELECT 'webhooks', $2 - min(o.next_attempt_at) FROM webhook_endpoints e CROSS JOIN LATERAL (
				SELECT next_attempt_at FROM webhook_outbox WHERE endpoint_id = e.id AND done_at IS NULL ORDER BY next_attempt_at, n LIMIT 1) o
				WHERE e.state = 'enabled' AND e.failures = 0 -- one that fails waits by its own rule
			UNION ALL SELECT 'inbox', $2 - min(inserted_at) FROM inbox.approved_permits WHERE result_at IS NULL
		) due WHERE since > interval '0'`, now, wall)
	if err != nil {
		return nil, fmt.Errorf("oldest due items: %w", err)
	}
	due := map[string]time.Duration{}
	for _, r := range rows {
		due[r.Name] = time.Duration(r.Seconds * float64(time.Second))
	}
	return due, nil
}
