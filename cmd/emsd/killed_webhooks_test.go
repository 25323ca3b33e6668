package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"emsd/courier"
	"emsd/notify/webhook"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// A witness is a subscriber that keeps every request, in the order in which they came.
type witness struct {
	*httptest.Server
	mu  sync.Mutex
	got []testimony
}

type testimony struct {
	id, from string // webhook-id, and the connection: a process that was killed does not come back on its own
	body     []byte
	header   http.Header
}

func newWitness(t *testing.T) *witness {
	t.Helper()
	w := &witness{}
	w.Server = httptest.NewServer(w)
	t.Cleanup(w.Close)
	return w
}

func (w *witness) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil { // its sender was killed: nothing was taken
		rw.WriteHeader(http.StatusBadRequest)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.got = append(w.got, testimony{r.Header.Get(webhook.HeaderID), r.RemoteAddr, body, r.Header.Clone()})
	rw.WriteHeader(http.StatusNoContent)
}

func (w *witness) all() []testimony {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.got)
}

// judge checks every request with the official library, that what has one id has the same bytes, and that nothing is missing.
// In order, nothing comes before what precedes it, and a process that tells again does so without a gap.
func (w *witness) judge(t *testing.T, secret string, events int, ordered bool) {
	t.Helper()
	hook, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	bodies, last, highest := map[string]string{}, map[string]int{}, 0
	for _, x := range w.all() {
		if err := hook.VerifyIgnoringTimestamp(x.body, x.header); err != nil {
			t.Errorf("%s: %v", x.id, err)
		}
		if before, again := bodies[x.id]; again && before != string(x.body) {
			t.Errorf("%s came with other bytes:\n%s\n%s", x.id, before, x.body)
		}
		bodies[x.id] = string(x.body)
		var b struct{ Data struct{ Position int } }
		if err := json.Unmarshal(x.body, &b); err != nil {
			t.Fatal(err)
		}
		at := b.Data.Position
		if ordered && (at > highest+1 || last[x.from] != 0 && at != last[x.from]+1) {
			t.Errorf("position %d came after %d on its connection, after %d of all", at, last[x.from], highest)
		}
		last[x.from], highest = at, max(highest, at)
	}
	if len(bodies) != events || highest != events {
		t.Errorf("%d messages up to position %d for %d events", len(bodies), highest, events)
	}
	t.Logf("%d messages in %d requests", len(bodies), len(w.all()))
}

// TestKilledAtEveryPointOfTellingSubscribers: the real process is killed between every two steps of sending webhooks; each life
// tells what the one before has not recorded, under the same id and in the same bytes.
func TestKilledAtEveryPointOfTellingSubscribers(t *testing.T) {
	t.Parallel()
	m := newMortal(t, "EMSD_SMS=log", "EMSD_WEBHOOK_ALLOW=127.0.0.0/8:*")
	allow, err := webhook.ParseAllow([]string{"127.0.0.0/8:*"})
	if err != nil {
		t.Fatal(err)
	}
	hooks := webhook.NewService(m.db, m.vault, allow, courier.Clock{Now: m.now, Wall: m.now})
	witnesses, secrets := map[bool]*witness{}, map[bool]string{}
	for _, ordered := range []bool{true, false} {
		w, name := newWitness(t), "测试订阅方"
		_, credentials, err := hooks.Create(t.Context(), webhook.Wish{Name: &name, URL: &w.URL, Ordered: &ordered}, "test")
		if err != nil {
			t.Fatal(err)
		}
		witnesses[ordered], secrets[ordered] = w, credentials.Secret
	}
	for _, point := range append(slices.Clone(webhook.Points), webhook.PointPosted+"/4", webhook.PointRecorded+"/2") {
		m.envelopes(5)
		m.die(point)
		m.ahead.Add(int64(10 * time.Minute)) // the leases of the dead one are over
	}
	cmd, ended := m.live()
	until(t, time.Minute, "all told", func() bool {
		var waiting int
		if err := m.db.Get(&waiting, `SELECT (SELECT count(*) FROM webhook_outbox WHERE done_at IS NULL)
			+ (SELECT count(*) FROM events WHERE position IS NULL OR position > (SELECT position FROM feed_readers WHERE name = 'webhook'))`); err != nil {
			t.Fatal(err)
		}
		return waiting == 0
	})
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-ended
	var events int
	if err := m.db.Get(&events, `SELECT count(*) FROM events`); err != nil {
		t.Fatal(err)
	}
	for ordered, w := range witnesses {
		w.judge(t, secrets[ordered], events, ordered)
	}
}
