package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"emsd/courier"
	"emsd/courier/staff"

	"github.com/chromedp/chromedp"
	"github.com/google/uuid"
)

// gun scans a barcode as a barcode gun does: the number, then Enter, into whatever has the focus.
func (b *tab) gun(number string) {
	b.t.Helper()
	b.do(chromedp.Evaluate[chromedp.Void](`delete document.documentElement.dataset.sounded`))
	until(b.t, 10*time.Second, "the focus in the field for the gun", func() bool {
		return ask(b, chromedp.Evaluate[bool](`document.activeElement && document.activeElement.classList.contains("gun")`))
	})
	b.do(chromedp.KeyEvent(number), chromedp.KeyEvent("\r"))
}

// hears waits for the sound of an answer.
func (b *tab) hears(kind string) {
	b.t.Helper()
	until(b.t, 15*time.Second, "the sound "+kind, func() bool {
		return ask(b, chromedp.Evaluate[string](`document.documentElement.dataset.sounded || ""`)) == kind
	})
}

// atCounter is an ordered delivery as the counter knows it.
type atCounter struct{ id, permit, waybill string }

func (d *daemon) envelopes(n int) []atCounter {
	d.t.Helper()
	list := make([]atCounter, n)
	for i := range list {
		list[i].id = d.ordered(i + 1)
		v := d.view(list[i].id)
		list[i].permit, list[i].waybill = v["permit_no"].(string), v["waybill_no"].(string)
	}
	return list
}

// TestADayAtTheCounter: labels printed, permits packed, one of them wrongly, settled by two, handed over, one back and
// picked up. The clerk touches the scanner and hardly the mouse.
func TestADayAtTheCounter(t *testing.T) {
	t.Parallel()
	d := start(t, setup{env: []string{withoutFactor}, quick: true})
	e := d.envelopes(3)
	clerk, chief := d.clerk(staff.Counter, stationOf(t, d, e[0].id)), d.clerk(staff.Supervisor, "")
	b := newTab(t, d.api).cookies(clerk)
	b.confirm(true)

	b.open("/console/counter/labels")
	b.sees("尚未打印（3 件）")
	b.accessible("labels")
	b.look(shots(t), "counter-labels")
	pdf := clerk.post("/console/counter/labels.pdf", "kind", "own", "waybill_no", e[0].waybill, "waybill_no", e[1].waybill, "waybill_no", e[2].waybill)
	if pdf.status != http.StatusOK || !strings.HasPrefix(string(pdf.body), "%PDF-") || pdf.header.Get("Content-Type") != "application/pdf" {
		t.Fatalf("labels: %s", pdf)
	}
	if again := clerk.post("/console/counter/labels.pdf", "kind", "own", "waybill_no", e[0].waybill); again.status != http.StatusUnprocessableEntity || !strings.Contains(string(again.body), "重打请填写原因") {
		t.Errorf("printed again without a reason: %s", again)
	}
	if ems := clerk.post("/console/counter/labels.pdf", "kind", "ems", "waybill_no", e[0].waybill, "waybill_no", e[1].waybill); ems.status != http.StatusOK || !strings.HasPrefix(string(ems.body), "%PDF-") {
		t.Errorf("EMS's labels: %s", ems)
	}

	b.open("/console/counter/pack")
	b.accessible("pack")
	b.gun(e[0].permit)
	b.hears("step")
	b.gun(e[0].waybill)
	b.hears("good")
	b.sees("相符，可以封口")
	b.accessible("a match")
	b.look(shots(t), "counter-pack-green")
	b.gun(e[1].permit)
	b.hears("step")
	b.gun(e[2].waybill)
	b.hears("bad")
	b.sees("不符，不要封口")
	b.accessible("a mismatch")
	b.look(shots(t), "counter-pack-red")
	for _, x := range e[1:] { // the first word by the clerk, the second by a supervisor, both without script
		clerk.done("/console/counter/pack/stops/"+x.id, "reason", "两人打开信封，证件已换回")
		page := chief.page("/console/counter/pack", "两人打开信封，证件已换回")
		proposal := between(page, "/console/counter/pack/proposals/", "/confirm")
		if own := clerk.post("/console/counter/pack/proposals/"+proposal+"/confirm", "why", "我自己"); own.status != http.StatusForbidden {
			t.Errorf("the clerk confirms: %s", own)
		}
		chief.done("/console/counter/pack/proposals/"+proposal+"/confirm", "why", "已看过")
	}
	for _, x := range e[1:] {
		b.gun(x.permit)
		b.hears("step")
		b.gun(x.waybill)
		b.hears("good")
	}

	b.open("/console/counter/manifests")
	b.accessible("manifests")
	b.click("main form button")
	b.sees("逐件扫描")
	for _, x := range e {
		b.gun(x.waybill)
		b.hears("good")
	}
	b.gun("1299999999999")
	b.hears("bad")
	b.sees("查无此面单")
	b.accessible("a manifest")
	b.look(shots(t), "counter-manifest")
	b.fill("#count", "2", "#courier", "王师傅")
	b.click("section form button")
	b.sees("双方重新清点")
	b.fill("#count", "3", "#courier", "王师傅")
	b.click("section form button")
	b.sees("已封单")
	b.accessible("a closed manifest")
	for _, x := range e {
		if at, _ := d.view(x.id)["handed_over_at"].(string); at == "" {
			t.Errorf("%s is not handed over", x.waybill)
		}
	}
	path := strings.TrimPrefix(ask(b, chromedp.Evaluate[string](`location.pathname`)), d.api)
	if pdf := clerk.get(path + "/manifest.pdf"); pdf.status != http.StatusOK || !strings.HasPrefix(string(pdf.body), "%PDF-") {
		t.Errorf("the manifest: %s", pdf)
	}

	b.open("/console/counter/returns")
	b.fill("#shelf", "A-12")
	b.do(chromedp.Evaluate[chromedp.Void](`document.querySelector("#scan").focus()`))
	b.gun(e[0].waybill)
	b.hears("good")
	b.sees("已上架 A-12")
	b.accessible("returns")
	b.look(shots(t), "counter-returns")
	b.open("/console/counter/returns/" + e[0].id)
	b.accessible("a return")
	b.look(shots(t), "counter-return")
	b.click("#pick-up ~ form button")
	b.sees("本人领取，查验居民身份证")
	b.quietly()
	if got := d.eventTypes(e[0].id); !strings.Contains(got, "return.picked_up") {
		until(t, 10*time.Second, "the pick-up in the feed", func() bool { return strings.Contains(d.eventTypes(e[0].id), "return.picked_up") })
	}
	var prints []string
	if err := d.app.db.Select(&prints, `SELECT kind || ' ' || count(*) FROM label_prints GROUP BY kind ORDER BY kind`); err != nil || fmt.Sprint(prints) != "[ems 2 own 3]" {
		t.Errorf("printed sheets %v (%v), want 2 of EMS's and 3 of ours", prints, err)
	}
	if bad := d.log.String(); strings.Contains(bad, "王师傅") {
		t.Error("the log names the courier (I-9)")
	}
}

// stationOf is the station that handled a delivery.
func stationOf(t *testing.T, d *daemon, id string) string {
	t.Helper()
	var code string
	if err := d.app.db.Get(&code, `SELECT station_code FROM deliveries WHERE id = $1`, id); err != nil {
		t.Fatal(err)
	}
	return code
}

// TestTheCounterWorksWithoutScript walks the same pages by form posts alone.
func TestTheCounterWorksWithoutScript(t *testing.T) {
	t.Parallel()
	d := start(t, setup{env: []string{withoutFactor}})
	e := d.envelopes(2)
	c := d.clerk(staff.Counter, stationOf(t, d, e[0].id))
	if r := c.get("/console/counter"); r.status != http.StatusSeeOther || r.header.Get("Location") != "/console/counter/pack" {
		t.Errorf("the counter's own address: %s", r)
	}
	c.page("/console/counter/pack", "① 扫描证件", "待交寄 <strong>2</strong> 件")
	shows := func(r reply, status int, texts ...string) {
		t.Helper()
		for _, want := range texts {
			if r.status != status || !strings.Contains(string(r.body), want) {
				t.Errorf("%d, want %d with %q: %s", r.status, status, want, r)
			}
		}
	}
	shows(c.post("/console/counter/pack", "scan", e[0].permit), 200, "② 扫描信封上的面单", `name="permit" value="`+e[0].permit+`"`)
	shows(c.post("/console/counter/pack", "permit", e[0].permit, "scan", e[0].waybill), 200, "verdict good", "相符，可以封口")
	shows(c.post("/console/counter/pack", "permit", e[0].permit, "scan", e[0].waybill), 200, "相符，先前已登记")
	shows(c.post("/console/counter/pack", "permit", "A999", "scan", e[0].waybill), 200, "verdict bad", "查无此证")
	shows(c.post("/console/counter/pack", "permit", e[0].permit, "scan", "<script>alert(1)</script>"), 200, "查无此面单", "&lt;SCRIPT&gt;")
	shows(c.post("/console/counter/pack", "permit", e[0].permit, "scan", " "), 422, "再扫一次")
	shows(c.post("/console/counter/labels.pdf", "kind", "ems"), 422, "至少一个运单号")
	shows(c.post("/console/counter/labels.pdf", "kind", "other", "waybill_no", e[0].waybill), 422, "填写有误")
	at := c.done("/console/counter/manifests")
	shows(c.post(at, "scan", e[0].waybill), 200, "已列入")
	shows(c.post(at, "scan", e[1].waybill), 200, "尚未装封核对")
	shows(c.post(at, "scan", ""), 422, "请扫描面单")
	shows(c.post(at+"/close", "count", "x", "courier", ""), 422, "请填写揽投员姓名", "件数")
	c.done(at+"/remove", "delivery", e[0].id)
	shows(c.post(at, "scan", e[0].waybill), 200, "已列入")
	c.done(at+"/close", "count", "1", "courier", "王师傅")
	c.page(at, "已封单", "双方清点 1 件", "王师傅")
	shows(c.post(at, "scan", e[1].waybill), 409, "已封单")
	shows(c.post("/console/counter/returns", "shelf", "A-1", "scan", e[1].waybill), 409, "尚未交寄")
	shows(c.post("/console/counter/returns", "shelf", "", "scan", e[0].waybill), 422, "架位号")
	shows(c.post("/console/counter/returns", "shelf", "A-1", "scan", "1299999999999"), 404, "没有这个运单号")
	shows(c.post("/console/counter/returns", "shelf", "A-1", "scan", e[0].waybill), 200, "已上架 A-1")
	c.page("/console/counter/returns", "A-1", e[0].permit)
	c.page("/console/counter/returns?overdue=1", "没有保管期已满的退件")
	back := "/console/counter/returns/" + e[0].id
	c.done(back+"/move", "shelf", "B-2")
	shows(c.post(back+"/dispose", "how", "sent_back", "reason", "期满"), 409, "期满前须为申请人保留")
	shows(c.post(back+"/pick-up", "who", "agent", "id_document", "passport"), 422, "代领人")
	c.done(back+"/pick-up", "who", "agent", "id_document", "passport", "agent_name", "李四")
	page := c.page(back, "由他人代领（李**）", "查验护照")
	if strings.Contains(page, "李四") || strings.Contains(page, "张三") {
		t.Error("a name stands in clear on the page")
	}
}

// cases lists the ids of the open cases.
func (d *daemon) cases() (ids []string) {
	d.t.Helper()
	if err := d.app.db.Select(&ids, `SELECT id FROM cases WHERE closed_at IS NULL AND delivery_id IS NOT NULL ORDER BY opened_at`); err != nil {
		d.t.Fatal(err)
	}
	return ids
}

// TestACaseFromOpeningToClosing: it is seen, taken, given to a colleague, and closed with an outcome.
func TestACaseFromOpeningToClosing(t *testing.T) {
	t.Parallel()
	d := start(t, setup{env: []string{withoutFactor}})
	e := d.envelopes(1)[0]
	first, second := d.clerk(staff.BackOffice, ""), d.clerk(staff.BackOffice, "")
	d.must(http.StatusOK, "POST", "/v1/deliveries/"+e.id+"/handover", map[string]any{"reason": "交寄"})
	first.post("/console/counter/returns", "shelf", "A-1", "scan", e.waybill)
	id := d.cases()[0]
	b := newTab(t, d.api).cookies(first)
	b.open("/console/cases?whose=nobody")
	b.sees("退件待处理")
	b.accessible("cases")
	b.look(shots(t), "cases")
	b.click(`form[action="/console/cases/` + id + `/take"] button`)
	b.sees("事项在您名下")
	b.accessible("a case")
	b.look(shots(t), "case")
	b.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`document.querySelector("#to").value = %q`, second.name)))
	b.fill("#note", "请联系申请人")
	b.click("#move ~ form button")
	b.sees("已转交")
	if r := first.post("/console/cases/"+id+"/close", "outcome", "已解决", "why", "我来"); r.status != http.StatusConflict {
		t.Errorf("a colleague's case is closed: %s", r)
	}
	if r := second.post("/console/cases/"+id+"/hand-over", "to", "nobody"); r.status != http.StatusUnprocessableEntity {
		t.Errorf("given to nobody: %s", r)
	}
	second.page("/console/cases?whose=mine", "退件待处理")
	second.page("/console/cases?kind=sms_failed", "没有符合条件的事项")
	if r := second.post("/console/cases/"+id+"/close", "outcome", "已解决", "why", ""); r.status != http.StatusUnprocessableEntity {
		t.Errorf("closed without a word: %s", r)
	}
	second.done("/console/cases/"+id+"/close", "outcome", "已联系申请人", "why", "下周来取")
	second.page("/console/cases/"+id, "已联系申请人", "下周来取", "领取", "转交")
	second.page("/console/cases?whose=mine", "没有符合条件的事项")
	b.quietly()
	var moves int
	if err := d.app.db.Get(&moves, `SELECT count(*) FROM audit WHERE object = $1 AND action IN ('case.take', 'case.hand_over', 'case.close')`, id); err != nil || moves != 3 {
		t.Errorf("%d entries in the audit (%v), want 3", moves, err)
	}
}

// TestABillIsImportedAndReconciled: EMS's table with a good line, a dear one, a strange one and a bad one.
func TestABillIsImportedAndReconciled(t *testing.T) {
	t.Parallel()
	d := start(t, setup{env: []string{withoutFactor}})
	e := d.envelopes(2)
	office := d.clerk(staff.BackOffice, "")
	now := d.app.clock.Now().In(beijing)
	for _, x := range e {
		if _, err := d.app.db.Exec(`UPDATE deliveries SET postage_fen = 1200, postage_weight_g = 80 WHERE id = $1`, x.id); err != nil {
			t.Fatal(err)
		}
	}
	text := "邮件号,收寄日期,计费重量(克),实收资费(元)\n" +
		fmt.Sprintf("%s,%s,80,12.00\n%s,%s,80,21\n1299999999999,,,9.50\n%s,昨天,,十四\n合计,,,42.50\n", e[0].waybill, now.Format("2006-01-02"), e[1].waybill, now.Format("2006-01-02"), e[0].waybill)
	r := office.uploadTo("/console/fees", "对账单.csv", []byte(text), "month", now.Format("2006-01"))
	for _, want := range []string{"已导入并逐笔核对", "第 5 行“收寄日期”", "第 5 行“实收资费(元)”", "金额不符", "查无此运单", "42.50 元", e[1].waybill} {
		if r.status != http.StatusOK || !strings.Contains(string(r.body), want) {
			t.Errorf("the bill lacks %q: %s", want, r)
		}
	}
	if again := office.uploadTo("/console/fees", "又一次.csv", []byte(text), "month", now.Format("2006-01")); !strings.Contains(string(again.body), "没有任何改变") {
		t.Errorf("the same file again: %s", again)
	}
	for name, bad := range map[string]string{"没有表头.csv": "EMS 对账单\n1,2\n", "空.csv": "邮件号,资费\n", "图片.png": "x"} {
		if r := office.uploadTo("/console/fees", name, []byte(bad), "month", now.Format("2006-01")); r.status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %s", name, r)
		}
	}
	var id string
	if err := d.app.db.Get(&id, `SELECT id FROM bills`); err != nil {
		t.Fatal(err)
	}
	office.done("/console/fees/"+id+"/lines/3", "note", "其他业务的邮件")
	office.page("/console/fees/"+id, "其他业务的邮件", "事项办理中")
	office.page("/console/fees/"+id+"?result=matched", e[0].waybill)
	office.page("/console/fees", "账单21.00元，应为12.00元", now.Format("2006-01"))
	if to := office.done("/console/fees/fetch", "month", now.Format("2006-01")); !strings.Contains(to, "no_bill") {
		t.Errorf("a bill that EMS has not made yet: %s", to)
	}
	b := newTab(t, d.api).cookies(office)
	for name, path := range map[string]string{"fees": "/console/fees", "bill": "/console/fees/" + id} {
		b.open(path)
		b.accessible(name)
		b.look(shots(t), name)
	}
	b.quietly()
	if r := d.clerk(staff.Counter, stationOf(t, d, e[0].id)).get("/console/fees/" + id); r.status != http.StatusForbidden {
		t.Errorf("a counter clerk reads the bill: %s", r)
	}
	if r := office.get("/console/fees/" + uuid.NewString()); r.status != http.StatusNotFound {
		t.Errorf("a bill that there is not: %s", r)
	}
	if list, err := d.app.service.Bills(t.Context(), 10); err != nil || len(list) != 1 || list[0].Open != 1 || list[0].Sums[courier.BillMatched].Lines != 1 {
		t.Errorf("bills %+v, %v", list, err)
	}
}
