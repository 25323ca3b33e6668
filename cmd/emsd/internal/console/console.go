// Package console is the clerks' pages under /console: server-rendered, Chinese first, working without script.
//
// How a page is added. One file per page holds its handlers and a method that lists its routes:
//
//	func (c *Console) queuePages() []page {
//		return []page{
//			at("GET /console/queue", staff.ReadQueue, c.queue),
//			at("POST /console/queue/search", staff.SearchPerson, c.searchPerson),
//		}
//	}
//
// and a line in (*Console).pages. A page that belongs into the menu has a line in menu (menu.go). Its template is
// templates/NAME.html with two definitions, "title" and "main"; the dot is a *screen: .Page is what the handler gave to
// render, .User who looks, .May "action" what this person may do. Templates named templates/part_….html are shared by all
// pages. Words for statuses, cases, roles and money are template functions (words.go).
//
// What is done for every page, before its handler runs: the session (a request without a full one is led to sign in), the
// action against the role (staff.May), the station of a counter clerk (the context of v limits every statement of package
// courier to it: pass v.Context() on, never another one), the size of a form, the headers, and, for every POST, that it
// comes from our own pages. A handler answers with v.render, v.redirect or v.file, or returns an error: courier.Faults,
// courier.Conflict and courier.ErrNotFound become pages that say what to do, everything else is a 500 and a log line.
// Handlers answer a POST with v.redirect (303), so that loading again repeats nothing; what was done is told by a notice
// (words in notice.go).
//
// No page holds SQL: statements stand with the package whose tables they read. Personal data is masked unless
// v.Unmasked(delivery) says otherwise, is never in a URL (search for it by POST), and everything that shows or writes it
// is audited: writes by package courier, looks by staff.Record.
//
// Two persons: what one proposes and another confirms is a courier.Proposal (Service.Propose, Confirm, Reject, Withdraw),
// generic over kind and payload; a kind that carries something out does so in the transaction of its confirmation.
//
// Scripts and styles are files under static/, linked with their hash; inline ones are refused by the policy of the pages,
// so no style attributes and no on… attributes. An element with data-confirm asks before its form is sent, data-print
// prints, data-submit sends its form when it changes; all of that is comfort, nothing depends on it.
//
// Tests: cmd/emsd/console_helper_test.go signs a user in over HTTP (form posts without script) and in Chromium
// (browser_test.go: one browser, a tab per test), and checkPage looks at headers, at axe-core and at three widths.
package console

import (
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"emsd/cmd/emsd/internal/intake"
	"emsd/cmd/emsd/internal/resident"
	"emsd/cmd/emsd/internal/web"
	"emsd/courier"
	"emsd/courier/sheet"
	"emsd/courier/staff"
	"emsd/notify"
	"emsd/notify/webhook"
	"emsd/tracking"

	"github.com/google/uuid"
)

// Parts is what the console is made of.
type Parts struct {
	Staff     *staff.Staff
	Service   *courier.Service
	Timeline  *tracking.Reader
	Hints     *tracking.Hints
	History   *tracking.History
	Messages  *notify.Reader
	Uploads   *intake.Uploads
	Residents *resident.Pages
	Calls     *notify.Calls
	Refusals  *notify.Refusals
	Labels    *courier.Orderer
	Press     *sheet.Fonts
	Biller    courier.Biller
	Webhooks  *webhook.Service
	Texts     Texts
	// TrackingURL gives the address of a resident's page; empty for none. nil: there are none.
	TrackingURL func(delivery uuid.UUID) string
	Proxies     web.Proxies
	Clock       courier.Clock
	Log         *slog.Logger
}

// A Console answers everything under /console.
type Console struct {
	Parts
	templates templates
	static    static
	gone      overviews
}

// A page is one route: who may use it, and what answers. An empty action is for everybody who has signed in.
type page struct {
	pattern string
	action  staff.Action
	handle  func(v *visit) error
	maxBody int64
}

func at(pattern string, action staff.Action, handle func(v *visit) error) page {
	return page{pattern, action, handle, maxForm}
}

// taking lets a page take more than an ordinary form, for files.
func (p page) taking(maxBody int64) page {
	p.maxBody = maxBody
	return p
}

// pages lists every route that needs a full session.
func (c *Console) pages() []page {
	return slices.Concat(
		c.accountPages(),
		c.todayPages(),
		c.queuePages(),
		c.deliveryPages(),
		c.deliveryActions(),
		c.packPages(),
		c.labelPages(),
		c.manifestPages(),
		c.returnPages(),
		c.casePages(),
		c.feePages(),
		c.callPages(),
		c.importPages(),
		c.settingsPages(),
		c.auditPages(),
	)
}

// A Route is a page that needs a full session, and the action that a role must be allowed; none: every role.
type Route struct {
	Pattern string // as http.ServeMux has it
	Action  staff.Action
}

// Routes lists them all, for those who prove what holds for every page.
func Routes() []Route {
	pages := (&Console{}).pages()
	all := make([]Route, len(pages))
	for i, p := range pages {
		all[i] = Route{p.pattern, p.action}
	}
	return all
}

// New returns the handler of /console and /console/….
func New(parts Parts) http.Handler {
	c := &Console{Parts: parts, static: readStatic()}
	c.templates = readTemplates(c.static)
	mux := http.NewServeMux()
	mux.Handle("GET /console/static/{name}", http.HandlerFunc(c.static.serve))
	for _, p := range c.signInPages() {
		mux.Handle(p.pattern, c.open(p))
	}
	for _, p := range c.pages() {
		mux.Handle(p.pattern, c.guard(p))
	}
	mux.Handle("GET /console", http.RedirectHandler("/console/", http.StatusSeeOther))
	mux.Handle("/console/", c.guard(at("", "", func(*visit) error { return courier.ErrNotFound })))
	own := http.NewCrossOriginProtection()
	own.SetDenyHandler(http.HandlerFunc(c.foreign))
	return headers(own.Handler(mux))
}

// maxForm bounds what a form may send; a page that takes files says so itself (taking).
const maxForm = web.MaxBody

// headers are those of every answer: nothing of a page is kept, framed, indexed, or loaded from elsewhere.
func headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; media-src 'self'; "+
			"form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		// Not no-referrer: with it browsers post forms with Origin null, which looks like another site's, and old ones say nothing else.
		h.Set("Referrer-Policy", "same-origin")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("X-Robots-Tag", "noindex, nofollow")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// visit reads who asks, and the form, if there is one. It gives a visit also beside an error, to answer it with.
func (c *Console) visit(w http.ResponseWriter, r *http.Request, p page) (*visit, error) {
	r.Body = http.MaxBytesReader(w, r.Body, p.maxBody)
	v := &visit{c: c, w: w, r: r}
	if err := v.recall(); err != nil {
		return v, err
	}
	if err := r.ParseForm(); err != nil { // here, for FormValue would take a form that is cut off for an empty one
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			return v, err
		}
		return v, web.NewProblem(http.StatusBadRequest, "malformed_form", "表单内容无法识别，请返回页面重新提交")
	}
	for _, values := range r.Form {
		if slices.ContainsFunc(values, func(s string) bool { return !utf8.ValidString(s) || strings.ContainsRune(s, 0) }) {
			return v, web.NewProblem(http.StatusBadRequest, "not_utf8", "填写的内容含有无法识别的字符，请重新填写")
		}
	}
	return v, nil
}

// open answers a page of the sign-in, which has no session yet or one that is not full.
func (c *Console) open(p page) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, err := c.visit(w, r, p)
		if err == nil {
			err = p.handle(v)
		}
		v.fail(err)
	})
}

// guard answers a page for those who may see it.
func (c *Console) guard(p page) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, err := c.visit(w, r, p)
		switch {
		case err != nil:
			v.fail(err)
		case v.session.Stage != staff.StageFull:
			v.toSignIn()
		case p.action != "" && !v.User().May(p.action):
			v.fail(errNotAllowed)
		default:
			v.r = v.r.WithContext(courier.OfStation(v.r.Context(), v.User().Station))
			v.fail(p.handle(v))
		}
	})
}

// errNotAllowed is the answer to what a role may not do.
var errNotAllowed = web.NewProblem(http.StatusForbidden, "not_allowed", "您的角色没有此项权限；如工作需要，请联系管理员")

// foreign answers a POST that another site made the browser send.
func (c *Console) foreign(w http.ResponseWriter, r *http.Request) {
	v := &visit{c: c, w: w, r: r}
	v.fail(web.NewProblem(http.StatusForbidden, "foreign_origin", "该请求不是从本系统的页面发出的，已拒绝；请从页面上重新操作"))
}
