package courier

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var november = time.Date(2026, 11, 15, 4, 0, 0, 0, time.UTC)

// charged takes the nth permit to EMS, which has told what it charged.
func (s *intakeScene) charged(n int, fen int64, weight int) Delivery {
	s.t.Helper()
	d := s.sent(n, InTransit)
	s.exec(`UPDATE deliveries SET postage_fen = $2, postage_weight_g = $3 WHERE id = $1`, d.ID, fen, weight)
	s.accepted(d, november)
	return d
}

func (s *intakeScene) accepted(d Delivery, at time.Time) {
	s.t.Helper()
	s.exec(`INSERT INTO journeys (delivery_id, station_code, province, city, county, ordered_at, accepted_at) VALUES ($1, '110105001', '北京市', '北京市', '朝阳区', $2, $2)`, d.ID, at)
}

func billLine(d Delivery, fen int64, weight int) BillLine {
	return BillLine{WaybillNo: d.WaybillNo, Fen: fen, WeightG: weight, PostedOn: time.Date(2026, 11, 15, 0, 0, 0, 0, time.UTC)}
}

func (s *intakeScene) bill(lines ...BillLine) (Bill, bool) {
	s.t.Helper()
	for i := range lines {
		lines[i].Row = i + 2
	}
	b, again, err := s.svc.ImportBill(s.t.Context(), NewBill{Month: november, Source: BillFromFile, Lines: lines}, "li")
	if err != nil {
		s.t.Fatal(err)
	}
	return b, again
}

func (s *intakeScene) results(b Bill) []string {
	s.t.Helper()
	entries, err := s.svc.BillEntries(s.t.Context(), b.ID, nil, 0, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.WaybillNo+" "+string(e.Result))
	}
	return out
}

func TestABillIsReconciledLineByLine(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	good, dear, heavy, twice := s.charged(1, 1200, 80), s.charged(2, 1200, 80), s.charged(3, 1200, 80), s.charged(4, 1200, 80)
	cancelled := s.sent(5, Cancelled)
	missing := s.charged(6, 1200, 80)
	collect := s.charged(7, 0, 0)
	s.exec(`UPDATE deliveries SET payment_method = 'collect' WHERE id = $1`, collect.ID)
	quoted := s.sent(8, InTransit) // EMS has not told its charge: the fee counts
	s.accepted(quoted, november)
	later := s.sent(9, InTransit)
	s.accepted(later, november.AddDate(0, 1, 0))
	old := s.sent(10, InTransit)
	s.accepted(old, november)
	s.exec(`INSERT INTO unwanted_waybills (waybill_no, delivery_id, order_no, found_at, cancelled_at) VALUES ('EM000009999CN', $1, 'x', $2, $2)`, old.ID, s.clock())

	b, again := s.bill(billLine(good, 1200, 80), billLine(dear, 2100, 80), billLine(heavy, 1200, 580), billLine(twice, 1200, 80), billLine(twice, 1200, 80),
		billLine(cancelled, 1200, 80), billLine(collect, 1200, 80), billLine(quoted, 1200, 0), BillLine{WaybillNo: "1299999999999", Fen: 1400},
		BillLine{WaybillNo: "EM000009999CN", Fen: 1200}, billLine(old, 1200, 0))
	if again {
		t.Error("a new bill is taken for an old one")
	}
	want := []string{good.WaybillNo + " matched", dear.WaybillNo + " amount_differs", heavy.WaybillNo + " weight_differs", twice.WaybillNo + " matched",
		twice.WaybillNo + " twice", cancelled.WaybillNo + " cancelled", collect.WaybillNo + " collect", quoted.WaybillNo + " matched", "1299999999999 unknown_waybill",
		"EM000009999CN cancelled", old.WaybillNo + " matched", missing.WaybillNo + " missing"}
	if diff := cmp.Diff(want, s.results(b)); diff != "" {
		t.Error(diff)
	}
	if b.TotalFen != 14300 || b.Open != 8 || b.Sums[BillMissing] != (BillSum{1, 1200}) || b.Sums[BillMatched] != (BillSum{4, 4800}) {
		t.Errorf("sums %+v", b)
	}
	for _, d := range []Delivery{dear, heavy, twice, cancelled, collect, missing, old} {
		if got := s.cases(d.ID); !strings.Contains(got, "fee_difference") {
			t.Errorf("%s has no case: %s", d.WaybillNo, got)
		}
	}
	for _, d := range []Delivery{good, quoted, later} {
		if got := s.cases(d.ID); strings.Contains(got, "fee_difference") {
			t.Errorf("%s has a case: %s", d.WaybillNo, got)
		}
	}
	if detail := value[string](s, `SELECT detail FROM cases WHERE delivery_id = $1`, dear.ID); !strings.Contains(detail, "账单21.00元，应为12.00元") {
		t.Errorf("the case says %q", detail)
	}
	s.checkLog()
}

func TestTheSameBillTwiceChangesNothing(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	good, dear, missing := s.charged(1, 1200, 80), s.charged(2, 1200, 80), s.charged(3, 1200, 80)
	first, _ := s.bill(billLine(good, 1200, 80), billLine(dear, 2100, 80))
	closed := s.caseOf(dear.ID)
	if _, err := s.svc.CloseCase(t.Context(), closed, "credited", "li", "EMS 下月冲减"); err != nil {
		t.Fatal(err)
	}
	before := value[string](s, `SELECT (SELECT count(*) FROM cases) || ' ' || (SELECT count(*) FROM events) || ' ' || (SELECT count(*) FROM bill_lines) || ' ' || (SELECT count(*) FROM audit)`)
	same, again := s.bill(billLine(good, 1200, 80), billLine(dear, 2100, 80))
	if !again || same.ID != first.ID {
		t.Errorf("the same file: again %t, bill %s, want %s", again, same.ID, first.ID)
	}
	if after := value[string](s, `SELECT (SELECT count(*) FROM cases) || ' ' || (SELECT count(*) FROM events) || ' ' || (SELECT count(*) FROM bill_lines) || ' ' || (SELECT count(*) FROM audit)`); after != before {
		t.Errorf("cases, events, lines, audit: %s before, %s after", before, after)
	}
	// The month again, with the row that was missing: only that row is news.
	more, again := s.bill(billLine(good, 1200, 80), billLine(dear, 2100, 80), billLine(missing, 1200, 80))
	if again {
		t.Error("a longer bill is taken for the same one")
	}
	if diff := cmp.Diff([]string{good.WaybillNo + " known", dear.WaybillNo + " known", missing.WaybillNo + " matched"}, s.results(more)); diff != "" {
		t.Error(diff)
	}
	if got := s.cases(missing.ID); got != "fee_difference=billed_later" {
		t.Errorf("cases of what came with the later bill: %s", got)
	}
	if got := s.cases(dear.ID); got != "fee_difference=credited" {
		t.Errorf("a difference that a clerk has settled comes back: %s", got)
	}
	bills, err := s.svc.Bills(t.Context(), 0)
	if err != nil || len(bills) != 2 || bills[0].Open+bills[1].Open != 0 {
		t.Errorf("bills %+v, %v", bills, err)
	}
}

func TestALineOfNoDeliveryIsSettledOnTheBill(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	b, _ := s.bill(BillLine{WaybillNo: "1299999999999", Fen: 1400})
	if err := s.svc.SettleBillLine(t.Context(), b.ID, 1, " ", "li"); err == nil {
		t.Error("settled without a word")
	}
	if err := s.svc.SettleBillLine(t.Context(), b.ID, 1, "是分局其他业务的邮件", "li"); err != nil {
		t.Fatal(err)
	}
	if err := s.svc.SettleBillLine(t.Context(), b.ID, 1, "再次", "wang"); err == nil {
		t.Error("settled twice")
	}
	entries, err := s.svc.BillEntries(t.Context(), b.ID, []BillResult{BillUnknownWaybill}, 0, 10)
	if err != nil || len(entries) != 1 || !entries[0].Settled() || entries[0].SettledBy != "li" {
		t.Errorf("entries %+v, %v", entries, err)
	}
}

func TestABillOfAnotherMonthIsRefused(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	d := s.charged(1, 1200, 80)
	for name, in := range map[string]NewBill{
		"another month":      {Month: november.AddDate(0, -1, 0), Source: BillFromFile, Lines: []BillLine{billLine(d, 1200, 80)}},
		"a month to come":    {Month: november.AddDate(0, 2, 0), Source: BillFromFile, Lines: []BillLine{{WaybillNo: "1", Fen: 1}}},
		"nothing to be read": {Month: november, Source: BillFromFile, BadRows: 3},
	} {
		if _, _, err := s.svc.ImportBill(t.Context(), in, "li"); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// A listBiller is an EMS with one bill.
type listBiller struct {
	bills []StatedBill
	lines []BillLine
	asked []string
}

func (b *listBiller) Bills(_ context.Context, from, to time.Time) ([]StatedBill, error) {
	b.asked = append(b.asked, day(from)+" "+day(to))
	return b.bills, nil
}

func (b *listBiller) BillLines(_ context.Context, bill StatedBill) ([]BillLine, error) {
	b.asked = append(b.asked, bill.BillNo)
	if bill.BillNo == "BAD" {
		return nil, errors.New("no answer")
	}
	return b.lines, nil
}

func TestLastMonthsBillIsFetchedOnce(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	d := s.charged(1, 1200, 80)
	s.pass(14 * 24 * time.Hour) // into December
	biller := &listBiller{}
	for range 2 { // no bill yet: asked every time
		if err := s.svc.BillRound(t.Context(), biller); err != nil {
			t.Fatal(err)
		}
	}
	biller.bills, biller.lines = []StatedBill{{BillNo: "DZ1", OrgNo: "1", TotalFen: 1200}}, []BillLine{billLine(d, 1200, 80)}
	for range 2 {
		if err := s.svc.BillRound(t.Context(), biller); err != nil {
			t.Fatal(err)
		}
	}
	span := "2026-11-01 2026-11-30"
	if diff := cmp.Diff([]string{span, span, span, "DZ1"}, biller.asked); diff != "" {
		t.Error(diff)
	}
	bills, err := s.svc.Bills(t.Context(), 0)
	if err != nil || len(bills) != 1 || bills[0].BillNo != "DZ1" || bills[0].StatedFen != 1200 || bills[0].Source != BillFromEMS {
		t.Errorf("bills %+v, %v", bills, err)
	}
	// The table that EMS sends for the same month says nothing new.
	b, again := s.bill(billLine(d, 1200, 80))
	if !again && !slices.Equal(s.results(b), []string{d.WaybillNo + " known"}) {
		t.Errorf("the table of the same month: %v", s.results(b))
	}
}

// Every line gets one result, and what was charged once on all bills of a month is never charged twice.
func TestReconciledLinesAddUp(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		facts := map[string]billFact{}
		for n := range rapid.IntRange(0, 5).Draw(t, "known") {
			no := fmt.Sprint("W", n)
			facts[no] = billFact{WaybillNo: no, Fen: int64(rapid.IntRange(1, 3).Draw(t, "fen")), Void: rapid.Bool().Draw(t, "void")}
		}
		in := NewBill{Month: monthOf(november)}
		seen := map[string]bool{}
		repeated := false
		for range rapid.IntRange(1, 12).Draw(t, "lines") {
			no := fmt.Sprint("W", rapid.IntRange(0, 7).Draw(t, "no"))
			repeated = repeated || seen[no]
			seen[no] = true
			in.Lines = append(in.Lines, BillLine{WaybillNo: no, Fen: int64(rapid.IntRange(1, 3).Draw(t, "charge"))})
		}
		first := reconcile(in, facts, nil)
		charges := map[string][]billCharge{}
		twice := 0
		for i, e := range first {
			if e.WaybillNo != in.Lines[i].WaybillNo || e.N != i+1 || !slices.Contains(BillResults, e.Result) {
				t.Fatalf("entry %+v of line %+v", e, in.Lines[i])
			}
			if e.Result == BillTwice {
				twice++
			}
			charges[e.WaybillNo] = append(charges[e.WaybillNo], billCharge{e.WaybillNo, in.Month, e.Fen})
		}
		if twice != len(in.Lines)-len(seen) || repeated != (twice > 0) {
			t.Fatalf("%d of %d lines are charged twice, want %d", twice, len(in.Lines), len(in.Lines)-len(seen))
		}
		for _, e := range reconcile(in, facts, charges) {
			if e.Result != BillKnown {
				t.Fatalf("a copy of the month's bill has news: %+v", e)
			}
		}
	})
}
