package webhook

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"emsd/courier"
)

// TestAReplayDuringATryComesAfterIt: whatever becomes of the try that is on its way, what was asked for again meanwhile is sent
// once more when it is over, never beside it, and then no more.
func TestAReplayDuringATryComesAfterIt(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		ordered bool
		first   int // the answer to the try that is on its way
		tries   int // that are recorded as the first of a schedule
	}{
		{"taken", false, 204, 2},
		{"taken, in order", true, 204, 2},
		{"not taken", false, 500, 2},
		{"not taken, in order", true, 500, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			begun, end := make(chan struct{}), make(chan struct{})
			sub := newSubscriber(t, func(n int, rw http.ResponseWriter, _ *http.Request) {
				if n == 1 {
					close(begun)
					<-end
					rw.WriteHeader(tt.first)
				}
			})
			e, _ := w.endpoint(sub.URL, Wish{Ordered: &tt.ordered})
			last := w.news(1, "delivery.delivered")
			s := w.sender(Options{})
			if err := s.Round(t.Context()); err != nil {
				t.Fatal(err)
			}
			<-begun
			for range 2 { // asked for twice while one is on its way, it comes once more all the same
				if n, err := w.hooks.Replay(t.Context(), e.ID, Replay{After: last - 1, Until: last}, "test"); n != 1 || err != nil {
					t.Fatalf("replay: %d, %v", n, err)
				}
			}
			if err := s.Round(t.Context()); err != nil { // nothing may be begun beside it
				t.Fatal(err)
			}
			close(end)
			s.Wait()
			w.pass(time.Minute) // what was not taken waits as ever
			w.run(s)
			w.pass(24 * time.Hour)
			w.run(s)
			if n := len(sub.all()); n != 2 || sub.most != 1 || w.get(e.ID).Pending != 0 {
				t.Errorf("%d requests, %d at a time, %d wait; want 2, 1 at a time", n, sub.most, w.get(e.ID).Pending)
			}
			if n := w.count(`SELECT count(*) FROM webhook_attempts WHERE try = 1`); n != tt.tries {
				t.Errorf("%d tries are the first of a schedule, want %d", n, tt.tries)
			}
		})
	}
}

// TestAReplayOutlivesTheProcessThatHadTheTry: what a killed process had on its way counts for what was asked for again, since it
// begins after that.
func TestAReplayOutlivesTheProcessThatHadTheTry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sub := newSubscriber(t, nil)
	e, _ := w.endpoint(sub.URL, Wish{})
	last := w.news(1, "delivery.delivered")
	if _, _, err := planOnce(t.Context(), w.db, w.clock().Wall(), 10); err != nil {
		t.Fatal(err)
	}
	w.exec(`UPDATE webhook_outbox SET lease_until = $1`, w.clock().Wall().Add(time.Minute)) // claimed, and the claimer is gone
	if n, err := w.hooks.Replay(t.Context(), e.ID, Replay{After: last - 1, Until: last}, "test"); n != 1 || err != nil {
		t.Fatalf("replay: %d, %v", n, err)
	}
	s := w.sender(Options{})
	w.run(s)
	if n := len(sub.all()); n != 0 {
		t.Errorf("%d requests while another process may be sending it", n)
	}
	w.pass(2 * time.Minute)
	w.run(s)
	w.run(s)
	if n := len(sub.all()); n != 1 || w.get(e.ID).Pending != 0 {
		t.Errorf("%d requests, %d wait; want one", n, w.get(e.ID).Pending)
	}
}

// TestAReplayThatReachesBackTooFarSaysSo instead of sending less than was asked for.
func TestAReplayThatReachesBackTooFarSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sub := newSubscriber(t, nil)
	e, _ := w.endpoint(sub.URL, Wish{})
	young, _ := w.endpoint(sub.URL+"/young", Wish{Types: &[]string{"permit.lost"}})
	old := w.news(5, "delivery.delivered")
	s := w.sender(Options{})
	w.run(s)
	w.pass(40 * 24 * time.Hour)
	last := w.news(3, "delivery.delivered")
	w.run(s)
	if err := s.Purge(t.Context(), w.clock().Wall().Add(-30*24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	_, err := w.hooks.Replay(t.Context(), e.ID, Replay{After: old - 1, Until: last}, "test")
	gone, ok := errors.AsType[*courier.Gone](err)
	if !ok || gone.After != old || gone.Code != "replay_too_far_back" {
		t.Fatalf("a range with a purged message: %v", err)
	}
	if n, err := w.hooks.Replay(t.Context(), e.ID, Replay{After: gone.After, Until: last}, "test"); n != 3 || err != nil {
		t.Errorf("what is still there: %d, %v", n, err)
	}
	if n, err := w.hooks.Replay(t.Context(), young.ID, Replay{After: old - 1, Until: last}, "test"); n != 0 || err != nil {
		t.Errorf("an endpoint of which nothing was purged: %d, %v", n, err)
	}
}
