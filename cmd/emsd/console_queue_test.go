package main

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"emsd/courier/staff"

	"github.com/xuri/excelize/v2"
)

func TestTheQueueSaysWhyAPermitMayOrMayNotBeSent(t *testing.T) {
	t.Parallel()
	d := start(t, setup{env: []string{withoutFactor}})
	paid := d.ordered(1)
	waiting := d.accept(permit(2))
	if r := d.call("permits", "POST", "/v1/deliveries", permit(3, "route", "registration_station")); r.status != http.StatusUnprocessableEntity {
		t.Fatal(r)
	}
	c := d.clerk(staff.BackOffice, "")
	c.page("/console/queue", "A1101022026000001", "可以寄递", "A1101022026000002", "应付 ", "寄递费用需办理人自行支付", "A1101022026000003", "不能寄递", "流管站暂未开通寄递服务", "欧**")
	only := c.page("/console/queue?rule=R-09", "A1101022026000003")
	if strings.Contains(only, "A1101022026000001") {
		t.Error("the filter by rule shows others")
	}
	if only := c.page("/console/queue?status=awaiting_payment&station=110102001&from=2020-01-01&to=2199-01-01", "A1101022026000002"); strings.Contains(only, "A1101022026000001") {
		t.Error("the filter by status shows others")
	}
	for _, bad := range []string{"?status=%00", "?status=nope", "?from=yesterday", "?cursor=abc", "?cursor=" + strings.Repeat("A", 4000), "?station=" + strings.Repeat("%E4%B8%80", 200), "?to=9999-99-99"} {
		if r := c.get("/console/queue" + bad); r.status >= 500 {
			t.Errorf("%s: %s", bad, r)
		}
	}
	b := newTab(t, d.api).cookies(c)
	b.open("/console/queue")
	b.accessible("queue")
	b.look(shots(t), "queue")
	b.fill("#q", "SQ2026-000002")
	b.click(".search button")
	b.sees("应付") // a single find leads to its page
	if at := b.text(); !strings.Contains(at, "/console/deliveries/"+id(waiting)) {
		t.Errorf("the search leads to %s", at)
	}
	b.quietly()
	d.searchesByPerson(c, paid)
	d.exports(c)
}

// searchesByPerson finds a permit by phone and ID number, masked, audited, and with no number in an address.
func (d *daemon) searchesByPerson(c *clerk, paid string) {
	d.t.Helper()
	phone, idNo := "139 0001 0001", strings.ToLower(idNumber(1))
	for _, number := range []string{phone, idNo, "A1101022026000001"} {
		if to := c.done("/console/queue/search", "q", number); to != "/console/deliveries/"+paid {
			d.t.Errorf("the search leads to %s", to)
		}
	}
	if r := c.post("/console/queue/search", "q", "13900999999"); r.status != http.StatusOK || !strings.Contains(string(r.body), "没有找到") {
		d.t.Errorf("a number that nobody has: %s", r)
	}
	var found, names int
	if err := d.app.db.Get(&found, `SELECT count(*) FROM audit WHERE action = 'search.person' AND actor = $1 AND object = $2`, c.user.Actor(), paid); err != nil || found != 2 {
		d.t.Errorf("%d searches are audited with what they found, %v", found, err)
	}
	if err := d.app.db.Get(&names, `SELECT count(*) FROM audit WHERE detail::text LIKE '%1390001%' OR detail::text ILIKE '%' || $1 || '%'`, idNumber(1)); err != nil || names != 0 {
		d.t.Errorf("%d audit entries hold a number, %v", names, err)
	}
	if strings.Contains(d.log.String(), "13900010001") || strings.Contains(d.log.String(), idNumber(1)) {
		d.t.Error("the log holds a number that was searched for")
	}
	auditor := d.clerk(staff.Auditor, "")
	if r := auditor.post("/console/queue/search", "q", phone); r.status != http.StatusForbidden {
		d.t.Errorf("an auditor searches for a person: %s", r)
	}
}

// exports checks the workbook: text cells, masked, audited.
func (d *daemon) exports(c *clerk) {
	d.t.Helper()
	read := func(c *clerk, fields ...string) *excelize.File {
		d.t.Helper()
		r := c.post("/console/queue/export", fields...)
		if r.status != http.StatusOK {
			d.t.Fatalf("export: %s", r)
		}
		book, err := excelize.OpenReader(bytes.NewReader(r.body))
		if err != nil {
			d.t.Fatal(err)
		}
		return book
	}
	book := read(c, "status", "", "clear", "")
	rows, err := book.GetRows("寄递队列")
	if err != nil || len(rows) != 4 {
		d.t.Fatalf("%d rows, %v", len(rows), err)
	}
	for _, row := range rows[1:] {
		if !strings.HasPrefix(row[0], "A1101022026") || row[9] != "欧**" || !strings.Contains(row[10], "****") || row[14] != "***" {
			d.t.Errorf("a row in the open: %v", row)
		}
	}
	for _, cell := range []string{"A2", "K2", "R2"} {
		if kind, err := book.GetCellType("寄递队列", cell); err != nil || kind != excelize.CellTypeInlineString && kind != excelize.CellTypeSharedString {
			d.t.Errorf("cell %s is of type %v, %v", cell, kind, err)
		}
	}
	if r := c.post("/console/queue/export", "clear", "1", "reason", "核对"); r.status != http.StatusForbidden {
		d.t.Errorf("a back office clerk exports in the open: %s", r)
	}
	boss := d.clerk(staff.Supervisor, "")
	if r := boss.post("/console/queue/export", "clear", "1"); r.status != http.StatusUnprocessableEntity {
		d.t.Errorf("in the open without a reason: %s", r)
	}
	rows, err = read(boss, "clear", "1", "reason", "移交档案").GetRows("寄递队列")
	if err != nil || !strings.Contains(rows[1][14], "试验胡同") {
		d.t.Errorf("in the open: %v, %v", rows, err)
	}
	var n int
	if err := d.app.db.Get(&n, `SELECT count(*) FROM audit WHERE action = 'queue.export'`); err != nil || n != 2 {
		d.t.Errorf("%d exports are audited, %v", n, err)
	}
}

// evil is what somebody might put into a field to run a script in a clerk's browser.
const evil = `"><img src=x onerror="document.title='owned'"><script>document.title='owned'</script>`

func TestNothingThatAPermitCarriesRunsInTheConsole(t *testing.T) {
	t.Parallel()
	d := start(t, setup{env: []string{withoutFactor}})
	taken := 0
	for i, field := range []string{"permit_no", "application_no", "ground", "station_code", "consent.notice_version", "recipient.name", "recipient.phone", "recipient.id_no",
		"recipient.province", "recipient.city", "recipient.county", "recipient.address", "business", "route", "payment_method"} {
		r := d.call("permits", "POST", "/v1/deliveries", permit(100+i, field, evil))
		if r.status >= 500 {
			t.Errorf("%s: %s", field, r)
		}
		if r.status == http.StatusCreated || strings.Contains(string(r.body), "delivery_id") {
			taken++
		}
	}
	v := d.accept(permit(200, "recipient.address", "<b>试验</b>胡同1号"))
	if r := d.call("payments", "POST", "/v1/deliveries/"+id(v)+"/payments", map[string]any{"amount_fen": 1, "method": "cash", "transaction_no": evil, "paid_at": "2026-10-23T09:00:00+08:00"}); r.status < 400 {
		t.Errorf("a transaction number with markup is taken: %s", r)
	}
	if _, err := d.app.db.Exec(`UPDATE stations SET name = $1`, evil); err != nil {
		t.Fatal(err)
	}
	if _, err := d.app.db.Exec(`UPDATE deliveries SET county = $1`, evil); err != nil { // as a faulty migration might
		t.Fatal(err)
	}
	if r := d.call("clerk", "POST", "/v1/deliveries/"+id(v)+"/cancel", map[string]any{"reason": evil}); r.status != http.StatusOK {
		t.Errorf("cancel: %s", r)
	}
	c := d.clerk(staff.Supervisor, "")
	c.done("/console/deliveries/"+id(v)+"/unmask", "reason", evil)
	b := newTab(t, d.api).cookies(c)
	for _, path := range []string{"/console/", "/console/queue", "/console/queue?status=" + evil, "/console/deliveries/" + id(v), "/console/deliveries/" + id(v) + "?notice=" + evil, "/console/sign-in?next=" + evil} {
		b.open(strings.NewReplacer(`"`, "%22", "<", "%3C", ">", "%3E", " ", "%20").Replace(path))
		if title := b.title(); strings.Contains(title, "owned") {
			t.Errorf("%s runs what a field holds", path)
		}
		if r := c.get(strings.NewReplacer(`"`, "%22", "<", "%3C", ">", "%3E", " ", "%20").Replace(path)); strings.Contains(string(r.body), "<img") || strings.Contains(string(r.body), "<script>") {
			t.Errorf("%s writes what a field holds as markup", path)
		}
	}
	b.quietly()
	t.Logf("%d of the permits with markup were taken in", taken)
}
