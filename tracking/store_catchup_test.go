package tracking

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"emsd/courier"
	"emsd/migrations/dbtest"

	"github.com/lib/pq"
)

// After twelve hours without EMS everything is overdue. One question goes out first; when it is answered, the most urgent
// come before the others, and the next questions are spread again.
func TestCatchingUpIsNoStampede(t *testing.T) {
	t.Parallel()
	const n = 6000
	db := dbtest.Open(t)
	seed(t, db, n)
	must(t, db, `
		UPDATE waybills w SET urgency = x.u, next_poll_at = CAST($1 AS timestamptz) + x.i % 43200 * interval '1 second',
			stage = (ARRAY['out_for_delivery', 'held', 'in_transit', 'ordered'])[x.u + 1]
		FROM (SELECT delivery_id, row_number() OVER () AS i, row_number() OVER () % 4 AS u FROM waybills) AS x
		WHERE w.delivery_id = x.delivery_id`, hour(0))
	must(t, db, `UPDATE deliveries d SET status = w.stage FROM waybills w WHERE w.delivery_id = d.id`)
	urgency := map[string]int{}
	var rows []struct {
		No string `db:"waybill_no"`
		U  int    `db:"urgency"`
	}
	if err := db.SelectContext(t.Context(), &rows, `SELECT waybill_no, urgency FROM waybills`); err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		urgency[r.No] = r.U
	}
	ems, c := newFakeEMS(), newClock(hour(12))
	ems.before = func(context.Context, string) error {
		return &courier.CarrierError{Kind: courier.Unsent, API: "040001", Message: "connection refused"}
	}
	p := newTestPoller(t, db, ems, c, Options{Concurrency: 16, Chunk: 100})
	for range 3 { // the outage
		if err := p.Round(t.Context()); !errors.Is(err, errSilent) {
			t.Fatalf("Round = %v, want silence", err)
		}
	}

	var mu sync.Mutex
	var order []int // urgencies as they were asked about
	atOnce, first := 0, true
	ems.before = func(_ context.Context, no string) error {
		mu.Lock()
		order = append(order, urgency[no])
		alone := first
		first = false
		mu.Unlock()
		if alone { // nobody else asks while this one waits
			time.Sleep(50 * time.Millisecond)
			mu.Lock()
			atOnce = len(order)
			mu.Unlock()
		}
		return nil
	}
	pollRound(t, p)
	if atOnce != 1 {
		t.Errorf("%d questions went out before the first was answered", atOnce)
	}
	mean := func(u int) (at float64) {
		for i, v := range order {
			if v == u {
				at += float64(i) / float64(n/4)
			}
		}
		return at
	}
	means := []float64{mean(0), mean(1), mean(2), mean(3)}
	if !slices.IsSorted(means) || means[0] > 0.3*float64(n) {
		t.Errorf("the urgencies were asked about at %.0f on the average, of %d", means, n)
	}
	if left := count(t, db, `SELECT count(*) FROM waybills WHERE next_poll_at <= $1`, hour(12)); left != 0 {
		t.Errorf("%d are overdue still", left)
	}
	for u := range 4 {
		most := count(t, db, `SELECT max(c) FROM (SELECT count(*) AS c FROM waybills WHERE urgency = $1 GROUP BY date_trunc('second', next_poll_at)) AS m`, u)
		if most > n/4/10 {
			t.Errorf("of %d of urgency %d, %d come round in the same second", n/4, u, most)
		}
	}
}

// Ten thousand hints while five thousand waybills are due: those that are due are asked about no later than a little, and
// each once.
func TestAFloodOfHintsDoesNotSlowTheRound(t *testing.T) {
	t.Parallel()
	const due, flood = 5000, 10_000
	run := func(hints int) time.Duration {
		db := dbtest.Open(t)
		_, numbers := seed(t, db, due)
		ems, c := newFakeEMS(), newClock(hour(2))
		p := newTestPoller(t, db, ems, c, Options{})
		if hints > 0 {
			must(t, db, `
				INSERT INTO push_hints (waybill_no, received_at)
				SELECT CASE WHEN i % 2 = 0 THEN ($1::text[])[1 + i % $3] ELSE '98' || lpad(i::text, 9, '0') || '18' END, $4
				FROM generate_series(1, $2::integer) AS i`, pq.Array(numbers), hints, due, hour(2))
		}
		began := time.Now()
		pollRound(t, p)
		took := time.Since(began)
		if left := count(t, db, `SELECT count(*) FROM push_hints`); left != 0 {
			t.Errorf("%d hints are left", left)
		}
		if n := ems.calls.Load(); n != due {
			t.Errorf("%d questions about %d waybills", n, due)
		}
		return took
	}
	quiet := run(0)
	flooded := run(flood)
	t.Logf("%d due: %s; with %d hints: %s, %.2f times", due, quiet.Round(time.Millisecond), flood, flooded.Round(time.Millisecond), flooded.Seconds()/quiet.Seconds())
	if flooded > 4*quiet+2*time.Second {
		t.Errorf("a round of %d takes %s, with %d hints %s", due, quiet, flood, flooded)
	}
}
