package bench

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// seedConsole makes n deliveries of half a year: one in five is live, the others have ended, each with its journey, four
// events; one in a hundred of the live ones has a case.
func seedConsole(ctx context.Context, db *sqlx.DB, n int, now time.Time) error {
	if err := seedStation(ctx, db, now); err != nil {
		return err
	}
	return withoutIndexes(ctx, db, []string{"deliveries", "journeys", "cases"}, func() error {
		for _, statement := range []string{`
			INSERT INTO deliveries (id, permit_no, application_no, business, route, ground, identity_changed, address_changed, station_code,
				station_class, consent_source, consent_at, approved_at, payment_method, name_sealed, phone_sealed, id_no_sealed, address_sealed,
				phone_lookup, id_no_lookup, content_lookup, province, city, county, status, status_since, rule, reason, order_no, waybill_no, number_mode,
				seq, created_at, updated_at)
			SELECT ('01930000-0000-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid, 'A11' || lpad(i::text, 12, '0'), 'SQ' || lpad(i::text, 12, '0'), 'exchange', 'online',
				'residence', false, false, '110105001', 'police_station', 'platform', made, made, 'collect', '', '', '', '', hash, hash, hash, '北京市', '北京市',
				'区' || (i % 16), status, made + interval '2 days', CASE WHEN status = 'refused' THEN 'R-15' END, CASE WHEN status = 'refused' THEN '网上办理限住所' END,
				CASE WHEN sent THEN 'RP' || i END, CASE WHEN sent THEN '98' || lpad(i::text, 11, '0') END, CASE WHEN sent THEN 'reserved' END, 4, made, made + interval '2 days'
			FROM (
				SELECT i, decode(md5(i::text), 'hex') AS hash, status, status <> 'refused' AS sent,
					$2::timestamptz - CASE WHEN i % 100 < 80 THEN 10 + (($1 - i)::float8 / $1) * 170 ELSE (i % 997) / 100.0 END * interval '1 day' AS made
				FROM generate_series(1, $1::integer) AS i JOIN (VALUES (0, 69, 'delivered'), (70, 75, 'refused'), (76, 79, 'returned'), (80, 81, 'ordered'),
					(82, 85, 'accepted'), (86, 94, 'in_transit'), (95, 97, 'out_for_delivery'), (98, 99, 'held')) AS life(low, high, status) ON i % 100 BETWEEN low AND high
			) AS x`, `
			INSERT INTO journeys (delivery_id, station_code, province, city, county, ordered_at, accepted_at, first_attempt_at, first_attempt_ok, ended_at, outcome)
			SELECT id, station_code, province, city, county, created_at, created_at, status_since, true, status_since, status FROM deliveries
			WHERE status IN ('delivered', 'returned') AND $1::integer > 0 AND $2::timestamptz IS NOT NULL`, `
			INSERT INTO cases (id, delivery_id, kind, opened_at, due_at, next_action)
			SELECT gen_random_uuid(), id, 'stalled', $2, $2::timestamptz + interval '1 day', '向邮政查询' FROM deliveries
			WHERE status = 'in_transit' AND abs(hashtext(id::text)) % 100 = 0 AND $1::integer > 0`, `
			INSERT INTO events (delivery_id, seq, type, at, data)
			SELECT d.id, k, 'delivery.' || (ARRAY['awaiting_payment', 'approved', 'ordering', 'ordered'])[k], d.created_at, '{}'
			FROM deliveries d CROSS JOIN generate_series(1, 4) AS k WHERE $1::integer > 0 AND $2::timestamptz IS NOT NULL AND d.created_at > $2::timestamptz - interval '30 days'`, `
			INSERT INTO tallies (status, day, station_code, n)
			SELECT status, (status_since AT TIME ZONE 'Asia/Shanghai')::date, station_code, count(*) FROM deliveries
			WHERE $1::integer > 0 AND $2::timestamptz IS NOT NULL GROUP BY 1, 2, 3
			UNION ALL SELECT 'taken_in', (created_at AT TIME ZONE 'Asia/Shanghai')::date, station_code, count(*) FROM deliveries GROUP BY 2, 3`} {
			if _, err := db.ExecContext(ctx, statement, n, now); err != nil {
				return err
			}
		}
		_, err := db.ExecContext(ctx, `VACUUM (ANALYZE) journeys, cases, tallies`)
		return err
	})
}

// A pageRow is a delivery that pages are asked for.
type pageRow struct {
	ID       uuid.UUID `db:"id"`
	PermitNo string    `db:"permit_no"`
}

// sealNewest gives the newest deliveries sealed recipients, so that a page opens what it shows.
func sealNewest(ctx context.Context, db *sqlx.DB, most int, seal func(id uuid.UUID) [][]byte) ([]pageRow, error) {
	var rows []pageRow
	if err := db.SelectContext(ctx, &rows, `SELECT id, permit_no FROM deliveries ORDER BY id DESC LIMIT $1`, most); err != nil {
		return nil, err
	}
	var ids []string
	cols := make([][][]byte, 4)
	for _, r := range rows {
		ids = append(ids, r.ID.String())
		for i, s := range seal(r.ID) {
			cols[i] = append(cols[i], s)
		}
	}
	_, err := db.ExecContext(ctx, `
		UPDATE deliveries d SET name_sealed = r.name, phone_sealed = r.phone, id_no_sealed = r.id_no, address_sealed = r.address
		FROM unnest($1::uuid[], $2::bytea[], $3::bytea[], $4::bytea[], $5::bytea[]) AS r(id, name, phone, id_no, address) WHERE d.id = r.id`,
		pq.Array(ids), pq.ByteaArray(cols[0]), pq.ByteaArray(cols[1]), pq.ByteaArray(cols[2]), pq.ByteaArray(cols[3]))
	return rows, err
}
