package notify

import (
	"encoding/json"
	"testing"
	"time"

	"emsd/courier"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

func event(t *testing.T, delivery uuid.UUID, position int64, typ courier.EventType, d courier.EventData) courier.Event {
	t.Helper()
	data, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return courier.Event{DeliveryID: delivery, Position: position, Type: typ, At: noon, Data: data}
}

func TestMilestoneOf(t *testing.T) {
	t.Parallel()
	want := map[courier.Status]Milestone{
		courier.AwaitingPayment: PaymentDue, courier.Accepted: HandedOver, courier.InTransit: HandedOver, courier.OutForDelivery: OutForDelivery,
		courier.AttemptFailed: AttemptFailed, courier.Held: Held, courier.Delivered: Delivered, courier.Returned: Returned, courier.Cancelled: Cancelled,
	}
	for _, s := range courier.Statuses {
		m, ok := milestoneOf(courier.Event{Type: courier.StatusEvent(s)})
		if m != want[s] || ok != (want[s] != "") {
			t.Errorf("delivery.%s = %q, %t; want %q", s, m, ok, want[s])
		}
	}
	for _, e := range []courier.EventType{courier.EventPayment, courier.EventCaseOpened, courier.EventScan, courier.EventRefunded, "delivery.", ""} {
		if m, ok := milestoneOf(courier.Event{Type: e}); ok {
			t.Errorf("%s = %s, want none", e, m)
		}
	}
}

func TestPlanAll(t *testing.T) {
	t.Parallel()
	a, b := uuid.New(), uuid.New()
	scan := noon.Add(-time.Hour)
	got, _, err := planAll([]courier.Event{
		event(t, a, 1, "delivery.accepted", courier.EventData{WaybillNo: "12", ScanAt: scan.Format(time.RFC3339)}),
		event(t, a, 2, "delivery.in_transit", courier.EventData{WaybillNo: "12", ScanAt: "nonsense"}),
		event(t, a, 3, "case.opened", courier.EventData{}),
		event(t, b, 4, "delivery.delivered", courier.EventData{Receiver: "self", Late: true}),
		event(t, b, 5, "delivery.out_for_delivery", courier.EventData{Withdrawn: true}),
		event(t, b, 6, "delivery.delivered", courier.EventData{Receiver: "door", Receipt: "case", ScanAt: noon.Add(time.Hour).Format(time.RFC3339)}),
		event(t, b, 7, "delivery.delivered", courier.EventData{Receiver: "self", Late: true}),
		event(t, b, 8, "delivery.held", courier.EventData{HeldUntil: "2026-11-30"}),
	})
	if err != nil {
		t.Fatal(err)
	}
	type short struct {
		Delivery  uuid.UUID
		Milestone Milestone
		Position  int64
		Action    Action
		EventAt   time.Time
		Vars      Vars
	}
	var plans []short
	for _, p := range got {
		plans = append(plans, short{p.delivery, p.message.Milestone, p.message.Position, p.verdict.Action, p.message.EventAt, p.message.Vars})
	}
	want := []short{
		{a, HandedOver, 2, Send, noon, Vars{WaybillNo: "12"}},
		{b, Delivered, 6, Send, noon, Vars{Receiver: "door", Receipt: "case"}}, // a scan from the future happened no later than its event
		{b, OutForDelivery, 5, Withdrawn, noon, Vars{}},
		{b, Held, 8, Send, noon, Vars{HeldUntil: "2026-11-30"}},
	}
	if diff := cmp.Diff(want, plans); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, _, err := planAll([]courier.Event{{Type: "delivery.held", Data: []byte(`{`), Position: 9}}); err == nil {
		t.Error("half an event is planned")
	}
}
