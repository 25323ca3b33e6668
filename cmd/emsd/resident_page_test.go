package main

import (
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"emsd/cmd/emsd/internal/resident"
	"emsd/courier/emssim"
	"emsd/courier/staff"

	"github.com/chromedp/chromedp"
	"github.com/google/uuid"
	"pgregory.net/rapid"
)

// page is the path of a delivery's page.
func (d *daemon) residentPath(id string) string {
	return "/t/" + resident.NewTokens(d.app.vault).Of(uuid.MustParse(id))
}

// A visitor is a resident at a browser without script.
type visitor struct {
	t      testing.TB
	base   string
	client *http.Client
}

func (d *daemon) visitor() *visitor {
	d.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		d.t.Fatal(err)
	}
	return &visitor{d.t, d.public, &http.Client{Jar: jar, Timeout: client.Timeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

func (v *visitor) get(path string, extra ...string) reply {
	return (&clerk{t: v.t, base: v.base, client: v.client}).send("GET", path, nil, extra...)
}
func (v *visitor) post(path string, fields ...string) reply {
	return (&clerk{t: v.t, base: v.base, client: v.client}).post(path, fields...)
}

// sees opens the page with the digits and gives what it shows.
func (v *visitor) sees(path, digits string) string {
	v.t.Helper()
	if r := v.post(path, "digits", digits); r.status != http.StatusSeeOther {
		v.t.Fatalf("digits %s: %s", digits, r)
	}
	r := v.get(path)
	if r.status != http.StatusOK {
		v.t.Fatalf("the page: %s", r)
	}
	return string(r.body)
}

// checkResidentHeaders holds for every answer.
func checkResidentHeaders(t testing.TB, r reply) {
	t.Helper()
	for name, want := range map[string]string{"Cache-Control": "no-store", "Referrer-Policy": "same-origin", "X-Content-Type-Options": "nosniff",
		"X-Robots-Tag": "noindex, nofollow", "X-Frame-Options": "DENY"} {
		if got := r.header.Get(name); got != want {
			t.Errorf("header %s is %q, want %q", name, got, want)
		}
	}
	if p := r.header.Get("Content-Security-Policy"); !strings.HasPrefix(p, "default-src 'none'; style-src 'sha256-") || strings.Contains(p, "unsafe") {
		t.Errorf("the policy is %q", p)
	}
	if len(r.body) > 30_000 {
		t.Errorf("the page has %d bytes", len(r.body))
	}
}

// TestAResidentSeesTheEnvelopeAndNothingOfAPerson walks one delivery from payment to a door, as its resident sees it.
func TestAResidentSeesTheEnvelopeAndNothingOfAPerson(t *testing.T) {
	t.Parallel()
	d := start(t, setup{ems: emssim.Config{PushTo: "here"}, env: []string{"EMSD_PUBLIC_URL=https://permits.example.cn"}})
	p := permit(77)
	v := d.accept(permit(77))
	at := id(v)
	path := d.residentPath(at)
	if got := v["tracking_url"]; got != "https://permits.example.cn"+path {
		t.Errorf("tracking_url is %v", got)
	}
	if _, told := d.call("read", "GET", "/v1/deliveries/"+at, nil).in(t)["tracking_url"]; told {
		t.Error("a token that may only read is told the address")
	}
	b := newTab(t, d.public)
	b.open(path + "?lang=zh")
	b.sees("收件手机号的后四位")
	if cookies := d.visitor().get(path).header.Values("Set-Cookie"); len(cookies) > 0 {
		t.Errorf("cookies before the digits: %q", cookies)
	}
	b.accessible("the digits")
	dir := shots(t)
	b.look(dir, "resident-digits")
	b.fill("#digits", "9999")
	b.click("main button")
	b.sees("链接或号码不正确")
	b.accessible("wrong digits")
	b.fill("#digits", "0001")
	b.click("main button")
	b.sees("等待您缴纳邮费")
	b.accessible("to be paid")
	b.look(dir, "resident-due")
	d.pay(at, v["fee_fen"], "WX-resident")
	until(t, 20*time.Second, "ordered", func() bool { return d.status(at) == "ordered" })
	d.scanned(at, "out_for_delivery", "203", "702")
	b.open(path)
	b.sees("The courier is on the way") // as the browser asks for it
	b.open(path + "?lang=zh")
	b.sees("投递员正在派送")
	b.look(dir, "resident-out")
	b.accessible("out for delivery")
	if to := ask(b, chromedp.Evaluate[string](`document.querySelector("header a").href`)); to != d.public+path+"?lang=en" {
		t.Errorf("the other language is at %s", to)
	}
	b.open(path + "?lang=en")
	b.sees("The courier is on the way")
	b.accessible("English")
	b.look(dir, "resident-english")
	d.scanned(at, "delivered", "704/161")
	b.open(path + "?lang=zh")
	b.sees("没有人签收")
	b.look(dir, "resident-door")
	b.accessible("at the door")
	b.do(chromedp.EmulateViewport(320, 640))
	if ask(b, chromedp.Evaluate[bool](`document.documentElement.scrollWidth > window.innerWidth`)) {
		t.Error("the page is wider than a window of 320")
	}
	b.click(".card button.quiet")
	b.sees("工作人员正在核实")
	b.accessible("reported")
	b.quietly()
	if got := d.call("clerk", "GET", "/v1/cases?kind=not_received", nil); !strings.Contains(string(got.body), at) {
		t.Errorf("no case: %s", got)
	}
	text := ask(b, chromedp.Evaluate[string](`document.documentElement.outerHTML`))
	to := p["recipient"].(map[string]any)
	for _, private := range []string{"欧阳", to["phone"].(string), to["id_no"].(string), "试验胡同", "1402", "A1101022026000077", fmt.Sprint(d.view(at)["waybill_no"])} {
		if strings.Contains(text, private) {
			t.Errorf("the page holds %q", private)
		}
	}
	if log := d.log.String(); strings.Contains(log, path) || strings.Contains(log, path[3:]) {
		t.Error("the log holds the address of the page")
	}
}

func TestGuessingDigitsIsStoppedAndTellsNothing(t *testing.T) {
	t.Parallel()
	dsn := emptyDatabase(t)
	d := start(t, setup{dsn: dsn})
	good := d.residentPath(id(d.accept(permit(78))))
	forged := "/t/" + strings.Repeat("A", len(good)-3)
	answers := map[string]string{}
	for _, path := range []string{good, forged, "/t/x"} {
		if path == good {
			for _, spelt := range []string{good + "%0A", good[:20] + "%0D" + good[20:]} { // counted as tokens that are none
				if r := d.visitor().post(spelt, "digits", "0001"); r.status != http.StatusUnprocessableEntity {
					t.Errorf("%s opens: %s", spelt, r)
				}
			}
		}
		v := d.visitor()
		first := v.get(path)
		checkResidentHeaders(t, first)
		if first.status != http.StatusOK {
			t.Fatalf("GET %s: %s", path, first)
		}
		for range 5 {
			r := v.post(path, "digits", "4321")
			checkResidentHeaders(t, r)
			if r.status != http.StatusUnprocessableEntity {
				t.Fatalf("wrong digits: %s", r)
			}
			answers[path] = strings.ReplaceAll(string(r.body), path, "PATH")
		}
		if r := v.post(path, "digits", "0001"); r.status != http.StatusTooManyRequests || !strings.Contains(string(r.body), "010-56421484") {
			t.Errorf("the sixth try at %s: %s", path, r)
		}
	}
	if answers[good] != answers[forged] || answers[good] != answers["/t/x"] {
		t.Error("a wrong token and wrong digits are answered differently")
	}
	other := start(t, setup{dsn: dsn, env: []string{"EMSD_MASTER_KEY_FILE=" + d.app.cfg.MasterKeyFile}})
	if r := other.visitor().post(good, "digits", "0001"); r.status != http.StatusTooManyRequests {
		t.Errorf("another replica: %s", r)
	}
}

// underAName serves a face under a host name over plain http, as it looks inside a closed network.
func underAName(t *testing.T, face string) string {
	t.Helper()
	to, err := url.Parse(face)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to); r.Out.Host = r.In.Host }}
	srv := httptest.NewServer(proxy)
	t.Cleanup(srv.Close)
	return strings.Replace(srv.URL, "127.0.0.1", "permits.example", 1)
}

// TestFormsWorkOverPlainHTTP: where a browser does not say where a form comes from but by its Origin.
func TestFormsWorkOverPlainHTTP(t *testing.T) {
	t.Parallel()
	d := start(t, setup{env: []string{withoutFactor}})
	path := d.residentPath(id(d.accept(permit(81))))
	b := newTab(t, underAName(t, d.public))
	b.open(path)
	b.fill("#digits", "0001")
	b.click("main button")
	b.sees("等待您缴纳邮费")
	u, password := d.newUser(staff.BackOffice, "")
	b = newTab(t, underAName(t, d.api))
	b.open("/console/sign-in")
	b.fill("#name", u.Name, "#password", password)
	b.click("main form button")
	b.sees("今日")
}

// TestATokenThatIsNoneTakesAsLong compares medians, generously: what would differ is a look-up or an unsealing left out.
func TestATokenThatIsNoneTakesAsLong(t *testing.T) {
	t.Parallel()
	d := start(t, setup{env: []string{"EMSD_TRUSTED_PROXIES=127.0.0.0/8"}})
	var genuine, forged []time.Duration
	c := &clerk{t: t, base: d.public, client: d.visitor().client}
	for n := range 15 {
		good := d.residentPath(id(d.accept(permit(500 + n))))
		for i := range 8 {
			path, to := good, &genuine
			if i%2 == 1 {
				path, to = fmt.Sprintf("/t/%sA%02d", good[3:len(good)-3], n), &forged
			}
			began := time.Now()
			r := c.send("POST", path, url.Values{"digits": {"1234"}}, "X-Forwarded-For", fmt.Sprintf("203.0.113.%d", n))
			*to = append(*to, time.Since(began))
			if r.status != http.StatusUnprocessableEntity {
				t.Fatalf("%s: %s", path, r)
			}
		}
	}
	slices.Sort(genuine)
	slices.Sort(forged)
	a, b := genuine[len(genuine)/2], forged[len(forged)/2]
	t.Logf("median of a genuine token %s, of one that is none %s", a, b)
	if a > 2*b || b > 2*a {
		t.Errorf("the time tells a genuine token (%s) from one that is none (%s)", a, b)
	}
}

func TestWhatResidentsMayAskFor(t *testing.T) {
	t.Parallel()
	d := start(t, setup{ems: emssim.Config{PushTo: "here"}})
	at := d.ordered(79)
	path := d.residentPath(at)
	v := d.visitor()
	if r := v.post(path+"/again", "x", "y"); r.status != http.StatusForbidden {
		t.Errorf("without the digits: %s", r)
	}
	d.scanned(at, "attempt_failed", "203", "702", "705")
	if page := v.sees(path, "0001"); !strings.Contains(page, "申请再次投递") {
		t.Errorf("no second delivery is offered: %s", page)
	}
	if r := v.post(path + "/again"); r.status != http.StatusSeeOther {
		t.Errorf("again: %s", r)
	}
	if page := string(v.get(path).body); !strings.Contains(page, "已申请再次投递") {
		t.Errorf("the page: %s", page)
	}
	if r := v.post(path + "/not-received"); r.status != http.StatusSeeOther && r.status != http.StatusConflict {
		t.Errorf("not received: %s", r)
	}
	if r := (&clerk{t: t, base: d.public, client: v.client}).send("POST", path+"/again", url.Values{}, "Sec-Fetch-Site", "cross-site"); r.status != http.StatusForbidden {
		t.Errorf("another site's form: %s", r)
	}
	// Whoever has the phone and is not the recipient.
	if r := v.post(path + "/wrong-phone"); r.status != http.StatusOK || !strings.Contains(string(r.body), "不会再收到") {
		t.Errorf("wrong phone: %s", r)
	}
	if r := v.get(path); !strings.Contains(string(r.body), "后四位") {
		t.Errorf("the page stays open to a stranger: %s", r)
	}
	if got := d.call("clerk", "GET", "/v1/cases?kind=address", nil); !strings.Contains(string(got.body), at) {
		t.Errorf("no case for the wrong phone: %s", got)
	}
}

// TestTheDigitsOfOneEnvelopeOpenNoOther sends what one page has given to the page of another, which has the same phone's digits.
func TestTheDigitsOfOneEnvelopeOpenNoOther(t *testing.T) {
	t.Parallel()
	d := start(t, setup{ems: emssim.Config{PushTo: "here"}})
	mine, other := d.ordered(82), d.ordered(83)
	d.scanned(other, "attempt_failed", "203", "702", "705")
	before := d.eventTypes(other)
	v := d.visitor()
	if page := v.sees(d.residentPath(mine), "0001"); !strings.Contains(page, "等待交给 EMS") {
		t.Errorf("the own page: %s", page)
	}
	at, err := url.Parse(d.public + d.residentPath(mine))
	if err != nil {
		t.Fatal(err)
	}
	cookies := v.client.Jar.Cookies(at)
	if len(cookies) != 1 {
		t.Fatalf("%d cookies after the digits", len(cookies))
	}
	as := []string{"Cookie", cookies[0].String()}
	path := d.residentPath(other)
	stranger := &clerk{t: t, base: d.public, client: d.visitor().client}
	if r := stranger.send("GET", path, nil, as...); r.status != http.StatusOK || !strings.Contains(string(r.body), "后四位") || strings.Contains(string(r.body), "再次投递") {
		t.Errorf("another's page opens: %s", r)
	}
	for _, form := range []string{"/again", "/not-received", "/wrong-phone"} {
		if r := stranger.send("POST", path+form, url.Values{}, as...); r.status != http.StatusForbidden || strings.Contains(string(r.body), "再次投递") {
			t.Errorf("another's form %s is taken: %s", form, r)
		}
	}
	if after := d.eventTypes(other); after != before {
		t.Errorf("events after %s, before %s", after, before)
	}
	if r := stranger.send("GET", d.residentPath(mine), nil, as...); !strings.Contains(string(r.body), "等待交给 EMS") {
		t.Errorf("the cookie opens nothing at all, so that this test proves nothing: %s", r)
	}
}

func TestNothingThatAResidentSendsIsAnErrorOfOurs(t *testing.T) {
	t.Parallel()
	d := start(t, setup{})
	path := d.residentPath(id(d.accept(permit(84))))
	v := d.visitor()
	v.sees(path, "0001")
	c := &clerk{t: t, base: d.public, client: v.client}
	values := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "0001", "-1", "%", "'", hostile, "\x00", "\xff", "zh", "en", "zh-CN,en;q=0.5", strings.Repeat("京", 2000)}))
	paths := rapid.SampledFrom([]string{path, path + "/again", path + "/not-received", path + "/wrong", path + "/../x", "/t/" + strings.Repeat("A", 43), "/t/%00", "/t/%ff", "/t/", "/robots.txt", "/",
		"/sms/aliyun/receipts/x", "/sms/x/replies/" + receiptSecret, "/ems/push"})
	rapid.Check(t, func(rt *rapid.T) {
		form := url.Values{}
		for _, name := range rapid.SliceOfN(rapid.SampledFrom([]string{"digits", "lang", "notice", "x"}), 0, 4).Draw(rt, "fields") {
			form.Add(name, values.Draw(rt, name))
		}
		method, to := rapid.SampledFrom([]string{"GET", "POST", "HEAD", "PUT"}).Draw(rt, "method"), paths.Draw(rt, "path")
		if method == "GET" || method == "HEAD" {
			to, form = to+"?"+form.Encode(), nil
		}
		extra := []string{"Cookie", "emsd_t=" + url.QueryEscape(values.Draw(rt, "cookie"))}
		if rapid.Bool().Draw(rt, "opened") {
			extra = nil
		}
		r := c.send(method, to, form, extra...)
		if r.status >= 500 {
			rt.Fatalf("%s %s %v: %s", method, to, form, r)
		}
		if len(r.body) > 30_000 {
			rt.Fatalf("%s %s: %d bytes", method, to, len(r.body))
		}
	})
}

func TestAPageEndsSomeTimeAfterTheDelivery(t *testing.T) {
	t.Parallel()
	d := start(t, setup{env: []string{"EMSD_TRACKING_DAYS=3"}})
	v := d.accept(permit(80))
	path := d.residentPath(id(v))
	d.call("permits", "POST", "/v1/deliveries/"+id(v)+"/cancel", map[string]any{"reason": "自取"})
	if page := d.visitor().sees(path, "0001"); !strings.Contains(page, "已取消") {
		t.Errorf("the page of a cancelled delivery: %s", page)
	}
	if _, err := d.app.db.Exec(`UPDATE deliveries SET status_since = status_since - interval '4 days'`); err != nil {
		t.Fatal(err)
	}
	if r := d.visitor().post(path, "digits", "0001"); r.status != http.StatusUnprocessableEntity {
		t.Errorf("four days later: %s", r)
	}
	if r := d.visitor().get("/robots.txt"); !strings.Contains(string(r.body), "Disallow: /") {
		t.Errorf("robots.txt: %s", r)
	}
}

// TestProxiesAreBelievedOnlyWhenNamed: guesses from behind a proxy count for the client that it names.
func TestProxiesAreBelievedOnlyWhenNamed(t *testing.T) {
	t.Parallel()
	for _, named := range []bool{true, false} {
		var env []string
		if named {
			env = []string{"EMSD_TRUSTED_PROXIES=127.0.0.0/8"}
		}
		d := start(t, setup{env: env})
		d.clerk(staff.Auditor, "") // the daemon is up
		locked := 0
		for n := range 70 {
			c := &clerk{t: t, base: d.public, client: d.visitor().client}
			r := c.send("POST", fmt.Sprintf("/t/guess%d", n), url.Values{"digits": {"1234"}}, "X-Forwarded-For", fmt.Sprintf("203.0.113.%d", n))
			if r.status == http.StatusTooManyRequests {
				locked++
			}
		}
		if named != (locked == 0) {
			t.Errorf("proxies named %t: %d of 70 guesses from as many addresses were locked out", named, locked)
		}
	}
}
