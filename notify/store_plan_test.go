package notify

import (
	"sync"
	"testing"
	"time"

	"emsd/courier"
)

func TestPlannerWritesOneMessagePerMilestone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.delivery()
	w.move(id, courier.Accepted, courier.EventData{WaybillNo: "12"})
	w.move(id, courier.InTransit, courier.EventData{})
	w.move(id, courier.OutForDelivery, courier.EventData{})
	w.plan()
	w.plan()
	if n := w.count(`SELECT count(*) FROM messages`); n != 2 {
		t.Errorf("%d messages, want 2", n)
	}
	if behind := w.count(`SELECT (SELECT position FROM feed_head) - (SELECT position FROM feed_readers WHERE name = 'notify')`); behind != 0 {
		t.Errorf("the reader is %d behind", behind)
	}
	w.exec(`UPDATE feed_readers SET position = 0 WHERE name = 'notify'`) // as after a restore of that table alone
	w.plan()
	if n := w.count(`SELECT count(*) FROM messages WHERE state = 'queued'`); n != 2 {
		t.Errorf("%d messages after reading twice, want 2", n)
	}
	if n := w.count(`SELECT count(*) FROM messages WHERE vars::text ~ '139|诸葛'`); n != 0 {
		t.Errorf("%d messages hold personal data", n)
	}
}

func TestPlannersTakeTurns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 50 {
		w.move(w.delivery(), courier.OutForDelivery, courier.EventData{})
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := NewPlanner(w.db, w.clock(), w.log, nil).Round(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := w.count(`SELECT count(*) FROM messages`); n != 50 {
		t.Errorf("%d messages, want 50", n)
	}
}

func TestLateAndWithdrawnNewsIsKeptButNotQueued(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	late := w.news(courier.OutForDelivery, courier.EventData{Late: true})
	back := w.news(courier.InTransit, courier.EventData{Withdrawn: true})
	w.wantMessage(late, OutForDelivery, state{suppressed, Late, 0})
	w.wantMessage(back, HandedOver, state{suppressed, Withdrawn, 0})
}

// A message that was never given to a gateway takes up later news of its kind; one that was keeps what it has.
func TestLaterNewsRenewsWhatWasNotSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := &fakeGateway{name: "a"}
	id := w.news(courier.OutForDelivery, courier.EventData{Late: true})
	w.move(id, courier.AttemptFailed, courier.EventData{})
	w.pass(20 * time.Hour)
	w.move(id, courier.OutForDelivery, courier.EventData{})
	w.plan()
	w.wantMessage(id, OutForDelivery, state{queued, Send, 0})
	s := w.sender(w.gateways(g), Options{})
	w.run(s)
	w.wantMessage(id, OutForDelivery, state{accepted, Send, 1})
	w.wantMessage(id, AttemptFailed, state{suppressed, Withdrawn, 0})

	w.move(id, courier.AttemptFailed, courier.EventData{})
	w.pass(24 * time.Hour)
	w.move(id, courier.OutForDelivery, courier.EventData{})
	w.plan()
	w.run(s)
	w.wantMessage(id, OutForDelivery, state{accepted, Send, 1})
	if n := g.once(t); n != 1 {
		t.Errorf("%d sent, want 1", n)
	}

	w.move(id, courier.Delivered, courier.EventData{Receiver: "self", Late: true}) // late news never spoils what waits
	w.plan()
	w.wantMessage(id, Delivered, state{suppressed, Late, 0})
}
