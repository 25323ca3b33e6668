package bench

import (
	"context"
	"time"

	"emsd/courier"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
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

// seedActive makes n envelopes on their way, in the stages of a working day at noon, each due within the wait that the
// plan gives its stage, in no order. One in newsEvery of those due within the spans has news, and the scans before it; of
// all when there are no spans.
func seedActive(ctx context.Context, db *sqlx.DB, n int, now time.Time, prints fingerprints, spans []span) error {
	if err := seedStation(ctx, db, now); err != nil {
		return err
	}
	from, to := []int64{0}, []int64{1 << 30}
	if spans != nil {
		from, to = nil, nil
		for _, s := range spans {
			from, to = append(from, int64(s.from)), append(to, int64(s.to))
		}
	}
	return withoutIndexes(ctx, db, []string{"waybills", "deliveries"}, func() error {
		if _, err := db.ExecContext(ctx, `
			INSERT INTO waybills (delivery_id, waybill_no, stage, urgency, ordered_at, next_poll_at, changed_at, fingerprint)
			SELECT ('01930000-0000-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid, '98' || lpad(i::text, 11, '0'), stage, urgency,
				$2::timestamptz - (silent + 24) * interval '1 hour', $2::timestamptz + off * interval '1 second',
				$2::timestamptz - silent * interval '1 hour',
				CASE WHEN i % $5 = 0 AND EXISTS (SELECT 1 FROM unnest($6::float8[], $7::float8[]) AS s(f, t) WHERE off >= f AND off < t)
					THEN $3::bigint ELSE $4::bigint END
			FROM (
				SELECT i, stage, urgency, silent, every * 1.05 * (abs(hashint4(i)::bigint) % 1000003) / 1000003.0 AS off
				FROM generate_series(1, $1::integer) AS i JOIN (VALUES
					(0, 9, 'ordered', 3, 20, 3600), (10, 14, 'ordered', 3, 80, 14400), (15, 24, 'accepted', 2, 20, 1800),
					(25, 69, 'in_transit', 2, 20, 1800), (70, 79, 'in_transit', 2, 60, 7200), (80, 87, 'out_for_delivery', 0, 5, 600),
					(88, 90, 'attempt_failed', 1, 20, 1800), (91, 95, 'held', 1, 20, 3600), (96, 99, 'returning', 3, 20, 7200)
				) AS life(low, high, stage, urgency, silent, every) ON i % 100 BETWEEN low AND high
			) AS x`, n, now, prints.before, prints.after, newsEvery, pq.Array(from), pq.Array(to)); err != nil {
			return err
		}
		if _, err := db.ExecContext(ctx, `
			INSERT INTO deliveries (id, permit_no, application_no, business, route, ground, identity_changed, address_changed, station_code,
				station_class, consent_source, consent_at, approved_at, payment_method, name_sealed, phone_sealed, id_no_sealed, address_sealed,
				phone_lookup, id_no_lookup, content_lookup, province, city, county, status, status_since, order_no, waybill_no, number_mode,
				created_at, updated_at)
			SELECT delivery_id, 'A' || waybill_no, 'SQ' || waybill_no, 'exchange', 'online', 'residence', false, false, '110105001', 'police_station',
				'platform', $1, ordered_at, 'collect', sealed, sealed, sealed, sealed || sealed, hash, hash, hash, '北京市', '北京市', '朝阳区', stage,
				changed_at, 'RP' || waybill_no, waybill_no, 'reserved', ordered_at, changed_at
			FROM (SELECT delivery_id, waybill_no, stage, ordered_at, changed_at, decode(md5(waybill_no), 'hex') AS hash,
				decode(repeat(md5(waybill_no), 3), 'hex') AS sealed FROM waybills) AS x`, now); err != nil {
			return err
		}
		for _, s := range journey[:len(journey)-1] {
			if _, err := db.ExecContext(ctx, `
				INSERT INTO scans (delivery_id, op_at, op_code, org_code, waybill_no, op_name, desc_sealed, org_name, province, city, seen_at)
				SELECT delivery_id, ($2 || '+08')::timestamptz, $3, $4, waybill_no, $5, decode(repeat(md5(waybill_no), 4), 'hex'), $6, $7, $8, $1
				FROM waybills WHERE fingerprint = $9`, now, s.at, s.code, s.orgCode, s.name, s.org, s.province, s.city, prints.before); err != nil {
				return err
			}
		}
		return nil
	})
}

// withoutIndexes fills tables and makes their indexes afterwards, as loading a database does.
func withoutIndexes(ctx context.Context, db *sqlx.DB, tables []string, fill func() error) error {
	var defs, names []string
	for _, table := range tables {
		var found []struct {
			Name string `db:"name"`
			Def  string `db:"def"`
		}
		if err := db.SelectContext(ctx, &found, `
			SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS def FROM pg_index
			WHERE indrelid = $1::regclass AND NOT indisprimary AND indexrelid NOT IN (SELECT conindid FROM pg_constraint)`, table); err != nil {
			return err
		}
		for _, x := range found {
			names, defs = append(names, x.Name), append(defs, x.Def)
		}
	}
	for _, name := range names {
		if _, err := db.ExecContext(ctx, `DROP INDEX `+name); err != nil {
			return err
		}
	}
	if err := fill(); err != nil {
		return err
	}
	for _, def := range defs {
		if _, err := db.ExecContext(ctx, def); err != nil {
			return err
		}
	}
	return settle(ctx, db)
}

func tableSize(ctx context.Context, db *sqlx.DB, table string) (heap, indexes int64, err error) {
	err = db.QueryRowxContext(ctx, `SELECT pg_table_size($1::regclass), pg_indexes_size($1::regclass)`, table).Scan(&heap, &indexes)
	return heap, indexes, err
}

// answersKept tells how many answers are kept and what they take.
func answersKept(ctx context.Context, db *sqlx.DB) (rows, bytes int64, err error) {
	err = db.QueryRowxContext(ctx, `
		SELECT (SELECT count(*) FROM raw_answers), sum(pg_total_relation_size(inhrelid)) FROM pg_inherits
		WHERE inhparent = 'raw_answers'::regclass`).Scan(&rows, &bytes)
	return rows, bytes, err
}

func countDueBetween(ctx context.Context, db *sqlx.DB, from, to time.Time) (n int, err error) {
	err = db.GetContext(ctx, &n, `SELECT count(*) FROM waybills WHERE next_poll_at > $1 AND next_poll_at <= $2`, from, to)
	return n, err
}

// A dueAt is when a waybill of a stage is due.
type dueAt struct {
	stage courier.Status
	at    time.Time
}

func readDue(ctx context.Context, db *sqlx.DB, from, to time.Time) (map[string]dueAt, error) {
	rows, err := db.QueryContext(ctx, `SELECT waybill_no, stage, next_poll_at FROM waybills WHERE next_poll_at > $1 AND next_poll_at <= $2`, from, to)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	due := map[string]dueAt{}
	for rows.Next() {
		var no string
		var d dueAt
		if err := rows.Scan(&no, &d.stage, &d.at); err != nil {
			return nil, err
		}
		due[no] = d
	}
	return due, rows.Err()
}

// seedMonth fills an old month of a table that is kept by month.
func seedMonth(ctx context.Context, db *sqlx.DB, table string, n int, month time.Time) error {
	if _, err := db.ExecContext(ctx, `SELECT ensure_month($1, $2::date)`, table, month.Format(time.DateOnly)); err != nil {
		return err
	}
	insert := `
		INSERT INTO scans (delivery_id, op_at, op_code, org_code, waybill_no, op_name, desc_sealed, org_name, province, city, seen_at)
		SELECT ('01930000-0000-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid, $2::timestamptz, '307', '10000301', '98' || lpad(i::text, 11, '0'),
			'投递局接收', decode(repeat(md5(i::text), 4), 'hex'), '示例投递部', '北京市', '北京市', $2::timestamptz
		FROM generate_series(1, $1::integer) AS i`
	if table == "raw_answers" {
		insert = `
			INSERT INTO raw_answers (delivery_id, asked_at, waybill_no, fingerprint, body_sealed)
			SELECT ('01930000-0000-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid, $2::timestamptz, '98' || lpad(i::text, 11, '0'), i,
				decode(repeat(md5(i::text), 36), 'hex')
			FROM generate_series(1, $1::integer) AS i`
	}
	if _, err := db.ExecContext(ctx, insert, n, month); err != nil {
		return err
	}
	// Autovacuum has been through a month that is months old; here it would come just when the month is dropped.
	if _, err := db.ExecContext(ctx, `VACUUM (FREEZE, ANALYZE) `+table+month.Format("_200601")); err != nil {
		return err
	}
	return checkpoint(ctx, db)
}
