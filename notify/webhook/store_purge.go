package webhook

import (
	"context"
	"fmt"
	"time"

	"emsd/courier"

	"github.com/jmoiron/sqlx"
)

// purge deletes up to limit messages of an endpoint that were done before a time, and its tries, and tells how many rows went.
func purge(ctx context.Context, db *sqlx.DB, before time.Time, limit int) (int64, error) {
	total, err := purgeOutbox(ctx, db, before, limit)
	if err != nil {
		return 0, fmt.Errorf("purge webhooks: %w", err)
	}
	for _, query := range []string{`
		DELETE FROM webhook_attempts WHERE id IN (SELECT id FROM webhook_attempts WHERE at < $1 ORDER BY at LIMIT $2)`, `
		DELETE FROM webhook_messages WHERE n IN (
			SELECT m.n FROM webhook_messages m
			WHERE m.at < $1 AND NOT EXISTS (
				SELECT 1 FROM webhook_endpoints e JOIN webhook_outbox o ON o.endpoint_id = e.id AND o.n = m.n)
			ORDER BY m.at LIMIT $2)`,
	} {
		res, err := db.ExecContext(ctx, query, before, limit)
		if err != nil {
			return total, fmt.Errorf("purge webhooks: %w", err)
		}
		n, err := res.RowsAffected()
		if err != nil {
			return total, err
		}
		total += n
	}
	return total, nil
}

// purgeOutbox deletes what was done, and notes on each endpoint up to which position: a replay cannot reach back behind it.
func purgeOutbox(ctx context.Context, db *sqlx.DB, before time.Time, limit int) (deleted int64, err error) {
	err = courier.InTx(ctx, db, func(tx *sqlx.Tx) error {
		// Endpoints before their queues, as everybody does.
		if _, err := tx.ExecContext(ctx, `SELECT 1 FROM webhook_endpoints ORDER BY id FOR NO KEY UPDATE`); err != nil {
			return err
		}
		return tx.GetContext(ctx, &deleted, `
			WITH gone AS (
				DELETE FROM webhook_outbox o USING (
					SELECT x.endpoint_id, x.n FROM webhook_endpoints e CROSS JOIN LATERAL (
						SELECT endpoint_id, n FROM webhook_outbox
						WHERE endpoint_id = e.id AND n <= (SELECT max(n) FROM webhook_messages WHERE at < $1) AND done_at < $1
						ORDER BY n LIMIT $2) x
				) old WHERE o.endpoint_id = old.endpoint_id AND o.n = old.n
				RETURNING o.endpoint_id, o.n
			), noted AS (
				UPDATE webhook_endpoints e SET purged_position = far.position
				FROM (SELECT g.endpoint_id, max(m.position) AS position FROM gone g JOIN webhook_messages m ON m.n = g.n GROUP BY g.endpoint_id) far
				WHERE e.id = far.endpoint_id AND e.purged_position < far.position
			)
			SELECT count(*) FROM gone`, before, limit)
	})
	return deleted, err
}
