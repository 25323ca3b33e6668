package notify

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"emsd/courier"
	"emsd/courier/vault"

	"github.com/google/uuid"
	"github.com/lib/pq"
)

// newsTo makes a delivery to a number and plans the message of its hand-over.
func (w *world) newsTo(phone string, to courier.Status) uuid.UUID {
	w.t.Helper()
	id := w.deliveryWith(phone, "ordered")
	w.move(id, to, courier.EventData{})
	w.plan()
	return id
}

// A vagueFinder is a fakeFinder whose silence proves nothing: it may know a message by its number only.
type vagueFinder struct{ fakeFinder }

func (g *vagueFinder) Questions() Questions {
	q := g.fakeFinder.Questions()
	q.Proof = false
	return q
}

// TestI4_OneAttemptInDoubtPerNumber: two permits of one family have one number. While it is not known what became of the
// first text, the second of the same text waits; another text does not.
func TestI4_OneAttemptInDoubtPerNumber(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		vague bool
		ends  string
	}{{"asked by our id", false, "a absent"}, {"known by the number", true, "a abandoned"}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			a := &vagueFinder{fakeFinder{fakeGateway{name: "a", script: always(Unknown, false)}}}
			gateways := w.gateways(a)
			if !tt.vague {
				gateways = w.gateways(&a.fakeFinder)
			}
			first, second := w.newsTo(phoneOf(1), courier.InTransit), w.newsTo(phoneOf(1), courier.InTransit)
			other := w.newsTo(phoneOf(1), courier.OutForDelivery)
			s := w.sender(gateways, Options{})
			w.run(s)
			w.wantAttempts(first, "a unknown")
			w.wantAttempts(second)
			w.wantAttempts(other, "a unknown")
			w.wantMessage(second, HandedOver, state{queued, Hold, 0})
			w.pass(time.Minute)
			w.run(s)
			w.wantAttempts(second)
			a.script = nil
			for range 40 {
				w.pass(time.Minute)
				w.run(w.resolver(gateways, Options{}))
				w.run(s)
			}
			w.wantAttempts(first, tt.ends)
			w.wantAttempts(second, "a accepted")
		})
	}
}

// Where a report may name the number only, the database itself refuses a second attempt in doubt, whoever asks; and one that
// has been in doubt for a week still makes the next of its text wait.
func TestI4_ADoubtThatANumberAloneWouldSettleIsAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := &vagueFinder{fakeFinder{fakeGateway{name: "a", script: always(Unknown, false)}}}
	first := w.newsTo(phoneOf(1), courier.InTransit)
	s := w.sender(w.gateways(a), Options{})
	w.run(s)
	w.wantAttempts(first, "a unknown")
	w.exec(`UPDATE message_attempts SET sent_at = sent_at - interval '7 days'`)
	second := w.newsTo(phoneOf(1), courier.InTransit)
	w.run(s)
	w.wantAttempts(second)
	_, err := w.db.ExecContext(t.Context(), `
		INSERT INTO message_attempts (id, message_id, gateway, template, phone_lookup, state, sent_on, started_at)
		SELECT gen_random_uuid(), (SELECT id FROM messages WHERE delivery_id = $1), gateway, template, phone_lookup, 'sending', sent_on, started_at
		FROM message_attempts WHERE state = 'unknown' AND template LIKE 'handed_over/%'`, second)
	var refused *pq.Error
	if !errors.As(err, &refused) || refused.Constraint != "i4_one_attempt_in_doubt" {
		t.Errorf("a second attempt in doubt: %v", err)
	}
}

// TestI5_ResendIfAbsent: only what the gateway has proved that it never took, and only where the operator said so.
func TestI5_ResendIfAbsent(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		taken  bool
		resend map[Milestone]bool
		want   []string
	}{
		{"never taken, not wanted", false, nil, []string{"a absent"}},
		{"never taken, wanted for another milestone", false, map[Milestone]bool{Held: true}, []string{"a absent"}},
		{"never taken, wanted", false, map[Milestone]bool{HandedOver: true}, []string{"a absent", "a accepted"}},
		{"taken, wanted", true, map[Milestone]bool{HandedOver: true}, []string{"a accepted"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			a := &fakeFinder{fakeGateway{name: "a", script: always(Unknown, tt.taken)}}
			gateways := w.gateways(a)
			id := w.news(courier.InTransit, courier.EventData{})
			opts := Options{ResendIfAbsent: tt.resend}
			w.run(w.sender(gateways, opts))
			a.script = nil
			for range 40 {
				w.pass(time.Minute)
				w.run(w.resolver(gateways, opts))
				w.run(w.sender(gateways, opts))
			}
			w.wantAttempts(id, tt.want...)
			a.once(t)
		})
	}
}

// A report that does not know our id is joined by the gateway's own; after a lost answer it is about the only attempt in
// doubt to that number at that time. Of two it could be about, it is about neither.
func TestReportsWithoutOurID(t *testing.T) {
	t.Parallel()
	report := func(phone, id string, at time.Time) Receipt {
		return Receipt{Phone: vault.Conceal(phone), ProviderID: id, Success: true, Code: "DELIVRD", SubmittedAt: at}
	}
	t.Run("by the gateway's id", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		g := w.gateways(&fakeGateway{name: "a"})
		id := w.newsTo(phoneOf(1), courier.InTransit)
		w.run(w.sender(g, Options{}))
		attempt := w.attemptID(id)
		w.received(g, report(phoneOf(1), "unfamiliar", w.clock().Now()))
		w.wantAttempts(id, "a accepted")
		w.received(g, report(phoneOf(1), "p-"+attempt.String(), w.clock().Now()))
		w.wantAttempts(id, "a delivered")
		if n := w.count(`SELECT count(*) FROM message_receipts WHERE attempt_id = $1`, attempt); n != 1 {
			t.Errorf("%d receipts joined, want 1", n)
		}
	})
	lost := func(t *testing.T, change func(w *world), r func(w *world) Receipt, want string) {
		t.Helper()
		w := newWorld(t)
		g := w.gateways(&fakeGateway{name: "a", script: always(Unknown, true)})
		id := w.newsTo(phoneOf(1), courier.InTransit)
		if change != nil {
			change(w)
		}
		w.run(w.sender(g, Options{}))
		one := r(w)
		w.pass(time.Minute)
		w.received(g, one)
		w.received(g, one)
		w.wantAttempts(id, want)
	}
	t.Run("after a lost answer", func(t *testing.T) {
		t.Parallel()
		lost(t, nil, func(w *world) Receipt { return report(phoneOf(1), "g1", w.clock().Now()) }, "a delivered")
	})
	t.Run("without a time", func(t *testing.T) {
		t.Parallel()
		lost(t, nil, func(*world) Receipt { return report(phoneOf(1), "g1", time.Time{}) }, "a delivered")
	})
	t.Run("of another number", func(t *testing.T) {
		t.Parallel()
		lost(t, nil, func(w *world) Receipt { return report(phoneOf(2), "g1", w.clock().Now()) }, "a unknown")
	})
	t.Run("submitted before", func(t *testing.T) {
		t.Parallel()
		lost(t, nil, func(w *world) Receipt { return report(phoneOf(1), "g1", w.clock().Now().Add(-10*time.Minute)) }, "a unknown")
	})
	t.Run("submitted long after", func(t *testing.T) {
		t.Parallel()
		lost(t, nil, func(w *world) Receipt { return report(phoneOf(1), "g1", w.clock().Now().Add(time.Hour)) }, "a unknown")
	})
	t.Run("of two in doubt", func(t *testing.T) {
		t.Parallel()
		lost(t, func(w *world) { w.newsTo(phoneOf(1), courier.OutForDelivery) }, func(w *world) Receipt { return report(phoneOf(1), "g1", w.clock().Now()) }, "a unknown")
	})
	t.Run("from another gateway", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		g := w.gateways(&fakeGateway{name: "a", script: always(Unknown, true)}, &fakeGateway{name: "b"})
		id := w.newsTo(phoneOf(1), courier.InTransit)
		w.run(w.sender(g, Options{}))
		w.receivedFrom("b", g, report(phoneOf(1), "g1", w.clock().Now()))
		w.wantAttempts(id, "a unknown")
	})
}

// An attempt of which no number is known is never taken to be alone: nothing is found by elimination then.
func TestQuestionKnowsOtherAttemptsToTheNumber(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := &askedGateway{fakeFinder: fakeFinder{fakeGateway{name: "a"}}, queries: map[uuid.UUID]Query{}}
	gateways := w.gateways(a)
	before := w.newsTo(phoneOf(1), courier.OutForDelivery)
	w.run(w.sender(gateways, Options{}))
	known := "p-" + w.attemptID(before).String()
	a.script = always(Unknown, false)
	alone, nameless := w.newsTo(phoneOf(1), courier.InTransit), w.newsTo(phoneOf(2), courier.InTransit)
	one, two := w.newsTo(phoneOf(3), courier.InTransit), w.newsTo(phoneOf(3), courier.OutForDelivery)
	w.run(w.sender(gateways, Options{}))
	w.exec(`UPDATE message_attempts SET phone_lookup = NULL WHERE id = $1`, w.attemptID(nameless))
	w.pass(20 * time.Second)
	w.run(w.resolver(gateways, Options{}))
	for what, tt := range map[string]struct {
		delivery uuid.UUID
		alone    bool
		known    int
	}{"alone": {alone, true, 1}, "without a number": {nameless, false, 0}, "one of two": {one, false, 0}, "two of two": {two, false, 0}} {
		q, asked := a.queries[w.attemptID(tt.delivery)]
		if !asked || q.Alone != tt.alone || len(q.Known) != tt.known || tt.known == 1 && q.Known[0] != known || !q.Since.Equal(noon) {
			t.Errorf("%s: asked %t, %+v; want alone %t and %d known", what, asked, q, tt.alone, tt.known)
		}
	}
}

// An askedGateway keeps the questions that were put to it.
type askedGateway struct {
	fakeFinder
	queries map[uuid.UUID]Query
	guard   sync.Mutex
}

func (g *askedGateway) Find(ctx context.Context, q Query) (Found, error) {
	g.guard.Lock()
	g.queries[q.AttemptID] = q
	g.guard.Unlock()
	return g.fakeFinder.Find(ctx, q)
}
