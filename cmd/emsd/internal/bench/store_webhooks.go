package bench

import (
	"context"
	"time"

	"emsd/courier"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// benchDelivery is the one whose events subscribers are told of.
var benchDelivery = uuid.MustParse("0198c0de-7b1a-7000-8000-0000000000be")

// writeEvent commits one event, with the notification that a change of a delivery gives.
func writeEvent(ctx context.Context, db *sqlx.DB, seq int, typ string, at time.Time) error {
	return courier.InTx(ctx, db, func(tx *sqlx.Tx) error {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO events (delivery_id, seq, type, at, data) VALUES ($1, $2, $3, $4, '{}')`, benchDelivery, seq, typ, at)
		if err != nil {
			return err
		}
		return courier.Wake(ctx, tx, courier.WakeEvents)
	})
}

// hooksLeft tells whether something is left to be told to the subscribers of a path.
func hooksLeft(ctx context.Context, db *sqlx.DB, path string) (left int, err error) {
	err = db.GetContext(ctx, &left, `
		SELECT (SELECT count(*) FROM (SELECT 1 FROM events WHERE position IS NULL LIMIT 1) e)
			+ (SELECT h.position - r.position FROM feed_head h, feed_readers r WHERE r.name = 'webhook')
			+ (SELECT count(*) FROM webhook_endpoints p WHERE p.url LIKE '%' || $1 || '%'
				AND EXISTS (SELECT 1 FROM webhook_outbox o WHERE o.endpoint_id = p.id AND o.done_at IS NULL))`, path)
	return left, err
}
