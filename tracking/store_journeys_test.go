package tracking

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"emsd/courier"
	"emsd/migrations/dbtest"

	"github.com/google/go-cmp/cmp"
	"github.com/jmoiron/sqlx"
)

// chronicleAll publishes what has happened and lets the chronicler read it.
func chronicleAll(t testing.TB, db *sqlx.DB, c *clock) {
	t.Helper()
	if err := courier.NewPublisher(db).Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := NewChronicler(db, c.courierClock()).Round(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func journeyText(t testing.TB, db *sqlx.DB) string {
	t.Helper()
	return text(t, db, `
		SELECT coalesce(string_agg(concat_ws(' ', county, 'accepted', to_char(accepted_at AT TIME ZONE 'Asia/Shanghai', 'DD HH24'),
			'tried', to_char(first_attempt_at AT TIME ZONE 'Asia/Shanghai', 'DD HH24'), first_attempt_ok, outcome,
			to_char(ended_at AT TIME ZONE 'Asia/Shanghai', 'DD HH24'), days), '; ' ORDER BY delivery_id), '')
		FROM journeys`)
}

func TestTheChroniclerFollowsTheFeed(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	_, numbers := seed(t, db, 1)
	ems, c := newFakeEMS(), newClock(hour(2))
	p := newTestPoller(t, db, ems, c, Options{})
	var trace []courier.Scan
	for _, step := range []struct {
		now   int
		scans []courier.Scan
		want  string
	}{
		{10, []courier.Scan{at(9, "203"), at(10, "305")}, "朝阳区 accepted 26 09 tried"},
		{40, []courier.Scan{at(34, "702"), at(35, "705/1")}, "朝阳区 accepted 26 09 tried 27 11 f"},
		{64, []courier.Scan{at(58, "702"), at(60, "704/10")}, "朝阳区 accepted 26 09 tried 27 11 f delivered 28 12 2"},
		{66, []courier.Scan{at(65, "743")}, "朝阳区 accepted 26 09 tried 27 11 f"},
		{90, []courier.Scan{at(89, "704/10"), at(8, "208")}, "朝阳区 accepted 26 08 tried 27 11 f delivered 29 17 3"},
	} {
		trace = append(trace, step.scans...)
		ems.show(numbers[0], trace...)
		c.set(hour(step.now))
		must(t, db, `INSERT INTO push_hints (waybill_no, received_at) VALUES ($1, $2)`, numbers[0], hour(step.now))
		pollRound(t, p)
		chronicleAll(t, db, c)
		if diff := cmp.Diff(step.want, journeyText(t, db)); diff != "" {
			t.Fatalf("at hour %d: want -, got +\n%s", step.now, diff)
		}
	}
	want := journeyText(t, db)
	must(t, db, `UPDATE feed_readers SET position = 0 WHERE name = 'journeys'`)
	chronicleAll(t, db, c)
	if diff := cmp.Diff(want, journeyText(t, db)); diff != "" {
		t.Errorf("the feed read again: want -, got +\n%s", diff)
	}
}

func TestAWholeFeedIsChronicledOnceByWhoeverReadsIt(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	const n = 2500
	_, numbers := seed(t, db, n)
	ems, c := newFakeEMS(), newClock(hour(60))
	for _, no := range numbers {
		ems.show(no, at(9, "203"), at(34, "702"), at(36, "704/10"))
	}
	pollRound(t, newTestPoller(t, db, ems, c, Options{}))
	if err := courier.NewPublisher(db).Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	began := time.Now()
	for range 3 {
		wg.Go(func() {
			if err := NewChronicler(db, c.courierClock()).Round(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	t.Logf("%d journeys in %s", n, time.Since(began))
	if got := count(t, db, `SELECT count(*) FROM journeys WHERE outcome = 'delivered' AND first_attempt_ok AND days = 1`); got != n {
		t.Errorf("%d journeys, want %d", got, n)
	}
	if read, head := count(t, db, `SELECT position FROM feed_readers WHERE name = 'journeys'`), count(t, db, `SELECT position FROM feed_head`); read != head {
		t.Errorf("read to %d of %d", read, head)
	}
}

// history writes n delivered journeys that took days each.
func history(t testing.TB, db *sqlx.DB, n, days int, r Route, ended time.Time) {
	t.Helper()
	must(t, db, `
		INSERT INTO journeys (delivery_id, station_code, province, city, county, ordered_at, accepted_at, first_attempt_at, first_attempt_ok, ended_at, outcome)
		SELECT gen_random_uuid(), $1, $2, $3, $4, $5, $5, $6, true, $6, 'delivered' FROM generate_series(1, $7)`,
		r.Station, r.Province, r.City, r.County, ended.AddDate(0, 0, -days), ended, n)
}

func TestAnExpectationComesFromTheClosestJourneysThatAreEnough(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	now := beijingTime("2026-11-24 10:00")
	at := func() time.Time { return now }
	h := NewHistory(db, courier.Clock{Now: at, Wall: at}, HistoryOptions{})
	ended := now.AddDate(0, 0, -10)
	home := Route{"110105001", "河北省", "廊坊市", "三河市"}
	other := func(change func(*Route)) Route { r := home; change(&r); return r }
	expect := func() string {
		t.Helper()
		x, ok, err := h.Expect(t.Context(), home)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return "none"
		}
		return fmt.Sprintf("%s %d %d–%d–%d", x.Level, x.Cases, x.Low, x.Median, x.High)
	}
	for _, step := range []struct {
		add  Route
		n    int
		days int
		when time.Time
		want string
	}{
		{home, 19, 2, ended, "none"},
		{home, 30, 9, now.AddDate(0, 0, -181), "none"}, // too long ago
		{other(func(r *Route) { r.Station, r.City = "110108001", "保定市" }), 1, 8, ended, "any 20 2–2–2"},
		{other(func(r *Route) { r.City = "保定市" }), 6, 5, ended, "province 25 2–2–5"},
		{other(func(r *Route) { r.County = "香河县" }), 11, 3, ended, "city 30 2–2–3"},
		{home, 1, 1, ended, "county 20 2–2–2"},
		{home, 20, 4, ended, "county 40 2–2–4"},
		{other(func(r *Route) { r.Province = "天津市" }), 50, 1, ended, "county 40 2–2–4"},
	} {
		history(t, db, step.n, step.days, step.add, step.when)
		if got := expect(); got != step.want {
			t.Errorf("after %d more of %v: %s, want %s", step.n, step.add, got, step.want)
		}
	}
}

func TestStatisticsAgreeWithTheDatabasesOwn(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	seed(t, db, 1)
	must(t, db, `
		INSERT INTO journeys (delivery_id, station_code, province, city, county, ordered_at, accepted_at, first_attempt_at, first_attempt_ok, ended_at, outcome)
		SELECT gen_random_uuid(), '11010500' || (1 + i % 3), '北京市', '北京市', (ARRAY['朝阳区', '海淀区', '通州区', '怀柔区'])[1 + i % 4], $1::timestamptz,
			CASE WHEN i % 17 > 0 THEN $1::timestamptz END, CASE WHEN i % 5 > 0 THEN $1::timestamptz + interval '1 day' END, CASE WHEN i % 5 > 0 THEN i % 7 > 2 END,
			CASE WHEN i % 9 > 0 THEN $1::timestamptz + make_interval(hours => i % 200) END,
			CASE WHEN i % 9 > 0 THEN (ARRAY['delivered', 'delivered', 'delivered', 'returned', 'lost', 'cancelled'])[1 + i % 6] END
		FROM generate_series(1, 3000) i`, beijingTime("2026-11-01 20:00"))
	now := func() time.Time { return beijingTime("2026-11-24 10:00") }
	h := NewHistory(db, courier.Clock{Now: now, Wall: now}, HistoryOptions{})
	got, err := h.Statistics(t.Context(), ByStation, beijingTime("2026-11-02 00:00"), beijingTime("2026-11-06 00:00"))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || got[0].StationName != "示例派出所" {
		t.Fatalf("%d stations, the first named %q", len(got), got[0].StationName)
	}
	all := 0
	for _, s := range got {
		var want Summary
		err := db.QueryRowxContext(t.Context(), `
			SELECT count(*) FILTER (WHERE outcome = 'delivered'), count(*) FILTER (WHERE outcome = 'returned'), count(*) FILTER (WHERE outcome = 'lost'),
				count(first_attempt_at), count(*) FILTER (WHERE first_attempt_ok AND outcome = 'delivered'), count(days),
				percentile_disc(0.5) WITHIN GROUP (ORDER BY days), percentile_disc(0.9) WITHIN GROUP (ORDER BY days)
			FROM journeys WHERE station_code = $1 AND ended_at >= '2026-11-02 00:00+08' AND ended_at < '2026-11-07 00:00+08'`, s.Station).
			Scan(&want.Delivered, &want.Returned, &want.Lost, &want.Attempted, &want.AtOnce, &want.Timed, &want.MedianDays, &want.P90Days)
		if err != nil {
			t.Fatal(err)
		}
		want.Station, want.StationName = s.Station, s.StationName
		if diff := cmp.Diff(want, s); diff != "" {
			t.Errorf("want -, got +\n%s", diff)
		}
		all += s.Delivered
	}
	districts, err := h.Statistics(t.Context(), ByDistrict, beijingTime("2026-11-02 00:00"), beijingTime("2026-11-06 00:00"))
	if err != nil || len(districts) != 4 {
		t.Fatalf("%d districts, %v", len(districts), err)
	}
	for _, s := range districts {
		all -= s.Delivered
	}
	if all != 0 {
		t.Errorf("stations and districts differ by %d deliveries", all)
	}
}

func TestAgeingPutsADeliveryIntoTheBucketOfItsDays(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	ids, _ := seed(t, db, 9)
	now := beijingTime("2026-11-24 10:00")
	for i, age := range []time.Duration{0, 23 * time.Hour, 24 * time.Hour, 71 * time.Hour, 72 * time.Hour, 7 * 24 * time.Hour, 15 * 24 * time.Hour} {
		must(t, db, `UPDATE deliveries SET status = 'in_transit', status_since = $2 WHERE id = $1`, ids[i], now.Add(-age))
	}
	must(t, db, `UPDATE deliveries SET status = 'awaiting_payment', status_since = $2 WHERE id = $1`, ids[7], now.AddDate(0, 0, -5))
	must(t, db, `UPDATE deliveries SET status = 'delivered' WHERE id = $1`, ids[8])
	at := func() time.Time { return now }
	got, err := NewHistory(db, courier.Clock{Now: at, Wall: at}, HistoryOptions{}).Ageing(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []Age{{courier.AwaitingPayment, []int{0, 0, 1, 0, 0}}, {courier.InTransit, []int{2, 2, 1, 1, 1}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want -, got +\n%s", diff)
	}
}
