package main

import (
	"bytes"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"emsd/cmd/emsd/internal/console"
	"emsd/courier/staff"
	"emsd/courier/vault"

	"github.com/google/uuid"
	"github.com/xuri/excelize/v2"
	"golang.org/x/net/html"
)

// hostile is what somebody might write into a field: a formula, an element with a script, the end of an attribute and of a script.
const hostile = `=1+1<img src=x onerror=alert(1)>"'` + "`" + `</script></textarea></title><svg onload=alert(1)>`

// markup parses a page as a browser does and fails for what no page of ours holds: scripts of its own, handlers, styles, other
// addresses. It gives the page's text.
func markup(t *testing.T, what string, r reply) string {
	t.Helper()
	if r.status >= 500 {
		t.Errorf("%s: %s", what, r)
	}
	if !strings.HasPrefix(r.header.Get("Content-Type"), "text/html") {
		return ""
	}
	root, err := html.Parse(bytes.NewReader(r.body))
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	var text strings.Builder
	for n := range root.Descendants() {
		if n.Type == html.TextNode {
			text.WriteString(n.Data)
		}
		if n.Type != html.ElementNode {
			continue
		}
		if slices.Contains([]string{"img", "iframe", "object", "embed", "base", "template", "foreignobject"}, strings.ToLower(n.Data)) {
			t.Errorf("%s holds an element %s", what, n.Data)
		}
		if n.Data == "script" && (n.FirstChild != nil || !slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == "src" && strings.HasPrefix(a.Val, "/console/static/") })) {
			t.Errorf("%s holds a script that is not a file of ours", what)
		}
		for _, a := range n.Attr {
			text.WriteString(a.Val)
			to := slices.Contains([]string{"href", "src", "action", "formaction", "data", "xlink:href"}, a.Key)
			icon := n.Data == "link" && a.Val == "data:,"
			switch scheme, _, is := strings.Cut(a.Val, ":"); {
			case strings.HasPrefix(a.Key, "on"), a.Key == "style", a.Key == "srcdoc":
				t.Errorf("%s holds an attribute %s of %s", what, a.Key, n.Data)
			case to && is && !icon && !strings.ContainsAny(scheme, "/?#") && scheme != "tel":
				t.Errorf("%s leads to %q", what, a.Val)
			}
		}
	}
	return text.String()
}

// plain fails for a cell of a workbook that is not plain text, and gives all cells.
func plain(t *testing.T, what string, r reply) (cells []string) {
	t.Helper()
	book, err := excelize.OpenReader(bytes.NewReader(r.body))
	if err != nil {
		t.Fatalf("%s: %v: %s", what, err, r)
	}
	defer book.Close()
	for _, sheet := range book.GetSheetList() {
		rows, err := book.GetRows(sheet)
		if err != nil {
			t.Fatal(err)
		}
		for y, row := range rows {
			for x, text := range row {
				at, err := excelize.CoordinatesToCellName(x+1, y+1)
				if err != nil {
					t.Fatal(err)
				}
				formula, err := book.GetCellFormula(sheet, at)
				kind, kerr := book.GetCellType(sheet, at)
				link, _, lerr := book.GetCellHyperLink(sheet, at)
				if err != nil || kerr != nil || lerr != nil {
					t.Fatal(err, kerr, lerr)
				}
				if formula != "" || link || text != "" && kind != excelize.CellTypeInlineString && kind != excelize.CellTypeSharedString {
					t.Errorf("%s, cell %s is no plain text: %q, type %v, formula %q", what, at, text, kind, formula)
				}
				cells = append(cells, text)
			}
		}
	}
	return cells
}

// TestWhatAFieldHoldsIsTextWhereverItIsShown stores markup and formulas in every field that a permit, a station or a setting has, past
// all checks, as a faulty migration might, and looks at every page, the resident's too, every workbook and what is printed.
func TestWhatAFieldHoldsIsTextWhereverItIsShown(t *testing.T) {
	t.Parallel()
	d := start(t, setup{env: []string{withoutFactor, "EMSD_WEBHOOK_ALLOW=127.0.0.0/8:*"}})
	at := d.ordered(1)
	boss, admin := d.clerk(staff.Supervisor, ""), d.clerk(staff.Administrator, "")
	for n, field := range []string{"permit_no", "application_no", "ground", "station_code", "consent.notice_version", "recipient.name", "recipient.phone", "recipient.id_no",
		"recipient.province", "recipient.city", "recipient.county", "recipient.address", "business", "route", "payment_method"} {
		if r := d.call("permits", "POST", "/v1/deliveries", permit(10+n, field, hostile)); r.status >= 500 {
			t.Errorf("%s: %s", field, r)
		}
	}
	admin.post("/console/settings/do-not-send", "phone", "13800001234", "why", hostile)
	admin.post("/console/settings/webhooks", "name", hostile, "url", "http://127.0.0.1:9/"+url.PathEscape(hostile), "types", "webhook.test")
	if _, _, err := d.app.service.CreateToken(t.Context(), "x", []string{"read"}, 0, "operator"); err != nil {
		t.Fatal(err)
	}
	boss.done("/console/deliveries/"+at+"/unmask", "reason", "核对")
	boss.post("/console/counter/pack", "permit", "A1101022026000001", "scan", d.view(at)["waybill_no"].(string))
	list := boss.done("/console/counter/manifests", "station", "110102001")
	boss.post(list, "scan", d.view(at)["waybill_no"].(string))
	up := boss.upload(hostile+".csv", fileOf(t, chineseCSV(t, []map[string]string{chineseRow(40, "name", hostile, "address", "@SUM(1+1)", "phone", "+1234", "id_no", "-2+3", "application_no", hostile)})))
	until(t, 60*time.Second, "checked", func() bool { return strings.Contains(string(boss.get(up.header.Get("Location")).body), "检查完毕") })
	bill := boss.uploadTo("/console/fees", hostile+".csv", []byte("邮件号,收寄日期,计费重量(克),实收资费(元)\n\"=1+1<img src=x>\",昨天,,x\n1299999999999,,,9.50\n"), "month", "2026-10")
	markup(t, "the bill", bill)
	delivery := uuid.MustParse(at)
	for _, change := range []struct {
		sql  string
		args []any
	}{
		{`UPDATE stations SET name = $1, address = $1, sender_name = $1`, []any{hostile}},
		{`UPDATE deliveries SET name_sealed = $1, address_sealed = $2, county = $3 WHERE id = $4`,
			[]any{d.app.vault.Seal(vault.ColumnName, delivery, hostile), d.app.vault.Seal(vault.ColumnAddress, delivery, hostile), hostile, at}},
		{`INSERT INTO cases (id, delivery_id, kind, opened_at, due_at, next_action, detail) VALUES (gen_random_uuid(), $1, 'lost', now(), now(), $2, $2)`, []any{at, hostile}},
		{`UPDATE users SET full_name = $1`, []any{hostile}}, {`UPDATE tokens SET name = $1`, []any{hostile}}, {`UPDATE webhook_endpoints SET name = $1`, []any{hostile}},
		{`UPDATE policies SET note = $1`, []any{hostile}}, {`UPDATE tariffs SET zone = $1 WHERE id = (SELECT min(id) FROM tariffs)`, []any{hostile}},
	} {
		if _, err := d.app.db.Exec(change.sql, change.args...); err != nil {
			t.Fatalf("%s: %v", change.sql, err)
		}
	}
	var hook, bills string
	for query, to := range map[string]*string{`SELECT id FROM webhook_endpoints`: &hook, `SELECT id FROM bills`: &bills} {
		if err := d.app.db.Get(to, query); err != nil {
			t.Fatal(err)
		}
	}
	shows := map[string]bool{}
	look := func(who *clerk, path string) {
		t.Helper()
		if text := markup(t, path, who.get(path)); strings.Contains(text, "<img src=x onerror=alert(1)>") {
			shows[strings.SplitN(path, "?", 2)[0]] = true
		}
	}
	in := url.QueryEscape(hostile)
	query := "?q=" + in + "&name=" + in + "&no=" + in + "&fee=" + in + "&actor=" + in + "&station=" + in + "&status=" + in + "&code=" + in + "&notice=" + in + "&next=" + in + "&lang=" + in + "&month=" + in
	for _, route := range console.Routes() {
		if method, path, _ := strings.Cut(route.Pattern, " "); method == http.MethodGet && !strings.Contains(path, "{id}") {
			path = strings.TrimSuffix(path, "{$}")
			for _, who := range []*clerk{admin, boss} {
				look(who, path)
				look(who, path+query)
			}
		}
	}
	pages := []string{"/console/deliveries/" + at, list, "/console/cases/" + d.cases()[0], up.header.Get("Location"), "/console/fees/" + bills, "/console/settings/webhooks/" + hook,
		"/console/" + url.PathEscape(hostile)}
	for _, path := range pages {
		look(boss, path)
		look(admin, path)
	}
	markup(t, "a search", boss.post("/console/queue/search", "q", hostile))
	markup(t, "the sign-in", d.stranger().post("/console/sign-in"+query, "name", hostile, "password", hostile))
	for _, path := range []string{"/console/", "/console/queue", "/console/settings/stations", "/console/settings/users", "/console/settings/tokens", "/console/settings/webhooks",
		"/console/settings/policies", "/console/settings/do-not-send", "/console/settings/texts", "/console/imports", "/console/audit", pages[0], pages[1], pages[2], pages[3], pages[5]} {
		if !shows[path] {
			t.Errorf("%s shows nothing of what was stored: looking at it proves nothing", path)
		}
	}
	if cells := plain(t, "the export", boss.post("/console/queue/export", "clear", "1", "reason", "归档")); !slices.Contains(cells, hostile) {
		t.Errorf("the export lacks what was stored: %q", cells)
	}
	bad := plain(t, "the bad rows", boss.post(up.header.Get("Location")+"/bad-rows.xlsx"))
	for _, want := range []string{hostile, "@SUM(1+1)", "+1234", "-2+3"} {
		if !slices.Contains(bad, want) {
			t.Errorf("the bad rows lack %q: %q", want, bad)
		}
	}
	plain(t, "the template", admin.get("/console/imports/template.xlsx"))
	label := boss.post("/console/counter/labels.pdf", "kind", "address", "waybill_no", d.view(at)["waybill_no"].(string))
	if label.status != http.StatusOK {
		t.Errorf("the address sheet: %s", label)
	} else if p := readPaper(t, "hostile-label", label.body); !strings.Contains(p.text, "<imgsrc=xonerror=alert(1)>") {
		t.Errorf("the address sheet is not what was stored, letter by letter: %s", p.text)
	}
	for _, change := range []string{`UPDATE deliveries SET county = '=<b>区'`, `UPDATE stations SET name = '+<i>所'`, `UPDATE users SET full_name = '@<u>员'`} { // what has room on paper
		if _, err := d.app.db.Exec(change); err != nil {
			t.Fatal(err)
		}
	}
	manifest := readPaper(t, "hostile-manifest", boss.get(list+"/manifest.pdf").body)
	for _, want := range []string{"=<b>区", "+<i>所"} {
		if !strings.Contains(manifest.text, want) {
			t.Errorf("the manifest lacks %s, letter by letter: %s", want, manifest.text)
		}
	}
	if _, err := d.app.db.Exec(`UPDATE stations SET name = $1`, hostile); err != nil {
		t.Fatal(err)
	}
	d.residentSeesText(t, at, query)
}

// residentSeesText looks at the page of a delivery whose station has markup for a name.
func (d *daemon) residentSeesText(t *testing.T, at, query string) {
	t.Helper()
	if _, err := d.app.db.Exec(`UPDATE deliveries SET status = 'returned', status_since = now() WHERE id = $1`, at); err != nil {
		t.Fatal(err)
	}
	path, v := d.residentPath(at), d.visitor()
	markup(t, "the form for the digits", v.get(path+query))
	markup(t, "wrong digits", v.post(path+query, "digits", hostile))
	markup(t, "a token that is none", v.get("/t/"+url.PathEscape(hostile)+query))
	for _, language := range []string{"zh", "en"} {
		v.post(path, "digits", "0001")
		r := v.get(path + "?lang=" + language)
		if text := markup(t, "the resident's page", r); !strings.Contains(text, "<img src=x onerror=alert(1)>") {
			t.Errorf("the page does not show the station: looking at it proves nothing: %s", r)
		}
	}
}
