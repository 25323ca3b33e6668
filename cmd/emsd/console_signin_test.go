package main

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"emsd/courier/staff"

	"github.com/chromedp/chromedp"
	"github.com/pquerna/otp/totp"
)

func TestAClerkSignsInAndOut(t *testing.T) {
	t.Parallel()
	d := start(t, setup{env: []string{withoutFactor}})
	c := d.stranger()
	if r := c.get("/console/account"); r.status != http.StatusSeeOther || r.header.Get("Location") != "/console/sign-in?next=%2Fconsole%2Faccount" {
		t.Fatalf("without a session: %s to %s", r, r.header.Get("Location"))
	}
	b := newTab(t, d.api)
	b.open("/console/account")
	b.sees("登录名")
	b.accessible("sign-in")
	b.look(shots(t), "sign-in")
	u, password := d.newUser(staff.BackOffice, "")
	b.fill("#name", u.Name, "#password", "not this one")
	b.click("form button")
	b.sees("登录名或密码不正确")
	b.fill("#password", password)
	b.click("form button")
	b.sees("我的账户") // where the person wanted to go
	b.accessible("account")
	b.open("/console/account/second-factor")
	b.accessible("second factor of one's own accord")
	b.click(".who button")
	b.sees("您已退出")
	b.open("/console/account")
	b.sees("登录名")
	b.quietly()
}

func TestASecondFactorIsSetUpAndAskedFor(t *testing.T) {
	t.Parallel()
	d := start(t, setup{})
	u, drawn, err := d.app.staff.Create(t.Context(), staff.User{Name: "zhuguan", FullName: "主管", Role: staff.Supervisor}, "", "operator")
	if err != nil {
		t.Fatal(err)
	}
	b := newTab(t, d.api)
	b.open("/console/sign-in")
	b.fill("#name", u.Name, "#password", drawn)
	b.click("form button")
	b.sees("先换成只有自己知道的密码")
	b.accessible("first password")
	const own = "four wet horses again"
	b.fill("#old", drawn, "#password", own, "#again", own)
	b.click("form button")
	b.sees("设置动态口令")
	b.accessible("second factor")
	b.look(shots(t), "second-factor")
	secret := strings.ReplaceAll(ask(b, chromedp.Text(".secret")), " ", "")
	code := func(ahead int) string {
		text, err := totp.GenerateCode(secret, time.Now().Add(time.Duration(ahead)*30*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	first := code(0)
	b.fill("#code", first)
	b.click("form button")
	b.sees("请保存备用码")
	b.accessible("recovery codes")
	recovery := ask(b, chromedp.Text(".codes li"))
	b.open("/console/")
	b.sees("今日")
	b.click(".who button")
	b.fill("#name", u.Name, "#password", own)
	b.click("main form button")
	b.sees("口令")
	b.accessible("code")
	b.quietly()

	c := d.stranger()
	if to := c.done("/console/sign-in", "name", u.Name, "password", own); to != "/console/sign-in/code" {
		t.Fatalf("the password alone leads to %s", to)
	}
	if r := c.get("/console/"); r.status != http.StatusSeeOther || r.header.Get("Location") != "/console/sign-in/code" {
		t.Errorf("before the code a page answers %s", r)
	}
	if r := c.post("/console/sign-in/code", "code", first); r.status != http.StatusUnprocessableEntity {
		t.Errorf("a used code answers %s", r)
	}
	if to := c.done("/console/sign-in/code", "code", code(1)); to != "/console/" {
		t.Errorf("the next code leads to %s", to)
	}
	c.page("/console/", "今日")

	c = d.stranger()
	c.done("/console/sign-in", "name", u.Name, "password", own)
	if to := c.done("/console/sign-in/code", "code", strings.ToUpper(recovery)); to != "/console/" {
		t.Errorf("a recovery code leads to %s", to)
	}
	c = d.stranger()
	c.done("/console/sign-in", "name", u.Name, "password", own)
	if r := c.post("/console/sign-in/code", "code", recovery); r.status != http.StatusUnprocessableEntity {
		t.Errorf("a used recovery code answers %s", r)
	}
}

func TestGuessingIsStoppedAndTellsNothing(t *testing.T) {
	t.Parallel()
	d := start(t, setup{env: []string{withoutFactor}})
	u, password := d.newUser(staff.BackOffice, "")
	c := d.stranger()
	said := map[string]string{}
	for _, name := range []string{u.Name, "nobody-of-that-name"} {
		for n := range 5 {
			r := c.post("/console/sign-in", "name", name, "password", "guess number "+strings.Repeat("x", n))
			if r.status != http.StatusUnprocessableEntity {
				t.Fatalf("guess %d for %s: %s", n, name, r)
			}
			said[name] = strings.ReplaceAll(string(r.body), name, "NAME")
		}
	}
	if said[u.Name] != said["nobody-of-that-name"] {
		t.Error("a wrong password and an unknown name are answered differently")
	}
	for _, name := range []string{u.Name, "nobody-of-that-name"} {
		if r := c.post("/console/sign-in", "name", name, "password", password); r.status != http.StatusTooManyRequests || !strings.Contains(string(r.body), "已暂停登录") {
			t.Errorf("the sixth try for %s: %s", name, r)
		}
	}
	if _, err := d.app.staff.ResetPassword(t.Context(), u.ID, password, "operator"); err != nil {
		t.Fatal(err)
	}
	if to := c.done("/console/sign-in", "name", u.Name, "password", password); to != "/console/sign-in/password" {
		t.Errorf("after the operator gave a new password the sign-in leads to %s", to)
	}
	for n := 0; ; n++ {
		r := c.post("/console/sign-in", "name", "name"+strings.Repeat("x", n), "password", "guess")
		if r.status == http.StatusTooManyRequests {
			break
		}
		if n > 40 {
			t.Fatal("an address may try as many names as it likes")
		}
	}
}

func TestAnotherSitesFormIsRefused(t *testing.T) {
	t.Parallel()
	d := start(t, setup{env: []string{withoutFactor}})
	c := d.clerk(staff.Administrator, "")
	for name, extra := range map[string][]string{
		"cross-site": {"Sec-Fetch-Site", "cross-site"}, "same-site": {"Sec-Fetch-Site", "same-site"},
		"origin of an old browser": {"Sec-Fetch-Site", "", "Origin", "http://elsewhere.example"},
	} {
		r := c.send("POST", "/console/sign-out", map[string][]string{}, extra...)
		if r.status != http.StatusForbidden {
			t.Errorf("%s: %s", name, r)
		}
		checkHeaders(t, "a refusal", r.header)
	}
	c.page("/console/", "今日")
}

// TestACookieIsForTLSOnlyWhereTheBrowserSpeaksIt: at the daemon itself or at a proxy that is named; and scripts and other sites never have it.
func TestACookieIsForTLSOnlyWhereTheBrowserSpeaksIt(t *testing.T) {
	t.Parallel()
	d := start(t, setup{env: []string{withoutFactor, "EMSD_TRUSTED_PROXIES=127.0.0.0/8"}})
	u, password := d.newUser(staff.Auditor, "")
	page := d.residentPath(id(d.accept(permit(85))))
	for _, proto := range []string{"http", "https"} {
		name := map[string]string{"http": "emsd_console", "https": "__Host-emsd"}[proto]
		for _, given := range []struct {
			want http.Cookie
			got  reply
		}{
			{http.Cookie{Name: name, Path: "/", SameSite: http.SameSiteLaxMode}, d.stranger().send("POST", "/console/sign-in", url.Values{"name": {u.Name}, "password": {password}}, "X-Forwarded-Proto", proto)},
			{http.Cookie{Name: "emsd_t", Path: page, SameSite: http.SameSiteStrictMode}, (&clerk{t: t, base: d.public, client: d.visitor().client}).send("POST", page, url.Values{"digits": {"0001"}},
				"X-Forwarded-Proto", proto)},
		} {
			want, r := given.want, given.got
			cookies := (&http.Response{Header: r.header}).Cookies()
			if r.status != http.StatusSeeOther || len(cookies) != 1 {
				t.Fatalf("%s over %s: %d cookies: %s", want.Name, proto, len(cookies), r)
			}
			if c := cookies[0]; c.Name != want.Name || c.Path != want.Path || c.SameSite != want.SameSite || !c.HttpOnly || c.Secure != (proto == "https") {
				t.Errorf("over %s the cookie is %s", proto, c)
			}
		}
	}
}
