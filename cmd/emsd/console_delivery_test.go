package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"emsd/courier/staff"

	"github.com/chromedp/chromedp"
	"github.com/google/uuid"
)

func TestADeliveryIsShownWholeAndUnmaskedForAWhile(t *testing.T) {
	t.Parallel()
	d := start(t, setup{env: []string{withoutFactor, "EMSD_PUBLIC_URL=http://127.0.0.1:8081"}})
	delivery := d.ordered(1)
	c := d.clerk(staff.BackOffice, "")
	path := "/console/deliveries/" + delivery
	name := "欧阳测试" + string(rune('一'+1))
	page := c.page(path, "待交寄", "西城区示例派出所", "欧**", "139****0001", "申请人选择寄递", "收到 ", "微信", "向邮政下单：邮政已确认", "申请人看到的", "已安排寄递，等待交给 EMS", "下次查询邮政")
	for _, secret := range []string{name, "13900010001", idNumber(1), "试验胡同2号院"} {
		if strings.Contains(page, secret) {
			t.Errorf("the masked page shows %s", secret)
		}
	}
	address := d.call("permits", "GET", "/v1/deliveries/"+delivery, nil).in(t)["tracking_url"].(string)
	if !strings.Contains(page, address) {
		t.Errorf("the page does not say where the resident's page is: %s", address)
	}
	if strings.Contains(d.clerk(staff.Auditor, "").page(path), address) {
		t.Error("an auditor sees the address of the resident's page")
	}
	b := newTab(t, d.api).cookies(c)
	b.open(path)
	b.accessible("delivery")
	b.look(shots(t), "delivery")
	b.do(openDetails)
	b.fill("#reason-unmask", "申请人来电核对地址")
	b.click(`form[action$="/unmask"] button`)
	b.sees("正在显示完整信息")
	for _, secret := range []string{name, "13900010001", idNumber(1), "试验胡同2号院"} {
		b.sees(secret)
	}
	b.accessible("delivery unmasked")
	b.sees("查看个人信息") // the look itself stands in the timeline, with its reason
	b.sees("申请人来电核对地址")
	other := d.clerk(staff.BackOffice, "")
	if strings.Contains(other.page(path), name) {
		t.Error("another session sees what one has unmasked")
	}
	b.click(`form[action$="/mask"] button`)
	b.sees("个人信息已遮盖")
	if strings.Contains(c.page(path), name) {
		t.Error("still shown after it was masked")
	}
	c.done(path+"/unmask", "reason", "再核对")
	if _, err := d.app.db.Exec(`UPDATE unmaskings SET until = $1`, time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(c.page(path), name) {
		t.Error("still shown when the time is over")
	}
	if r := c.post(path+"/unmask", "reason", "  "); r.status != http.StatusUnprocessableEntity {
		t.Errorf("without a reason: %s", r)
	}
	b.confirm(true)
	b.do(openDetails)
	b.fill("#reason-cancel", "申请人要求自取")
	b.do(chromedp.Click("#sure-cancel"))
	b.click(`form[action$="/cancel"] button`)
	b.sees("已取消，或已向邮政申请取消")
	until(t, 20*time.Second, "cancelled", func() bool { return d.status(delivery) == "cancelled" })
	b.quietly()
}

func TestWhoSawAPermitAmongOthersStandsOnItsPage(t *testing.T) {
	t.Parallel()
	d := start(t, setup{env: []string{withoutFactor}})
	both := []string{id(d.accept(permit(1))), id(d.accept(permit(2)))}
	if r := d.call("clerk", "GET", "/v1/deliveries", nil); r.status != http.StatusOK {
		t.Fatal(r)
	}
	boss, auditor := d.clerk(staff.Supervisor, ""), d.clerk(staff.Auditor, "")
	for _, fields := range [][]string{{}, {"clear", "1", "reason", "移交档案"}} {
		if r := boss.post("/console/queue/export", fields...); r.status != http.StatusOK {
			t.Fatal(r)
		}
	}
	later := id(d.accept(permit(3)))
	looks := []string{"接口列表查看完整信息", "导出队列", "移交档案；与其他居住证一起，共 2 件"}
	for _, seen := range both {
		page := ""
		until(t, 20*time.Second, "the looks on the page", func() bool { // the API's are chained a moment later
			page = boss.page("/console/deliveries/" + seen)
			return strings.Contains(page, looks[0])
		})
		for _, want := range looks {
			if strings.Count(page, want) != 1 {
				t.Errorf("%s stands %d times on the page, want once: the masked export shows nobody", want, strings.Count(page, want))
			}
		}
		if found := auditor.page("/console/audit?action=queue.export&object="+seen, "移交档案"); strings.Contains(found, strings.ReplaceAll(seen, "-", "")) {
			t.Error("the audit page shows the list of ids")
		}
	}
	page := boss.page("/console/deliveries/" + later)
	for _, look := range looks {
		if strings.Contains(page, look) {
			t.Errorf("a permit that was taken in later shows %q", look)
		}
	}
}

func TestAnActionNeedsItsBoxAndItsReason(t *testing.T) {
	t.Parallel()
	d := start(t, setup{env: []string{withoutFactor}})
	v := d.accept(permit(1))
	c := d.clerk(staff.BackOffice, "")
	path := "/console/deliveries/" + id(v)
	for _, fields := range [][]string{{"reason", "原因"}, {"sure", "1"}, {"sure", "1", "reason", strings.Repeat("长", 201)}} {
		if r := c.post(path+"/cancel", fields...); r.status != http.StatusUnprocessableEntity {
			t.Errorf("%v: %s", fields, r)
		}
	}
	if got := d.status(id(v)); got != "awaiting_payment" {
		t.Fatalf("it became %s", got)
	}
	fee := v["fee_fen"].(float64)
	if r := c.post(path+"/pay", "sure", "1", "reason", "窗口收现金", "amount", "1e9", "method", "cash", "transaction_no", "SJ-1"); r.status != http.StatusUnprocessableEntity {
		t.Errorf("an odd amount: %s", r)
	}
	c.done(path+"/pay", "sure", "1", "reason", "窗口收现金，欧阳测试丁付", "amount", yuanText(int(fee)), "method", "cash", "transaction_no", "SJ-1")
	until(t, 20*time.Second, "ordered", func() bool { return d.status(id(v)) == "ordered" })
	c.done(path+"/handover", "sure", "1", "reason", "交给揽收员")
	c.done(path+"/ask", "sure", "1", "reason", "申请人催问")
	until(t, 20*time.Second, "on the page: why the payment was recorded", func() bool { return strings.Contains(c.page(path), "窗口收现金") })
	if strings.Contains(c.page(path), "欧阳测试丁") {
		t.Error("the reason of a payment names the recipient")
	}
	c.page(path, "已交给邮政揽收人员", "请邮政查询", c.user.Name)
	if r := c.post("/console/deliveries/"+uuid.NewString()+"/cancel", "sure", "1", "reason", "原因"); r.status != http.StatusNotFound {
		t.Errorf("a delivery that is not there: %s", r)
	}
}

func yuanText(fen int) string {
	return strings.TrimSuffix(strings.TrimSuffix(time.Duration(fen*int(time.Second)/100).String(), "s"), ".00")
}

func TestALossNeedsTwoPersons(t *testing.T) {
	t.Parallel()
	d := start(t, setup{env: []string{withoutFactor}})
	delivery := d.ordered(1)
	if _, err := d.app.service.HandOver(t.Context(), uuid.MustParse(delivery), time.Time{}, "", "test"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.app.db.Exec(`INSERT INTO cases (id, delivery_id, kind, opened_at, due_at, next_action) VALUES (gen_random_uuid(), $1, 'stalled', now(), now(), '向邮政查询')`, delivery); err != nil {
		t.Fatal(err)
	}
	path := "/console/deliveries/" + delivery
	back, boss, second := d.clerk(staff.BackOffice, ""), d.clerk(staff.Supervisor, ""), d.clerk(staff.Supervisor, "")
	boss.done(path+"/propose", "kind", "declare_lost", "sure", "1", "reason", "邮政确认遗失")
	var proposal string
	if err := d.app.db.Get(&proposal, `SELECT id FROM proposals`); err != nil {
		t.Fatal(err)
	}
	boss.page(path, "等待复核：登记遗失", "须由另一位复核主管确认")
	if r := back.post("/console/proposals/" + proposal + "/confirm"); r.status != http.StatusForbidden {
		t.Errorf("a back office clerk confirms: %s", r)
	}
	if r := boss.post("/console/proposals/" + proposal + "/confirm"); r.status != http.StatusConflict {
		t.Errorf("who proposed confirms: %s", r)
	}
	if got := d.status(delivery); got == "lost" {
		t.Fatal("lost by one person")
	}
	second.page(path, "同意并办理")
	second.done("/console/proposals/"+proposal+"/confirm", "why", "已电话核实")
	if got := d.status(delivery); got != "lost" {
		t.Errorf("after the second person it is %s", got)
	}
	second.page(path, "复核同意：登记遗失", "已电话核实")
}
