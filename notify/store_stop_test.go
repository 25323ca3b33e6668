package notify

import (
	"testing"
	"time"

	"emsd/courier"

	"github.com/google/uuid"
)

// A resident who answers "TD" gets nothing more, also of what was planned before: it is decided again at the moment of
// sending, whatever it waited for.
func TestAStopBetweenPlanningAndSendingIsHeeded(t *testing.T) {
	t.Parallel()
	lastDay := courier.EventData{HeldUntil: "2026-11-30"}
	tests := []struct {
		name  string
		start time.Time
		waits func(w *world, id uuid.UUID, g *fakeGateway) // what the message waits for when the reply comes
		tries int
	}{
		{"planned only", noon, func(*world, uuid.UUID, *fakeGateway) {}, 0},
		{"held overnight", at(0, 21, 30), func(w *world, id uuid.UUID, g *fakeGateway) {
			w.run(w.sender(w.gateways(g), Options{}))
			w.wantMessage(id, Held, state{queued, Hold, 0})
		}, 0},
		{"to be tried again", noon, func(w *world, id uuid.UUID, g *fakeGateway) {
			g.script = always(Transient, false)
			w.run(w.sender(w.gateways(g), Options{}))
			w.wantMessage(id, Held, state{queued, Send, 1})
			g.script = nil
		}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.set(tt.start)
			g := &fakeGateway{name: "a"}
			id := w.news(courier.Held, lastDay)
			other := w.news(courier.Held, lastDay)
			tt.waits(w, id, g)
			r := NewReplies(w.db, w.vault, w.gateways(&fakeGateway{name: "a"}), w.clock(), Options{}, w.log, nil)
			if err := r.Append(t.Context(), "a", []Reply{said(0, "TD")}); err != nil {
				t.Fatal(err)
			}
			w.run(r)
			w.pass(21 * time.Hour) // by day again, and after every wait
			w.run(w.sender(w.gateways(g), Options{}))
			w.wantMessage(id, Held, state{suppressed, OptedOut, tt.tries})
			w.wantMessage(other, Held, state{accepted, Send, tt.tries + 1})
			if n := g.once(t); n != 1 {
				t.Errorf("%d left, want the other number's alone", n)
			}
		})
	}
}

// What the night has made useless is not sent in the morning, and says why.
func TestWhatANightMadeUselessIsNotReleased(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := &fakeGateway{name: "a"}
	w.set(at(0, 22, 10))
	round := w.news(courier.OutForDelivery, courier.EventData{})
	over := w.news(courier.Held, courier.EventData{HeldUntil: "2026-11-23"})
	stays := w.news(courier.Held, courier.EventData{HeldUntil: "2026-11-24"})
	s := w.sender(w.gateways(g), Options{})
	w.run(s)
	for id, m := range map[uuid.UUID]Milestone{round: OutForDelivery, over: Held, stays: Held} {
		w.wantMessage(id, m, state{queued, Hold, 0})
	}
	w.set(at(1, 8, 0))
	w.run(s)
	w.wantMessage(round, OutForDelivery, state{suppressed, TooLate, 0})
	w.wantMessage(over, Held, state{suppressed, TooLate, 0})
	w.wantMessage(stays, Held, state{accepted, Send, 1})
	if n := w.count(`SELECT count(*) FROM messages WHERE verdict = 'too_late' AND reason LIKE '等待过久%'`); n != 2 {
		t.Errorf("%d say why, want 2", n)
	}
}
