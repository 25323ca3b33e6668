package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"emsd/courier/emssim"
)

// elsewhere is the body of a change of address.
func elsewhere(address string) map[string]any {
	return map[string]any{"reason": "申请人搬家", "province": "北京市", "city": "北京市", "county": "海淀区", "address": address}
}

// count tells how many events of a type the feed holds.
func (p *process) count(typ string) int {
	p.t.Helper()
	var page struct {
		Events []struct {
			Type string `json:"type"`
		} `json:"events"`
	}
	r := p.ask("GET", "/v1/events?after=0", nil)
	if err := json.Unmarshal(r.body, &page); err != nil {
		p.t.Fatal(err)
	}
	n := 0
	for _, e := range page.Events {
		if e.Type == typ {
			n++
		}
	}
	return n
}

func (p *process) ask(method, path string, body any, extra ...string) reply {
	p.t.Helper()
	r, err := request(p.api+path, method, body, append([]string{"Authorization", "Bearer " + p.token}, extra...)...)
	if err != nil {
		p.t.Fatal(err)
	}
	return r
}

// TestAKilledProcessDoesNothingTwiceUnderOneKey kills the real process between the work and the stored answer, between
// that and the commit, and between the commit and the answer. The same request again is done once in all, at once.
func TestAKilledProcessDoesNothingTwiceUnderOneKey(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		point    string
		replayed string
	}{{"api.worked", ""}, {"api.stored", ""}, {"api.committed", "true"}} {
		t.Run(tt.point, func(t *testing.T) {
			t.Parallel()
			p := newProcess(t, emssim.Config{})
			p.start()
			v := p.ask("POST", "/v1/deliveries", permit(1)).in(t) // without a key: no such point is passed
			if _, err := p.terminate(); err != nil {
				t.Fatal(err)
			}
			plain := p.env
			p.env = append(p.env[:len(p.env):len(p.env)], crashPointEnv+"="+tt.point)
			p.start()
			path, body := "/v1/deliveries/"+id(v)+"/address", elsewhere("示例街5号院6号楼702")
			if r, err := request(p.api+path, "POST", body, "Authorization", "Bearer "+p.token, "Idempotency-Key", "k"); err == nil {
				t.Fatalf("the process was to die, and answered %s", r)
			}
			<-p.ended
			p.env = plain
			p.start()
			var r reply
			// PostgreSQL notices within moments that the other end of the dead process's connection is gone.
			until(t, 10*time.Second, "answered under the key", func() bool {
				r = p.ask("POST", path, body, "Idempotency-Key", "k")
				return r.status != http.StatusConflict
			})
			if r.status != http.StatusOK || r.header.Get("Idempotency-Replayed") != tt.replayed {
				t.Errorf("again: replayed %q, want %q: %s", r.header.Get("Idempotency-Replayed"), tt.replayed, r)
			}
			again := p.ask("POST", path, body, "Idempotency-Key", "k")
			if again.header.Get("Idempotency-Replayed") != "true" || !bytes.Equal(again.body, r.body) {
				t.Errorf("%s, then %s", r, again)
			}
			until(t, 10*time.Second, "published", func() bool { return p.count("address.changed") > 0 })
			if n := p.count("address.changed"); n != 1 {
				t.Errorf("the address was changed %d times", n)
			}
		})
	}
}

// TestAtTheSameInstantOneRequestUnderAKeyDoesTheWork uses a call that is no repetition by itself.
func TestAtTheSameInstantOneRequestUnderAKeyDoesTheWork(t *testing.T) {
	t.Parallel()
	d := start(t, setup{})
	v := d.accept(permit(1))
	d.token("permits")
	replies := make([]reply, 12)
	var wg sync.WaitGroup
	for i := range replies {
		wg.Go(func() {
			var err error
			if replies[i], err = d.try("permits", "POST", "/v1/deliveries/"+id(v)+"/address", elsewhere("示例街5号院6号楼702"), "Idempotency-Key", "k"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	done := 0
	for _, r := range replies {
		switch r.status {
		case http.StatusOK:
			done++
		case http.StatusConflict:
			problem(t, r, http.StatusConflict, "in_progress")
		default:
			t.Errorf("answer %s, want 200 or 409", r)
		}
	}
	if done == 0 {
		t.Error("nobody did the work")
	}
	if seq := d.call("read", "GET", "/v1/deliveries/"+id(v), nil).in(t)["events_seq"]; seq != float64(2) {
		t.Errorf("events_seq %v, want 2: taken in, and one change of address", seq)
	}
}

func TestAnAnswerUnderAKeyIsStoredWithWhatItSays(t *testing.T) {
	t.Parallel()
	d := start(t, setup{})
	// A refusal by a rule is a problem, and the refused delivery stands all the same.
	refused := problem(t, d.call("permits", "POST", "/v1/deliveries", permit(1, "business", "renewal"), "Idempotency-Key", "r"), 422, "rule_refused")
	if got := d.status(refused["delivery_id"].(string)); got != "refused" {
		t.Errorf("the refused delivery is %s", got)
	}
	// A conflict undoes everything of its request and is answered again.
	v := d.accept(permit(2))
	if r := d.pay(id(v), 1200, "WX-1"); r.status != http.StatusOK {
		t.Fatal(r)
	}
	for range 2 {
		problem(t, d.call("payments", "POST", "/v1/deliveries/"+id(v)+"/payments", money(900, "WX-1"), "Idempotency-Key", "p"), 409, "transaction_reused")
	}
	if got := d.call("read", "GET", "/v1/deliveries/"+id(v), nil).in(t); got["paid_fen"] != float64(1200) {
		t.Errorf("paid_fen %v", got["paid_fen"])
	}
}

// TestTwoWhoEditAtOnceDoNotOverwriteEachOther is If-Match on everything that two people may do to one delivery or case.
func TestTwoWhoEditAtOnceDoNotOverwriteEachOther(t *testing.T) {
	t.Parallel()
	d := start(t, setup{})
	v := d.accept(permit(1))
	path := "/v1/deliveries/" + id(v)
	until(t, 10*time.Second, "the message about its payment is told", func() bool { told, _ := d.view(id(v))["messages"].([]any); return len(told) > 0 })
	seen := d.call("clerk", "GET", path, nil)
	tag := seen.header.Get("ETag")
	if !strings.HasPrefix(tag, `"1-`) {
		t.Fatalf("ETag %q", tag)
	}
	if r := d.call("clerk", "GET", path, nil, "If-None-Match", `W/"x", `+tag); r.status != http.StatusNotModified || len(r.body) > 0 || r.header.Get("ETag") != tag {
		t.Errorf("the same again: %s", r)
	}
	if r := d.call("clerk", "POST", path+"/address", elsewhere("示例街5号院6号楼702"), "If-Match", tag); r.status != http.StatusOK {
		t.Fatalf("nobody else was there: %s", r)
	}
	if r := d.call("clerk", "GET", path, nil, "If-None-Match", tag); r.status != http.StatusOK {
		t.Errorf("after a change: %s", r)
	}
	for _, what := range []string{"cancel", "address", "retry", "handover", "redispatch", "not-received", "declare-lost", "intervene", "return/dispose"} {
		body := elsewhere("另一条街7号院8号楼903")
		problem(t, d.call("admin", "POST", path+"/"+what, body, "If-Match", tag), http.StatusPreconditionFailed, "changed_meanwhile")
		problem(t, d.call("admin", "POST", path+"/"+what, body, "If-Match", tag, "Idempotency-Key", what), http.StatusPreconditionFailed, "changed_meanwhile")
	}
	if got := d.call("read", "GET", path, nil).in(t); got["events_seq"] != float64(2) || got["status"] != "awaiting_payment" {
		t.Errorf("something was done: %v %v", got["events_seq"], got["status"])
	}
	// What a reader sees is masked; the version is the same.
	for _, match := range []string{"*", `"0-1", ` + d.call("read", "GET", path, nil).header.Get("ETag")} {
		if r := d.call("clerk", "POST", path+"/return/shelf", map[string]any{"shelf": "A-1"}, "If-Match", match); r.status != http.StatusConflict {
			t.Errorf("If-Match %s: %s, want the conflict of the work itself", match, r)
		}
	}
	problem(t, d.call("clerk", "POST", "/v1/deliveries/0198c0de-0000-7000-8000-000000000000/cancel", `{"reason":"x"}`, "If-Match", `"1-1"`), http.StatusNotFound, "not_found")
	if r := d.call("clerk", "POST", path+"/cancel", map[string]any{"reason": "不寄了"}); r.status != http.StatusOK {
		t.Errorf("without If-Match: %s", r)
	}
}

func TestTwoWhoCloseACaseSeeEachOther(t *testing.T) {
	t.Parallel()
	d := start(t, setup{})
	v := d.accept(permit(7, "recipient.phone", "13900000007")) // EMS refuses its order
	d.pay(id(v), 1200, "WX-7")
	var first string
	until(t, 10*time.Second, "a case opened", func() bool {
		for _, c := range d.call("read", "GET", "/v1/cases", nil).in(t)["cases"].([]any) {
			first = c.(map[string]any)["id"].(string)
		}
		return first != ""
	})
	path := "/v1/cases/" + first
	tag := d.call("clerk", "GET", path, nil).header.Get("ETag")
	if r := d.call("clerk", "GET", path, nil, "If-None-Match", tag); r.status != http.StatusNotModified {
		t.Errorf("the same again: %s", r)
	}
	end := map[string]any{"outcome": "已核实", "why": "电话联系"}
	if r := d.call("clerk", "POST", path+"/close", end, "If-Match", tag); r.status != http.StatusOK {
		t.Fatal(r)
	}
	problem(t, d.call("clerk", "POST", path+"/close", end, "If-Match", tag), http.StatusPreconditionFailed, "changed_meanwhile")
	problem(t, d.call("clerk", "POST", path+"/close", end), http.StatusConflict, "case_closed")
	problem(t, d.call("clerk", "GET", "/v1/cases/0198c0de-0000-7000-8000-000000000000", nil), http.StatusNotFound, "not_found")
}
