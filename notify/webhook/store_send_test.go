package webhook

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"emsd/courier"
	"emsd/courier/asynctest"

	"github.com/google/uuid"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

func TestEveryEventReachesWhoeverAskedForIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.news(3, "delivery.ordered") // before anybody asked
	all, some, none := newSubscriber(t, nil), newSubscriber(t, nil), newSubscriber(t, nil)
	e, c := w.endpoint(all.URL, Wish{})
	w.endpoint(some.URL, Wish{Types: &[]string{"payment.recorded", "case.*"}})
	w.endpoint(none.URL, Wish{Types: &[]string{"permit.lost"}})
	first := w.news(4, "delivery.delivered") - 3
	w.news(2, "case.opened")
	w.news(1, "payment.recorded")
	s := w.sender(Options{})
	w.run(s)
	w.run(s)
	if a, b, c := len(all.ids()), len(some.ids()), len(none.all()); a != 7 || b != 3 || c != 0 || len(all.all()) != 7 {
		t.Errorf("%d, %d and %d messages came, want 7, 3 and 0, once each", a, b, c)
	}
	all.verify(t, c.Secret)
	var positions []int64
	for _, r := range all.all() {
		var body struct {
			Type, Timestamp string
			Data            map[string]any
		}
		if err := json.Unmarshal([]byte(r.body), &body); err != nil {
			t.Fatal(err)
		}
		var fields []string
		for k := range body.Data {
			fields = append(fields, k)
		}
		slices.Sort(fields)
		if want := []string{"delivery_id", "position", "seq", "type"}; !slices.Equal(fields, want) || body.Type != body.Data["type"] {
			t.Errorf("data has %q of type %s, want %q", fields, body.Type, want)
		}
		if at, err := time.Parse(time.RFC3339, body.Timestamp); err != nil || !at.Equal(w.clock().Now()) {
			t.Errorf("timestamp %q, %v", body.Timestamp, err)
		}
		positions = append(positions, int64(body.Data["position"].(float64)))
	}
	slices.Sort(positions)
	for i, p := range positions {
		if p != first+int64(i) {
			t.Fatalf("positions %v, want each from %d once", positions, first)
		}
	}
	got := w.get(e.ID)
	if got.Pending != 0 || got.LastSuccessAt.IsZero() || got.Health != (Health{}) {
		t.Errorf("the endpoint is %+v", got)
	}
}

// TestATryIsTheSameMessage checks id and bytes over tries and a replay, with a signature of the present time each.
func TestATryIsTheSameMessage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sub := newSubscriber(t, func(n int, w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(map[bool]int{true: 500, false: 200}[n <= 3])
	})
	e, c := w.endpoint(sub.URL, Wish{Ed25519: ptr(true)})
	w.news(1, "delivery.delivered")
	s := w.sender(Options{})
	for range 6 {
		w.run(s)
		w.pass(20 * time.Minute)
	}
	got := sub.all()
	if len(got) != 4 {
		t.Fatalf("%d tries, want 4", len(got))
	}
	if n, err := w.hooks.Replay(t.Context(), e.ID, Replay{MessageID: got[0].id}, "test"); err != nil || n != 1 {
		t.Fatalf("replay: %d, %v", n, err)
	}
	w.run(s)
	got = sub.all()
	if len(got) != 5 {
		t.Fatalf("%d tries after the replay, want 5", len(got))
	}
	stamps := map[string]bool{}
	for _, r := range got {
		if r.id != got[0].id || r.body != got[0].body {
			t.Errorf("a try was %s %s, the first %s %s", r.id, r.body, got[0].id, got[0].body)
		}
		stamps[r.timestamp] = true
	}
	if len(stamps) < 4 {
		t.Errorf("timestamps %v: each try has its own", stamps)
	}
	sub.verify(t, c.Secret)
	verifyV1a(t, c.PublicKey, got)
	page, err := w.hooks.Attempts(t.Context(), e.ID, "", 2)
	if err != nil || len(page.Attempts) != 2 || page.Next == "" || page.Attempts[0].Outcome != outcomeDelivered || page.Attempts[0].Try != 1 ||
		page.Attempts[1].Try != 4 || page.Attempts[1].MessageID != got[0].id {
		t.Errorf("the newest tries are %+v, %v", page, err)
	}
	rest, err := w.hooks.Attempts(t.Context(), e.ID, page.Next, 10)
	if err != nil || len(rest.Attempts) != 3 || rest.Next != "" || rest.Attempts[2].Status != 500 {
		t.Errorf("the others are %+v, %v", rest, err)
	}
}

func verifyV1a(t *testing.T, public string, got []received) {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(public, "whpk_"))
	if err != nil || len(key) != ed25519.PublicKeySize || !strings.HasPrefix(public, "whpk_") {
		t.Fatalf("%q is no public key", public)
	}
	for _, r := range got {
		valid := slices.ContainsFunc(strings.Fields(r.signature), func(s string) bool {
			version, text, _ := strings.Cut(s, ",")
			sig, err := base64.StdEncoding.DecodeString(text)
			return version == "v1a" && err == nil && ed25519.Verify(key, []byte(r.id+"."+r.timestamp+"."+r.body), sig)
		})
		if !valid {
			t.Errorf("%s: no valid v1a signature in %q", r.id, r.signature)
		}
	}
}

func TestWhatWasTamperedWithDoesNotVerify(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sub := newSubscriber(t, nil)
	_, c := w.endpoint(sub.URL, Wish{})
	w.news(1, "delivery.lost")
	w.run(w.sender(Options{}))
	r := sub.all()[0]
	hook, err := standardwebhooks.NewWebhook(c.Secret)
	if err != nil {
		t.Fatal(err)
	}
	if err := hook.Verify([]byte(r.body), r.header); err != nil {
		t.Fatalf("untouched: %v", err)
	}
	change := func(name, value string) http.Header {
		h := r.header.Clone()
		h.Set(name, value)
		return h
	}
	for name, err := range map[string]error{
		"body":      hook.Verify([]byte(strings.Replace(r.body, "lost", "found", 1)), r.header),
		"id":        hook.Verify([]byte(r.body), change(HeaderID, "msg_"+uuid.NewString())),
		"timestamp": hook.Verify([]byte(r.body), change(HeaderTimestamp, "1")),
		"signature": hook.Verify([]byte(r.body), change(HeaderSignature, "v1,AAAA"+r.signature[7:])),
	} {
		if err == nil {
			t.Errorf("%s changed: it verifies", name)
		}
	}
}

func TestBothSecretsSignUntilTheOverlapEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sub := newSubscriber(t, nil)
	e, before := w.endpoint(sub.URL, Wish{Ed25519: ptr(true)})
	e2, after, err := w.hooks.RotateSecret(t.Context(), e.ID, time.Hour, "test")
	if err != nil || after.Secret == before.Secret || after.PublicKey == before.PublicKey || e2.OldPublicKey != before.PublicKey {
		t.Fatalf("rotate: %+v, %v", e2, err)
	}
	s := w.sender(Options{})
	w.news(1, "delivery.held")
	w.run(s)
	w.pass(59 * time.Minute)
	w.news(1, "delivery.held")
	w.run(s)
	sub.verify(t, before.Secret)
	sub.verify(t, after.Secret)
	verifyV1a(t, before.PublicKey, sub.all())
	verifyV1a(t, after.PublicKey, sub.all())
	w.pass(2 * time.Minute)
	w.news(1, "delivery.held")
	w.run(s)
	sub.verify(t, after.Secret)
	last := sub.all()[2]
	hook, _ := standardwebhooks.NewWebhook(before.Secret)
	if err := hook.VerifyIgnoringTimestamp([]byte(last.body), last.header); err == nil {
		t.Error("the old secret still signs after the overlap")
	}
	if n := len(strings.Fields(last.signature)); n != 2 {
		t.Errorf("%d signatures after the overlap, want 2", n)
	}
	if n := w.count(`SELECT count(*) FROM webhook_endpoints WHERE position($1::bytea IN secret_sealed) > 0`, []byte(after.Secret)); n != 0 {
		t.Error("the secret stands in the database in clear")
	}
}

func TestGoneDisablesAtOnceAndLosesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sub := newSubscriber(t, status(http.StatusGone))
	e, _ := w.endpoint(sub.URL, Wish{Ordered: ptr(true)})
	w.news(3, "delivery.delivered")
	s := w.sender(Options{})
	w.run(s)
	got := w.get(e.ID)
	if got.Disabled != whyGone || got.Pending != 3 || w.openCases() != 1 || len(sub.all()) != 1 {
		t.Fatalf("after a 410: %+v, %d cases, %d requests", got, w.openCases(), len(sub.all()))
	}
	cases, err := courier.New(w.db, w.vault, w.clock(), courier.Options{}).Cases(t.Context(), courier.CaseFilter{Kind: courier.CaseWebhookDisabled})
	if err != nil || len(cases.Cases) != 1 || cases.Cases[0].Subject != "webhook:"+e.ID.String() || cases.Cases[0].DeliveryID != uuid.Nil {
		t.Errorf("the worklist has %+v, %v", cases, err)
	}
	w.news(2, "delivery.delivered") // arrives meanwhile
	w.pass(100 * time.Hour)
	w.run(s)
	if n := len(sub.all()); n != 1 {
		t.Errorf("%d requests to a disabled endpoint", n)
	}
	sub.says(nil)
	if _, err := w.hooks.Enable(t.Context(), e.ID, "test"); err != nil {
		t.Fatal(err)
	}
	w.run(s)
	if got := w.get(e.ID); got.Disabled != "" || got.Pending != 0 || len(sub.ids()) != 5 || w.openCases() != 0 {
		t.Errorf("after enabling: %+v, %d messages, %d cases", got, len(sub.ids()), w.openCases())
	}
	if n := w.count(`SELECT count(*) FROM events WHERE type LIKE 'case.%'`); n != 0 {
		t.Errorf("%d events of cases without a delivery", n)
	}
}

func TestFailingForTooLongDisablesAndLosesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sub := newSubscriber(t, status(http.StatusServiceUnavailable))
	e, _ := w.endpoint(sub.URL, Wish{})
	w.news(2, "delivery.delivered")
	s := w.sender(Options{})
	var took time.Duration
	for ; w.get(e.ID).Disabled == ""; took += time.Hour {
		if took > 80*time.Hour {
			t.Fatalf("after %s of failures it is %+v", took, w.get(e.ID))
		}
		w.run(s)
		w.pass(time.Hour)
	}
	got := w.get(e.ID)
	if took < DisableAfter || got.Disabled != whyFailing || got.Pending != 2 || got.Failed != 0 || w.openCases() != 1 {
		t.Errorf("after %s: %+v, %d cases", took, got, w.openCases())
	}
	w.news(1, "delivery.delivered")
	sub.says(nil)
	if _, err := w.hooks.Change(t.Context(), e.ID, Wish{Enabled: ptr(true)}, "test"); err != nil {
		t.Fatal(err)
	}
	w.run(s)
	if got := w.get(e.ID); got.Pending != 0 || len(sub.ids()) != 3 || w.openCases() != 0 {
		t.Errorf("after enabling: %+v, %d messages", got, len(sub.ids()))
	}
	if n := w.count(`SELECT count(*) FROM audit WHERE action IN ('webhook.create', 'webhook.disable', 'webhook.change')`); n != 3 {
		t.Errorf("%d audit entries, want 3", n)
	}
}

// TestAMessageThatIsRefusedAloneFailsAndCanBeReplayed: an endpoint that takes others is not disabled for one.
func TestAMessageThatIsRefusedAloneFailsAndCanBeReplayed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sub := newSubscriber(t, nil)
	e, _ := w.endpoint(sub.URL, Wish{})
	w.news(1, "delivery.delivered")
	s := w.sender(Options{Waits: Waits{time.Second, time.Second}})
	sub.says(status(http.StatusBadRequest))
	for range 5 {
		w.run(s)
		w.pass(2 * time.Second)
	}
	if got := w.get(e.ID); got.Failed != 1 || got.Pending != 0 || got.Disabled != "" || len(sub.all()) != 3 {
		t.Fatalf("after all tries: %+v, %d requests", got, len(sub.all()))
	}
	sub.says(nil)
	w.run(s)
	if n, err := w.hooks.Replay(t.Context(), e.ID, Replay{Failed: true}, "test"); n != 1 || err != nil {
		t.Fatalf("replay: %d, %v", n, err)
	}
	w.run(s)
	if got := w.get(e.ID); got.Failed != 0 || got.Pending != 0 || len(sub.ids()) != 1 || len(sub.all()) != 4 {
		t.Errorf("after the replay: %+v, %v", got, sub.ids())
	}
}

func TestReplayOfARange(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sub, other := newSubscriber(t, nil), newSubscriber(t, nil)
	e, _ := w.endpoint(sub.URL, Wish{})
	w.endpoint(other.URL, Wish{})
	last := w.news(10, "delivery.delivered")
	s := w.sender(Options{})
	w.run(s)
	if n, err := w.hooks.Replay(t.Context(), e.ID, Replay{After: last - 6, Until: last - 2}, "test"); n != 4 || err != nil {
		t.Fatalf("replay: %d, %v", n, err)
	}
	w.run(s)
	twice := 0
	for _, n := range sub.ids() {
		if n == 2 {
			twice++
		}
	}
	if twice != 4 || len(sub.all()) != 14 || len(other.all()) != 10 {
		t.Errorf("%d messages came twice, %d in all, %d to the other", twice, len(sub.all()), len(other.all()))
	}
	for name, r := range map[string]Replay{"nothing": {}, "two ways": {Failed: true, MessageID: "msg_" + uuid.NewString()}, "backwards": {After: 9, Until: 3}, "no id": {MessageID: "x"}} {
		if _, err := w.hooks.Replay(t.Context(), e.ID, r, "test"); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := w.hooks.Replay(t.Context(), e.ID, Replay{MessageID: "msg_" + uuid.NewString()}, "test"); err != courier.ErrNotFound {
		t.Errorf("a message that is not there: %v", err)
	}
}

// TestOrderIsKeptWhereItIsAskedFor: with failures in between, one request at a time and every position in turn.
func TestOrderIsKeptWhereItIsAskedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	fail := func(n int, w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(map[bool]int{true: 500, false: 200}[n%5 == 3])
	}
	strict, loose := newSubscriber(t, fail), newSubscriber(t, fail)
	w.endpoint(strict.URL, Wish{Ordered: ptr(true)})
	w.endpoint(loose.URL, Wish{})
	w.news(20, "delivery.delivered")
	senders := []*Sender{w.sender(Options{}), w.sender(Options{})}
	for len(strict.ids()) < 20 || len(loose.ids()) < 20 {
		var wg sync.WaitGroup
		for _, s := range senders {
			wg.Go(func() { w.run(s) })
		}
		wg.Wait()
		w.pass(10 * time.Second)
		if len(strict.all()) > 60 || len(loose.all()) > 60 {
			t.Fatal("too many requests")
		}
	}
	var order []string
	for i, r := range strict.all() {
		if i > 0 && order[len(order)-1] == r.id {
			continue // the head of the line, again
		}
		order = append(order, r.id)
	}
	if !slices.IsSortedFunc(order, func(a, b string) int { return position(t, strict, a) - position(t, strict, b) }) || len(order) != 20 || strict.most != 1 {
		t.Errorf("%d messages in order, %d at a time", len(order), strict.most)
	}
}

func position(t *testing.T, s *subscriber, id string) int {
	t.Helper()
	for _, r := range s.all() {
		if r.id == id {
			var b struct{ Data struct{ Position int } }
			if err := json.Unmarshal([]byte(r.body), &b); err != nil {
				t.Fatal(err)
			}
			return b.Data.Position
		}
	}
	return 0
}

func TestRetryAfterHoldsTheEndpoint(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sub := newSubscriber(t, func(n int, w http.ResponseWriter, _ *http.Request) {
		if n == 1 {
			w.Header().Set("Retry-After", "600")
			w.WriteHeader(http.StatusTooManyRequests)
		}
	})
	w.endpoint(sub.URL, Wish{})
	w.news(1, "delivery.delivered")
	s := w.sender(Options{})
	w.run(s)
	w.pass(9 * time.Minute)
	w.news(1, "delivery.delivered")
	w.run(s)
	if n := len(sub.all()); n != 1 {
		t.Errorf("%d requests before the time it asked for", n)
	}
	w.pass(2 * time.Minute)
	w.run(s)
	if n := len(sub.ids()); n != 2 || len(sub.all()) != 3 {
		t.Errorf("%d messages in %d requests after it", n, len(sub.all()))
	}
}

// TestOneThatHangsDelaysNobody: the round itself waits for no answer, and the others go on while one hangs.
func TestOneThatHangsDelaysNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	release := make(chan struct{})
	var once sync.Once
	free := func() { once.Do(func() { close(release) }) }
	t.Cleanup(free)
	hanging := newSubscriber(t, func(int, http.ResponseWriter, *http.Request) { <-release })
	w.endpoint(hanging.URL, Wish{})
	var healthy []*subscriber
	for range 5 {
		sub := newSubscriber(t, nil)
		w.endpoint(sub.URL, Wish{})
		healthy = append(healthy, sub)
	}
	s := w.sender(Options{InFlight: 3})
	for range 4 {
		w.news(10, "delivery.delivered")
		if err := s.Round(t.Context()); err != nil { // returns while requests hang
			t.Fatal(err)
		}
	}
	asynctest.Eventually(t, "all that the healthy ones are to have", func() bool {
		return !slices.ContainsFunc(healthy, func(h *subscriber) bool { return len(h.ids()) < 40 })
	})
	if n := len(hanging.all()); n != 3 {
		t.Errorf("%d requests hang, want 3", n)
	}
	free()
	s.Wait()
	w.run(s)
	if n := len(hanging.ids()); n != 40 {
		t.Errorf("%d messages came once it answered, want 40", n)
	}
}

func TestTwoDaemonsNeverSendAMessageAtTheSameTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var mu sync.Mutex
	busy, twice := map[string]bool{}, 0
	sub := newSubscriber(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get(HeaderID)
		mu.Lock()
		if busy[id] {
			twice++
		}
		busy[id] = true
		mu.Unlock()
		runtime.Gosched()
		mu.Lock()
		busy[id] = false
		mu.Unlock()
	})
	w.endpoint(sub.URL, Wish{})
	const n = 150
	senders := []*Sender{w.sender(Options{InFlight: 7, PlanChunk: 11}), w.sender(Options{InFlight: 7, PlanChunk: 11}), w.sender(Options{InFlight: 7, PlanChunk: 11})}
	w.news(n, "delivery.delivered")
	var wg sync.WaitGroup
	for _, s := range senders {
		wg.Go(func() {
			for range 3 {
				w.run(s)
			}
		})
	}
	wg.Wait()
	if twice != 0 || len(sub.ids()) != n || len(sub.all()) != n {
		t.Errorf("%d messages in %d requests, %d at the same time; want %d once each", len(sub.ids()), len(sub.all()), twice, n)
	}
}

// TestACrashLosesNothing ends the goroutine that comes to each point, as a killed process ends all; another process then
// takes over once the leases have run out.
func TestACrashLosesNothing(t *testing.T) {
	t.Parallel()
	for _, point := range Points {
		for _, ordered := range []bool{false, true} {
			t.Run(point+map[bool]string{true: " ordered", false: ""}[ordered], func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				sub := newSubscriber(t, nil)
				e, _ := w.endpoint(sub.URL, Wish{Ordered: &ordered})
				w.news(6, "delivery.delivered")
				var hit atomic.Bool
				dying := w.sender(Options{Hook: func(at string) {
					if hit.Load() || at == point {
						hit.Store(true)
						runtime.Goexit() // from here on nothing of this process happens any more
					}
				}})
				died := make(chan struct{})
				go func() {
					defer close(died)
					if err := dying.Round(t.Context()); err != nil {
						t.Error(err)
					}
				}()
				<-died
				dying.Wait()
				if !hit.Load() {
					t.Fatal("the point was not reached")
				}
				s := w.sender(Options{})
				w.run(s)
				w.pass(2 * time.Minute) // leases have run out
				w.run(s)
				if got := w.get(e.ID); got.Pending != 0 || len(sub.ids()) != 6 {
					t.Errorf("%d messages came, %d wait", len(sub.ids()), got.Pending)
				}
			})
		}
	}
}

func TestATestMessageIsQueuedForOneEndpoint(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sub, other := newSubscriber(t, nil), newSubscriber(t, nil)
	e, c := w.endpoint(sub.URL, Wish{Types: &[]string{"permit.lost"}})
	w.endpoint(other.URL, Wish{})
	id, err := w.hooks.Test(t.Context(), e.ID, "test")
	if err != nil {
		t.Fatal(err)
	}
	w.run(w.sender(Options{}))
	got := sub.all()
	if len(got) != 1 || got[0].id != id || !strings.Contains(got[0].body, typeTest) || len(other.all()) != 0 {
		t.Errorf("came %+v, the other got %d", got, len(other.all()))
	}
	sub.verify(t, c.Secret)
}

// TestEndpointsCannotTellWhatTheyWant compares the planner's choice in SQL with the rule in Go.
func TestThePlannerChoosesAsTheRuleSays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	types := []string{"delivery.delivered", "delivery.held", "case.opened", "permit.lost", "return.picked_up"}
	wishes := [][]string{{}, {"delivery.*"}, {"case.opened", "return.*"}, {"delivery.held"}, {"cases.*"}}
	var endpoints []Endpoint
	for _, wish := range wishes {
		e, _ := w.endpoint("http://127.0.0.1:9/"+strings.Join(wish, "/"), Wish{Types: &wish})
		endpoints = append(endpoints, e)
	}
	for _, typ := range types {
		w.news(1, typ)
	}
	if _, _, err := planOnce(t.Context(), w.db, w.clock().Wall(), 100); err != nil {
		t.Fatal(err)
	}
	for _, e := range endpoints {
		var got []string
		if err := w.db.Select(&got, `SELECT m.type FROM webhook_outbox o JOIN webhook_messages m ON m.n = o.n WHERE o.endpoint_id = $1 ORDER BY m.n`, e.ID); err != nil {
			t.Fatal(err)
		}
		want := slices.DeleteFunc(slices.Clone(types), func(typ string) bool { return !e.wants(typ) })
		if !slices.Equal(got, want) {
			t.Errorf("%v: queued %v, want %v", e.Types, got, want)
		}
	}
}

func TestPurgeKeepsWhatWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sub := newSubscriber(t, nil)
	e, _ := w.endpoint(sub.URL, Wish{})
	paused, _ := w.endpoint(sub.URL+"/paused", Wish{Types: &[]string{"permit.lost"}, Enabled: ptr(false)})
	w.news(3, "delivery.delivered")
	w.news(1, "permit.lost")
	s := w.sender(Options{})
	w.run(s)
	w.pass(40 * 24 * time.Hour)
	w.news(1, "delivery.delivered")
	w.run(s)
	if err := s.Purge(t.Context(), w.clock().Wall().Add(-30*24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	messages, attempts := w.count(`SELECT count(*) FROM webhook_messages`), w.count(`SELECT count(*) FROM webhook_attempts`)
	if w.get(e.ID).Pending != 0 || w.get(paused.ID).Pending != 1 || messages != 2 || attempts != 1 {
		t.Errorf("%d messages and %d tries are left, %d wait; want 2, 1 and 1", messages, attempts, w.get(paused.ID).Pending)
	}
}

func TestDeletingAnEndpointEndsItsCaseAndItsQueue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sub := newSubscriber(t, status(http.StatusGone))
	e, _ := w.endpoint(sub.URL, Wish{})
	w.news(2, "delivery.delivered")
	s := w.sender(Options{})
	w.run(s)
	if err := w.hooks.Delete(t.Context(), e.ID, "test"); err != nil {
		t.Fatal(err)
	}
	if n := w.count(`SELECT (SELECT count(*) FROM webhook_outbox) + (SELECT count(*) FROM webhook_attempts)`); n != 0 || w.openCases() != 0 {
		t.Errorf("%d rows and %d cases are left", n, w.openCases())
	}
	if _, err := w.hooks.Get(t.Context(), e.ID); err != courier.ErrNotFound {
		t.Errorf("it is still there: %v", err)
	}
	w.news(2, "delivery.delivered")
	w.run(s) // nobody is left to plan for
}
