package audit_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"emsd/courier/audit"
	"emsd/migrations/dbtest"

	"github.com/google/go-cmp/cmp"
	"github.com/jmoiron/sqlx"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

var noon = time.Date(2026, 11, 22, 4, 0, 0, 123456789, time.UTC)

// five entries with what jsonb, JSON and SQL treat specially.
func five() []audit.Entry {
	entries := make([]audit.Entry, 5)
	for i := range entries {
		entries[i] = audit.Entry{
			At: noon.Add(time.Duration(i) * time.Hour), Actor: "警号011234", Action: "case.close", Object: fmt.Sprint("delivery ", i),
			Detail: map[string]string{"why": `<"测试"> & \ ` + "\u2028\n", "n": fmt.Sprint(i), "": "", "é": "e\u0301"},
		}
	}
	return entries
}

func write(t testing.TB, db *sqlx.DB, entries ...audit.Entry) {
	t.Helper()
	tx, err := db.Beginx()
	if err != nil {
		t.Error(err)
		return
	}
	defer tx.Rollback()
	if err := audit.Append(t.Context(), tx, entries...); err != nil {
		t.Error(err)
		return
	}
	if err := tx.Commit(); err != nil {
		t.Error(err)
	}
}

func verify(t testing.TB, db sqlx.QueryerContext, anchors ...audit.Anchor) audit.Report {
	t.Helper()
	got, err := audit.Verify(t.Context(), db, anchors...)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func export(t testing.TB, db sqlx.QueryerContext) string {
	t.Helper()
	var b bytes.Buffer
	if err := audit.Export(t.Context(), db, &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func stream(t testing.TB, text string, anchors ...audit.Anchor) audit.Report {
	t.Helper()
	got, err := audit.VerifyStream(strings.NewReader(text), anchors...)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestAnUntouchedChainHolds(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	if got := verify(t, db); got.Fault != "" || got.Entries != 0 {
		t.Errorf("an empty chain: %+v", got)
	}
	write(t, db, five()[:2]...)
	anchor := verify(t, db).Anchor()
	write(t, db, five()[2])
	write(t, db, five()[3:]...)
	got := verify(t, db, anchor)
	if got.Fault != "" || got.Entries != 5 || got.Last != 5 || len(got.Head) != 64 {
		t.Errorf("Verify = %+v", got)
	}
	if diff := cmp.Diff(got, stream(t, export(t, db), anchor)); diff != "" {
		t.Errorf("the export says otherwise (-database +export):\n%s", diff)
	}
	// Another session's zone and date style change nothing.
	tx := db.MustBegin()
	defer tx.Rollback()
	tx.MustExec(`SET LOCAL TimeZone = 'Asia/Shanghai'`)
	if diff := cmp.Diff(got, verify(t, tx, anchor)); diff != "" {
		t.Errorf("in another zone (-want +got):\n%s", diff)
	}
}

// The encoding is stored in databases: this head was computed by openssl dgst -sm3 over bytes put together by hand.
func TestTheHashIsFixed(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	write(t, db, audit.Entry{At: time.UnixMicro(1_700_000_000_123_456), Actor: "a", Action: "b", Object: "c", Detail: map[string]string{"y": "2", "x": "1"}})
	const want = "43096f1922476a18ccef052370368ff5ea14758092a4819f183797c467740166"
	if got := verify(t, db); got.Head != want {
		t.Errorf("head = %s, want %s", got.Head, want)
	}
}

// Every field of every row, changed in the database; and rows removed, swapped, renumbered, inserted.
func TestAnyChangeShows(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	write(t, db, five()...)
	changes := map[string]string{}
	for id := 1; id <= 5; id++ {
		for field, sql := range map[string]string{
			"at": `at = at + interval '1 microsecond'`, "at infinite": `at = 'infinity'`, "actor": `actor = actor || ' '`,
			"actor emptied": `actor = ''`, "action": `action = 'case.open'`, "object": `object = 'delivery x'`,
			"moved between fields": `actor = actor || left(action, 1), action = substr(action, 2)`,
			"detail value":         `detail = jsonb_set(detail, '{n}', '"9"')`, "detail number": `detail = jsonb_set(detail, '{n}', '9')`,
			"detail null": `detail = jsonb_set(detail, '{n}', 'null')`, "detail added": `detail = detail || '{"x":""}'`,
			"detail removed": `detail = detail - 'n'`, "detail array": `detail = '[]'`, "detail JSON null": `detail = 'null'`,
			"prev_hash": `prev_hash = set_byte(prev_hash, 31, get_byte(prev_hash, 31) # 1)`, "prev_hash cut": `prev_hash = ''`,
			"hash": `hash = set_byte(hash, 0, get_byte(hash, 0) # 128)`, "hash cut": `hash = ''`, "hash longer": `hash = hash || '\x00'`,
			"number": `id = id + 100`, "number below": `id = -id`,
		} {
			changes[fmt.Sprintf("%s of %d", field, id)] = fmt.Sprintf(`UPDATE audit SET %s WHERE id = %d`, sql, id)
		}
		for other := id + 1; other <= 5; other++ {
			changes[fmt.Sprintf("%d and %d swapped", id, other)] = fmt.Sprintf(
				`UPDATE audit SET id = 99 WHERE id = %d; UPDATE audit SET id = %d WHERE id = %d; UPDATE audit SET id = %d WHERE id = 99`, id, id, other, other)
		}
		if id < 5 {
			changes[fmt.Sprintf("%d removed", id)] = fmt.Sprintf(`DELETE FROM audit WHERE id = %d`, id)
			changes[fmt.Sprintf("%d removed, the rest renumbered", id)] = fmt.Sprintf(
				`DELETE FROM audit WHERE id = %d; UPDATE audit SET id = id + 100 WHERE id > %d; UPDATE audit SET id = id - 101 WHERE id > 100`, id, id)
		}
	}
	changes["first inserted before"] = `INSERT INTO audit SELECT 0, at, actor, action, object, detail, prev_hash, hash FROM audit WHERE id = 1`
	changes["last repeated"] = `INSERT INTO audit SELECT 6, at, actor, action, object, detail, prev_hash, hash FROM audit WHERE id = 5`

	for name, change := range changes {
		func() {
			tx := db.MustBegin()
			defer tx.Rollback()
			tx.MustExec(change)
			got := verify(t, tx)
			if got.Fault == "" {
				t.Errorf("%s: not seen", name)
			}
			if diff := cmp.Diff(got.Fault == "", stream(t, export(t, tx)).Fault == ""); diff != "" {
				t.Errorf("%s: seen in the database and not in its export", name)
			}
		}()
	}
}

func TestTheFaultSaysWhere(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	write(t, db, five()...)
	tests := []struct {
		name, change string
		want         []string
	}{
		{"one field", `UPDATE audit SET actor = 'nobody' WHERE id = 3`, []string{"entry 3 was changed"}},
		{"two entries", `UPDATE audit SET actor = 'nobody' WHERE id IN (2, 4)`, []string{"entry 2 was changed", "entry 4 was changed"}},
		{"removed", `DELETE FROM audit WHERE id = 3`, []string{"entry 4 stands where entry 3 should be: an entry was removed or moved"}},
		{"a detail of another kind", `UPDATE audit SET detail = '{"n":1}' WHERE id = 5`,
			[]string{"entry 5 was changed: its detail is not an object of strings"}},
		{"last hash made to fit nothing", `UPDATE audit SET hash = prev_hash WHERE id = 4`,
			[]string{"entry 4 was changed", "entry 5 does not follow on entry 4"}},
	}
	for _, tt := range tests {
		func() {
			tx := db.MustBegin()
			defer tx.Rollback()
			tx.MustExec(tt.change)
			got := verify(t, tx)
			if diff := cmp.Diff(tt.want, got.Faults); diff != "" || got.Fault != tt.want[0] {
				t.Errorf("%s (-want +got):\n%s", tt.name, diff)
			}
		}()
	}
}

// What the chain alone cannot show, and an anchor does.
func TestACutOrRewrittenChainShowsAgainstAnAnchor(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	write(t, db, five()...)
	anchor := verify(t, db).Anchor()

	tx := db.MustBegin()
	defer tx.Rollback()
	tx.MustExec(`DELETE FROM audit WHERE id > 3`)
	if got := verify(t, tx); got.Fault != "" || got.Entries != 3 {
		t.Errorf("a cut tail shows without an anchor? %+v", got)
	}
	for _, got := range []audit.Report{verify(t, tx, anchor), stream(t, export(t, tx), anchor)} {
		if !strings.Contains(got.Fault, "cut off") {
			t.Errorf("against an anchor: %+v", got)
		}
	}

	tx.MustExec(`DELETE FROM audit`)
	forged := five()
	forged[1].Actor = "nobody"
	if err := audit.Append(t.Context(), tx, forged...); err != nil {
		t.Fatal(err)
	}
	if got := verify(t, tx); got.Fault != "" {
		t.Errorf("a chain written anew shows without an anchor? %+v", got)
	}
	if got := verify(t, tx, anchor); !strings.Contains(got.Fault, "written anew") {
		t.Errorf("against an anchor: %+v", got)
	}
	if got := verify(t, tx, anchor, audit.Anchor{ID: 5, Hash: verify(t, tx).Head}); got.Fault == "" {
		t.Error("two anchors contradict each other")
	}
}

func TestAnchorsAreReadAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	want := audit.Anchor{ID: 17, Hash: strings.Repeat("0f", 32)}
	if got, err := audit.ParseAnchor(" " + want.String() + "\n"); err != nil || got != want {
		t.Errorf("ParseAnchor = %v, %v", got, err)
	}
	for _, bad := range []string{"", "17", "17:", "x:" + want.Hash, "0:" + want.Hash, "17:0f", "17:" + strings.Repeat("zz", 32)} {
		if got, err := audit.ParseAnchor(bad); err == nil {
			t.Errorf("ParseAnchor(%q) = %v", bad, got)
		}
	}
}

// An export is checked byte by byte: what a person reads in it is what was hashed.
func TestAnyChangeOfAnExportShows(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	write(t, db, five()...)
	text, anchor := export(t, db), verify(t, db).Anchor()
	rapid.Check(t, func(t *rapid.T) {
		lines := strings.SplitAfter(text, "\n")
		lines = lines[:len(lines)-1]
		i := rapid.IntRange(0, len(lines)-1).Draw(t, "line")
		switch rapid.SampledFrom([]string{"byte", "drop", "swap", "repeat", "cut", "junk"}).Draw(t, "change") {
		case "byte":
			b := []byte(lines[i])
			at := rapid.IntRange(0, len(b)-2).Draw(t, "at")
			b[at] ^= rapid.ByteMin(1).Draw(t, "xor")
			lines[i] = string(b)
		case "drop":
			lines = slices.Delete(lines, i, i+1)
		case "swap":
			k := rapid.IntRange(0, len(lines)-1).Filter(func(k int) bool { return k != i }).Draw(t, "with")
			lines[i], lines[k] = lines[k], lines[i]
		case "repeat":
			lines = slices.Insert(lines, i, lines[i])
		case "cut":
			lines[i] = lines[i][:rapid.IntRange(1, len(lines[i])-2).Draw(t, "at")] + "\n"
		case "junk":
			lines = slices.Insert(lines, i, rapid.SampledFrom([]string{"\n", "{}\n", "null\n", "[]\n", "\xff\n", "{\n"}).Draw(t, "junk"))
		}
		got, err := audit.VerifyStream(strings.NewReader(strings.Join(lines, "")), anchor)
		if err != nil || got.Fault == "" {
			t.Fatalf("not seen: %+v, %v\n%s", got, err, strings.Join(lines, ""))
		}
	})
}

func TestALineLongerThanAnyEntryIsAFault(t *testing.T) {
	t.Parallel()
	if got := stream(t, strings.Repeat("x", 2<<20)); !strings.Contains(got.Fault, "longer than any entry") {
		t.Errorf("VerifyStream = %+v", got)
	}
}

func TestEntriesThatWouldNotComeBackAreRefused(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	tx := db.MustBegin()
	defer tx.Rollback()
	for name, e := range map[string]audit.Entry{
		"invalid UTF-8":       {At: noon, Actor: "\xff", Action: "x"},
		"zero byte":           {At: noon, Actor: "a", Action: "x", Detail: map[string]string{"k": "a\x00b"}},
		"zero byte in a name": {At: noon, Actor: "a", Action: "x", Detail: map[string]string{"\x00": ""}},
		"long":                {At: noon, Actor: "a", Action: "x", Object: strings.Repeat("x", 1<<20)},
	} {
		if err := audit.Append(t.Context(), tx, e); err == nil {
			t.Errorf("%s: appended", name)
		}
	}
	// The transaction is not spoilt by a refusal, and the largest entry comes through an export.
	if err := audit.Append(t.Context(), tx, audit.Entry{At: noon, Action: "x", Object: strings.Repeat("\x01", 64<<10-1)}); err != nil {
		t.Fatal(err)
	}
	if got := stream(t, export(t, tx)); got.Fault != "" || got.Entries != 1 {
		t.Errorf("VerifyStream = %+v", got)
	}
}

// TestWhatIsWrittenIsReadBack: no text that is accepted is changed by jsonb, by JSON or by the database.
func TestWhatIsWrittenIsReadBack(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	texts := rapid.String().Filter(func(s string) bool { return !strings.ContainsRune(s, 0) })
	rapid.Check(t, func(t *rapid.T) {
		tx := db.MustBegin()
		defer tx.Rollback()
		e := audit.Entry{
			At:    time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "s"), rapid.Int64Range(0, 1e9-1).Draw(t, "ns")),
			Actor: texts.Draw(t, "actor"), Action: texts.Draw(t, "action"), Object: texts.Draw(t, "object"),
			Detail: rapid.MapOf(texts, texts).Draw(t, "detail"),
		}
		if err := audit.Append(t.Context(), tx, e, e); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		got, err := audit.Verify(t.Context(), tx)
		if err != nil || got.Fault != "" || got.Entries != 2 {
			t.Fatalf("Verify = %+v, %v", got, err)
		}
		if err := audit.Export(t.Context(), tx, &out); err != nil {
			t.Fatal(err)
		}
		if off, err := audit.VerifyStream(&out); err != nil || !cmp.Equal(off, got) {
			t.Fatalf("VerifyStream = %+v, %v; Verify = %+v", off, err, got)
		}
	})
}

func TestWritersAtOnceKeepTheChain(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 10 {
				write(t, db, audit.Entry{At: noon, Actor: fmt.Sprint(w), Action: "test", Object: fmt.Sprint(i)})
			}
		})
	}
	wg.Wait()
	if got := verify(t, db); got.Fault != "" || got.Entries != 80 || got.Last != 80 {
		t.Errorf("Verify = %+v; want 80 entries without fault", got)
	}
}

func TestARolledBackEntryLeavesNoGap(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	write(t, db, five()[0])
	tx := db.MustBegin()
	if err := audit.Append(t.Context(), tx, five()[1]); err != nil {
		t.Fatal(err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	write(t, db, five()[2])
	if got := verify(t, db); got.Fault != "" || got.Last != 2 {
		t.Errorf("Verify = %+v", got)
	}
}

// More entries than a page, read while others are written.
func TestALongChainIsReadInPages(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	for range 5 {
		entries := make([]audit.Entry, 500)
		for i := range entries {
			entries[i] = audit.Entry{At: noon, Action: "test", Object: fmt.Sprint(i)}
		}
		write(t, db, entries...)
	}
	if got := verify(t, db); got.Fault != "" || got.Entries != 2500 {
		t.Errorf("Verify = %+v", got)
	}
	db.MustExec(`UPDATE audit SET actor = 'nobody'`)
	if got := verify(t, db); len(got.Faults) != 100 || got.Entries != 2500 {
		t.Errorf("%d faults listed of %d entries, want a hundred of 2500", len(got.Faults), got.Entries)
	}
}

func FuzzVerifyStream(f *testing.F) {
	f.Add([]byte(`{"id":1,"at":"2026-11-22T04:00:00.123456Z","actor":"a","action":"b","object":"c","detail":{"k":"v"},"prev_hash":"` +
		strings.Repeat("0", 64) + `","hash":"` + strings.Repeat("0", 64) + `"}`))
	f.Add([]byte("\n\n"))
	f.Add([]byte(`{"id":9223372036854775807}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := audit.VerifyStream(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if got.Fault == "" && got.Entries != 0 {
			t.Fatalf("a chain that nobody hashed holds: %s", text)
		}
		if len(got.Faults) > 100 || (got.Fault == "") != (len(got.Faults) == 0) {
			t.Fatalf("the report contradicts itself: %+v", got)
		}
	})
}

func TestEntriesAreListedByWhoAndWhatNewestFirst(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	write(t, db, five()...)
	write(t, db, audit.Entry{At: noon, Actor: "zhao", Action: "policy.end", Object: "R-08"}, audit.Entry{At: noon, Actor: "zhao", Action: "user.create", Object: "u1"})
	tests := []struct {
		filter audit.Filter
		want   []int64
	}{
		{audit.Filter{Limit: 3}, []int64{7, 6, 5}},
		{audit.Filter{Limit: 3, Before: 5}, []int64{4, 3, 2}},
		{audit.Filter{Limit: 9, Actor: "zhao"}, []int64{7, 6}},
		{audit.Filter{Limit: 9, Action: "policy."}, []int64{6}},
		{audit.Filter{Limit: 9, Object: "delivery 1"}, []int64{2}},
		{audit.Filter{Limit: 9, Object: "delivery 1", Actor: "zhao"}, nil},
	}
	for _, tt := range tests {
		listed, err := audit.List(t.Context(), db, tt.filter)
		if err != nil {
			t.Fatal(err)
		}
		var got []int64
		for _, l := range listed {
			got = append(got, l.ID)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", tt.filter, diff)
		}
	}
	listed, err := audit.List(t.Context(), db, audit.Filter{Before: 2, Limit: 1})
	want := five()[0]
	want.At = want.At.Truncate(time.Microsecond)
	if err != nil || len(listed) != 1 {
		t.Fatal(listed, err)
	}
	listed[0].At = listed[0].At.UTC()
	if diff := cmp.Diff(want, listed[0].Entry); diff != "" {
		t.Errorf("an entry as it is listed (-want +got):\n%s", diff)
	}
}
