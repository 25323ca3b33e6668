package notify

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"emsd/courier"
)

// downFor is a gateway's script: until a wall time nobody learns what became of a message, and it took none; then all is well.
func (w *world) downFor(d time.Duration, calls *atomic.Int32) func(SMS) (bool, error) {
	until := w.clock().Wall().Add(d)
	return func(SMS) (bool, error) {
		if calls.Add(1); w.clock().Wall().Before(until) {
			return false, &SendError{Class: Unknown, Code: "http_503"}
		}
		return true, nil
	}
}

// A gateway that is down for an hour and says so by 503 takes a few messages into doubt, not all that are due: they wait and
// are sent when it is up.
func TestAGatewayThatIsDownCostsAFewMessages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const n = 120
	for range n {
		w.move(w.delivery(), courier.Held, courier.EventData{HeldUntil: "2026-12-10"})
	}
	w.plan()
	var calls atomic.Int32
	g := &fakeFinder{fakeGateway{name: "a", script: w.downFor(time.Hour, &calls)}}
	gateways := w.gateways(g)
	s, r := w.sender(gateways, Options{Concurrency: 4}), w.resolver(gateways, Options{})
	for range 12 {
		if err := s.Round(t.Context()); err != nil && !errors.Is(err, ErrStopped) {
			t.Fatal(err)
		}
		w.run(r)
		w.pass(5 * time.Minute)
	}
	lost := int(calls.Load())
	if lost > 25 { // the five that tell, four in flight beside them, and one probe in five minutes
		t.Errorf("%d messages were given to a gateway that is down", lost)
	}
	for range 6 { // the last of the lost ones is asked about to its end
		w.pass(10 * time.Minute)
		w.run(s)
		w.run(r)
	}
	if sent := g.once(t); sent != n-lost {
		t.Errorf("%d sent once it is up, want the %d that were kept", sent, n-lost)
	}
	if cases := w.count(`SELECT count(*) FROM cases WHERE kind = 'sms_failed'`); cases != lost {
		t.Errorf("%d cases, want one for each of the %d that were lost", cases, lost)
	}
}

// With a second gateway nobody waits for the first.
func TestAGatewayThatIsDownIsPassedOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const n = 60
	for range n {
		w.move(w.delivery(), courier.InTransit, courier.EventData{})
	}
	w.plan()
	var calls atomic.Int32
	a, b := &fakeGateway{name: "a", script: w.downFor(time.Hour, &calls)}, &fakeGateway{name: "b"}
	s := w.sender(w.gateways(a, b), Options{Concurrency: 4})
	w.run(s)
	w.run(s)
	if sent, lost := b.once(t), int(calls.Load()); lost > 9 || sent != n-lost {
		t.Errorf("the second gateway has %d and the first was given %d, of %d", sent, lost, n)
	}
}

// Unknown codes stop and alert, whatever else they mean for the message that met them.
func TestACodeThatNobodyKnowsStopsTheGateway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := &fakeGateway{name: "a", script: func(SMS) (bool, error) {
		return false, &SendError{Class: Unknown, Code: "NoSuchCode", Unlisted: true}
	}}
	b := &fakeGateway{name: "b"}
	first, second := w.news(courier.InTransit, courier.EventData{}), w.news(courier.InTransit, courier.EventData{})
	s := w.sender(w.gateways(a, b), Options{Chunk: 1})
	w.run(s)
	w.wantAttempts(first, "a unknown")
	w.wantAttempts(second, "b accepted")
	if text := w.logs.String(); strings.Count(text, `"level":"ERROR"`) != 1 || !strings.Contains(text, "NoSuchCode") {
		t.Errorf("no error, or more than one, calls a person:\n%s", text)
	}
	third := w.news(courier.InTransit, courier.EventData{})
	w.pass(4 * time.Minute)
	w.run(s)
	w.wantAttempts(third, "b accepted")
}

// After a stop for money or a signature one request asks whether it is over, not all that are due.
func TestARefusedAccountIsTriedByOneRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var calls atomic.Int32
	g := &fakeGateway{name: "a", script: func(SMS) (bool, error) {
		calls.Add(1)
		return false, &SendError{Class: Configuration, Code: "isv.AMOUNT_NOT_ENOUGH"}
	}}
	for range 40 {
		w.move(w.delivery(), courier.Held, courier.EventData{HeldUntil: "2026-12-10"})
	}
	w.plan()
	s := w.sender(w.gateways(g), Options{Concurrency: 1})
	for range 6 {
		w.run(s)
		w.pass(6 * time.Minute)
	}
	if n := calls.Load(); n > 40+5 {
		t.Errorf("%d requests in half an hour without money: want one each time that it is tried, after the chunk that learnt it", n)
	}
	if left := w.count(`SELECT count(*) FROM messages WHERE state <> 'queued'`); left != 0 {
		t.Errorf("%d messages are no longer queued", left)
	}
}

// A gateway that throttles the whole account is waited for as long as the message is worth sending (dossier E.4): no tries are
// used up, and it is asked ever more rarely.
func TestAThrottleOfTheAccountIsWaitedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := &fakeGateway{name: "a", script: func(SMS) (bool, error) {
		return false, &SendError{Class: Throttle, Code: "Throttling.User", RetryAfter: time.Second}
	}}
	short, long := w.news(courier.InTransit, courier.EventData{}), w.news(courier.Held, courier.EventData{HeldUntil: "2026-12-10"})
	s := w.sender(w.gateways(g), Options{})
	ends := w.now.Add(DefaultPolicy().Useful[HandedOver])
	for w.now.Before(ends) {
		if got := w.message(short, HandedOver); got.State != queued {
			t.Fatalf("at %s, with some use until %s, the message is %+v", w.now, ends, got)
		}
		w.run(s)
		w.pass(time.Minute + 19*time.Minute*min(1, w.now.Sub(noon)/time.Hour)) // by minutes at first
	}
	if tries := w.message(long, Held).Tries; tries <= 8 || tries > 150 {
		t.Errorf("%d tries in two days", tries)
	}
	w.pass(8 * time.Hour) // no quiet hours
	w.run(s)
	if got := w.message(short, HandedOver); got.State != suppressed || got.Verdict != TooLate || w.openCases(short) != 1 {
		t.Errorf("once it is of no use the message is %+v with %d cases", got, w.openCases(short))
	}
	g.script = nil
	w.pass(10 * time.Minute)
	w.run(s)
	if got := w.message(long, Held); got.State != accepted {
		t.Errorf("once the gateway takes messages again, the one of use is %+v", got)
	}
}

// A code that nobody lists, of a family that says what to do: the message is in doubt, a person is told once, and the others go on.
func TestACodeOfAKnownFamilyIsToldAndStopsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	calls := 0
	a := &fakeGateway{name: "a", script: func(SMS) (bool, error) {
		if calls++; calls <= 2 {
			return false, &SendError{Class: Unknown, Code: "isp.BRAND_NEW", Unexplained: true}
		}
		return true, nil
	}}
	s := w.sender(w.gateways(a, &fakeGateway{name: "b"}), Options{Chunk: 1, Lanes: 1})
	first, second, third := w.news(courier.InTransit, courier.EventData{}), w.news(courier.InTransit, courier.EventData{}), w.news(courier.InTransit, courier.EventData{})
	w.run(s)
	w.wantAttempts(first, "a unknown")
	w.wantAttempts(second, "a unknown")
	w.wantAttempts(third, "a accepted")
	if text := w.logs.String(); strings.Count(text, `"level":"ERROR"`) != 1 || !strings.Contains(text, "isp.BRAND_NEW") {
		t.Errorf("no error, or more than one, calls a person:\n%s", text)
	}
}

// What a gateway refuses of one message only, by a code that means everybody, does not keep the others from being sent.
func TestOneMessageThatIsRefusedHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	poison := w.news(courier.Held, courier.EventData{HeldUntil: "2026-12-10"})
	number := phoneOf(0)
	g := &fakeGateway{name: "a", script: func(s SMS) (bool, error) {
		if s.Phone.Reveal() == number {
			return false, &SendError{Class: Configuration, Code: "isv.BRAND_NEW", Unlisted: true}
		}
		return true, nil
	}}
	s := w.sender(w.gateways(g), Options{})
	w.run(s)
	for range 8 {
		w.move(w.delivery(), courier.Held, courier.EventData{HeldUntil: "2026-12-10"})
		w.plan()
		w.pass(6 * time.Minute)
		w.run(s)
	}
	if n := g.once(t); n != 8 {
		t.Errorf("%d of 8 others were sent as they came", n)
	}
	if got := w.message(poison, Held); got.State != queued || got.Tries < 2 {
		t.Errorf("the refused message is %+v, want queued and tried again", got)
	}
}

// A number whose carrier does not know our signature at one gateway gets its message by another; where there is none, a clerk
// calls. Other numbers notice nothing.
func TestACarrierThatRefusesUsIsNotTheGateway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	refuses := func(s SMS) (bool, error) {
		if n := s.Phone.Reveal(); n[len(n)-1]%2 == 0 {
			return false, &SendError{Class: Unregistered, Code: "PORT_NOT_REGISTERED"}
		}
		return true, nil
	}
	a, b := &fakeGateway{name: "a", script: refuses}, &fakeGateway{name: "b"}
	even, odd := w.news(courier.InTransit, courier.EventData{}), w.news(courier.InTransit, courier.EventData{})
	s := w.sender(w.gateways(a, b), Options{Chunk: 1})
	w.run(s)
	w.run(s)
	w.wantAttempts(even, "a rejected", "b accepted")
	w.wantAttempts(odd, "a accepted")

	alone := w.sender(w.gateways(a), Options{})
	even = w.news(courier.InTransit, courier.EventData{})
	w.run(alone)
	w.wantMessage(even, HandedOver, state{failed, Send, 1})
	if w.openCases(even) != 1 {
		t.Error("no case")
	}
}

// Of many requests that are begun together those that fail may be back first. A gateway that loses one in five is not down: it goes on
// being used, and no message takes another.
func TestAFewQuickFailuresAreNoOutage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const n, lost = 50, 10
	for range n {
		w.move(w.delivery(), courier.InTransit, courier.EventData{})
	}
	w.plan()
	var begun, failed atomic.Int32
	all, back := make(chan struct{}), make(chan struct{})
	a := &fakeGateway{name: "a", script: func(SMS) (bool, error) {
		nth := begun.Add(1)
		if nth == n {
			close(all)
		}
		<-all
		if nth <= lost {
			return false, &SendError{Class: Unknown, Code: "http_502"}
		}
		<-back
		return true, nil
	}}
	b := &fakeGateway{name: "b"}
	s := w.sender(w.gateways(a, b), Options{Concurrency: n, Lanes: 1, Hook: func(point string) {
		if point == PointSendAnswered && failed.Add(1) == lost {
			close(back)
		}
	}})
	w.run(s)
	if s.gateways.stopped("a", w.clock().Wall()) {
		t.Error("the gateway was stopped")
	}
	w.news(courier.InTransit, courier.EventData{})
	w.run(s)
	if sent := a.once(t); sent != n-lost+1 || b.once(t) != 0 {
		t.Errorf("%d by the first gateway, %d by the second; want all but the %d that it lost", sent, b.once(t), lost)
	}
}
