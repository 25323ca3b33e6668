package tracking

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"emsd/courier"
	"emsd/courier/vault"

	"pgregory.net/rapid"
)

// signed is a 704 at nine o'clock as EMS tells it.
func signed(code, text string) courier.Scan {
	s := at(9, "704/"+code)
	s.Desc = vault.Conceal(text)
	return s
}

func TestI6_OfSeveralTellingsTheOneThatAsksForMostCareCounts(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		a, b      courier.Scan
		idChecked bool
		want      string
	}{
		{"nothing said, then a door", signed("", "已妥投"), signed("161", "已妥投"), false, "delivered door case"},
		{"the holder, then a door", signed("10", ""), signed("161", ""), false, "delivered door case"},
		{"the holder, then family", signed("10", ""), signed("20", "已代签收【家人】"), false, "delivered family case"},
		{"the holder, then family with ID", signed("10", ""), signed("20", "已代签收【家人】"), true, "delivered family fine"},
		{"nothing said, then the holder", signed("", "已妥投"), signed("", "已签收【本人】"), false, "delivered self fine"},
		{"the holder, then a locker", signed("10", ""), signed("", "已签收【丰巢快递柜】"), false, "held locker"},
		{"a locker, then a door", signed("50", ""), signed("161", ""), false, "delivered door case"},
		{"a door, then a claim", signed("161", ""), signed("180", ""), false, "ordered"},
		{"a code nobody knows, then the holder", signed("777", ""), signed("10", ""), false, "delivered unknown case"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, tellings := range [][]courier.Scan{{tt.a, tt.b}, {tt.b, tt.a}} {
				f := follow(base)
				f.st.idChecked = tt.idChecked
				f.poll(hour(10), tellings[0])
				f.poll(hour(11), tellings[1])
				r := f.fold()
				if got := strings.TrimSpace(fmt.Sprintln(r.Status, r.Receiver, r.Receipt)); strings.Join(strings.Fields(got), " ") != tt.want {
					t.Errorf("%s told %v: %s, want %s", tt.name, tellings[0].DeliverCode, got, tt.want)
				}
				if f.st.status != r.Status || f.receiver != r.Receiver {
					t.Errorf("the delivery is %s %s, its fold %s %s", f.st.status, f.receiver, r.Status, r.Receiver)
				}
			}
		})
	}
}

// fold folds what was kept.
func (f *followed) fold() Result {
	var scans []courier.Scan
	for _, k := range f.kept {
		if !k.ahead {
			scans = append(scans, k.Scan)
		}
	}
	return f.rulebook().Fold(scans, Envelope{OrderedAt: f.w.orderedAt, IDChecked: f.st.idChecked})
}

func TestI6_ATellingNeverMakesItLessOfAConcern(t *testing.T) {
	t.Parallel()
	codes := []string{"", "10", "20", "30", "50", "60", "161", "180", "777", "100"}
	rapid.Check(t, func(t *rapid.T) {
		var tellings []courier.Scan
		for range rapid.IntRange(1, 5).Draw(t, "tellings") {
			tellings = append(tellings, readText(signed(rapid.SampledFrom(codes).Draw(t, "code"), rapid.SampledFrom(wordings).Draw(t, "text"))))
		}
		b := DefaultRulebook()
		care := func(scans []courier.Scan) int {
			line, _ := b.arrange(scans, base)
			class, _ := b.classOf(line[0].Scan)
			return b.classCare(class, line[0].Scan)
		}
		most := 0
		for _, s := range tellings {
			most = max(most, care([]courier.Scan{s}))
		}
		if got := care(tellings); got != most {
			t.Fatalf("together they ask for care %d, the most careful alone for %d", got, most)
		}
	})
}

func TestAScanToldAnewIsTheSameScanWithASecondText(t *testing.T) {
	t.Parallel()
	f := follow(base)
	first, second := at(9, "702"), at(9, "702")
	first.Desc, second.Desc = vault.Conceal("正在派送"), vault.Conceal("正在派送。")
	f.poll(hour(10), first)
	n := f.poll(hour(11), second)
	if len(n.fresh) != 0 || len(n.retold) != 1 || n.move != nil || n.event == nil || n.event.Type != courier.EventScan || n.grew ||
		!n.changedAt.Equal(hour(10)) {
		t.Errorf("told anew: fresh %d, retold %d, move %v, event %+v, grew %v, changed %s", len(n.fresh), len(n.retold), n.move, n.event, n.grew, n.changedAt)
	}
	if n := f.poll(hour(12), first); len(n.retold) != 0 || n.event != nil {
		t.Errorf("the first telling again is news: %+v", n.retold)
	}
	if n := f.poll(hour(12), first, second, second); len(n.fresh)+len(n.retold) != 0 {
		t.Errorf("known tellings together are news: %+v", n.retold)
	}
	renamed := at(9, "702")
	renamed.Desc, renamed.Name = vault.Conceal("正在派送"), "投递下段"
	if n := f.poll(hour(13), renamed); len(n.retold) != 1 {
		t.Errorf("another name is no telling: %+v", n.retold)
	}
}

func TestATextThatChangesWithEveryAnswerIsKeptOnlySoOften(t *testing.T) {
	t.Parallel()
	f := follow(base)
	for i := range 50 {
		f.poll(hour(10), signed("", fmt.Sprintf("已妥投，第%d次", i)))
	}
	if len(f.kept) != mostTellings {
		t.Errorf("%d tellings kept, want %d", len(f.kept), mostTellings)
	}
	f.poll(hour(11), signed("161", "已妥投"))
	if len(f.kept) != mostTellings+1 || f.receiver != ReceiverDoor {
		t.Errorf("a telling that says something new: %d kept, receiver %s", len(f.kept), f.receiver)
	}
}

func TestAScanFromBeforeThereWerePrintsIsNotToldAnew(t *testing.T) {
	t.Parallel()
	f := follow(base)
	old := at(9, "702")
	makeStorable(&old)
	f.kept = []kept{{telling: telling{Scan: old}}}
	if n := f.poll(hour(10), at(9, "702")); len(n.fresh)+len(n.retold) != 0 {
		t.Errorf("fresh %d, retold %d, want none", len(n.fresh), len(n.retold))
	}
}

func TestATellingOfAScanOfTheFutureDoesNotMakeItCount(t *testing.T) {
	t.Parallel()
	f := follow(base)
	far := at(72, "704/10")
	f.poll(hour(10), far)
	again := far
	again.Desc = vault.Conceal("已签收【本人】")
	if n := f.poll(hour(60), again); len(n.retold) != 1 || n.move != nil || f.st.status != courier.Ordered {
		t.Errorf("retold %d, move %v", len(n.retold), n.move)
	}
}

func TestI6_AnotherTellingReopensAFinalStatusByName(t *testing.T) {
	t.Parallel()
	f := follow(base)
	f.poll(hour(10), at(8, "702"), signed("", "已妥投"))
	n := f.poll(hour(11), signed("", "已存放【丰巢快递柜】"))
	if n.move == nil || n.move.To != courier.Held || n.move.Data.Rule != "scan_retold:704" || *n.heldUntil != "2024-12-28" {
		t.Fatalf("move %+v, want to held by scan_retold:704", n.move)
	}
	n = f.poll(hour(12), signed("161", "已妥投"))
	if n.move == nil || n.move.To != courier.Delivered || n.move.Data.Receipt != receiptCase ||
		!slices.ContainsFunc(n.open, func(c courier.NewCase) bool { return c.Kind == courier.CaseDeliveredElsewhere }) {
		t.Errorf("move %+v, cases %+v, want delivered to a door and a case", n.move, n.open)
	}
}

func TestTextPrintsAreKeyedAndNeverZero(t *testing.T) {
	t.Parallel()
	a, b := vault.Fixed([]byte("a")), vault.Fixed([]byte("b"))
	s := signed("161", "已妥投")
	if p := textPrint(a, &s); p == 0 || p != textPrint(a, &s) || p == textPrint(b, &s) {
		t.Errorf("print %d: zero, unstable or not keyed", p)
	}
	for _, o := range []courier.Scan{signed("", "已妥投"), signed("161", "已妥投。"), {Code: "704", AttemptCode: "161", Desc: s.Desc}} {
		if textPrint(a, &s) == textPrint(a, &o) {
			t.Error("tellings that differ have one print")
		}
	}
	moved := s
	moved.At, moved.OrgCode = s.At.Add(time.Hour), "2"
	if textPrint(a, &s) != textPrint(a, &moved) {
		t.Error("the print depends on the scan's identity")
	}
}
