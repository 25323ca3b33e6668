package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// problem checks that an answer is problem+json with the status and code, and gives it.
func problem(t *testing.T, r reply, status int, code string) map[string]any {
	t.Helper()
	if r.status != status || r.header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("answer %s (%s), want %d application/problem+json", r, r.header.Get("Content-Type"), status)
		return map[string]any{}
	}
	p := r.in(t)
	if p["code"] != code {
		t.Errorf("code %v, want %s: %s", p["code"], code, r.body)
	}
	if p["status"] != float64(status) || p["title"] == "" || p["type"] == "" {
		t.Errorf("the problem lacks status, title or type: %s", r.body)
	}
	return p
}

// pointers lists the faults of a problem as "pointer code".
func pointers(p map[string]any) []string {
	var list []string
	errs, _ := p["errors"].([]any)
	for _, e := range errs {
		m := e.(map[string]any)
		list = append(list, fmt.Sprint(m["pointer"], " ", m["code"]))
	}
	return list
}

func TestOnlyAValidTokenIsServed(t *testing.T) {
	t.Parallel()
	d := start(t, setup{})
	ctx := context.Background()
	revoked, tok, err := d.app.service.CreateToken(ctx, "revoked", []string{"admin"}, 0, "operator")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.app.service.RevokeToken(ctx, tok.ID, "operator"); err != nil {
		t.Fatal(err)
	}
	expired, _, err := d.app.service.CreateToken(ctx, "expired", []string{"admin"}, time.Nanosecond, "operator")
	if err != nil {
		t.Fatal(err)
	}
	for name, header := range map[string]string{"none": "", "wrong": "Bearer emsd_wrong", "not ours": "Bearer x", "basic": "Basic YTpi", "empty": "Bearer ",
		"revoked": "Bearer " + revoked, "expired": "Bearer " + expired, "huge": "Bearer emsd_" + strings.Repeat("a", 9000)} {
		for _, call := range []string{"GET /v1/deliveries", "POST /v1/deliveries", "POST /v1/deliveries:batch", "GET /v1/events", "GET /v1/nothing"} {
			method, path, _ := strings.Cut(call, " ")
			r, err := request(d.api+path, method, strings.NewReader("{}"), "Authorization", header)
			if err != nil {
				t.Fatal(err)
			}
			problem(t, r, http.StatusUnauthorized, "unauthorized")
			if !strings.HasPrefix(r.header.Get("WWW-Authenticate"), "Bearer") {
				t.Errorf("%s, token %s: no WWW-Authenticate", call, name)
			}
		}
	}
}

func TestAPermitIsAcceptedOnceAndMasked(t *testing.T) {
	t.Parallel()
	d := start(t, setup{})
	p := permit(1)
	first := d.call("permits", "POST", "/v1/deliveries", p)
	v := first.in(t)
	if first.status != http.StatusCreated || v["status"] != "awaiting_payment" || v["fee_fen"] != float64(1200) || v["paid_fen"] != float64(0) {
		t.Fatalf("accept: %s", first)
	}
	if got := first.header.Get("Location"); got != "/v1/deliveries/"+id(v) {
		t.Errorf("Location %q", got)
	}
	for _, name := range []string{"created_at", "updated_at", "events_seq"} {
		if v[name] == nil {
			t.Errorf("%s is missing: %s", name, first.body)
		}
	}
	again := d.call("permits", "POST", "/v1/deliveries", p)
	if again.status != http.StatusOK || id(again.in(t)) != id(v) {
		t.Errorf("the same again: %s, want 200 and %s", again, id(v))
	}
	other := permit(1, "recipient.phone", "13900009999")
	if got := problem(t, d.call("permits", "POST", "/v1/deliveries", other), http.StatusConflict, "permit_has_live_delivery"); got["delivery_id"] != id(v) {
		t.Errorf("the conflict names %v, want %s", got["delivery_id"], id(v))
	}
	who := p["recipient"].(map[string]any)
	for _, scopes := range []string{"permits", "read", "payments"} {
		for _, r := range []reply{d.call(scopes, "GET", "/v1/deliveries/"+id(v), nil), d.call(scopes, "GET", "/v1/deliveries", nil)} {
			for _, field := range []string{"name", "phone", "id_no", "address"} {
				if bytes.Contains(r.body, []byte(who[field].(string))) {
					t.Errorf("scope %s sees the %s: %s", scopes, field, r)
				}
			}
		}
	}
	clear := d.call("clerk", "GET", "/v1/deliveries/"+id(v), nil)
	for _, field := range []string{"name", "phone", "address"} {
		if !bytes.Contains(clear.body, []byte(who[field].(string))) {
			t.Errorf("a clerk does not see the %s: %s", field, clear)
		}
	}
	if bytes.Contains(clear.body, []byte(who["id_no"].(string))) {
		t.Errorf("nobody needs the ID number: %s", clear)
	}
}

func TestARefusalIsRecordedWithItsRule(t *testing.T) {
	t.Parallel()
	d := start(t, setup{})
	tests := []struct {
		name string
		p    posted
		rule string
	}{
		{"registration station", permit(1, "route", "registration_station", "station_code", "110105900"), "R-09"},
		{"station of the other kind", permit(2, "route", "police_station", "station_code", "110105900"), "R-09"},
		{"no consent", permit(3, "consent", nil), "R-13"},
		{"online, address changed", permit(4, "address_changed", true), "R-15"},
		{"another business", permit(5, "business", "renewal"), "R-20"},
		{"unknown route", permit(6, "route", "by_horse"), "R-08"},
	}
	for _, tt := range tests {
		got := problem(t, d.call("permits", "POST", "/v1/deliveries", tt.p), http.StatusUnprocessableEntity, "rule_refused")
		if got["rule"] != tt.rule {
			t.Errorf("%s: rule %v, want %s", tt.name, got["rule"], tt.rule)
			continue
		}
		delivery, _ := got["delivery_id"].(string)
		v := d.call("read", "GET", "/v1/deliveries/"+delivery, nil).in(t)
		if v["status"] != "refused" || v["rule"] != tt.rule || v["reason"] == "" {
			t.Errorf("%s: the record says %v, %v, %v", tt.name, v["status"], v["rule"], v["reason"])
		}
		again := problem(t, d.call("permits", "POST", "/v1/deliveries", tt.p), http.StatusUnprocessableEntity, "rule_refused")
		if again["delivery_id"] != delivery {
			t.Errorf("%s: refused twice: %v and %s", tt.name, again["delivery_id"], delivery)
		}
	}
}

func TestEveryFaultIsToldAtOnce(t *testing.T) {
	t.Parallel()
	d := start(t, setup{})
	body := permit(1, "permit_no", "A 1/2", "station_code", "999999999", "recipient.phone", "12345", "recipient.id_no", "110105199003070000",
		"recipient.county", "不存在区", "recipient.address", "短", "approved_at", "yesterday", "identity_changed", "no", "colour", "red", "recipient.mail", "a@b")
	got := pointers(problem(t, d.call("permits", "POST", "/v1/deliveries", body), http.StatusUnprocessableEntity, "invalid"))
	for _, want := range []string{"/permit_no format", "/station_code unknown_station", "/recipient/phone format", "/recipient/address too_short",
		"/approved_at format", "/identity_changed type", "/colour unknown_field", "/recipient/mail unknown_field"} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is not told: %q", want, got)
		}
	}
	for _, start := range []string{"/recipient/id_no ", "/recipient/county "} {
		if !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, start) }) {
			t.Errorf("nothing is told about %s: %q", start, got)
		}
	}
	if n := len(d.call("read", "GET", "/v1/deliveries", nil).in(t)["deliveries"].([]any)); n != 0 {
		t.Errorf("%d deliveries were made of faults", n)
	}
}

func TestBodiesThatAreNoPermitAreFaults(t *testing.T) {
	t.Parallel()
	d := start(t, setup{})
	good, err := json.Marshal(permit(1))
	if err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string]string{
		"nothing": "", "half": string(good[:len(good)/2]), "text": "hello", "array": "[" + string(good) + "]", "null": "null", "number": "1",
		"two objects": string(good) + string(good), "invalid UTF-8": strings.Replace(string(good), "西城区", "\xc0\xaf", 1),
		"GB 18030": strings.Replace(string(good), "北京市", "\xb1\xb1\xbe\xa9\xca\xd0", -1), "UTF-16": "\xff\xfe{\x00}\x00",
		"deep": strings.Repeat(`{"a":`, 20000) + "1" + strings.Repeat("}", 20000), "NUL": strings.Replace(string(good), "online", "on\x00line", 1),
		"escaped NUL": strings.Replace(string(good), "online", `on\u0000line`, 1), "lone surrogate": strings.Replace(string(good), "西城区", `\ud800`, 1),
		"repeated field":    strings.Replace(string(good), `"route"`, `"route":"online","route"`, 1),
		"everything absent": "{}",
	} {
		problem(t, d.call("permits", "POST", "/v1/deliveries", body), http.StatusUnprocessableEntity, "invalid")
		if t.Failed() {
			t.Fatalf("the body was: %s", name)
		}
	}
	if r := d.call("permits", "POST", "/v1/deliveries", "\ufeff"+string(good)); r.status != http.StatusCreated {
		t.Errorf("with a BOM: %s", r)
	}
	if r := d.call("permits", "POST", "/v1/deliveries", "\r\n\t "+string(good)+"\r\n"); r.status != http.StatusOK {
		t.Errorf("with white space: %s", r)
	}
	big := strings.Replace(string(good), "online", strings.Repeat("x", 10<<20), 1)
	problem(t, d.call("permits", "POST", "/v1/deliveries", big), http.StatusRequestEntityTooLarge, "body_too_large")
	problem(t, d.call("permits", "POST", "/v1/deliveries", big, "Idempotency-Key", "big"), http.StatusRequestEntityTooLarge, "body_too_large")
}

func TestBodiesOfActionsAreCheckedToo(t *testing.T) {
	t.Parallel()
	d := start(t, setup{})
	v := d.accept(permit(1))
	at := "/v1/deliveries/" + id(v)
	tests := []struct {
		scopes, path, body string
		status             int
		code               string
		pointers           []string
	}{
		{"permits", at + "/cancel", `{"reason":"x","colour":1}`, 422, "invalid", []string{"/colour unknown_field"}},
		{"permits", at + "/cancel", `{"reason":5}`, 422, "invalid", []string{"/reason type"}},
		{"permits", at + "/cancel", `{"reason":"  "}`, 422, "invalid", []string{"/reason required"}},
		{"permits", at + "/cancel", `{}`, 422, "invalid", []string{"/reason required"}},
		{"permits", at + "/cancel", `{"reason":`, 400, "malformed_json", nil},
		{"permits", at + "/cancel", `{"reason":"x"} trailing`, 400, "malformed_json", nil},
		{"permits", at + "/cancel", "{\"reason\":\"\xff\"}", 400, "not_utf8", nil},
		{"permits", at + "/address", `{"reason":"x","address":5}`, 422, "invalid", nil},
		{"payments", at + "/payments", `{"amount_fen":0,"method":"wechat","transaction_no":"a","paid_at":"2026-10-23T09:00:00+08:00"}`, 422, "invalid", []string{"/amount_fen range"}},
		{"payments", at + "/payments", `{"amount_fen":-5,"method":"wechat","transaction_no":"a","paid_at":"2026-10-23T09:00:00+08:00"}`, 422, "invalid", []string{"/amount_fen range"}},
		{"payments", at + "/payments", `{"amount_fen":12.5,"method":"wechat","transaction_no":"a","paid_at":"2026-10-23T09:00:00+08:00"}`, 422, "invalid", []string{"/amount_fen type"}},
		{"payments", at + "/payments", `{"amount_fen":"1200","method":"wechat","transaction_no":"a","paid_at":"2026-10-23T09:00:00+08:00"}`, 422, "invalid", []string{"/amount_fen type"}},
		{"payments", at + "/payments", `{"amount_fen":99999999999999999999,"method":"wechat","transaction_no":"a","paid_at":"2026-10-23T09:00:00+08:00"}`, 422, "invalid", []string{"/amount_fen type"}},
		{"payments", at + "/payments", `{"amount_fen":9000000000000000000,"method":"wechat","transaction_no":"a","paid_at":"2026-10-23T09:00:00+08:00"}`, 422, "invalid", []string{"/amount_fen range"}},
		{"payments", at + "/payments", `{"amount_fen":1200,"method":"barter","transaction_no":"a","paid_at":"2026-10-23T09:00:00+08:00"}`, 422, "invalid", []string{"/method unknown_value"}},
		{"payments", at + "/payments", `{"amount_fen":1200,"method":"wechat","transaction_no":"","paid_at":"2026-10-23T09:00:00+08:00"}`, 422, "invalid", []string{"/transaction_no required"}},
		{"payments", at + "/payments", `{"amount_fen":1200,"method":"wechat","transaction_no":"a","paid_at":"2036-10-23T09:00:00+08:00"}`, 422, "invalid", []string{"/paid_at future"}},
		{"payments", at + "/payments", `{}`, 422, "invalid", []string{"/paid_at required", "/transaction_no required", "/amount_fen range", "/method required"}},
		{"payments", "/v1/deliveries/not-an-id/payments", `{}`, 404, "not_found", nil},
		{"clerk", at + "/retry", `{"reason":"x"}`, 409, "not_refused", nil},
		{"clerk", "/v1/cases/0198c0de-0000-7000-8000-000000000000/close", `{"outcome":"a","why":"b"}`, 404, "not_found", nil},
		{"clerk", "/v1/cases/0198c0de-0000-7000-8000-000000000000/close", `{}`, 422, "invalid", nil},
	}
	for _, tt := range tests {
		p := problem(t, d.call(tt.scopes, "POST", tt.path, tt.body), tt.status, tt.code)
		got := pointers(p)
		for _, want := range tt.pointers {
			if !slices.Contains(got, want) {
				t.Errorf("POST %s %s: %q does not name %s", tt.path, tt.body, got, want)
			}
		}
		if strings.Contains(fmt.Sprint(p), "int64") || strings.Contains(fmt.Sprint(p), "vault.") {
			t.Errorf("POST %s %s: the answer speaks Go: %v", tt.path, tt.body, p)
		}
	}
	if got := d.call("read", "GET", at, nil).in(t); got["status"] != "awaiting_payment" || got["paid_fen"] != float64(0) {
		t.Errorf("a faulty call changed the delivery: %v", got)
	}
}

func TestCallsThatDoNotExistAreProblems(t *testing.T) {
	t.Parallel()
	d := start(t, setup{})
	for _, call := range []string{"GET /v1/nothing", "DELETE /v1/deliveries", "PUT /v1/deliveries/0198c0de-0000-7000-8000-000000000000", "GET /v1/deliveries:batch",
		"GET /v1/", "PATCH /v1/events"} {
		method, path, _ := strings.Cut(call, " ")
		problem(t, d.call("admin", method, path, nil), http.StatusNotFound, "no_such_call")
	}
	for _, path := range []string{"/v1/deliveries/0198c0de-0000-7000-8000-000000000000", "/v1/deliveries/1", "/v1/deliveries/0198c0de-0000-7000-8000-000000000000/label"} {
		problem(t, d.call("admin", "GET", path, nil), http.StatusNotFound, "not_found")
	}
	for _, path := range []string{"/v1/deliveries?limit=0", "/v1/deliveries?limit=x", "/v1/deliveries?updated_after=yesterday", "/v1/events?after=-1",
		"/v1/events?after=x", "/v1/events?limit=100000", "/v1/events?wait=1h", "/v1/events?wait=x", "/v1/cases?limit=-1"} {
		problem(t, d.call("admin", "GET", path, nil), http.StatusBadRequest, "bad_parameter")
	}
	problem(t, d.call("admin", "GET", "/v1/deliveries?cursor=xx", nil), http.StatusUnprocessableEntity, "invalid")
	problem(t, d.call("admin", "GET", "/v1/deliveries?status=asleep", nil), http.StatusUnprocessableEntity, "invalid")
}

func TestAnIdempotencyKeyGivesTheSameAnswer(t *testing.T) {
	t.Parallel()
	d := start(t, setup{})
	first := d.call("permits", "POST", "/v1/deliveries", permit(1), "Idempotency-Key", "k1")
	second := d.call("permits", "POST", "/v1/deliveries", permit(1), "Idempotency-Key", "k1")
	if first.status != 201 || second.status != 201 || !bytes.Equal(first.body, second.body) {
		t.Errorf("first %s\nsecond %s", first, second)
	}
	if got := second.header.Get("Content-Type"); got != first.header.Get("Content-Type") {
		t.Errorf("Content-Type %q", got)
	}
	if second.header.Get("Location") != first.header.Get("Location") {
		t.Errorf("Location %q, the first time %q", second.header.Get("Location"), first.header.Get("Location"))
	}
	problem(t, d.call("permits", "POST", "/v1/deliveries", permit(2), "Idempotency-Key", "k1"), 422, "invalid")
	// A key belongs to its token: another client's is another.
	other, _, err := d.app.service.CreateToken(context.Background(), "other", []string{"permits"}, 0, "operator")
	if err != nil {
		t.Fatal(err)
	}
	if r, err := request(d.api+"/v1/deliveries", "POST", permit(2), "Authorization", "Bearer "+other, "Idempotency-Key", "k1"); err != nil || r.status != 201 {
		t.Errorf("another client's key: %v %s", err, r)
	}
	// A problem is an answer too.
	refused := d.call("permits", "POST", "/v1/deliveries", permit(3, "business", "renewal"), "Idempotency-Key", "k3")
	again := d.call("permits", "POST", "/v1/deliveries", permit(3, "business", "renewal"), "Idempotency-Key", "k3")
	problem(t, again, 422, "rule_refused")
	if !bytes.Equal(refused.body, again.body) {
		t.Errorf("%s, then %s", refused, again)
	}
	problem(t, d.call("permits", "POST", "/v1/deliveries", permit(4), "Idempotency-Key", strings.Repeat("k", 256)), 400, "idempotency_key_too_long")
	// Payments: the same key and body twice are one payment and one answer.
	v := first.in(t)
	body, path := money(500, "WX-1"), "/v1/deliveries/"+id(v)+"/payments"
	p1 := d.call("payments", "POST", path, body, "Idempotency-Key", "p1")
	d.pay(id(v), 300, "WX-2")
	p2 := d.call("payments", "POST", path, body, "Idempotency-Key", "p1")
	if p1.status != 200 || !bytes.Equal(p1.body, p2.body) {
		t.Errorf("%s, then %s", p1, p2)
	}
}

func TestTwoRequestsUnderOneKeyMakeOneDelivery(t *testing.T) {
	t.Parallel()
	d := start(t, setup{})
	d.token("permits")
	var wg sync.WaitGroup
	replies := make([]reply, 12)
	for i := range replies {
		wg.Go(func() {
			r, err := d.try("permits", "POST", "/v1/deliveries", permit(1), "Idempotency-Key", "same")
			if err != nil {
				t.Error(err)
			}
			replies[i] = r
		})
	}
	wg.Wait()
	var first []byte
	for _, r := range replies {
		switch r.status {
		case 201:
			if first == nil {
				first = r.body
			}
			if !bytes.Equal(first, r.body) {
				t.Errorf("two answers: %s and %s", first, r.body)
			}
		case 409:
			problem(t, r, 409, "in_progress")
		default:
			t.Errorf("answer %s, want 201 or 409", r)
		}
	}
	if first == nil {
		t.Error("nobody got the delivery")
	}
}

// A client that went away must find its answer under the key at once, not a minute later.
func TestAClientThatGaveUpFindsItsAnswerUnderTheKey(t *testing.T) {
	t.Parallel()
	d := start(t, setup{})
	// The row lock keeps the request inside its work until the client is gone.
	tx, err := d.app.db.BeginTxx(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	v := d.accept(permit(1))
	if _, err := tx.Exec(`SELECT 1 FROM deliveries WHERE id = $1 FOR NO KEY UPDATE`, id(v)); err != nil { // rounds that write about it do not wait
		t.Fatal(err)
	}
	body, err := json.Marshal(money(1200, "WX-1"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, giveUp := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, "POST", d.api+"/v1/deliveries/"+id(v)+"/payments", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+d.token("payments"))
	req.Header.Set("Idempotency-Key", "k")
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if res, err := client.Do(req); err == nil {
			res.Body.Close()
		}
	}()
	until(t, 5*time.Second, "the key claimed", func() bool {
		var n int
		return d.app.db.Get(&n, `SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`) == nil && n > 0
	})
	problem(t, d.call("payments", "POST", "/v1/deliveries/"+id(v)+"/payments", body, "Idempotency-Key", "k"), 409, "in_progress")
	giveUp()
	<-gone
	tx.Rollback()
	until(t, 5*time.Second, "answered under the key", func() bool {
		r := d.call("payments", "POST", "/v1/deliveries/"+id(v)+"/payments", body, "Idempotency-Key", "k")
		return r.status == 200 && r.in(t)["paid_fen"] == float64(1200)
	})
}

func TestPaymentsOfEveryKind(t *testing.T) {
	t.Parallel()
	d := start(t, setup{})
	v := d.accept(permit(1))
	steps := []struct {
		fen         any
		no          string
		paid, due   float64
		wantWaiting bool
	}{
		{500, "WX-1", 500, 0, true},
		{500, "WX-1", 500, 0, true}, // the same transaction again
		{500, "WX-2", 1000, 0, true},
		{500, "WX-3", 1500, 300, false},
		{100, "WX-4", 1600, 400, false},
	}
	for _, s := range steps {
		r := d.pay(id(v), s.fen, s.no)
		got := r.in(t)
		if r.status != 200 || got["paid_fen"] != s.paid || got["refund_due_fen"] != s.due || (got["status"] == "awaiting_payment") != s.wantWaiting {
			t.Errorf("after %s: %s, want %v paid, %v due back", s.no, r, s.paid, s.due)
		}
	}
	problem(t, d.pay(id(v), 501, "WX-1"), 409, "transaction_reused")
	other := d.accept(permit(2))
	problem(t, d.pay(id(other), 500, "WX-1"), 409, "transaction_reused")
	problem(t, d.pay("0198c0de-0000-7000-8000-000000000000", 500, "WX-9"), 404, "not_found")
	refused := problem(t, d.call("permits", "POST", "/v1/deliveries", permit(3, "business", "renewal")), 422, "rule_refused")
	problem(t, d.pay(refused["delivery_id"].(string), 1200, "WX-10"), 409, "payment_refused_delivery")
	collect := d.accept(permit(4, "payment_method", "collect"))
	problem(t, d.pay(id(collect), 1200, "WX-11"), 409, "payment_not_prepaid")

	if r := d.call("permits", "POST", "/v1/deliveries/"+id(other)+"/cancel", `{"reason":"申请人改为自取"}`); r.status != 200 || r.in(t)["status"] != "cancelled" {
		t.Fatalf("cancel: %s", r)
	}
	late := d.pay(id(other), 1200, "WX-12")
	if got := late.in(t); late.status != 200 || got["status"] != "cancelled" || got["paid_fen"] != float64(1200) || got["refund_due_fen"] != float64(1200) {
		t.Errorf("money for a cancelled delivery: %s, want it recorded and due back", late)
	}
	back := d.call("payments", "POST", "/v1/deliveries/"+id(other)+"/refund", money(1200, "RF-1"))
	if got := back.in(t); back.status != 200 || got["refund_due_fen"] != float64(0) || got["refunded_fen"] != float64(1200) {
		t.Errorf("refund: %s", back)
	}
	problem(t, d.call("payments", "POST", "/v1/deliveries/"+id(other)+"/refund", money(1, "RF-2")), 409, "refund_exceeds_due")
	if got := d.call("read", "GET", "/v1/deliveries/"+id(other), nil).in(t)["payments"].([]any); len(got) != 2 {
		t.Errorf("payments shown: %v", got)
	}
}

// Within a second of the money, not at the next tick: the schedule of the round is once a year here.
func TestAPaidPermitIsOrderedWithinASecond(t *testing.T) {
	t.Parallel()
	d := start(t, setup{env: []string{"EMSD_SCHEDULE_ORDER=0 0 1 1 *"}})
	until(t, 10*time.Second, "numbers reserved", func() bool { return d.ems.Ledger().NumbersReserved > 0 })
	best := time.Hour
	for n := range 4 { // other tests share the machine: the best of four counts
		v := d.accept(permit(n))
		if r := d.pay(id(v), 1200, fmt.Sprintf("WX-%d", n)); r.status != 200 {
			t.Fatalf("pay: %s", r)
		}
		best = min(best, until(t, 10*time.Second, "ordered", func() bool { return d.status(id(v)) == "ordered" }))
	}
	if best > time.Second {
		t.Errorf("from paid to ordered: %s at best, want within a second", best)
	}
	t.Logf("from paid to ordered: %s", best)
	got := d.ems.Ledger()
	for _, o := range got.Orders {
		if o.PaymentMode != "1" {
			t.Errorf("order %s has payment mode %s, want 1", o.OrderNo, o.PaymentMode)
		}
	}
	if len(got.Orders) != 4 {
		t.Errorf("%d orders for 4 permits", len(got.Orders))
	}
}

func TestOnePermitFromManyClientsAtOnceIsOneDelivery(t *testing.T) {
	t.Parallel()
	d := start(t, setup{})
	d.token("permits")
	for n := range 10 {
		var wg sync.WaitGroup
		replies := make([]reply, 8)
		for i := range replies {
			wg.Go(func() {
				var err error
				if replies[i], err = d.try("permits", "POST", "/v1/deliveries", permit(n)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		count, ids := map[int]int{}, map[string]bool{}
		for _, r := range replies {
			count[r.status]++
			ids[id(r.in(t))] = true
		}
		if diff := cmp.Diff(map[int]int{201: 1, 200: 7}, count); diff != "" || len(ids) != 1 {
			t.Fatalf("permit %d: statuses (-want +got)\n%s ids %v", n, diff, ids)
		}
	}
}

func TestTheListIsPagedAndFiltered(t *testing.T) {
	t.Parallel()
	d := start(t, setup{})
	var want []string
	for n := range 7 {
		want = append(want, id(d.accept(permit(n))))
	}
	page := func(query string) ([]string, string) {
		t.Helper()
		r := d.call("read", "GET", "/v1/deliveries?"+query, nil)
		if r.status != 200 {
			t.Fatalf("%s: %s", query, r)
		}
		var ids []string
		m := r.in(t)
		for _, v := range m["deliveries"].([]any) {
			ids = append(ids, id(v.(map[string]any)))
		}
		next, _ := m["next_cursor"].(string)
		return ids, next
	}
	walk := func(query string) []string {
		var all []string
		for cursor, n := "", 0; n < 20; n++ {
			ids, next := page(query + "&limit=3&cursor=" + cursor)
			all = append(all, ids...)
			if next == "" {
				return all
			}
			cursor = next
		}
		t.Fatal("the pages do not end")
		return nil
	}
	got := walk("status=awaiting_payment")
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("pages (-want +got)\n%s", diff)
	}
	if ids, _ := page("permit_no=A1101022026000003"); len(ids) != 1 {
		t.Errorf("by permit: %v", ids)
	}
	if ids, _ := page("status=delivered"); len(ids) != 0 {
		t.Errorf("delivered: %v", ids)
	}
	if ids, _ := page("waybill_no=1234567890123"); len(ids) != 0 {
		t.Errorf("by a waybill that is nobody's: %v", ids)
	}
	if got := walk("updated_after=2026-01-01T00:00:00Z"); len(got) != 7 {
		t.Errorf("changed this year: %d, want 7", len(got))
	}
	if ids, _ := page("updated_after=" + time.Now().Add(time.Hour).UTC().Format(time.RFC3339)); len(ids) != 0 {
		t.Errorf("changed in an hour: %v", ids)
	}
}

func TestTheFeedIsGaplessAndWakesWhoWaits(t *testing.T) {
	t.Parallel()
	d := start(t, setup{})
	for n := range 5 {
		v := d.accept(permit(n))
		d.pay(id(v), 1200, fmt.Sprintf("WX-%d", n))
		until(t, 10*time.Second, "ordered", func() bool { return d.status(id(v)) == "ordered" })
	}
	type feed struct {
		Events []struct {
			Position   int64
			DeliveryID string `json:"delivery_id"`
			Seq        int
			Type       string
		}
		After int64
	}
	read := func(query string) feed {
		t.Helper()
		r := d.call("read", "GET", "/v1/events?"+query, nil)
		var f feed
		if err := json.Unmarshal(r.body, &f); err != nil || r.status != 200 {
			t.Fatalf("%s: %s", query, r)
		}
		return f
	}
	until(t, 10*time.Second, "all published", func() bool {
		n := 0
		for _, e := range read("limit=5000").Events {
			if e.Type == "delivery.ordered" {
				n++
			}
		}
		return n == 5
	})
	seq, after := map[string]int{}, int64(0)
	for {
		f := read(fmt.Sprintf("limit=2&after=%d", after))
		if len(f.Events) == 0 {
			break
		}
		for _, e := range f.Events {
			if e.Position != after+1 {
				t.Errorf("position %d follows %d", e.Position, after)
			}
			if after = e.Position; e.Seq != seq[e.DeliveryID]+1 {
				t.Errorf("delivery %s: event %d follows %d", e.DeliveryID, e.Seq, seq[e.DeliveryID])
			}
			seq[e.DeliveryID] = e.Seq
		}
	}
	settled := func() int64 {
		last := after
		for f := read(fmt.Sprintf("limit=5000&wait=1s&after=%d", last)); len(f.Events) > 0; f = read(fmt.Sprintf("limit=5000&wait=1s&after=%d", last)) {
			last = f.After
		}
		return last
	}
	after = settled()
	began := time.Now()
	if f := read(fmt.Sprintf("after=%d&wait=300ms", after)); len(f.Events) != 0 || f.After != after || time.Since(began) < 300*time.Millisecond {
		t.Errorf("nothing new: %+v after %s, want an empty page after 300ms", f, time.Since(began))
	}
	answered := make(chan feed, 1)
	go func() { answered <- read(fmt.Sprintf("after=%d&wait=40s", after)) }()
	d.accept(permit(50))
	select {
	case f := <-answered:
		if len(f.Events) == 0 || f.Events[0].Type != "delivery.awaiting_payment" {
			t.Errorf("the waiting reader got %+v", f)
		}
	case <-time.After(5 * time.Second):
		t.Error("a waiting reader was not woken by an event")
	}
	// A daemon that stops lets go of those who wait.
	after = settled()
	conn, err := net.Dial("tcp", strings.TrimPrefix(d.api, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	// A first answer shows that the connection was taken up; then the daemon has a moment to read who waits.
	fmt.Fprintf(conn, "GET /v1/events?after=%d HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", after, d.token("read"))
	if first, err := http.ReadResponse(in, nil); err != nil {
		t.Fatal(err)
	} else if _, err := io.Copy(io.Discard, first.Body); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET /v1/events?after=%d&wait=45s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", after, d.token("read"))
	<-time.After(500 * time.Millisecond)
	began = time.Now()
	if err := d.stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatalf("who waited got no answer: %v", err)
	}
	defer resp.Body.Close()
	var f feed
	if err := json.NewDecoder(resp.Body).Decode(&f); err != nil || resp.StatusCode != 200 || len(f.Events) != 0 {
		t.Errorf("the last answer: %d %+v, %v", resp.StatusCode, f, err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("stopping took %s because somebody waited", took)
	}
}

func TestCancellingInEachStage(t *testing.T) {
	t.Parallel()
	d := start(t, setup{quick: true, env: []string{"EMSD_SCHEDULE_CANCEL=@every 1s"}})
	cancel := func(id string) reply {
		return d.call("permits", "POST", "/v1/deliveries/"+id+"/cancel", `{"reason":"申请人改为自取"}`)
	}
	waiting := d.accept(permit(1))
	if r := cancel(id(waiting)); r.status != 200 || r.in(t)["status"] != "cancelled" {
		t.Errorf("waiting for payment: %s", r)
	}
	if r := cancel(id(waiting)); r.status != 200 || r.in(t)["status"] != "cancelled" {
		t.Errorf("a second time: %s", r)
	}
	ordered := d.ordered(2)
	if r := cancel(ordered); r.status != 200 {
		t.Errorf("ordered: %s", r)
	}
	until(t, 10*time.Second, "cancelled at EMS", func() bool { return d.status(ordered) == "cancelled" })
	v := d.call("read", "GET", "/v1/deliveries/"+ordered, nil).in(t)
	if v["refund_due_fen"] != float64(1200) {
		t.Errorf("%v due back after cancelling what was paid, want 1200", v["refund_due_fen"])
	}
	if got := d.ems.Orders(v["order_no"].(string)); got != 0 {
		t.Errorf("EMS still has %d orders", got)
	}
	refused := problem(t, d.call("permits", "POST", "/v1/deliveries", permit(3, "business", "renewal")), 422, "rule_refused")
	problem(t, cancel(refused["delivery_id"].(string)), 409, "refused_delivery")
	// The permit is free again.
	if r := d.call("permits", "POST", "/v1/deliveries", permit(1, "application_no", "SQ2026-900001")); r.status != 201 {
		t.Errorf("the permit of a cancelled delivery posted anew: %s", r)
	}
}

func TestALabelIsForClerks(t *testing.T) {
	t.Parallel()
	d := start(t, setup{quick: true})
	ordered := d.ordered(1)
	var r reply
	until(t, 10*time.Second, "labelled", func() bool {
		r = d.call("clerk", "GET", "/v1/deliveries/"+ordered+"/label", nil)
		return r.status == 200
	})
	if !bytes.HasPrefix(r.body, []byte("%PDF-")) || r.header.Get("Content-Type") != "application/pdf" || r.header.Get("Cache-Control") != "no-store" {
		t.Errorf("label: %.20q, %v", r.body, r.header)
	}
}

func TestTheWorklistShowsWhatEMSRefusedUntilAClerkClosesIt(t *testing.T) {
	t.Parallel()
	d := start(t, setup{quick: true})
	v := d.accept(permit(1, "recipient.phone", "13900010007", "payment_method", "collect")) // …0007: EMS refuses the order
	var open []any
	until(t, 10*time.Second, "a case", func() bool {
		open = d.call("clerk", "GET", "/v1/cases?kind=order_refused", nil).in(t)["cases"].([]any)
		return len(open) == 1
	})
	c := open[0].(map[string]any)
	if c["delivery_id"] != id(v) || c["next_action"] == "" || c["due_at"] == "" {
		t.Errorf("case: %v", c)
	}
	if n := d.ems.Orders(fmt.Sprint(d.call("read", "GET", "/v1/deliveries/"+id(v), nil).in(t)["order_no"])); n != 0 {
		t.Errorf("%d orders", n)
	}
	r := d.call("clerk", "POST", "/v1/cases/"+id(c)+"/close", `{"outcome":"called","why":"已电话联系"}`)
	if got := r.in(t); r.status != 200 || got["outcome"] != "called" || got["closed_by"] != "test clerk" {
		t.Errorf("close: %s", r)
	}
	if left := d.call("clerk", "GET", "/v1/cases", nil).in(t)["cases"].([]any); len(left) != 0 {
		t.Errorf("still on the worklist: %v", left)
	}
}

func TestQuotes(t *testing.T) {
	t.Parallel()
	d := start(t, setup{})
	r := d.call("read", "POST", "/v1/quotes", `{"province":"北京市"}`)
	if got := r.in(t); r.status != 200 || got["fee_fen"] != float64(1200) {
		t.Errorf("quote: %s", r)
	}
	problem(t, d.call("read", "POST", "/v1/quotes", `{"province":"火星"}`), 422, "invalid")
	problem(t, d.call("read", "POST", "/v1/quotes", `{"province":"北京市","weight_g":-1}`), 422, "invalid")
	problem(t, d.call("read", "POST", "/v1/quotes", `{"province":"北京市","weight_g":"80"}`), 422, "invalid")
}
