package main

import (
	"net/http"
	"strings"
	"testing"

	"emsd/courier/staff"
	"emsd/notify"
	"emsd/notify/smssim"
)

func TestEveryTextIsShownWithWhatEachGatewayMakesOfIt(t *testing.T) {
	t.Parallel()
	registry := smssim.Registry{Templates: map[string]smssim.Template{
		"SMS_1": {Content: notify.Text(notify.HandedOver)}, "SMS_2": {State: "refused", Reason: "含有<敏感词>"}},
		Carriers: map[string]smssim.Carrier{"unicom": {Status: 2, Reasons: []string{"NO_SEND_RECORD"}}}}
	d := start(t, setup{sms: smssim.Config{Registry: registry},
		env: []string{withoutFactor, "EMSD_SMS=aliyun,log", `EMSD_SMS_ALIYUN_TEMPLATES={"handed_over":"SMS_1","delivered":"SMS_2"}`}})
	if err := d.app.registrations.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := d.clerk(staff.BackOffice, "")
	const path = "/console/settings/texts"
	page := c.page(path, "张**您好", "1135250000000", "12月3日", "阿里云", "【"+smssim.SampleSignName+"】", "SMS_1", "已审核",
		"未通过", "含有&lt;敏感词&gt;", "未配置英文模板，改发中文", "签名在中国联通的报备", "报备已失效")
	for _, name := range notify.TextNames("zh", false) {
		if !strings.Contains(page, "<h2>"+name.Title()+"</h2>") || !strings.Contains(page, "<h2>"+name.Title()+"（英文）</h2>") {
			t.Errorf("the page lacks %s", name)
		}
	}
	c.page(path+"?name=longest&no=EA123456789CN&fee=8.50&day=", "申请人您好", "EA123456789CN", "8.50元", "以网点为准")
	for query, says := range map[string]string{
		"?name=longest&no=EA&fee=1&day=":                "8至13位",
		"?no=EA123456789CN&fee=0&day=":                  "0.01至9999.99元",
		"?no=EA123456789CN&fee=1&day=2026-13-01":        "应写作",
		"?no=%3Cscript%3E&fee=1&day=%22%3E%3Cscript%3E": "8至13位",
	} {
		if r := c.get(path + query); r.status != http.StatusUnprocessableEntity || !strings.Contains(string(r.body), says) || strings.Contains(string(r.body), "<script>") {
			t.Errorf("%s: %s", query, r)
		}
	}
	c.checkPage("settings-texts", path)
}
