package main

import (
	"html"
	"net/http"
	"strings"
	"testing"
	"time"

	"emsd/courier/staff"
)

func TestWebhooksAreKeptFromTheConsole(t *testing.T) {
	t.Parallel()
	sub := newHookTaker(t)
	d := start(t, setup{quick: true, env: []string{withoutFactor, "EMSD_WEBHOOK_ALLOW=127.0.0.0/8:*"}})
	admin := d.clerk(staff.Administrator, "")
	const list = "/console/settings/webhooks"
	for what, c := range map[string]struct {
		url, types, says string
	}{
		"another host":    {"https://hooks.example.cn/", "", "不在允许名单中"},
		"another network": {"http://10.0.0.1/", "", "不在允许名单中"},
		"no address":      {"127.0.0.1", "", "应为完整地址"},
		"no event":        {sub.URL, "DROP TABLE", "应为事件类型"},
	} {
		r := admin.post(list, "name", "证件系统", "url", c.url, "types", c.types)
		if r.status != http.StatusUnprocessableEntity || !strings.Contains(string(r.body), c.says) || !strings.Contains(string(r.body), `value="证件系统"`) {
			t.Errorf("%s: %s", what, r)
		}
	}
	made := admin.post(list, "name", "证件系统", "url", sub.URL, "types", "delivery.*，payment.recorded", "ordered", "1", "ed25519", "1")
	secret := html.UnescapeString(between(string(made.body), `<code class="secret">`, "</code>"))
	if made.status != http.StatusOK || !strings.HasPrefix(secret, "whsec_") {
		t.Fatalf("create: %s", made)
	}
	sub.set(secret, http.StatusNoContent)
	page := admin.page(list, "证件系统", "delivery.*", "payment.recorded", "按序", "正常")
	hook := list + "/" + between(page, `href="`+list+"/", `"`)
	if strings.Contains(page+admin.page(hook, "whpk_"), "whsec_") {
		t.Error("the secret is shown again")
	}

	d.accept(permit(1))
	if to := admin.done(hook + "/test"); !strings.HasSuffix(to, "notice=webhook_tested") {
		t.Errorf("a test leads to %s", to)
	}
	until(t, 20*time.Second, "two messages", func() bool { return len(sub.got()) == 2 })
	until(t, 20*time.Second, "two tries recorded", func() bool { return strings.Count(string(admin.get(hook).body), "已送达</span>") == 2 })
	tries := admin.page(hook, "webhook.test", "delivery.awaiting_payment", "204")
	message := between(tries, `name="message" value="`, `"`)
	for what, fields := range map[string][]string{
		"one":   {"what", "message", "message", message},
		"range": {"what", "range", "from", "1", "until", "100000"},
	} {
		before := len(sub.got())
		if to := admin.done(hook+"/replay", fields...); !strings.HasSuffix(to, "notice=webhook_replayed") {
			t.Errorf("replay of %s leads to %s", what, to)
		}
		until(t, 20*time.Second, "sent again: "+what, func() bool { return len(sub.got()) == before+1 })
	}
	if to := admin.done(hook+"/replay", "what", "failed"); !strings.HasSuffix(to, "notice=webhook_replayed_none") {
		t.Errorf("a replay of nothing leads to %s", to)
	}
	for says, fields := range map[string][]string{
		"请选择":       nil,
		"msg_":      {"what", "message", "message", "x"},
		"不小于":       {"what", "range", "from", "9", "until", "3"},
		"起止序号应为正整数": {"what", "range", "from", "-1", "until", "99999999999999999999"},
	} {
		if r := admin.post(hook+"/replay", fields...); r.status != http.StatusUnprocessableEntity || !strings.Contains(string(r.body), says) {
			t.Errorf("replay of %v: %s", fields, r)
		}
	}
	admin.page(hook+"?before=t2", "最新的记录")
	if r := admin.get(hook + "?before=x"); r.status != http.StatusUnprocessableEntity {
		t.Errorf("a wrong cursor: %s", r)
	}

	admin.done(hook + "/pause")
	d.accept(permit(2))
	until(t, 20*time.Second, "a message waits", func() bool { return strings.Contains(string(admin.get(list).body), `<td class="number">1</td>`) })
	admin.page(hook, "已暂停", "待送</dt><dd>1 条，最早一条已等")
	if r := admin.post(hook + "/test"); r.status != http.StatusConflict || !strings.Contains(string(r.body), "请先启用") {
		t.Errorf("a test of a paused one: %s", r)
	}
	before := len(sub.got())
	admin.done(hook + "/enable")
	until(t, 20*time.Second, "what waited", func() bool { return len(sub.got()) > before })
	if r := admin.post(hook, "name", "证件系统二", "url", "ftp://x", "types", ""); r.status != http.StatusUnprocessableEntity || !strings.Contains(string(r.body), `value="ftp://x"`) {
		t.Errorf("a change to a wrong address: %s", r)
	}
	admin.done(hook, "name", "证件系统二", "url", sub.URL, "types", "")
	admin.page(list, "证件系统二", "全部")
	if rotated := admin.post(hook+"/rotate", "hours", "24"); rotated.status != http.StatusOK || between(string(rotated.body), `<code class="secret">`, "</code>") == secret {
		t.Errorf("rotate: %s", rotated)
	}
	admin.page(hook, "并用至")

	if r := admin.post(hook + "/delete"); r.status != http.StatusUnprocessableEntity || !strings.Contains(string(r.body), "请勾选确认") {
		t.Errorf("deleted without a second thought: %s", r)
	}
	// A subscriber that wants no more is a case, which names it as people do.
	sub.set(secret, http.StatusGone)
	admin.done(hook + "/test")
	worklist := ""
	until(t, 20*time.Second, "a case", func() bool {
		worklist = string(admin.get("/console/cases?kind=webhook_disabled").body)
		return strings.Contains(worklist, `href="/console/cases/`)
	})
	matter := "/console/cases/" + between(worklist, `href="/console/cases/`, `"`)
	if page := admin.page(matter, "订阅方", `href="`+hook+`">证件系统二</a>`); strings.Contains(page, "webhook:") {
		t.Error("the case names its subscriber by a code")
	}
	admin.page("/console/", `href="`+matter+`">推送地址停用</a>`)

	b := admin.checkPage("settings-webhook", hook)
	b.open(list)
	b.accessible("settings-webhooks")
	admin.done(hook+"/delete", "sure", "1")
	if r := admin.get(hook); r.status != http.StatusNotFound {
		t.Errorf("a deleted one: %s", r)
	}
	admin.page(matter, "已删除")
	admin.page("/console/audit?action=webhook.", "删除订阅方", "更换签名密钥", "重新推送", "新增订阅方")
	if len(sub.wrong) > 0 {
		t.Errorf("the subscriber could not verify: %v", sub.wrong)
	}
}

func TestWithoutAllowedAddressesThePageSaysSo(t *testing.T) {
	t.Parallel()
	d := start(t, setup{env: []string{withoutFactor}})
	admin := d.clerk(staff.Administrator, "")
	if page := admin.page("/console/settings/webhooks", "推送未启用"); strings.Contains(page, "新增并显示") {
		t.Error("the page offers what cannot be done")
	}
	if r := admin.post("/console/settings/webhooks", "name", "x", "url", "http://127.0.0.1/"); r.status != http.StatusConflict || !strings.Contains(string(r.body), "EMSD_WEBHOOK_ALLOW") {
		t.Errorf("create: %s", r)
	}
}
