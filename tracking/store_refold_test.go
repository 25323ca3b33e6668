package tracking

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"emsd/courier"
	"emsd/courier/vault"
	"emsd/migrations/dbtest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

func newRefolder(db *sqlx.DB, now time.Time) *Refolder {
	at := func() time.Time { return now }
	return NewRefolder(db, vault.Fixed([]byte("tracking")), courier.Clock{Now: at, Wall: at}, slog.New(slog.DiscardHandler))
}

// state is everything that a refold may write, as one text.
func state(t testing.TB, db *sqlx.DB) string {
	t.Helper()
	return text(t, db, `
		SELECT md5(coalesce((SELECT string_agg(CAST((d.id, d.status, d.receiver, d.held_until, d.seq) AS text), ' ' ORDER BY d.id) FROM deliveries d), '')
			|| coalesce((SELECT string_agg(CAST((w.delivery_id, w.stage, w.next_poll_at) AS text), ' ' ORDER BY w.delivery_id) FROM waybills w), '')
			|| coalesce((SELECT string_agg(CAST((c.id, c.closed_at) AS text), ' ' ORDER BY c.id) FROM cases c), '')
			|| coalesce((SELECT string_agg(CAST((e.id, e.type) AS text), ' ' ORDER BY e.id) FROM events e), '')
			|| (SELECT count(*) FROM code_decisions) || (SELECT count(*) FROM unknown_codes)
			|| coalesce((SELECT string_agg(said_class || said_until, ' ') FROM scans), ''))`)
}

// polled polls n envelopes that all have the scans.
func polled(t *testing.T, db *sqlx.DB, n int, scans ...courier.Scan) []uuid.UUID {
	t.Helper()
	ids, numbers := seed(t, db, n)
	ems := newFakeEMS()
	for _, no := range numbers {
		ems.show(no, scans...)
	}
	pollRound(t, newTestPoller(t, db, ems, newClock(hour(30)), Options{}))
	return ids
}

func scanAt(h int, code string) courier.Scan {
	return courier.Scan{At: hour(h), Code: code, Name: "示例", OrgCode: "10000000", OrgName: "示例营业部"}
}

func TestADecisionMovesWhatHasTheCodeAndNothingElse(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	with := polled(t, db, 20, scanAt(3, "203"), scanAt(20, "702"), scanAt(24, "Z9"))
	without := polled(t, db, 5, scanAt(3, "203"), scanAt(20, "702"))
	if codes, err := UnknownCodes(t.Context(), db); err != nil || len(codes) != 1 || codes[0].Code != "Z9" || codes[0].Seen != 20 || !slices.Contains(with, codes[0].Example) {
		t.Fatalf("unknown codes %+v, %v", codes, err)
	}
	if n := count(t, db, `SELECT count(*) FROM cases WHERE kind = 'unknown_code' AND closed_at IS NULL`); n != 20 {
		t.Fatalf("%d cases of an unknown code, want 20", n)
	}
	f, d := newRefolder(db, hour(31)), Decision{Code: "Z9", Meaning: "attempt_failed", Sentence: "本次投递没有成功。", ValidFrom: hour(0)}
	was := state(t, db)
	dry, err := f.Forecast(t.Context(), d, "邮政答复")
	if err != nil {
		t.Fatal(err)
	}
	if now := state(t, db); now != was {
		t.Fatal("a dry run has changed the database")
	}
	report, err := f.DecideNow(t.Context(), d, "a clerk", "邮政答复")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(dry.Kinds, report.Kinds); diff != "" || report.Changed != 20 {
		t.Errorf("changed %d; the dry run promised -, it became +\n%s", report.Changed, diff)
	}
	if got := strings.Join(report.Lines(), "\n"); !strings.Contains(got, "status out_for_delivery → attempt_failed") {
		t.Errorf("the report does not tell the move:\n%s", got)
	}
	for _, id := range with {
		if s := text(t, db, `SELECT status FROM deliveries WHERE id = $1`, id); s != "attempt_failed" {
			t.Fatalf("%s, want attempt_failed", s)
		}
	}
	for _, id := range without {
		if s := text(t, db, `SELECT status FROM deliveries WHERE id = $1`, id); s != "out_for_delivery" {
			t.Fatalf("%s without the code, want out_for_delivery", s)
		}
	}
	if n := count(t, db, `SELECT count(*) FROM cases WHERE kind = 'unknown_code' AND closed_at IS NULL`) + count(t, db, `SELECT count(*) FROM unknown_codes`); n != 0 {
		t.Errorf("%d cases and unknown codes are left", n)
	}
	if n := count(t, db, `SELECT count(*) FROM events WHERE type = 'delivery.attempt_failed' AND data->>'rule' LIKE 'refold:decision-%'`); n != 20 {
		t.Errorf("%d events name the decision, want 20", n)
	}
	if n := count(t, db, `SELECT count(*) FROM audit WHERE action = 'code.decide'`); n != 1 {
		t.Errorf("%d entries in the audit, want 1", n)
	}
	was = state(t, db)
	if again, err := f.Refold(t.Context(), RefoldScope{}, "refold:again", false); err != nil || again.Changed != 0 || again.Looked != 25 {
		t.Errorf("a second refold looked at %d and changed %d, %v", again.Looked, again.Changed, err)
	}
	if state(t, db) != was {
		t.Error("a second refold has changed the database")
	}
}

// The next trace is read by the decision as well, in a poller that runs and has read its rules before.
func TestADecisionCountsForTheNextTrace(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	ids, numbers := seed(t, db, 1)
	ems, c := newFakeEMS(), newClock(hour(30))
	trace := []courier.Scan{scanAt(3, "203"), scanAt(20, "702"), scanAt(24, "Z9")}
	ems.show(numbers[0], trace...)
	p := newTestPoller(t, db, ems, c, Options{})
	pollRound(t, p)
	if _, err := newRefolder(db, hour(31)).DecideNow(t.Context(), Decision{Code: "Z9", Meaning: "attempt_failed", ValidFrom: hour(0)}, "a clerk", "x"); err != nil {
		t.Fatal(err)
	}
	must(t, db, `UPDATE waybills SET next_poll_at = $1`, hour(31))
	c.set(hour(32))
	ems.show(numbers[0], append(trace, courier.Scan{At: hour(31), Code: "Z9", OrgCode: "2"})...)
	pollRound(t, p)
	if s := text(t, db, `SELECT status FROM deliveries WHERE id = $1`, ids[0]); s != "attempt_failed" {
		t.Errorf("%s, want attempt_failed as it was decided", s)
	}
	if n := count(t, db, `SELECT count(*) FROM cases WHERE closed_at IS NULL`) + count(t, db, `SELECT count(*) FROM unknown_codes`); n != 0 {
		t.Errorf("%d cases and unknown codes, want none of a code that was decided", n)
	}
}

func TestI6_AFinalStatusIsRefoldedByANamedRuleOnly(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	ids := polled(t, db, 2, scanAt(3, "203"), scanAt(20, "702"),
		courier.Scan{At: hour(24), Code: "704", OrgCode: "1", DeliverCode: "10"}, scanAt(26, "Z9"))
	// One of them is where a person has put it.
	must(t, db, `UPDATE deliveries SET status = 'lost', seq = seq + 1 WHERE id = $1`, ids[1])
	must(t, db, `INSERT INTO events (delivery_id, seq, type, at, data) SELECT id, seq, 'delivery.lost', $2, '{"rule": "declared_lost"}' FROM deliveries WHERE id = $1`, ids[1], hour(29))
	f := newRefolder(db, hour(31))
	if _, err := f.DecideNow(t.Context(), Decision{Code: "Z9", Meaning: "returning", ValidFrom: hour(0)}, "a clerk", "邮政答复"); err != nil {
		t.Fatal(err)
	}
	if s := text(t, db, `SELECT status FROM deliveries WHERE id = $1`, ids[0]); s != "returning" {
		t.Errorf("%s after a return code was known, want returning", s)
	}
	if rule := text(t, db, `SELECT data->>'rule' FROM events WHERE delivery_id = $1 AND type = 'delivery.returning'`, ids[0]); !strings.HasPrefix(rule, "refold:decision-") {
		t.Errorf("delivered was left by the rule %q", rule)
	}
	if s := text(t, db, `SELECT status FROM deliveries WHERE id = $1`, ids[1]); s != "lost" {
		t.Errorf("%s: what a person has decided was changed", s)
	}
}

func TestABadDecisionIsRefusedWithItsField(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	f := newRefolder(db, hour(31))
	for field, d := range map[string]Decision{
		"meaning": {Code: "Z9", Meaning: "nonsense", ValidFrom: hour(0)}, "code": {Code: "", Meaning: "held", ValidFrom: hour(0)},
		"sentence": {Code: "704/99", Meaning: "self", Sentence: "请致电13800000000。", ValidFrom: hour(0)}, "valid_from": {Code: "Z9", Meaning: "held"},
		"name": {Code: "Z9", Name: strings.Repeat("长", 101), Meaning: "held", ValidFrom: hour(0)},
	} {
		_, err := f.DecideNow(t.Context(), d, "a clerk", "x")
		faults, _ := errors.AsType[courier.Faults](err)
		if len(faults) != 1 || faults[0].Field != field || faults[0].Detail == "" {
			t.Errorf("%+v: %v, want a fault of %s", d, err, field)
		}
	}
	if _, err := f.DecideNow(t.Context(), Decision{Code: "704/99", Meaning: "held", ValidFrom: hour(0)}, "a clerk", "x"); err == nil {
		t.Error("a recipient class held is taken")
	}
	if _, err := f.DecideNow(t.Context(), Decision{Code: "Z9", Meaning: "held", ValidFrom: hour(0)}, "a clerk", " "); err == nil {
		t.Error("a decision without a reason is taken")
	}
	if n := count(t, db, `SELECT count(*) FROM code_decisions`); n != 0 {
		t.Errorf("%d decisions are stored", n)
	}
}

func TestADecisionAboutLaterScansLeavesTheCodeInQuarantine(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	polled(t, db, 1, scanAt(3, "203"), scanAt(24, "Z9"))
	must(t, db, `INSERT INTO unknown_codes (code, name, seen, first_at, last_at, example_delivery, example_at) VALUES ('704', '', 1, now(), now(), gen_random_uuid(), $1)`, hour(24))
	f := newRefolder(db, hour(31))
	if r, err := f.DecideNow(t.Context(), Decision{Code: "Z9", Meaning: "held", ValidFrom: hour(25)}, "a clerk", "x"); err != nil || r.Changed != 0 {
		t.Fatalf("%v, %v", r.Kinds, err)
	}
	if s := text(t, db, `SELECT string_agg(code, ' ') FROM unknown_codes`) + text(t, db, `SELECT status FROM deliveries`); s != "Z9accepted" {
		t.Errorf("in quarantine, and the status: %q; 704 is known, Z9 of that time is not", s)
	}
}

// A text under a key that is gone stops nobody: what was read of it stands.
func TestATextThatCannotBeOpenedStopsNoRefold(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	polled(t, db, 3, scanAt(3, "203"), courier.Scan{At: hour(24), Code: "704", OrgCode: "1", DeliverCode: "20", Desc: vault.Conceal("您的快件已代签收【家人，，】")})
	must(t, db, `UPDATE scans SET desc_sealed = 'x' WHERE op_code = '704' AND delivery_id = (SELECT min(id::text)::uuid FROM deliveries)`)
	was := state(t, db)
	if r, err := newRefolder(db, hour(31)).Refold(t.Context(), RefoldScope{}, "refold:test", false); err != nil || r.Looked != 3 || r.Changed != 0 || state(t, db) != was {
		t.Errorf("looked at %d, changed %v, %v", r.Looked, r.Kinds, err)
	}
}

func TestWordingsAreReadAnew(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	ids := polled(t, db, 1, scanAt(3, "203"),
		courier.Scan{At: hour(24), Code: "704", OrgCode: "1", Desc: vault.Conceal("您的快件已代签收【家人，，】，如有疑问请电联快递员【王某，电话:13800000000】")})
	if c := text(t, db, `SELECT receiver FROM deliveries`); c != ReceiverFamily {
		t.Fatalf("receiver %q, want family", c)
	}
	// As an older reader would have left it.
	must(t, db, `UPDATE scans SET said_class = '' WHERE op_code = '704'`)
	must(t, db, `UPDATE deliveries SET receiver = 'unstated'`)
	report, err := newRefolder(db, hour(31)).Refold(t.Context(), RefoldScope{Delivery: ids[0]}, "refold:test", false)
	if err != nil || report.Kinds["receiver unstated → family"] != 1 {
		t.Fatalf("%+v, %v", report, err)
	}
	if c := text(t, db, `SELECT said_class FROM scans WHERE op_code = '704'`); c != ReceiverFamily {
		t.Errorf("the scan says %q, want family", c)
	}
	if c := text(t, db, `SELECT data->>'receiver' FROM events WHERE type = 'tracking.updated' AND data->>'rule' = 'refold:test'`); c != ReceiverFamily {
		t.Errorf("the event says %q, want family", c)
	}
}

func TestRefoldingManyDoesNotTakeLong(t *testing.T) {
	t.Parallel()
	const n = 4000 // eight chunks; a step that grows with all of them would show at eight as it does at forty
	db := dbtest.Open(t)
	ids, _ := seed(t, db, n)
	must(t, db, `UPDATE deliveries SET status = 'in_transit'`)
	must(t, db, `
		INSERT INTO scans (delivery_id, op_at, op_code, org_code, waybill_no, op_name, desc_sealed, org_name, province, city, seen_at, text_print)
		SELECT d.id, $1::timestamptz + i * interval '1 hour', (ARRAY['203','305','954','389','954'])[i], '1', d.waybill_no, 'x', '', 'x', 'x', 'x', $1, i
		FROM deliveries d, generate_series(1, 5) i`, hour(2))
	must(t, db, `
		INSERT INTO events (delivery_id, seq, type, at, data)
		SELECT id, 9, 'delivery.in_transit', status_since, jsonb_build_object('scan_code', '954', 'scan_at', $1::timestamptz) FROM deliveries`, hour(5))
	must(t, db, `ANALYZE`)
	f, last := newRefolder(db, hour(31)), 0
	f.Progress = func(looked, total int) {
		if looked < last || total != n {
			t.Errorf("progress %d of %d after %d", looked, total, last)
		}
		last = looked
	}
	began := time.Now()
	report, err := f.Refold(t.Context(), RefoldScope{}, "refold:test", true)
	took := time.Since(began)
	if err != nil || report.Looked != len(ids) || report.Changed+report.Bygone+report.Skipped != 0 || last != n {
		t.Fatalf("looked at %d, changed %d (%v), bygone %d, progress to %d, %v", report.Looked, report.Changed, report.Kinds, report.Bygone, last, err)
	}
	t.Logf("%d deliveries of 5 scans folded anew in %s: %.0f a second", n, took, float64(n)/took.Seconds())
	if took > 12*time.Second {
		t.Errorf("took %s", took)
	}
}

// A table is mended: a code that was taken for something else moves a thousand deliveries, and nobody is told of old news.
func TestAMendedTableMovesAThousand(t *testing.T) {
	t.Parallel()
	const n = 1000
	db := dbtest.Open(t)
	polled(t, db, n, scanAt(3, "203"), scanAt(20, "702"), scanAt(24, "705"))
	polled(t, db, 50, scanAt(3, "203"), scanAt(20, "702"))
	must(t, db, `INSERT INTO code_decisions (code, name, meaning, sentence, valid_from, decided_at, decided_by, reason)
		VALUES ('705', '', 'returning', '', '2000-01-01', $1, 'a test', 'x')`, hour(31))
	f, was := newRefolder(db, hour(31)), state(t, db)
	dry, err := f.Refold(t.Context(), RefoldScope{}, "refold:test", true)
	if err != nil || state(t, db) != was {
		t.Fatalf("a dry run has changed the database, %v", err)
	}
	began := time.Now()
	report, err := f.Refold(t.Context(), RefoldScope{}, "refold:test", false)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d of %d moved in %s: %v", report.Changed, report.Looked, time.Since(began), report.Kinds)
	if diff := cmp.Diff(dry, report); diff != "" || report.Kinds["status attempt_failed → returning"] != n || report.Looked != n+50 {
		t.Errorf("looked at %d, changed %v; the dry run promised -, it became +\n%s", report.Looked, report.Kinds, diff)
	}
	if got := count(t, db, `SELECT count(*) FROM events WHERE type = 'delivery.returning' AND data->>'rule' = 'refold:test' AND (data->>'late')::boolean`); got != n {
		t.Errorf("%d events name the rule and keep still, want %d", got, n)
	}
	if again, err := f.Refold(t.Context(), RefoldScope{}, "refold:test", false); err != nil || again.Changed != 0 {
		t.Errorf("a second time %v changes, %v", again.Kinds, err)
	}
}

// Months are dropped: what brought the status is gone, and the rules must not conclude that nothing ever came.
func TestI6_AStatusWhoseScansAreDroppedStays(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	delivered := courier.Scan{At: hour(24), Code: "704", OrgCode: "1", DeliverCode: "10"}
	polled(t, db, 3, scanAt(3, "203"), scanAt(20, "702"), delivered)
	polled(t, db, 2, scanAt(3, "203"), scanAt(20, "702"))
	was := state(t, db)
	must(t, db, `DELETE FROM scans WHERE op_code IN ('702', '704')`)
	gone := state(t, db)
	for range 2 {
		report, err := newRefolder(db, hour(31)).Refold(t.Context(), RefoldScope{}, "refold:test", false)
		if err != nil || report.Changed != 0 || report.Bygone != 5 || state(t, db) != gone {
			t.Fatalf("changed %v, bygone %d of 5, %v", report.Kinds, report.Bygone, err)
		}
		must(t, db, `DELETE FROM scans`)
		gone = state(t, db)
	}
	if was == "" || count(t, db, `SELECT count(*) FROM deliveries WHERE status = 'delivered'`) != 3 {
		t.Error("a delivery has left delivered")
	}
}

// oneOfThreeHeld polls three envelopes with a code that nobody knows, and holds the delivery of one as somebody else.
func oneOfThreeHeld(t *testing.T, db *sqlx.DB) (letGo func()) {
	t.Helper()
	ids := polled(t, db, 3, scanAt(3, "203"), scanAt(20, "702"), scanAt(24, "Z9"))
	tx, err := db.Beginx()
	if err == nil {
		_, err = tx.Exec(`SELECT 1 FROM deliveries WHERE id = $1 FOR UPDATE`, ids[1])
	}
	if err != nil {
		t.Fatal(err)
	}
	letGo = func() { tx.Rollback() } // a second time it does nothing
	t.Cleanup(letGo)
	return letGo
}

func TestWhatOthersHoldIsWaitedFor(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	letGo := oneOfThreeHeld(t, db)
	f := newRefolder(db, hour(31))
	report, err := f.DecideNow(t.Context(), Decision{Code: "Z9", Meaning: "attempt_failed", ValidFrom: hour(0)}, "a clerk", "x")
	if err != nil || report.Changed != 2 || report.Skipped != 1 {
		t.Fatalf("changed %d, skipped %d, %v; want 2 and the one that is held throughout", report.Changed, report.Skipped, err)
	}
	// It is let go while the next run waits for it.
	f.Progress = func(looked, _ int) {
		if looked == 2 {
			letGo()
		}
	}
	report, err = f.Refold(t.Context(), RefoldScope{}, "refold:test", false)
	if err != nil || report.Changed != 1 || report.Skipped != 0 || report.Looked != 3 {
		t.Errorf("changed %d, skipped %d, looked at %d, %v", report.Changed, report.Skipped, report.Looked, err)
	}
}

func TestATraceThatShrinksLosesNothing(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	_, numbers := seed(t, db, 1)
	ems, c := newFakeEMS(), newClock(hour(30))
	ems.show(numbers[0], scanAt(3, "203"), scanAt(20, "702"), courier.Scan{At: hour(24), Code: "704", OrgCode: "1", DeliverCode: "10"})
	p := newTestPoller(t, db, ems, c, Options{KeepAnswers: true})
	pollRound(t, p)
	was := text(t, db, `SELECT status || (SELECT count(*) FROM scans) FROM deliveries`)
	for i, left := range [][]courier.Scan{{scanAt(20, "702")}, nil} {
		ems.show(numbers[0], left...)
		must(t, db, `UPDATE waybills SET next_poll_at = $1`, hour(30))
		c.set(hour(9000 + i))
		pollRound(t, p)
		if now := text(t, db, `SELECT status || (SELECT count(*) FROM scans) FROM deliveries`); now != was || was != "delivered3" {
			t.Fatalf("%q before EMS forgot, %q after", was, now)
		}
	}
	if fmt.Sprint(ems.asked[numbers[0]]) != "3" {
		t.Errorf("asked %d times, want 3", ems.asked[numbers[0]])
	}
}

// The station has the envelope in its hands: what EMS says afterwards is kept, and moves nothing.
func TestI6_AnEnvelopeAtTheStationStaysThere(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	_, numbers := seed(t, db, 1)
	ems, c := newFakeEMS(), newClock(hour(30))
	trace := []courier.Scan{scanAt(3, "203"), scanAt(20, "702"), scanAt(24, "708"), scanAt(28, "711")}
	ems.show(numbers[0], trace...)
	p := newTestPoller(t, db, ems, c, Options{})
	pollRound(t, p)
	must(t, db, `INSERT INTO returns (delivery_id, received_at, received_by, shelf, retain_until) SELECT id, $1, 'a clerk', 'A-1', '2030-01-01' FROM deliveries`, hour(31))
	must(t, db, `UPDATE cases SET closed_at = $1, outcome = 'picked_up', closed_by = 'a clerk'`, hour(31))
	must(t, db, `UPDATE waybills SET next_poll_at = $1`, hour(32))
	c.set(hour(33))
	ems.show(numbers[0], append(trace, courier.Scan{At: hour(32), Code: "743", OrgCode: "10000000"}, scanAt(33, "711"), scanAt(33, "702"))...)
	pollRound(t, p)
	if s := text(t, db, `SELECT status || ' ' || (SELECT count(*) FROM scans) || ' ' || (SELECT count(*) FROM cases WHERE closed_at IS NULL) FROM deliveries`); s != "returned 7 0" {
		t.Errorf("status, scans and open cases %q, want returned 7 0", s)
	}
	if r, err := newRefolder(db, hour(34)).Refold(t.Context(), RefoldScope{}, "refold:test", false); err != nil || r.Changed != 0 {
		t.Errorf("refold changed %v, %v", r.Kinds, err)
	}
}
