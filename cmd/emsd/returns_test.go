package main

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"emsd/courier/emssim"

	"github.com/google/go-cmp/cmp"
)

// view reads a delivery as a clerk.
func (d *daemon) view(id string) map[string]any {
	d.t.Helper()
	return d.call("clerk", "GET", "/v1/deliveries/"+id, nil).in(d.t)
}

// must calls as a clerk what has to be answered with a status, and gives the answer.
func (d *daemon) must(status int, method, path string, body any, extra ...string) map[string]any {
	d.t.Helper()
	r := d.call("clerk", method, path, body, extra...)
	if r.status != status {
		d.t.Fatalf("%s %s: %s, want %d", method, path, r, status)
	}
	return r.in(d.t)
}

// scanned has EMS show scans of an envelope, "code" or "code/deliverCode", and waits for what they make of its delivery.
func (d *daemon) scanned(id, status string, codes ...string) {
	d.t.Helper()
	no, _ := d.view(id)["waybill_no"].(string)
	for _, c := range codes {
		code, receiver, _ := strings.Cut(c, "/")
		if err := d.ems.AddScan(no, emssim.Scan{OpCode: code, DeliverCode: receiver}); err != nil {
			d.t.Fatal(err)
		}
	}
	until(d.t, 15*time.Second, status, func() bool { return d.status(id) == status })
}

// eventTypes lists what the feed tells of a delivery.
func (d *daemon) eventTypes(id string) string {
	d.t.Helper()
	events, _ := d.call("read", "GET", "/v1/events?after=0&limit=1000", nil).in(d.t)["events"].([]any)
	var types []string
	for _, e := range events {
		if m := e.(map[string]any); m["delivery_id"] == id {
			types = append(types, m["type"].(string))
		}
	}
	return strings.Join(types, " ")
}

// told waits until the feed tells these types of events of a delivery, in any order.
func (d *daemon) told(id string, types ...string) {
	d.t.Helper()
	until(d.t, 5*time.Second, "told "+strings.Join(types, " "), func() bool {
		got := strings.Fields(d.eventTypes(id))
		return !slices.ContainsFunc(types, func(want string) bool { return !slices.Contains(got, want) })
	})
}

// consentNow is a choice that the applicant has just made.
func consentNow() map[string]any {
	return map[string]any{"source": "platform", "at": time.Now().Format(time.RFC3339Nano), "notice_version": "2"}
}

// caseOf finds the case of a kind, the newest.
func caseOf(v map[string]any, kind string) map[string]any {
	found := map[string]any{}
	cases, _ := v["cases"].([]any)
	for _, c := range cases {
		if m := c.(map[string]any); m["kind"] == kind {
			found = m
		}
	}
	return found
}

func TestAReturnedPermitGoesOutAgainAndArrives(t *testing.T) {
	t.Parallel()
	d := start(t, setup{ems: emssim.Config{PushTo: "here"}})
	old := d.ordered(1)
	waybill := d.view(old)["waybill_no"].(string)

	out := d.must(200, "POST", "/v1/handovers", map[string]any{"waybill_nos": []string{waybill, "EM000000000CN"}})
	want := map[string]any{"recorded": 1.0, "results": []any{
		map[string]any{"waybill_no": waybill, "result": "recorded", "delivery_id": old}, map[string]any{"waybill_no": "EM000000000CN", "result": "unknown"}}}
	if diff := cmp.Diff(want, out); diff != "" {
		t.Errorf("handed over:\n%s", diff)
	}
	if v := d.must(200, "POST", "/v1/deliveries/"+old+"/handover", map[string]any{}); v["handed_over_at"] == nil {
		t.Errorf("handed over: %v", v)
	}
	problem(t, d.call("clerk", "POST", "/v1/deliveries/"+old+"/cancel", map[string]any{"reason": "不寄了"}), 409, "already_handed_over")
	d.scanned(old, "returned", "203", "708", "711")

	problem(t, d.call("clerk", "POST", "/v1/deliveries/"+old+"/redispatch",
		map[string]any{"consent": consentNow(), "payment_method": "prepaid", "reason": "重寄"}), 409, "not_received_at_station")
	v := d.must(200, "POST", "/v1/returns", map[string]any{"waybill_no": waybill, "shelf": "A-12"})
	if r, _ := v["return"].(map[string]any); v["status"] != "returned" || r["shelf"] != "A-12" || r["on_shelf"] != true {
		t.Errorf("received: %v", v)
	}
	d.must(200, "POST", "/v1/deliveries/"+old+"/return/shelf", map[string]any{"shelf": "B-3"})
	page := d.must(200, "GET", "/v1/returns?on_shelf=true", nil)
	if list := page["returns"].([]any); len(list) != 1 || list[0].(map[string]any)["shelf"] != "B-3" || list[0].(map[string]any)["waybill_no"] != waybill {
		t.Errorf("on the shelf: %v", page)
	}
	problem(t, d.call("clerk", "GET", "/v1/returns?on_shelf=maybe", nil), 400, "bad_parameter")

	// A new choice, to a new address, under a key: whoever lost the answer gets the same delivery.
	body := map[string]any{"consent": consentNow(), "payment_method": "prepaid", "reason": "地址更正后重寄",
		"recipient": map[string]any{"phone": "13900000001", "province": "北京市", "city": "北京市", "county": "东城区", "address": "示例南街7号院3单元502"}}
	problem(t, d.call("permits", "POST", "/v1/deliveries/"+old+"/redispatch", map[string]any{"payment_method": "prepaid", "reason": "x",
		"consent": consentNow(), "recipient": map[string]any{"name": "李四"}}), 422, "invalid")
	first := d.call("permits", "POST", "/v1/deliveries/"+old+"/redispatch", body, "Idempotency-Key", "again-1")
	second := d.call("permits", "POST", "/v1/deliveries/"+old+"/redispatch", body, "Idempotency-Key", "again-1")
	third := d.call("permits", "POST", "/v1/deliveries/"+old+"/redispatch", body)
	next := id(first.in(t))
	if first.status != 201 || first.header.Get("Location") != "/v1/deliveries/"+next || second.header.Get("Idempotency-Replayed") != "true" ||
		!bytes.Equal(first.body, second.body) || third.status != 200 || id(third.in(t)) != next {
		t.Fatalf("sent again: %s\n%s\n%s", first, second, third)
	}
	n := d.view(next)
	if n["status"] != "awaiting_payment" || n["supersedes"] != old || n["permit_no"] != d.view(old)["permit_no"] {
		t.Errorf("the new delivery: %v", n)
	}
	problem(t, d.call("clerk", "POST", "/v1/deliveries/"+old+"/return/pick-up", map[string]any{"who": "holder", "id_document": "resident_id"}), 409, "already_redispatched")

	d.pay(next, n["fee_fen"], "WX-again-1")
	until(t, 15*time.Second, "ordered", func() bool { return d.status(next) == "ordered" })
	d.must(200, "POST", "/v1/deliveries/"+next+"/handover", map[string]any{"at": time.Now().Format(time.RFC3339)})
	d.scanned(next, "delivered", "203", "954", "702", "704/10")

	orders := map[string]bool{}
	for _, o := range d.ems.Ledger().Orders {
		if o.Cancelled || orders[o.OrderNo] {
			t.Errorf("I-3: order %+v", o)
		}
		orders[o.OrderNo] = true
	}
	if v := d.view(next); len(orders) != 2 || v["waybill_no"] == waybill || v["paid_fen"] != v["fee_fen"] {
		t.Errorf("%d orders, the second: %v", len(orders), v)
	}
	d.told(next, "delivery.delivered")
	d.told(old, "handover.recorded", "return.received", "return.redispatched")
	if c := caseOf(d.view(old), "returned"); c["outcome"] != "redispatched" {
		t.Errorf("case %v", c)
	}
}

func TestAPermitIsHandedOutAtTheCounter(t *testing.T) {
	t.Parallel()
	d := start(t, setup{ems: emssim.Config{PushTo: "here"}})
	x := d.ordered(2)
	waybill := d.view(x)["waybill_no"].(string)
	problem(t, d.call("clerk", "POST", "/v1/returns", map[string]any{"waybill_no": waybill, "shelf": "A-1"}), 409, "not_handed_over")
	if p := problem(t, d.call("clerk", "POST", "/v1/returns", map[string]any{"waybill_no": "1234567890", "shelf": "A-1"}), 404, "unknown_waybill"); !strings.Contains(p["detail"].(string), "没有这个运单号") {
		t.Errorf("a stranger's envelope: %v", p)
	}
	d.scanned(x, "in_transit", "203", "389")
	// EMS has not scanned it back, but here it is.
	if v := d.must(200, "POST", "/v1/returns", map[string]any{"waybill_no": waybill, "shelf": "A-1"}); v["status"] != "returned" {
		t.Errorf("received: %v", v)
	}
	take := map[string]any{"who": "agent", "id_document": "resident_id", "agent_name": "司马代领", "reason": "司马代领代取"}
	v := d.must(200, "POST", "/v1/deliveries/"+x+"/return/pick-up", take)
	r, _ := v["return"].(map[string]any)
	if r["picked_up_who"] != "agent" || r["id_document"] != "resident_id" || r["picked_up_by"] != "test clerk" || r["on_shelf"] != false {
		t.Errorf("picked up: %v", r)
	}
	d.must(200, "POST", "/v1/deliveries/"+x+"/return/pick-up", take)
	if c := caseOf(d.view(x), "returned"); c["outcome"] != "picked_up" {
		t.Errorf("case %v", c)
	}
	for _, rep := range []reply{d.call("clerk", "GET", "/v1/deliveries/"+x, nil), d.call("clerk", "GET", "/v1/returns", nil), d.call("read", "GET", "/v1/events?after=0", nil)} {
		if bytes.Contains(rep.body, []byte("司马代领")) {
			t.Errorf("I-9: the agent's name is shown: %s", rep)
		}
	}
	if strings.Contains(d.log.String(), "司马代领") {
		t.Error("I-9: the agent's name is in the log")
	}
	again := permit(2, "consent.notice_version", "2")
	problem(t, d.call("permits", "POST", "/v1/deliveries", again), 409, "permit_picked_up")
	problem(t, d.call("permits", "POST", "/v1/deliveries/"+x+"/redispatch",
		map[string]any{"consent": consentNow(), "payment_method": "prepaid", "reason": "重寄"}), 409, "permit_picked_up")
	lines := d.call("permits", "POST", "/v1/deliveries:batch", again)
	if !bytes.Contains(lines.body, []byte("permit_picked_up")) {
		t.Errorf("in a batch: %s", lines)
	}
}

func TestANonReceiptEndsInALossAndANewIssue(t *testing.T) {
	t.Parallel()
	d := start(t, setup{ems: emssim.Config{PushTo: "here"}})
	x := d.ordered(3)
	problem(t, d.call("clerk", "POST", "/v1/deliveries/"+x+"/not-received", map[string]any{"said_by": "resident", "reason": "没收到"}), 409, "not_accepted")
	problem(t, d.call("clerk", "POST", "/v1/deliveries/"+x+"/declare-lost", map[string]any{"reason": "找不到"}), 409, "no_open_case")
	d.scanned(x, "delivered", "203", "954", "702", "704/10")

	asked := d.ems.Ledger().Calls["040001"]
	v := d.must(200, "POST", "/v1/deliveries/"+x+"/not-received", map[string]any{"said_by": "resident", "reason": "本人称从未收到"})
	list, _ := v["not_received"].([]any)
	if len(list) != 1 {
		t.Fatalf("reported: %v", v)
	}
	facts := list[0].(map[string]any)["facts"].(map[string]any)
	codes := map[any]bool{}
	for _, s := range facts["scans"].([]any) {
		codes[s.(map[string]any)["code"]] = true
	}
	if diff := cmp.Diff(map[any]bool{"203": true, "954": true, "702": true, "704": true}, codes); diff != "" || facts["status"] != "delivered" || facts["receiver"] != "self" {
		t.Errorf("facts %v\n%s", facts, diff)
	}
	if c := caseOf(d.view(x), "not_received"); c["closed_at"] != nil || c["next_action"] == "" {
		t.Errorf("case %v", c)
	}
	until(t, 10*time.Second, "EMS asked anew", func() bool { return d.ems.Ledger().Calls["040001"] > asked })
	problem(t, d.call("clerk", "POST", "/v1/deliveries/"+x+"/not-received/close", map[string]any{"outcome": "lost"}), 422, "invalid")
	problem(t, d.call("clerk", "POST", "/v1/deliveries/"+x+"/not-received/close", map[string]any{"outcome": "lost", "reason": "x", "said_by": "clerk"}), 422, "invalid")
	v = d.must(200, "POST", "/v1/deliveries/"+x+"/not-received/close", map[string]any{"outcome": "lost", "reason": "网点承认遗失"})
	if v["status"] != "lost" {
		t.Errorf("declared lost: %v", v)
	}
	until(t, 5*time.Second, "told", func() bool { return strings.Contains(d.eventTypes(x), "delivery.lost permit.lost not_received.closed") })

	// The permit system voids it and issues it anew.
	again := d.accept(permit(3, "consent.notice_version", "2"))
	if again["supersedes"] != x || again["status"] != "awaiting_payment" {
		t.Errorf("issued anew: %v", again)
	}
	d.pay(id(again), again["fee_fen"], "WX-anew-3")
	until(t, 15*time.Second, "ordered", func() bool { return d.status(id(again)) == "ordered" })
}

func TestAnEnvelopeThatIsNotThereIsNotFound(t *testing.T) {
	t.Parallel()
	d := start(t, setup{})
	some := "/v1/deliveries/0198c0de-0000-7000-8000-000000000000"
	for path, body := range map[string]any{
		"/handover": map[string]any{}, "/return/shelf": map[string]any{"shelf": "A"},
		"/return/pick-up": map[string]any{"who": "holder", "id_document": "passport"},
		"/redispatch":     map[string]any{"consent": consentNow(), "payment_method": "prepaid", "reason": "x"},
		"/not-received":   map[string]any{"said_by": "clerk", "reason": "x"}, "/not-received/close": map[string]any{"outcome": "found", "reason": "x"},
		"/declare-lost": map[string]any{"reason": "x"}, "/return/dispose": map[string]any{"how": "sent_back", "reason": "x"},
	} {
		problem(t, d.call("clerk", "POST", some+path, body), http.StatusNotFound, "not_found")
		problem(t, d.call("clerk", "POST", some+path, map[string]any{"surprise": 1}), http.StatusUnprocessableEntity, "invalid")
	}
}
