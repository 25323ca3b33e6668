package emssim

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// inBeijing makes the order one within the city.
var inBeijing = []string{`"prov":"上海市","city":"上海市","county":"黄浦区"`, `"prov":"北京市","city":"北京市","county":"朝阳区"`}

func TestTestNumbersFixTheOutcome(t *testing.T) {
	t.Parallel()
	way := "203 305 954 389 306 "
	tests := []struct{ phone, want string }{
		{"13900000001", way + "702 704:10"},
		{"13900000002", way + "702 705/1 702 704:10"},
		{"13900000003", way + "702 747 748"},
		{"13900000004", way + "702 704:161"},
		{"13900000005", way + "702 705/7 708 305 954 389 306 711"},
		{"13900000006", "203"},
		{"13900000008", way + "702 704:10"},
		{"13900000009", "203 305 954 389 651 987"},
	}
	for _, tt := range tests {
		t.Run(tt.phone, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, Config{})
			no := r.order("R", "", tt.phone, inBeijing...)
			r.clock.forward(20 * 24 * time.Hour)
			if got := codes(r.trace(no)); got != tt.want {
				t.Errorf("trace %s, want %s", got, tt.want)
			}
		})
	}
}

// A journey is a function of seed and order: looking early, often or late shows the same scans at the same times, and
// what was shown once stays.
func TestAJourneyDoesNotDependOnWhoLooksWhen(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		phone := fmt.Sprintf("1390000%04d", rapid.IntRange(10, 9999).Draw(rt, "tail"))
		ending := func(looks int) []Scan {
			k := newClock()
			c := New(Config{Now: k.now, Seed: seed, LateScans: 0.2, RepeatScans: 0.1})
			o, _, fault := c.readOrder(parseOrder(orderText("R", "", phone)))
			if fault != "" {
				rt.Fatal(fault)
			}
			c.book(o, "1200000001417")
			var last []Scan
			for range looks {
				k.forward(20 * 24 * time.Hour / time.Duration(looks))
				now := slices.Clone(c.visible(o, k.now()))
				if len(now) < len(last) || !slices.Equal(now[:len(last)], last) {
					rt.Fatalf("shown scans changed: %v then %v", last, now)
				}
				last = now
			}
			return last
		}
		once, often := ending(1), ending(40)
		if diff := cmp.Diff(once, often, cmp.AllowUnexported(Scan{})); diff != "" {
			rt.Fatalf("looking once - often +\n%s", diff)
		}
		if len(once) < 6 {
			rt.Fatalf("the journey has not ended: %v", once)
		}
	})
}

func parseOrder(text string) map[string]any {
	var all []map[string]any
	if !decode([]byte(text), &all) {
		panic("not an order")
	}
	return all[0]
}

func TestJourneysAreRealistic(t *testing.T) {
	t.Parallel()
	endings, home, away := map[string]int{}, time.Duration(0), time.Duration(0)
	const n = 500
	for i := range n {
		k := newClock()
		c := New(Config{Now: k.now, Seed: uint64(i)})
		edits := inBeijing
		if i%2 == 1 {
			edits = nil
		}
		o, _, _ := c.readOrder(parseOrder(orderText("R", "", "13900001234", edits...)))
		c.book(o, "1200000001417")
		c.plan(o)
		last := o.scans[0]
		for j, s := range o.scans {
			hour := s.At.In(beijing).Hour()
			if s.Prov == "" || len(s.OrgCode) != 8 || s.OpName == "" || s.OpDesc == "" || s.OperatorNo == "" {
				t.Fatalf("incomplete scan %+v", s)
			}
			if s.At.Before(last.At) || (j > 0 && s.At.Before(o.scans[j-1].At)) {
				t.Fatalf("scans out of order: %v", o.scans)
			}
			if (s.OpCode == opCourier || s.OpCode == opDelivered || s.OpCode == opFailed) && (hour < 8 || hour >= 20) {
				t.Errorf("a courier at work at %v", s.At.In(beijing))
			}
			last = s
		}
		took := last.At.Sub(o.scans[0].At)
		if endings[last.OpCode+":"+last.DeliverCode]++; last.OpCode == opDelivered && last.DeliverCode == "10" && i%2 == 0 {
			home = max(home, took)
		}
		if i%2 == 1 && len(o.scans) <= 13 {
			away = max(away, took)
		}
	}
	if good := endings["704:10"] + endings["704:20"] + endings["704:60"]; good < n*80/100 || good > n*96/100 || endings["748:"] < n/50 || endings["711:"] < n/100 {
		t.Errorf("endings %v", endings)
	}
	if home > 5*24*time.Hour || away < 30*time.Hour || away > 6*24*time.Hour {
		t.Errorf("within the city at most %v, to another province at most %v", home, away)
	}
}

func TestEventsBecomeVisibleWithTheClock(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{})
	no := r.order("R", "", "13900000001")
	if code, body := r.control("POST", "/sim/journey", `{"waybill_no":"`+no+`","events":[{"op_code":"203","after":"1h"},{"op_code":"702","after":"2h"},{"op_code":"704","after":"3h","deliver_code":"161"}]}`); code != 204 {
		t.Fatalf("journey = %d %s", code, body)
	}
	for _, want := range []string{"", "203", "203 702", "203 702 704:161"} {
		if got := codes(r.trace(no)); got != want {
			t.Errorf("trace %q, want %q", got, want)
		}
		r.clock.forward(time.Hour)
	}
}

func TestAnOrderWaitsForItsCourier(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{PickUpDelay: 100 * time.Hour})
	no := r.order("R", "", "13900000001", inBeijing...)
	r.clock.forward(100 * time.Hour)
	if got := codes(r.trace(no)); got != "" {
		t.Errorf("trace %q before the courier came", got)
	}
	r.clock.forward(24 * time.Hour)
	if got := codes(r.trace(no)); !strings.HasPrefix(got, opAccept) {
		t.Errorf("trace %q a day later, want it accepted", got)
	}
}

func TestAnOutcomeCanBeChangedOnTheWay(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{})
	no := r.order("R", "", "13900000001", inBeijing...)
	r.clock.forward(8 * time.Hour)
	before := r.trace(no)
	if len(before) == 0 {
		t.Fatal("not accepted after eight hours")
	}
	if err := r.c.SetJourney(no, Journey{Outcome: OutcomeLost}); err != nil {
		t.Fatal(err)
	}
	r.clock.forward(20 * 24 * time.Hour)
	after := r.trace(no)
	if diff := cmp.Diff(before, after[:len(before)]); diff != "" || !strings.HasSuffix(codes(after), "651 987") {
		t.Errorf("trace %s; before - after +\n%s", codes(after), diff)
	}
	if err := r.c.SetJourney(no, Journey{Outcome: OutcomeIntercepted}); err != nil {
		t.Fatal(err)
	}
	r.clock.forward(20 * 24 * time.Hour)
	if got := codes(r.trace(no)); !strings.HasSuffix(got, "651 987 306 993 013 708 305 954 389 306 711") {
		t.Errorf("trace %s", got)
	}
}

func TestScansCanBeAddedRewrittenLateAndVoided(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{})
	no := r.order("R", "", "13900000006")
	r.clock.forward(48 * time.Hour)
	steps := []struct{ body, want string }{
		{`"op_code":"702"`, "203 702"},
		{`"op_code":"704","deliver_code":"10"`, "203 702 704:10"},
		{`"op_code":"954","back":"3h"`, "203 954 702 704:10"},
		{`"op_code":"704","rewrite":true,"op_desc":"另一句话","deliver_code":"20"`, "203 954 702 704:20"},
		{`"op_code":"743"`, "203 954 702 704:20 743"},
	}
	for _, s := range steps {
		if code, body := r.control("POST", "/sim/scan", `{"waybill_no":"`+no+`",`+s.body+`}`); code != 204 {
			t.Fatalf("%s = %d %s", s.body, code, body)
		}
		if got := codes(r.trace(no)); got != s.want {
			t.Errorf("after %s: %s, want %s", s.body, got, s.want)
		}
		r.clock.forward(time.Minute)
	}
	scans := r.trace(no)
	if got := scans[3]; got.OpDesc != "另一句话" || got.OpName != "投递结果反馈-妥投" || got.OrgCode == "" {
		t.Errorf("rewritten scan %+v", got)
	}
	if got := scans[4].OpName; got != "投递结果反馈-妥投撤销" {
		t.Errorf("the voiding scan is called %q", got)
	}
}

func TestTracesVanishAfterAYear(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{})
	no := r.order("R", "", "13900000001")
	r.clock.forward(400 * 24 * time.Hour)
	if got := r.trace(no); len(got) != 0 {
		t.Errorf("after 400 days: %s", codes(got))
	}
}

// A waybill that EMS makes beside the one ordered has no envelope that could be scanned: it can be cancelled at any time.
func TestASecondWaybillIsNeverScanned(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{})
	r.c.SetFault(Fault{API: "020003", Kind: DuplicateWaybill, Count: 1})
	first := r.reserve(1)[0]
	second := r.order("R", first, "13900000001", inBeijing...)
	r.clock.forward(20 * 24 * time.Hour)
	if first == second || codes(r.trace(first)) == "" || codes(r.trace(second)) != "" {
		t.Errorf("traces %q of the first, %q of the second", codes(r.trace(first)), codes(r.trace(second)))
	}
}
