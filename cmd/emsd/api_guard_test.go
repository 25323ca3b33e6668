package main

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"emsd/cmd/emsd/internal/api"
	"emsd/courier"
	"emsd/courier/audit"

	"github.com/google/go-cmp/cmp"
)

func TestATokenThatAsksTooOftenIsToldWhenToComeAgain(t *testing.T) {
	t.Parallel()
	d := start(t, setup{env: []string{"EMSD_API_RATE=0.05", "EMSD_API_BURST=20"}})
	path := "/v1/quotes"
	for n := range 20 {
		if r := d.call("read", "POST", path, map[string]any{"province": "北京市"}); r.status != http.StatusOK {
			t.Fatalf("call %d: %s", n, r)
		}
	}
	r := d.call("read", "POST", path, map[string]any{"province": "北京市"})
	problem(t, r, http.StatusTooManyRequests, "too_many_requests")
	if after, err := strconv.Atoi(r.header.Get("Retry-After")); err != nil || after < 1 || after > 20 {
		t.Errorf("Retry-After %q, want seconds until the next of a call every 20", r.header.Get("Retry-After"))
	}
	if r := d.call("permits", "POST", path, map[string]any{"province": "北京市"}); r.status != http.StatusOK {
		t.Errorf("another token: %s", r)
	}
	// A batch is one call, and another for a hundred lines; it waits rather than break off.
	var lines strings.Builder
	for n := range 150 {
		text, err := json.Marshal(permit(n + 1))
		if err != nil {
			t.Fatal(err)
		}
		lines.Write(append(text, '\n'))
	}
	if r := d.call("permits", "POST", "/v1/deliveries:batch", lines.String()); r.status != http.StatusOK || strings.Count(string(r.body), "\n") != 150 {
		t.Errorf("batch: %s", r)
	}
}

func TestANewSecretOverlapsWithTheOld(t *testing.T) {
	t.Parallel()
	d := start(t, setup{})
	ctx := context.Background()
	ask := func(secret, key string) reply {
		r, err := request(d.api+"/v1/deliveries", "POST", permit(1), "Authorization", "Bearer "+secret, "Idempotency-Key", key)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	first, tok, err := d.app.service.CreateToken(ctx, "permit system", []string{"permits"}, 0, "operator")
	if err != nil {
		t.Fatal(err)
	}
	before := ask(first, "k")
	second, rotated, err := d.app.service.RotateToken(ctx, tok.ID, time.Hour, "operator")
	if err != nil || rotated.ID != tok.ID || second == first {
		t.Fatalf("RotateToken = %+v, %v", rotated, err)
	}
	for name, secret := range map[string]string{"old": first, "new": second} {
		if r := ask(secret, "k"); r.status != before.status || r.header.Get("Idempotency-Replayed") != "true" {
			t.Errorf("the %s secret: %s, want the answer under the token's key", name, r)
		}
	}
	third, _, err := d.app.service.RotateToken(ctx, tok.ID, 0, "operator")
	if err != nil {
		t.Fatal(err)
	}
	for name, secret := range map[string]string{"first": first, "second": second} {
		problem(t, ask(secret, "k"), http.StatusUnauthorized, "unauthorized")
		if t.Failed() {
			t.Fatalf("the %s secret", name)
		}
	}
	if r := ask(third, "k"); r.status != before.status {
		t.Errorf("the third secret: %s", r)
	}
	if _, _, err := d.app.service.RotateToken(ctx, tok.ID, -time.Second, "operator"); err == nil {
		t.Error("a negative overlap was taken")
	}
	if err := d.app.service.RevokeToken(ctx, tok.ID, "operator"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.app.service.RotateToken(ctx, tok.ID, 0, "operator"); err == nil {
		t.Error("a revoked token got a new secret")
	}
	tokens, err := d.app.service.Tokens(ctx)
	if err != nil || len(tokens) != 1 || tokens[0].LastUsedAt.IsZero() {
		t.Errorf("Tokens = %+v, %v: want when it was last used", tokens, err)
	}
}

// deeds lists what the audit chain says was done, without what tests do to prepare.
func (d *daemon) deeds() []string {
	d.t.Helper()
	if err := audit.Chain(context.Background(), d.app.db); err != nil {
		d.t.Fatal(err)
	}
	var rows []struct{ Action, Actor, Object, Detail string }
	if err := d.app.db.Select(&rows, `SELECT action, actor, object, detail::text AS detail FROM audit WHERE action NOT LIKE 'token.%' ORDER BY id`); err != nil {
		d.t.Fatal(err)
	}
	var list []string
	for _, r := range rows {
		list = append(list, r.Actor+" "+r.Action)
		for _, secret := range []string{"欧阳测试", "1390001", "试验胡同", "示例街5号院"} {
			if strings.Contains(r.Object+r.Detail, secret) {
				d.t.Errorf("the audit holds something of a person: %+v", r)
			}
		}
	}
	return list
}

func TestEveryWriteAndEveryUnmaskingIsAudited(t *testing.T) {
	t.Parallel()
	d := start(t, setup{})
	v := d.accept(permit(1))
	path := "/v1/deliveries/" + id(v)
	d.accept(permit(2))
	if r := d.call("permits", "POST", "/v1/deliveries", permit(2)); r.status != http.StatusOK {
		t.Fatal(r)
	}
	for _, scopes := range []string{"read", "clerk"} {
		for _, p := range []string{path, "/v1/deliveries", "/v1/deliveries?permit_no=none"} {
			if r := d.call(scopes, "GET", p, nil); r.status != http.StatusOK {
				t.Fatal(r)
			}
		}
	}
	tag := d.call("clerk", "GET", path, nil).header.Get("ETag")
	d.call("clerk", "GET", path, nil, "If-None-Match", tag) // shows nothing
	for range 2 {
		d.pay(id(v), 500, "WX-1") // twice one payment
	}
	d.call("clerk", "POST", path+"/address", elsewhere("示例街5号院6号楼702"))
	d.call("clerk", "POST", path+"/cancel", map[string]any{"reason": "不寄了"})
	d.call("payments", "POST", path+"/refund", money(500, "WX-2"))
	want := []string{"test permits delivery.accept", "test permits delivery.accept", "test clerk delivery.seen", "test clerk deliveries.seen", "test clerk delivery.seen",
		"test payments payment.record", "test clerk address", "test clerk cancel", "test payments refund"}
	got := d.deeds()
	slices.Sort(got) // queued entries follow the others by moments
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want (-), got (+)\n%s", diff)
	}
	var lines strings.Builder
	for n := range 1200 {
		text, err := json.Marshal(permit(n + 10))
		if err != nil {
			t.Fatal(err)
		}
		lines.Write(append(text, '\n'))
	}
	if r := d.call("permits", "POST", "/v1/deliveries:batch", lines.String()); r.status != http.StatusOK {
		t.Fatal(r)
	}
	if n := len(d.deeds()) - len(want); n != 3 {
		t.Errorf("1200 lines of a batch are %d entries, want one for each transaction of 500", n)
	}
	report, err := audit.Verify(context.Background(), d.app.db)
	if err != nil || report.Fault != "" {
		t.Errorf("the chain: %+v, %v", report, err)
	}
}

// TestEveryCallNeedsOneOfItsScopes goes every call with every scope that it does not name, at a delivery that is there. Which it
// names is held against openapi.yaml by TestEveryCallIsInTheSpecAndNoOther.
func TestEveryCallNeedsOneOfItsScopes(t *testing.T) {
	t.Parallel()
	d := start(t, setup{})
	at, sold := d.ordered(1), d.token("read,clerk")
	path := strings.NewReplacer("{id}", at, "{intervention}", at)
	before := d.eventTypes(at)
	refused, taken := 0, 0
	for _, route := range api.New(nil, nil, nil, nil, courier.Clock{}, api.Feed{}, nil, nil, api.Options{}, d.log.logger()).Routes() {
		method, to, _ := strings.Cut(route.Pattern, " ")
		if len(route.Scopes) == 0 {
			continue // the description, which is everybody's
		}
		for _, token := range []string{"", "Bearer " + strings.ToUpper(sold)} {
			r, err := request(d.api+path.Replace(to), method, "{}", "Authorization", token)
			if err != nil {
				t.Fatal(err)
			}
			keptByNobody(t, route.Pattern, r)
			problem(t, r, http.StatusUnauthorized, "unauthorized")
		}
		for _, scope := range []string{"permits", "payments", "read", "clerk", "admin"} {
			if slices.Contains(route.Scopes, scope) || scope == "admin" {
				if method == http.MethodGet && !strings.Contains(to, "{id}") {
					taken++
					r := d.call(scope, method, to, nil)
					keptByNobody(t, route.Pattern, r)
					if r.status == http.StatusUnauthorized || r.status == http.StatusForbidden {
						t.Errorf("%s with %s: %s", route.Pattern, scope, r)
					}
				}
				continue
			}
			refused++
			r := d.call(scope, method, path.Replace(to), "{}")
			keptByNobody(t, route.Pattern, r)
			problem(t, r, http.StatusForbidden, "scope_missing")
			if text := string(r.body); strings.Contains(text, "欧") || strings.Contains(text, "A1101022026000001") {
				t.Errorf("%s with %s tells of the delivery: %s", route.Pattern, scope, text)
			}
		}
	}
	if refused < 100 || taken < 20 {
		t.Errorf("%d calls refused, %d taken: this test proves little", refused, taken)
	}
	if after := d.eventTypes(at); after != before {
		t.Errorf("events after %s, before %s", after, before)
	}
	for _, scope := range []string{"permits", "payments", "read"} {
		for _, call := range []string{"/v1/deliveries/" + at, "/v1/deliveries", "/v1/deliveries?permit_no=A1101022026000001"} {
			if text := string(d.call(scope, "GET", call, nil).body); !strings.Contains(text, "欧**") || strings.Contains(text, "欧阳") || strings.Contains(text, "13900010001") || strings.Contains(text, "试验胡同") {
				t.Errorf("%s with %s is not masked: %s", call, scope, text)
			}
		}
	}
}

// keptByNobody holds for every answer of the API: no cache keeps it, no browser takes it for something else or loads anything for it.
func keptByNobody(t *testing.T, what string, r reply) {
	t.Helper()
	for name, want := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'"} {
		if got := r.header.Get(name); got != want {
			t.Errorf("%s answers with %s %q, want %q", what, name, got, want)
		}
	}
}
