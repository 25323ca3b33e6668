package notify

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"emsd/courier"
	"emsd/migrations/dbtest"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// away makes a table unreachable until back is called, as a database that is gone does.
func (w *world) away(table string) (back func()) {
	w.exec(`ALTER TABLE ` + table + ` RENAME TO gone_away`)
	return func() { w.exec(`ALTER TABLE gone_away RENAME TO ` + table) }
}

// TestWhatAGatewaySaidOutlivesADatabaseThatIsAway: the answers come while nothing can be written. A refusal is known to
// nobody else: forgotten, it would be a message in doubt.
func TestWhatAGatewaySaidOutlivesADatabaseThatIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	fine, refused := w.news(courier.InTransit, courier.EventData{}), w.news(courier.Held, courier.EventData{HeldUntil: "2026-12-10"})
	var back func()
	g := &fakeGateway{name: "a", script: func(s SMS) (bool, error) {
		if back == nil {
			back = w.away("message_attempts")
		}
		if s.Milestone == Held {
			return false, &SendError{Class: Recipient, Code: "test"}
		}
		return true, nil
	}}
	s := w.sender(w.gateways(g), Options{Concurrency: 1})
	done := make(chan error, 1)
	go func() { done <- s.Round(t.Context()) }()
	const says = "tried again until it is"
	eventually(t, "a failed try", func() bool { return strings.Contains(w.logs.String(), says) })
	back()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	w.wantMessage(fine, HandedOver, state{accepted, Send, 1})
	w.wantMessage(refused, Held, state{failed, Send, 1})
	w.wantAttempts(refused, "a rejected")
	if n := strings.Count(w.logs.String(), says); n != 1 || w.openCases(refused) != 1 {
		t.Errorf("said %d times, %d cases; want once and one", n, w.openCases(refused))
	}
}

// TestI5_PostgreSQLGoneForAMinute: the server is killed with requests at the gateway and away for a minute, by the clock on the wall.
// What the gateway said meanwhile is written when it is back: of refusals and acceptances none is forgotten, and nothing is sent twice.
func TestI5_PostgreSQLGoneForAMinute(t *testing.T) {
	t.Parallel()
	server, dsn := dbtest.Private(t, nil)
	db := sqlx.MustOpen("postgres", dsn)
	defer db.Close()
	w := worldOn(t, db)
	const n = 60
	var ids []uuid.UUID
	for i := range n {
		ids = append(ids, w.newsTo(phoneOf(i), courier.InTransit))
	}
	var arrived atomic.Int32
	all, gone := make(chan struct{}), make(chan struct{})
	g := &fakeFinder{fakeGateway{name: "a", script: func(s SMS) (bool, error) {
		if arrived.Add(1) == n {
			close(all)
		}
		<-gone
		if number := s.Phone.Reveal(); (number[len(number)-1]-'0')%2 == 1 {
			return false, &SendError{Class: Recipient, Code: "test"}
		}
		return true, nil
	}}}
	done := make(chan error, 1)
	go func() { done <- w.sender(w.gateways(g), Options{}).Round(t.Context()) }()
	<-all
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	close(gone)
	<-time.After(time.Minute)
	if err := server.StartAgain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	for i, id := range ids {
		want := state{accepted, Send, 1}
		if i%2 == 1 {
			want.State = failed
		}
		w.wantMessage(id, HandedOver, want)
	}
	w.run(w.sender(w.gateways(g), Options{}))
	if taken := g.once(t); taken != n/2 || int(arrived.Load()) != n {
		t.Errorf("%d requests, of which %d were taken; want %d and %d", arrived.Load(), taken, n, n/2)
	}
}

// A round that is to stop does not wait for the database; the next process asks.
func TestAStopDoesNotWaitForADatabaseThatIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.news(courier.InTransit, courier.EventData{})
	ctx, cancel := context.WithCancel(t.Context())
	var back func()
	g := &fakeFinder{fakeGateway{name: "a", script: func(SMS) (bool, error) { back = w.away("message_attempts"); cancel(); return true, nil }}}
	gateways := w.gateways(g)
	if err := w.sender(gateways, Options{}).Round(ctx); err == nil {
		t.Error("the round ended without an error")
	}
	back()
	w.wantAttempts(id, "a sending")
	w.pass(3 * time.Minute)
	w.run(w.resolver(gateways, Options{}))
	w.wantAttempts(id, "a accepted")
	g.once(t)
}

// A pullGateway hands out its receipts once.
type pullGateway struct {
	fakeFinder
	waiting []Receipt
	pulls   int
}

func (g *pullGateway) Pull(context.Context) ([]Receipt, error) {
	g.pulls++
	list := g.waiting
	g.waiting = nil
	return list, nil
}

// TestReceiptsThatWereFetchedOutliveADatabaseThatIsAway: their gateway may not hand them out again.
func TestReceiptsThatWereFetchedOutliveADatabaseThatIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := &pullGateway{fakeFinder: fakeFinder{fakeGateway{name: "a", script: always(Unknown, true)}}}
	gateways := w.gateways(g)
	id := w.news(courier.InTransit, courier.EventData{})
	w.run(w.sender(gateways, Options{}))
	g.waiting = []Receipt{{AttemptID: w.attemptID(id), Success: true, Code: "ok"}}
	r := w.receipts(gateways)
	back := w.away("message_receipts")
	for range 2 {
		if err := r.Round(t.Context()); err == nil {
			t.Error("the round ended without an error")
		}
	}
	if g.pulls != 1 {
		t.Errorf("fetched %d times while nothing could be stored, want 1", g.pulls)
	}
	back()
	w.run(r)
	w.wantAttempts(id, "a delivered")
}

// eventually looks again and again until ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(30 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("after 30 s: not %s", what)
		}
	}
}
