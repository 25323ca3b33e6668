package courier

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

func (s *intakeScene) scan(d Delivery, at time.Time, code, org string) {
	s.t.Helper()
	s.exec(`INSERT INTO scans (delivery_id, op_at, op_code, org_code, waybill_no, op_name, desc_sealed, org_name, province, city, seen_at)
		VALUES ($1, $2, $3, 'O', $4, '', $5, $6, '', '', $2)`, d.ID, at, code, d.WaybillNo, s.v.Seal("scans.desc", d.ID, "快递员李四 13911112222"), org)
}

// last reads the cases of a kind, the newest.
func (s *intakeScene) last(id uuid.UUID, kind CaseKind) (c Case) {
	for _, x := range s.get(id).Cases {
		if x.Kind == kind {
			c = x
		}
	}
	return c
}

func TestOnlyAnEnvelopeThatEMSHasCanBeMissed(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	for i, tt := range []struct {
		status Status
		want   string
	}{
		{Approved, "not_accepted"}, {Ordering, "not_accepted"}, {Ordered, "not_accepted"}, {Cancelled, "already_finished"},
		{Accepted, ""}, {InTransit, ""}, {OutForDelivery, ""}, {AttemptFailed, ""}, {Held, ""}, {Delivered, ""}, {Returning, ""},
		{Returned, "already_returned"}, {Lost, "already_lost"},
	} {
		d := s.sent(i, tt.status)
		if _, err := s.svc.ReportNotReceived(t.Context(), d.ID, "resident", "没收到", "clerk"); conflictCode(err) != tt.want {
			t.Errorf("%s: %v, want %q", tt.status, err, tt.want)
		}
		if got := s.get(d.ID).Status; got != tt.status {
			t.Errorf("%s became %s", tt.status, got)
		}
	}
	d := s.sent(50, Delivered)
	for _, tt := range []struct{ by, reason, want string }{
		{"", "没收到", "said_by required"}, {"neighbour", "没收到", "said_by unknown_value"}, {"clerk", " ", "reason required"},
	} {
		if _, err := s.svc.ReportNotReceived(t.Context(), d.ID, tt.by, tt.reason, "clerk"); conflictCode(err) != tt.want {
			t.Errorf("said by %q: %v, want %s", tt.by, err, tt.want)
		}
	}
	refused := s.accept(with(permit(51), func(a *Application) { a.Route = RouteRegistrationStation }))[0].Delivery
	if _, err := s.svc.ReportNotReceived(t.Context(), refused.ID, "clerk", "没收到", "clerk"); conflictCode(err) != "already_finished" {
		t.Errorf("a refused one: %v", err)
	}
	s.checkLog()
}

func TestANonReceiptCollectsWhatEMSSaysAndHasItAskedAnew(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	d := s.sent(1, Delivered)
	for i, code := range []string{"203", "389", "954", "702", "705", "702", "704"} {
		s.scan(d, s.clock().Add(time.Duration(i)*time.Hour), code, "北京示例揽投部")
	}
	s.exec(`UPDATE deliveries SET receiver = 'door' WHERE id = $1`, d.ID)
	s.openCase(d.ID, CaseNotReceived) // a scan after the delivery had opened it
	since := s.clock()
	s.pass(24 * time.Hour)
	v, err := s.svc.ReportNotReceived(t.Context(), d.ID, "resident", "张三丰说门口没有，电话13800000001", "clerk")
	if err != nil || len(v.NonReceipts) != 1 {
		t.Fatalf("%+v, %v", v.NonReceipts, err)
	}
	n := v.NonReceipts[0]
	want := Facts{Status: Delivered, Since: since.UTC(), Receiver: "door", WaybillNo: d.WaybillNo}
	for i, code := range []string{"954", "702", "705", "702", "704"} {
		want.Scans = append(want.Scans, FactsScan{since.Add(time.Duration(i+2) * time.Hour).UTC(), code, "北京示例揽投部"})
	}
	if diff := cmp.Diff(want, n.Facts); diff != "" || n.SaidBy != "resident" || n.RecordedBy != "clerk" || !n.EndedAt.IsZero() {
		t.Errorf("report %+v\n%s", n, diff)
	}
	c := s.last(d.ID, CaseNotReceived)
	if !c.DueAt.Equal(s.clock().Add(4*time.Hour)) || c.NextAction != notReceivedNext || !c.ClosedAt.IsZero() {
		t.Errorf("case %+v", c)
	}
	if hints := value[string](s, `SELECT string_agg(waybill_no, ' ') FROM push_hints`); hints != d.WaybillNo {
		t.Errorf("asked anew: %q", hints)
	}
	again, err := s.svc.ReportNotReceived(t.Context(), d.ID, "clerk", "又打来", "clerk")
	if err != nil || len(again.NonReceipts) != 1 || again.Seq != v.Seq {
		t.Errorf("reported twice: %d reports, seq %d, want %d, %v", len(again.NonReceipts), again.Seq, v.Seq, err)
	}
	for _, secret := range []string{"张三丰", "13800000001", "李四", "13911112222"} {
		if n := value[int](s, `SELECT (SELECT count(*) FROM non_receipts n WHERE n::text LIKE '%' || $1 || '%') + (SELECT count(*) FROM cases c WHERE c::text LIKE '%' || $1 || '%')
			+ (SELECT count(*) FROM audit WHERE detail::text LIKE '%' || $1 || '%') + (SELECT count(*) FROM events WHERE data::text LIKE '%' || $1 || '%')`, secret); n != 0 {
			t.Errorf("I-9: %q stands in %d rows", secret, n)
		}
	}
	s.checkLog()
}

func TestANonReceiptEndsFoundResentOrLost(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	for i, tt := range []struct {
		outcome string
		status  Status
		events  string
		cases   string
	}{
		{OutcomeFound, Delivered, "not_received.closed case.closed", "delivered_elsewhere not_received=found"},
		{OutcomeResent, Delivered, "not_received.closed case.closed", "delivered_elsewhere not_received=resent"},
		{OutcomeLost, Lost, "delivery.lost permit.lost not_received.closed case.closed case.closed", "delivered_elsewhere=declared_lost not_received=declared_lost"},
	} {
		d := s.sent(i, Delivered)
		s.openCase(d.ID, CaseDeliveredElsewhere)
		if _, err := s.svc.EndNotReceived(t.Context(), d.ID, tt.outcome, "结果", "clerk"); conflictCode(err) != "no_open_report" {
			t.Errorf("%s without a report: %v", tt.outcome, err)
		}
		if _, err := s.svc.ReportNotReceived(t.Context(), d.ID, "resident", "没收到", "clerk"); err != nil {
			t.Fatal(err)
		}
		v, err := s.svc.EndNotReceived(t.Context(), d.ID, tt.outcome, "查明", "clerk Wang")
		if err != nil || v.Status != tt.status {
			t.Errorf("%s: %s, %v", tt.outcome, v.Status, err)
			continue
		}
		if n := v.NonReceipts[0]; n.Outcome != tt.outcome || n.EndedBy != "clerk Wang" || n.Why != "查明" || n.EndedAt.IsZero() {
			t.Errorf("%s: report %+v", tt.outcome, n)
		}
		if got := s.events(d.ID); !strings.HasSuffix(got, tt.events) {
			t.Errorf("%s: events %s, want %s at the end", tt.outcome, got, tt.events)
		}
		if got := s.cases(d.ID); got != tt.cases {
			t.Errorf("%s: cases %s, want %s", tt.outcome, got, tt.cases)
		}
		again, err := s.svc.EndNotReceived(t.Context(), d.ID, tt.outcome, "查明", "clerk")
		if err != nil || again.Seq != v.Seq {
			t.Errorf("%s twice: seq %d, want %d, %v", tt.outcome, again.Seq, v.Seq, err)
		}
		other := map[string]string{OutcomeFound: OutcomeLost, OutcomeResent: OutcomeFound, OutcomeLost: OutcomeFound}[tt.outcome]
		if _, err := s.svc.EndNotReceived(t.Context(), d.ID, other, "查明", "clerk"); conflictCode(err) != "no_open_report" {
			t.Errorf("%s after %s: %v", other, tt.outcome, err)
		}
	}
	if _, err := s.svc.EndNotReceived(t.Context(), uuid.Must(uuid.NewV7()), "burnt", "x", "clerk"); conflictCode(err) != "outcome unknown_value" {
		t.Errorf("an outcome of nobody: %v", err)
	}
	s.checkLog()
}

func TestNobodyLosesAnEnvelopeByASlip(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	for i, status := range []Status{Accepted, InTransit, OutForDelivery, AttemptFailed, Held, Delivered, Returning, Returned} {
		d := s.sent(i, status)
		s.openCase(d.ID, CaseHeld)
		if _, err := s.svc.DeclareLost(t.Context(), d.ID, "找不到", "clerk"); conflictCode(err) != "no_open_case" {
			t.Errorf("%s without a case: %v", status, err)
		}
		s.openCase(d.ID, []CaseKind{CaseStalled, CaseLost, CaseNotReceived}[i%3])
		v, err := s.svc.DeclareLost(t.Context(), d.ID, "找不到", "clerk")
		if err != nil || v.Status != Lost || !strings.Contains(s.events(d.ID), "delivery.lost permit.lost") {
			t.Errorf("%s: %s, events %s, %v", status, v.Status, s.events(d.ID), err)
		}
		if again, err := s.svc.DeclareLost(t.Context(), d.ID, "找不到", "clerk"); err != nil || again.Seq != v.Seq {
			t.Errorf("%s twice: seq %d, want %d, %v", status, again.Seq, v.Seq, err)
		}
		rule := value[string](s, `SELECT data->>'rule' FROM events WHERE delivery_id = $1 AND type = 'delivery.lost'`, d.ID)
		if rule != RuleDeclaredLost || strings.Count(s.cases(d.ID), "="+RuleDeclaredLost) != 2 {
			t.Errorf("%s: rule %q, cases %s", status, rule, s.cases(d.ID))
		}
	}
	for n, tt := range map[int]struct {
		d    Delivery
		want string
	}{
		20: {s.sent(20, Approved), "not_accepted"}, 21: {s.sent(21, Ordered), "not_handed_over"}, 22: {s.sent(22, Cancelled), "not_accepted"},
		23: {s.onShelf(23), "received_at_station"},
	} {
		s.openCase(tt.d.ID, CaseStalled)
		if _, err := s.svc.DeclareLost(t.Context(), tt.d.ID, "找不到", "clerk"); conflictCode(err) != tt.want {
			t.Errorf("%d: %v, want %s", n, err, tt.want)
		}
	}
	gone := s.sent(24, Ordered)
	if _, err := s.svc.HandOver(t.Context(), gone.ID, time.Time{}, "", "clerk"); err != nil {
		t.Fatal(err)
	}
	s.openCase(gone.ID, CaseStalled)
	if v, err := s.svc.DeclareLost(t.Context(), gone.ID, "交寄后无踪", "clerk"); err != nil || v.Status != Lost {
		t.Errorf("handed over and never scanned: %s, %v", v.Status, err)
	}
	s.checkLog()
}

func TestALossThatEMSReportsIsForAPersonToConfirm(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	d := s.sent(1, Lost) // by 987
	if strings.Contains(s.events(d.ID), "permit.lost") {
		t.Fatal("a permit is voided by a scan")
	}
	s.openCase(d.ID, CaseLost)
	for turn := range 2 {
		v, err := s.svc.DeclareLost(t.Context(), d.ID, "邮政确认遗失", "clerk")
		if err != nil || v.Status != Lost || s.last(d.ID, CaseLost).Outcome != RuleDeclaredLost {
			t.Errorf("turn %d: %s, cases %s, %v", turn, v.Status, s.cases(d.ID), err)
		}
		if n := strings.Count(s.events(d.ID), "permit.lost"); n != turn+1 {
			t.Errorf("turn %d: permit.lost told %d times", turn, n)
		}
		if turn == 0 { // it turns up, and is lost again
			s.move(d.ID, Lost, InTransit)
			s.move(d.ID, InTransit, Lost)
			s.openCase(d.ID, CaseLost)
		}
	}
	s.checkLog()
}

func TestALostPermitIsIssuedAnewAndItsOldEnvelopeIsNotHandedOut(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	var lost []Delivery
	for n := range 2 {
		d := s.sent(n, InTransit)
		s.openCase(d.ID, CaseStalled)
		if _, err := s.svc.DeclareLost(t.Context(), d.ID, "找不到", "clerk"); err != nil {
			t.Fatal(err)
		}
		lost = append(lost, d)
	}
	s.pass(24 * time.Hour)
	// The permit system posts the issue anew: the same application, or another one with a new permit number.
	same := s.created(with(permit(0), func(a *Application) { a.Consent.NoticeVersion = "2" }))
	if same.Supersedes != lost[0].ID {
		t.Errorf("the new delivery follows %s, want %s", same.Supersedes, lost[0].ID)
	}
	if got := value[string](s, `SELECT data->>'supersedes' FROM events WHERE delivery_id = $1`, same.ID); got != lost[0].ID.String() {
		t.Errorf("its event names %s", got)
	}
	other := s.created(with(permit(1), func(a *Application) { a.PermitNo, a.ApplicationNo = "A110000202699999", "SQ2026-1B" }))
	if other.Supersedes != uuid.Nil {
		t.Errorf("another permit follows %s", other.Supersedes)
	}
	// Both old envelopes turn up at the counter.
	for i, d := range lost {
		v, err := s.svc.ReceiveReturn(t.Context(), d.WaybillNo, "A-1", "clerk")
		if err != nil || v.Status != Returned {
			t.Fatalf("received: %s, %v", v.Status, err)
		}
		want := []string{"already_redispatched", "permit_may_be_void"}[i]
		holder := PickUp{Who: "holder", IDDocument: "resident_id"}
		if _, err := s.svc.PickUp(t.Context(), d.ID, holder, "clerk"); conflictCode(err) != want {
			t.Errorf("handed out: %v, want %s", err, want)
		}
		s.pass(time.Hour)
		again := s.consent()
		if i == 1 {
			if _, err := s.svc.Redispatch(t.Context(), d.ID, again, "重寄", "clerk"); conflictCode(err) != want {
				t.Errorf("sent again: %v, want %s", err, want)
			}
			if c := s.last(d.ID, CaseReturned); !strings.Contains(c.NextAction, "核实是否已作废") {
				t.Errorf("the case says %q", c.NextAction)
			}
			holder.PermitValid = true
			if _, err := s.svc.PickUp(t.Context(), d.ID, holder, "clerk"); err != nil {
				t.Errorf("a clerk has made sure: %v", err)
			}
		}
	}
	s.checkLog()
}
