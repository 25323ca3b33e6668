package bench

import (
	"context"
	"time"

	"github.com/jmoiron/sqlx"
)

// Where the rows of a table for claims are due. Business time of a run decides which of them it finds.
const (
	scatteredBefore = 20 * time.Hour      // before now: the times at which scattered rows are due
	restAfter       = 30 * 24 * time.Hour // after now: everything else
)

// seedClaims makes a table of n waybills of which due lie together, due within the hour before now in the order in which
// they lie, and, unless scattered is 0, every scattered-th row elsewhere is due long before, in no order. Indexes are
// made afterwards, as a loaded database has them.
func seedClaims(ctx context.Context, db *sqlx.DB, n, due, scattered int, now time.Time, print int64) error {
	var indexes []struct {
		Name string `db:"name"`
		Def  string `db:"def"`
	}
	if err := db.SelectContext(ctx, &indexes, `
		SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS def FROM pg_index
		WHERE indrelid = 'waybills'::regclass AND NOT indisprimary AND indexrelid NOT IN (SELECT conindid FROM pg_constraint)`); err != nil {
		return err
	}
	for _, x := range indexes {
		if _, err := db.ExecContext(ctx, `DROP INDEX `+x.Name); err != nil {
			return err
		}
	}
	if _, err := db.ExecContext(ctx, `ALTER TABLE waybills DROP CONSTRAINT waybills_pkey`); err != nil {
		return err
	}
	if _, err := db.ExecContext(ctx, `
		INSERT INTO waybills (delivery_id, waybill_no, stage, urgency, ordered_at, next_poll_at, changed_at, fingerprint)
		SELECT ('01930000-0000-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid, '98' || lpad(i::text, 11, '0'), 'in_transit', 2,
			$4::timestamptz - interval '3 days',
			CASE WHEN i > ($1 - $2) / 2 AND i <= ($1 - $2) / 2 + $2
				THEN $4::timestamptz - interval '1 hour' + i * interval '100 microseconds'
			WHEN $3 > 0 AND i % greatest($3, 1) = 0
				THEN $4::timestamptz - $6 * interval '1 second' - abs(hashint4(i) % 3000000) * interval '1 millisecond'
			ELSE $4::timestamptz + $7 * interval '1 second' + i * interval '1 millisecond' END,
			$4::timestamptz - interval '30 hours', $5
		FROM generate_series(1, $1::integer) AS i`, n, due, scattered, now, print, scatteredBefore.Seconds(), restAfter.Seconds()); err != nil {
		return err
	}
	if _, err := db.ExecContext(ctx, `
		ALTER TABLE waybills ADD CONSTRAINT waybills_pkey PRIMARY KEY (delivery_id)`); err != nil {
		return err
	}
	for _, x := range indexes {
		if _, err := db.ExecContext(ctx, x.Def); err != nil {
			return err
		}
	}
	return settle(ctx, db)
}

// countDue counts the waybills that are due.
func countDue(ctx context.Context, db *sqlx.DB, now time.Time) (n int, err error) {
	err = db.GetContext(ctx, &n, `SELECT count(*) FROM waybills WHERE next_poll_at <= $1`, now)
	return n, err
}

// retire ends polling of what is due, so that a later run finds only its own.
func retire(ctx context.Context, db *sqlx.DB, now time.Time) error {
	_, err := db.ExecContext(ctx, `UPDATE waybills SET next_poll_at = NULL WHERE next_poll_at <= $1`, now)
	return err
}
