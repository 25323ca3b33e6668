package courier

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"emsd/courier/audit"
	"emsd/courier/vault"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

func TestCancelByStatus(t *testing.T) {
	t.Parallel()
	tests := []struct {
		status         Status
		after          Status
		conflict, last string
	}{
		{AwaitingPayment, Cancelled, "", "refund.due"},
		{Approved, Cancelled, "", "refund.due"},
		{Ordering, Ordering, "", "cancel.requested"},
		{Ordered, Ordered, "", "cancel.requested"},
		{Accepted, Accepted, "already_handed_over", ""},
		{InTransit, InTransit, "already_handed_over", ""},
		{OutForDelivery, OutForDelivery, "already_handed_over", ""},
		{AttemptFailed, AttemptFailed, "already_handed_over", ""},
		{Held, Held, "already_handed_over", ""},
		{Returning, Returning, "already_handed_over", ""},
		{Delivered, Delivered, "already_finished", ""},
		{Returned, Returned, "already_finished", ""},
		{Lost, Lost, "already_finished", ""},
	}
	s := newIntake(t, Options{})
	for i, tt := range tests {
		t.Run(string(tt.status), func(t *testing.T) {
			d := s.created(permit(i))
			fen := d.FeeFen
			if tt.status == AwaitingPayment {
				fen--
			}
			s.pay(d.ID, payment(fmt.Sprint("T", i), fen))
			if tt.status != AwaitingPayment && tt.status != Approved {
				s.toStatus(d.ID, tt.status)
			}
			var got Delivery
			for range 2 { // the second changes nothing
				var err error
				if got, err = s.svc.Cancel(t.Context(), d.ID, "不再需要", "clerk"); conflictOf(err) != tt.conflict && !(err == nil && tt.conflict == "") {
					t.Fatalf("cancel: %v, want %q", err, tt.conflict)
				}
			}
			if tt.conflict != "" {
				return
			}
			if got.Status != tt.after || got.CancelRequestedAt.IsZero() || (got.RefundDueFen == fen) != (tt.after == Cancelled) {
				t.Errorf("after: %s, %d due back", got.Status, got.RefundDueFen)
			}
			if e := s.events(d.ID); !strings.HasSuffix(e, tt.last) || strings.Count(e, tt.last) != 1 {
				t.Errorf("events %q, want %s once and last", e, tt.last)
			}
			if n := value[int](s, `SELECT count(*) FROM audit WHERE object = $1 AND action = 'cancel'`, d.ID.String()); n != 1 {
				t.Errorf("%d audit entries, want 1", n)
			}
			if due := value[bool](s, `SELECT cancel_attempt_at IS NOT NULL FROM deliveries WHERE id = $1`, d.ID); due != (tt.after != Cancelled) {
				t.Errorf("the cancel round has work: %v", due)
			}
		})
	}
	refused := s.accept(with(permit(99), func(a *Application) { a.Business = Change }))[0].Delivery
	if _, err := s.svc.Cancel(t.Context(), refused.ID, "x", "clerk"); conflictOf(err) != "refused_delivery" {
		t.Errorf("cancel of a refusal: %v", err)
	}
	if _, err := s.svc.Cancel(t.Context(), refused.ID, " ", "clerk"); fieldsAndCodes(errAs[Faults](err)) != "reason required" {
		t.Errorf("cancel without a reason: %v", err)
	}
	if report, err := audit.Verify(t.Context(), s.db); err != nil || report.Fault != "" {
		t.Errorf("audit chain: %+v, %v", report, err)
	}
}

func errAs[T error](err error) T {
	e, _ := errors.AsType[T](err)
	return e
}

func TestACancelledDeliveryNeverUsesItsNumber(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	d := s.created(permit(1))
	s.pay(d.ID, payment("T1", d.FeeFen))
	// As after an order that never left this machine: approved, with its number.
	s.exec(`INSERT INTO numbers (waybill_no, product, state, delivery_id, reserved_at) VALUES ('W1', '1', 'taken', $1, $2)`, d.ID, s.clock())
	s.exec(`UPDATE deliveries SET waybill_no = 'W1', order_no = 'O1', number_mode = 'reserved' WHERE id = $1`, d.ID)
	if _, err := s.svc.Cancel(t.Context(), d.ID, "不再需要", "clerk"); err != nil {
		t.Fatal(err)
	}
	if state := value[string](s, `SELECT state FROM numbers WHERE waybill_no = 'W1'`); state != "void" {
		t.Errorf("the number is %s, want void", state)
	}
}

// refusedOrder is a delivery that EMS has refused for good, with its case.
func (s *intakeScene) refusedOrder(n int) Delivery {
	s.t.Helper()
	d := s.created(permit(n))
	s.pay(d.ID, payment(fmt.Sprint("RO", n), d.FeeFen))
	err := InTx(s.t.Context(), s.db, func(tx *sqlx.Tx) error {
		_, err := tx.Exec(`UPDATE deliveries SET waybill_no = 'W' || $2, order_no = 'O' || $2, number_mode = 'reserved', attempts = 1 WHERE id = $1`, d.ID, fmt.Sprint(n))
		if err != nil {
			return err
		}
		if _, err = ApplyMoves(s.t.Context(), tx, []Move{{ID: d.ID, From: Approved, To: Ordering, At: s.clock()}}); err != nil {
			return err
		}
		return OpenCases(s.t.Context(), tx, []NewCase{{DeliveryID: d.ID, Kind: CaseOrderRefused, OpenedAt: s.clock(), DueAt: s.clock().Add(time.Hour), NextAction: "更正"}})
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

func TestRetryIsOnlyForWhatEMSRefusedForGood(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	refused, asking, unknown, cancelling, fresh := s.refusedOrder(1), s.refusedOrder(2), s.refusedOrder(3), s.refusedOrder(4), s.created(permit(5))
	s.exec(`UPDATE deliveries SET reconcile_at = $2 WHERE id = $1`, asking.ID, s.clock())
	s.exec(`UPDATE cases SET kind = 'order_unknown' WHERE delivery_id = $1`, unknown.ID)
	if _, err := s.svc.Cancel(t.Context(), cancelling.ID, "不再需要", "clerk"); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		id   uuid.UUID
		want string
	}{
		{"EMS is still being asked", asking.ID, "order_not_settled"},
		{"outcome unknown", unknown.ID, "order_not_settled"},
		{"being cancelled", cancelling.ID, "cancel_requested"},
		{"not ordered yet", fresh.ID, "not_refused"},
		{"unknown delivery", uuid.New(), ErrNotFound.Error()},
	} {
		if _, err := s.svc.Retry(t.Context(), tt.id, "已更正", "clerk"); conflictOf(err) != tt.want {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
	}
	s.pass(time.Minute)
	d, err := s.svc.Retry(t.Context(), refused.ID, "已更正", "clerk")
	if err != nil || d.Status != Approved || d.WaybillNo != "W1" {
		t.Fatalf("retried: %s with number %q (%v)", d.Status, d.WaybillNo, err)
	}
	if !value[bool](s, `SELECT next_attempt_at = $2 FROM deliveries WHERE id = $1`, d.ID, s.clock()) {
		t.Error("a retried delivery is not due")
	}
	if v := s.get(d.ID); v.Cases[0].Outcome != "retried" || v.Cases[0].ClosedBy != "clerk" || v.Cases[0].Why != "已更正" {
		t.Errorf("case %+v", v.Cases[0])
	}
	if e := s.events(d.ID); !strings.HasSuffix(e, "case.opened order.retried delivery.approved case.closed") {
		t.Errorf("events %q", e)
	}
	s.checkLog()
}

func TestChangeOfAddress(t *testing.T) {
	t.Parallel()
	near := Recipient{Province: "北京市", City: "北京市", County: "海淀区", Address: vault.Conceal("新示例路9号楼2单元")}
	far := Recipient{Province: "广东省", City: "广州市", County: "越秀区", Address: vault.Conceal("新示例路9号楼2单元")}
	tests := []struct {
		name   string
		paid   int64
		to     Recipient
		after  Status
		fee    int64
		refund int64
	}{
		{"unpaid, same fee", 0, near, AwaitingPayment, 1200, 0},
		{"unpaid, dearer", 0, far, AwaitingPayment, 2200, 0},
		{"paid, same fee", 1200, near, Approved, 1200, 0},
		{"paid, dearer: waits for the rest", 1200, far, AwaitingPayment, 2200, 0},
		{"overpaid enough for the dearer one", 2500, far, Approved, 2200, 300},
	}
	s := newIntake(t, Options{})
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := s.created(permit(i))
			if tt.paid > 0 {
				s.pay(d.ID, payment(fmt.Sprint("T", i), tt.paid))
			}
			got, err := s.svc.ChangeAddress(t.Context(), d.ID, tt.to, "搬家", "clerk")
			if err != nil {
				t.Fatal(err)
			}
			if got.Status != tt.after || got.FeeFen != tt.fee || got.RefundDueFen != tt.refund {
				t.Errorf("%s, fee %d, %d due back, want %s, %d, %d", got.Status, got.FeeFen, got.RefundDueFen, tt.after, tt.fee, tt.refund)
			}
			r := got.Recipient
			if r.County != tt.to.County || r.Address.Reveal() != "新示例路9号楼2单元" || r.Name.Reveal() != "张三丰" {
				t.Errorf("recipient in %s", r.County)
			}
			if e := s.events(d.ID); !strings.Contains(e, "address.changed") {
				t.Errorf("events %q", e)
			}
			if r := s.accept(permit(i))[0]; r.Outcome != Existing || r.Delivery.Recipient.County != tt.to.County {
				t.Errorf("the first application again: %s to %s", r.Outcome, r.Delivery.Recipient.County)
			}
		})
	}
	t.Run("cheaper: paid by what came in", func(t *testing.T) {
		d := s.created(with(permit(20), func(a *Application) {
			a.Recipient.Province, a.Recipient.City, a.Recipient.County = "广东省", "广州市", "越秀区"
		}))
		s.pay(d.ID, payment("T20", 1500))
		got, err := s.svc.ChangeAddress(t.Context(), d.ID, near, "搬家", "clerk")
		if err != nil || got.Status != Approved || got.RefundDueFen != 300 {
			t.Errorf("%s, %d due back (%v), want approved, 300", got.Status, got.RefundDueFen, err)
		}
	})
	t.Run("refused by EMS: ordered again", func(t *testing.T) {
		d := s.refusedOrder(21)
		got, err := s.svc.ChangeAddress(t.Context(), d.ID, near, "地址有误", "clerk")
		if err != nil || got.Status != Approved {
			t.Errorf("%s (%v), want approved", got.Status, err)
		}
		if v := s.get(d.ID); v.Cases[0].Outcome != "address_changed" {
			t.Errorf("case %+v", v.Cases[0])
		}
	})
	t.Run("refused by EMS and dearer: waits for the rest", func(t *testing.T) {
		d := s.refusedOrder(22)
		got, err := s.svc.ChangeAddress(t.Context(), d.ID, far, "地址有误", "clerk")
		if err != nil || got.Status != AwaitingPayment {
			t.Fatalf("%s (%v), want awaiting_payment", got.Status, err)
		}
		if got = s.pay(d.ID, payment("T22", 1000)); got.Status != Approved {
			t.Errorf("%s, want approved", got.Status)
		}
	})
	t.Run("money that went back pays for nothing", func(t *testing.T) {
		d := s.created(permit(25))
		s.pay(d.ID, payment("T25", 2500))
		if _, err := s.svc.Refund(t.Context(), d.ID, payment("R25", 1300)); err != nil {
			t.Fatal(err)
		}
		got, err := s.svc.ChangeAddress(t.Context(), d.ID, far, "搬家", "clerk")
		if err != nil || got.Status != AwaitingPayment {
			t.Fatalf("2500 of 2200 fen paid, 1300 given back: %s (%v), want awaiting_payment", got.Status, err)
		}
		if got = s.pay(d.ID, payment("T25b", 1000)); got.Status != Approved || got.RefundDueFen != 0 {
			t.Errorf("%s, %d due back, want approved, 0", got.Status, got.RefundDueFen)
		}
	})
	t.Run("not when EMS has the envelope, nor while nobody knows", func(t *testing.T) {
		d := s.created(permit(23))
		s.pay(d.ID, payment("T23", 1200))
		for status, want := range map[Status]string{Accepted: "already_ordered", InTransit: "already_ordered", Delivered: "already_finished", Ordering: "order_not_settled"} {
			s.toStatus(d.ID, status)
			if _, err := s.svc.ChangeAddress(t.Context(), d.ID, near, "搬家", "clerk"); conflictOf(err) != want {
				t.Errorf("%s: %v, want %s", status, err, want)
			}
		}
	})
	t.Run("faults", func(t *testing.T) {
		d := s.created(permit(24))
		_, err := s.svc.ChangeAddress(t.Context(), d.ID, Recipient{Province: "北京", Address: vault.Conceal("x")}, "搬家", "clerk")
		if got := fieldsAndCodes(errAs[Faults](err)); got != "province unknown_division, address too_short" {
			t.Errorf("faults %q", got)
		}
		tibet := Recipient{Province: "西藏自治区", City: "拉萨市", County: "城关区", Address: near.Address}
		if _, err = s.svc.ChangeAddress(t.Context(), d.ID, tibet, "搬家", "clerk"); fieldsAndCodes(errAs[Faults](err)) != "province no_tariff" {
			t.Errorf("no tariff: %v", err)
		}
	})
	s.exec(`UPDATE deliveries SET status = 'approved' WHERE id = (SELECT id FROM deliveries WHERE permit_no = $1)`, permit(23).PermitNo)
	s.checkLog()
}

func TestListsPageWithoutGapsOrRepetitions(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	var want []uuid.UUID
	for n := range 25 {
		want = append(want, s.created(permit(n)).ID)
		s.pass(time.Second)
	}
	walk := func(f Filter, between func()) []uuid.UUID {
		var got []uuid.UUID
		for f.Limit = 10; ; {
			p, err := s.svc.List(t.Context(), f)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range p.Deliveries {
				got = append(got, d.ID)
			}
			if between(); p.Next == "" {
				return got
			}
			f.Cursor = p.Next
		}
	}
	made := 100
	if got := walk(Filter{Status: AwaitingPayment}, func() { made++; s.created(permit(made)) }); !slices.Equal(got[:25], want) {
		t.Errorf("the list starts %v, want %v", got[:25], want)
	}
	since := testNow.Add(-time.Hour)
	seen := map[uuid.UUID]int{}
	first := true
	got := walk(Filter{UpdatedAfter: since}, func() {
		if s.pass(time.Second); first {
			first = false
			s.pay(want[0], payment("T1", 100)) // changes behind the cursor: comes again, at the end
		}
	})
	for _, id := range got {
		seen[id]++
	}
	for _, id := range want[1:] {
		if seen[id] != 1 {
			t.Errorf("%s came %d times", id, seen[id])
		}
	}
	if seen[want[0]] != 2 || got[len(got)-1] != want[0] {
		t.Errorf("what changed meanwhile came %d times", seen[want[0]])
	}
	for name, f := range map[string]Filter{
		"permit":         {PermitNo: strings.ToLower(permit(3).PermitNo)},
		"nobody's":       {PermitNo: "A9"},
		"waybill":        {WaybillNo: "W-NONE"},
		"NUL":            {PermitNo: "A\x00"},
		"another status": {Status: Approved},
	} {
		p, err := s.svc.List(t.Context(), f)
		if wantN := map[string]int{"permit": 1}[name]; err != nil || len(p.Deliveries) != wantN {
			t.Errorf("%s: %d deliveries, %v, want %d", name, len(p.Deliveries), err, wantN)
		}
	}
	p, err := s.svc.List(t.Context(), Filter{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]Filter{
		"a cursor that is none": {Cursor: "x"}, "of another list": {Cursor: p.Next, UpdatedAfter: since}, "status": {Status: "lurking"},
	} {
		if _, err := s.svc.List(t.Context(), f); errAs[Faults](err) == nil {
			t.Errorf("%s: %v, want faults", name, err)
		}
	}
}

func TestWorklist(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	var due []uuid.UUID
	for n := range 5 {
		d := s.refusedOrder(n)
		s.exec(`UPDATE cases SET due_at = $2 WHERE delivery_id = $1`, d.ID, s.clock().Add(time.Duration(-n)*time.Hour))
		due = slices.Insert(due, 0, d.ID)
	}
	var got []uuid.UUID
	f := CaseFilter{Limit: 2, Kind: CaseOrderRefused}
	for {
		p, err := s.svc.Cases(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range p.Cases {
			got = append(got, c.DeliveryID)
		}
		if f.Cursor = p.Next; f.Cursor == "" {
			break
		}
	}
	if !slices.Equal(got, due) {
		t.Errorf("cases of %v, want %v", got, due)
	}
	id := s.get(due[0]).Cases[0].ID
	c, err := s.svc.CloseCase(t.Context(), id, "已联系", "clerk", "张三丰同意自取，电话13800000001")
	if err != nil || c.ClosedBy != "clerk" || strings.Contains(c.Why, "张三丰") || strings.Contains(c.Why, "13800000001") || !strings.Contains(c.Why, "同意自取") {
		t.Errorf("closed as %+v (%v)", c, err)
	}
	if _, err := s.svc.CloseCase(t.Context(), id, "已联系", "clerk", "再次"); conflictOf(err) != "case_closed" {
		t.Errorf("closed twice: %v", err)
	}
	if _, err := s.svc.CloseCase(t.Context(), uuid.New(), "已联系", "clerk", "x"); !errors.Is(err, ErrNotFound) {
		t.Errorf("closing nothing: %v", err)
	}
	if n := value[int](s, `SELECT count(*) FROM audit WHERE action = 'case.close'`); n != 1 {
		t.Errorf("%d audit entries, want 1", n)
	}
	s.checkLog()
}

func TestQuoteForADestination(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	if q, err := s.svc.Quote(t.Context(), "广东省", 0); err != nil || q != (Quotation{"远", 2200}) {
		t.Errorf("Quote = %+v, %v", q, err)
	}
	if q, err := s.svc.Quote(t.Context(), "广东省", 1001); err != nil || q.Fen != 2200+2*600 {
		t.Errorf("Quote of 1001 g = %+v, %v", q, err)
	}
	for _, province := range []string{"", "广东", "西藏自治区"} {
		if _, err := s.svc.Quote(t.Context(), province, 0); errAs[Faults](err) == nil {
			t.Errorf("%q: %v, want faults", province, err)
		}
	}
}

// TestTheDemosPermits takes in the invented permits of the demo with its stations and tariffs.
func TestTheDemosPermits(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	for file, save := range map[string]func([]map[string]string) ([]Faults, error){
		"stations.csv": func(r []map[string]string) ([]Faults, error) { return s.svc.SaveStations(t.Context(), r, false) },
		"tariffs.csv":  func(r []map[string]string) ([]Faults, error) { return s.svc.SaveTariffs(t.Context(), r, false) },
	} {
		faults, err := save(readCSV(t, "testdata/"+file))
		if err != nil {
			t.Fatal(err)
		}
		for i, f := range faults {
			if f != nil {
				t.Errorf("%s row %d: %v", file, i+1, f)
			}
		}
	}
	text, err := os.ReadFile("testdata/permits.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	var intakes []Intake
	for line := range strings.Lines(string(text)) {
		var cells map[string]any
		if err := json.Unmarshal([]byte(line), &cells); err != nil {
			t.Fatal(err)
		}
		row := map[string]string{}
		for k, v := range cells {
			row[k] = fmt.Sprint(v)
		}
		var in Intake
		in.Application, in.Extras, in.Faults = ApplicationFromRow(row)
		intakes = append(intakes, in)
	}
	var twice [2]map[Outcome]int
	for i := range twice {
		results, err := s.svc.AcceptPaid(t.Context(), intakes, "import")
		if err != nil {
			t.Fatal(err)
		}
		twice[i] = map[Outcome]int{}
		for _, r := range results {
			twice[i][r.Outcome]++
		}
	}
	first, second := twice[0], twice[1]
	if first[Created] < 200 || first[RefusedByRule] < 20 || first[Faulty] == 0 {
		t.Errorf("outcomes %v", first)
	}
	if second[Created] != 0 || second[Existing] != first[Created]+first[Existing] || second[RefusedByRule] != first[RefusedByRule] {
		t.Errorf("the same file again: %v after %v", second, first)
	}
	s.checkLog()
}

func readCSV(t *testing.T, path string) []map[string]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	records, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var rows []map[string]string
	for _, r := range records[1:] {
		row := map[string]string{}
		for i, v := range r {
			row[records[0][i]] = v
		}
		rows = append(rows, row)
	}
	return rows
}

func TestI8_EveryChangeHasItsEventInTheSameTransaction(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	d := s.refusedOrder(1)
	near := Recipient{Province: "北京市", City: "北京市", County: "海淀区", Address: vault.Conceal("新示例路9号楼2单元")}
	actions := []struct {
		name string
		do   func() error
	}{
		{"retry", func() error { _, err := s.svc.Retry(t.Context(), d.ID, "x", "c"); return err }},
		{"address", func() error { _, err := s.svc.ChangeAddress(t.Context(), d.ID, near, "x", "c"); return err }},
		{"pay", func() error { _, err := s.svc.Pay(t.Context(), d.ID, payment("P", 300)); return err }},
		{"refund", func() error { _, err := s.svc.Refund(t.Context(), d.ID, payment("R", 300)); return err }},
		{"cancel", func() error { _, err := s.svc.Cancel(t.Context(), d.ID, "x", "c"); return err }},
	}
	for _, a := range actions {
		seq, before := s.get(d.ID).Seq, value[string](s, `SELECT d::text FROM deliveries d WHERE id = $1`, d.ID)
		// Without its event no change happens: the log refuses, and everything is as it was.
		s.exec(`ALTER TABLE events_default ADD CONSTRAINT broken CHECK (false) NOT VALID`)
		if err := a.do(); pqCode(err) != "23514" {
			t.Errorf("%s without a log: %v", a.name, err)
		}
		if after := value[string](s, `SELECT d::text FROM deliveries d WHERE id = $1`, d.ID); after != before {
			t.Errorf("%s without its event changed %s to %s", a.name, before, after)
		}
		s.exec(`ALTER TABLE events_default DROP CONSTRAINT broken`)
		if err := a.do(); err != nil {
			t.Fatalf("%s: %v", a.name, err)
		}
		if got := s.get(d.ID).Seq; got <= seq {
			t.Errorf("%s: seq %d after %d", a.name, got, seq)
		}
		s.checkLog()
	}
}

func pqCode(err error) string {
	if e, ok := errors.AsType[*pq.Error](err); ok {
		return string(e.Code)
	}
	return fmt.Sprint(err)
}
