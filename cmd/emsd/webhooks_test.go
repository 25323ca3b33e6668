package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"emsd/migrations"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// A hookTaker is a subscriber that verifies what it gets with the official library.
type hookTaker struct {
	*httptest.Server
	mu     sync.Mutex
	secret string
	types  []string
	wrong  []string
	status int
}

func newHookTaker(t testing.TB) *hookTaker {
	t.Helper()
	h := &hookTaker{status: http.StatusNoContent}
	h.Server = httptest.NewServer(h)
	t.Cleanup(h.Close)
	return h
}

func (h *hookTaker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	h.mu.Lock()
	defer h.mu.Unlock()
	hook, err := standardwebhooks.NewWebhook(h.secret)
	if err == nil {
		err = hook.Verify(body, r.Header)
	}
	if err != nil {
		h.wrong = append(h.wrong, err.Error())
	}
	var b struct{ Type string }
	json.Unmarshal(body, &b)
	if h.status < 300 {
		h.types = append(h.types, b.Type)
	}
	w.WriteHeader(h.status)
}

func (h *hookTaker) set(secret string, status int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.secret, h.status = secret, status
}

func (h *hookTaker) got() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string{}, h.types...)
}

func TestWebhooksFromTheAPIToTheSubscriber(t *testing.T) {
	t.Parallel()
	sub := newHookTaker(t)
	d := start(t, setup{quick: true, env: []string{"EMSD_WEBHOOK_ALLOW=127.0.0.0/8:*"}})
	r := d.call("admin", "POST", "/v1/webhooks", map[string]any{"name": "测试", "url": sub.URL, "types": []string{"delivery.*"}, "ordered": true, "ed25519": true})
	if r.status != http.StatusCreated || r.header.Get("Location") == "" {
		t.Fatalf("create: %s", r)
	}
	made := r.in(t)
	hook := "/v1/webhooks/" + id(made)
	secret, _ := made["secret"].(string)
	sub.set(secret, http.StatusNoContent)
	d.accept(permit(1))
	until(t, 20*time.Second, "told of the delivery", func() bool { return len(sub.got()) == 1 })
	if got := sub.got()[0]; got != "delivery.awaiting_payment" {
		t.Errorf("told of %s", got)
	}
	// The secret is not shown again, and no token without admin makes or changes anything.
	for _, path := range []string{"/v1/webhooks", hook} {
		if r := d.call("read", "GET", path, nil); r.status != http.StatusOK || strings.Contains(r.String(), "whsec_") || !strings.Contains(r.String(), "whpk_") {
			t.Errorf("GET %s: %s", path, r)
		}
	}
	problem(t, d.call("clerk", "POST", "/v1/webhooks", map[string]any{"name": "x", "url": sub.URL}), http.StatusForbidden, "scope_missing")
	problem(t, d.call("admin", "POST", "/v1/webhooks", map[string]any{"name": "x", "url": sub.URL}, "Idempotency-Key", "k"), http.StatusBadRequest, "idempotency_not_supported")
	problem(t, d.call("admin", "POST", "/v1/webhooks", map[string]any{"name": "", "url": "http://10.0.0.1/", "types": []string{"DROP"}}), http.StatusUnprocessableEntity, "invalid")
	problem(t, d.call("admin", "GET", "/v1/webhooks/"+strings.Repeat("0", 36), nil), http.StatusNotFound, "not_found")

	// Rotation: the old secret verifies until the overlap ends.
	rotated := d.call("admin", "POST", hook+"/rotate-secret", map[string]any{"overlap": "1h"}).in(t)
	if s, _ := rotated["secret"].(string); s == "" || s == secret || rotated["overlap_until"] == nil {
		t.Errorf("rotate: %v", rotated)
	}
	test := d.call("admin", "POST", hook+"/test", nil)
	if test.status != http.StatusAccepted {
		t.Fatalf("test: %s", test)
	}
	until(t, 20*time.Second, "a test message", func() bool { return len(sub.got()) == 2 })

	// 410: disabled with a case that names it, and nothing is lost.
	sub.set(secret, http.StatusGone)
	d.accept(permit(2))
	until(t, 20*time.Second, "disabled", func() bool { return d.call("read", "GET", hook, nil).in(t)["enabled"] == false })
	cases := d.call("read", "GET", "/v1/cases?kind=webhook_disabled", nil)
	if !strings.Contains(cases.String(), `"subject":"webhook:`+id(made)) || strings.Contains(cases.String(), "delivery_id") {
		t.Errorf("cases: %s", cases)
	}
	problem(t, d.call("admin", "POST", hook+"/test", nil), http.StatusConflict, "webhook_disabled")
	d.accept(permit(3))
	sub.set(secret, http.StatusNoContent)
	if r := d.call("admin", "POST", hook+"/enable", nil); r.status != http.StatusOK || r.in(t)["enabled"] != true {
		t.Fatalf("enable: %s", r)
	}
	until(t, 20*time.Second, "told of what came meanwhile", func() bool { return len(sub.got()) == 4 })

	// What is on its way this moment comes once more all the same.
	if r := d.call("admin", "POST", hook+"/replay", map[string]any{"after": 0, "until": 1000000}); r.status != http.StatusAccepted || r.in(t)["messages"] != 3.0 {
		t.Errorf("replay: %s", r)
	}
	until(t, 20*time.Second, "told again", func() bool { return len(sub.got()) == 7 })
	problem(t, d.call("admin", "POST", hook+"/replay", map[string]any{}), http.StatusUnprocessableEntity, "invalid")
	until(t, 20*time.Second, "the tries", func() bool {
		page := d.call("read", "GET", hook+"/attempts?limit=3", nil).in(t)
		return len(page["attempts"].([]any)) == 3 && page["next_cursor"] != nil
	})
	if r := d.call("admin", "PATCH", hook, map[string]any{"name": "另一个", "enabled": false}); r.in(t)["disabled_why"] != "operator" {
		t.Errorf("pause: %s", r)
	}
	metrics, err := request(d.ops+"/metrics", "GET", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`emsd_webhook_attempts_total{outcome="gone"} 1`, `emsd_webhook_pending{endpoint="` + id(made)} {
		if !strings.Contains(string(metrics.body), want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	if strings.Contains(string(metrics.body), sub.URL) || strings.Contains(d.log.String(), "whsec_") {
		t.Error("metrics tell the address, or the log a secret")
	}
	if r := d.call("admin", "DELETE", hook, nil); r.status != http.StatusNoContent {
		t.Errorf("delete: %s", r)
	}
	if len(sub.wrong) > 0 {
		t.Errorf("%d requests do not verify: %s", len(sub.wrong), sub.wrong[0])
	}
}

func TestWebhooksAreOffWithoutAnAllowList(t *testing.T) {
	t.Parallel()
	d := start(t, setup{})
	problem(t, d.call("admin", "POST", "/v1/webhooks", map[string]any{"name": "x", "url": "https://example.com/"}), http.StatusConflict, "webhooks_off")
}

// TestReplayWebhooksCommand checks exit codes and the doctor's word about an endpoint that is disabled.
func TestReplayWebhooksCommand(t *testing.T) {
	t.Parallel()
	sub := newHookTaker(t)
	sub.set("", http.StatusGone)
	d := start(t, setup{env: []string{"EMSD_WEBHOOK_ALLOW=127.0.0.0/8:*"}})
	made := d.call("admin", "POST", "/v1/webhooks", map[string]any{"name": "测试", "url": sub.URL}).in(t)
	d.accept(permit(1))
	until(t, 20*time.Second, "disabled", func() bool { return d.call("read", "GET", "/v1/webhooks/"+id(made), nil).in(t)["enabled"] == false })
	_, err := checkWebhooks(context.Background(), d.app.cfg, d.app.db)
	if err == nil || !strings.Contains(err.Error(), id(made)) {
		t.Errorf("doctor: %v", err)
	}
	if err := migrations.Check(t.Context(), d.app.db.DB); err != nil {
		t.Fatal(err)
	}
	env := environ(string(d.app.cfg.DatabaseURL), d.app.cfg.MasterKeyFile, d.sims, "EMSD_WEBHOOK_ALLOW=127.0.0.0/8:*")
	for _, tt := range []struct {
		args []string
		want int
		says string
	}{
		{[]string{id(made), "--until", "100"}, exitDone, "1 messages"},
		{[]string{id(made), "--failed"}, exitDone, "0 messages"},
		{[]string{id(made)}, exitUsage, "--message-id"},
		{[]string{id(made), "--message-id", "msg_" + strings.Repeat("0", 8) + "-0000-7000-8000-000000000000"}, exitFailed, "not found"},
		{[]string{"nobody"}, exitUsage, ""},
	} {
		var out bytes.Buffer
		if got := run(t.Context(), append([]string{"replay-webhooks"}, tt.args...), env, &out, &out); got != tt.want || !strings.Contains(out.String(), tt.says) {
			t.Errorf("replay-webhooks %v: %d, %s", tt.args, got, out.String())
		}
	}
}
