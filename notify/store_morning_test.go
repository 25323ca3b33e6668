package notify

import (
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/lib/pq"
)

// A strictGateway gives a number one message a minute, as Aliyun does, and counts what it was asked.
type strictGateway struct {
	fakeGateway
	last  map[string]time.Time
	asked int
}

// TestTenThousandHeldOvernightGoOutAtEight: within the rate and what the gateway allows a number, in the order of the news but for
// what is in hand at one time, only the newest where an envelope moved on meanwhile, nobody twice, and the rest with a reason.
func TestTenThousandHeldOvernightGoOutAtEight(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const (
		alone, families, permits, movedOn = 9000, 100, 10, 500 // one number each; numbers with ten permits each; of those alone
		rate                              = 4000.0
	)
	daily := DefaultPolicy().DailyCap
	var numbers []string
	for i := range alone {
		numbers = append(numbers, phoneOf(i))
	}
	for i := range families * permits {
		numbers = append(numbers, phoneOf(alone+i/permits))
	}
	ids := w.manyInTransit(numbers)
	w.set(at(0, 22, 0))
	messages := make([]string, len(ids)) // as the planner makes them, in the order of the feed
	for i := range messages {
		messages[i] = uuid.Must(uuid.NewV7()).String()
	}
	w.exec(`INSERT INTO messages (id, delivery_id, milestone, position, event_at, vars, state, verdict, reason, not_before, created_at, updated_at)
		SELECT id, delivery, 'handed_over', 1, $1, '{}', 'queued', 'send', '', $1, $1, $1 FROM unnest($2::uuid[], $3::uuid[]) AS m(id, delivery)`,
		at(0, 22, 0), pq.Array(messages), pq.Array(ids))
	w.exec(`UPDATE deliveries SET status = 'held' WHERE id = ANY ($1::uuid[])`, pq.Array(ids[:movedOn]))
	w.exec(`INSERT INTO messages (id, delivery_id, milestone, position, event_at, vars, state, verdict, reason, not_before, created_at, updated_at)
		SELECT gen_random_uuid(), id, 'held', 2, $2, '{"held_until": "2026-12-10"}', 'queued', 'send', '', $2, $2, $2 FROM deliveries
		WHERE id = ANY ($1::uuid[])`, pq.Array(ids[:movedOn]), at(0, 22, 0))
	g := &strictGateway{fakeGateway: fakeGateway{name: "a"}, last: map[string]time.Time{}}
	g.script = func(s SMS) (bool, error) {
		now := w.clock().Now()
		g.mu.Lock()
		defer g.mu.Unlock()
		g.asked++
		if last, ok := g.last[s.Phone.Reveal()]; ok && now.Sub(last) < time.Minute {
			return false, &SendError{Class: Throttle, Code: "isv.BUSINESS_LIMIT_CONTROL"}
		}
		g.last[s.Phone.Reveal()] = now
		return true, nil
	}
	gateways := w.gateways(g)
	senders := []*Sender{NewSender(w.db, w.vault, gateways, w.clock(), Options{Rate: rate / 2, Lanes: 2}, w.log, nil),
		NewSender(w.db, w.vault, gateways, w.clock(), Options{Rate: rate / 2, Lanes: 2}, w.log, nil)}
	rounds := func() {
		var wg sync.WaitGroup
		for _, s := range senders {
			wg.Go(func() { w.run(s) })
		}
		wg.Wait()
	}
	rounds()
	w.set(at(1, 7, 59))
	rounds()
	if g.asked != 0 {
		t.Fatalf("%d requests at night", g.asked)
	}
	w.set(at(1, 8, 0))
	began := time.Now()
	rounds()
	burst := rate / 10
	if least := time.Duration((float64(g.asked) - burst) / rate * float64(time.Second)); g.asked < alone || time.Since(began) < least {
		t.Errorf("%d requests in %s: the rate allows them in %s", g.asked, time.Since(began), least)
	}
	due := func() int {
		return w.count(`SELECT count(*) FROM messages WHERE state = 'queued' AND not_before <= $1`, at(1, 20, 0))
	}
	for range 60 { // families get theirs a minute apart
		if due() == 0 {
			break
		}
		w.pass(time.Minute)
		rounds()
	}
	if n := due(); n != 0 {
		t.Errorf("%d messages wait still", n)
	}
	want := alone + families*daily
	if n := len(g.ledger); n != want {
		t.Errorf("%d messages were taken, want %d", n, want)
	}
	told, place := map[string]int{}, movedOn
	const inHand = 2 * 2 * 500 // senders, lanes, messages a chunk
	for _, s := range g.ledger {
		told[s.Phone.Reveal()]++
		nth, err := strconv.Atoi(s.Phone.Reveal()[3:])
		if err != nil {
			t.Fatal(err)
		}
		if s.Milestone != HandedOver || nth >= alone { // families wait for each other
			continue
		}
		if off := nth - place; max(off, -off) > inHand {
			t.Fatalf("the %dth in line was told as the %dth", nth, place)
		}
		place++
	}
	for i := range alone {
		if told[phoneOf(i)] != 1 {
			t.Fatalf("the %dth number was told %d times", i, told[phoneOf(i)])
		}
	}
	if n := w.count(`SELECT count(*) FROM message_attempts a WHERE a.state = 'accepted'
		GROUP BY a.message_id ORDER BY 1 DESC LIMIT 1`); n != 1 {
		t.Errorf("I-5: a message was accepted %d times", n)
	}
	if n := w.count(`SELECT count(*) FROM messages WHERE milestone = 'handed_over' AND verdict = 'merge' AND state = 'suppressed'`); n != movedOn {
		t.Errorf("%d are merged into newer news, want %d", n, movedOn)
	}
	if n := w.count(`SELECT count(*) FROM messages WHERE milestone = 'held' AND state = 'accepted'`); n != movedOn {
		t.Errorf("%d are told that theirs is held, want %d", n, movedOn)
	}
	if n := w.count(`SELECT count(*) FROM messages WHERE state = 'queued' AND verdict = 'capped' AND reason <> ''`); n != families*(permits-daily) {
		t.Errorf("%d wait for tomorrow, want %d", n, families*(permits-daily))
	}
}
