package notify

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"
	"unicode"

	"emsd/courier"

	"github.com/google/uuid"
	"pgregory.net/rapid"
)

// A behaviour is what a gateway does with one request: whether it takes the message, and what it answers.
type behaviour struct {
	taken bool
	class Class
	fine  bool
}

// behaviours are all that a truthful gateway can do: only what it did not take is refused or surely unsent.
var behaviours = map[string]behaviour{
	"taken": {taken: true, fine: true}, "taken, reply lost": {taken: true, class: Unknown}, "lost": {class: Unknown}, "unsent": {class: Unsent},
	"transient": {class: Transient}, "throttle": {class: Throttle}, "permanent": {class: Permanent}, "recipient": {class: Recipient},
	"configuration": {class: Configuration},
}

// A blindGateway can be asked and proves nothing, as Tencent; a fakeFinder proves what it does not have, as Aliyun, and a plain
// fakeGateway cannot be asked, as 云MAS.
type blindGateway struct{ fakeFinder }

func (g *blindGateway) Questions() Questions {
	return Questions{After: []time.Duration{time.Minute, time.Hour, 24 * time.Hour}}
}

// TestI5_AnythingThatThreeGatewaysDo lets three gateways do anything to the messages of some deliveries, in any order of
// rounds of senders, resolvers and receipts by processes that know nothing of each other, with waits, crashes and a clock that is set: by the
// gateways' books each number and milestone is there once at most, one gateway at most may have a message, and what was not
// sent says why.
func TestI5_AnythingThatThreeGatewaysDo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	rapid.Check(t, func(rt *rapid.T) {
		sure, blind, mute := &fakeFinder{fakeGateway{name: "sure"}}, &blindGateway{fakeFinder{fakeGateway{name: "blind"}}}, &fakeGateway{name: "mute"}
		fakes := []*fakeGateway{&sure.fakeGateway, &blind.fakeGateway, mute}
		for _, g := range fakes {
			script := rapid.SliceOfN(rapid.SampledFrom(slices.Sorted(maps.Keys(behaviours))), 1, 6).Draw(rt, g.name)
			next := 0
			g.script = func(SMS) (bool, error) { // in the order of requests, again and again
				g.mu.Lock()
				defer g.mu.Unlock()
				b := behaviours[script[next%len(script)]]
				next++
				if b.fine {
					return b.taken, nil
				}
				return b.taken, &SendError{Class: b.class, Code: "test"}
			}
		}
		list := rapid.Permutation([]Gateway{sure, blind, mute}).Draw(rt, "order")
		opts := Options{Concurrency: 1}
		if rapid.Bool().Draw(rt, "resend if absent") {
			opts.ResendIfAbsent = map[Milestone]bool{HandedOver: true}
		}
		var ids []uuid.UUID
		for range 2 {
			ids = append(ids, w.news(courier.InTransit, courier.EventData{}))
		}
		gateways := w.gateways(list...)
		for range rapid.IntRange(2, 6).Draw(rt, "acts") {
			switch act := rapid.SampledFrom([]string{"send", "resolve", "crash", "receipts", "restart", "wait", "wait long", "clock ahead", "clock back"}).Draw(rt, "act"); act {
			case "send":
				w.run(w.sender(gateways, opts))
			case "resolve":
				w.run(w.resolver(gateways, opts))
			case "crash":
				at := rapid.SampledFrom(SendPoints).Draw(rt, "point")
				dying := opts
				dying.Hook = func(p string) {
					if p == at {
						panic(crash{})
					}
				}
				crashAt(t, w.sender(gateways, dying))
				crashAt(t, w.resolver(gateways, dying))
			case "receipts":
				for _, g := range fakes {
					for _, s := range g.ledger {
						w.receivedFrom(g.name, gateways, Receipt{AttemptID: s.AttemptID, Success: true, Code: "ok"})
					}
				}
				w.run(w.receipts(gateways))
			case "restart":
				gateways = w.gateways(list...)
			case "wait":
				w.pass(3 * time.Minute)
			case "wait long":
				w.pass(20 * time.Minute)
			case "clock ahead":
				w.pass(time.Hour)
			case "clock back":
				w.pass(-time.Hour)
			}
		}
		for i := range 9 { // time passes until all is known; then the gateways are well
			if i == 2 {
				for _, g := range fakes {
					g.script = nil
				}
			}
			w.run(w.sender(gateways, opts))
			w.run(w.resolver(gateways, opts))
			w.pass(8 * time.Hour)
		}
		w.judge(rt, ids, fakes)
	})
}

// judge holds the books of the gateways against what is stored about some deliveries.
func (w *world) judge(rt *rapid.T, ids []uuid.UUID, fakes []*fakeGateway) {
	inBooks := map[string]int{}
	taken := map[uuid.UUID]bool{}
	for _, g := range fakes {
		for _, s := range g.ledger {
			inBooks[s.Phone.Reveal()+" "+string(s.Milestone)]++
			taken[s.AttemptID] = true
		}
	}
	for key, n := range inBooks {
		if n > 1 {
			rt.Errorf("I-5: %s is in the gateways' books %d times", key, n)
		}
	}
	for _, id := range ids {
		var m struct{ State, Reason string }
		if err := w.db.Get(&m, `SELECT state, reason FROM messages WHERE delivery_id = $1`, id); err != nil {
			rt.Fatal(err)
		}
		var attempts []struct {
			ID                    uuid.UUID
			Gateway, State, Class string
		}
		if err := w.db.Select(&attempts, `SELECT a.id, a.gateway, a.state, a.class FROM message_attempts a JOIN messages m ON m.id = a.message_id
			WHERE m.delivery_id = $1 ORDER BY a.started_at, a.id`, id); err != nil {
			rt.Fatal(err)
		}
		story := fmt.Sprintf("message %s (%s) after %+v", m.State, m.Reason, attempts)
		reached := false
		for i, a := range attempts {
			reached = reached || taken[a.ID]
			last := i == len(attempts)-1
			switch {
			case slices.Contains([]string{"sending", "unknown"}, a.State):
				rt.Errorf("not settled: %s", story)
			case a.Class == "recipient" || a.Class == "permanent":
				if !last {
					rt.Errorf("tried again after a refusal for good: %s", story)
				}
			case !last && a.State != "rejected" && a.State != "unsent" && !(a.State == "absent" && a.Gateway == "sure"):
				rt.Errorf("tried again while a gateway may have it: %s", story)
			}
			if taken[a.ID] != slices.Contains([]string{"accepted", "delivered", "abandoned"}, a.State) && a.State != "abandoned" {
				rt.Errorf("taken is %t: %s", taken[a.ID], story)
			}
		}
		switch sent := slices.Contains([]string{"accepted", "delivered"}, m.State); {
		case sent && !reached:
			rt.Errorf("counts as sent, and no gateway has it: %s", story)
		case !sent && m.State != "failed" && m.State != "suppressed":
			rt.Errorf("not settled: %s", story)
		case !sent && !slices.ContainsFunc([]rune(m.Reason), func(r rune) bool { return unicode.Is(unicode.Han, r) }):
			rt.Errorf("not sent without a reason: %s", story)
		}
	}
}
