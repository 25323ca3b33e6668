package main

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"emsd/cmd/emsd/internal/console"
	"emsd/courier/staff"

	"github.com/google/uuid"
	"pgregory.net/rapid"
)

// ask goes a route with an object's id, with an empty form where it takes one.
func (c *clerk) ask(route console.Route, id string) reply {
	c.t.Helper()
	method, path, _ := strings.Cut(route.Pattern, " ")
	path = strings.NewReplacer("{id}", id, "{n}", "1", "{decision}", "withdraw", "{intervention}", "019f0000-0000-7000-8000-000000000000", "{$}", "").Replace(path)
	if method == "GET" {
		return c.get(path)
	}
	return c.send(method, path, url.Values{})
}

// refusals are answers to an id that is not there, or that whoever asks must not know of: not found, a form with faults, which
// are told first, or an upload that waits for no decision of this person.
var refusals = []int{http.StatusNotFound, http.StatusUnprocessableEntity, http.StatusConflict}

func TestEveryPageIsOpenToTheRolesThatMayUseItAndToNobodyElse(t *testing.T) {
	t.Parallel()
	d := start(t, setup{env: []string{withoutFactor}})
	routes := console.Routes()
	if len(routes) < 70 {
		t.Fatalf("only %d routes", len(routes))
	}
	nobody := d.stranger()
	for _, route := range routes {
		if strings.ContainsAny(strings.NewReplacer("{id}", "", "{n}", "", "{decision}", "", "{intervention}", "", "{$}", "").Replace(route.Pattern), "{}") {
			t.Errorf("%s: this test fills in no such part", route.Pattern)
		}
		if r := nobody.ask(route, uuid.NewString()); r.status != http.StatusSeeOther || !strings.HasPrefix(r.header.Get("Location"), "/console/sign-in") {
			t.Errorf("%s without a session: %d to %q", route.Pattern, r.status, r.header.Get("Location"))
		}
	}
	for _, role := range staff.Roles {
		station := "" // of all
		if role == staff.Counter {
			station = "110102001"
		}
		c := d.clerk(role, station)
		for _, route := range routes {
			r := c.ask(route, uuid.NewString())
			may := route.Action == "" || staff.May(role, route.Action)
			switch {
			case !may && r.status != http.StatusForbidden:
				t.Errorf("%s by %s: %d, want 403", route.Pattern, role, r.status)
			case may && !slices.Contains([]int{200, 303, 400, 404, 409, 422}, r.status):
				t.Errorf("%s by %s: %d, want an answer", route.Pattern, role, r.status)
			case strings.Contains(route.Pattern, "{id}") && may && !slices.Contains(refusals, r.status):
				t.Errorf("%s by %s with an id that nobody has: %d", route.Pattern, role, r.status)
			}
		}
	}
}

// fields are those that the forms of the console have.
var fieldNames = []string{"q", "by", "status", "station", "page", "before", "cursor", "day", "from", "until", "year", "id", "rule", "subject", "value", "code", "name", "phone",
	"why", "reason", "note", "hours", "what", "message", "url", "types", "days", "scopes", "role", "first_g", "first_yuan", "provinces", "permit", "waybill", "scan", "count",
	"outcome", "to", "kind", "owner", "due", "fee", "no", "actor", "action", "object", "notice", "back", "n", "shelf", "doc", "minutes", "sort", "limit", "after", "until"}

func TestNothingThatAFormSendsIsAnErrorOfOurs(t *testing.T) {
	t.Parallel()
	d := start(t, setup{env: []string{withoutFactor}})
	delivery := d.ordered(1)
	clerks := []*clerk{d.clerk(staff.Counter, "110102001"), d.clerk(staff.Supervisor, ""), d.clerk(staff.Administrator, "")}
	routes := slices.DeleteFunc(console.Routes(), func(r console.Route) bool {
		return strings.Contains(r.Pattern, "/users") || strings.Contains(r.Pattern, "/account") // would take the passwords of those who try
	})
	values := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "0", "-1", "1", "99999999999999999999", "1e309", "2026-02-30", "2026-11-28", "9999-12-31", "0001-01-01", "%", "_", "'", `"><script>`,
		"\x00", "\xff", "t1", "failed", "range", delivery, "110102001", "13900010001", "true", strings.Repeat("京", 3000)}))
	ids := rapid.SampledFrom([]string{delivery, uuid.Nil.String(), "x", "%2e%2e", "0", "-1", "%00", "%ff"})
	rapid.Check(t, func(rt *rapid.T) {
		c, route := rapid.SampledFrom(clerks).Draw(rt, "clerk"), rapid.SampledFrom(routes).Draw(rt, "route")
		form := url.Values{}
		for _, name := range rapid.SliceOfN(rapid.SampledFrom(fieldNames), 0, 8).Draw(rt, "fields") {
			form.Add(name, values.Draw(rt, name))
		}
		method, path, _ := strings.Cut(route.Pattern, " ")
		path = strings.NewReplacer("{id}", ids.Draw(rt, "id"), "{n}", rapid.SampledFrom([]string{"1", "x", "-1", "99999999999999999999"}).Draw(rt, "n"), "{decision}", "x", "{intervention}", "019f0000-0000-7000-8000-000000000000", "{$}", "").Replace(path)
		query := form
		if method == "POST" {
			query = nil
		} else {
			path, form = path+"?"+query.Encode(), nil
		}
		if r := c.send(method, path, form); r.status >= 500 {
			rt.Fatalf("%s %s %v: %s", method, path, form, r)
		}
	})
}
