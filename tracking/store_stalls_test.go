package tracking

import (
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"emsd/courier"
	"emsd/migrations/dbtest"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"github.com/prometheus/client_golang/prometheus"
)

func beijingTime(text string) time.Time {
	t, err := time.ParseInLocation("2006-01-02 15:04", text, beijing)
	if err != nil {
		panic(err)
	}
	return t
}

func stallRound(t testing.TB, db *sqlx.DB, now time.Time) {
	t.Helper()
	if err := newStaller(db, now).Round(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func newStaller(db *sqlx.DB, now time.Time) *Staller {
	at := func() time.Time { return now }
	return NewStaller(db, courier.Clock{Now: at, Wall: at}, slog.New(slog.DiscardHandler), nil)
}

func stalledCases(t testing.TB, db *sqlx.DB) int {
	t.Helper()
	return count(t, db, `SELECT count(*) FROM cases WHERE kind = 'stalled' AND closed_at IS NULL`)
}

func TestAClockRunsOutAtItsMinuteAndNotBefore(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		set    string // what puts the delivery there, with its time as $2
		at     string
		due    string // first minute at which a clerk is told
		clock  string
		hours  string // of the station
		detail string
	}{
		{name: "handed over, nothing scanned, by the station's hours", set: `status = 'ordered', handed_over_at = $2`,
			at: "2026-11-24 15:00", due: "2026-11-25 15:30", clock: "not_accepted", hours: "09:00-12:00,13:30-18:00"},
		{name: "never known to EMS, over a weekend", set: `status = 'ordered', status_since = $2`,
			at: "2026-11-24 10:00", due: "2026-12-01 10:00", clock: "not_known"},
		{name: "silent in transit, over a weekend", set: `status = 'in_transit', status_since = $2, tracked_at = $2`,
			at: "2026-11-26 10:00", due: "2026-12-01 10:00", clock: "no_scan"},
		{name: "silent in transit over National Day", set: `status = 'accepted', tracked_at = $2, status_since = '2026-09-01'`,
			at: "2026-09-29 10:00", due: "2026-10-09 10:00", clock: "no_scan"},
		{name: "silent in transit over a made-up Sunday", set: `status = 'attempt_failed', tracked_at = $2, status_since = $2`,
			at: "2026-09-18 10:00", due: "2026-09-22 10:00", clock: "no_scan"},
		{name: "with the courier without a result", set: `status = 'out_for_delivery', tracked_at = $2, status_since = $2`,
			at: "2026-11-24 08:30", due: "2026-11-25 11:00", clock: "no_result"},
		{name: "held beyond its last day", set: `status = 'held', tracked_at = $2, status_since = $2, held_until = '2026-11-26'`,
			at: "2026-11-24 10:00", due: "2026-11-27 00:00", clock: "held_too_long"},
		{name: "held without a last day", set: `status = 'held', tracked_at = $2, status_since = $2`,
			at: "2026-11-24 10:00", due: "2026-12-01 10:00", clock: "held_too_long"},
		{name: "long on its way back", set: `status = 'returning', tracked_at = $2, status_since = $2`,
			at: "2026-11-16 09:00", due: "2026-11-24 17:00", clock: "returning_long"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			db := dbtest.Open(t)
			ids, _ := seed(t, db, 1)
			if tt.hours != "" {
				must(t, db, `UPDATE stations SET hours = $1`, tt.hours)
			}
			must(t, db, `UPDATE deliveries SET status_since = $2 WHERE id = $1`, ids[0], beijingTime(tt.at))
			must(t, db, `UPDATE deliveries SET `+tt.set+` WHERE id = $1 AND created_at <= $2`, ids[0], beijingTime(tt.at))
			due := beijingTime(tt.due)
			stallRound(t, db, due.Add(-time.Minute))
			if n := stalledCases(t, db); n != 0 {
				t.Fatalf("a minute too early: %s", text(t, db, `SELECT detail FROM cases`))
			}
			stallRound(t, db, due)
			if n := stalledCases(t, db); n != 1 {
				t.Fatalf("%d cases at %s, want 1", n, tt.due)
			}
			want := fmt.Sprintf("%%(%s)%%", tt.clock)
			if count(t, db, `SELECT count(*) FROM cases WHERE replace(replace(detail, '（', '('), '）', ')') LIKE $1 AND due_at > opened_at`, want) != 1 {
				t.Errorf("detail %q names not the clock %s", text(t, db, `SELECT detail FROM cases`), tt.clock)
			}
			stallRound(t, db, due.Add(time.Minute))
			if n := count(t, db, `SELECT count(*) FROM cases`); n != 1 {
				t.Errorf("%d cases after another round, want 1", n)
			}
		})
	}
}

func TestAShelfThatIsOverIsACase(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	ids, _ := seed(t, db, 2)
	must(t, db, `UPDATE deliveries SET status = 'returned'`)
	must(t, db, `INSERT INTO returns (delivery_id, received_at, received_by, shelf, retain_until) SELECT id, $2, 'a clerk', 'A-1', '2026-11-26'
		FROM unnest($1::uuid[]) AS r(id)`, pq.Array(ids), beijingTime("2026-10-26 10:00"))
	must(t, db, `UPDATE returns SET picked_up_at = $2, picked_up_by = 'a clerk', picked_up_who = 'holder', id_document = 'resident_id' WHERE delivery_id = $1`, ids[1], beijingTime("2026-11-01 10:00"))
	stallRound(t, db, beijingTime("2026-11-26 23:59"))
	if n := stalledCases(t, db); n != 0 {
		t.Fatalf("%d cases on the last day", n)
	}
	stallRound(t, db, beijingTime("2026-11-27 00:00"))
	if n := count(t, db, `SELECT count(*) FROM cases WHERE kind = 'stalled' AND delivery_id = $1`, ids[0]); n != 1 || stalledCases(t, db) != 1 {
		t.Errorf("%d cases of the one on the shelf, %d in all; want 1 and 1", n, stalledCases(t, db))
	}
}

func TestTheSameStandstillDoesNotComeBackAndTheNextDoes(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	ids, _ := seed(t, db, 1)
	began, now := beijingTime("2026-11-16 10:00"), beijingTime("2026-11-24 10:00")
	must(t, db, `UPDATE deliveries SET status = 'in_transit', tracked_at = $1, status_since = $1`, began)
	stallRound(t, db, now)
	must(t, db, `UPDATE cases SET closed_at = $1, outcome = 'urged', closed_by = 'a clerk'`, now)
	stallRound(t, db, now.Add(72*time.Hour))
	if n := count(t, db, `SELECT count(*) FROM cases`); n != 1 {
		t.Fatalf("%d cases: one that a clerk has closed came back", n)
	}
	must(t, db, `UPDATE deliveries SET tracked_at = $2 WHERE id = $1`, ids[0], now.Add(time.Hour))
	stallRound(t, db, now.Add(4*time.Hour))
	stallRound(t, db, beijingTime("2026-11-30 12:00"))
	if n := stalledCases(t, db); n != 1 {
		t.Errorf("%d open cases after it stood still again, want 1", n)
	}
}

func TestWhatWasHandedOverIsNotToldAgainAsUnknown(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	seed(t, db, 1)
	must(t, db, `UPDATE deliveries SET status_since = $1, handed_over_at = $2`, beijingTime("2026-11-16 10:00"), beijingTime("2026-11-17 10:00"))
	stallRound(t, db, beijingTime("2026-11-18 10:00"))
	if n := count(t, db, `SELECT count(*) FROM cases WHERE closed_at IS NULL AND detail LIKE '%11月17日10:00已交寄%not_accepted%'`); n != 1 {
		t.Fatalf("%d cases of what was handed over, want 1", n)
	}
	stallRound(t, db, beijingTime("2026-11-27 10:00"))
	must(t, db, `UPDATE cases SET closed_at = $1, outcome = 'found', closed_by = 'a clerk'`, beijingTime("2026-11-27 11:00"))
	stallRound(t, db, beijingTime("2026-11-27 12:00"))
	if n := count(t, db, `SELECT count(*) FROM cases`); n != 1 {
		t.Errorf("%d cases, want 1", n)
	}
}

func TestTwoRoundsAtOnceOpenEachCaseOnce(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	seed(t, db, 300)
	must(t, db, `UPDATE deliveries SET status = 'in_transit', tracked_at = $1, status_since = $1`, beijingTime("2026-11-16 10:00"))
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		wg.Go(func() { errs[i] = newStaller(db, beijingTime("2026-11-24 10:00")).Round(t.Context()) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	stallRound(t, db, beijingTime("2026-11-24 10:00"))
	if n, all := stalledCases(t, db), count(t, db, `SELECT count(*) FROM cases`); n != 300 || all != 300 {
		t.Errorf("%d open of %d cases, want 300 of 300", n, all)
	}
	if n := count(t, db, `SELECT count(*) FROM events WHERE type = 'case.opened'`); n != 300 {
		t.Errorf("%d events, want 300", n)
	}
}

func TestFourThousandStandstillsInOneRound(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	seed(t, db, 4000)
	must(t, db, `UPDATE deliveries SET status = 'in_transit', tracked_at = $1, status_since = $1`, beijingTime("2026-11-16 10:00"))
	began := time.Now()
	stallRound(t, db, beijingTime("2026-11-24 10:00"))
	took := time.Since(began)
	t.Logf("4,000 cases in %s", took)
	if n := stalledCases(t, db); n != 4000 || took > 12*time.Second {
		t.Errorf("%d cases in %s", n, took)
	}
}

func TestClocksRunOnInAYearWithoutDataAndSaySo(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	seed(t, db, 1)
	must(t, db, `UPDATE deliveries SET status = 'in_transit', tracked_at = $1, status_since = $1`, beijingTime("2101-11-14 10:00"))
	reg := prometheus.NewRegistry()
	at := func() time.Time { return beijingTime("2101-11-24 10:00") }
	s := NewStaller(db, courier.Clock{Now: at, Wall: at}, slog.New(slog.DiscardHandler), NewStallMetrics(reg))
	if err := s.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := count(t, db, `SELECT count(*) FROM cases WHERE kind = 'stalled' AND detail LIKE '%没有2101年的工作日安排%'`); n != 1 {
		t.Errorf("%d cases that name the year, want 1", n)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "emsd_calendar_missing_year" && f.GetMetric()[0].GetGauge().GetValue() != 2101 {
			t.Errorf("the metric names the year %v, want 2101", f.GetMetric()[0].GetGauge().GetValue())
		}
	}
	if len(families) == 0 {
		t.Error("no metric is told")
	}
}

func TestTheClockOfScansStartsAnewWithTheStatus(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	seed(t, db, 1) // ordered again, under another number, after its former one was scanned
	must(t, db, `UPDATE deliveries SET tracked_at = $1, status_since = $2`, beijingTime("2026-11-03 10:00"), beijingTime("2026-11-24 10:00"))
	stallRound(t, db, beijingTime("2026-11-30 10:00"))
	if n := stalledCases(t, db); n != 0 {
		t.Fatalf("a case within four days: %s", text(t, db, `SELECT detail FROM cases`))
	}
	stallRound(t, db, beijingTime("2026-12-01 10:00"))
	if n := stalledCases(t, db); n != 1 {
		t.Errorf("%d cases after five days, want 1", n)
	}
}
