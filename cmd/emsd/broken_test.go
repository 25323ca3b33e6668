package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"emsd/cmd/emsd/internal/api"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// A specCall is one operation of openapi.yaml.
type specCall struct {
	method, path string
	op           *openapi3.Operation
}

func specCalls(t testing.TB) []specCall {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(api.Spec)
	if err != nil {
		t.Fatal(err)
	}
	var calls []specCall
	for _, path := range slices.Sorted(maps.Keys(doc.Paths.Map())) {
		for method, op := range doc.Paths.Value(path).Operations() {
			calls = append(calls, specCall{method, path, op})
		}
	}
	slices.SortFunc(calls, func(a, b specCall) int { return strings.Compare(a.path+a.method, b.path+b.method) })
	return calls
}

// at fills in the ids of a path.
func (c specCall) at(id string) string {
	parts := strings.Split(c.path, "/")
	for i, p := range parts {
		if strings.HasPrefix(p, "{") {
			parts[i] = id
		}
	}
	return strings.Join(parts, "/")
}

// body gives the schema of what the call takes; nil when it takes nothing, or lines.
func (c specCall) body() *openapi3.Schema {
	if c.op.RequestBody == nil || c.op.RequestBody.Value.Content["application/json"] == nil {
		return nil
	}
	return c.op.RequestBody.Value.Content["application/json"].Schema.Value
}

// TestEveryPostTellsAllThatIsWrongAtOnce posts what nobody should to every call of the document: the harness holds each
// answer against it.
func TestEveryPostTellsAllThatIsWrongAtOnce(t *testing.T) {
	t.Parallel()
	d := start(t, setup{})
	delivery := id(d.accept(permit(1)))
	for _, c := range specCalls(t) {
		schema := c.body()
		if schema == nil {
			continue
		}
		path := c.at(delivery)
		for _, body := range []string{"", "{", "null", "[]", `"text"`, "1", `{"reason":"x"}{}`, "\xff", strings.Repeat(`{"a":`, 20000)} {
			if r := d.call("admin", c.method, path, body); r.status != 400 && r.status != 422 || r.in(t)["detail"] == "" {
				t.Errorf("%s %s with %.20q: %s", c.method, c.path, body, r)
			}
		}
		// Every field of the wrong type, and two that there are not: each is named.
		wrong, want := map[string]any{"colour": 1, "size": true}, []string{"/colour unknown_field", "/size unknown_field"}
		for name, p := range schema.Properties {
			switch p.Value.Type.Slice()[0] {
			case "string", "object":
				wrong[name] = []any{1}
			default:
				wrong[name] = map[string]any{}
			}
			want = append(want, "/"+name+" type")
		}
		got := pointers(problem(t, d.call("admin", c.method, path, wrong), http.StatusUnprocessableEntity, "invalid"))
		slices.Sort(want)
		for _, w := range want {
			if !slices.Contains(got, w) {
				t.Errorf("%s %s does not tell %s: %q", c.method, c.path, w, got)
			}
		}
		// Nothing at all: each field that is required is named, or where one stands for others the first of them.
		if len(schema.Required) == 0 {
			continue
		}
		got = pointers(problem(t, d.call("admin", c.method, path, `{}`), http.StatusUnprocessableEntity, "invalid"))
		for _, name := range schema.Required {
			if name == "city" || name == "county" {
				name = "province" // which must be known before they can be
			}
			if !slices.ContainsFunc(got, func(g string) bool { return strings.HasPrefix(g, "/"+name) }) {
				t.Errorf("%s %s with nothing does not name %s: %q", c.method, c.path, name, got)
			}
		}
	}
	if got := d.call("read", "GET", "/v1/deliveries/"+delivery, nil).in(t); got["events_seq"] != float64(1) {
		t.Errorf("something was done: %v", got)
	}
}

// TestNothingThatIsSentIsAnError of ours: random bodies, queries, ids and headers to every call.
func TestNothingThatIsSentIsAnErrorOfOurs(t *testing.T) {
	t.Parallel()
	d := start(t, setup{})
	delivery := id(d.accept(permit(1)))
	calls := slices.DeleteFunc(specCalls(t), func(c specCall) bool { return c.path == "/openapi.yaml" })
	text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "x", "0", "-1", "99999999999999999999", "2026-11-22T09:00:00+08:00", "true", "null", "%00", "\x00",
		"delivered", "0198c0de-0000-7000-8000-000000000000", delivery, "station", "2026-11-22", "infinity", "'; --", "Zm9v", "10ms"}))
	value := rapid.OneOf(rapid.Map(text, func(s string) any { return s }), rapid.Map(rapid.Int64(), func(n int64) any { return n }),
		rapid.SampledFrom([]any{nil, true, 1.5, []any{}, []any{"x"}, map[string]any{}, map[string]any{"at": "x"}}))
	rapid.Check(t, func(r *rapid.T) {
		c := rapid.SampledFrom(calls).Draw(r, "call")
		path := c.at(rapid.SampledFrom([]string{delivery, "0198c0de-0000-7000-8000-000000000000", "x", "%00", "..%2f"}).Draw(r, "id"))
		q := map[string][]string{}
		for _, p := range c.op.Parameters {
			if p.Value.In == "query" && p.Value.Name != "wait" && rapid.Bool().Draw(r, "given") {
				q[p.Value.Name] = []string{text.Draw(r, p.Value.Name)}
			}
		}
		var body []byte
		if s := c.body(); s != nil {
			m := map[string]any{}
			for name, p := range s.Properties {
				if p.Value.Enum != nil && rapid.Bool().Draw(r, "fit") {
					m[name] = rapid.SampledFrom(p.Value.Enum).Draw(r, name)
				} else if rapid.IntRange(0, 5).Draw(r, "left out") > 0 {
					m[name] = value.Draw(r, name)
				}
			}
			body, _ = json.Marshal(m)
		}
		headers := []string{"If-None-Match", header(text.Draw(r, "tag"))}
		if rapid.Bool().Draw(r, "match") {
			headers = append(headers, "If-Match", header(text.Draw(r, "If-Match")))
		}
		if c.method == "POST" && rapid.Bool().Draw(r, "key") && !strings.HasPrefix(c.path, "/v1/webhooks") {
			headers = append(headers, "Idempotency-Key", header(text.Draw(r, "Idempotency-Key")))
		}
		if a, err := d.try("admin", c.method, path+"?"+encode(q), body, headers...); err != nil || a.status >= 500 {
			r.Fatalf("%s %s?%s %s: %v %s", c.method, path, encode(q), body, err, a)
		}
	})
}

// header leaves out what net/http does not send.
func header(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, s)
}

func encode(q url.Values) string { return q.Encode() }

// TestListsSurviveWhatComesBetweenTheirPages pages with inserts between the pages, on every list, and tries cursors that
// were tampered with.
func TestListsSurviveWhatComesBetweenTheirPages(t *testing.T) {
	t.Parallel()
	d := start(t, setup{})
	const n = 25
	made := map[string]bool{}
	for i := range n {
		v := d.accept(permit(i+1, "payment_method", "collect", "recipient.phone", fmt.Sprintf("139%04d0007", i))) // EMS refuses these: a case each
		made[id(v)] = true
	}
	until(t, 30e9, "all refused by EMS", func() bool {
		return len(d.call("read", "GET", "/v1/cases?limit=100", nil).in(t)["cases"].([]any)) == n
	})
	next := n
	for _, list := range []struct{ path, key, id string }{
		{"/v1/deliveries?limit=4", "deliveries", "id"},
		{"/v1/deliveries?limit=4&status=ordering", "deliveries", "id"},
		{"/v1/deliveries?limit=4&updated_after=2026-01-01T00:00:00Z", "deliveries", "id"},
		{"/v1/cases?limit=4", "cases", "delivery_id"},
	} {
		seen := map[string]int{}
		cursor := ""
		for {
			page := d.call("read", "GET", list.path+cursor, nil).in(t)
			for _, v := range page[list.key].([]any) {
				seen[v.(map[string]any)[list.id].(string)]++
			}
			c, more := page["next_cursor"].(string)
			if !more {
				break
			}
			cursor = "&cursor=" + c
			next++
			d.accept(permit(next)) // one comes in after each page
			for _, bad := range []string{c[:len(c)-4], c + "AAAA", strings.Repeat(c, 3), "!" + c, swapCase(c)} {
				if r := d.call("read", "GET", list.path+"&cursor="+bad, nil); r.status != http.StatusOK {
					problem(t, r, http.StatusUnprocessableEntity, "invalid")
				}
			}
			if r := d.call("read", "GET", "/v1/returns?cursor="+c, nil); r.status != http.StatusUnprocessableEntity {
				t.Errorf("the cursor of %s serves another list: %s", list.path, r)
			}
		}
		for v := range made {
			if seen[v] != 1 {
				t.Errorf("%s: a delivery that was there from the beginning came %d times", list.path, seen[v])
			}
		}
	}
	var positions []int64
	after := int64(0)
	for len(positions) < 100 {
		var page struct {
			Events []struct{ Position int64 }
			After  int64
		}
		r := d.call("read", "GET", fmt.Sprintf("/v1/events?limit=7&after=%d&wait=5s", after), nil)
		if err := json.NewDecoder(bytes.NewReader(r.body)).Decode(&page); err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Events {
			positions = append(positions, e.Position)
		}
		after = page.After
		next++
		d.accept(permit(next))
	}
	want := make([]int64, len(positions))
	for i := range want {
		want[i] = int64(i + 1)
	}
	if diff := cmp.Diff(want, positions); diff != "" {
		t.Errorf("positions want (-), got (+)\n%s", diff)
	}
}

func swapCase(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' {
			return r - 'a' + 'A'
		}
		return r
	}, s)
}
