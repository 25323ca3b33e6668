package api

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

// A deed is a call that is no repetition by itself, and the action under which it is audited.
type deed struct {
	name, path string
	body       any
	audited    string
}

// deeds are the calls whose work is in packages notify, notify/webhook and tracking; those of package courier are tested
// with the daemon. Each may follow those before it.
func (d *desk) deeds() []deed {
	d.t.Helper()
	called, wrong := d.accept(1), d.accept(2)
	hook := "/v1/webhooks/" + d.must("POST", "/v1/webhooks", map[string]any{"name": "测试", "url": "http://127.0.0.1:9/"})["id"].(string)
	message := d.must("POST", hook+"/test", struct{}{})["message_id"]
	refusal := map[string]any{"phone": "13900010002", "why": "本人要求"}
	return []deed{
		{"webhook test", hook + "/test", struct{}{}, "webhook.test"},
		{"webhook replay", hook + "/replay", map[string]any{"message_id": message}, "webhook.replay"},
		{"webhook enable", hook + "/enable", struct{}{}, "webhook.enable"},
		{"called", "/v1/calls/" + d.unreached(called) + "/called", map[string]any{"outcome": "no_answer"}, "case.called"},
		{"wrong person", "/v1/deliveries/" + wrong.String() + "/wrong-person", map[string]any{"reason": "机主来电"}, "do_not_send.add"},
		{"do not send", "/v1/do-not-send", refusal, "do_not_send.add"},
		{"lift", "/v1/do-not-send/lift", refusal, "do_not_send.lift"},
		{"code decision", "/v1/codes/decisions", map[string]any{"code": "Z9", "meaning": "held", "reason": "邮政答复"}, "code.decide"},
	}
}

// replayed reports whether an answer is one that was given before.
func replayed(w *httptest.ResponseRecorder) bool {
	return w.Header().Get("Idempotency-Replayed") == "true"
}

// TestADeedUnderAKeyIsDoneOnce also gives the key to another body.
func TestADeedUnderAKeyIsDoneOnce(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for _, one := range d.deeds() {
		entries := d.audited(one.audited)
		first := d.call("POST", one.path, one.body, "Idempotency-Key", one.name)
		if first.Code >= 300 || replayed(first) {
			t.Fatalf("%s: %s", one.name, status(first))
		}
		if n := d.audited(one.audited) - entries; n != 1 {
			t.Errorf("%s is %d entries of the audit", one.name, n)
		}
		after := d.state()
		again := d.call("POST", one.path, one.body, "Idempotency-Key", one.name)
		if again.Code != first.Code || !replayed(again) || !bytes.Equal(again.Body.Bytes(), first.Body.Bytes()) {
			t.Errorf("%s: %s, then %s", one.name, status(first), status(again))
		}
		if other := d.call("POST", one.path, map[string]any{"another": "body"}, "Idempotency-Key", one.name); other.Code != http.StatusUnprocessableEntity ||
			!strings.Contains(other.Body.String(), `"reused"`) {
			t.Errorf("%s, another body: %s", one.name, status(other))
		}
		if diff := cmp.Diff(after, d.state()); diff != "" {
			t.Errorf("%s was done twice: before (-), after (+)\n%s", one.name, diff)
		}
	}
}

// TestADeedThatDiesBeforeItsCommitLeavesNothing ends the work and the storing of its answer as a process dies: neither
// they, nor the key, nor an entry of the audit is there, and the same request does all of it.
func TestADeedThatDiesBeforeItsCommitLeavesNothing(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for _, one := range d.deeds() {
		before := d.state()
		for _, point := range []string{"api.worked", "api.stored"} {
			passed := false
			d.hooked(func(at string) {
				if at == point {
					passed = true
					panic(http.ErrAbortHandler)
				}
			})
			func() {
				defer func() { recover() }()
				d.call("POST", one.path, one.body, "Idempotency-Key", one.name)
			}()
			if diff := cmp.Diff(before, d.state()); !passed || diff != "" {
				t.Fatalf("%s died at %s (%v): before (-), after (+)\n%s", one.name, point, passed, diff)
			}
		}
		d.hooked(func(string) {})
		if w := d.call("POST", one.path, one.body, "Idempotency-Key", one.name); w.Code >= 300 || replayed(w) {
			t.Errorf("%s, again: %s", one.name, status(w))
		}
	}
}

// TestTwoDeedsUnderOneKeyAtOnce lets the second come while the first has worked and not committed.
func TestTwoDeedsUnderOneKeyAtOnce(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for _, one := range d.deeds() {
		entries := d.audited(one.audited)
		worked, on := make(chan struct{}), make(chan struct{})
		var meet sync.Once
		d.hooked(func(at string) {
			if at == "api.worked" {
				meet.Do(func() { close(worked); <-on })
			}
		})
		first, answered := (*httptest.ResponseRecorder)(nil), make(chan struct{})
		go func() {
			defer close(answered)
			first = d.call("POST", one.path, one.body, "Idempotency-Key", one.name)
		}()
		select {
		case <-worked:
		case <-answered:
			t.Fatalf("%s is not one transaction: %s", one.name, status(first))
		}
		second := d.call("POST", one.path, one.body, "Idempotency-Key", one.name)
		close(on)
		<-answered
		if second.Code != http.StatusConflict || !strings.Contains(second.Body.String(), "in_progress") || first.Code >= 300 {
			t.Errorf("%s: %s, and beside it %s", one.name, status(first), status(second))
		}
		if w := d.call("POST", one.path, one.body, "Idempotency-Key", one.name); !replayed(w) || !bytes.Equal(w.Body.Bytes(), first.Body.Bytes()) {
			t.Errorf("%s, afterwards: %s", one.name, status(w))
		}
		if n := d.audited(one.audited) - entries; n != 1 {
			t.Errorf("%s was done %d times", one.name, n)
		}
	}
}

// TestADeedIsDoneForACallerWhoHasGone hangs up in the middle of the work: the answer lies under the key.
func TestADeedIsDoneForACallerWhoHasGone(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for _, one := range d.deeds() {
		ctx, hangUp := context.WithCancel(t.Context())
		d.hooked(func(at string) {
			if at == "api.worked" {
				hangUp()
			}
		})
		if w := d.callAs(ctx, "POST", one.path, one.body, "Idempotency-Key", one.name); w.Code >= 300 {
			t.Errorf("%s: %s", one.name, status(w))
		}
		if w := d.call("POST", one.path, one.body, "Idempotency-Key", one.name); w.Code >= 300 || !replayed(w) {
			t.Errorf("%s, again: %s", one.name, status(w))
		}
	}
}

// TestEveryCallThatTakesAKeyHeedsIt compares openapi.yaml with what the calls do: a key that is too long is refused by
// those that take one.
func TestEveryCallThatTakesAKeyHeedsIt(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	long := strings.Repeat("k", 256)
	for path, item := range loadSpec(t).Paths.Map() {
		if item.Post == nil {
			continue
		}
		takes := item.Post.Parameters.GetByInAndName("header", "Idempotency-Key") != nil
		at := strings.NewReplacer("{id}", uuid.NewString(), "{intervention}", uuid.NewString()).Replace(path)
		w := d.call("POST", at, struct{}{}, "Idempotency-Key", long)
		if heeds := strings.Contains(w.Body.String(), "idempotency_key_too_long"); heeds != takes {
			t.Errorf("POST %s takes a key: %v, and answers one that is too long with %s", path, takes, status(w))
		}
	}
}

func TestTwoWhoTelephoneSeeEachOther(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	path := "/v1/calls/" + d.unreached(d.accept(1))
	w := d.call("GET", path, nil)
	tag := w.Header().Get("ETag")
	if w.Code != http.StatusOK || tag == "" || !strings.Contains(w.Body.String(), "13900010001") || d.audited("calls.seen") != 1 {
		t.Fatalf("the call is shown as %s, tag %s, %d looks", status(w), tag, d.audited("calls.seen"))
	}
	if w := d.call("GET", path, nil, "If-None-Match", tag); w.Code != http.StatusNotModified || d.audited("calls.seen") != 1 {
		t.Errorf("the same again: %s, %d looks", status(w), d.audited("calls.seen"))
	}
	unheard := map[string]any{"outcome": "no_answer"}
	d.must("POST", path+"/called", unheard, "If-Match", tag)
	tag = d.call("GET", path, nil).Header().Get("ETag")
	// At night each try puts the case off to the same hour; the second is seen all the same.
	d.must("POST", path+"/called", unheard, "If-Match", tag)
	if w := d.call("POST", path+"/called", unheard, "If-Match", tag); w.Code != http.StatusPreconditionFailed {
		t.Errorf("a third, by who has not seen the second: %s", status(w))
	}
	for _, none := range []string{uuid.NewString(), "x"} {
		if w := d.call("GET", "/v1/calls/"+none, nil); w.Code != http.StatusNotFound {
			t.Errorf("call %s: %s", none, status(w))
		}
		if w := d.call("POST", "/v1/calls/"+none+"/called", unheard, "If-Match", tag); w.Code != http.StatusNotFound {
			t.Errorf("call %s was made: %s", none, status(w))
		}
	}
}

// TestTwoWhoReportTheSameNumberWaitForNoRing: each has looked at a delivery of its own, and the report opens a case for
// the other's. One is first, and the other is told that its delivery has changed.
func TestTwoWhoReportTheSameNumberWaitForNoRing(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	ids := []uuid.UUID{d.accept(1), d.accept(2)}
	codes := make([]int, len(ids))
	var wg sync.WaitGroup
	for i, id := range ids {
		wg.Go(func() {
			codes[i] = d.call("POST", "/v1/deliveries/"+id.String()+"/wrong-person", map[string]any{"reason": "机主来电"}, "If-Match", `"1-x"`).Code
		})
	}
	wg.Wait()
	if codes[0]+codes[1] != http.StatusOK+http.StatusPreconditionFailed {
		t.Errorf("answers %v, want 200 and 412", codes)
	}
	var open int
	if err := d.db.Get(&open, `SELECT count(*) FROM cases WHERE kind = 'address'`); err != nil || open != 2 || d.audited("do_not_send.add") != 1 {
		t.Errorf("%d cases (%v), %d numbers stopped", open, err, d.audited("do_not_send.add"))
	}
}
