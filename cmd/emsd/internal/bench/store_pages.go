package bench

import (
	"context"
	"time"

	"github.com/jmoiron/sqlx"
)

// seedPages makes n deliveries that are under way, each with an event in the feed, changed one after the other until now.
// One in twenty is held. Their personal data is empty, as retention leaves it: sealing it would take longer than all that
// is measured.
func seedPages(ctx context.Context, db *sqlx.DB, n int, now time.Time) error {
	return withoutIndexes(ctx, db, []string{"deliveries"}, func() error {
		if _, err := db.ExecContext(ctx, `
			INSERT INTO deliveries (id, permit_no, application_no, business, route, ground, identity_changed, address_changed, station_code,
				station_class, consent_source, consent_at, approved_at, payment_method, name_sealed, phone_sealed, id_no_sealed, address_sealed,
				phone_lookup, id_no_lookup, content_lookup, province, city, county, status, status_since, order_no, waybill_no, number_mode,
				created_at, updated_at)
			SELECT ('01910000-0000-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid, 'B' || i, 'SB' || i, 'exchange', 'online', 'residence', false, false,
				'110105001', 'police_station', 'platform', $2, $2, 'collect', '', '', '', '', hash, hash, hash, '北京市', '北京市', '朝阳区',
				CASE WHEN i % 20 = 0 THEN 'held' ELSE 'in_transit' END, at, 'RB' || i, '97' || lpad(i::text, 11, '0'), 'reserved', at, at
			FROM (SELECT i, decode(md5(i::text), 'hex') AS hash, $2::timestamptz - ($1::integer - i) * interval '1 second' AS at
				FROM generate_series(1, $1::integer) AS i) AS x`, n, now); err != nil {
			return err
		}
		_, err := db.ExecContext(ctx, `
			INSERT INTO events (delivery_id, seq, type, at, data, position)
			SELECT id, 1, 'delivery.' || status, updated_at, '{"from":"accepted"}', row_number() OVER (ORDER BY id)
			FROM deliveries`)
		return err
	})
}
