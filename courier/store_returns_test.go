package courier

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"emsd/courier/audit"
	"emsd/courier/vault"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// waybillNo is the number of the nth envelope of a test.
func waybillNo(n int) string { return fmt.Sprintf("EM%09dCN", n) }

// sent takes the nth permit in, has it paid and takes it as far as a status, each move with its event.
func (s *intakeScene) sent(n int, status Status) Delivery {
	s.t.Helper()
	d := s.created(permit(n))
	s.pay(d.ID, payment(fmt.Sprint("S", n), d.FeeFen))
	if status == Approved {
		return d
	}
	s.exec(`UPDATE deliveries SET waybill_no = $2, order_no = 'RP' || $2, number_mode = 'reserved' WHERE id = $1`, d.ID, waybillNo(n))
	s.exec(`INSERT INTO waybills (delivery_id, waybill_no, stage, ordered_at, next_poll_at, changed_at) VALUES ($1, $2, 'ordered', $3, $3, $3)`,
		d.ID, waybillNo(n), s.clock())
	way := map[Status][]Status{Ordering: {Ordering}, Ordered: {Ordering, Ordered}, Cancelled: {Ordering, Ordered, Cancelled}}[status]
	if way == nil {
		way = []Status{Ordering, Ordered, status}
	}
	from := Approved
	for _, to := range way {
		s.move(d.ID, from, to)
		from = to
	}
	d.Status, d.WaybillNo = status, waybillNo(n)
	return d
}

func (s *intakeScene) move(id uuid.UUID, from, to Status) {
	s.t.Helper()
	err := InTx(s.t.Context(), s.db, func(tx *sqlx.Tx) error {
		rule := ""
		if from.Final() {
			rule = "of the test"
		}
		moved, err := ApplyMoves(s.t.Context(), tx, []Move{{ID: id, From: from, To: to, At: s.clock(), Data: EventData{Rule: rule}}})
		if err == nil && len(moved) != 1 {
			err = ErrStale
		}
		return err
	})
	if err != nil {
		s.t.Fatalf("%s to %s: %v", from, to, err)
	}
}

func (s *intakeScene) openCase(id uuid.UUID, kind CaseKind) {
	s.t.Helper()
	err := InTx(s.t.Context(), s.db, func(tx *sqlx.Tx) error {
		return OpenCases(s.t.Context(), tx, []NewCase{{DeliveryID: id, Kind: kind, OpenedAt: s.clock(), DueAt: s.clock(), NextAction: "处理", Detail: "邮政代码 711"}})
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// cases lists the cases of a delivery as "kind" or "kind=outcome".
func (s *intakeScene) cases(id uuid.UUID) string {
	s.t.Helper()
	var out []string
	for _, c := range s.get(id).Cases {
		text := string(c.Kind)
		if !c.ClosedAt.IsZero() {
			text += "=" + c.Outcome
		}
		out = append(out, text)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// onShelf takes the nth permit as far as the shelf.
func (s *intakeScene) onShelf(n int) Delivery {
	s.t.Helper()
	d := s.sent(n, Returned)
	s.pass(time.Hour)
	if _, err := s.svc.ReceiveReturn(s.t.Context(), d.WaybillNo, "A-12", "clerk"); err != nil {
		s.t.Fatal(err)
	}
	s.pass(time.Hour)
	return d
}

// conflictCode is the stable word of an error: of a conflict, or of the first fault.
func conflictCode(err error) string {
	if err == nil {
		return ""
	}
	if c := errAs[*Conflict](err); c != nil {
		return c.Code
	}
	if f := errAs[Faults](err); f != nil {
		return f[0].Field + " " + f[0].Code
	}
	if l := errAs[*LiveDelivery](err); l != nil {
		return "live"
	}
	if errors.Is(err, ErrNotFound) {
		return "not_found"
	}
	return err.Error()
}

func TestAnEnvelopeIsHandedOverOnceAndOnlyWhenOrdered(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	for i, tt := range []struct {
		status Status
		want   string
		event  string
	}{
		{Approved, "not_ordered", ""},
		{Ordering, "not_ordered", ""},
		{Cancelled, "not_ordered", ""},
		{Ordered, "", `{"waybill_no": "EM000000003CN", "handed_over_at": "2026-11-24T09:00:00+08:00"}`},
		{Accepted, "", `{"outcome": "after_acceptance", "waybill_no": "EM000000004CN", "handed_over_at": "2026-11-24T09:00:00+08:00"}`},
		{Delivered, "", `{"outcome": "after_acceptance", "waybill_no": "EM000000005CN", "handed_over_at": "2026-11-24T09:00:00+08:00"}`},
	} {
		d := s.sent(i, tt.status)
		got, err := s.svc.HandOver(t.Context(), d.ID, time.Time{}, "", "clerk")
		if conflictCode(err) != tt.want {
			t.Errorf("%s: %v, want %q", tt.status, err, tt.want)
		}
		if tt.want != "" {
			continue
		}
		if !got.HandedOverAt.Equal(s.clock()) || got.Status != tt.status {
			t.Errorf("%s: handed over at %s, status %s", tt.status, got.HandedOverAt, got.Status)
		}
		again, err := s.svc.HandOver(t.Context(), d.ID, s.clock().Add(time.Minute), "再次", "clerk")
		if err != nil || !again.HandedOverAt.Equal(got.HandedOverAt) || again.Seq != got.Seq {
			t.Errorf("%s again: at %s, seq %d, %v", tt.status, again.HandedOverAt, again.Seq, err)
		}
		if e := value[string](s, `SELECT data::text FROM events WHERE delivery_id = $1 AND type = 'handover.recorded'`, d.ID); !sameJSON(e, tt.event) {
			t.Errorf("%s: event %s, want %s", tt.status, e, tt.event)
		}
	}
	d := s.sent(100, Ordered)
	for at, want := range map[time.Time]string{s.clock().Add(time.Hour): "at future", s.clock().Add(-time.Hour): "at before_delivery"} {
		if _, err := s.svc.HandOver(t.Context(), d.ID, at, "", "clerk"); conflictCode(err) != want {
			t.Errorf("at %s: %v, want %s", at, err, want)
		}
	}
	if _, err := s.svc.Cancel(t.Context(), d.ID, "不再需要", "clerk"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.svc.HandOver(t.Context(), d.ID, time.Time{}, "", "clerk"); conflictCode(err) != "being_stopped" {
		t.Errorf("hand-over of what is being cancelled: %v", err)
	}
	gone := s.sent(101, Ordered)
	if _, err := s.svc.HandOver(t.Context(), gone.ID, time.Time{}, "", "clerk"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.svc.Cancel(t.Context(), gone.ID, "不再需要", "clerk"); conflictCode(err) != "already_handed_over" {
		t.Errorf("cancelling what was handed over: %v", err)
	}
	s.checkLog()
}

func sameJSON(a, b string) bool { return cmp.Equal(keys(a), keys(b)) }

// keys splits flat JSON into its sorted parts; jsonb has an order of its own.
func keys(flat string) []string {
	parts := strings.Split(strings.Trim(flat, "{}"), ", ")
	slices.Sort(parts)
	return parts
}

func TestAListOfHandOversIsAnsweredNumberByNumber(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	s.sent(1, Ordered)
	s.sent(2, Ordered)
	s.sent(3, Accepted)
	s.sent(4, Cancelled)
	stopped := s.sent(5, Ordered)
	if _, err := s.svc.Cancel(t.Context(), stopped.ID, "不再需要", "clerk"); err != nil {
		t.Fatal(err)
	}
	readdressed := s.sent(6, Ordered)
	s.exec(`INSERT INTO readdressings (delivery_id, asked_at, asked_by, reason, address_sealed, province, city, county, old_waybill_no)
		VALUES ($1, $2, 'clerk', '', '', '', '', '', '')`, readdressed.ID, s.clock())
	numbers := []string{waybillNo(1), waybillNo(9), " " + strings.ToLower(waybillNo(2)), waybillNo(1), waybillNo(3), waybillNo(4), waybillNo(5), waybillNo(6), "", "坏\x00"}
	want := []HandOverOutcome{HandOverRecorded, HandOverUnknown, HandOverRecorded, HandOverAlready, HandOverRecorded, HandOverNotOrdered,
		HandOverStopped, HandOverStopped, HandOverUnknown, HandOverUnknown}
	for round := range 2 {
		results, err := s.svc.HandOverAll(t.Context(), numbers, time.Time{}, "clerk")
		if err != nil {
			t.Fatal(err)
		}
		var got []HandOverOutcome
		for i, r := range results {
			got = append(got, r.Outcome)
			if r.WaybillNo != numbers[i] || (r.DeliveryID == uuid.Nil) != (r.Outcome == HandOverUnknown) {
				t.Errorf("result %d: %+v", i, r)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("round %d:\n%s", round, diff)
		}
		for i, o := range want {
			if o == HandOverRecorded {
				want[i] = HandOverAlready
			}
		}
	}
	if n := value[int](s, `SELECT count(*) FROM events WHERE type = 'handover.recorded'`); n != 3 {
		t.Errorf("%d hand-overs told, want 3", n)
	}
	if n := value[int](s, `SELECT count(*) FROM audit WHERE action = 'handover'`); n != 3 {
		t.Errorf("%d hand-overs audited, want 3", n)
	}
	for n, want := range map[int]string{0: "waybill_nos required", 501: "waybill_nos too_many"} {
		if _, err := s.svc.HandOverAll(t.Context(), make([]string, n), time.Time{}, "clerk"); conflictCode(err) != want {
			t.Errorf("%d numbers: %v, want %s", n, err, want)
		}
	}
	s.checkLog()
}

func TestI6_AnEnvelopeAtTheCounterIsReturnedWhateverTheScansSay(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	for i, status := range []Status{Accepted, InTransit, OutForDelivery, AttemptFailed, Held, Delivered, Returning, Lost, Returned} {
		d := s.sent(i, status)
		for _, k := range []CaseKind{CaseStalled, CaseHeld, CaseLost, CaseNotReceived, CaseDeliveredElsewhere, CaseReturned} {
			s.openCase(d.ID, k)
		}
		v, err := s.svc.ReceiveReturn(t.Context(), strings.ToLower(d.WaybillNo), " Ａ-12 ", "clerk")
		if err != nil {
			t.Errorf("%s: %v", status, err)
			continue
		}
		if v.Status != Returned || v.Return == nil || v.Return.Shelf != "A-12" || day(v.Return.RetainUntil) != "2026-12-24" || !v.NextPollAt.IsZero() {
			t.Errorf("%s: status %s, return %+v, next poll %s", status, v.Status, v.Return, v.NextPollAt)
		}
		if got, want := s.cases(d.ID), "delivered_elsewhere=received held=received lost=received not_received=received returned stalled=received"; got != want {
			t.Errorf("%s: cases %s, want %s", status, got, want)
		}
		c := v.Cases[slices.IndexFunc(v.Cases, func(c Case) bool { return c.Kind == CaseReturned })]
		if !strings.Contains(c.NextAction, "架位 A-12，保管至 2026-12-24") || day(c.DueAt.In(beijing)) != "2026-12-24" || c.Detail != "邮政代码 711" {
			t.Errorf("%s: the case says %q, due %s, %q", status, c.NextAction, c.DueAt, c.Detail)
		}
		rule := value[string](s, `SELECT coalesce(max(data->>'rule'), '') FROM events WHERE delivery_id = $1 AND type = 'delivery.returned'`, d.ID)
		if status != Returned && rule != RuleReceived {
			t.Errorf("%s: moved by rule %q", status, rule)
		}
		if events := s.events(d.ID); strings.Count(events, "return.received") != 1 {
			t.Errorf("%s: events %s", status, events)
		}
	}
	s.checkLog()
}

func TestAnEnvelopeThatCannotBeThereIsNotReceived(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	handedOver := s.sent(6, Ordered)
	if _, err := s.svc.HandOver(t.Context(), handedOver.ID, time.Time{}, "", "clerk"); err != nil {
		t.Fatal(err)
	}
	s.sent(1, Ordered)
	s.sent(2, Ordering)
	s.sent(3, Cancelled)
	s.onShelf(4)
	picked := s.onShelf(5)
	if _, err := s.svc.PickUp(t.Context(), picked.ID, PickUp{Who: "holder", IDDocument: "resident_id"}, "clerk"); err != nil {
		t.Fatal(err)
	}
	s.move(picked.ID, Returned, Returning) // EMS has taken its scan back; the permit is in its holder's hands
	s.exec(`INSERT INTO numbers (waybill_no, product, state, reserved_at) VALUES ('EM777CN', '1', 'void', $1)`, s.clock())
	s.exec(`INSERT INTO unwanted_waybills (waybill_no, delivery_id, order_no, found_at) VALUES ('EM888CN', $1, 'O', $2)`, picked.ID, s.clock())
	for _, tt := range []struct{ no, shelf, want string }{
		{waybillNo(1), "A-1", "not_handed_over"},
		{waybillNo(2), "A-1", "not_ordered"},
		{waybillNo(3), "A-1", "cancelled_delivery"},
		{waybillNo(4), "A-12", ""}, // the same again
		{waybillNo(4), "B-1", "on_another_shelf"},
		{waybillNo(5), "A-12", "permit_picked_up"},
		{waybillNo(6), "A-1", ""}, // EMS's courier brought it back before any scan
		{waybillNo(99), "A-1", "not_found"},
		{"EM777CN", "A-1", "waybill_void"},
		{"EM888CN", "A-1", "waybill_void"},
		{"", "A-1", "waybill_no required"},
		{"坏\x00' OR 1=1", "A-1", "not_found"},
		{waybillNo(4), " ", "shelf required"},
		{waybillNo(4), strings.Repeat("长", 21), "shelf format"},
		{waybillNo(4), "A\x00", "shelf format"},
		{waybillNo(4), "张三丰", "shelf personal"},
		{waybillNo(4), "13800000001", "shelf personal"},
	} {
		before := value[int](s, `SELECT count(*) FROM events`)
		_, err := s.svc.ReceiveReturn(t.Context(), tt.no, tt.shelf, "clerk")
		if conflictCode(err) != tt.want {
			t.Errorf("%q on %q: %v, want %q", tt.no, tt.shelf, err, tt.want)
		}
		if after := value[int](s, `SELECT count(*) FROM events`); tt.want != "" && after != before {
			t.Errorf("%q on %q: %d events of a refusal", tt.no, tt.shelf, after-before)
		}
	}
	s.checkLog()
}

func TestAReturnIsReceivedOnceHoweverOftenItIsScanned(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{RetainDays: 10})
	d := s.sent(1, Returning)
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if _, err := s.svc.ReceiveReturn(t.Context(), d.WaybillNo, "A-12", "clerk"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	s.pass(26 * time.Hour)
	v, err := s.svc.ReceiveReturn(t.Context(), d.WaybillNo, "A-12", "another clerk")
	if err != nil || v.Return.ReceivedBy != "clerk" || day(v.Return.RetainUntil) != "2026-12-04" {
		t.Errorf("received again: %+v, %v", v.Return, err)
	}
	if got, want := s.events(d.ID)+" ", "delivery.returned return.received case.opened "; !strings.HasSuffix(got, want) {
		t.Errorf("events %s, want %s at the end", got, want)
	}
	if v, err = s.svc.MoveReturn(t.Context(), d.ID, "B 3", "clerk"); err != nil || v.Return.Shelf != "B 3" || v.Return.ReceivedBy != "clerk" {
		t.Errorf("moved: %+v, %v", v.Return, err)
	}
	if !strings.Contains(v.Cases[0].NextAction, "架位 B 3") {
		t.Errorf("the case says %q", v.Cases[0].NextAction)
	}
	seq := v.Seq
	if v, err = s.svc.MoveReturn(t.Context(), d.ID, "B 3", "clerk"); err != nil || v.Seq != seq {
		t.Errorf("moved again: seq %d, want %d, %v", v.Seq, seq, err)
	}
	other := s.sent(2, Returned)
	if _, err := s.svc.MoveReturn(t.Context(), other.ID, "B 3", "clerk"); conflictCode(err) != "not_received_at_station" {
		t.Errorf("moving what was not received: %v", err)
	}
	s.checkLog()
}

func TestReturnsAreListedByTheirLastDay(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	var want []uuid.UUID
	for n := range 5 {
		want = append(want, s.onShelf(n).ID)
		if n%2 == 1 {
			s.pass(24 * time.Hour)
		}
	}
	if _, err := s.svc.PickUp(t.Context(), want[1], PickUp{Who: "holder", IDDocument: "passport"}, "clerk"); err != nil {
		t.Fatal(err)
	}
	for _, onShelf := range []bool{true, false} {
		var got []uuid.UUID
		f := ReturnFilter{OnShelf: onShelf, Limit: 2}
		for pages := 0; ; pages++ {
			p, err := s.svc.Returns(t.Context(), f)
			if err != nil || pages > 3 {
				t.Fatal(pages, err)
			}
			for _, r := range p.Returns {
				got = append(got, r.DeliveryID)
				if r.WaybillNo == "" || r.PermitNo == "" || r.StationCode != "110105001" || r.OnShelf() != (r.DeliveryID != want[1]) {
					t.Errorf("listed %+v", r)
				}
			}
			if f.Cursor = p.Next; f.Cursor == "" {
				break
			}
		}
		expected := want
		if onShelf {
			expected = slices.Delete(slices.Clone(want), 1, 2)
		}
		if diff := cmp.Diff(expected, got); diff != "" {
			t.Errorf("on shelf %t:\n%s", onShelf, diff)
		}
	}
	if _, err := s.svc.Returns(t.Context(), ReturnFilter{Cursor: "x"}); conflictCode(err) != "cursor format" {
		t.Errorf("a cursor of somebody else: %v", err)
	}
}

func TestAPermitHandedOutAtTheCounterIsDone(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	d := s.onShelf(1)
	take := PickUp{Who: "agent", IDDocument: "resident_id", AgentName: vault.Conceal("李代领"), Reason: "李代领替张三丰来取"}
	v, err := s.svc.PickUp(t.Context(), d.ID, take, "clerk Wang")
	if err != nil {
		t.Fatal(err)
	}
	if r := v.Return; v.Status != Returned || r.PickedUpBy != "clerk Wang" || r.PickedUpWho != "agent" || r.IDDocument != "resident_id" ||
		r.AgentName.Reveal() != "李代领" || !r.PickedUpAt.Equal(s.clock()) || r.OnShelf() {
		t.Errorf("picked up: %s, %+v", v.Status, r)
	}
	if got := s.cases(d.ID); got != "returned=picked_up" {
		t.Errorf("cases %s", got)
	}
	if again, err := s.svc.PickUp(t.Context(), d.ID, take, "clerk"); err != nil || again.Seq != v.Seq || again.Return.PickedUpBy != "clerk Wang" {
		t.Errorf("the same again: %+v, %v", again.Return, err)
	}
	other := with(permit(1), func(a *Application) { a.Consent.NoticeVersion = "2" })
	newIssue := with(permit(1), func(a *Application) { a.ApplicationNo = "SQ2031-1" })
	preview, err := s.svc.Preview(t.Context(), []Intake{{Application: other}}, "")
	if err != nil || preview[0].Outcome != PickedUp {
		t.Errorf("previewed as %s, %v", preview[0].Outcome, err)
	}
	for _, step := range []struct {
		app  Application
		want Outcome
	}{{permit(1), Existing}, {other, PickedUp}, {newIssue, Created}} {
		if r := s.accept(step.app)[0]; r.Outcome != step.want {
			t.Errorf("taken in again as %s, want %s", r.Outcome, step.want)
		}
	}
	for what, err := range map[string]error{
		"holder": second(s.svc.PickUp(t.Context(), d.ID, PickUp{Who: "holder", IDDocument: "resident_id"}, "clerk")),
		"shelf":  second(s.svc.MoveReturn(t.Context(), d.ID, "B-1", "clerk")),
		"again":  second(s.svc.Redispatch(t.Context(), d.ID, s.consent(), "重寄", "clerk")),
	} {
		if conflictCode(err) != "permit_picked_up" {
			t.Errorf("%s after the pick-up: %v", what, err)
		}
	}
	for _, secret := range []string{"李代领", "张三丰"} {
		for table, n := range map[string]int{
			"events":  value[int](s, `SELECT count(*) FROM events WHERE data::text LIKE '%' || $1 || '%'`, secret),
			"audit":   value[int](s, `SELECT count(*) FROM audit WHERE detail::text LIKE '%' || $1 || '%'`, secret),
			"returns": value[int](s, `SELECT count(*) FROM returns r WHERE r::text LIKE '%' || $1 || '%' OR agent_name_sealed LIKE convert_to('%' || $1 || '%', 'UTF8')`, secret),
			"cases":   value[int](s, `SELECT count(*) FROM cases c WHERE c::text LIKE '%' || $1 || '%'`, secret),
		} {
			if n != 0 {
				t.Errorf("I-9: %s shows a name", table)
			}
		}
	}
	if got := value[string](s, `SELECT (detail->>'who') || ' ' || (detail->>'id_document') || ' ' || actor FROM audit WHERE action = 'return.pick_up'`); got != "agent resident_id clerk Wang" {
		t.Errorf("audited as %s", got)
	}
	if report, err := audit.Verify(t.Context(), s.db); err != nil || report.Fault != "" {
		t.Errorf("audit chain: %+v, %v", report, err)
	}
	s.checkLog()
}

func second[T any](_ T, err error) error { return err }

func TestAPickUpNeedsAnEnvelopeAndADocument(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	d, onTheWay, notScanned := s.onShelf(1), s.sent(2, InTransit), s.sent(3, Returned)
	good := PickUp{Who: "holder", IDDocument: "household_book"}
	for _, tt := range []struct {
		id   uuid.UUID
		p    PickUp
		want string
	}{
		{d.ID, PickUp{IDDocument: "resident_id"}, "who required"},
		{d.ID, PickUp{Who: "neighbour", IDDocument: "resident_id"}, "who unknown_value"},
		{d.ID, PickUp{Who: "holder"}, "id_document required"},
		{d.ID, PickUp{Who: "holder", IDDocument: "bus_pass"}, "id_document unknown_value"},
		{d.ID, PickUp{Who: "agent", IDDocument: "resident_id"}, "agent_name required"},
		{d.ID, PickUp{Who: "agent", IDDocument: "resident_id", AgentName: vault.Conceal("12345")}, "agent_name character"},
		{d.ID, PickUp{Who: "holder", IDDocument: "resident_id", AgentName: vault.Conceal("李代领")}, "agent_name unexpected"},
		{d.ID, PickUp{Who: "holder", IDDocument: "resident_id", At: s.clock().Add(time.Hour)}, "at future"},
		{d.ID, PickUp{Who: "holder", IDDocument: "resident_id", At: s.clock().Add(-5 * time.Hour)}, "at before_return"},
		{onTheWay.ID, good, "not_returned"},
		{notScanned.ID, good, "not_received_at_station"},
		{uuid.Must(uuid.NewV7()), good, "not_found"},
		{d.ID, good, ""},
	} {
		if _, err := s.svc.PickUp(t.Context(), tt.id, tt.p, "clerk"); conflictCode(err) != tt.want {
			t.Errorf("%s by %s: %v, want %q", tt.p.IDDocument, tt.p.Who, err, tt.want)
		}
	}
}

func TestAReturnIsKeptToItsLastDay(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{RetainDays: 2})
	d, lost := s.onShelf(1), s.sent(2, InTransit)
	s.openCase(lost.ID, CaseStalled)
	if _, err := s.svc.DeclareLost(t.Context(), lost.ID, "找不到", "clerk"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.svc.ReceiveReturn(t.Context(), lost.WaybillNo, "A-13", "clerk"); err != nil {
		t.Fatal(err)
	}
	s.openCase(d.ID, CaseStalled) // the clock of the shelf
	for _, step := range []struct {
		wait time.Duration
		id   uuid.UUID
		how  string
		want string
	}{
		{0, d.ID, "kept", "how unknown_value"},
		{0, d.ID, Destroyed, "permit_not_void"},
		{0, d.ID, SentBack, "still_kept"},
		{48 * time.Hour, d.ID, SentBack, "still_kept"}, // the last day itself
		{13 * time.Hour, d.ID, SentBack, ""},           // midnight is past
		{0, d.ID, SentBack, ""},                        // the same again
		{0, d.ID, Destroyed, "return_disposed"},
		{0, lost.ID, Destroyed, ""},
		{0, s.sent(3, Returned).ID, SentBack, "not_received_at_station"},
	} {
		s.pass(step.wait)
		if _, err := s.svc.Dispose(t.Context(), step.id, step.how, "保管期满", "clerk"); conflictCode(err) != step.want {
			t.Errorf("%s: %v, want %q", step.how, err, step.want)
		}
	}
	for id, how := range map[uuid.UUID]string{d.ID: SentBack, lost.ID: Destroyed} {
		if v := s.get(id); v.Return.Disposal != how || v.Return.DisposedBy != "clerk" || v.Return.OnShelf() || s.last(id, CaseReturned).Outcome != how ||
			s.last(id, CaseStalled).ClosedAt.IsZero() {
			t.Errorf("%s: %+v, cases %s", how, v.Return, s.cases(id))
		}
		for what, err := range map[string]error{
			"picked up":  second(s.svc.PickUp(t.Context(), id, PickUp{Who: "holder", IDDocument: "resident_id", PermitValid: true}, "clerk")),
			"sent again": second(s.svc.Redispatch(t.Context(), id, Redispatch{PermitValid: true}, "重寄", "clerk")),
		} {
			if conflictCode(err) != "return_disposed" {
				t.Errorf("%s after %s: %v", what, how, err)
			}
		}
	}
	if n := value[int](s, `SELECT count(*) FROM events WHERE type = 'return.disposed'`); n != 2 {
		t.Errorf("%d disposals told, want 2", n)
	}
	// The issuing office may send it from there.
	again := s.created(with(permit(1), func(a *Application) { a.Consent.NoticeVersion = "2" }))
	if again.Supersedes != d.ID || s.get(d.ID).Return.RedispatchedAs != uuid.Nil {
		t.Errorf("sent anew as %+v", again)
	}
	s.checkLog()
}
