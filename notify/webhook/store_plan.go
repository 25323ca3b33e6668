package webhook

import (
	"context"
	"fmt"
	"time"

	"emsd/courier"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// reader is this package's name in feed_readers. Its row lock makes planners, and whoever adds an endpoint, take turns.
const reader = "webhook"

// lockReader gives the position up to which the feed has been planned. The first one begins at the end of the feed: before
// it nobody has asked for anything.
func lockReader(ctx context.Context, tx *sqlx.Tx) (position int64, err error) {
	_, err = tx.ExecContext(ctx, `
		INSERT INTO feed_readers (name, position) SELECT $1, position FROM feed_head ON CONFLICT (name) DO NOTHING`, reader)
	if err == nil {
		err = tx.GetContext(ctx, &position, `SELECT position FROM feed_readers WHERE name = $1 FOR UPDATE`, reader)
	}
	if err != nil {
		return 0, fmt.Errorf("lock the webhooks' place in the feed: %w", err)
	}
	return position, nil
}

// planOnce queues up to limit events for whoever wants them and moves on in the feed, in one transaction. An endpoint that is
// disabled gets its rows all the same: they wait.
func planOnce(ctx context.Context, db *sqlx.DB, wall time.Time, limit int) (read, queued int, err error) {
	err = courier.InTx(ctx, db, func(tx *sqlx.Tx) error {
		position, err := lockReader(ctx, tx)
		if err != nil {
			return err
		}
		if skipped, err := skipAll(ctx, tx); err != nil || skipped {
			return err
		}
		events, err := courier.ReadFeed(ctx, tx, position, limit)
		if err != nil || len(events) == 0 {
			return err
		}
		if queued, err = queue(ctx, tx, events, wall); err != nil {
			return err
		}
		read = len(events)
		_, err = tx.ExecContext(ctx, `UPDATE feed_readers SET position = $2 WHERE name = $1`, reader, events[read-1].Position)
		return err
	})
	if err != nil {
		return 0, 0, fmt.Errorf("plan webhooks: %w", err)
	}
	return read, queued, nil
}

// skipAll moves on to the end of the feed when there is no endpoint. None can be added meanwhile: that takes the reader's lock.
func skipAll(ctx context.Context, tx *sqlx.Tx) (bool, error) {
	var none bool
	err := tx.GetContext(ctx, &none, `SELECT NOT EXISTS (SELECT 1 FROM webhook_endpoints)`)
	if err == nil && none {
		_, err = tx.ExecContext(ctx, `
			UPDATE feed_readers r SET position = h.position FROM feed_head h WHERE r.name = $1 AND r.position <> h.position`, reader)
	}
	return none, err
}

// queue writes a message for each event that somebody wants, and a row for each who does.
func queue(ctx context.Context, tx *sqlx.Tx, events []courier.Event, wall time.Time) (queued int, err error) {
	n := len(events)
	ids, positions, types, bodies := make([]string, n), make([]int64, n), make([]string, n), make([]string, n)
	for i, e := range events {
		text, err := bodyOf(e)
		if err != nil {
			return 0, err
		}
		ids[i], positions[i], types[i], bodies[i] = uuid.Must(uuid.NewV7()).String(), e.Position, string(e.Type), text
	}
	err = tx.GetContext(ctx, &queued, `
		WITH endpoints AS MATERIALIZED (
			SELECT id, types, after_position FROM webhook_endpoints ORDER BY id FOR KEY SHARE
		), e AS MATERIALIZED (
			SELECT id, position, type, body
			FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[]) AS e(id, position, type, body)
		), wanted AS MATERIALIZED (
			SELECT p.id AS endpoint_id, e.position
			FROM e JOIN endpoints p ON e.position > p.after_position
				AND (p.types = '{}' OR e.type = ANY (p.types) OR split_part(e.type, '.', 1) || '.*' = ANY (p.types))
		), written AS (
			INSERT INTO webhook_messages (id, position, type, body, at)
			SELECT e.id, e.position, e.type, e.body, $5 FROM e
			WHERE e.position IN (SELECT position FROM wanted)
			ORDER BY e.position
			RETURNING n, position
		), queued AS (
			INSERT INTO webhook_outbox (endpoint_id, n, next_attempt_at)
			SELECT w.endpoint_id, m.n, $5 FROM wanted w JOIN written m ON m.position = w.position
			ORDER BY w.endpoint_id, m.n
			RETURNING 1
		)
		SELECT count(*) FROM queued`, pq.Array(ids), pq.Array(positions), pq.Array(types), pq.Array(bodies), wall)
	return queued, err
}
