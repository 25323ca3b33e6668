package tracking

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"emsd/courier"
	"emsd/courier/vault"
	"emsd/migrations/dbtest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"github.com/prometheus/client_golang/prometheus"
)

// seed orders n envelopes at base, due an hour later; it returns their deliveries and numbers.
func seed(t testing.TB, db *sqlx.DB, n int) (ids []uuid.UUID, numbers []string) {
	t.Helper()
	ctx := t.Context()
	var have int
	if err := db.GetContext(ctx, &have, `SELECT count(*) FROM deliveries`); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		ids = append(ids, uuid.Must(uuid.NewV7()))
		numbers = append(numbers, fmt.Sprintf("12%09d17", have+i))
	}
	must(t, db, `
		INSERT INTO stations (code, name, kind, created_at, updated_at) VALUES ('110105001', '示例派出所', 'police_station', $1, $1)
		ON CONFLICT DO NOTHING`, base)
	must(t, db, `
		INSERT INTO deliveries (id, permit_no, application_no, business, route, ground, identity_changed, address_changed, station_code,
			station_class, consent_source, consent_at, approved_at, payment_method, name_sealed, phone_sealed, id_no_sealed, address_sealed,
			phone_lookup, id_no_lookup, content_lookup, province, city, county, status, status_since, order_no, waybill_no, created_at, updated_at)
		SELECT id, 'A' || no, 'SQ' || no, 'exchange', 'online', 'residence', false, false, '110105001', 'police_station', 'platform', $3, $3,
			'prepaid', '', '', '', '', '', '', '', '北京市', '北京市', '朝阳区', 'ordered', $3, 'RP' || no, no, $3, $3
		FROM unnest($1::uuid[], $2::text[]) AS d(id, no)`, pq.Array(ids), pq.Array(numbers), base)
	must(t, db, `
		INSERT INTO waybills (delivery_id, waybill_no, stage, ordered_at, next_poll_at, changed_at)
		SELECT id, no, 'ordered', $3, $3::timestamptz + interval '1 hour', $3
		FROM unnest($1::uuid[], $2::text[]) AS d(id, no)`, pq.Array(ids), pq.Array(numbers), base)
	return ids, numbers
}

func must(t testing.TB, db *sqlx.DB, query string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), query, args...); err != nil {
		t.Fatal(err)
	}
}

func count(t testing.TB, db *sqlx.DB, query string, args ...any) int {
	t.Helper()
	var n int
	if err := db.GetContext(t.Context(), &n, query, args...); err != nil {
		t.Fatal(err)
	}
	return n
}

func text(t testing.TB, db *sqlx.DB, query string, args ...any) string {
	t.Helper()
	var s string
	if err := db.GetContext(t.Context(), &s, query, args...); err != nil {
		t.Fatal(err)
	}
	return s
}

func pollRound(t *testing.T, p *Poller) {
	t.Helper()
	if err := p.Round(t.Context()); err != nil {
		t.Fatalf("Round: %v", err)
	}
}

func story(t *testing.T, db *sqlx.DB, id uuid.UUID) []string {
	t.Helper()
	var lines []string
	err := db.SelectContext(t.Context(), &lines, `
		SELECT type || coalesce(' ' || (data->>'case'), '') FROM events WHERE delivery_id = $1 ORDER BY seq`, id)
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func TestAnEnvelopeIsFollowedToTheDoor(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	ids, numbers := seed(t, db, 1)
	ems, c := newFakeEMS(), newClock(hour(2))
	p := newTestPoller(t, db, ems, c, Options{})
	secret := "【甲揽投部】已收寄,揽投员:王某,电话:13800000000"
	accepted := at(9, "203")
	accepted.Desc = vault.Conceal(secret)

	var trace []courier.Scan
	for _, step := range []struct {
		now   int
		scans []courier.Scan
		want  courier.Status
	}{
		{8, nil, courier.Ordered},
		{10, []courier.Scan{accepted}, courier.Accepted},
		{12, []courier.Scan{at(11, "305")}, courier.InTransit},
		{13, nil, courier.InTransit},
		{14, []courier.Scan{at(14, "702"), at(12, "389")}, courier.OutForDelivery},
		{16, []courier.Scan{at(15, "705/1")}, courier.AttemptFailed},
		{18, []courier.Scan{at(17, "702"), at(18, "704/161")}, courier.Delivered},
	} {
		trace = append(trace, step.scans...)
		ems.show(numbers[0], trace...)
		c.set(hour(step.now))
		pollRound(t, p)
		if got := text(t, db, `SELECT status FROM deliveries WHERE id = $1`, ids[0]); got != string(step.want) {
			t.Fatalf("at hour %d: %s, want %s", step.now, got, step.want)
		}
	}
	want := []string{"delivery.accepted", "delivery.in_transit", "delivery.out_for_delivery", "delivery.attempt_failed", "delivery.delivered",
		"case.opened delivered_elsewhere"}
	if diff := cmp.Diff(want, story(t, db, ids[0])); diff != "" {
		t.Errorf("events: want -, got +\n%s", diff)
	}
	if n := count(t, db, `SELECT count(*) FROM waybills WHERE next_poll_at IS NULL AND stage = 'delivered'`); n != 1 {
		t.Error("a delivered envelope is still asked about")
	}
	var sealed []byte
	if err := db.GetContext(t.Context(), &sealed, `SELECT desc_sealed FROM scans WHERE op_code = '203'`); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, []byte("王某")) {
		t.Error("the carrier's sentence is stored in clear")
	}
	plain, err := vault.Fixed([]byte("tracking")).Unseal("scans.desc", ids[0], sealed)
	if err != nil || plain.Reveal() != secret {
		t.Errorf("Unseal = %v; the sentence must come back", err)
	}
	if n := count(t, db, `SELECT count(*) FROM events WHERE data::text LIKE '%王某%' OR data::text LIKE '%138%'`); n != 0 {
		t.Error("an event holds the courier's name or number")
	}
}

func TestNoNewsCostsOneUpdateOfTheWaybill(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	ids, numbers := seed(t, db, 3)
	ems, c := newFakeEMS(), newClock(hour(2))
	p := newTestPoller(t, db, ems, c, Options{})
	for _, no := range numbers {
		ems.show(no, at(1, "203"))
	}
	pollRound(t, p)
	const state = `SELECT string_agg(d::text, E'\n' ORDER BY id) FROM deliveries d`
	before, events := text(t, db, state), count(t, db, `SELECT count(*) FROM events`)
	for range 3 {
		c.add(5 * time.Hour)
		pollRound(t, p)
	}
	if after := text(t, db, state); after != before {
		t.Errorf("deliveries changed without news")
	}
	if n := count(t, db, `SELECT count(*) FROM events`); n != events {
		t.Errorf("%d events after quiet polls, want %d", n, events)
	}
	if n := count(t, db, `SELECT count(*) FROM waybills WHERE next_poll_at > $1 AND changed_at = $2 AND failures = 0`, *c.now.Load(), hour(2)); n != 3 {
		t.Errorf("%d waybills wait for their next poll with the old time of change, want 3", n)
	}
	if ems.asked[numbers[0]] != 4 {
		t.Errorf("asked %d times, want 4", ems.asked[numbers[0]])
	}
	_ = ids
}

// Two hundred traces of every shape, told in four polls by two processes, end where the fold of all their scans says.
func TestI6_StatusIsComputedFromAllScans(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	ids, numbers := seed(t, db, 200)
	ems, c := newFakeEMS(), newClock(hour(48))
	a, b := newTestPoller(t, db, ems, c, Options{Chunk: 23}), newTestPoller(t, db, ems, c, Options{Chunk: 17})
	all := map[string][]courier.Scan{}
	for i, no := range numbers {
		scans := anyScans().Example(i)
		rand.Shuffle(len(scans), func(i, j int) { scans[i], scans[j] = scans[j], scans[i] })
		all[no] = scans
	}
	for quarter := 1; quarter <= 4; quarter++ {
		for no, scans := range all {
			ems.show(no, scans[:len(scans)*quarter/4]...)
		}
		c.add(time.Hour)
		must(t, db, `INSERT INTO push_hints (waybill_no, received_at) SELECT waybill_no, $1 FROM waybills`, *c.now.Load())
		both(t, a, b)
	}
	for i, no := range numbers {
		want := Fold(all[no], base)
		if got := text(t, db, `SELECT status FROM deliveries WHERE id = $1`, ids[i]); got != string(want.Status) {
			t.Errorf("%s: %s, by the fold %s", no, got, summary(want))
		}
		stored, err := ScansOf(t.Context(), db, ids[i])
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(summary(want), summary(Fold(stored, base))); diff != "" {
			t.Errorf("%s: fold of what is stored: want -, got +\n%s", no, diff)
		}
	}
	if n := count(t, db, `SELECT count(*) FROM (SELECT delivery_id FROM events GROUP BY 1 HAVING count(*) <> max(seq) OR min(seq) <> 1) x`); n != 0 {
		t.Errorf("%d deliveries have holes in their events", n)
	}
	if n := count(t, db, `SELECT count(*) FROM deliveries d WHERE seq <> (SELECT count(*) FROM events e WHERE e.delivery_id = d.id)`); n != 0 {
		t.Errorf("%d deliveries have another seq than events", n)
	}
}

func both(t *testing.T, a, b *Poller) {
	t.Helper()
	var wg sync.WaitGroup
	errs := make([]error, 2)
	wg.Go(func() { errs[0] = a.Round(t.Context()) })
	wg.Go(func() { errs[1] = b.Round(t.Context()) })
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func TestI7_ADoorIsACaseAndALockerIsNoDelivery(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	ids, numbers := seed(t, db, 4)
	ems := newFakeEMS()
	p := newTestPoller(t, db, ems, newClock(hour(10)), Options{})
	for i, code := range []string{"704/10", "704/161", "704/50", "704/180"} {
		ems.show(numbers[i], at(8, "702"), at(9, code))
	}
	pollRound(t, p)
	want := []string{"delivered - ", "delivered delivered_elsewhere ", "held held 2024-12-28", "out_for_delivery lost "}
	for i, id := range ids {
		got := text(t, db, `
			SELECT d.status || ' ' || coalesce((SELECT string_agg(kind, ',') FROM cases c WHERE c.delivery_id = d.id AND closed_at IS NULL), '-')
				|| ' ' || coalesce(held_until::text, '')
			FROM deliveries d WHERE id = $1`, id)
		if got != want[i] {
			t.Errorf("%s: %q, want %q", numbers[i], got, want[i])
		}
	}
	ems.show(numbers[2], at(8, "702"), at(9, "704/50"), at(10, "748"))
	p.clock = newClock(hour(30)).courierClock()
	pollRound(t, p)
	if n := count(t, db, `SELECT count(*) FROM deliveries WHERE id = $1 AND status = 'delivered' AND held_until IS NULL`, ids[2]); n != 1 {
		t.Error("collected from the locker: want delivered, held no longer")
	}
	if n := count(t, db, `SELECT count(*) FROM cases WHERE delivery_id = $1 AND kind = 'held' AND outcome = 'moved_on'`, ids[2]); n != 1 {
		t.Error("collected from the locker: want the case closed")
	}
}

func TestTwoPollersNeverAskTwiceForOneDueTime(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	_, numbers := seed(t, db, 1500)
	ems, c := newFakeEMS(), newClock(hour(2))
	for i, no := range numbers {
		if i%3 == 0 {
			ems.show(no, at(1, "203"))
		}
	}
	a, b := newTestPoller(t, db, ems, c, Options{Chunk: 40}), newTestPoller(t, db, ems, c, Options{Chunk: 70})
	both(t, a, b)
	for _, no := range numbers {
		if ems.asked[no] != 1 {
			t.Fatalf("%s was asked about %d times, want once", no, ems.asked[no])
		}
	}
	if n := count(t, db, `SELECT count(*) FROM waybills WHERE next_poll_at <= $1`, hour(2)); n != 0 {
		t.Errorf("%d are still due", n)
	}
	if n := count(t, db, `SELECT count(*) FROM events WHERE type = 'delivery.accepted'`); n != 500 {
		t.Errorf("%d acceptances, want 500", n)
	}
}

func TestARoundThatIsCutOffLosesNothing(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	_, numbers := seed(t, db, 100)
	ems, c := newFakeEMS(), newClock(hour(2))
	for _, no := range numbers {
		ems.show(no, at(1, "203"))
	}
	ctx, cut := context.WithCancel(t.Context())
	defer cut()
	ems.before = func(ctx context.Context, no string) error {
		if ems.calls.Load() > 30 {
			cut()
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}
	p := newTestPoller(t, db, ems, c, Options{Chunk: 25, Lanes: 2, Concurrency: 4})
	if err := p.Round(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("Round = %v, want context.Canceled", err)
	}
	done := count(t, db, `SELECT count(*) FROM deliveries WHERE status = 'accepted'`)
	if done < 25 || done > 60 {
		t.Errorf("%d answers were written before the end, want about 30", done)
	}
	if n := count(t, db, `SELECT count(*) FROM waybills WHERE next_poll_at <= $1 AND failures = 0`, hour(2)); n != 100-done {
		t.Errorf("%d stay due without a failure, want %d", n, 100-done)
	}
	ems.before = nil
	pollRound(t, p)
	if n := count(t, db, `SELECT count(*) FROM events WHERE type = 'delivery.accepted'`); n != 100 {
		t.Errorf("%d acceptances after the next round, want 100", n)
	}
}

// A process that dies keeps no row: its locks go with its connection.
func TestAProcessThatDiesFreesItsRowsAtOnce(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	seed(t, db, 10)
	tx, err := db.BeginTxx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if rows, err := claimDue(t.Context(), tx, nil, leastUrged, cursor{}, hour(2), 10); err != nil || len(rows) != 10 {
		t.Fatalf("claimDue = %d rows, %v", len(rows), err)
	}
	ems := newFakeEMS()
	p := newTestPoller(t, db, ems, newClock(hour(2)), Options{})
	pollRound(t, p)
	if n := ems.calls.Load(); n != 0 {
		t.Fatalf("%d questions about rows that another process has", n)
	}
	var pid int
	if err := tx.GetContext(t.Context(), &pid, `SELECT pg_backend_pid()`); err != nil {
		t.Fatal(err)
	}
	must(t, db, `SELECT pg_terminate_backend($1, 10000)`, pid)
	pollRound(t, p)
	if n := ems.calls.Load(); n != 10 {
		t.Errorf("%d questions after the other process died, want 10", n)
	}
}

func TestFailuresBackOffAndStopNobodyElse(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	ids, numbers := seed(t, db, 12)
	ems, c := newFakeEMS(), newClock(hour(10))
	for _, no := range numbers {
		ems.show(no, at(9, "203"))
	}
	ems.before = func(_ context.Context, no string) error {
		switch no {
		case numbers[3]:
			return &courier.CarrierError{Kind: courier.Unknown, API: "040001", Message: "timeout"}
		case numbers[4]:
			panic("an answer nobody foresaw")
		}
		return nil
	}
	reg := prometheus.NewRegistry()
	p := newTestPoller(t, db, ems, c, Options{})
	p.metrics = NewMetrics(reg)
	pollRound(t, p)
	if n := count(t, db, `SELECT count(*) FROM deliveries WHERE status = 'accepted'`); n != 10 {
		t.Errorf("%d accepted, want 10", n)
	}
	for _, i := range []int{3, 4} {
		if n := count(t, db, `SELECT count(*) FROM waybills WHERE delivery_id = $1 AND failures = 1 AND next_poll_at >= $2`, ids[i], hour(12)); n != 1 {
			t.Errorf("%s: want one failure and a doubled wait", numbers[i])
		}
	}
	if got := counted(t, reg, "emsd_polls_total", "failed"); got != 2 {
		t.Errorf("failed polls counted: %v, want 2", got)
	}
	if got := counted(t, reg, "emsd_polls_total", "news"); got != 10 {
		t.Errorf("polls with news counted: %v, want 10", got)
	}
	ems.before = nil
	c.set(hour(13))
	pollRound(t, p)
	if n := count(t, db, `SELECT count(*) FROM waybills WHERE failures = 0 AND stage = 'accepted'`); n != 12 {
		t.Errorf("%d without failures after an answer, want 12", n)
	}
}

func TestNewsThatCannotBeStoredStopsNobodyElse(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	ids, numbers := seed(t, db, 5)
	ems, c := newFakeEMS(), newClock(hour(10))
	for _, no := range numbers {
		ems.show(no, at(9, "988"))
	}
	p := newTestPoller(t, db, ems, c, Options{})
	pollRound(t, p)
	// The permit of the first is sent again; then the first is found, which I-3 does not let come to life.
	again, _ := seed(t, db, 1)
	must(t, db, `ALTER TABLE deliveries DISABLE TRIGGER i1_facts_are_fixed`)
	must(t, db, `UPDATE deliveries SET permit_no = (SELECT permit_no FROM deliveries WHERE id = $1) WHERE id = $2`, ids[0], again[0])
	for _, no := range numbers {
		ems.show(no, at(9, "988"), at(11, "702"))
	}
	must(t, db, `UPDATE waybills SET next_poll_at = $1`, hour(11))
	c.set(hour(12))
	pollRound(t, p)
	if n := count(t, db, `SELECT count(*) FROM deliveries WHERE status = 'out_for_delivery'`); n != 4 {
		t.Errorf("%d are with the courier, want 4", n)
	}
	if got := text(t, db, `SELECT status FROM deliveries WHERE id = $1`, ids[0]); got != "lost" {
		t.Errorf("the first is %s, want lost still", got)
	}
	if n := count(t, db, `SELECT count(*) FROM scans WHERE op_code = '702'`); n != 4 {
		t.Errorf("%d scans of the four were stored, want 4", n)
	}
}

func TestASilentEMSEndsTheRound(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		kind     courier.Kind
		breaker  bool
		maxCalls int64
		failures int // at most
	}{
		{"the breaker is open", courier.Unsent, true, 64, 0},
		{"nothing can be sent", courier.Unsent, false, 64 + 64, 64},
		{"no answers", courier.Unknown, false, 64 + 64, 128},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			db := dbtest.Open(t)
			seed(t, db, 2000)
			ems, c := newFakeEMS(), newClock(hour(2))
			ems.open.Store(tt.breaker)
			ems.before = func(context.Context, string) error {
				return &courier.CarrierError{Kind: tt.kind, API: "040001", Message: "connection refused"}
			}
			p := newTestPoller(t, db, ems, c, Options{Concurrency: 64})
			err := p.Round(t.Context())
			if !errors.Is(err, errSilent) || strings.Count(err.Error(), "connection refused") != 1 {
				t.Errorf("Round = %v, want that EMS does not answer, once", err)
			}
			if n := ems.calls.Load(); n > tt.maxCalls {
				t.Errorf("%d calls, want at most %d", n, tt.maxCalls)
			}
			if n := count(t, db, `SELECT count(*) FROM waybills WHERE failures > 0`); n > tt.failures {
				t.Errorf("%d waybills were charged with a failure, want at most %d", n, tt.failures)
			}
			// The next round asks a single question, and goes on with all when it is answered.
			before := ems.calls.Load()
			if err := p.Round(t.Context()); !errors.Is(err, errSilent) || ems.calls.Load() != before+1 {
				t.Errorf("second round = %v after %d calls, want silence after one", err, ems.calls.Load()-before)
			}
			ems.open.Store(false)
			ems.before = nil
			pollRound(t, p)
			if n := count(t, db, `SELECT count(*) FROM waybills WHERE next_poll_at <= $1`, hour(2)); n != 0 {
				t.Errorf("%d are still due after EMS came back", n)
			}
		})
	}
}

func TestAPushIsAHint(t *testing.T) {
	t.Parallel()
	dsn := dbtest.DSN(t)
	db, err := sqlx.ConnectContext(t.Context(), "postgres", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	ids, numbers := seed(t, db, 3)
	ems, c := newFakeEMS(), newClock(hour(10))
	p := newTestPoller(t, db, ems, c, Options{})
	for _, no := range numbers {
		ems.show(no, at(8, "702"), at(9, "704/10"))
	}
	pollRound(t, p)
	pollRound(t, p) // a final status is not asked about
	if n := ems.calls.Load(); n != 3 {
		t.Fatalf("%d questions, want 3", n)
	}
	woken := listen(t, dsn)
	hints := NewHints(db)
	c.set(hour(12))
	ems.show(numbers[0], at(8, "702"), at(9, "704/10"), at(11, "743"))
	for _, no := range []string{numbers[0], numbers[0], "9999999999999", "1\x00\xff"} {
		if err := hints.Receive(t.Context(), no, hour(12)); err != nil {
			t.Fatalf("Receive: %v", err)
		}
	}
	woken()
	pollRound(t, p)
	if n := ems.calls.Load(); n != 4 {
		t.Errorf("%d questions after the push, want 4", n)
	}
	if got := text(t, db, `SELECT status FROM deliveries WHERE id = $1`, ids[0]); got != "out_for_delivery" {
		t.Errorf("after the push of a withdrawn delivery: %s, want out_for_delivery", got)
	}
	if n := count(t, db, `SELECT count(*) FROM push_hints`); n != 0 {
		t.Errorf("%d hints are left, want none", n)
	}
}

// listen returns a function that waits for a wake-up of the poll round.
func listen(t *testing.T, dsn string) func() {
	t.Helper()
	l := pq.NewListener(dsn, time.Second, time.Second, nil)
	t.Cleanup(func() { l.Close() })
	if err := l.Listen(courier.WakePolls); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		select {
		case <-l.Notify:
		case <-time.After(30 * time.Second):
			t.Fatal("no wake-up came")
		}
	}
}

// counted reads a counter by its one label.
func counted(t *testing.T, reg *prometheus.Registry, name, label string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && m.GetLabel()[0].GetValue() == label {
				return m.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("no metric %s{%s}", name, label)
	return 0
}

func TestAHintForAWaybillThatIsBeingAskedAboutIsKept(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	_, numbers := seed(t, db, 1)
	ems, c := newFakeEMS(), newClock(hour(2))
	p, other := newTestPoller(t, db, ems, c, Options{}), newTestPoller(t, db, newFakeEMS(), c, Options{})
	ems.before = func(ctx context.Context, no string) error {
		if ems.calls.Load() > 1 {
			return nil
		}
		if err := NewHints(db).Receive(ctx, no, hour(2)); err != nil {
			return err
		}
		return other.Round(ctx)
	}
	pollRound(t, p)
	if n := count(t, db, `SELECT count(*) FROM push_hints`); n != 1 {
		t.Fatalf("%d hints after the round that was under way, want 1", n)
	}
	pollRound(t, p)
	if ems.asked[numbers[0]] != 2 || count(t, db, `SELECT count(*) FROM push_hints`) != 0 {
		t.Errorf("asked %d times, want a second time because of the hint", ems.asked[numbers[0]])
	}
}

func TestCancelledDeliveriesAreNotAskedAbout(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	ids, numbers := seed(t, db, 2)
	ems, c := newFakeEMS(), newClock(hour(2))
	must(t, db, `UPDATE deliveries SET status = 'cancelled' WHERE id = $1`, ids[0])
	p := newTestPoller(t, db, ems, c, Options{})
	pollRound(t, p)
	if ems.asked[numbers[0]] != 0 || ems.asked[numbers[1]] != 1 {
		t.Errorf("asked about the cancelled one %d times and about the other %d times, want 0 and 1", ems.asked[numbers[0]], ems.asked[numbers[1]])
	}
	// EMS carries it all the same, and pushes.
	ems.show(numbers[0], at(2, "203"))
	if err := NewHints(db).Receive(t.Context(), numbers[0], hour(3)); err != nil {
		t.Fatal(err)
	}
	pollRound(t, p)
	if diff := cmp.Diff([]string{"tracking.updated", "case.opened order_unknown"}, story(t, db, ids[0])); diff != "" {
		t.Errorf("events of a cancelled envelope that travels: want -, got +\n%s", diff)
	}
	if n := count(t, db, `SELECT count(*) FROM waybills WHERE next_poll_at IS NULL`); n != 1 {
		t.Error("the cancelled one is asked about again")
	}
}

// Cancelling passes over a waybill that is being asked about; the next look finds it.
func TestADeliveryCancelledWhileItIsAskedAboutIsLeftAloneAfterwards(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	ids, _ := seed(t, db, 1)
	ems, c := newFakeEMS(), newClock(hour(10))
	ems.before = func(ctx context.Context, _ string) error {
		_, err := db.ExecContext(ctx, `UPDATE deliveries SET status = 'cancelled', updated_at = $2 WHERE id = $1`, ids[0], hour(10))
		return err
	}
	p := newTestPoller(t, db, ems, c, Options{SweepEvery: time.Nanosecond})
	pollRound(t, p)
	c.set(hour(20))
	pollRound(t, p)
	if n := ems.calls.Load(); n != 1 {
		t.Errorf("asked %d times, want once, before it was cancelled", n)
	}
	if n := count(t, db, `SELECT count(*) FROM waybills WHERE next_poll_at IS NULL AND stage = 'cancelled'`); n != 1 {
		t.Error("the waybill is still due")
	}
}

// It runs beside no other test of the package, and three times at the most: what else the machine does only adds time.
func TestATraceOfTenThousandScans(t *testing.T) {
	const bound = 3 * time.Second
	took := bound
	for try := 0; try < 3 && took >= bound; try++ {
		took = min(took, takeTenThousandScans(t))
	}
	if took >= bound {
		t.Errorf("took %s and more, want less", took)
	}
}

func takeTenThousandScans(t *testing.T) time.Duration {
	t.Helper()
	db := dbtest.Open(t)
	ids, numbers := seed(t, db, 1)
	ems, c := newFakeEMS(), newClock(hour(30))
	ems.show(numbers[0], manyScans(10_000)...)
	answer, err := wireAsker{ems}.Trace(t.Context(), numbers[0], 0)
	if err != nil {
		t.Fatal(err)
	}
	p := newTestPoller(t, db, sameEMS{answer}, c, Options{KeepAnswers: true})
	began := time.Now()
	pollRound(t, p)
	took := time.Since(began)
	t.Logf("folded and stored in %s, its answer in %d bytes", took, count(t, db, `SELECT octet_length(body_sealed) FROM raw_answers`))
	if n := count(t, db, `SELECT count(*) FROM scans`); n != 10_001 {
		t.Errorf("%d scans stored, want 10001", n)
	}
	if got := text(t, db, `SELECT status FROM deliveries WHERE id = $1`, ids[0]); got != "delivered" {
		t.Errorf("status %s, want delivered", got)
	}
	return took
}

func TestPlansNeedNoStatistics(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	ctx := t.Context()
	conn, err := db.Connx(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, set := range []string{`SET random_page_cost = 1.1`, `ALTER TABLE waybills SET (autovacuum_enabled = off)`,
		`INSERT INTO waybills (delivery_id, waybill_no, stage, ordered_at, next_poll_at, changed_at)
			SELECT gen_random_uuid(), '12' || lpad(i::text, 11, '0'), 'in_transit', '2024-12-01', '2024-12-26 00:00+08'::timestamptz + i * interval '1 second', '2024-12-01'
			FROM generate_series(1, 50000) i`} {
		if _, err := conn.ExecContext(ctx, set); err != nil {
			t.Fatal(err)
		}
	}
	var ids []string
	if err := conn.SelectContext(ctx, &ids, `SELECT delivery_id FROM waybills LIMIT 500`); err != nil {
		t.Fatal(err)
	}
	next := make([]time.Time, 500)
	for i := range next {
		next[i] = hour(24)
	}
	plans := []struct {
		query, want string
		args        []any
	}{
		{claimSQL[3], "Index Scan using waybills_due_3", []any{hour(10), hour(1), uuid.Nil, 500}},
		{claimSQL[3], "Index Scan using waybills_due_3", []any{hour(10), time.Time{}, uuid.Nil, 500}},
		{claimSQL[0], "Index Scan using waybills_due_0", []any{hour(10), time.Time{}, uuid.Nil, 500}},
		{pollsSQL, "Index Scan using waybills_pkey", []any{pq.Array(ids), timeArray(next), pq.Array(make([]int64, 500)), pq.Array(make([]int64, 500))}},
	}
	for _, p := range plans {
		var lines []string
		if err := conn.SelectContext(ctx, &lines, `EXPLAIN `+p.query, p.args...); err != nil {
			t.Fatal(err)
		}
		plan := strings.Join(lines, "\n")
		if !strings.Contains(plan, p.want) || strings.Contains(plan, "Seq Scan on waybills") || strings.Contains(plan, "Sort") {
			t.Errorf("want %s and neither a sequential scan nor a sort:\n%s", p.want, plan)
		}
	}
}

func TestAnEmptyClaimIsRepeatedFromTheBeginning(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	_, numbers := seed(t, db, 6)
	ems, c := newFakeEMS(), newClock(hour(2))
	p := newTestPoller(t, db, ems, c, Options{Chunk: 2})
	pollRound(t, p)
	if p.behind != ([urgencies]cursor{}) {
		t.Errorf("the cursors stand at %v after a round that found nothing more, want at the beginning", p.behind)
	}
	for u := range p.behind {
		p.behind[u] = cursor{dueAt: hour(100)}
	}
	must(t, db, `UPDATE waybills SET next_poll_at = $1 WHERE waybill_no = $2`, hour(-5), numbers[0])
	pollRound(t, p)
	if ems.asked[numbers[0]] != 2 {
		t.Errorf("a row behind the cursor was asked about %d times, want again", ems.asked[numbers[0]])
	}
}

// A claim starts behind the one before: what comes in earlier meanwhile has its turn when the rest is done. Without that
// every claim walks over the dead rows of all polls before it.
func TestAClaimStartsBehindTheOneBefore(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	_, numbers := seed(t, db, 6)
	ems := newFakeEMS()
	var order []string
	ems.before = func(ctx context.Context, no string) error {
		order = append(order, no)
		if len(order) > 1 {
			return nil
		}
		_, err := db.ExecContext(ctx, `UPDATE waybills SET next_poll_at = $1 WHERE waybill_no = $2`, hour(-5), numbers[5])
		return err
	}
	pollRound(t, newTestPoller(t, db, ems, newClock(hour(2)), Options{Chunk: 2, Lanes: 1, Concurrency: 1}))
	if diff := cmp.Diff(numbers, order); diff != "" {
		t.Errorf("order of questions: want -, got +\n%s", diff)
	}
}

func TestTheChunkFollowsTheRate(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		rate float64
		want int
	}{{0, 500}, {20, 10}, {0.5, 1}, {1000, 500}, {400, 200}} {
		if got := (Options{}).withDefaults().chunkAt(tt.rate); got != tt.want {
			t.Errorf("chunk at %v calls a second: %d, want %d", tt.rate, got, tt.want)
		}
	}
}

func TestTheBacklogTellsHowFarBehindEachStageIs(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	if list, err := Backlogs(t.Context(), db, hour(2)); err != nil || len(list) != len(askedStages) || list[0] != (Backlog{Stage: courier.Ordered}) {
		t.Fatalf("Backlogs of nothing = %v, %v", list, err)
	}
	ids, _ := seed(t, db, 3)
	must(t, db, `UPDATE waybills SET stage = 'out_for_delivery', urgency = 0, next_poll_at = $2 WHERE delivery_id = $1`, ids[0], hour(-1))
	list, err := Backlogs(t.Context(), db, hour(2))
	if err != nil {
		t.Fatal(err)
	}
	got := map[courier.Status]Backlog{}
	for _, b := range list {
		if b.Due > 0 {
			got[b.Stage] = b
		}
	}
	want := map[courier.Status]Backlog{
		courier.OutForDelivery: {courier.OutForDelivery, 1, 3 * time.Hour},
		courier.Ordered:        {courier.Ordered, 2, time.Hour},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Backlogs: want -, got +\n%s", diff)
	}
}

func TestThePlanOfTheSchemaIsTheBuiltInOne(t *testing.T) {
	t.Parallel()
	got, err := readPlan(t.Context(), dbtest.Open(t))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(DefaultPlan(), got, cmp.AllowUnexported(Plan{}, planRow{})); diff != "" {
		t.Errorf("built in -, table poll_plan +\n%s", diff)
	}
}

func TestTheMostUrgentAreAskedAboutFirst(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	ids, numbers := seed(t, db, 40)
	must(t, db, `UPDATE waybills SET stage = 'out_for_delivery', urgency = 0, next_poll_at = $2 WHERE delivery_id = ANY($1::uuid[])`, pq.Array(ids[30:]), hour(2))
	ems := newFakeEMS()
	var order []string
	ems.before = func(_ context.Context, no string) error {
		order = append(order, no)
		return nil
	}
	pollRound(t, newTestPoller(t, db, ems, newClock(hour(2)), Options{Chunk: 5, Lanes: 1, Concurrency: 1}))
	if len(order) != 40 {
		t.Fatalf("%d questions, want 40", len(order))
	}
	for i, no := range order[:10] {
		if !slices.Contains(numbers[30:], no) {
			t.Errorf("question %d is about %s, which is less urgent and due for longer", i, no)
		}
	}
}

func TestAPushedWaybillIsUrgentUntilItWasAskedAbout(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	ids, numbers := seed(t, db, 2)
	now := hour(0)
	if err := NewHints(db).Receive(t.Context(), numbers[1], now); err != nil {
		t.Fatal(err)
	}
	p := newTestPoller(t, db, newFakeEMS(), newClock(now), Options{})
	if known, strangers, err := p.takeHints(t.Context(), now); known != 1 || strangers != 0 || err != nil {
		t.Fatalf("takeHints = %d, %d, %v", known, strangers, err)
	}
	urgency := func(i int) int { return count(t, db, `SELECT urgency FROM waybills WHERE delivery_id = $1`, ids[i]) }
	if urgency(0) != leastUrged || urgency(1) != urgent {
		t.Errorf("urgencies %d and %d, want %d and %d", urgency(0), urgency(1), leastUrged, urgent)
	}
	pollRound(t, p)
	if urgency(1) != leastUrged {
		t.Errorf("urgency %d after the question, want that of its stage", urgency(1))
	}
}

func TestPartitionsAreMadeAheadAndTakeWhatLiesInTheDefault(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	ids, numbers := seed(t, db, 1)
	ems := newFakeEMS()
	ems.show(numbers[0], at(1, "203"))
	pollRound(t, newTestPoller(t, db, ems, newClock(hour(2)), Options{}))
	for range 2 {
		if err := EnsurePartitions(t.Context(), db, hour(0), 2); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"scans_202412", "scans_202501", "scans_202502", "events_202412", "events_202502"} {
		if text(t, db, `SELECT coalesce(to_regclass($1)::text, '')`, name) == "" {
			t.Errorf("no partition %s", name)
		}
	}
	if n := count(t, db, `SELECT count(*) FROM scans_202412`); n != 1 {
		t.Errorf("%d scans in the partition of December, want 1", n)
	}
	if scans, err := ScansOf(t.Context(), db, ids[0]); err != nil || len(scans) != 1 {
		t.Errorf("ScansOf = %d scans, %v", len(scans), err)
	}
}

func TestTheTimelineIsInOurOwnWords(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	ids, numbers := seed(t, db, 1)
	ems := newFakeEMS()
	s := at(9, "704/161")
	s.OrgName, s.City, s.Name, s.Desc = "丙揽投部", "上海市", "投递结果反馈-妥投", vault.Conceal("投递员王某,电话:13800000000")
	old := at(-24*300, "203")
	ems.show(numbers[0], s, at(8, "702"), at(10, "743"), old, at(11, "Z99"))
	pollRound(t, newTestPoller(t, db, ems, newClock(hour(12)), Options{}))
	steps, err := NewReader(db).Timeline(t.Context(), ids[0])
	if err != nil {
		t.Fatal(err)
	}
	want := []Step{
		{At: hour(-24 * 300), Code: "203", Name: "收寄计费信息", Sentence: "邮政已收寄邮件。", Group: Accepted, Ignored: true},
		{At: hour(8), Code: "702", Name: "投递邮件接收-下段", Sentence: "投递员已带邮件出发，正在派送。", Group: OutForDelivery},
		{At: hour(9), Code: "704", Name: "投递结果反馈-妥投", Sentence: "邮件已放在家门口。", Place: "上海市 丙揽投部", Group: Delivered, Voided: true},
		{At: hour(10), Code: "743", Name: "撤销妥投", Sentence: "上一条记录已由邮政更正。", Group: Void},
		{At: hour(11), Code: "Z99", Sentence: "邮件有新的物流记录。"},
	}
	if diff := cmp.Diff(want, steps, cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })); diff != "" {
		t.Errorf("timeline: want -, got +\n%s", diff)
	}
	if steps, err := NewReader(db).Timeline(t.Context(), uuid.New()); err != nil || len(steps) != 0 {
		t.Errorf("timeline of nothing: %v, %v", steps, err)
	}
}
