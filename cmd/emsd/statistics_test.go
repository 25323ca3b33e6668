package main

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"emsd/courier/emssim"

	"github.com/google/go-cmp/cmp"
)

// pastJourneys writes n delivered journeys of a county that took days each and ended yesterday.
func (d *daemon) pastJourneys(n, days int, county string, atOnce bool) {
	d.t.Helper()
	ended := time.Now().AddDate(0, 0, -1)
	_, err := d.app.db.Exec(`
		INSERT INTO journeys (delivery_id, station_code, province, city, county, ordered_at, accepted_at, first_attempt_at, first_attempt_ok, ended_at, outcome)
		SELECT gen_random_uuid(), '110102001', '北京市', '北京市', $1, $2, $2, $3, $4, $3, 'delivered' FROM generate_series(1, $5)`,
		county, ended.AddDate(0, 0, -days), ended, atOnce, n)
	if err != nil {
		d.t.Fatal(err)
	}
}

func TestADeliverySaysWhatToExpectAndWhy(t *testing.T) {
	t.Parallel()
	d := start(t, setup{ems: emssim.Config{PushTo: "here"}})
	id := d.ordered(1)
	if v := d.view(id); v["expected"] != nil {
		t.Errorf("expected without a history: %v", v["expected"])
	}
	d.pastJourneys(15, 1, "西城区", true)
	d.pastJourneys(10, 3, "西城区", false)
	day := func(days int) string { return time.Now().In(beijing).AddDate(0, 0, days).Format(time.DateOnly) }
	want := map[string]any{"low_days": 1.0, "median_days": 1.0, "high_days": 3.0, "cases": 25.0, "level": "county", "from": day(-179), "to": day(0),
		"basis": "近180天本派出所寄往西城区的25件中，八成在收寄后1至3天内送达"}
	if diff := cmp.Diff(want, d.view(id)["expected"]); diff != "" {
		t.Errorf("ordered: want -, got +\n%s", diff)
	}
	d.scanned(id, "accepted", "203")
	want["earliest"], want["latest"] = day(1), day(3)
	if diff := cmp.Diff(want, d.view(id)["expected"]); diff != "" {
		t.Errorf("accepted: want -, got +\n%s", diff)
	}
	d.scanned(id, "delivered", "702", "704/10")
	if v := d.view(id); v["expected"] != nil {
		t.Errorf("expected of what has arrived: %v", v["expected"])
	}
}

func TestStatisticsTellHowWellItWent(t *testing.T) {
	t.Parallel()
	d := start(t, setup{ems: emssim.Config{PushTo: "here"}})
	id := d.ordered(1)
	ages := d.must(200, "GET", "/v1/statistics/ageing", nil)
	bucket := func(from, to float64, n int) map[string]any {
		b := map[string]any{"from_days": from, "count": float64(n)}
		if to > 0 {
			b["to_days"] = to
		}
		return b
	}
	want := map[string]any{"statuses": []any{map[string]any{"status": "ordered", "count": 1.0,
		"buckets": []any{bucket(0, 1, 1), bucket(1, 3, 0), bucket(3, 7, 0), bucket(7, 14, 0), bucket(14, 0, 0)}}}}
	if diff := cmp.Diff(want, ages); diff != "" {
		t.Errorf("ageing: want -, got +\n%s", diff)
	}
	d.pastJourneys(8, 2, "西城区", true)
	d.pastJourneys(1, 5, "朝阳区", false)
	d.scanned(id, "delivered", "203", "702", "704/10")
	groups := func(query string) []any {
		g, _ := d.must(200, "GET", "/v1/statistics?"+query, nil)["groups"].([]any)
		return g
	}
	until(t, 10*time.Second, "the journey is written", func() bool {
		g := groups("by=station")
		return len(g) == 1 && g[0].(map[string]any)["delivered"] == 10.0
	})
	station := map[string]any{"station_code": "110102001", "station_name": d.stationName("110102001"), "delivered": 10.0, "returned": 0.0, "lost": 0.0,
		"attempted": 10.0, "first_attempt": 9.0, "first_attempt_rate": 0.9, "median_days": 2.0, "p90_days": 2.0}
	if diff := cmp.Diff([]any{station}, groups("by=station")); diff != "" {
		t.Errorf("by station: want -, got +\n%s", diff)
	}
	var counties []string
	for _, g := range groups("by=district") {
		m := g.(map[string]any)
		counties = append(counties, fmt.Sprint(m["county"], m["delivered"]))
	}
	if diff := cmp.Diff([]string{"朝阳区1", "西城区9"}, counties); diff != "" {
		t.Errorf("by district: want -, got +\n%s", diff)
	}
	if g := groups("by=station&from=2020-01-01&to=2020-01-31"); len(g) != 0 {
		t.Errorf("of a month without journeys: %v", g)
	}
}

func (d *daemon) stationName(code string) string {
	d.t.Helper()
	var name string
	if err := d.app.db.Get(&name, `SELECT name FROM stations WHERE code = $1`, code); err != nil {
		d.t.Fatal(err)
	}
	return name
}

func TestStatisticsRefuseWhatTheyCannotAnswer(t *testing.T) {
	t.Parallel()
	d := start(t, setup{})
	for _, query := range []string{"", "by=moon", "by=station&from=yesterday", "by=station&to=2026-13-01", "by=district&from=2026-02-02&to=2026-02-01",
		"by=station&from=2001-01-01&to=2026-01-01", "by=station&from=2026-02-30"} {
		problem(t, d.call("clerk", "GET", "/v1/statistics?"+query, nil), http.StatusBadRequest, "bad_parameter")
	}
	for _, path := range []string{"/v1/statistics?by=station", "/v1/statistics/ageing"} {
		if r := d.call("payments", "GET", path, nil); r.status != http.StatusForbidden {
			t.Errorf("%s with another scope: %s", path, r)
		}
		if r := d.call("read", "GET", path, nil); r.status != http.StatusOK {
			t.Errorf("%s with scope read: %s", path, r)
		}
	}
}
