package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"emsd/courier/emssim"
	"emsd/courier/staff"
)

func TestAClerkCallsWhomNoMessageReached(t *testing.T) {
	t.Parallel()
	d := start(t, setup{quick: true, ems: emssim.Config{PushTo: "here"}, env: []string{withoutFactor, "EMSD_QUIET_HOURS=off"}})
	const phone = "13912350008" // a number of the simulator that is refused for good
	at := d.ordered(142, "recipient.phone", phone)
	d.scanned(at, "out_for_delivery", "203", "702")
	until(t, 20*time.Second, "a case", func() bool { return len(caseOf(d.view(at), "sms_failed")) > 0 })
	c := d.clerk(staff.Counter, "110102001")
	page := c.page("/console/calls", phone, "派送中", "已告知本人")
	if strings.Contains(page, "欧阳测试") {
		t.Error("the list shows a name in clear")
	}
	call := "/console/calls/" + between(page, `action="/console/calls/`, `"`)
	if page := d.clerk(staff.Auditor, "").page("/console/calls", "139****0008"); strings.Contains(page, phone) || strings.Contains(page, "<form method=\"post\" action=\"/console/calls") {
		t.Error("an auditor sees a number in clear, or may record calls")
	}
	foreign := d.clerk(staff.Counter, "110105001")
	if page := foreign.page("/console/calls"); strings.Contains(page, phone) {
		t.Error("a clerk of another station sees the call")
	}
	if r := foreign.post(call, "outcome", "reached"); r.status != http.StatusNotFound {
		t.Errorf("a clerk of another station records it: %s", r)
	}
	if r := c.post(call, "outcome", "asleep"); r.status != http.StatusUnprocessableEntity {
		t.Errorf("an outcome that is none: %s", r)
	}
	c.done(call, "outcome", "no_answer", "note", "下午再打")
	c.page("/console/calls", "无人接听", "下午再打")
	b := newTab(t, d.api).cookies(c)
	b.open("/console/calls")
	b.accessible("calls")
	b.look(shots(t), "calls")
	b.quietly()
	c.done(call, "outcome", "reached")
	c.page("/console/calls", "没有需要致电的申请人")
	var looks int
	if err := d.app.db.Get(&looks, `SELECT count(*) FROM audit WHERE action = 'calls.seen' AND actor = $1 AND object = $2`, c.user.Actor(), at); err != nil || looks < 2 {
		t.Errorf("%d looks are audited (%v)", looks, err)
	}
}
