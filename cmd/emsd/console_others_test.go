package main

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"emsd/cmd/emsd/internal/console"
	"emsd/courier"
	"emsd/courier/emssim"
	"emsd/courier/staff"

	"github.com/google/go-cmp/cmp"
	"github.com/xuri/excelize/v2"
)

// Whose a thing is, and so who may reach it beside having a role that may use the page.
const (
	ofStation = "station" // its station's clerks, and people of no station
	ofOne     = "one"     // who made it
	ofHooks   = "hooks"   // who keeps the webhooks
	ofAll     = "all"
)

// owned says whose each kind of thing is.
var owned = map[string]string{"delivery": ofStation, "case": ofStation, "call": ofStation, "manifest": ofStation, "return": ofStation, "stop": ofStation,
	"proposal": ofStation, "pack proposal": ofStation, "upload": ofOne, "case of a webhook": ofHooks, "bill": ofAll, "user": ofAll, "token": ofAll, "webhook": ofAll}

// An aim is what is tried at a route: things whose ids go into its path, and what its form names beside what every form names.
type aim struct {
	things  []string
	fields  []string
	query   string
	foreign int // answer to a clerk of another station where the form, not the path, names the thing; 0: whatever the page is
}

// aims has every route of the console. A new one is added here with whose things it reaches, or the test fails.
func aims(w *estate) map[string]aim {
	none, delivery, files := aim{}, aim{things: []string{"delivery"}}, []string{"case", "case of a webhook"}
	on := func(thing string, fields ...string) aim { return aim{things: []string{thing}, fields: fields} }
	all := map[string]aim{
		"GET /console/account": none, "POST /console/account/password": {fields: []string{"old", "a guess", "password", "another horse 9", "again", "another horse 9"}},
		"GET /console/account/second-factor": none, "POST /console/account/second-factor": {fields: []string{"code", "123456"}},
		"GET /console/{$}": none, "GET /console/queue": {query: "?station=" + w.station}, "POST /console/queue/search": {fields: []string{"q", w.envelopes[0].permit}, foreign: http.StatusOK}, "POST /console/queue/export": {foreign: http.StatusOK},
		"POST /console/deliveries/{id}/intervene": on("delivery", "kind", "urge"), "POST /console/deliveries/{id}/interventions/{intervention}": on("delivery", "result", "done"),
		"POST /console/deliveries/{id}/propose": on("delivery", "kind", "declare_lost"),
		"POST /console/proposals/{id}/confirm":  on("proposal"), "POST /console/proposals/{id}/reject": on("proposal"), "POST /console/proposals/{id}/withdraw": on("proposal"),
		"GET /console/counter": none, "GET /console/counter/pack": none, "POST /console/counter/pack": {fields: []string{"permit", w.envelopes[2].permit, "scan", w.envelopes[2].waybill}, foreign: http.StatusOK},
		"POST /console/counter/pack/stops/{id}": on("stop"), "POST /console/counter/pack/proposals/{id}/{decision}": on("pack proposal"),
		"GET /console/counter/labels": none, "POST /console/counter/labels.pdf": {fields: []string{"kind", "own", "waybill_no", w.envelopes[2].waybill}, foreign: http.StatusUnprocessableEntity},
		"GET /console/counter/manifests": none, "POST /console/counter/manifests": {fields: []string{"station", w.station}, foreign: http.StatusSeeOther},
		"GET /console/counter/manifests/{id}": on("manifest"), "POST /console/counter/manifests/{id}": on("manifest", "scan", w.envelopes[2].waybill),
		"POST /console/counter/manifests/{id}/remove": on("manifest", "delivery", w.envelopes[2].id), "POST /console/counter/manifests/{id}/close": on("manifest", "count", "1", "courier", "王"),
		"GET /console/counter/manifests/{id}/manifest.pdf": on("manifest"),
		"GET /console/counter/returns":                     none, "POST /console/counter/returns": {fields: []string{"scan", w.envelopes[3].waybill}, foreign: http.StatusNotFound},
		"GET /console/counter/returns/{id}": on("return"), "POST /console/counter/returns/{id}/move": on("return"),
		"POST /console/counter/returns/{id}/pick-up": on("return", "who", "holder", "id_document", "passport"), "POST /console/counter/returns/{id}/dispose": on("return", "how", "sent_back"),
		"GET /console/cases": {query: "?station=" + w.station}, "GET /console/cases/{id}": {things: files}, "POST /console/cases/{id}/take": {things: files}, "POST /console/cases/{id}/release": {things: files},
		"POST /console/cases/{id}/hand-over": {things: files, fields: []string{"to", w.people["back office"].name}}, "POST /console/cases/{id}/close": {things: files, fields: []string{"outcome", "已解决"}},
		"GET /console/fees": none, "POST /console/fees": none, "POST /console/fees/fetch": none, "GET /console/fees/{id}": on("bill"), "POST /console/fees/{id}/lines/{n}": on("bill"),
		"GET /console/calls": none, "POST /console/calls/{id}": {things: []string{"call", "case of a webhook"}, fields: []string{"outcome", "no_answer"}},
		"GET /console/imports": none, "POST /console/imports": none, "GET /console/imports/template.xlsx": none, "GET /console/imports/{id}": on("upload"),
		"POST /console/imports/{id}/load": on("upload"), "POST /console/imports/{id}/discard": on("upload"), "POST /console/imports/{id}/bad-rows.xlsx": on("upload"),
		"GET /console/settings/webhooks/{id}": on("webhook"), "POST /console/settings/webhooks/{id}": on("webhook", "name", "x", "url", "http://127.0.0.1/"),
		"POST /console/settings/webhooks/{id}/replay": on("webhook", "what", "failed"), "POST /console/settings/tokens/{id}/revoke": on("token"), "POST /console/settings/tokens/{id}/rotate": on("token"),
		"GET /console/settings/stations/edit": none, "GET /console/settings/tariffs/new": none, "GET /console/settings/policies/change": {query: "?id=" + w.policy}, "GET /console/audit": none, "POST /console/audit/verify": none,
		"POST /console/settings/stations/edit": {fields: []string{"code", w.station, "name", "改名", "kind", "booked_window"}}, "POST /console/settings/tariffs/preview": none,
		"POST /console/settings/tariffs":          {fields: []string{"zone", "北京", "provinces", "北京市", "from", "2099-01-01", "first_g", "500", "first_yuan", "12", "step_g", "500", "step_yuan", "2"}},
		"POST /console/settings/policies/preview": none, "POST /console/settings/policies": {fields: []string{"rule", "R-08", "subject", "route", "value", "x", "day", "2099-01-01"}},
		"POST /console/settings/users": {fields: []string{"name", "mallory", "full_name", "马洛里", "role", "administrator"}}, "POST /console/settings/tokens": {fields: []string{"name", "mine", "scopes", "admin", "days", "30"}},
		"POST /console/settings/do-not-send": {fields: []string{"phone", w.phone}}, "POST /console/settings/do-not-send/lift": {fields: []string{"phone", w.phone}},
		"POST /console/settings/do-not-send/check": {fields: []string{"phone", w.phone}}, "POST /console/settings/webhooks": {fields: []string{"name", "x", "url", "http://127.0.0.1/"}},
	}
	for _, page := range []string{"", "/holidays", "/stations", "/tariffs", "/policies", "/users", "/tokens", "/do-not-send", "/webhooks", "/texts"} {
		all["GET /console/settings"+page] = none
	}
	all["GET /console/deliveries/{id}"] = delivery
	for _, name := range []string{"unmask", "mask", "pay", "refund", "cancel", "retry", "address", "handover", "not-received", "redispatch", "ask"} {
		all["POST /console/deliveries/{id}/"+name] = delivery
	}
	for _, name := range []string{"disable", "enable", "password", "second-factor"} {
		all["POST /console/settings/users/{id}/"+name] = on("user")
	}
	for _, name := range []string{"pause", "enable", "delete", "rotate", "test"} {
		all["POST /console/settings/webhooks/{id}/"+name] = on("webhook")
	}
	return all
}

// everyForm are fields of forms that mean the same everywhere.
var everyForm = []string{"sure", "1", "reason", "试试", "why", "试试", "note", "试试", "amount", "1", "method", "cash", "transaction_no", "T-1", "payment_method", "prepaid", "shelf", "X-1",
	"province", "北京市", "city", "北京市", "county", "西城区", "address", "别处胡同1号院2号楼301", "month", "2026-10", "hours", "1"}

// An estate is one thing of each kind at a station, and people of every sort.
type estate struct {
	d            *daemon
	station      string
	phone        string
	envelopes    []atCounter
	things       map[string]string
	intervention string
	policy       string
	people       map[string]*clerk
	uploader     string   // who of them has made the upload
	private      []string // what nobody sees who has not unmasked it
	ours         []string // what tells of a thing of this station
}

func newEstate(t *testing.T) *estate {
	t.Helper()
	d := start(t, setup{quick: true, ems: emssim.Config{PushTo: "here"}, env: []string{withoutFactor, "EMSD_QUIET_HOURS=off", "EMSD_WEBHOOK_ALLOW=127.0.0.0/8:*"}})
	w := &estate{d: d, station: "110102001", phone: "13912350008", things: map[string]string{}, people: map[string]*clerk{}, uploader: "back office"}
	w.people["own counter"], w.people["other counter"] = d.clerk(staff.Counter, w.station), d.clerk(staff.Counter, "110101001")
	for name, role := range map[string]staff.Role{"back office": staff.BackOffice, "another of the back office": staff.BackOffice, "supervisor": staff.Supervisor,
		"administrator": staff.Administrator, "auditor": staff.Auditor} {
		w.people[name] = d.clerk(role, "")
	}
	w.people["nobody"], w.people["halfway"] = d.stranger(), d.stranger()
	if _, password, err := d.app.staff.Create(t.Context(), staff.User{Name: "halfway", FullName: "半路", Role: staff.Administrator}, "", "operator"); err != nil {
		t.Fatal(err)
	} else if to := w.people["halfway"].done("/console/sign-in", "name", "halfway", "password", password); to != "/console/sign-in/password" {
		t.Fatalf("a sign-in that is to end halfway leads to %s", to)
	}
	w.envelopes = append(d.envelopes(4), atCounter{id: d.ordered(5, "recipient.phone", w.phone)})
	w.atTheCounter(t)
	w.onTheWay(t)
	w.settings(t)
	for i, e := range w.envelopes {
		v := d.view(e.id)
		w.private = append(w.private, idNumber(i+1), fmt.Sprintf("试验胡同%d号院", i+2), fmt.Sprintf("139%04d0001", i+1))
		w.ours = append(w.ours, e.id, v["order_no"].(string), v["permit_no"].(string), v["waybill_no"].(string))
	}
	w.private = append(w.private, "欧阳测试", w.phone)
	w.ours = append(w.ours, "欧**", w.things["manifest"], w.things["case"], w.things["call"], w.things["proposal"])
	return w
}

// atTheCounter makes a mismatch with one person's word, a manifest, and something on the shelf.
func (w *estate) atTheCounter(t *testing.T) {
	t.Helper()
	own, e := w.people["own counter"], w.envelopes
	own.post("/console/counter/pack", "permit", e[0].permit, "scan", e[1].waybill)
	own.done("/console/counter/pack/stops/"+e[0].id, "reason", "已换回")
	own.post("/console/counter/pack", "permit", e[2].permit, "scan", e[2].waybill)
	list := own.done("/console/counter/manifests")
	own.post(list, "scan", e[2].waybill)
	w.d.must(http.StatusOK, "POST", "/v1/deliveries/"+e[3].id+"/handover", map[string]any{"reason": "交寄"})
	own.post("/console/counter/returns", "shelf", "A-1", "scan", e[3].waybill)
	w.things["manifest"], w.things["stop"], w.things["return"] = strings.TrimPrefix(list, "/console/counter/manifests/"), e[1].id, e[3].id
	w.find(t, "pack proposal", `SELECT id FROM proposals WHERE kind = $1`, courier.ProposePackMismatch)
}

// onTheWay makes an envelope that EMS has, which no message has reached, asked to be urged, and proposed for lost.
func (w *estate) onTheWay(t *testing.T) {
	t.Helper()
	at := w.envelopes[4].id
	w.things["delivery"] = at
	w.d.scanned(at, "out_for_delivery", "203", "702")
	until(t, 30*time.Second, "a message that did not arrive", func() bool { return len(caseOf(w.d.view(at), "sms_failed")) > 0 })
	w.find(t, "call", `SELECT id FROM cases WHERE delivery_id = $1 AND kind = 'sms_failed'`, at)
	boss := w.people["supervisor"]
	boss.done("/console/deliveries/"+at+"/intervene", "kind", "urge", "sure", "1", "reason", "催投")
	if err := w.d.app.db.Get(&w.intervention, `SELECT id FROM interventions`); err != nil {
		t.Fatal(err)
	}
	until(t, 20*time.Second, "EMS was asked", func() bool {
		var state string
		return w.d.app.db.Get(&state, `SELECT state FROM interventions`) == nil && state != courier.InterventionUnsent && state != courier.InterventionSending
	})
	if _, err := w.d.app.db.Exec(`INSERT INTO cases (id, delivery_id, kind, opened_at, due_at, next_action) VALUES (gen_random_uuid(), $1, 'stalled', now(), now(), '向邮政查询') ON CONFLICT DO NOTHING`, at); err != nil {
		t.Fatal(err)
	}
	w.find(t, "case", `SELECT id FROM cases WHERE kind = 'stalled'`)
	boss.done("/console/deliveries/"+at+"/propose", "kind", "declare_lost", "sure", "1", "reason", "邮政确认遗失")
	w.find(t, "proposal", `SELECT id FROM proposals WHERE kind = $1`, courier.ProposeLost)
}

// settings makes what belongs to no station: an upload, a bill, a user, a token, a webhook and a case about it.
func (w *estate) settings(t *testing.T) {
	t.Helper()
	permits := fileOf(t, chineseCSV(t, []map[string]string{chineseRow(40), chineseRow(41, "phone", "12")}))
	up := w.people[w.uploader].upload("permits.csv", permits)
	w.things["upload"] = strings.TrimPrefix(up.header.Get("Location"), "/console/imports/")
	until(t, 60*time.Second, "checked", func() bool {
		return strings.Contains(string(w.people[w.uploader].get(up.header.Get("Location")).body), "检查完毕")
	})
	month := w.d.app.clock.Now().In(beijing)
	w.people["back office"].uploadTo("/console/fees", "bill.csv", []byte("邮件号,收寄日期,计费重量(克),实收资费(元)\n1299999999999,,,9.50\n"), "month", month.Format("2006-01"))
	w.find(t, "bill", `SELECT id FROM bills`)
	u, _ := w.d.newUser(staff.Supervisor, "")
	_, tok, err := w.d.app.service.CreateToken(t.Context(), "of another", []string{"read"}, 0, "operator")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.d.app.db.Get(&w.policy, `SELECT id FROM policies WHERE rule = 'R-08' LIMIT 1`); err != nil {
		t.Fatal(err)
	}
	w.things["user"], w.things["token"] = u.ID.String(), tok.ID.String()
	w.people["administrator"].post("/console/settings/webhooks", "name", "证件系统", "url", "http://127.0.0.1:9/", "types", "webhook.test")
	w.find(t, "webhook", `SELECT id FROM webhook_endpoints`)
	if _, err := w.d.app.db.Exec(`INSERT INTO cases (id, subject, kind, opened_at, due_at, next_action) VALUES (gen_random_uuid(), $1, 'webhook_disabled', now(), now(), '联系对方')`,
		"webhook:"+w.things["webhook"]); err != nil {
		t.Fatal(err)
	}
	w.find(t, "case of a webhook", `SELECT id FROM cases WHERE subject IS NOT NULL`)
}

func (w *estate) find(t *testing.T, thing, query string, args ...any) {
	t.Helper()
	var id string
	if err := w.d.app.db.Get(&id, query, args...); err != nil {
		t.Fatalf("no %s: %v", thing, err)
	}
	w.things[thing] = id
}

// try goes a route at a thing of a kind, as somebody.
func (w *estate) try(who *clerk, pattern string, a aim, thing string) reply {
	w.d.t.Helper()
	method, path, _ := strings.Cut(pattern, " ")
	path = strings.NewReplacer("{id}", w.things[thing], "{n}", "1", "{decision}", "withdraw", "{intervention}", w.intervention, "{$}", "").Replace(path)
	if method == http.MethodGet {
		return who.get(path + a.query)
	}
	form := url.Values{}
	for i := 0; i+1 < len(everyForm); i += 2 {
		form.Set(everyForm[i], everyForm[i+1])
	}
	for i := 0; i+1 < len(a.fields); i += 2 {
		form.Set(a.fields[i], a.fields[i+1])
	}
	return who.send(method, path, form)
}

// refusal is the answer that somebody must get at a route for a thing; 0: it is not refused.
func (w *estate) refusal(name string, route console.Route, thing string) int {
	user := w.people[name].user
	switch {
	case name == "nobody" || name == "halfway":
		return http.StatusSeeOther
	case route.Action != "" && !user.May(route.Action):
		return http.StatusForbidden
	case owned[thing] == ofStation && user.Station != "" && user.Station != w.station, owned[thing] == ofOne && name != w.uploader,
		owned[thing] == ofHooks && !user.May(staff.ManageHooks):
		return http.StatusNotFound
	}
	return 0
}

// shown is an answer as text, with the cells of a workbook.
func shown(t *testing.T, r reply) string {
	t.Helper()
	if !bytes.HasPrefix(r.body, []byte("PK\x03\x04")) {
		return string(r.body)
	}
	book, err := excelize.OpenReader(bytes.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	defer book.Close()
	var text strings.Builder
	for _, sheet := range book.GetSheetList() {
		rows, err := book.GetRows(sheet)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			text.WriteString(strings.Join(row, "\t") + "\n")
		}
	}
	return text.String()
}

// state is all that a person can change, without what rounds and looks change by themselves.
func (w *estate) state(t *testing.T) map[string]string {
	t.Helper()
	ofStation := `SELECT id FROM deliveries WHERE station_code = '` + w.station + `'`
	state := map[string]string{}
	for name, rows := range map[string]string{
		"deliveries": `SELECT id, permit_no, station_code, status, address_sealed, phone_sealed, county, cancel_requested_at, handed_over_at, paid_fen FROM deliveries WHERE station_code = '` + w.station + `'`,
		"cases":      `SELECT id, owner, closed_at, outcome FROM cases`, "manifests": `SELECT * FROM manifests WHERE station_code = '` + w.station + `'`,
		"uploads": `SELECT * FROM uploads WHERE id = '` + w.things["upload"] + `'`, "users": `SELECT id, name, role, station_code, disabled_at, password_hash FROM users`,
		"tokens": `SELECT id, name, scopes, revoked_at FROM tokens`, "webhook_endpoints": `SELECT id, name, url FROM webhook_endpoints`, "unmaskings": `SELECT * FROM unmaskings WHERE delivery_id IN (` + ofStation + `)`,
		"packings": `SELECT * FROM packings`, "pack_stops": `SELECT * FROM pack_stops`, "returns": `SELECT * FROM returns`, "proposals": `SELECT * FROM proposals`, "interventions": `SELECT * FROM interventions`,
		"payments": `SELECT * FROM payments`, "label_prints": `SELECT * FROM label_prints`, "manifest_items": `SELECT * FROM manifest_items`, "bills": `SELECT * FROM bills`, "bill_lines": `SELECT * FROM bill_lines`,
		"policies": `SELECT * FROM policies`, "stations": `SELECT * FROM stations`, "tariffs": `SELECT * FROM tariffs`, "do_not_send": `SELECT * FROM do_not_send`, "non_receipts": `SELECT * FROM non_receipts`,
		"call_tries": `SELECT * FROM call_tries`, "case_moves": `SELECT * FROM case_moves`, "readdressings": `SELECT * FROM readdressings`,
	} {
		var sum string
		if err := w.d.app.db.Get(&sum, `SELECT count(*) || ' ' || coalesce(md5(string_agg(r::text, E'\n' ORDER BY r::text)), '') FROM (`+rows+`) AS r`); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		state[name] = sum
	}
	return state
}

// TestNobodyReachesWhatIsAnothersOnAnyRoute goes every route of the console as everybody, with things that are there: what a role
// or a station may not reach is refused, tells nothing and changes nothing; and nobody sees a recipient in clear.
func TestNobodyReachesWhatIsAnothersOnAnyRoute(t *testing.T) {
	t.Parallel()
	w := newEstate(t)
	table, routes := aims(w), console.Routes()
	for _, route := range routes {
		a, known := table[route.Pattern]
		if !known || strings.Contains(route.Pattern, "{id}") != (len(a.things) > 0) {
			t.Errorf("%s: say in aims whose things it reaches", route.Pattern)
		}
	}
	if len(table) != len(routes) {
		t.Errorf("aims has %d routes, the console %d", len(table), len(routes))
	}
	if t.Failed() {
		return
	}
	before := w.state(t)
	for _, name := range slices.Sorted(maps.Keys(w.people)) {
		for _, route := range routes {
			a := table[route.Pattern]
			for _, thing := range a.orNone() {
				w.mustNotReach(t, name, route, a, thing)
			}
		}
		if diff := cmp.Diff(before, w.state(t)); diff != "" {
			t.Fatalf("%s has changed something, before (-), after (+)\n%s", name, diff)
		}
	}
	w.othersInForms(t)
	if diff := cmp.Diff(before, w.state(t)); diff != "" {
		t.Fatalf("naming another station's things in a form has changed something, before (-), after (+)\n%s", diff)
	}
	w.control(t, routes, table)
}

// orNone lists the things of an aim; one that is none for a page that has none.
func (a aim) orNone() []string {
	if len(a.things) == 0 {
		return []string{""}
	}
	return a.things
}

// mustNotReach tries what somebody may not, and looks at what somebody may.
func (w *estate) mustNotReach(t *testing.T, name string, route console.Route, a aim, thing string) {
	t.Helper()
	want, other := w.refusal(name, route, thing), name == "other counter"
	if post := strings.HasPrefix(route.Pattern, "POST"); want == 0 && post {
		if !other || a.foreign == 0 {
			return // it may, and would change something
		}
		want = a.foreign
	}
	r := w.try(w.people[name], route.Pattern, a, thing)
	checkHeaders(t, route.Pattern+" by "+name, r.header)
	if want != 0 && r.status != want || want == 0 && r.status >= 400 {
		t.Errorf("%s by %s for the %s: %d, want %d", route.Pattern, name, thing, r.status, want)
	}
	if to := r.header.Get("Location"); want == http.StatusSeeOther && a.foreign != want && !strings.HasPrefix(to, "/console/sign-in") {
		t.Errorf("%s by %s leads to %s", route.Pattern, name, to)
	}
	hidden := w.private
	if other || want >= 400 {
		hidden = slices.Concat(w.private, w.ours)
	}
	text := shown(t, r)
	for _, x := range hidden {
		calls := route.Pattern == "GET /console/calls" && w.people[name].user.May(staff.WorkCases) && x == w.phone // whom to call; every look is audited
		if strings.Contains(text, x) && !slices.Contains(a.fields, x) && !calls {
			t.Errorf("%s by %s tells %s", route.Pattern, name, x)
		}
	}
}

// othersInForms names things of another station in the forms of things of one's own.
func (w *estate) othersInForms(t *testing.T) {
	t.Helper()
	other, own := w.people["other counter"], w.people["own counter"]
	list := other.done("/console/counter/manifests", "station", w.station)
	if page := other.page(list); !strings.Contains(page, w.d.stationName("110101001")) {
		t.Errorf("a list that names another station is not one of the own station: %s", page)
	}
	if r := other.post(list, "scan", w.envelopes[2].waybill); !strings.Contains(string(r.body), "查无此面单") {
		t.Errorf("another station's envelope on the own list: %s", r)
	}
	other.post(list+"/remove", "delivery", w.envelopes[2].id)
	if r := other.post("/console/counter/pack", "permit", w.envelopes[2].permit, "scan", w.envelopes[2].waybill); !strings.Contains(string(r.body), "不是本受理点的证件") || strings.Contains(string(r.body), "应为") {
		t.Errorf("another station's permit is packed: %s", r)
	}
	if r := own.post("/console/cases/"+w.things["case"]+"/hand-over", "to", other.name); r.status != http.StatusUnprocessableEntity {
		t.Errorf("a case is given to a clerk of another station: %s", r)
	}
	for _, q := range []string{w.phone, idNumber(5), w.envelopes[0].waybill, w.ours[1]} {
		if r := other.post("/console/queue/search", "q", q); r.status != http.StatusOK || strings.Contains(string(r.body), "/console/deliveries/") {
			t.Errorf("a search for %s finds another station's: %s", q, r)
		}
	}
}

// control goes every route as somebody who may: were a thing not there, all refusals above would prove nothing.
func (w *estate) control(t *testing.T, routes []console.Route, table map[string]aim) {
	t.Helper()
	last := func(p string) bool {
		return strings.HasSuffix(p, "/delete") || strings.HasSuffix(p, "/discard") || strings.HasSuffix(p, "/revoke")
	}
	slices.SortStableFunc(routes, func(a, b console.Route) int {
		switch x, y := last(a.Pattern), last(b.Pattern); {
		case x == y:
			return 0
		case x:
			return 1
		}
		return -1
	})
	for _, route := range routes {
		a := table[route.Pattern]
		for _, thing := range a.things {
			tried := false
			for _, name := range []string{"own counter", w.uploader, "supervisor", "administrator"} {
				if w.refusal(name, route, thing) != 0 {
					continue
				}
				tried = true
				if r := w.try(w.people[name], route.Pattern, a, thing); r.status == http.StatusForbidden || r.status == http.StatusNotFound || r.status >= 500 {
					t.Errorf("%s by %s for the %s, who may: %s", route.Pattern, name, thing, r)
				}
				break
			}
			if !tried && owned[thing] != ofHooks { // such a case ends when the webhook works again, and by nobody's hand
				t.Errorf("%s: nobody may", route.Pattern)
			}
		}
	}
}

func fileOf(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
