package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"emsd/courier/staff"
)

// withoutFactor is the setting of tests that are about something else.
const withoutFactor = "EMSD_SECOND_FACTOR=off"

// A clerk is somebody at a browser without script: form posts, cookies, and redirects that are looked at.
type clerk struct {
	t              testing.TB
	base           string
	name, password string
	user           staff.User
	client         *http.Client
}

var clerks atomic.Int64

// newUser makes a user with a password that needs no change.
func (d *daemon) newUser(role staff.Role, station string) (staff.User, string) {
	d.t.Helper()
	n := clerks.Add(1)
	password := fmt.Sprintf("four wet horses %d", n)
	u, _, err := d.app.staff.Create(context.Background(), staff.User{Name: fmt.Sprintf("clerk%d", n), FullName: fmt.Sprintf("测试员%d", n),
		Role: role, Station: station}, password, "operator")
	if err == nil {
		err = d.app.staff.KeepPassword(context.Background(), u.ID, "operator")
	}
	if err != nil {
		d.t.Fatal(err)
	}
	return u, password
}

// stranger is a browser that nobody has signed in at.
func (d *daemon) stranger() *clerk {
	d.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		d.t.Fatal(err)
	}
	return &clerk{t: d.t, base: d.api, client: &http.Client{Jar: jar, Timeout: client.Timeout, Transport: client.Transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// clerk makes a user of a role, for counter at a station, and signs in. The daemon must run withoutFactor for roles that
// need a second one.
func (d *daemon) clerk(role staff.Role, station string) *clerk {
	d.t.Helper()
	c := d.stranger()
	c.user, c.password = d.newUser(role, station)
	c.name = c.user.Name
	if r := c.post("/console/sign-in", "name", c.name, "password", c.password); r.status != http.StatusSeeOther || r.header.Get("Location") != "/console/" {
		d.t.Fatalf("sign in: %s, to %q", r, r.header.Get("Location"))
	}
	return c
}

// get asks for a page.
func (c *clerk) get(path string) reply { c.t.Helper(); return c.send("GET", path, nil) }

// post sends a form, given as names and values in turn.
func (c *clerk) post(path string, fields ...string) reply {
	c.t.Helper()
	form := url.Values{}
	for i := 0; i+1 < len(fields); i += 2 {
		form.Add(fields[i], fields[i+1])
	}
	return c.send("POST", path, form)
}

func (c *clerk) send(method, path string, form url.Values, extra ...string) reply {
	c.t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequest(method, c.base+path, body)
	if err != nil {
		c.t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	for i := 0; i+1 < len(extra); i += 2 {
		req.Header.Set(extra[i], extra[i+1])
	}
	res, err := c.client.Do(req)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	return reply{res.StatusCode, res.Header, text}
}

// page asks for a page that must be there and must show these texts, without script, and checks what holds for every page.
func (c *clerk) page(path string, shows ...string) string {
	c.t.Helper()
	r := c.get(path)
	if r.status != http.StatusOK {
		c.t.Fatalf("GET %s: %s", path, r)
	}
	checkHeaders(c.t, path, r.header)
	text := string(r.body)
	for _, want := range shows {
		if !strings.Contains(text, want) {
			c.t.Errorf("GET %s does not show %q:\n%s", path, want, text)
		}
	}
	for _, never := range []string{"style=\"", " onclick=", " onload=", "<no value>", "ZgotmplZ", "http://www.", "https://"} {
		if strings.Contains(text, never) {
			c.t.Errorf("GET %s holds %q", path, never)
		}
	}
	return text
}

// done posts a form that must be taken, and gives where it leads.
func (c *clerk) done(path string, fields ...string) string {
	c.t.Helper()
	r := c.post(path, fields...)
	if r.status != http.StatusSeeOther {
		c.t.Fatalf("POST %s: %s", path, r)
	}
	return r.header.Get("Location")
}

// checkHeaders holds for every answer of the console.
func checkHeaders(t testing.TB, path string, h http.Header) {
	t.Helper()
	for name, want := range map[string]string{
		"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "X-Frame-Options": "DENY",
		"X-Robots-Tag": "noindex, nofollow", "Cross-Origin-Opener-Policy": "same-origin",
	} {
		if got := h.Get(name); got != want {
			t.Errorf("%s: header %s is %q, want %q", path, name, got, want)
		}
	}
	policy := h.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("%s: the policy lacks %s: %s", path, want, policy)
		}
	}
	if strings.Contains(policy, "unsafe") || strings.Contains(policy, "http") {
		t.Errorf("%s: the policy is open: %s", path, policy)
	}
}

// checkPage opens a page in Chromium as the clerk: axe-core must find nothing, the browser must not complain, and it is
// taken at three widths as NAME-….png.
func (c *clerk) checkPage(name, path string) *tab {
	c.t.Helper()
	c.page(path)
	b := newTab(c.t, c.base).cookies(c)
	b.open(path)
	b.accessible(name)
	b.look(shots(c.t), name)
	b.quietly()
	return b
}
