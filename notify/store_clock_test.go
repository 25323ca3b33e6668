package notify

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"emsd/courier"

	"github.com/google/uuid"
)

// A slowFinder is a gateway with a right clock, whose records show a message only some time after it was taken.
type slowFinder struct {
	fakeFinder
	lag time.Duration

	guard  sync.Mutex
	truth  time.Time
	taken  map[uuid.UUID]time.Time
	asking func() // while it is asked
}

func newSlowFinder(lag time.Duration) *slowFinder {
	return &slowFinder{fakeFinder: fakeFinder{fakeGateway{name: "a"}}, lag: lag, truth: noon, taken: map[uuid.UUID]time.Time{}}
}

func (g *slowFinder) pass(d time.Duration) {
	g.guard.Lock()
	defer g.guard.Unlock()
	g.truth = g.truth.Add(d)
}

func (g *slowFinder) Send(ctx context.Context, s SMS) (Sent, error) {
	sent, err := g.fakeFinder.Send(ctx, s)
	g.guard.Lock()
	defer g.guard.Unlock()
	g.taken[s.AttemptID] = g.truth
	return sent, err
}

func (g *slowFinder) Find(ctx context.Context, q Query) (Found, error) {
	if g.asking != nil {
		g.asking()
	}
	g.guard.Lock()
	at, taken := g.taken[q.AttemptID]
	shown := taken && g.truth.Sub(at) >= g.lag
	g.guard.Unlock()
	if !shown {
		return Found{Outcome: Absent}, nil
	}
	return g.fakeFinder.Find(ctx, q)
}

// TestI5_AClockThatJumpsSendsNothingTwice: the clock of a daemon jumps by an hour, there and back, while a request is at a
// gateway that will lose its answer, before the first question, and while it is asked. Another daemon goes on beside it. The
// gateway shows what it took after two minutes, and what it proves not to have is to be sent again: so a clock that makes two
// minutes of silence look like an hour would send twice.
func TestI5_AClockThatJumpsSendsNothingTwice(t *testing.T) {
	t.Parallel()
	for _, jump := range []time.Duration{time.Hour, -time.Hour} {
		for _, moment := range []string{"in flight", "before a question", "while asked"} {
			for _, taken := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s/%s/taken=%t", jump, moment, taken), func(t *testing.T) {
					t.Parallel()
					w := newWorld(t)
					g := newSlowFinder(2 * time.Minute)
					gateways := w.gateways(g)
					opts := Options{ResendIfAbsent: map[Milestone]bool{HandedOver: true}}
					others := []round{w.sender(gateways, opts), w.resolver(gateways, opts)}
					jumped := sync.OnceFunc(func() { w.pass(jump) })
					g.script = func(SMS) (bool, error) {
						if moment == "in flight" {
							jumped()
							for _, o := range others { // they find an attempt whose lease seems to be over
								w.run(o)
							}
						}
						return taken, &SendError{Class: Unknown, Code: "test"}
					}
					g.asking = func() {
						if moment == "while asked" {
							jumped()
						}
					}
					id := w.news(courier.InTransit, courier.EventData{})
					w.run(w.sender(gateways, opts))
					g.script = nil
					if moment == "before a question" {
						jumped()
					}
					step := func(times int, d time.Duration) {
						for range times {
							w.run(w.sender(gateways, opts))
							w.run(w.resolver(gateways, opts))
							w.pass(d)
							g.pass(d)
						}
					}
					step(30, 5*time.Second)
					step(10, time.Minute)
					w.pass(-jump) // somebody sets it right
					step(10, 30*time.Second)
					step(20, 10*time.Minute)
					if n := g.once(t); n != 1 {
						t.Errorf("%d messages were taken, want 1", n)
					}
					w.wantMessage(id, HandedOver, state{accepted, Send, map[bool]int{true: 1, false: 2}[taken]})
				})
			}
		}
	}
}

// TestBackoffSurvivesAClockThatJumps: a gateway that is busy is asked at most once more for each jump, and no message is
// given up or forgotten.
func TestBackoffSurvivesAClockThatJumps(t *testing.T) {
	t.Parallel()
	for _, jump := range []time.Duration{time.Hour, -time.Hour} {
		t.Run(jump.String(), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			g := &fakeGateway{name: "a", script: always(Transient, false)}
			id := w.news(courier.InTransit, courier.EventData{})
			s := w.sender(w.gateways(g), Options{RetryAfter: time.Minute})
			steady := func(times int) {
				for range times {
					w.run(s)
					w.pass(10 * time.Second)
				}
			}
			steady(18) // three minutes: at once, after one, after two more
			tries := len(w.attempts(id))
			w.pass(jump)
			steady(1)
			if n := len(w.attempts(id)); n > tries+1 {
				t.Errorf("%d tries by a jump, want one at most", n-tries)
			}
			w.pass(-jump)
			g.script = nil
			steady(12)
			w.pass(time.Hour + 10*time.Minute) // at worst it waits for as long as the clock was put back, beside the longest wait
			steady(1)
			if n := g.once(t); n != 1 {
				t.Errorf("%d sent, want 1", n)
			}
		})
	}
}

// TestQuietHoursHoldByTheClockAsItStands: an hour that is set ahead or back releases and holds by what the clock says now.
func TestQuietHoursHoldByTheClockAsItStands(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := &fakeGateway{name: "a"}
	s := w.sender(w.gateways(g), Options{})
	sent := func() int { w.run(s); return len(g.ledger) }
	w.set(at(0, 20, 30))
	w.pass(time.Hour)
	early := w.news(courier.Held, courier.EventData{HeldUntil: "2026-12-10"})
	if n := sent(); n != 0 {
		t.Errorf("%d sent at 21:30 by the clock", n)
	}
	w.pass(-time.Hour) // what was held for the night stays held: nobody is woken, and eight o'clock comes
	if n := sent(); n != 0 {
		t.Errorf("%d of those held are sent at 20:30", n)
	}
	w.set(at(1, 7, 30))
	if n := sent(); n != 0 {
		t.Errorf("%d sent at 7:30", n)
	}
	w.pass(time.Hour)
	if n := sent(); n != 1 {
		t.Errorf("%d sent at 8:30 by the clock, want 1", n)
	}
	w.pass(-time.Hour)
	late := w.news(courier.Held, courier.EventData{HeldUntil: "2026-12-10"})
	if n := sent(); n != 1 {
		t.Errorf("%d sent once the clock says 7:30 again, want no more", n)
	}
	w.set(at(1, 8, 0))
	if n := sent(); n != 2 {
		t.Errorf("%d sent at 8:00, want 2", n)
	}
	w.wantMessage(early, Held, state{accepted, Send, 1})
	w.wantMessage(late, Held, state{accepted, Send, 1})
}
