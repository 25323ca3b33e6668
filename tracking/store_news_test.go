package tracking

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"emsd/courier"
	"emsd/courier/vault"
	"emsd/migrations/dbtest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

func TestI6_AnotherTellingIsKeptBesideTheScan(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	ids, numbers := seed(t, db, 1)
	ems, c := newFakeEMS(), newClock(hour(10))
	p := newTestPoller(t, db, ems, c, Options{})
	const secret = "投递员王某,电话:13800000000"
	ems.show(numbers[0], at(8, "702"), signed("", "已妥投，"+secret))
	pollRound(t, p)
	c.set(hour(12))
	ems.show(numbers[0], at(8, "702"), signed("161", "已放在家门口，"+secret))
	must(t, db, `UPDATE waybills SET next_poll_at = $1`, hour(11))
	pollRound(t, p)

	if n := count(t, db, `SELECT count(*) FROM scans`); n != 2 {
		t.Errorf("%d scans, want 2: a telling is no scan", n)
	}
	if got := text(t, db, `SELECT string_agg(concat_ws(' ', op_code, deliver_code, said_class), ', ') FROM retellings`); got != "704 161 door" {
		t.Errorf("retellings: %q", got)
	}
	if got := text(t, db, `SELECT concat_ws(' ', status, receiver, tracked_at = $1) FROM deliveries`, hour(10)); got != "delivered door t" {
		t.Errorf("delivery: %q, want one delivered to a door whose trace last grew at ten", got)
	}
	if got := text(t, db, `SELECT string_agg(kind, ' ') FROM cases WHERE closed_at IS NULL`); got != "delivered_elsewhere" {
		t.Errorf("cases: %q", got)
	}
	last := text(t, db, `SELECT type || ' ' || data::text FROM events WHERE type = 'tracking.updated' ORDER BY seq DESC LIMIT 1`)
	if !strings.Contains(last, `"receiver": "door"`) || !strings.Contains(last, `"receipt": "case"`) {
		t.Errorf("event of the other telling: %s", last)
	}
	var sealed []byte
	if err := db.GetContext(t.Context(), &sealed, `SELECT desc_sealed FROM retellings`); err != nil {
		t.Fatal(err)
	}
	opened, err := vault.Fixed([]byte("tracking")).Unseal(vault.ColumnRetelling, ids[0], sealed)
	if err != nil || !strings.Contains(opened.Reveal(), "家门口") || bytes.Contains(sealed, []byte("王某")) {
		t.Errorf("the sealed text of the telling: %v", err)
	}
	c.set(hour(14))
	ems.show(numbers[0], at(8, "702"), signed("", "已妥投，"+secret))
	must(t, db, `UPDATE waybills SET next_poll_at = $1`, hour(13))
	events := count(t, db, `SELECT count(*) FROM events`)
	pollRound(t, p)
	if n := count(t, db, `SELECT count(*) FROM events`); n != events {
		t.Errorf("%d events after the first telling came again, want %d", n, events)
	}
	steps, err := NewReader(db).Timeline(t.Context(), ids[0])
	if err != nil || len(steps) != 2 || steps[1].Sentence != "邮件已放在家门口。" {
		t.Errorf("timeline: %v, %+v", err, steps)
	}
}

func TestADeliveryKnowsWhoHasItAndUntilWhen(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	_, numbers := seed(t, db, 2)
	must(t, db, `UPDATE deliveries SET id_checked = true WHERE waybill_no = $1`, numbers[1])
	ems, c := newFakeEMS(), newClock(hour(10))
	p := newTestPoller(t, db, ems, c, Options{})
	locker := at(9, "747")
	locker.Desc = vault.Conceal("快件已到【示例小区丰巢快递柜】，请于12月29日前取件")
	ems.show(numbers[0], at(8, "702"), locker)
	ems.show(numbers[1], at(8, "702"), signed("", "已代签收【家人】"))
	pollRound(t, p)
	state := func() string {
		return text(t, db, `SELECT string_agg(concat_ws(' ', status, coalesce(nullif(receiver, ''), '-'), coalesce(held_until::text, '-')), ', ' ORDER BY waybill_no) FROM deliveries`)
	}
	if diff := cmp.Diff("held - 2024-12-29, delivered family -", state()); diff != "" {
		t.Errorf("deliveries: want -, got +\n%s", diff)
	}
	if got := text(t, db, `SELECT coalesce(string_agg(kind, ' '), '') FROM cases WHERE closed_at IS NULL`); got != "held" {
		t.Errorf("cases: %q, want none for family whose ID was checked", got)
	}
	c.set(hour(30))
	ems.show(numbers[0], at(8, "702"), locker, at(29, "748"))
	must(t, db, `UPDATE waybills SET next_poll_at = $1 WHERE next_poll_at IS NOT NULL`, hour(29))
	pollRound(t, p)
	if diff := cmp.Diff("delivered collected -, delivered family -", state()); diff != "" {
		t.Errorf("deliveries: want -, got +\n%s", diff)
	}
	want := "moved_on 物流状态由“待领取”变为“已妥投”（邮政代码 748，12月27日05:00）。"
	if got := text(t, db, `SELECT outcome || ' ' || why FROM cases WHERE kind = 'held' AND closed_at IS NOT NULL`); got != want {
		t.Errorf("the case was closed with %q, want %q", got, want)
	}
}

func TestTheTimelineSaysWhatWasDecided(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	ids, numbers := seed(t, db, 1)
	must(t, db, `INSERT INTO code_decisions (code, name, meaning, sentence, valid_from, decided_at, decided_by, reason)
		VALUES ('999', '新代码', 'in_transit', '邮件正在新的路上。', $1, $1, 'clerk', 'asked')`, base)
	ems := newFakeEMS()
	ems.show(numbers[0], at(8, "999"))
	pollRound(t, newTestPoller(t, db, ems, newClock(hour(9)), Options{}))
	steps, err := NewReader(db).Timeline(t.Context(), ids[0])
	if err != nil || len(steps) != 1 || steps[0].Sentence != "邮件正在新的路上。" || steps[0].Group != InTransit {
		t.Errorf("timeline: %v, %+v", err, steps)
	}
}

// BenchmarkDigest is what one changed trace costs before it is written: ten scans are known, one is new.
func BenchmarkDigest(b *testing.B) {
	v := vault.Fixed([]byte("tracking"))
	hash := func(s *courier.Scan) int64 { return textPrint(v, s) }
	var scans []courier.Scan
	for i, c := range []string{"203", "305", "954", "389", "954", "389", "306", "702", "705", "702", "704"} {
		s := at(i, c)
		s.Desc = vault.Conceal("您的快件已签收【本人，，】，如有疑问请电联快递员【王某，电话:13800000000】，投诉请致电11183。")
		scans = append(scans, s)
	}
	w := waybill{delivery: uuid.New(), no: "1200000001417", stage: courier.Ordered, orderedAt: base, changedAt: base}
	r := rules{book: DefaultRulebook(), plan: DefaultPlan()}
	st := standing{status: courier.Ordered, since: base}
	first := digest(&asked{waybill: w, trace: courier.Trace{Fingerprint: 1, Scans: scans[:10]}}, st, nil, r, hash, hour(11))
	var have []kept
	for _, x := range first.fresh {
		have = append(have, kept{telling: x})
	}
	a := &asked{waybill: w, trace: courier.Trace{Fingerprint: 2, Scans: scans}}
	b.ReportAllocs()
	for b.Loop() {
		if n := digest(a, standing{status: courier.OutForDelivery, since: hour(9).Add(time.Second)}, have, r, hash, hour(11)); n.move == nil {
			b.Fatal("no move")
		}
	}
}
