package notify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"emsd/courier"
	"emsd/courier/vault"

	"github.com/google/uuid"
	"github.com/lib/pq"
	"github.com/prometheus/client_golang/prometheus"
)

func TestSendRound(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := &fakeGateway{name: "a"}
	due := w.deliveryWith(phoneOf(900), courier.AwaitingPayment)
	w.exec(`INSERT INTO events (delivery_id, seq, type, at, data) VALUES ($1, 1, 'delivery.awaiting_payment', $2, '{"fee_fen":2000}')`, due, noon)
	w.publish()
	held := w.news(courier.Held, courier.EventData{HeldUntil: "2026-11-30"})
	door := w.news(courier.Delivered, courier.EventData{Receiver: "door"})
	w.pass(20 * time.Minute)
	w.run(w.sender(w.gateways(g), Options{Signatures: map[string]string{"a": "签名"}}))

	w.wantMessage(due, PaymentDue, state{accepted, Send, 1})
	w.wantMessage(held, Held, state{accepted, Send, 1})
	w.wantMessage(door, Delivered, state{suppressed, NotInHand, 0})
	w.wantAttempts(held, "a accepted")
	w.wantAttempts(door)
	if n := g.once(t); n != 2 {
		t.Fatalf("%d sent, want 2", n)
	}
	for _, s := range g.ledger {
		want := map[Milestone]string{PaymentDue: "20", Held: "11月30日"}[s.Milestone]
		if got := s.Vars["fee"] + s.Vars["day"]; got != want || s.Vars["name"] != "诸**" || s.Segments != 1 {
			t.Errorf("%s: vars %v in %d segments", s.Milestone, s.Vars, s.Segments)
		}
	}
	n := w.count(`SELECT count(*) FROM message_attempts WHERE provider_id = 'p-' || id AND sent_on = '20261123' AND finished_at IS NOT NULL AND template = 'held/1'`)
	if n != 1 {
		t.Errorf("%d attempts with all their columns, want 1", n)
	}
	w.run(w.sender(w.gateways(g), Options{}))
	if n := g.once(t); n != 2 {
		t.Errorf("%d sent after a second round, want 2", n)
	}
}

func TestQuietHoursHoldAndDecideAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := &fakeGateway{name: "a"}
	w.set(at(0, 21, 30))
	stays := w.news(courier.Held, courier.EventData{HeldUntil: "2026-11-30"})
	moves := w.news(courier.InTransit, courier.EventData{})
	door := w.news(courier.OutForDelivery, courier.EventData{})
	s := w.sender(w.gateways(g), Options{})
	w.run(s)
	w.wantMessage(stays, Held, state{queued, Hold, 0})
	w.wantMessage(moves, HandedOver, state{queued, Hold, 0})
	w.wantMessage(door, OutForDelivery, state{accepted, Send, 1})
	if n := w.count(`SELECT count(*) FROM messages WHERE not_before = $1 AND reason LIKE '%11月24日08:00%'`, at(1, 8, 0)); n != 2 {
		t.Errorf("%d wait until 8, want 2", n)
	}
	w.set(at(1, 7, 59))
	w.run(s)
	if n := g.once(t); n != 1 {
		t.Errorf("%d sent before 8, want 1", n)
	}
	w.move(moves, courier.OutForDelivery, courier.EventData{})
	w.set(at(1, 8, 0))
	w.run(s)
	w.wantMessage(stays, Held, state{accepted, Send, 1})
	w.wantMessage(moves, HandedOver, state{suppressed, Merge, 0})
}

// TestI4_IntentIsCommittedBeforeTheRequest looks from another connection while the gateway is at work.
func TestI4_IntentIsCommittedBeforeTheRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.news(courier.OutForDelivery, courier.EventData{})
	var seen string
	g := &fakeGateway{name: "a", script: func(s SMS) (bool, error) {
		seen = ""
		return true, w.db.GetContext(context.Background(), &seen, `
			SELECT a.state || ' ' || m.state FROM message_attempts a JOIN messages m ON m.id = a.message_id WHERE a.id = $1`, s.AttemptID)
	}}
	w.run(w.sender(w.gateways(g), Options{}))
	if seen != "sending sending" {
		t.Errorf("the gateway was called while attempt and message were %q", seen)
	}
	w.wantMessage(id, OutForDelivery, state{accepted, Send, 1})
}

func TestI5_TwoSendersOnOneDatabase(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const n = 120
	for range n {
		id := w.delivery()
		w.move(id, courier.OutForDelivery, courier.EventData{})
	}
	w.plan()
	g := &fakeFinder{fakeGateway{name: "a"}}
	gateways := w.gateways(g)
	var wg sync.WaitGroup
	for range 3 {
		s := NewSender(w.db, w.vault, gateways, w.clock(), Options{Chunk: 7, Lanes: 3}, w.log, nil)
		wg.Go(func() {
			for range 3 {
				if err := s.Round(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if sent := g.once(t); sent != n {
		t.Errorf("%d sent, want %d", sent, n)
	}
	if left := w.count(`SELECT count(*) FROM messages WHERE state <> 'accepted'`); left != 0 {
		t.Errorf("%d messages are not accepted", left)
	}
}

type crash struct{}

// crashAt runs a round that is killed at a point. A panic leaves open transactions to be rolled back, as a killed
// process does.
func crashAt(t *testing.T, r round) (crashed bool) {
	t.Helper()
	defer func() {
		if p := recover(); p != nil {
			if _, ok := p.(crash); !ok {
				panic(p)
			}
			crashed = true
		}
	}()
	if err := r.Round(t.Context()); err != nil && !errors.Is(err, ErrStopped) {
		t.Fatal(err)
	}
	return false
}

// TestI5_CrashAtEveryPoint: a sender and a resolver are killed at each point, and others take over.
func TestI5_CrashAtEveryPoint(t *testing.T) {
	t.Parallel()
	for _, point := range SendPoints {
		for _, lost := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/lost=%t", point, lost), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				const n = 5
				for range n {
					id := w.delivery()
					w.move(id, courier.Held, courier.EventData{HeldUntil: "2026-12-10"})
				}
				w.plan()
				g := &fakeFinder{fakeGateway{name: "a"}}
				if lost {
					g.script = always(Unknown, true)
				}
				gateways := w.gateways(g)
				crashed := false
				opts := Options{Hook: func(p string) {
					if p == point && !crashed {
						crashed = true
						panic(crash{})
					}
				}}
				crashAt(t, w.sender(gateways, opts))
				w.pass(3 * time.Minute) // beyond the lease
				crashAt(t, w.resolver(gateways, opts))
				for range 4 { // whoever comes after
					w.pass(3 * time.Minute)
					w.run(w.sender(gateways, Options{}))
					w.run(w.resolver(gateways, Options{}))
				}
				w.pass(time.Hour)
				w.run(w.resolver(gateways, Options{}))
				if !strings.HasPrefix(point, "resolve.") && !crashed {
					t.Fatal("the point was never reached")
				}
				sent := g.once(t)
				if left := w.count(`SELECT count(*) FROM messages WHERE state IN ('queued', 'sending', 'unknown')`); left != 0 {
					t.Errorf("%d messages are not settled", left)
				}
				acceptedNow := w.count(`SELECT count(*) FROM messages WHERE state = 'accepted'`)
				if acceptedNow != sent {
					t.Errorf("%d accepted, the ledger holds %d", acceptedNow, sent)
				}
				cases := w.count(`SELECT count(*) FROM cases WHERE kind = 'sms_failed'`)
				if sent+cases != n {
					t.Errorf("%d sent, %d cases, want %d together", sent, cases, n)
				}
				if point != PointSendIntentCommitted && sent != n {
					t.Errorf("%d sent, want %d", sent, n)
				}
			})
		}
	}
}

func TestLostReplyIsAskedAboutNeverRepeated(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := &fakeFinder{fakeGateway{name: "a", script: always(Unknown, true)}}
	gateways := w.gateways(g, &fakeGateway{name: "b"})
	id := w.news(courier.InTransit, courier.EventData{})
	s, r := w.sender(gateways, Options{}), w.resolver(gateways, Options{})
	w.run(s)
	w.wantMessage(id, HandedOver, state{unknown, Send, 1})
	w.pass(14 * time.Second)
	w.run(r)
	if g.asked != 0 {
		t.Errorf("asked %d times before 15 s", g.asked)
	}
	w.pass(time.Second)
	w.run(r)
	w.run(s)
	w.wantMessage(id, HandedOver, state{accepted, Send, 1})
	w.wantAttempts(id, "a accepted")
	g.once(t)
}

// TestAbsentIsNotResent: four questions, then a case for what the resident has to know.
func TestAbsentIsNotResent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := &fakeFinder{fakeGateway{name: "a", script: always(Unknown, false)}}
	gateways := w.gateways(g, &fakeGateway{name: "b"})
	must := w.news(courier.Held, courier.EventData{HeldUntil: "2026-12-10"})
	may := w.news(courier.InTransit, courier.EventData{})
	s, r := w.sender(gateways, Options{}), w.resolver(gateways, Options{})
	w.run(s)
	for _, step := range []struct {
		wait  time.Duration
		asked int
	}{{15 * time.Second, 2}, {45 * time.Second, 4}, {4 * time.Minute, 6}, {24 * time.Minute, 6}, {time.Minute, 8}} {
		w.pass(step.wait)
		w.run(r)
		w.run(s)
		if g.asked != step.asked {
			t.Errorf("asked %d times, want %d", g.asked, step.asked)
		}
	}
	w.wantMessage(must, Held, state{failed, Send, 1})
	w.wantMessage(may, HandedOver, state{failed, Send, 1})
	w.wantAttempts(must, "a absent")
	w.wantAttempts(may, "a absent")
	if w.openCases(must) != 1 || w.openCases(may) != 0 {
		t.Errorf("cases: %d and %d, want 1 and 0", w.openCases(must), w.openCases(may))
	}
}

// A gateway that cannot be asked, or does not answer, leaves a day for a receipt.
func TestUnknownWithoutAnswerWaitsADay(t *testing.T) {
	t.Parallel()
	for name, g := range map[string]Gateway{
		"mute":    &fakeGateway{name: "a", script: always(Unknown, true)},
		"failing": &fakeFinder{fakeGateway{name: "a", script: always(Unknown, true), err: errors.New("139000 down")}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			gateways := w.gateways(g)
			id := w.news(courier.Returned, courier.EventData{})
			w.run(w.sender(gateways, Options{}))
			r := w.resolver(gateways, Options{})
			for range 12 {
				w.pass(2*time.Hour - time.Second)
				w.run(r)
				w.wantMessage(id, Returned, state{unknown, Send, 1})
			}
			w.pass(5 * time.Minute)
			w.run(r)
			w.wantMessage(id, Returned, state{failed, Send, 1})
			if w.openCases(id) != 1 {
				t.Error("no case")
			}
		})
	}
}

func TestResolvedOutcomes(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		found Found
		state string
		cases int
	}{
		"arrived": {Found{Outcome: Arrived}, delivered, 0},
		"failed":  {Found{Outcome: NotArrived, Code: "X", Class: Recipient}, failed, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			g := &fakeFinder{fakeGateway{name: "a", script: always(Unknown, true), found: map[uuid.UUID]Found{}}}
			gateways := w.gateways(g)
			id := w.news(courier.InTransit, courier.EventData{})
			w.run(w.sender(gateways, Options{}))
			g.found[w.attemptID(id)] = tt.found
			w.pass(time.Minute)
			w.run(w.resolver(gateways, Options{}))
			w.wantMessage(id, HandedOver, state{tt.state, Send, 1})
			w.wantAttempts(id, "a "+tt.state)
			if w.openCases(id) != tt.cases {
				t.Errorf("%d cases, want %d", w.openCases(id), tt.cases)
			}
		})
	}
}

func TestEachClassOfFailure(t *testing.T) {
	t.Parallel()
	tests := []struct {
		class   Class
		message string
		attempt string
		cases   int
	}{
		{Transient, queued, "a rejected", 0},
		{Throttle, queued, "a rejected", 0},
		{Permanent, failed, "a rejected", 1},
		{Recipient, failed, "a rejected", 1},
		{Configuration, queued, "a rejected", 0},
		{Unsent, queued, "a unsent", 0},
		{Unknown, unknown, "a unknown", 0},
	}
	for _, tt := range tests {
		t.Run(tt.class.String(), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			g := &fakeGateway{name: "a", script: always(tt.class, false)}
			id := w.news(courier.InTransit, courier.EventData{})
			w.run(w.sender(w.gateways(g), Options{}))
			w.wantMessage(id, HandedOver, state{tt.message, Send, 1})
			w.wantAttempts(id, tt.attempt)
			if w.openCases(id) != tt.cases {
				t.Errorf("%d cases, want %d", w.openCases(id), tt.cases)
			}
			if n := w.count(`SELECT count(*) FROM messages WHERE reason = ''`); n != 0 {
				t.Error("a message without a reason")
			}
			if tt.message == queued {
				if n := w.count(`SELECT count(*) FROM messages WHERE next_attempt_at > $1`, w.wall); n != 1 {
					t.Error("a queued message is due at once")
				}
			}
		})
	}
}

func TestTransientRefusalsEndWithACase(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := &fakeGateway{name: "a", script: always(Transient, false)}
	id := w.news(courier.InTransit, courier.EventData{})
	s := w.sender(w.gateways(g), Options{MaxTries: 3})
	for range 6 {
		w.run(s)
		w.pass(10 * time.Minute)
	}
	w.wantMessage(id, HandedOver, state{failed, Send, 3})
	if w.openCases(id) != 1 {
		t.Error("no case")
	}
}

func TestThrottleWaitsAsLongAsTheGatewaySays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	calls := 0
	g := &fakeGateway{name: "a", script: func(SMS) (bool, error) {
		if calls++; calls == 1 {
			return false, &SendError{Class: Throttle, Code: "x", RetryAfter: time.Hour}
		}
		return true, nil
	}}
	id := w.news(courier.InTransit, courier.EventData{})
	s := w.sender(w.gateways(g, &fakeGateway{name: "b"}), Options{})
	w.run(s)
	w.pass(59 * time.Minute)
	w.run(s)
	w.wantMessage(id, HandedOver, state{queued, Send, 1})
	w.pass(time.Minute)
	w.run(s)
	w.wantMessage(id, HandedOver, state{accepted, Send, 2})
	w.wantAttempts(id, "a rejected", "a accepted")
}

func TestFailover(t *testing.T) {
	t.Parallel()
	t.Run("a refused account takes the next gateway at once", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		a, b := &fakeGateway{name: "a", script: always(Configuration, false)}, &fakeGateway{name: "b"}
		first, second := w.news(courier.InTransit, courier.EventData{}), w.news(courier.Held, courier.EventData{})
		s := w.sender(w.gateways(a, b), Options{Chunk: 1})
		w.run(s)
		w.run(s)
		w.wantAttempts(first, "a rejected", "b accepted")
		w.wantAttempts(second, "b accepted")
		w.pass(6 * time.Minute)
		a.script = nil
		third := w.news(courier.InTransit, courier.EventData{})
		w.run(s)
		w.wantAttempts(third, "a accepted")
	})
	t.Run("a refused template stops that milestone alone", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		a := &fakeGateway{name: "a", script: func(s SMS) (bool, error) {
			if s.Milestone == Held {
				return false, &SendError{Class: Configuration, Code: "template", ThisTemplate: true}
			}
			return true, nil
		}}
		s := w.sender(w.gateways(a), Options{})
		held := w.news(courier.Held, courier.EventData{HeldUntil: "2026-12-20"})
		w.run(s)
		moving := w.news(courier.InTransit, courier.EventData{})
		other := w.news(courier.Held, courier.EventData{HeldUntil: "2026-12-20"})
		w.run(s)
		w.wantAttempts(held, "a rejected")
		w.wantAttempts(moving, "a accepted")
		w.wantAttempts(other)
		w.wantMessage(other, Held, state{queued, Hold, 0})
	})
	t.Run("three requests that did not leave take the next gateway", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		a, b := &fakeGateway{name: "a", script: always(Unsent, false)}, &fakeGateway{name: "b"}
		id := w.news(courier.InTransit, courier.EventData{})
		s := w.sender(w.gateways(a, b), Options{})
		for range 6 {
			w.run(s)
			w.pass(5 * time.Minute)
		}
		w.wantAttempts(id, "a unsent", "a unsent", "a unsent", "b accepted")
	})
	t.Run("an unknown outcome never does", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		a, b := &fakeGateway{name: "a", script: always(Unknown, true)}, &fakeGateway{name: "b"}
		id := w.news(courier.InTransit, courier.EventData{})
		gateways := w.gateways(a, b)
		for range 30 {
			w.run(w.sender(gateways, Options{}))
			w.run(w.resolver(gateways, Options{}))
			w.pass(time.Hour)
		}
		w.wantAttempts(id, "a abandoned")
		if len(b.ledger) != 0 {
			t.Error("the second gateway got an unknown message")
		}
	})
	t.Run("an error without a class is unknown", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		a := &fakeGateway{name: "a", script: func(s SMS) (bool, error) { return true, errors.New("lost " + s.Phone.Reveal()) }}
		id := w.news(courier.InTransit, courier.EventData{})
		w.run(w.sender(w.gateways(a), Options{}))
		w.wantAttempts(id, "a unknown")
	})
}

// An outage tries a few messages, not all that are due, and is over with the first that leaves.
func TestOutageDoesNotMoveEveryMessage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var calls atomic.Int32
	down := true
	g := &fakeGateway{name: "a", script: func(SMS) (bool, error) {
		calls.Add(1)
		if down {
			return false, &SendError{Class: Unsent, Code: "test"}
		}
		return true, nil
	}}
	for range 40 {
		w.move(w.delivery(), courier.InTransit, courier.EventData{})
	}
	w.plan()
	s := w.sender(w.gateways(g), Options{Chunk: 4})
	if err := s.Round(t.Context()); !errors.Is(err, ErrStopped) {
		t.Errorf("Round = %v, want %v", err, ErrStopped)
	}
	for range 5 {
		w.pass(20 * time.Second)
		if err := s.Round(t.Context()); !errors.Is(err, ErrStopped) {
			t.Errorf("Round = %v, want %v", err, ErrStopped)
		}
	}
	if n := calls.Load(); n > 10 {
		t.Errorf("%d requests in an outage of two minutes", n)
	}
	down = false
	w.pass(time.Minute)
	w.run(s)
	if n := len(g.ledger); n < 36 {
		t.Errorf("%d sent by the first round after the outage", n)
	}
	w.pass(10 * time.Minute) // those that were tried in it wait a little longer
	w.run(s)
	if n := g.once(t); n != 40 {
		t.Errorf("%d sent after the outage, want 40", n)
	}
}

func TestUnusableNumberIsACaseAndNeverSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := &fakeGateway{name: "a"}
	for phone, want := range map[string]string{
		"010-89735900": failed, "12345678901": failed, "+1 650 253 0000": failed, "139****0000": failed, "": failed,
		"+86 139-0000-0777": accepted, "008613900000778": accepted,
	} {
		id := w.deliveryWith(phone, courier.Ordered)
		w.move(id, courier.InTransit, courier.EventData{})
		w.plan()
		w.run(w.sender(w.gateways(g), Options{}))
		w.wantMessage(id, HandedOver, state{want, Send, 1})
		if (w.openCases(id) == 1) != (want == failed) {
			t.Errorf("%q: %d cases", phone, w.openCases(id))
		}
	}
	for _, s := range g.ledger {
		if len(s.Phone.Reveal()) != 11 {
			t.Errorf("a number of %d digits was sent", len(s.Phone.Reveal()))
		}
	}
}

// A recipient that this process cannot read waits; it says nothing about the gateway.
func TestUnreadableRecipientWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := &fakeGateway{name: "a"}
	id := w.news(courier.InTransit, courier.EventData{})
	w.exec(`UPDATE deliveries SET phone_sealed = set_byte(phone_sealed, 20, get_byte(phone_sealed, 20) # 1) WHERE id = $1`, id)
	w.run(w.sender(w.gateways(g), Options{}))
	w.wantMessage(id, HandedOver, state{queued, Send, 1})
	w.wantAttempts(id, "a unsent")
}

func TestTooLateAfterTriesIsACase(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := &fakeGateway{name: "a", script: always(Configuration, false)}
	tried := w.news(courier.OutForDelivery, courier.EventData{})
	s := w.sender(w.gateways(g), Options{})
	w.run(s)
	untried := w.news(courier.OutForDelivery, courier.EventData{})
	w.pass(8 * time.Hour)
	w.run(s)
	w.wantMessage(tried, OutForDelivery, state{suppressed, TooLate, 1})
	w.wantMessage(untried, OutForDelivery, state{suppressed, TooLate, 0})
	if w.openCases(tried) != 1 || w.openCases(untried) != 0 {
		t.Errorf("cases: %d and %d, want 1 and 0", w.openCases(tried), w.openCases(untried))
	}
}

// A second message of a delivery waits while the first is at a gateway, so that they arrive in order.
func TestMessagesOfADeliveryGoOneByOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.news(courier.InTransit, courier.EventData{})
	entered, leave := make(chan struct{}), make(chan struct{})
	g := &fakeGateway{name: "a", script: func(s SMS) (bool, error) {
		if s.Milestone == HandedOver {
			close(entered)
			<-leave
		}
		return true, nil
	}}
	gateways := w.gateways(g)
	done := make(chan error)
	go func() { done <- w.sender(gateways, Options{}).Round(t.Context()) }()
	<-entered
	w.move(id, courier.OutForDelivery, courier.EventData{})
	w.plan()
	s := w.sender(gateways, Options{})
	w.run(s)
	w.wantMessage(id, OutForDelivery, state{queued, Hold, 0})
	close(leave)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	w.pass(2 * time.Second)
	w.run(s)
	w.wantMessage(id, OutForDelivery, state{accepted, Send, 1})
	if len(g.ledger) != 2 || g.ledger[0].Milestone != HandedOver {
		t.Errorf("ledger %v", g.ledger)
	}
}

// When the process is asked to stop, what is at a gateway is finished and recorded, and the rest is handed back.
func TestShutdownFinishesWhatIsInFlight(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 6 {
		w.move(w.delivery(), courier.InTransit, courier.EventData{})
	}
	w.plan()
	ctx, cancel := context.WithCancel(t.Context())
	g := &fakeGateway{name: "a", script: func(SMS) (bool, error) { cancel(); return true, nil }}
	s := w.sender(w.gateways(g), Options{Concurrency: 1})
	if err := s.Round(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Round = %v", err)
	}
	if a, q := w.count(`SELECT count(*) FROM messages WHERE state = 'accepted'`), w.count(`SELECT count(*) FROM messages WHERE state = 'queued'`); a != 1 || q != 5 {
		t.Errorf("%d accepted and %d queued, want 1 and 5", a, q)
	}
	w.run(w.sender(w.gateways(g), Options{}))
	if n := g.once(t); n != 6 {
		t.Errorf("%d sent, want 6", n)
	}
}

func TestOptedOutNumbersGetNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := &fakeGateway{name: "a"}
	id := w.news(courier.Held, courier.EventData{})
	other := w.news(courier.Held, courier.EventData{})
	list := NewRefusals(w.db, w.vault)
	if added, err := list.Add(t.Context(), vault.Conceal("+86 "+phoneOf(0)), Refusal{Source: "reply", By: "emsd", Why: "回复TD", Since: noon}); err != nil || !added {
		t.Fatalf("Add = %t, %v", added, err)
	}
	w.run(w.sender(w.gateways(g), Options{}))
	w.wantMessage(id, Held, state{suppressed, OptedOut, 0})
	w.wantMessage(other, Held, state{accepted, Send, 1})

	if lifted, err := list.Lift(t.Context(), vault.Conceal(phoneOf(0)), "operator:a", "本人要求恢复", noon); err != nil || !lifted {
		t.Fatalf("Lift = %t, %v", lifted, err)
	}
	w.move(id, courier.Delivered, courier.EventData{Receiver: "self"})
	w.plan()
	w.run(w.sender(w.gateways(g), Options{}))
	w.wantMessage(id, Delivered, state{accepted, Send, 1})
}

func TestRefusalsAreKeptWithWhoAndWhy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	list := NewRefusals(w.db, w.vault)
	r := Refusal{Source: "wrong_person", By: "operator:a", Why: "机主称不是本人", Since: noon}
	for _, want := range []bool{true, false} { // a second time changes nothing
		if added, err := list.Add(t.Context(), vault.Conceal(phoneOf(7)), r); err != nil || added != want {
			t.Errorf("Add = %t, %v; want %t", added, err, want)
		}
	}
	if got, err := list.Has(t.Context(), vault.Conceal(phoneOf(7))); err != nil || !got {
		t.Errorf("Has = %t, %v", got, err)
	}
	if lifted, err := list.Lift(t.Context(), vault.Conceal(phoneOf(8)), "operator:a", "x", noon); err != nil || lifted {
		t.Errorf("a number that is not on the list is lifted: %v", err)
	}
	if lifted, err := list.Lift(t.Context(), vault.Conceal(phoneOf(7)), "operator:b", "换号", noon.Add(time.Hour)); err != nil || !lifted {
		t.Fatalf("Lift = %t, %v", lifted, err)
	}
	if got, err := list.Has(t.Context(), vault.Conceal(phoneOf(7))); err != nil || got {
		t.Errorf("after lifting Has = %t, %v", got, err)
	}
	all, err := list.All(t.Context())
	if err != nil || len(all) != 1 || all[0].Why != r.Why || all[0].LiftedBy != "operator:b" || all[0].LiftedAt == nil {
		t.Errorf("All = %+v, %v", all, err)
	}
	if n := w.count(`SELECT count(*) FROM audit WHERE action IN ('do_not_send.add', 'do_not_send.lift')`); n != 2 {
		t.Errorf("%d entries in the audit, want 2", n)
	}
	for _, bad := range []Refusal{{Source: "mood", By: "a", Why: "b", Since: noon}, {Source: "clerk", Why: "b", Since: noon}, {Source: "clerk", By: "a", Since: noon}} {
		if _, err := list.Add(t.Context(), vault.Conceal(phoneOf(9)), bad); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
	if _, err := list.Add(t.Context(), vault.Conceal("12345"), r); err == nil {
		t.Error("what is no number is taken")
	}
}

// A number with many permits gets its cap and no more, whoever sends; what has a
// deadline goes all the same; the rest goes the next day.
func TestDailyCapHoldsUnderTwoSenders(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := &fakeGateway{name: "a"}
	gateways := w.gateways(g)
	policy := DefaultPolicy()
	policy.DailyCap = 3
	opts := Options{Policy: &policy, Chunk: 2}
	var moving []uuid.UUID
	for range 10 {
		moving = append(moving, w.newsTo(phoneOf(1), courier.InTransit))
	}
	other := w.newsTo(phoneOf(2), courier.InTransit)
	senders := []*Sender{w.sender(gateways, opts), w.sender(gateways, opts)}
	day := func() {
		for range 12 { // attempts of one text wait for each other
			var wg sync.WaitGroup
			for _, s := range senders {
				wg.Go(func() { w.run(s) })
			}
			wg.Wait()
			w.pass(10 * time.Second)
		}
	}
	to := func(number string) (n int) {
		for _, s := range g.ledger {
			if s.Phone.Reveal() == number {
				n++
			}
		}
		return n
	}
	day()
	if to(phoneOf(1)) != 3 || to(phoneOf(2)) != 1 {
		t.Errorf("%d and %d sent, want 3 and 1", to(phoneOf(1)), to(phoneOf(2)))
	}
	if n := w.count(`SELECT count(*) FROM messages WHERE verdict = 'capped' AND state = 'queued' AND not_before > $1`, noon); n != 7 {
		t.Errorf("%d are held back, want 7", n)
	}
	held := w.newsTo(phoneOf(1), courier.Held)
	day()
	w.wantMessage(held, Held, state{accepted, Send, 1})
	w.wantMessage(other, HandedOver, state{accepted, Send, 1})
	w.pass(21 * time.Hour) // nine in the morning
	day()
	if to(phoneOf(1)) != 7 {
		t.Errorf("%d sent by the next day, want 3 + 1 + 3", to(phoneOf(1)))
	}
	if len(moving) != 10 {
		t.Fatal("ten deliveries are wanted")
	}
}

func TestLogGatewayAndMetrics(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	gateways := w.gateways(NewLogGateway(w.log))
	reg := prometheus.NewRegistry()
	m := NewMetrics(reg, gateways)
	id := w.delivery()
	w.move(id, courier.OutForDelivery, courier.EventData{})
	if err := NewPlanner(w.db, w.clock(), w.log, m).Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := NewSender(w.db, w.vault, gateways, w.clock(), Options{}, w.log, m)
	if since, err := s.Oldest(t.Context()); err != nil || !since.Equal(noon) {
		t.Errorf("Oldest = %s, %v", since, err)
	}
	w.run(s)
	if since, err := s.Oldest(t.Context()); err != nil || !since.IsZero() {
		t.Errorf("Oldest = %s, %v", since, err)
	}
	w.wantMessage(id, OutForDelivery, state{accepted, Send, 1})
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, metric := range f.GetMetric() {
			got[f.GetName()] += metric.GetCounter().GetValue()
		}
	}
	for _, name := range []string{"emsd_messages_planned_total", "emsd_message_verdicts_total", "emsd_sms_attempts_total", "emsd_sms_segments_total"} {
		if got[name] != 1 {
			t.Errorf("%s = %v, want 1", name, got[name])
		}
	}
}

func TestGatewaysAreChecked(t *testing.T) {
	t.Parallel()
	for name, list := range map[string][]Gateway{
		"none": nil, "twice": {&fakeGateway{name: "a"}, &fakeGateway{name: "a"}}, "nameless": {&fakeGateway{}},
	} {
		if _, err := NewGateways(list...); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// The database itself refuses a second message of a milestone, and a second open attempt of a message.
func TestI5_DatabaseRefusesASecond(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.news(courier.InTransit, courier.EventData{})
	w.run(w.sender(w.gateways(&fakeGateway{name: "a", script: always(Unknown, true)}), Options{}))
	for constraint, statement := range map[string]string{
		"i5_one_message_per_milestone": `INSERT INTO messages (id, delivery_id, milestone, position, event_at, vars, state, verdict, reason, not_before, created_at, updated_at)
			SELECT gen_random_uuid(), delivery_id, milestone, position, event_at, vars, 'queued', verdict, reason, not_before, created_at, updated_at FROM messages WHERE delivery_id = $1`,
		"i5_one_open_attempt": `INSERT INTO message_attempts (id, message_id, gateway, template, state, sent_on, started_at)
			SELECT gen_random_uuid(), m.id, 'b', '', 'sending', '', m.created_at FROM messages m WHERE m.delivery_id = $1`,
	} {
		_, err := w.db.ExecContext(t.Context(), statement, id)
		if e, ok := errors.AsType[*pq.Error](err); !ok || e.Constraint != constraint {
			t.Errorf("%s: %v", constraint, err)
		}
	}
}

// A gateway without a template for a text is passed over without a word; when none has one, the message waits.
func TestGatewayWithoutTemplateIsPassedOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	refuse := func(SMS) (bool, error) {
		return false, &SendError{Class: Configuration, ThisTemplate: true, Code: "no_template"}
	}
	a := &templatedGateway{fakeGateway{name: "a", script: refuse}, []Milestone{Held}}
	b := &templatedGateway{fakeGateway{name: "b"}, []Milestone{HandedOver}}
	gateways := w.gateways(a, b)
	told, waiting := w.news(courier.InTransit, courier.EventData{}), w.news(courier.OutForDelivery, courier.EventData{})
	s := w.sender(gateways, Options{})
	for range 5 {
		w.run(s)
		w.pass(time.Second)
	}
	w.wantAttempts(told, "b accepted")
	w.wantAttempts(waiting, "a rejected")                          // once: then it waits
	w.wantMessage(waiting, OutForDelivery, state{queued, Send, 1}) // and its reason names the template
	if got := Unsendables(b, "", true); len(got) != len(Milestones)+len(PasswordTemplates)-1 || slices.ContainsFunc(got, func(u Unsendable) bool { return u.Text == HandedOver }) {
		t.Errorf("b lacks %v", got)
	}
}

type templatedGateway struct {
	fakeGateway
	has []Milestone
}

func (g *templatedGateway) HasTemplate(m Milestone) bool { return slices.Contains(g.has, m) }

// A number that another sender is about is left to it, whatever its messages wait for: nobody waits, and the next round sends.
func TestANumberInOtherHandsWaitsForTheNextRound(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	busy, free := w.newsTo(phoneOf(1), courier.InTransit), w.newsTo(phoneOf(2), courier.InTransit)
	s := w.sender(w.gateways(&fakeGateway{name: "a"}), Options{})
	tx, err := w.db.BeginTxx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(t.Context(), `
		SELECT pg_advisory_xact_lock(hashtext('message_cap'), hashtext(encode(phone_lookup, 'hex'))) FROM deliveries WHERE id = $1`, busy); err != nil {
		t.Fatal(err)
	}
	w.run(s)
	w.wantAttempts(busy)
	w.wantMessage(busy, HandedOver, state{queued, Send, 0})
	w.wantMessage(free, HandedOver, state{accepted, Send, 1})
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	w.run(s)
	w.wantMessage(busy, HandedOver, state{accepted, Send, 1})
}
