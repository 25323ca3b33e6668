package tracking

import (
	"testing"
	"time"

	"emsd/courier"
	"emsd/migrations/dbtest"
)

// BenchmarkHistory answers from a million journeys of two years, of 400 stations to 16 districts of Beijing and 300
// counties elsewhere.
func BenchmarkHistory(b *testing.B) {
	db := dbtest.Open(b)
	now := beijingTime("2026-11-24 10:00")
	must(b, db, `SET synchronous_commit = off`)
	must(b, db, `
		INSERT INTO journeys (delivery_id, station_code, province, city, county, ordered_at, accepted_at, first_attempt_at, first_attempt_ok, ended_at, outcome)
		SELECT gen_random_uuid(), 'S' || i % 400, CASE WHEN i % 10 > 0 THEN '北京市' ELSE 'P' || i % 30 END, CASE WHEN i % 10 > 0 THEN '北京市' ELSE 'C' || i % 100 END,
			'D' || CASE WHEN i % 10 > 0 THEN (i / 400) % 16 ELSE (i / 400) % 300 END, at - interval '6 hours', at, at + interval '1 day', i % 11 > 0,
			at + make_interval(hours => 20 + (i % 97)), CASE WHEN i % 50 > 0 THEN 'delivered' ELSE 'returned' END
		FROM (SELECT i, $1::timestamptz - make_interval(mins => i) AS at FROM generate_series(1, 1000000) i) x`, now.AddDate(0, 0, -6))
	must(b, db, `VACUUM ANALYZE journeys`)
	clock := func() time.Time { return now }
	h := NewHistory(db, courier.Clock{Now: clock, Wall: clock}, HistoryOptions{})
	ask := func(name string, f func() (int, error)) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if n, err := f(); err != nil || n == 0 {
					b.Fatalf("%d, %v", n, err)
				}
			}
		})
	}
	expect := func(r Route) func() (int, error) {
		return func() (int, error) { x, _, err := h.Expect(b.Context(), r); return x.Cases, err }
	}
	ask("expect/county", expect(Route{"S7", "北京市", "北京市", "D3"}))
	ask("expect/city", expect(Route{"S7", "北京市", "北京市", "unheard of"}))
	ask("expect/any", expect(Route{"S999", "北京市", "北京市", "D3"}))
	for _, by := range []Grouping{ByStation, ByDistrict} {
		for _, days := range []int{30, 365, 730} {
			ask("statistics/"+string(by)+"/"+now.AddDate(0, 0, -days).Format(time.DateOnly), func() (int, error) {
				list, err := h.Statistics(b.Context(), by, now.AddDate(0, 0, -days), now)
				return len(list), err
			})
		}
	}
}

// BenchmarkLive counts a million live deliveries by age, and looks for standstills among them when nothing is due and the
// stations keep 20 different hours.
func BenchmarkLive(b *testing.B) {
	db := dbtest.Open(b)
	now := beijingTime("2026-11-24 10:00")
	seed(b, db, 1)
	must(b, db, `
		INSERT INTO deliveries (id, permit_no, application_no, business, route, ground, identity_changed, address_changed, station_code,
			station_class, consent_source, consent_at, approved_at, payment_method, name_sealed, phone_sealed, id_no_sealed, address_sealed,
			phone_lookup, id_no_lookup, content_lookup, province, city, county, status, status_since, tracked_at, order_no, waybill_no, created_at, updated_at)
		SELECT gen_random_uuid(), 'B' || i, 'SQ' || i, 'exchange', 'online', 'residence', false, false, '110105001', 'police_station', 'platform', $1, $1,
			'prepaid', '', '', '', '', '', '', '', '北京市', '北京市', '朝阳区', (ARRAY['ordered', 'in_transit', 'held', 'returning'])[1 + i % 4],
			$1::timestamptz - make_interval(mins => i % 50000), $1, 'B' || i, 'B' || i, $1, $1
		FROM generate_series(1, 1000000) i`, now)
	must(b, db, `VACUUM ANALYZE deliveries`)
	clock := func() time.Time { return now }
	h := NewHistory(db, courier.Clock{Now: clock, Wall: clock}, HistoryOptions{})
	must(b, db, `
		INSERT INTO stations (code, name, kind, hours, created_at, updated_at)
		SELECT 'S' || i, 'S' || i, 'police_station', '09:' || 10 + i || '-17:00', $1, $1 FROM generate_series(1, 19) i`, now)
	b.Run("ageing", func(b *testing.B) {
		for b.Loop() {
			if ages, err := h.Ageing(b.Context()); err != nil || len(ages) != 4 {
				b.Fatalf("%v, %v", ages, err)
			}
		}
	})
	b.Run("stalls", func(b *testing.B) {
		for b.Loop() {
			stallRound(b, db, now.AddDate(0, 0, -60))
		}
	})
}
