package webhook

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"emsd/courier"
	"emsd/courier/asynctest"

	"github.com/jmoiron/sqlx"
)

// TestWhatWasClaimedAheadIsHandedBackAfterAFailure: rows that wait behind a failing request are neither tried nor counted as
// tried, and go out once the endpoint answers.
func TestWhatWasClaimedAheadIsHandedBackAfterAFailure(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sub := newSubscriber(t, status(http.StatusBadGateway))
	e, _ := w.endpoint(sub.URL, Wish{})
	w.news(60, "delivery.delivered")
	s := w.sender(Options{InFlight: 2, Ahead: 50})
	w.run(s)
	if n := len(sub.all()); n > breakFailures+2 {
		t.Errorf("%d requests to an endpoint that fails, want it to be probed after %d", n, breakFailures)
	}
	if n := w.count(`SELECT count(*) FROM webhook_outbox WHERE lease_until IS NOT NULL`); n != 0 {
		t.Errorf("%d rows are still leased", n)
	}
	if tries, requests := w.count(`SELECT sum(tries) FROM webhook_outbox`), len(sub.all()); tries != requests {
		t.Errorf("%d tries are counted for %d requests", tries, requests)
	}
	sub.says(nil)
	for range 3 {
		w.pass(time.Minute)
		w.run(s)
	}
	if got := w.get(e.ID); got.Pending != 0 || len(sub.ids()) != 60 {
		t.Errorf("%d messages came, %d wait", len(sub.ids()), got.Pending)
	}
}

// TestAStopHandsBackWhatWasNotBegun: requests in flight are finished and recorded, nothing else is begun, and another process
// need not wait for leases.
func TestAStopHandsBackWhatWasNotBegun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	release := make(chan struct{})
	var once sync.Once
	free := func() { once.Do(func() { close(release) }) }
	t.Cleanup(free)
	sub := newSubscriber(t, func(int, http.ResponseWriter, *http.Request) { <-release })
	e, _ := w.endpoint(sub.URL, Wish{})
	w.news(20, "delivery.delivered")
	s := w.sender(Options{InFlight: 3})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	if err := s.Round(ctx); err != nil {
		t.Fatal(err)
	}
	asynctest.Eventually(t, "three requests in flight", func() bool { return len(sub.all()) == 3 })
	stop()
	free()
	s.Wait()
	if n := len(sub.all()); n != 3 {
		t.Errorf("%d requests, want the 3 that were in flight", n)
	}
	if done := w.count(`SELECT count(*) FROM webhook_outbox WHERE done_at IS NOT NULL`); done != 3 || w.get(e.ID).Pending != 17 {
		t.Errorf("%d are recorded, %d wait", done, w.get(e.ID).Pending)
	}
	w.run(w.sender(Options{}))
	if n := len(sub.ids()); n != 20 || len(sub.all()) != 20 {
		t.Errorf("%d messages in %d requests after the next start, want 20 in 20", n, len(sub.all()))
	}
}

// TestOrderBeginsWhenNothingIsOnItsWayAnyMore: an endpoint that is told to keep order while requests are in flight waits for
// them, although the head of its line is due.
func TestOrderBeginsWhenNothingIsOnItsWayAnyMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	release := make(chan struct{})
	var once sync.Once
	free := func() { once.Do(func() { close(release) }) }
	t.Cleanup(free)
	var mu sync.Mutex
	first := ""
	sub := newSubscriber(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get(HeaderID)
		mu.Lock()
		if first == "" {
			first = id
		}
		refuse := id == first
		mu.Unlock()
		if refuse {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		<-release
	})
	e, _ := w.endpoint(sub.URL, Wish{})
	w.news(1, "delivery.delivered")
	s := w.sender(Options{})
	w.run(s) // the first is refused, and waits
	w.news(1, "delivery.delivered")
	if err := s.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	asynctest.Eventually(t, "the second in flight", func() bool { return len(sub.all()) == 2 })
	if _, err := w.hooks.Change(t.Context(), e.ID, Wish{Ordered: ptr(true)}, "test"); err != nil {
		t.Fatal(err)
	}
	w.pass(20 * time.Second) // the first is due again
	other := w.sender(Options{})
	w.run(other)
	if n := len(sub.all()); n != 2 {
		t.Errorf("%d requests while one is in flight, want 2", n)
	}
	mu.Lock()
	first = "nobody"
	mu.Unlock()
	free()
	s.Wait()
	w.run(other)
	if got := w.get(e.ID); got.Pending != 0 {
		t.Errorf("%d wait", got.Pending)
	}
}

func TestTwoDaemonsDoNotBothTakeTheHeadOfALine(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e, _ := w.endpoint("http://127.0.0.1:9/", Wish{Ordered: ptr(true)})
	w.news(2, "delivery.delivered")
	if _, _, err := planOnce(t.Context(), w.db, w.clock().Wall(), 10); err != nil {
		t.Fatal(err)
	}
	wall := w.clock().Wall()
	claim := func(f func(rows []claimed)) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		err := courier.InTx(ctx, w.db, func(tx *sqlx.Tx) error {
			rows, err := claimLines(ctx, tx, []*target{{ID: e.ID, free: 1}}, wall, wall.Add(time.Minute))
			if err == nil {
				f(rows)
			}
			return err
		})
		if err != nil {
			t.Errorf("claim: %v", err)
		}
	}
	claim(func(rows []claimed) {
		if len(rows) != 1 {
			t.Fatalf("%d heads, want 1", len(rows))
		}
		claim(func(rows []claimed) { // while the first is not committed
			if len(rows) != 0 {
				t.Errorf("another claimed %d, too", len(rows))
			}
		})
	})
	claim(func(rows []claimed) {
		if len(rows) != 0 {
			t.Errorf("%d claimed while one is on its way", len(rows))
		}
	})
}

func TestA410IsNeverTheEndOfAMessage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sub := newSubscriber(t, func(n int, w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(map[bool]int{true: http.StatusInternalServerError, false: http.StatusGone}[n == 1])
	})
	e, _ := w.endpoint(sub.URL, Wish{})
	w.news(1, "delivery.delivered")
	s := w.sender(Options{Waits: Waits{time.Second}})
	w.run(s)
	w.pass(2 * time.Second)
	w.run(s) // the last try
	if got := w.get(e.ID); got.Disabled != whyGone || got.Pending != 1 || got.Failed != 0 {
		t.Errorf("after a 410 at the last try: %+v", got)
	}
}
