package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"emsd/courier/staff"

	"github.com/chromedp/chromedp"
)

func TestSettingsPagesAreForEverybodysEyes(t *testing.T) {
	t.Parallel()
	d := start(t, setup{env: []string{withoutFactor}})
	admin := d.clerk(staff.Administrator, "")
	d.clerk(staff.Counter, "110102001") // somebody to list
	admin.done("/console/settings/do-not-send", "phone", "13800001234", "why", "本人来电要求")
	b := newTab(t, d.api).cookies(admin)
	for name, path := range map[string]string{
		"settings": "/console/settings", "stations": "/console/settings/stations", "station": "/console/settings/stations/edit?code=110102001",
		"tariffs": "/console/settings/tariffs", "tariff": "/console/settings/tariffs/new", "policies": "/console/settings/policies",
		"policy": "/console/settings/policies/change?rule=R-15&subject=online_ground&value=study", "holidays": "/console/settings/holidays",
		"users": "/console/settings/users", "tokens": "/console/settings/tokens", "do-not-send": "/console/settings/do-not-send", "audit": "/console/audit",
	} {
		admin.page(path)
		b.open(path)
		b.accessible(name)
		b.look(shots(t), "settings-"+name)
	}
	b.open("/console/settings/tokens")
	b.fill("#name", "制证系统")
	b.do(chromedp.Click(`input[name="scopes"]`))
	b.click("main form.stack button")
	b.sees("只显示这一次")
	b.accessible("a secret")
	b.open("/console/deliveries/none")
	b.sees("没有找到该记录")
	b.accessible("an error")
	b.quietly()
}

func TestAPolicyIsPreviewedThenChanged(t *testing.T) {
	t.Parallel()
	d := start(t, setup{env: []string{withoutFactor}})
	d.accept(permit(1)) // online
	admin := d.clerk(staff.Administrator, "")
	list := admin.page("/console/settings/policies", "网上申请")
	id := between(list[strings.Index(list, "<h3>网上申请"):], "policies/change?id=", `"`)
	day := d.app.clock.Now().In(beijing).AddDate(0, 0, 2).Format(time.DateOnly)
	preview := admin.post("/console/settings/policies/preview", "id", id, "day", day, "note", "京公〔2026〕1号")
	if preview.status != http.StatusOK || !strings.Contains(string(preview.body), "<strong>1 件</strong>原可寄递的将不予寄递") {
		t.Errorf("the preview: %s", preview)
	}
	past := admin.post("/console/settings/policies", "id", id, "day", "2026-01-01", "note", "x")
	if past.status != http.StatusUnprocessableEntity || !strings.Contains(string(past.body), "生效时间须晚于现在") {
		t.Errorf("a change in the past: %s", past)
	}
	admin.done("/console/settings/policies", "id", id, "day", day, "note", "京公〔2026〕1号")
	admin.page("/console/settings/policies", "至 "+day)
	admin.page("/console/audit?action=policy.", "policy.end", "京公〔2026〕1号")
}

func TestStationsAndTariffsAreKeptByAdministrators(t *testing.T) {
	t.Parallel()
	d := start(t, setup{env: []string{withoutFactor}})
	admin := d.clerk(staff.Administrator, "")
	if r := admin.post("/console/settings/stations/edit", "new", "1", "code", "110105777", "name", "新窗口", "kind", "booked_window", "hours", "9点", "why", "新设"); r.status != http.StatusUnprocessableEntity ||
		!strings.Contains(string(r.body), "办公时间应写作") || !strings.Contains(string(r.body), `value="新窗口"`) {
		t.Errorf("a station with faults: %s", r)
	}
	admin.done("/console/settings/stations/edit", "new", "1", "code", "110105777", "name", "新窗口", "kind", "booked_window", "hours", "09:00-12:00", "why", "新设")
	admin.page("/console/settings/stations", "110105777", "未登记开办机构")
	day := d.app.clock.Now().In(beijing).AddDate(0, 1, 0).Format(time.DateOnly)
	form := []string{"zone", "北京", "provinces", "北京市、天津市", "from", day, "first_g", "500", "first_yuan", "12.50", "step_g", "500", "step_yuan", "2", "why", "文号"}
	if r := admin.post("/console/settings/tariffs/preview", form...); r.status != http.StatusOK || !strings.Contains(string(r.body), "12.50 元") {
		t.Errorf("the preview: %s", r)
	}
	admin.done("/console/settings/tariffs", form...)
	admin.page("/console/settings/tariffs", "将生效", day)
	form[9] = "12.345"
	if r := admin.post("/console/settings/tariffs", form...); r.status != http.StatusUnprocessableEntity || !strings.Contains(string(r.body), "最多两位小数") {
		t.Errorf("a price of a tenth of a fen: %s", r)
	}
}

func TestUsersTokensAndNumbersFromTheConsole(t *testing.T) {
	t.Parallel()
	d := start(t, setup{env: []string{withoutFactor}})
	admin := d.clerk(staff.Administrator, "")
	made := admin.post("/console/settings/users", "name", "lihua", "full_name", "李华", "role", "counter", "station", "110102001")
	password := between(string(made.body), `<code class="secret">`, "</code>")
	if made.status != http.StatusOK || len(password) < 10 {
		t.Fatalf("a new user: %s", made)
	}
	c := d.stranger()
	if to := c.done("/console/sign-in", "name", "lihua", "password", password); to != "/console/sign-in/password" {
		t.Errorf("the drawn password leads to %s", to)
	}
	if r := admin.post("/console/settings/users", "name", "x", "full_name", "", "role", "counter"); r.status != http.StatusUnprocessableEntity || strings.Count(string(r.body), "<li>") < 3 {
		t.Errorf("a user with faults: %s", r)
	}
	u, err := d.app.staff.ByName(t.Context(), "lihua")
	if err != nil {
		t.Fatal(err)
	}
	admin.done("/console/settings/users/" + u.ID.String() + "/disable")
	if r := c.post("/console/sign-in", "name", "lihua", "password", password); r.status == http.StatusSeeOther {
		t.Errorf("a disabled user signs in: %s", r)
	}
	if r := admin.post("/console/settings/users/" + admin.user.ID.String() + "/disable"); r.status != http.StatusConflict {
		t.Errorf("an administrator disables the own sign-in: %s", r)
	}

	token := admin.post("/console/settings/tokens", "name", "permit-system", "scopes", "read", "scopes", "permits", "days", "30")
	secret := between(string(token.body), `<code class="secret">`, "</code>")
	if _, err := d.app.service.Authenticate(t.Context(), secret); err != nil {
		t.Errorf("the token of the page: %v", err)
	}
	list := admin.page("/console/settings/tokens", "permit-system")
	if strings.Contains(list, secret) {
		t.Error("the list shows a token")
	}
	row := list[strings.Index(list, "permit-system"):]
	one := "/console/settings/tokens/" + between(row, "/console/settings/tokens/", "/rotate")
	rotated := admin.post(one + "/rotate")
	for _, s := range []string{secret, between(string(rotated.body), `<code class="secret">`, "</code>")} { // the old one for another day
		if _, err := d.app.service.Authenticate(t.Context(), s); err != nil {
			t.Errorf("after the change: %v", err)
		}
	}
	admin.page("/console/settings/tokens", "旧值至")
	admin.done(one + "/revoke")
	if _, err := d.app.service.Authenticate(t.Context(), secret); err == nil {
		t.Error("a revoked token is still good")
	}
	admin.page("/console/audit?action=token", "新增令牌", "换发令牌", "吊销令牌", strings.TrimPrefix(admin.user.Actor(), "staff:"))
	var others int
	if err := d.app.db.Get(&others, `SELECT count(*) FROM audit WHERE action LIKE 'token.%' AND actor <> $1`, admin.user.Actor()); err != nil || others != 0 {
		t.Errorf("%d deeds about tokens are put down to others (%v)", others, err)
	}

	admin.done("/console/settings/do-not-send", "phone", "13800001234", "why", "本人要求")
	if r := admin.post("/console/settings/do-not-send/check", "phone", "13800001234"); !strings.Contains(string(r.body), "已停发") {
		t.Errorf("the number is not stopped: %s", r)
	}
	if page := admin.page("/console/settings/do-not-send", "本人要求"); strings.Contains(page, "13800001234") {
		t.Error("the page shows the number")
	}
	admin.done("/console/settings/do-not-send/lift", "phone", "13800001234", "why", "误操作")
	if r := admin.post("/console/audit/verify"); r.status != http.StatusOK || !strings.Contains(string(r.body), "完整无误") {
		t.Errorf("the audit chain: %s", r)
	}
	for _, path := range []string{"/console/settings/users", "/console/settings/tokens", "/console/audit"} {
		if r := d.clerk(staff.BackOffice, "").get(path); r.status != http.StatusForbidden {
			t.Errorf("the back office at %s: %s", path, r)
		}
	}
}
