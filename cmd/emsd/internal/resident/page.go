package resident

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	_ "embed"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"emsd/cmd/emsd/internal/web"
	"emsd/courier"
	"emsd/courier/vault"
	"emsd/tracking"

	"github.com/google/uuid"
)

// Limits of guessing: four digits are ten thousand possibilities, so a token gets few, and so does an address.
const (
	triesAtOnce   = 5 // of a token in shortWindow
	triesADay     = 15
	triesInAll    = 40 // in lifeWindow: who has the link alone finds the digits in one of 250 cases
	triesOfOne    = 60 // of an address in shortWindow: many residents share one
	shortWindow   = 15 * time.Minute
	longWindow    = 24 * time.Hour
	lifeWindow    = 180 * 24 * time.Hour
	openFor       = 30 * time.Minute // how long the digits are good for
	maxForm       = 4 << 10
	digitsOfPhone = 4
)

// Deliveries is what a page reads of a delivery, and what a resident may do about it.
type Deliveries interface {
	Get(ctx context.Context, id uuid.UUID) (courier.View, error)
	HolderOf(ctx context.Context, id uuid.UUID) (courier.Holder, error)
	InterventionsOf(ctx context.Context, id uuid.UUID) ([]courier.Intervention, error)
	ReportNotReceived(ctx context.Context, id uuid.UUID, saidBy, reason, by string) (courier.View, error)
	Intervene(ctx context.Context, id uuid.UUID, kind string, to courier.Recipient, reason, by string) (courier.Intervention, error)
	StationByCode(ctx context.Context, code string) (courier.Station, error)
}

// Scans reads what has happened to an envelope.
type Scans interface {
	Timeline(ctx context.Context, delivery uuid.UUID) ([]tracking.Step, error)
}

// History tells how long envelopes take.
type History interface {
	Expect(ctx context.Context, r tracking.Route) (tracking.Expectation, bool, error)
}

// Numbers stops the messages to a number that is somebody else's.
type Numbers interface {
	WrongPerson(ctx context.Context, delivery uuid.UUID, why, by string, now time.Time) error
}

// PageConfig says how pages are served.
type PageConfig struct {
	Days    int // that a page is open after the delivery's end
	Proxies web.Proxies
}

// Pages serves residents' pages.
type Pages struct {
	cfg        PageConfig
	tokens     Tokens
	vault      *vault.Vault
	tries      *Tries
	deliveries Deliveries
	scans      Scans
	history    History
	numbers    Numbers
	clock      courier.Clock
	log        *slog.Logger
	dummy      []byte // a sealed number, for the work of a token that is none
}

// NewPages returns Pages.
func NewPages(cfg PageConfig, v *vault.Vault, tries *Tries, d Deliveries, s Scans, h History, n Numbers, clock courier.Clock, log *slog.Logger) *Pages {
	return &Pages{cfg, NewTokens(v), v, tries, d, s, h, n, clock, log, v.Seal(vault.ColumnPhone, uuid.Nil, "13800000000")}
}

// register adds the pages' routes.
func (p *Pages) register(mux *http.ServeMux) {
	own := http.NewCrossOriginProtection()
	handle := func(pattern string, h func(q *request) error) {
		mux.Handle(pattern, own.Handler(web.LimitBody(maxForm, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			headers(w.Header())
			q := &request{p: p, w: w, r: r, token: r.PathValue("token"), language: languageOf(r.Header.Get("Accept-Language"))}
			if l := Language(r.URL.Query().Get("lang")); l == Chinese || l == English {
				q.language, q.chosen = l, true
			}
			if err := h(q); err != nil {
				q.fail(err)
			}
		}))))
	}
	// resident: the form for the digits, or the page once they were given
	handle("GET /t/{token}", (*request).show)
	handle("POST /t/{token}", (*request).unlock)
	// resident: I did not get it; come again
	handle("POST /t/{token}/not-received", (*request).notReceived)
	handle("POST /t/{token}/again", (*request).again)
	// somebody else: this phone is not the recipient's
	handle("POST /t/{token}/wrong-phone", (*request).wrongPhone)
	mux.HandleFunc("GET /robots.txt", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.Write([]byte("User-agent: *\nDisallow: /\n"))
	})
}

//go:embed templates/page.css
var styleSheet string

//go:embed templates/page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{"style": func() template.CSS { return template.CSS(styleSheet) }}).Parse(pageText))

// policy lets a page load nothing but its own style, by hash.
var policy = func() string {
	sum := sha256.Sum256([]byte(styleSheet))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
}()

func headers(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	// Not no-referrer: with it browsers post forms with Origin null, which looks like another site's, and old ones say nothing else.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Robots-Tag", "noindex, nofollow")
	h.Set("Cache-Control", "no-store")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
	h.Set("Vary", "Accept-Language")
}

// A request is one look at a page.
type request struct {
	p        *Pages
	w        http.ResponseWriter
	r        *http.Request
	token    string
	language Language
	chosen   bool // by the address, rather than by the browser
}

// A screen is the dot of the template: the form when View is nil.
type screen struct {
	Language Language
	Path     string
	Query    string // that keeps the language
	Fault    string
	Locked   bool
	Stopped  bool // the number gets no more messages
	View     *View
}

// Say gives the words of the page.
func (s screen) Say(zh, en string) string { return s.Language.say(zh, en) }

func (q *request) render(status int, s screen) error {
	s.Language, s.Path = q.language, "/t/"+q.token
	if q.chosen {
		s.Query = "?lang=" + string(q.language)
	}
	var body bytes.Buffer
	if err := pageTemplate.Execute(&body, s); err != nil {
		return err
	}
	q.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	q.w.Header().Set("Content-Language", q.language.say("zh-CN", "en"))
	q.w.WriteHeader(status)
	q.w.Write(body.Bytes())
	return nil
}

// show is the form for everybody, and the page for who has given the digits.
func (q *request) show() error {
	d, ok, err := q.opened()
	if err != nil {
		return err
	}
	if !ok {
		return q.render(http.StatusOK, screen{})
	}
	return q.page(d, "")
}

// opened gives the delivery of who has given the digits of late.
func (q *request) opened() (courier.View, bool, error) {
	cookie, err := q.r.Cookie(cookieName)
	if err != nil || !q.p.tokens.opens(cookie.Value, q.token, q.p.clock.Wall()) {
		return courier.View{}, false, nil
	}
	id, ok := q.p.tokens.delivery(q.token)
	if !ok {
		return courier.View{}, false, nil
	}
	d, err := q.p.deliveries.Get(q.r.Context(), id)
	if errors.Is(err, courier.ErrNotFound) || err == nil && q.p.over(d.Status, d.StatusSince) {
		return courier.View{}, false, nil
	}
	return d, err == nil, err
}

const cookieName = "emsd_t"

// over says whether the page of a delivery is closed: some time after its end.
func (p *Pages) over(s courier.Status, since time.Time) bool {
	switch s {
	case courier.Refused, courier.Delivered, courier.Returned, courier.Lost, courier.Cancelled:
		return p.clock.Now().After(since.AddDate(0, 0, p.cfg.Days))
	}
	return false
}

// unlock takes the digits. A token that is none and digits that are wrong have the same answer after the same work.
func (q *request) unlock() error {
	digits := strings.TrimSpace(q.r.PostFormValue("digits"))
	id, genuine := q.p.tokens.delivery(q.token)
	locked, err := q.tooMany(id, genuine)
	if err != nil {
		return err
	}
	if locked {
		return q.render(http.StatusTooManyRequests, screen{Locked: true})
	}
	holder, right, err := q.compare(id, genuine, digits)
	if err != nil {
		return err
	}
	if !right {
		return q.render(http.StatusUnprocessableEntity, screen{Fault: q.language.say("链接或号码不正确，请核对后再试。", "The link or the digits are not right. Please check and try again.")})
	}
	if err := q.p.tries.forgive(q.r.Context(), append(q.p.tokenKeys(id, genuine, q.token), q.p.addressKey(q.p.cfg.Proxies.Client(q.r)))); err != nil {
		return err
	}
	until := q.p.clock.Wall().Add(openFor)
	http.SetCookie(q.w, &http.Cookie{Name: cookieName, Value: q.p.tokens.cookie(q.token, until), Path: "/t/" + q.token, MaxAge: int(openFor.Seconds()),
		HttpOnly: true, Secure: q.p.cfg.Proxies.Secure(q.r), SameSite: http.SameSiteStrictMode})
	if !q.chosen {
		q.language, q.chosen = Language(holder.Language), true
	}
	return q.back()
}

// tooMany counts a try, first of the address: one that is over its limit costs no more rows.
func (q *request) tooMany(id uuid.UUID, genuine bool) (bool, error) {
	ctx, wall := q.r.Context(), q.p.clock.Wall()
	tries, err := q.p.tries.count(ctx, [][]byte{q.p.addressKey(q.p.cfg.Proxies.Client(q.r))}, []time.Duration{shortWindow}, wall)
	if err != nil || tries[0] > triesOfOne {
		return err == nil, err
	}
	tries, err = q.p.tries.count(ctx, q.p.tokenKeys(id, genuine, q.token), []time.Duration{shortWindow, longWindow, lifeWindow}, wall)
	if err != nil {
		return false, err
	}
	return tries[0] > triesAtOnce || tries[1] > triesADay || tries[2] > triesInAll, nil
}

// tokenKeys are under which the tries of a token are counted, one per window. Tokens that are none share 65,536 keys, so that
// inventing them fills no table; each still locks as a genuine one does.
func (p *Pages) tokenKeys(id uuid.UUID, genuine bool, token string) [][]byte {
	of := id.String()
	if !genuine {
		of = "none " + hex.EncodeToString(p.vault.Lookup(hashTry, token)[:2])
	}
	return [][]byte{p.vault.Lookup(hashTry, "short "+of), p.vault.Lookup(hashTry, "day "+of), p.vault.Lookup(hashTry, "life "+of)}
}

func (p *Pages) addressKey(address string) []byte { return p.vault.Lookup(hashAddress, address) }

// compare looks the holder up and compares the digits, or does the same work for a delivery that there is not.
func (q *request) compare(id uuid.UUID, genuine bool, digits string) (courier.Holder, bool, error) {
	holder, err := q.p.deliveries.HolderOf(q.r.Context(), id)
	if errors.Is(err, courier.ErrNotFound) {
		genuine = false
		holder.Phone, err = q.p.vault.Unseal(vault.ColumnPhone, uuid.Nil, q.p.dummy)
	}
	if err != nil {
		return holder, false, err
	}
	last := holder.Phone.Reveal()
	last = last[max(0, len(last)-digitsOfPhone):]
	same := subtle.ConstantTimeCompare([]byte(last), []byte(digits)) == 1
	return holder, same && genuine && !q.p.over(holder.Status, holder.StatusSince), nil
}

// back leads to the page after a POST.
func (q *request) back() error {
	to := "/t/" + q.token
	if q.chosen {
		to += "?lang=" + string(q.language)
	}
	http.Redirect(q.w, q.r, to, http.StatusSeeOther)
	return nil
}

// page shows a delivery.
func (q *request) page(d courier.View, fault string) error {
	v, err := q.p.View(q.r.Context(), d, q.language)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if fault != "" {
		status = http.StatusConflict
	}
	return q.render(status, screen{View: &v, Fault: fault})
}

// View is what the resident of a delivery sees; the clerks' console shows it, too.
func (p *Pages) View(ctx context.Context, d courier.View, l Language) (View, error) {
	f := Facts{View: d}
	var err error
	if f.Steps, err = p.scans.Timeline(ctx, d.ID); err != nil {
		return View{}, err
	}
	if f.Interventions, err = p.deliveries.InterventionsOf(ctx, d.ID); err != nil {
		return View{}, err
	}
	if f.Station, err = p.deliveries.StationByCode(ctx, d.StationCode); err != nil {
		return View{}, err
	}
	x, ok, err := p.history.Expect(ctx, tracking.Route{Station: d.StationCode, Province: d.Recipient.Province, City: d.Recipient.City, County: d.Recipient.County})
	if err != nil {
		return View{}, err
	}
	if ok {
		f.Expected = &x
	}
	return Compose(f, l, p.clock.Now()), nil
}

// byResident is who did it, in the audit and in cases.
const byResident = "resident"

func (q *request) notReceived() error {
	return q.act(func(ctx context.Context, d courier.View) error {
		_, err := q.p.deliveries.ReportNotReceived(ctx, d.ID, byResident, "申请人在查询页面报告未收到", byResident)
		return err
	})
}

func (q *request) again() error {
	return q.act(func(ctx context.Context, d courier.View) error {
		_, err := q.p.deliveries.Intervene(ctx, d.ID, courier.InterveneRedeliver, courier.Recipient{}, "申请人在查询页面申请再次投递", byResident)
		return err
	})
}

// wrongPhone is for whoever has the phone and is not the recipient: no more messages go there, a clerk finds the right
// number, and the page is closed to this person.
func (q *request) wrongPhone() error {
	d, ok, err := q.opened()
	if err != nil || !ok {
		return q.again403(err)
	}
	if err := q.p.numbers.WrongPerson(q.r.Context(), d.ID, "机主在查询页面称不是收件人", byResident, q.p.clock.Now()); err != nil {
		return err
	}
	http.SetCookie(q.w, &http.Cookie{Name: cookieName, Path: "/t/" + q.token, MaxAge: -1, HttpOnly: true, Secure: q.p.cfg.Proxies.Secure(q.r), SameSite: http.SameSiteStrictMode})
	return q.render(http.StatusOK, screen{Stopped: true})
}

// again403 asks for the digits again, unless something else is the matter.
func (q *request) again403(err error) error {
	if err != nil {
		return err
	}
	return q.render(http.StatusForbidden, screen{Fault: q.language.say("时间久了，请重新输入号码。", "It has been a while; please give the digits again.")})
}

// act does what a resident asks for, once the digits were given, and shows the page again.
func (q *request) act(do func(ctx context.Context, d courier.View) error) error {
	d, ok, err := q.opened()
	if err != nil || !ok {
		return q.again403(err)
	}
	err = do(q.r.Context(), d)
	if _, conflict := errors.AsType[*courier.Conflict](err); conflict {
		return q.page(d, q.language.say("邮件状态刚有变化，现在不能办理，请看最新情况或致电。", "Things have just changed and this is not possible now. Please look again or call."))
	}
	if err != nil {
		return err
	}
	return q.back()
}

// fail answers what is our fault without a word of what it was.
func (q *request) fail(err error) {
	if p := web.Describe(err); p.Status < http.StatusInternalServerError {
		http.Error(q.w, q.language.say("请求无法识别", "The request was not understood"), p.Status)
		return
	}
	q.p.log.ErrorContext(q.r.Context(), "resident page failed", "route", q.r.Pattern, "error", err)
	http.Error(q.w, q.language.say("系统暂时无法查询，请稍后再试。EMS 查询电话 ", "Please try again later. EMS: ")+hotlineEMS, http.StatusInternalServerError)
}
