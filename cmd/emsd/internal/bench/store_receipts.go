package bench

import (
	"context"
	"time"

	"emsd/courier"

	"github.com/jmoiron/sqlx"
)

// seedTaken gives every seeded delivery a message that the gateway has taken; its attempts are numbered from 1.
func seedTaken(ctx context.Context, db *sqlx.DB, now time.Time) error {
	if err := moveOut(ctx, db, courier.OutForDelivery, now); err != nil {
		return err
	}
	if err := insertQueued(ctx, db, now); err != nil {
		return err
	}
	_, err := db.ExecContext(ctx, `
		WITH m AS (
			UPDATE messages SET state = 'accepted', reason = '已发送' RETURNING id, position
		)
		INSERT INTO message_attempts (id, message_id, gateway, template, state, sent_on, started_at, finished_at, sent_at)
		SELECT ('01930000-0000-7000-8000-' || lpad(to_hex(position), 12, '0'))::uuid, id, 'aliyun', 'SMS_000000001', 'accepted', '20261124', $1, $1, $1
		FROM m`, now)
	return err
}

// received is what became of the receipts.
type received struct {
	Stored    int `db:"stored"`
	Once      int `db:"once"`      // different ones
	Joined    int `db:"joined"`    // worked through
	Delivered int `db:"delivered"` // attempts that they settled
}

func readReceived(ctx context.Context, db *sqlx.DB) (r received, err error) {
	err = db.GetContext(ctx, &r, `
		SELECT count(*) AS stored, count(DISTINCT provider_id) AS once, count(processed_at) AS joined,
			(SELECT count(*) FROM message_attempts WHERE state = 'delivered') AS delivered
		FROM message_receipts`)
	return r, err
}
