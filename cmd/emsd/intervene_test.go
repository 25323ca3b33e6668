package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"emsd/courier/emssim"
)

var interveneOften = []string{"EMSD_SCHEDULE_INTERVENE=@every 1s"}

func interventionOf(v map[string]any, kind string) map[string]any {
	list, _ := v["interventions"].([]any)
	for _, i := range list {
		if m := i.(map[string]any); m["kind"] == kind {
			return m
		}
	}
	return map[string]any{}
}

// Without an interface code a clerk telephones, and records what came of it.
func TestAnInterventionWithoutAnInterfaceIsAClerksCall(t *testing.T) {
	t.Parallel()
	d := start(t, setup{env: interveneOften, ems: emssim.Config{PushTo: "here"}})
	id := d.ordered(91)
	if r := d.call("clerk", "POST", "/v1/deliveries/"+id+"/intervene", map[string]any{"kind": "urge", "reason": "急用"}); r.status != http.StatusConflict {
		t.Errorf("urging what EMS has not: %s", r)
	}
	d.scanned(id, "out_for_delivery", "203", "702")
	to := newAddress("海淀区")
	to["kind"] = "readdress"
	made := d.must(http.StatusOK, "POST", "/v1/deliveries/"+id+"/intervene", to)
	again := d.must(http.StatusOK, "POST", "/v1/deliveries/"+id+"/intervene", to)
	if made["state"] != "by_phone" || made["id"] != again["id"] {
		t.Errorf("made %v, again %v", made, again)
	}
	c := caseOf(d.view(id), "address")
	if next, _ := c["next_action"].(string); !strings.Contains(next, "010-56421484") || !strings.Contains(next, d.view(id)["waybill_no"].(string)) || strings.Contains(next, "新住处") {
		t.Errorf("case %v", c)
	}
	for _, bad := range []map[string]any{{"kind": "fly", "reason": "x"}, {"kind": "urge"}, {"kind": "readdress", "reason": "x", "province": "北京"}} {
		if r := d.call("clerk", "POST", "/v1/deliveries/"+id+"/intervene", bad); r.status != http.StatusUnprocessableEntity {
			t.Errorf("%v: %s", bad, r)
		}
	}
	path := "/v1/deliveries/" + id + "/interventions/" + made["id"].(string) + "/close"
	closed := d.must(http.StatusOK, "POST", path, map[string]any{"result": "done", "reason": "网点已改址"})
	if closed["state"] != "done" || len(caseOf(d.view(id), "address")) > 0 && caseOf(d.view(id), "address")["closed_at"] == nil {
		t.Errorf("closed %v, case %v", closed, caseOf(d.view(id), "address"))
	}
	if r := d.call("clerk", "POST", path, map[string]any{"result": "failed", "reason": "x"}); r.status != http.StatusConflict {
		t.Errorf("another result: %s", r)
	}
	d.told(id, "intervention.requested", "intervention.ended")
	if strings.Contains(d.log.String(), "新住处") {
		t.Error("the log tells the new address")
	}
}

// With a code, EMS is asked once; scans prove what it agreed to.
func TestAnInterventionGoesToEMSOnce(t *testing.T) {
	t.Parallel()
	d := start(t, setup{env: append(interveneOften, "EMSD_EMS_INTERVENE_API="+emssim.InterveneAPI), ems: emssim.Config{PushTo: "here"}})
	id := d.ordered(92)
	d.scanned(id, "out_for_delivery", "203", "702")
	to := newAddress("海淀区")
	to["kind"] = "readdress"
	if made := d.must(http.StatusOK, "POST", "/v1/deliveries/"+id+"/intervene", to); made["state"] != "unsent" {
		t.Errorf("made %v", made)
	}
	until(t, 15*time.Second, "done", func() bool { return interventionOf(d.view(id), "readdress")["state"] == "done" })
	if n := d.ems.Ledger().Calls[emssim.InterveneAPI]; n != 1 {
		t.Errorf("EMS was asked %d times", n)
	}

	// A reply that gets lost is not repeated; a clerk is told.
	lost := d.ordered(93)
	d.scanned(lost, "out_for_delivery", "203", "702")
	d.ems.SetFault(emssim.Fault{API: emssim.InterveneAPI, Kind: emssim.LoseRequest})
	d.must(http.StatusOK, "POST", "/v1/deliveries/"+lost+"/intervene", map[string]any{"kind": "urge", "reason": "急用"})
	until(t, 15*time.Second, "unknown", func() bool { return interventionOf(d.view(lost), "urge")["state"] == "unknown" })
	d.ems.ClearFaults()
	until(t, 5*time.Second, "a case", func() bool { return len(caseOf(d.view(lost), "stalled")) > 0 })

	// EMS says no.
	refused := d.ordered(94)
	d.scanned(refused, "attempt_failed", "203", "702", "705")
	d.ems.SetFault(emssim.Fault{API: emssim.InterveneAPI, Kind: emssim.Refuse, Count: 1})
	d.must(http.StatusOK, "POST", "/v1/deliveries/"+refused+"/intervene", map[string]any{"kind": "redeliver", "reason": "已约时间"})
	until(t, 15*time.Second, "refused", func() bool { return interventionOf(d.view(refused), "redeliver")["state"] == "refused" })
	if c := caseOf(d.view(refused), "stalled"); !strings.Contains(c["detail"].(string), "EMS 不同意") {
		t.Errorf("case %v", c)
	}
	var sending int
	if err := d.app.db.Get(&sending, `SELECT count(*) FROM interventions WHERE state IN ('sending', 'unsent')`); err != nil || sending != 0 {
		t.Errorf("%d are left half-way, %v", sending, err)
	}
}

// A process that died between the commit and the answer leaves an outcome that nobody knows: never repeated.
func TestI4_AnInterventionIsNotRepeatedAfterACrash(t *testing.T) {
	t.Parallel()
	d := start(t, setup{env: append(interveneOften, "EMSD_EMS_INTERVENE_API="+emssim.InterveneAPI), ems: emssim.Config{PushTo: "here"}})
	id := d.ordered(95)
	d.scanned(id, "out_for_delivery", "203", "702")
	if _, err := d.app.db.Exec(`INSERT INTO interventions (id, delivery_id, kind, waybill_no, asked_at, asked_by, reason, state, started_at)
		SELECT gen_random_uuid(), id, 'urge', waybill_no, now(), 'clerk', 'x', 'sending', now() - interval '1 hour' FROM deliveries WHERE id = $1`, id); err != nil {
		t.Fatal(err)
	}
	until(t, 15*time.Second, "unknown", func() bool { return interventionOf(d.view(id), "urge")["state"] == "unknown" })
	if n := d.ems.Ledger().Calls[emssim.InterveneAPI]; n != 0 {
		t.Errorf("EMS was asked %d times", n)
	}
}
