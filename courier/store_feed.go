package courier

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// publishOnce numbers up to limit committed events in the order of their ids, which within one delivery is the order
// of seq, because its row was locked while each was written.
func publishOnce(ctx context.Context, db *sqlx.DB, limit int) (int, error) {
	var n int
	err := InTx(ctx, db, func(tx *sqlx.Tx) error {
		var head int64
		if err := tx.GetContext(ctx, &head, `SELECT position FROM feed_head FOR UPDATE`); err != nil {
			return err
		}
		// A statement of its own: its snapshot is taken after the lock, so that it sees what the last publisher did.
		var last sql.NullInt64
		err := tx.QueryRowxContext(ctx, `
			WITH fresh AS MATERIALIZED (
				SELECT delivery_id, seq, at, $1 + row_number() OVER (ORDER BY id) AS position
				FROM (SELECT id, delivery_id, seq, at FROM events WHERE position IS NULL ORDER BY id LIMIT $2) e
			), numbered AS (
				UPDATE events e SET position = f.position
				FROM fresh f
				WHERE e.delivery_id = f.delivery_id AND e.seq = f.seq AND e.at = f.at
				RETURNING e.position
			)
			SELECT count(*), max(position) FROM numbered`, head, limit).Scan(&n, &last)
		if err != nil || n == 0 {
			return err
		}
		if last.Int64 != head+int64(n) {
			return fmt.Errorf("positions %d to %d for %d events", head+1, last.Int64, n)
		}
		if _, err := tx.ExecContext(ctx, `UPDATE feed_head SET position = $1`, last.Int64); err != nil {
			return err
		}
		return Wake(ctx, tx, WakePublished)
	})
	if err != nil {
		return 0, fmt.Errorf("publish events: %w", err)
	}
	return n, nil
}

// ReadFeed reads up to limit published events behind a position, in order and without gaps.
func ReadFeed(ctx context.Context, q sqlx.QueryerContext, after int64, limit int) ([]Event, error) {
	var rows []struct {
		DeliveryID uuid.UUID `db:"delivery_id"`
		Seq        int       `db:"seq"`
		Position   int64     `db:"position"`
		Type       EventType `db:"type"`
		At         time.Time `db:"at"`
		Data       []byte    `db:"data"`
	}
	err := sqlx.SelectContext(ctx, q, &rows, `
		SELECT delivery_id, seq, position, type, at, data
		FROM events
		WHERE position > $1
		ORDER BY position
		LIMIT $2`, after, limit)
	if err != nil {
		return nil, fmt.Errorf("read the feed after %d: %w", after, err)
	}
	events := make([]Event, len(rows))
	for i, r := range rows {
		events[i] = Event{DeliveryID: r.DeliveryID, Seq: r.Seq, Position: r.Position, Type: r.Type, At: r.At, Data: r.Data}
	}
	return events, nil
}

// FeedHead is the last position given.
func FeedHead(ctx context.Context, q sqlx.QueryerContext) (int64, error) {
	var head int64
	err := sqlx.GetContext(ctx, q, &head, `SELECT position FROM feed_head`)
	return head, err
}

// Unpublished counts committed events that have no position yet, and tells the oldest one's time.
func Unpublished(ctx context.Context, q sqlx.QueryerContext) (count int, oldest time.Time, err error) {
	var at sql.NullTime
	err = q.QueryRowxContext(ctx, `SELECT count(*), min(at) FROM events WHERE position IS NULL`).Scan(&count, &at)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return count, at.Time, err
}
