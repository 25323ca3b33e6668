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

// ResumeFeed is ReadFeed for a reader that has come as far as after, however long ago: it never passes over what is kept no more.
// Positions have no gaps, so where one is missing its month was dropped: the reader gets what comes before it, and then a *Gone.
// One that has come further than the feed has read what a restored database has forgotten: a *Conflict.
func ResumeFeed(ctx context.Context, q sqlx.QueryerContext, after int64, limit int) ([]Event, error) {
	events, err := ReadFeed(ctx, q, after, limit)
	if err == nil && len(events) == 0 {
		var head int64
		if head, err = FeedHead(ctx, q); err != nil || head == after {
			return nil, err
		}
		if head < after {
			return nil, &Conflict{Code: "position_ahead", Detail: fmt.Sprintf("after 大于最新的位置 %d：数据库可能由备份恢复过，"+
				"请与运维人员核对恢复的时间，从那时之前的位置重新读取", head)}
		}
		if events, err = ReadFeed(ctx, q, after, limit); err == nil && len(events) == 0 { // published since the first look, or dropped
			return nil, eventsGone(head)
		}
	}
	for i, e := range events {
		switch {
		case e.Position == after+1+int64(i):
		case i == 0:
			return nil, eventsGone(e.Position - 1)
		default:
			return events[:i], nil
		}
	}
	return events, err
}

func eventsGone(after int64) error {
	return &Gone{Code: "events_gone", After: after, Detail: fmt.Sprintf("所要的事件已不再保存。现存的事件在 after=%d 之后；"+
		"其间的变动请按 updated_after 查看寄递的现状，再从 after=%d 继续读取", after, after)}
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
