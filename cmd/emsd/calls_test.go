package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"emsd/courier/emssim"
)

// A clerk telephones whom no message reached, and records what came of it.
func TestADayOfCalls(t *testing.T) {
	t.Parallel()
	d := start(t, setup{quick: true, ems: emssim.Config{PushTo: "here"}, env: []string{"EMSD_QUIET_HOURS=off"}})
	const phone = "13912340008" // a number of the simulator that is refused for good
	id := d.ordered(141, "recipient.phone", phone)
	d.scanned(id, "out_for_delivery", "203", "702")
	until(t, 20*time.Second, "a case", func() bool { return len(caseOf(d.view(id), "sms_failed")) > 0 })
	v := d.view(id)
	messages, _ := v["messages"].([]any)
	if len(messages) == 0 {
		t.Fatalf("the delivery tells no messages: %v", v)
	}
	last, _ := messages[len(messages)-1].(map[string]any)
	if last["milestone"] != "out_for_delivery" || last["state"] != "failed" || last["reason"] == "" || last["gateway"] != "aliyun" {
		t.Errorf("the message is told as %v", last)
	}
	find := func(scope string) map[string]any {
		calls, _ := d.call(scope, "GET", "/v1/calls", nil).in(t)["calls"].([]any)
		for _, c := range calls {
			if m := c.(map[string]any); m["delivery_id"] == id {
				return m
			}
		}
		return nil
	}
	if c := find("read"); c == nil || strings.Contains(c["phone"].(string), "12340008") {
		t.Errorf("a reader sees %v", c)
	}
	c := find("clerk")
	if c == nil || c["phone"] != phone || c["milestone"] != "out_for_delivery" || c["next_action"] == "" {
		t.Fatalf("a clerk sees %v", c)
	}
	var looks int
	if err := d.app.db.Get(&looks, `SELECT (SELECT count(*) FROM audit WHERE action = 'calls.seen') + (SELECT count(*) FROM audit_queue WHERE action = 'calls.seen')`); err != nil || looks != 1 {
		t.Errorf("%d looks are audited, want 1 (%v)", looks, err)
	}
	called := "/v1/calls/" + c["id"].(string) + "/called"
	d.must(http.StatusUnprocessableEntity, "POST", called, map[string]any{"outcome": "asleep"})
	d.must(http.StatusOK, "POST", called, map[string]any{"outcome": "no_answer"}, "Idempotency-Key", "call-1")
	d.must(http.StatusOK, "POST", called, map[string]any{"outcome": "no_answer"}, "Idempotency-Key", "call-1")
	if tries, _ := find("clerk")["tries"].([]any); len(tries) != 1 {
		t.Errorf("one call under one key is kept as %v", tries)
	}
	if end := d.must(http.StatusOK, "POST", called, map[string]any{"outcome": "wrong_number", "note": "机主是房东"}); end["outcome"] != "wrong_number" {
		t.Errorf("the case ends as %v", end)
	}
	if find("clerk") != nil || len(caseOf(d.view(id), "address")) == 0 {
		t.Errorf("after a wrong number: %v", d.view(id)["cases"])
	}
	d.must(http.StatusConflict, "POST", called, map[string]any{"outcome": "reached"})
	d.must(http.StatusOK, "POST", "/v1/deliveries/"+id+"/wrong-person", map[string]any{"reason": "又一次来电"})
	body := map[string]any{"phone": phone, "why": "本人要求"}
	for _, step := range []struct {
		path             string
		stopped, changed bool
	}{{"", true, false}, {"/lift", false, true}, {"/lift", false, false}, {"", true, true}} {
		if got := d.must(http.StatusOK, "POST", "/v1/do-not-send"+step.path, body); got["stopped"] != step.stopped || got["changed"] != step.changed {
			t.Errorf("do-not-send%s: %v, want %v", step.path, got, step)
		}
	}
	d.must(http.StatusUnprocessableEntity, "POST", "/v1/do-not-send", map[string]any{"phone": "010-1", "why": "x"})
	list := d.call("read", "GET", "/v1/do-not-send", nil)
	if entries, _ := list.in(t)["refusals"].([]any); len(entries) != 2 || strings.Contains(list.String(), phone) {
		t.Errorf("the list is %s", list)
	}
	if strings.Contains(d.log.String(), phone) {
		t.Error("I-9: the number stands in the log")
	}
}
