package tracking

import (
	"hash/fnv"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"emsd/courier"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"
)

// followed plays polls of one waybill without a database.
type followed struct {
	book *Rulebook // nil for the default
	w    waybill
	st   standing
	kept []kept
	log  []news

	receiver, receipt, heldUntil string // as written, and as the last event told
}

func follow(orderedAt time.Time) *followed {
	return &followed{
		w:  waybill{delivery: uuid.New(), no: "1200000001417", stage: courier.Ordered, orderedAt: orderedAt, changedAt: orderedAt},
		st: standing{status: courier.Ordered, since: orderedAt},
	}
}

func (f *followed) rulebook() *Rulebook {
	if f.book == nil {
		return DefaultRulebook()
	}
	return f.book
}

// plainPrint stands for the keyed hash of a text.
func plainPrint(s *courier.Scan) int64 {
	h := fnv.New64a()
	io.WriteString(h, s.Name+"\x00"+s.Desc.Reveal()+"\x00"+s.DeliverCode+"\x00"+s.AttemptCode)
	return int64(h.Sum64() | 1)
}

// poll sees a trace; it returns what digest makes of it and keeps the outcome as the store would.
func (f *followed) poll(now time.Time, scans ...courier.Scan) news {
	n := digest(&asked{waybill: f.w, trace: courier.Trace{Fingerprint: 1, Scans: scans}}, f.st, f.kept, rules{f.rulebook(), DefaultPlan()}, plainPrint, now)
	for _, x := range n.fresh {
		f.kept = append(f.kept, kept{telling: x})
	}
	for _, x := range n.retold {
		f.kept = append(f.kept, kept{telling: x, retold: true})
	}
	if n.move != nil {
		f.st.status, f.st.since = n.move.To, now
	}
	switch {
	case n.receiver == nil:
	case n.move != nil:
		f.receiver, f.receipt = *n.receiver, n.move.Data.Receipt
	case n.event != nil:
		f.receiver, f.receipt = *n.receiver, n.event.Data.Receipt
	}
	if n.heldUntil != nil {
		f.heldUntil = *n.heldUntil
	}
	f.w.stage, f.w.changedAt = n.status, n.changedAt
	f.log = append(f.log, n)
	return n
}

func (f *followed) opened() []courier.CaseKind {
	var kinds []courier.CaseKind
	for _, n := range f.log {
		for _, c := range n.open {
			kinds = append(kinds, c.Kind)
		}
	}
	return kinds
}

func at(hour int, code string) courier.Scan {
	code, detail, _ := strings.Cut(code, "/")
	s := courier.Scan{At: base.Add(time.Duration(hour) * time.Hour), Code: code, OrgCode: "11000001"}
	if code == "705" {
		s.AttemptCode = detail
	} else {
		s.DeliverCode = detail
	}
	return s
}

func hour(h int) time.Time { return base.Add(time.Duration(h) * time.Hour) }

func TestI6_AnySplitIntoPollsEndsInTheSame(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		scans := rapid.Permutation(anyScans().Draw(t, "scans")).Draw(t, "arrival")
		f := follow(base)
		f.st.idChecked = rapid.Bool().Draw(t, "id checked")
		now := base.Add(48 * time.Hour)
		for i := 0; i < len(scans); {
			i += rapid.IntRange(1, len(scans)-i).Draw(t, "more")
			seen := scans[:i]
			if rapid.Bool().Draw(t, "only the newest") { // an answer may hold less than the one before
				seen = scans[max(0, i-1):i]
			}
			before := f.st.status
			now = now.Add(time.Hour)
			n := f.poll(now, seen...)
			if n.move != nil && !before.MayBecome(n.move.To, n.move.Data.Rule) {
				t.Fatalf("the life-cycle forbids %s to %s by %q", before, n.move.To, n.move.Data.Rule)
			}
			if n.move != nil && before.Final() && n.move.Data.Rule == "" {
				t.Fatalf("%s became %s without a rule", before, n.move.To)
			}
		}
		f.poll(now.Add(time.Hour), scans...)
		if n := f.poll(now.Add(2*time.Hour), scans...); n.move != nil || n.event != nil || len(n.fresh)+len(n.retold) > 0 {
			t.Fatalf("the same answer again is news: %+v", n)
		}
		want := DefaultRulebook().Fold(scans, Envelope{OrderedAt: base, IDChecked: f.st.idChecked})
		if f.st.status != want.Status || f.receiver != want.Receiver || f.receipt != want.Receipt {
			t.Fatalf("after all polls %s %s %s, by the fold %s %s", f.st.status, f.receiver, f.receipt, summary(want), want.Receipt)
		}
		if day := want.HeldUntil.Format(time.DateOnly); !want.HeldUntil.IsZero() && f.heldUntil != day || want.HeldUntil.IsZero() && f.heldUntil != "" {
			t.Fatalf("after all polls held until %q, by the fold %s", f.heldUntil, summary(want))
		}
		if diff := cmp.Diff(kindsOf(want), f.openKinds()); diff != "" {
			t.Fatalf("open cases: by the fold -, after all polls +\n%s", diff)
		}
		for _, s := range scans {
			if !slices.ContainsFunc(f.kept, func(k kept) bool {
				return sameScan(&k.Scan, &s) && k.DeliverCode == s.DeliverCode && k.SaidClass == s.SaidClass
			}) {
				t.Fatalf("scan %s at %s was lost", s.Code, s.At)
			}
		}
	})
}

// kindsOf gives the kinds of cases that a result asks for, without non-receipt, which no scan answers.
func kindsOf(r Result) []courier.CaseKind {
	kinds := []courier.CaseKind{}
	for _, c := range r.Concerns {
		if c.Kind != courier.CaseNotReceived && !slices.Contains(kinds, c.Kind) {
			kinds = append(kinds, c.Kind)
		}
	}
	slices.Sort(kinds)
	return kinds
}

func (f *followed) openKinds() []courier.CaseKind {
	open := map[courier.CaseKind]bool{}
	for _, n := range f.log {
		for _, c := range n.closed {
			delete(open, c.Kind)
		}
		for _, c := range n.open {
			open[c.Kind] = true
		}
	}
	delete(open, courier.CaseNotReceived)
	kinds := append([]courier.CaseKind{}, slices.Collect(maps.Keys(open))...)
	slices.Sort(kinds)
	return kinds
}

func TestI6_AFinalStatusIsLeftOnlyByANamedRule(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		polls [][]courier.Scan
		want  courier.Status
		rule  string // of the last move
	}{
		{"delivery voided", [][]courier.Scan{{at(8, "702"), at(9, "704/10")}, {at(8, "702"), at(9, "704/10"), at(10, "743")}}, courier.OutForDelivery, "scan_voided:743"},
		{"returned after delivery", [][]courier.Scan{{at(9, "704/10")}, {at(30, "741")}}, courier.Returning, "return_after_delivery:741"},
		{"return registered before the delivery, seen late", [][]courier.Scan{{at(9, "704/10")}, {at(8, "708")}}, courier.Returning, "scan_late:708"},
		{"compensated and found", [][]courier.Scan{{at(9, "988")}, {at(30, "702")}}, courier.OutForDelivery, "found:702"},
		{"sorted after delivery", [][]courier.Scan{{at(9, "704/10")}, {at(30, "389")}}, courier.Delivered, ""},
		{"the void was seen first", [][]courier.Scan{{at(8, "702"), at(10, "743")}, {at(9, "704/10")}}, courier.OutForDelivery, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := follow(base)
			rule := ""
			for i, scans := range tt.polls {
				if n := f.poll(hour(32+i), scans...); n.move != nil {
					rule = n.move.Data.Rule
				}
			}
			if f.st.status != tt.want || rule != tt.rule {
				t.Errorf("ended %s by %q, want %s by %q", f.st.status, rule, tt.want, tt.rule)
			}
		})
	}
}

func TestI6_WhatAPersonDecidedStandsUntilEMSSaysSomethingNewer(t *testing.T) {
	t.Parallel()
	t.Run("handed over at the counter", func(t *testing.T) {
		t.Parallel()
		f := follow(base)
		f.st = standing{status: courier.Accepted, since: hour(1)}
		if n := f.poll(hour(2)); n.move != nil {
			t.Errorf("an empty trace moved it to %s", n.move.To)
		}
		if n := f.poll(hour(3), at(2, "305")); n.move == nil || n.move.To != courier.InTransit {
			t.Errorf("move = %+v, want to in_transit", n.move)
		}
	})
	t.Run("declared lost", func(t *testing.T) {
		t.Parallel()
		f := follow(base)
		f.poll(hour(3), at(2, "305"))
		f.st = standing{status: courier.Lost, since: hour(100)}
		if n := f.poll(hour(101), at(2, "305"), at(3, "389")); n.move != nil {
			t.Errorf("a scan from before the declaration moved it to %s", n.move.To)
		}
		n := f.poll(hour(103), at(102, "702"))
		if n.move == nil || n.move.To != courier.OutForDelivery || n.move.Data.Rule != "found:702" {
			t.Errorf("move = %+v, want to out_for_delivery by found:702", n.move)
		}
	})
}

func TestI7_CasesOpenOnceAndCloseWhenSettled(t *testing.T) {
	t.Parallel()
	f := follow(base)
	f.poll(hour(10), at(9, "704/161"))
	f.poll(hour(11), at(9, "704/161"), at(9, "389")) // other news
	if diff := cmp.Diff([]courier.CaseKind{courier.CaseDeliveredElsewhere}, f.opened()); diff != "" {
		t.Errorf("cases after a delivery to the door: want -, got +\n%s", diff)
	}
	n := f.poll(hour(12), at(9, "704/161"), at(11, "743"))
	if !slices.ContainsFunc(n.closed, func(c courier.CaseClosing) bool { return c.Kind == courier.CaseDeliveredElsewhere }) {
		t.Errorf("closed %v, want delivered_elsewhere among them", n.closed)
	}
}

func TestUnknownCodesAreKeptAndAskedAboutTogether(t *testing.T) {
	t.Parallel()
	f := follow(base)
	n := f.poll(hour(10), at(8, "702"), at(9, "Z99"), at(9, "Z98"), at(10, "Z99"))
	if f.st.status != courier.OutForDelivery || len(n.fresh) != 4 || len(n.open) != 1 || n.open[0].Kind != courier.CaseUnknownCode ||
		n.open[0].Detail != "邮政代码 Z98、Z99" {
		t.Errorf("status %s, %d fresh, cases %+v", f.st.status, len(n.fresh), n.open)
	}
	if n := f.poll(hour(11), at(9, "Z99"), at(10, "389")); len(n.open) != 0 {
		t.Errorf("the case was opened again: %+v", n.open)
	}
}

func TestI5_EventsTellLateAndWithdrawnMoves(t *testing.T) {
	t.Parallel()
	f := follow(base)
	if n := f.poll(hour(40), at(9, "702")); !n.move.Data.Late || n.move.Data.Withdrawn {
		t.Errorf("a scan of 31 hours ago: %+v, want late", n.move.Data)
	}
	if n := f.poll(hour(41), at(40, "704/10")); n.move.Data.Late || n.move.Data.Receiver != "self" || n.move.Data.ScanCode != "704" ||
		n.move.Data.ScanAt != "2024-12-27T16:00:00+08:00" {
		t.Errorf("a delivery of an hour ago: %+v", n.move.Data)
	}
	n := f.poll(hour(42), at(41, "743"))
	if !n.move.Data.Withdrawn || n.move.Data.ScanCode != "743" || n.move.Data.Late {
		t.Errorf("a withdrawn delivery: %+v, want withdrawn by 743 and not late", n.move.Data)
	}
	if n := f.poll(hour(42), at(9, "713")); n.move != nil || n.event == nil || n.event.Type != courier.EventScan || !n.event.Data.Late {
		t.Errorf("a late scan that moves nothing: move %v, event %+v", n.move, n.event)
	}
}

func TestHeldTellsTheLastDay(t *testing.T) {
	t.Parallel()
	f := follow(base)
	n := f.poll(hour(10), at(9, "747"))
	if n.heldUntil == nil || *n.heldUntil != "2024-12-28" || n.move.Data.HeldUntil != "2024-12-28" {
		t.Errorf("held until %v, event %q, want 2024-12-28", n.heldUntil, n.move.Data.HeldUntil)
	}
	n = f.poll(hour(11), at(10, "723"))
	if n.move != nil || n.heldUntil == nil || *n.heldUntil != "2025-01-02" || n.event.Data.HeldUntil != "2025-01-02" {
		t.Errorf("moved to the counter: %+v", n)
	}
	n = f.poll(hour(12), at(11, "748"))
	if n.heldUntil == nil || *n.heldUntil != "" || n.move.Data.HeldUntil != "" {
		t.Errorf("collected: held until %v, event %q, want none", n.heldUntil, n.move.Data.HeldUntil)
	}
}

func TestNonsenseTimesHideNothing(t *testing.T) {
	t.Parallel()
	f := follow(base)
	odd := []courier.Scan{
		{At: time.Time{}, Code: "702"}, {At: time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC), Code: "702"},
		{At: time.Date(9999, 12, 31, 23, 59, 59, 0, beijing), Code: "702"}, // not kept
		{At: time.Date(2099, 1, 1, 0, 0, 0, 0, beijing), Code: "704", DeliverCode: "10"},
		{At: time.Date(2001, 1, 1, 0, 0, 0, 0, beijing), Code: "704", DeliverCode: "10"}, // kept, counted for nothing
	}
	n := f.poll(hour(10), append(odd, at(9, "305"))...)
	if n.unreadable != 3 || n.implausible != 2 || len(n.fresh) != 3 || f.st.status != courier.InTransit {
		t.Errorf("unreadable %d, implausible %d, fresh %d, status %s; want 3, 2, 3, in_transit", n.unreadable, n.implausible, len(n.fresh), f.st.status)
	}
	f.poll(hour(20), append(odd, at(9, "305"), at(19, "702"))...)
	if f.st.status != courier.OutForDelivery {
		t.Errorf("status %s, want out_for_delivery: a scan of 2099 must not stand last in the line", f.st.status)
	}
}

// What a trace may look like on a bad day: every scan that can be one is kept, and what is known is still told.
func TestBadTracesAreTakenForWhatTheyAre(t *testing.T) {
	t.Parallel()
	sec := func(h, s int, code string) courier.Scan {
		x := at(h, code)
		x.At = x.At.Add(time.Duration(s) * time.Second)
		return x
	}
	other := at(9, "306")
	other.OrgCode = "another office"
	for _, c := range []struct {
		name       string
		scans      []courier.Scan
		want       courier.Status
		fresh, bad int
		unknown    bool
	}{
		{"empty", nil, courier.Ordered, 0, 0, false},
		{"two in one second", []courier.Scan{at(9, "305"), at(9, "702")}, courier.OutForDelivery, 2, 0, false},
		{"two in one second, the other way round", []courier.Scan{at(9, "702"), at(9, "305")}, courier.OutForDelivery, 2, 0, false},
		{"one twice", []courier.Scan{at(9, "306"), at(9, "306")}, courier.InTransit, 1, 0, false},
		{"one of two offices", []courier.Scan{at(9, "306"), other}, courier.InTransit, 2, 0, false},
		{"a code of letters", []courier.Scan{at(8, "305"), at(9, "Z9")}, courier.InTransit, 2, 0, true},
		{"only codes that nobody knows", []courier.Scan{at(8, "Z8"), at(9, "Z9")}, courier.Ordered, 2, 0, true},
		{"a code in another script", []courier.Scan{at(9, "妥投")}, courier.Ordered, 1, 0, true},
		{"a known code in lower case or padded", []courier.Scan{at(9, "0704")}, courier.Ordered, 1, 0, true},
		{"no code", []courier.Scan{at(9, ""), at(9, "305")}, courier.InTransit, 1, 1, false},
		{"a day ahead and more", []courier.Scan{at(9, "305"), at(200, "704/10")}, courier.InTransit, 2, 0, false},
		{"an hour ahead", []courier.Scan{at(9, "305"), sec(11, 1, "702")}, courier.OutForDelivery, 2, 0, false},
		{"long before the order", []courier.Scan{at(-2000, "704/10"), at(9, "305")}, courier.InTransit, 2, 0, false},
	} {
		f := follow(base)
		n := f.poll(hour(10), c.scans...)
		opened := slices.ContainsFunc(n.open, func(o courier.NewCase) bool { return o.Kind == courier.CaseUnknownCode })
		if f.st.status != c.want || len(n.fresh) != c.fresh || n.unreadable != c.bad || opened != c.unknown {
			t.Errorf("%s: status %s, fresh %d, unreadable %d, case of an unknown code %v; want %s, %d, %d, %v",
				c.name, f.st.status, len(n.fresh), n.unreadable, opened, c.want, c.fresh, c.bad, c.unknown)
		}
		if again := f.poll(hour(11), c.scans...); len(again.fresh)+len(again.open) != 0 || again.move != nil {
			t.Errorf("%s: told once more it gives %d fresh scans, cases %v, move %v", c.name, len(again.fresh), again.open, again.move)
		}
	}
}

func TestForeignBytesAreMadeStorable(t *testing.T) {
	t.Parallel()
	f := follow(base)
	s := at(9, "305")
	s.OrgName, s.City, s.Name = "甲\x00乙", "\xff", "揽投发运"
	strange := at(9, "306")
	strange.WaybillNo = "9999999999999"
	long := at(9, strings.Repeat("9", 5000))
	n := f.poll(hour(10), s, strange, long, courier.Scan{At: hour(9)})
	if len(n.fresh) != 1 || n.unreadable != 3 || n.fresh[0].OrgName != "甲�乙" || n.fresh[0].City != "�" {
		t.Errorf("fresh %d, unreadable %d, %q %q", len(n.fresh), n.unreadable, n.fresh[0].OrgName, n.fresh[0].City)
	}
}

func TestACancelledEnvelopeThatTravelsIsACase(t *testing.T) {
	t.Parallel()
	f := follow(base)
	f.st = standing{status: courier.Cancelled, since: hour(1)}
	if n := f.poll(hour(2), at(2, "801")); n.move != nil || len(n.open) != 0 || !n.next.IsZero() {
		t.Errorf("a withdrawal after cancelling: move %v, cases %v, next poll %s", n.move, n.open, n.next)
	}
	n := f.poll(hour(3), at(2, "801"), at(3, "203"))
	if n.move != nil || len(n.open) != 1 || n.open[0].Kind != courier.CaseOrderUnknown {
		t.Errorf("an acceptance after cancelling: move %v, cases %+v", n.move, n.open)
	}
}

func TestEveryCaseTellsAClerkWhatToDo(t *testing.T) {
	t.Parallel()
	kinds := map[courier.CaseKind]bool{courier.CaseUnknownCode: true, courier.CaseStalled: true, courier.CaseNotReceived: true,
		courier.CaseOrderUnknown: true, courier.CaseDeliveredElsewhere: true}
	see := func(s courier.Scan) {
		x := defaultBook.entryOf(&s)
		e := defaultBook.effectOf(&x)
		kinds[e.concern], kinds[e.standing] = true, true
	}
	for code := range codes {
		see(courier.Scan{Code: code})
	}
	for code := range receivers {
		see(courier.Scan{Code: "704", DeliverCode: code})
	}
	for code := range attempts {
		see(courier.Scan{Code: "705", AttemptCode: code})
	}
	delete(kinds, "")
	for k := range kinds {
		if task := tasks[k]; task.next == "" || task.hours <= 0 {
			t.Errorf("case %s has no task", k)
		}
	}
}
