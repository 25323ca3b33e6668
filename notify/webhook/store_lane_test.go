package webhook

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"
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
	eventually(t, "three requests in flight", func() bool { return len(sub.all()) == 3 })
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
