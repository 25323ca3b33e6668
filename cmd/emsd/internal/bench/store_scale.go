package bench

import (
	"context"
	"time"

	"github.com/jmoiron/sqlx"
)

// seedEvenly makes waybills in transit that become due one after the other.
func seedEvenly(ctx context.Context, db *sqlx.DB, n int, now, from time.Time, perSecond float64, print int64) error {
	_, err := db.ExecContext(ctx, `
		INSERT INTO waybills (delivery_id, waybill_no, stage, urgency, ordered_at, next_poll_at, changed_at, fingerprint)
		SELECT ('01930000-0000-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid, '98' || lpad(i::text, 11, '0'), 'in_transit', 2,
			$2::timestamptz - interval '2 days', $3::timestamptz + i / $4::float8 * interval '1 second', $2::timestamptz - interval '5 hours', $5
		FROM generate_series(1, $1::integer) AS i`, n, now, from, perSecond, print)
	return err
}

// seedFloorEvenly makes the floor's rows likewise.
func seedFloorEvenly(ctx context.Context, db *sqlx.DB, n int, _, from time.Time, perSecond float64, _ int64) error {
	_, err := db.ExecContext(ctx, `
		INSERT INTO floor_waybills (id, waybill_no, next_poll_at)
		SELECT ('01930000-0000-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid, '98' || lpad(i::text, 11, '0'),
			$2::timestamptz + i / $3::float8 * interval '1 second'
		FROM generate_series(1, $1::integer) AS i`, n, from, perSecond)
	return err
}
