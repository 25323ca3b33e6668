package notify

import (
	"testing"
	"time"

	"emsd/courier"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

func TestRetellings(t *testing.T) {
	t.Parallel()
	a := uuid.New()
	tests := []struct {
		name string
		typ  courier.EventType
		data courier.EventData
		want []retelling
	}{
		{"a case now", courier.EventScan, courier.EventData{Receiver: "door", Receipt: "case"}, []retelling{{about{a, Delivered}, 5, Vars{Receiver: "door", Receipt: "case"}, false}}},
		{"fine now", courier.EventScan, courier.EventData{Receiver: "self", Receipt: "fine"}, []retelling{{about{a, Delivered}, 5, Vars{Receiver: "self", Receipt: "fine"}, true}}},
		{"fine, too late", courier.EventScan, courier.EventData{Receiver: "self", Receipt: "fine", Late: true}, []retelling{{about{a, Delivered}, 5, Vars{Receiver: "self", Receipt: "fine"}, false}}},
		{"another day", courier.EventScan, courier.EventData{HeldUntil: "2026-12-01"}, []retelling{{about{a, Held}, 5, Vars{HeldUntil: "2026-12-01"}, false}}},
		{"refused", courier.EventScan, courier.EventData{Attempt: "refused"}, []retelling{{about{a, AttemptFailed}, 5, Vars{Attempt: "refused"}, false}}},
		{"not refused", courier.EventScan, courier.EventData{Attempt: "absent"}, []retelling{{about{a, AttemptFailed}, 5, Vars{Attempt: "absent"}, true}}},
		{"nothing of a message", courier.EventScan, courier.EventData{ScanCode: "300"}, nil},
		{"its own message", "delivery.delivered", courier.EventData{Receiver: "door", Receipt: "case"}, nil},
		{"a late move has none", "delivery.delivered", courier.EventData{Receiver: "door", Receipt: "case", Late: true}, []retelling{{about{a, Delivered}, 5, Vars{Receiver: "door", Receipt: "case"}, false}}},
		{"taken back", "delivery.in_transit", courier.EventData{Withdrawn: true}, []retelling{{about{a, ""}, 5, Vars{}, false}}},
		{"a case", courier.EventCaseOpened, courier.EventData{Receipt: "case"}, nil},
	}
	for _, tt := range tests {
		_, got, err := planAll([]courier.Event{event(t, a, 5, tt.typ, tt.data)})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(retelling{}, about{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// A "delivered" that waits for the morning is not sent once EMS says that somebody else has the envelope, and is when it
// says the holder again.
func TestAQueuedMessageIsWithdrawnWhenItsScanIsRetold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := &fakeGateway{name: "a"}
	s := w.sender(w.gateways(g), Options{})
	w.set(time.Date(2026, 11, 23, 22, 30, 0, 0, beijing))
	id := w.news(courier.Delivered, courier.EventData{Receiver: "self", Receipt: "fine"})
	other := w.news(courier.Delivered, courier.EventData{Receiver: "self", Receipt: "fine"})
	w.run(s)
	w.wantMessage(id, Delivered, state{queued, Hold, 0})

	w.scanned(id, courier.EventData{Receiver: "door", Receipt: "case"})
	w.run(s)
	w.wantMessage(id, Delivered, state{suppressed, NotInHand, 0})
	w.wantMessage(other, Delivered, state{queued, Hold, 0})

	w.scanned(id, courier.EventData{Receiver: "self", Receipt: "fine"})
	w.wantMessage(id, Delivered, state{queued, Send, 0})
	w.scanned(id, courier.EventData{Receiver: "door", Receipt: "case"})
	w.set(time.Date(2026, 11, 24, 8, 0, 0, 0, beijing))
	w.run(s)
	w.wantMessage(id, Delivered, state{suppressed, NotInHand, 0})
	w.wantMessage(other, Delivered, state{accepted, Send, 1})
	if n := g.once(t); n != 1 {
		t.Errorf("%d sent, want 1", n)
	}

	w.scanned(other, courier.EventData{Receiver: "door", Receipt: "case"}) // what has left stays what it was
	w.wantMessage(other, Delivered, state{accepted, Send, 1})
}

func TestAQueuedMessageIsWithdrawnWithItsScan(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.sender(w.gateways(&fakeGateway{name: "a"}), Options{})
	w.set(time.Date(2026, 11, 23, 22, 30, 0, 0, beijing))
	id := w.news(courier.Delivered, courier.EventData{Receiver: "self", Receipt: "fine"})
	w.run(s)
	w.exec(`UPDATE deliveries SET status = 'in_transit' WHERE id = $1`, id) // as the voiding scan does, by its named rule
	w.eventOf(id, "delivery.in_transit", courier.EventData{Withdrawn: true})
	w.plan()
	w.run(s)
	w.wantMessage(id, Delivered, state{suppressed, Withdrawn, 0})
}

// Who refused the envelope at the door is not told that the courier comes again.
func TestARefusalAtTheDoorIsNotToldAsAFailedAttempt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := &fakeGateway{name: "a"}
	s := w.sender(w.gateways(g), Options{})
	refused := w.news(courier.AttemptFailed, courier.EventData{Attempt: "refused"})
	absent := w.news(courier.AttemptFailed, courier.EventData{Attempt: "absent"})
	w.run(s)
	w.wantMessage(refused, AttemptFailed, state{suppressed, Declined, 0})
	w.wantMessage(absent, AttemptFailed, state{accepted, Send, 1})
	w.scanned(refused, courier.EventData{Attempt: "absent"})
	w.run(s)
	w.wantMessage(refused, AttemptFailed, state{accepted, Send, 1})
}

func TestAQueuedMessageTellsTheLastDayAsItStands(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := &fakeGateway{name: "a"}
	w.set(time.Date(2026, 11, 23, 22, 30, 0, 0, beijing))
	id := w.news(courier.Held, courier.EventData{HeldUntil: "2026-11-30"})
	w.scanned(id, courier.EventData{HeldUntil: "2026-11-27"})
	w.set(time.Date(2026, 11, 24, 8, 0, 0, 0, beijing))
	w.run(w.sender(w.gateways(g), Options{}))
	if n := g.once(t); n != 1 || g.ledger[0].Vars["day"] != "11月27日" {
		t.Errorf("%d sent, want 1 with 11月27日: %+v", n, g.ledger)
	}
}

// scanned appends the event of news that leave the status, and plans.
func (w *world) scanned(id uuid.UUID, data courier.EventData) {
	w.t.Helper()
	w.eventOf(id, courier.EventScan, data)
	w.plan()
}
