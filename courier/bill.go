package courier

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	"emsd/courier/audit"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// A BillResult says what a line of EMS's bill came to beside what is known here.
type BillResult string

// The results. Known lines stood on another copy of the same month's bill, which says nothing new.
const (
	BillMatched        BillResult = "matched"
	BillKnown          BillResult = "known"
	BillUnknownWaybill BillResult = "unknown_waybill" // no delivery ever had this waybill
	BillAmountDiffers  BillResult = "amount_differs"
	BillWeightDiffers  BillResult = "weight_differs"
	BillCancelled      BillResult = "cancelled" // charged although EMS agreed to the cancellation
	BillTwice          BillResult = "twice"     // charged before
	BillCollect        BillResult = "collect"   // the recipient pays the courier: nothing for the account
	BillMissing        BillResult = "missing"   // accepted in the month, and not on the bill
)

// BillResults lists every result in the order of a summary.
var BillResults = []BillResult{BillMatched, BillKnown, BillAmountDiffers, BillWeightDiffers, BillTwice, BillCancelled, BillCollect, BillUnknownWaybill, BillMissing}

// Differs reports whether a clerk has to look into it.
func (r BillResult) Differs() bool { return r != BillMatched && r != BillKnown }

// Where a bill comes from.
const (
	BillFromEMS  = "interface"
	BillFromFile = "file"
)

// A NewBill is a bill as it came.
type NewBill struct {
	Month     time.Time // any time in it, Beijing
	Source    string
	BillNo    string // as EMS numbers it; empty for a file
	StatedFen int64  // what EMS says that it comes to; 0 when it does not
	Lines     []BillLine
	BadRows   int // that could not be read and are not among the lines
}

// A Bill is one that was taken in and reconciled.
type Bill struct {
	ID         uuid.UUID
	Month      time.Time // its first day
	Source     string
	BillNo     string
	TotalFen   int64
	StatedFen  int64 // 0 when EMS does not say it
	BadRows    int
	ImportedAt time.Time
	ImportedBy string
	Sums       map[BillResult]BillSum
	Open       int // differences that nobody has settled
}

// A BillSum counts the lines of a result.
type BillSum struct {
	Lines int
	Fen   int64
}

// A BillEntry is one line as it was reconciled.
type BillEntry struct {
	N         int
	Row       int
	WaybillNo string
	PostedOn  time.Time
	WeightG   int
	Fen       int64
	Result    BillResult
	Delivery  uuid.UUID
	OurFen    int64
	OurWeight int
	Case      uuid.UUID
	CaseOpen  bool
	SettledAt time.Time
	SettledBy string
	Note      string
}

// Settled reports whether nobody has to look at it any more.
func (e BillEntry) Settled() bool {
	return !e.Result.Differs() || !e.SettledAt.IsZero() || e.Case != uuid.Nil && !e.CaseOpen
}

// maxBillLines bounds a bill: ten times what a city posts in a month.
const maxBillLines = 200_000

// ImportBill takes in a bill and reconciles it line by line. Each difference about a delivery is a case, one per delivery
// while it is open. The same bill again changes nothing, and again is true.
func (s *Service) ImportBill(ctx context.Context, in NewBill, by string) (bill Bill, again bool, err error) {
	in.Month = monthOf(in.Month)
	if faults := in.check(s.clock.Now()); len(faults) > 0 {
		return Bill{}, false, faults
	}
	id, content := uuid.Must(uuid.NewV7()), in.content()
	err = s.inTx(ctx, func(tx *sqlx.Tx) error {
		again = false
		known, err := lockBills(ctx, tx, content, in.BillNo)
		if err != nil {
			return err
		}
		if known != uuid.Nil {
			id, again = known, true
			return nil
		}
		return s.importBill(ctx, tx, id, content, in, by)
	})
	if err != nil {
		return Bill{}, false, err
	}
	bill, err = s.Bill(ctx, id)
	return bill, again, err
}

func (s *Service) importBill(ctx context.Context, tx *sqlx.Tx, id uuid.UUID, content []byte, in NewBill, by string) error {
	now := s.clock.Now()
	numbers := make([]string, len(in.Lines))
	for i, l := range in.Lines {
		numbers[i] = l.WaybillNo
	}
	facts, err := billFacts(ctx, tx, numbers)
	if err != nil {
		return err
	}
	charges, err := billCharges(ctx, tx, numbers)
	if err != nil {
		return err
	}
	entries := reconcile(in, facts, charges)
	missing, err := missingFromBill(ctx, tx, in.Month, numbers)
	if err != nil {
		return err
	}
	for _, m := range missing {
		m.N = len(entries) + 1
		entries = append(entries, m)
	}
	if err := insertBill(ctx, tx, id, content, in, now, by); err != nil {
		return err
	}
	if err := insertBillLines(ctx, tx, id, entries); err != nil {
		return err
	}
	if err := s.billedLater(ctx, tx, id, by, now); err != nil {
		return err
	}
	if err := OpenCases(ctx, tx, billCases(in.Month, entries, now)); err != nil {
		return err
	}
	if err := linkBillCases(ctx, tx, id); err != nil {
		return err
	}
	return audit.Append(ctx, tx, audit.Entry{At: now, Actor: by, Action: "bill.import", Object: id.String(),
		Detail: map[string]string{"month": in.Month.Format("2006-01"), "source": in.Source, "lines": fmt.Sprint(len(in.Lines)), "bad_rows": fmt.Sprint(in.BadRows)}})
}

// billedLater settles what an earlier bill of the month, or the month before, lacked and this one has.
func (s *Service) billedLater(ctx context.Context, tx *sqlx.Tx, id uuid.UUID, by string, now time.Time) error {
	deliveries, err := settleMissing(ctx, tx, id, now)
	if err != nil {
		return err
	}
	closings := make([]CaseClosing, len(deliveries))
	for i, d := range deliveries {
		closings[i] = CaseClosing{DeliveryID: d, Kind: CaseFeeDifference, At: now, Outcome: "billed_later", By: by, Why: "已列入后来的账单"}
	}
	return CloseCases(ctx, tx, closings)
}

// monthOf is the first day of the month, as PostgreSQL gives back a date.
func monthOf(t time.Time) time.Time {
	y, m, _ := t.In(beijing).Date()
	return time.Date(y, m, 1, 0, 0, 0, 0, time.UTC)
}

func (b NewBill) check(now time.Time) Faults {
	var c checker
	outside, dated := 0, 0
	for _, l := range b.Lines {
		if !l.PostedOn.IsZero() {
			if dated++; l.PostedOn.Year() != b.Month.Year() || l.PostedOn.Month() != b.Month.Month() {
				outside++
			}
		}
	}
	switch {
	case len(b.Lines) == 0:
		c.add("lines", "required", "账单中没有可以读取的明细")
	case len(b.Lines) > maxBillLines:
		c.add("lines", "too_many", fmt.Sprintf("一份账单最多%d行，请按月或按机构拆分", maxBillLines))
	}
	switch {
	case b.Month.After(monthOf(now)):
		c.add("month", "future", "账单月份晚于本月，请核对")
	case dated > 0 && outside*2 > dated:
		c.add("month", "differs", fmt.Sprintf("%d行中有%d行的收寄日期不在%s，请核对账单月份", dated, outside, b.Month.Format("2006年1月")))
	}
	return c.faults
}

// content is a hash of what a bill says, so that the same one is recognised whatever its file is called.
func (b NewBill) content() []byte {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n", b.Month.Format("2006-01"))
	for _, l := range b.Lines {
		fmt.Fprintf(h, "%s\t%s\t%d\t%d\n", l.WaybillNo, day(l.PostedOn), l.WeightG, l.Fen)
	}
	return h.Sum(nil)
}

// A billFact is what is known of a waybill that EMS charges for.
type billFact struct {
	WaybillNo  string    `db:"waybill_no"`
	DeliveryID uuid.UUID `db:"delivery_id"`
	Void       bool      `db:"void"` // cancelled, or another label of a delivery that goes under a new one
	Collect    bool      `db:"collect"`
	Fen        int64     `db:"fen"`      // what EMS told (050001), else the fee that was quoted
	WeightG    int       `db:"weight_g"` // what EMS told; 0 when it did not
}

// A billCharge is a line of an earlier bill.
type billCharge struct {
	WaybillNo string    `db:"waybill_no"`
	Month     time.Time `db:"month"`
	Fen       int64     `db:"fen"`
}

// reconcile compares the lines of a bill with what is known of their waybills and with earlier bills.
func reconcile(in NewBill, facts map[string]billFact, charges map[string][]billCharge) []BillEntry {
	entries := make([]BillEntry, len(in.Lines))
	charged := map[string]bool{}
	copies := map[string]int{} // lines of this month's other copies, by waybill and amount, that this bill has not repeated yet
	key := func(no string, fen int64) string { return fmt.Sprint(no, " ", fen) }
	for no, all := range charges {
		for _, c := range all {
			if charged[no] = true; c.Month.Equal(in.Month) {
				copies[key(no, c.Fen)]++
			}
		}
	}
	for i, l := range in.Lines {
		e := BillEntry{N: i + 1, Row: l.Row, WaybillNo: l.WaybillNo, PostedOn: l.PostedOn, WeightG: l.WeightG, Fen: l.Fen}
		fact, found := facts[l.WaybillNo]
		if found {
			e.Delivery, e.OurFen, e.OurWeight = fact.DeliveryID, fact.Fen, fact.WeightG
		}
		k := key(l.WaybillNo, l.Fen)
		switch {
		case copies[k] > 0:
			copies[k]--
			e.Result = BillKnown
		case charged[l.WaybillNo]:
			e.Result = BillTwice
		default:
			e.Result = judgeLine(l, fact, found)
		}
		charged[l.WaybillNo] = true
		entries[i] = e
	}
	return entries
}

func judgeLine(l BillLine, fact billFact, found bool) BillResult {
	switch {
	case !found:
		return BillUnknownWaybill
	case fact.Void:
		return BillCancelled
	case fact.Collect:
		return BillCollect
	case l.Fen != fact.Fen:
		return BillAmountDiffers
	case l.WeightG != 0 && fact.WeightG != 0 && l.WeightG != fact.WeightG:
		return BillWeightDiffers
	}
	return BillMatched
}

// Yuan writes fen as an amount in yuan.
func Yuan(fen int64) string {
	sign := ""
	if fen < 0 {
		sign, fen = "-", -fen
	}
	return fmt.Sprintf("%s%d.%02d", sign, fen/100, fen%100)
}

// billCases opens a case for each delivery with a difference; of several lines of one, all are told.
func billCases(month time.Time, entries []BillEntry, now time.Time) []NewCase {
	details := map[uuid.UUID][]string{}
	var order []uuid.UUID
	for _, e := range entries {
		if e.Delivery == uuid.Nil || !e.Result.Differs() {
			continue
		}
		if details[e.Delivery] == nil {
			order = append(order, e.Delivery)
		}
		details[e.Delivery] = append(details[e.Delivery], e.sentence())
	}
	cases := make([]NewCase, len(order))
	for i, id := range order {
		cases[i] = NewCase{DeliveryID: id, Kind: CaseFeeDifference, OpenedAt: now, DueAt: now.Add(feeCaseWithin),
			NextAction: "与 EMS 核对账单，需更正的请 EMS 在下月账单中冲减",
			Detail:     "EMS " + month.Format("2006年1月") + "账单：" + strings.Join(details[id], "；")}
	}
	return cases
}

// sentence says what differs, for a clerk.
func (e BillEntry) sentence() string {
	switch e.Result {
	case BillAmountDiffers:
		return fmt.Sprintf("账单%s元，应为%s元", Yuan(e.Fen), Yuan(e.OurFen))
	case BillWeightDiffers:
		return fmt.Sprintf("账单计费重量%d克，EMS 此前答复%d克", e.WeightG, e.OurWeight)
	case BillTwice:
		return fmt.Sprintf("重复计费%s元", Yuan(e.Fen))
	case BillCancelled:
		return fmt.Sprintf("运单已作废，仍计费%s元", Yuan(e.Fen))
	case BillCollect:
		return fmt.Sprintf("到付邮件，不应计入账单：%s元", Yuan(e.Fen))
	case BillMissing:
		return fmt.Sprintf("已收寄而账单未列，应为%s元", Yuan(e.OurFen))
	}
	return ""
}

// Bill reads one with its sums.
func (s *Service) Bill(ctx context.Context, id uuid.UUID) (Bill, error) {
	bills, err := readBills(ctx, s.q(), id, 1)
	if err != nil {
		return Bill{}, err
	}
	if len(bills) == 0 {
		return Bill{}, ErrNotFound
	}
	return bills[0], nil
}

// Bills lists the last ones, the newest month first.
func (s *Service) Bills(ctx context.Context, limit int) ([]Bill, error) {
	return readBills(ctx, s.q(), uuid.Nil, pageLimit(limit))
}

// BillEntries lists the lines of a bill that have one of some results, in their order; after is the last N of the page
// before.
func (s *Service) BillEntries(ctx context.Context, id uuid.UUID, results []BillResult, after, limit int) ([]BillEntry, error) {
	return readBillLines(ctx, s.q(), id, results, after, pageLimit(limit))
}

// SettleBillLine ends a difference that belongs to no delivery, and so has no case, with what came of it.
func (s *Service) SettleBillLine(ctx context.Context, id uuid.UUID, n int, note, by string) error {
	return s.inTx(ctx, func(tx *sqlx.Tx) error {
		if note = oneLine(note); note == "" || len([]rune(note)) > 200 || strings.ContainsFunc(note, unwritable) {
			return Faults{{"note", "required", "请填写处理结果，最多200个字"}}
		}
		now := s.clock.Now()
		done, err := saveBillSettled(ctx, tx, id, n, note, now, by)
		if err != nil {
			return err
		}
		if !done {
			return &Conflict{"bill_line_settled", "该行无须处理，或已经处理"}
		}
		return audit.Append(ctx, tx, audit.Entry{At: now, Actor: by, Action: "bill.settle", Object: id.String(),
			Detail: map[string]string{"line": fmt.Sprint(n), "note": note}})
	})
}

// A StatedBill is a bill as EMS lists it (050002).
type StatedBill struct {
	BillNo   string
	OrgNo    string
	Month    time.Time
	TotalFen int64
	Lines    int
}

// A Biller is where EMS is asked for its bills.
type Biller interface {
	Bills(ctx context.Context, from, to time.Time) ([]StatedBill, error)
	BillLines(ctx context.Context, b StatedBill) ([]BillLine, error)
}

// FetchBills asks EMS for the bills of a month and takes in those that are new. It says how many there are.
func (s *Service) FetchBills(ctx context.Context, biller Biller, month time.Time, by string) (fresh []Bill, stated int, err error) {
	from := monthOf(month)
	list, err := biller.Bills(ctx, from, from.AddDate(0, 1, -1))
	if err != nil {
		return nil, 0, err
	}
	for _, b := range list {
		known, err := hasBill(ctx, s.q(), b.BillNo)
		if err != nil {
			return fresh, len(list), err
		}
		if known {
			continue
		}
		lines, err := biller.BillLines(ctx, b)
		if err != nil {
			return fresh, len(list), err
		}
		bill, again, err := s.ImportBill(ctx, NewBill{Month: from.Add(12 * time.Hour), Source: BillFromEMS, BillNo: b.BillNo, StatedFen: b.TotalFen, Lines: lines}, by)
		if err != nil {
			return fresh, len(list), err
		}
		if !again {
			fresh = append(fresh, bill)
		}
	}
	return fresh, len(list), nil
}

// BillRound fetches last month's bill once EMS has it.
func (s *Service) BillRound(ctx context.Context, biller Biller) error {
	last := monthOf(s.clock.Now()).AddDate(0, -1, 0)
	done, err := hasMonth(ctx, s.q(), last)
	if err != nil || done {
		return err
	}
	_, _, err = s.FetchBills(ctx, biller, last, "emsd")
	return err
}
