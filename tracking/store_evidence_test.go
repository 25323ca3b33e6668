package tracking

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"emsd/courier"
	"emsd/courier/vault"
	"emsd/migrations/dbtest"

	"github.com/google/uuid"
)

func TestAnswersAreKeptSealedAndOpenAsTheyCame(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	ids, numbers := seed(t, db, 1)
	const body = `{"responseItems":[{"opDesc":"快递员【王某，电话:13800000000】"}]}`
	ems, c := newFakeEMS(), newClock(hour(30))
	ems.show(numbers[0], scanAt(3, "203"))
	p := newTestPoller(t, db, rawAsker{ems, []byte(body)}, c, Options{KeepAnswers: true})
	pollRound(t, p)
	must(t, db, `UPDATE waybills SET next_poll_at = $1`, hour(30))
	pollRound(t, p) // nothing new
	if n := count(t, db, `SELECT count(*) FROM raw_answers`); n != 1 {
		t.Fatalf("%d answers are kept of one that was new and one that was not", n)
	}
	if n := count(t, db, `SELECT count(*) FROM raw_answers WHERE position('13800000000'::bytea IN body_sealed) > 0 OR position('responseItems'::bytea IN body_sealed) > 0`); n != 0 {
		t.Error("an answer is stored in clear")
	}
	list, err := ReadAnswers(t.Context(), db, vault.Fixed([]byte("tracking")), ids[0])
	if err != nil || len(list) != 1 || list[0].Body.Reveal() != body || !list[0].AskedAt.Equal(hour(30)) || list[0].Fingerprint == 0 {
		t.Errorf("ReadAnswers = %d, %v", len(list), err)
	}
	if _, err := ReadAnswers(t.Context(), db, vault.Fixed([]byte("another")), ids[0]); err == nil {
		t.Error("an answer opens under another key")
	}
}

func TestNoAnswerIsKeptUnlessWanted(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	_, numbers := seed(t, db, 1)
	ems := newFakeEMS()
	ems.show(numbers[0], scanAt(3, "203"))
	pollRound(t, newTestPoller(t, db, rawAsker{ems, []byte(`{}`)}, newClock(hour(30)), Options{}))
	if n := count(t, db, `SELECT count(*) FROM raw_answers`); n != 0 {
		t.Errorf("%d answers are kept", n)
	}
}

func TestAnAnswerThatIsTooLongIsLeftOutAndItsScansAreNot(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	_, numbers := seed(t, db, 1)
	ems := newFakeEMS()
	ems.show(numbers[0], scanAt(3, "203"))
	noise := make([]byte, longestAnswer+1)
	rng := rand.NewChaCha8([32]byte{1})
	rng.Read(noise)
	pollRound(t, newTestPoller(t, db, rawAsker{ems, noise}, newClock(hour(30)), Options{KeepAnswers: true}))
	if n, scans := count(t, db, `SELECT count(*) FROM raw_answers`), count(t, db, `SELECT count(*) FROM scans`); n != 0 || scans != 1 {
		t.Errorf("%d answers and %d scans are kept, want 0 and 1", n, scans)
	}
}

// A rawAsker gives every changed trace the same body.
type rawAsker struct {
	*fakeEMS
	raw []byte
}

func (a rawAsker) Trace(ctx context.Context, no string, known int64) (courier.Trace, error) {
	t, err := a.fakeEMS.Trace(ctx, no, known)
	if err == nil && !t.Unchanged {
		t.Raw = a.raw
	}
	return t, err
}

// wireAsker answers with bodies as EMS writes them.
type wireAsker struct{ *fakeEMS }

func (a wireAsker) Trace(ctx context.Context, no string, known int64) (courier.Trace, error) {
	t, err := a.fakeEMS.Trace(ctx, no, known)
	if err != nil || t.Unchanged {
		return t, err
	}
	var items []map[string]string
	for _, s := range t.Scans {
		items = append(items, map[string]string{"waybillNo": no, "opTime": s.At.In(beijing).Format(time.DateTime), "opCode": s.Code, "opName": s.Name,
			"opDesc": s.Desc.Reveal(), "opOrgProvName": "北京市", "opOrgCity": "北京市", "opOrgCode": s.OrgCode, "opOrgName": s.OrgName,
			"operatorNo": "110000" + no[len(no)-3:], "operatorName": "示例员"})
	}
	t.Raw, err = json.Marshal(map[string]any{"responseItems": items})
	return t, err
}

// What it costs to keep answers: printed for whoever sets EMSD_KEEP_ANSWERS_DAYS. It runs alone, as the log is the server's.
func TestWhatAnAnswerCosts(t *testing.T) {
	const n = 100
	stages := [][]string{{"203", "305", "954"}, {"203", "305", "954", "389", "954", "389", "306"}, {"203", "305", "954", "389", "954", "389", "306", "702", "705", "702", "704"}}
	wal := map[bool]int{}
	for _, keep := range []bool{false, true} {
		db := dbtest.Open(t)
		_, numbers := seed(t, db, n)
		ems, c := newFakeEMS(), newClock(hour(30))
		p := newTestPoller(t, db, wireAsker{ems}, c, Options{KeepAnswers: keep})
		must(t, db, `CHECKPOINT`)
		var from string
		if err := db.Get(&from, `SELECT pg_current_wal_insert_lsn()::text`); err != nil {
			t.Fatal(err)
		}
		for i, codes := range stages {
			var scans []courier.Scan
			for h, code := range codes {
				s := scanAt(2*h+3, code)
				s.OrgName, s.Desc = "北京市示例区第三揽投部", vault.Conceal(fmt.Sprintf("快件到达【北京市示例区第%d揽投部】，快递员【示例员，电话:1380000%04d】正在处理", h, 37*h))
				scans = append(scans, s)
			}
			for _, no := range numbers {
				ems.show(no, scans...)
			}
			must(t, db, `UPDATE waybills SET next_poll_at = $1`, hour(30+i))
			c.set(hour(30 + i))
			pollRound(t, p)
		}
		wal[keep] = count(t, db, `SELECT (pg_current_wal_insert_lsn() - $1::pg_lsn)::bigint`, from) / (n * len(stages))
		if !keep {
			continue
		}
		answers, stored := count(t, db, `SELECT count(*) FROM raw_answers`), count(t, db, `SELECT avg(octet_length(body_sealed))::bigint FROM raw_answers`)
		list, err := ReadAnswers(t.Context(), db, p.vault, uuid.MustParse(text(t, db, `SELECT delivery_id FROM raw_answers LIMIT 1`)))
		if err != nil || len(list) != len(stages) || answers != n*len(stages) {
			t.Fatalf("%d answers in all, %d of one delivery, %v", answers, len(list), err)
		}
		long := len(list[len(list)-1].Body.Reveal())
		t.Logf("an answer takes %d bytes on average, of up to %d as it came; WAL per news %d bytes with, %d without", stored, long, wal[true], wal[false])
		if stored*3 > long {
			t.Errorf("%d bytes are stored on average of up to %d: not deflated?", stored, long)
		}
	}
}

func TestDeflateAndInflate(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", "x", strings.Repeat(`{"opCode":"702"},`, 10_000)} {
		got, err := inflate(deflate([]byte(body)))
		if err != nil || !bytes.Equal(got, []byte(body)) {
			t.Errorf("%d bytes come back as %d, %v", len(body), len(got), err)
		}
	}
	if _, err := inflate([]byte("no deflate")); err == nil {
		t.Error("nonsense inflates")
	}
}

func TestWholeMonthsGoAndThoseOfLiveDeliveriesStay(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, beijing)
	if err := EnsurePartitions(t.Context(), db, now.AddDate(0, -6, 0), 7); err != nil {
		t.Fatal(err)
	}
	// Whoever deletes a row fails: so ten thousand tell as much as the million that make bench drops (S6).
	for _, table := range []string{"raw_answers", "scans"} {
		must(t, db, `CREATE TRIGGER nobody_deletes BEFORE DELETE ON `+table+` FOR EACH ROW EXECUTE FUNCTION scans_guard()`)
	}
	// A month of answers, small ones.
	must(t, db, `INSERT INTO raw_answers (delivery_id, asked_at, waybill_no, fingerprint, body_sealed)
		SELECT gen_random_uuid(), '2026-06-15 12:00+08'::timestamptz + i * interval '1 millisecond', '', i, '' FROM generate_series(1, 10000) i`)
	must(t, db, `INSERT INTO raw_answers (delivery_id, asked_at, waybill_no, fingerprint, body_sealed) VALUES (gen_random_uuid(), $1, '', 1, '')`, now)
	if _, err := db.Exec(`DELETE FROM raw_answers WHERE fingerprint = 1`); err == nil {
		t.Fatal("an answer can be deleted: the test shows nothing")
	}
	// And one of scans.
	if err := EnsurePartitions(t.Context(), db, now.AddDate(0, -30, 0), 0); err != nil {
		t.Fatal(err)
	}
	must(t, db, `INSERT INTO scans (delivery_id, op_at, op_code, org_code, waybill_no, op_name, desc_sealed, org_name, province, city, seen_at, text_print)
		SELECT gen_random_uuid(), '2024-05-15 12:00+08'::timestamptz + i * interval '1 millisecond', '389', '', '', '', '', '', '', '', now(), i
		FROM generate_series(1, 10000) i`)
	must(t, db, `INSERT INTO events (delivery_id, seq, type, at, data) VALUES (gen_random_uuid(), 1, 'delivery.accepted', '2024-05-15 12:00+08', '{}')`)
	keep := Keep{AnswerDays: 90, TraceMonths: 24}
	ids, _ := seed(t, db, 1)
	drop := func(what string, want int) {
		t.Helper()
		began := time.Now()
		n, err := DropMonths(t.Context(), db, keep, now)
		took := time.Since(began)
		t.Logf("%s: %d partitions were dropped in %s", what, n, took)
		if err != nil || n != want || took > time.Second {
			t.Errorf("%s: %d partitions in %s, %v; want %d within a second", what, n, took, err, want)
		}
	}
	must(t, db, `UPDATE waybills SET ordered_at = '2024-05-10', next_poll_at = $1`, now)
	drop("a delivery of May 2024 is followed", 0)
	must(t, db, `UPDATE waybills SET ordered_at = '2026-06-10'`)
	drop("one of June 2026 is, a month of scans is older", 4) // scans, retellings and answers of May 2024, answers of May 2026
	must(t, db, `UPDATE waybills SET next_poll_at = NULL WHERE delivery_id = $1`, ids[0])
	// A dump holds the tables: nobody queues behind the one who would drop.
	dump, err := db.Beginx()
	if err != nil {
		t.Fatal(err)
	}
	defer dump.Rollback()
	if _, err := dump.Exec(`LOCK TABLE raw_answers, scans IN ACCESS SHARE MODE`); err != nil {
		t.Fatal(err)
	}
	if n, err := DropMonths(t.Context(), db, keep, now); !isLockTimeout(err) || n != 0 {
		t.Errorf("beside a dump %d months go, %v; want it to give up", n, err)
	}
	if err := EnsurePartitions(t.Context(), db, now, 1); err != nil {
		t.Errorf("beside a dump, of months that are there: %v", err)
	}
	dump.Rollback()
	drop("none is, a month of answers is too old", 2) // June and July
	// PostgreSQL cancels an autovacuum in the way after a second; the drop is still there then.
	if err := EnsurePartitions(t.Context(), db, now.AddDate(0, -7, 0), 0); err != nil {
		t.Fatal(err)
	}
	vacuum, err := db.Beginx()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := vacuum.Exec(`LOCK TABLE raw_answers_202604 IN SHARE UPDATE EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(1200*time.Millisecond, func() { vacuum.Rollback() })
	if n, err := DropMonths(t.Context(), db, keep, now); err != nil || n != 1 {
		t.Errorf("while an autovacuum is cancelled %d months go, %v; want 1", n, err)
	}
	if n := count(t, db, `SELECT count(*) FROM raw_answers`); n != 1 {
		t.Errorf("%d answers are left, want that of this month", n)
	}
	if n := count(t, db, `SELECT count(*) FROM events`); n != 1 {
		t.Error("events are dropped")
	}
	drop("a second time", 0)
}
