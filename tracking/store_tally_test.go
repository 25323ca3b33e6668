package tracking

import (
	"sync"
	"testing"

	"emsd/courier"
	"emsd/migrations/dbtest"

	"github.com/google/go-cmp/cmp"
	"github.com/jmoiron/sqlx"
)

// talliedRight compares the tallies with a count of the deliveries themselves.
func talliedRight(t *testing.T, db *sqlx.DB) {
	t.Helper()
	want := text(t, db, `
		SELECT coalesce(string_agg(concat_ws(' ', status, day, n), '; ' ORDER BY status, day), '') FROM (
			SELECT status, (status_since AT TIME ZONE 'Asia/Shanghai')::date AS day, count(*) AS n FROM deliveries GROUP BY 1, 2
			UNION ALL SELECT 'taken_in', (created_at AT TIME ZONE 'Asia/Shanghai')::date, count(*) FROM deliveries GROUP BY 2) AS x`)
	got := text(t, db, `
		SELECT coalesce(string_agg(concat_ws(' ', status, day, n), '; ' ORDER BY status, day), '') FROM (
			SELECT status, day, sum(n) AS n FROM tallies GROUP BY 1, 2) AS x`)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("tallies (-count of the deliveries +tallies):\n%s", diff)
	}
}

func TestTalliesAreWhatACountWouldGive(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	_, numbers := seed(t, db, 3)
	must(t, db, `DELETE FROM events`) // the seed has none of its own for all of its rows
	must(t, db, `INSERT INTO events (delivery_id, seq, type, at, data) SELECT id, seq + 1, 'delivery.' || status, status_since, '{}' FROM deliveries`)
	must(t, db, `UPDATE deliveries SET seq = seq + 1`)
	publish := func() {
		if err := courier.NewPublisher(db).Round(t.Context()); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup // two daemons take turns
		for range 2 {
			wg.Go(func() {
				if err := NewTallier(db).Round(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	publish()
	talliedRight(t, db)
	ems, c := newFakeEMS(), newClock(hour(2))
	p := newTestPoller(t, db, ems, c, Options{})
	for _, step := range []struct {
		now   int
		scans []courier.Scan
	}{
		{10, []courier.Scan{at(9, "203"), at(10, "305")}},
		{64, []courier.Scan{at(9, "203"), at(10, "305"), at(58, "702"), at(60, "704/10")}},
		{66, []courier.Scan{at(9, "203"), at(10, "305"), at(58, "702"), at(60, "704/10"), at(65, "743")}}, // taken back
	} {
		ems.show(numbers[0], step.scans...)
		c.set(hour(step.now))
		must(t, db, `INSERT INTO push_hints (waybill_no, received_at) VALUES ($1, $2)`, numbers[0], hour(step.now))
		pollRound(t, p)
		publish()
		talliedRight(t, db)
	}
	must(t, db, `UPDATE feed_readers SET position = 0 WHERE name = 'tallies'`) // a feed that is read again counts nothing twice
	publish()
	talliedRight(t, db)
	h := NewHistory(db, c.courierClock(), HistoryOptions{})
	ages, err := h.Standing(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, a := range ages {
		total += a.Total()
	}
	if total != 3 {
		t.Errorf("%d stand somewhere, want 3: %+v", total, ages)
	}
	other, err := h.Standing(courier.OfStation(t.Context(), "999999999"))
	if err != nil || len(other) != 0 {
		t.Errorf("another station sees %+v, %v", other, err)
	}
}
