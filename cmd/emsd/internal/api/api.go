// Package api is the JSON API for the permit system: it reads requests, asks package courier, and answers. It holds no
// rule of its own.
package api

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"emsd/cmd/emsd/internal/web"
	"emsd/courier"
	"emsd/courier/vault"
	"emsd/notify"
	"emsd/notify/webhook"
	"emsd/tracking"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// Scopes of a token (contract).
const (
	scopePermits  = "permits"
	scopePayments = "payments"
	scopeRead     = "read"
	scopeClerk    = "clerk"
	scopeAdmin    = "admin"
)

// An API answers the calls under /v1.
type API struct {
	service *courier.Service
	labels  Labels
	scans   Scans
	db      *sqlx.DB // the feed is read as it stands
	clock   courier.Clock
	feed    Feed
	codes   *tracking.Refolder // records what codes of EMS's mean
	vault   *vault.Vault       // opens answers of EMS that are kept as evidence
	hooks   *webhook.Service
	log     *slog.Logger

	replies  Replies
	messages Messages
	refusals *notify.Refusals
	calls    *notify.Calls

	limit    *limiter
	hook     func(point string) // of crash tests
	tracking func(delivery uuid.UUID) string

	mux    *http.ServeMux
	routes []Route
}

// Options of an API; zero values take the default given here.
type Options struct {
	Webhooks *webhook.Service
	Rate     float64 // calls a second of one token; no limit
	Burst    int     // how many of them may come at once
	// TrackingURL gives the address of a resident's page; empty for none. nil: there are none.
	TrackingURL func(delivery uuid.UUID) string
	Hook        func(point string) // called at named points, for crash tests; nothing

	Replies  Replies          // what residents answered; nothing is shown
	Messages Messages         // what they were told; nothing is shown
	Refusals *notify.Refusals // the do-not-send list
	Calls    *notify.Calls    // whom a message did not reach
}

// A Route is a call of the API and the scopes of which a token needs one; admin may do everything.
type Route struct {
	Pattern string // as http.ServeMux has it
	Scopes  []string
}

// Routes lists every call: openapi.yaml describes these and no others.
func (a *API) Routes() []Route { return slices.Clone(a.routes) }

// ServeHTTP answers /v1 and /openapi.yaml.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.mux.ServeHTTP(w, r) }

// Feed tells long-polls when to look again and when to end.
type Feed struct {
	Grew     func() <-chan struct{} // closed when the feed grows
	Stopping <-chan struct{}        // closed when the daemon stops
}

// Labels gives the label of an ordered envelope.
type Labels interface {
	LabelOf(ctx context.Context, delivery uuid.UUID) ([]byte, error)
}

// Scans gives the scans of a delivery with our own sentences.
type Scans interface {
	Timeline(ctx context.Context, delivery uuid.UUID) ([]tracking.Step, error)
}

// New returns the API. What is registered here is described in openapi.yaml, with its scopes.
func New(service *courier.Service, labels Labels, scans Scans, db *sqlx.DB, clock courier.Clock, feed Feed,
	codes *tracking.Refolder, v *vault.Vault, opts Options, log *slog.Logger) *API {
	a := &API{service: service, labels: labels, scans: scans, db: db, clock: clock, feed: feed, codes: codes, vault: v, hooks: opts.Webhooks, limit: newLimiter(opts.Rate, opts.Burst),
		hook: opts.Hook, replies: opts.Replies, messages: opts.Messages, refusals: opts.Refusals, calls: opts.Calls, tracking: opts.TrackingURL, log: log, mux: http.NewServeMux()}
	if a.hook == nil {
		a.hook = func(string) {}
	}
	handle := func(pattern string, maxBody int64, h handler, scopes ...string) {
		a.mux.Handle(pattern, timed(web.LimitBody(maxBody, a.guard(h, scopes))))
		a.routes = append(a.routes, Route{pattern, scopes})
	}
	a.mux.HandleFunc("GET /openapi.yaml", serveSpec)
	a.routes = append(a.routes, Route{Pattern: "GET /openapi.yaml"})
	// permit system: an approved permit
	handle("POST /v1/deliveries", web.MaxBody, a.whole((*API).accept, nil), scopePermits)
	// permit system: many at once, NDJSON both ways
	handle("POST /v1/deliveries:batch", maxBatch, a.batch, scopePermits)
	handle("GET /v1/deliveries", web.MaxBody, a.list, scopeRead, scopePermits, scopePayments, scopeClerk)
	handle("GET /v1/deliveries/{id}", web.MaxBody, a.show, scopeRead, scopePermits, scopePayments, scopeClerk)
	handle("GET /v1/deliveries/{id}/label", web.MaxBody, a.label, scopeClerk)
	// permit system or counter: money came in, money went back
	handle("POST /v1/deliveries/{id}/payments", web.MaxBody, a.whole((*API).pay, deliveryVersion), scopePayments)
	handle("POST /v1/deliveries/{id}/refund", web.MaxBody, a.whole((*API).refund, deliveryVersion), scopePayments)
	handle("POST /v1/deliveries/{id}/cancel", web.MaxBody, a.whole((*API).cancel, deliveryVersion), scopePermits, scopeClerk)
	handle("POST /v1/deliveries/{id}/retry", web.MaxBody, a.whole((*API).retry, deliveryVersion), scopeClerk)
	handle("POST /v1/deliveries/{id}/address", web.MaxBody, a.whole((*API).address, deliveryVersion), scopePermits, scopeClerk)
	// counter: the envelope was given to EMS's courier, one or a list of scanned ones
	handle("POST /v1/deliveries/{id}/handover", web.MaxBody, a.whole((*API).handOver, deliveryVersion), scopeClerk)
	handle("POST /v1/handovers", web.MaxBody, a.whole((*API).handOverAll, nil), scopeClerk)
	// counter: what came back, where it lies, who took it, or that it goes out again
	handle("POST /v1/returns", web.MaxBody, a.whole((*API).receiveReturn, nil), scopeClerk)
	handle("GET /v1/returns", web.MaxBody, a.returns, scopeRead, scopeClerk)
	handle("POST /v1/deliveries/{id}/return/shelf", web.MaxBody, a.whole((*API).moveReturn, deliveryVersion), scopeClerk)
	handle("POST /v1/deliveries/{id}/return/pick-up", web.MaxBody, a.whole((*API).pickUp, deliveryVersion), scopeClerk)
	handle("POST /v1/deliveries/{id}/return/dispose", web.MaxBody, a.whole((*API).dispose, deliveryVersion), scopeClerk)
	handle("POST /v1/deliveries/{id}/redispatch", web.MaxBody, a.whole((*API).redispatch, deliveryVersion), scopePermits, scopeClerk)
	// permit system or counter: it did not arrive, and how that ended
	handle("POST /v1/deliveries/{id}/not-received", web.MaxBody, a.whole((*API).notReceived, deliveryVersion), scopePermits, scopeClerk)
	handle("POST /v1/deliveries/{id}/not-received/close", web.MaxBody, a.whole((*API).endNotReceived, deliveryVersion), scopeClerk)
	handle("POST /v1/deliveries/{id}/declare-lost", web.MaxBody, a.whole((*API).declareLost, deliveryVersion), scopeClerk)
	handle("POST /v1/quotes", web.MaxBody, a.quote, scopeRead, scopePermits)
	// permit system: what became of everything
	handle("GET /v1/events", web.MaxBody, a.events, scopeRead)
	// clerks: an envelope that EMS has is readdressed, called back, urged or sent out again
	handle("POST /v1/deliveries/{id}/intervene", web.MaxBody, a.whole((*API).intervene, deliveryVersion), scopeClerk)
	handle("POST /v1/deliveries/{id}/interventions/{intervention}/close", web.MaxBody, a.whole((*API).closeIntervention, deliveryVersion), scopeClerk)
	// clerks: codes of EMS's that nobody knows, and what was decided about them
	handle("GET /v1/codes/unknown", web.MaxBody, a.unknownCodes, scopeRead, scopeClerk)
	handle("GET /v1/codes/decisions", web.MaxBody, a.decisions, scopeRead, scopeClerk)
	handle("POST /v1/codes/decisions", web.MaxBody, a.whole((*API).decide, nil), scopeClerk)
	// clerks: how well it went, and what has stood still for how long
	handle("GET /v1/statistics", web.MaxBody, a.statistics, scopeRead, scopeClerk)
	handle("GET /v1/statistics/ageing", web.MaxBody, a.ageing, scopeRead, scopeClerk)
	// an administrator in a dispute: what EMS answered, word for word
	handle("GET /v1/deliveries/{id}/answers", web.MaxBody, a.answers, scopeAdmin)
	// an administrator: who is told of events, and what is told again
	handle("GET /v1/webhooks", web.MaxBody, a.webhooks, scopeRead, scopeAdmin)
	handle("POST /v1/webhooks", web.MaxBody, a.createWebhook, scopeAdmin)
	handle("GET /v1/webhooks/{id}", web.MaxBody, a.showWebhook, scopeRead, scopeAdmin)
	handle("PATCH /v1/webhooks/{id}", web.MaxBody, a.changeWebhook, scopeAdmin)
	handle("DELETE /v1/webhooks/{id}", web.MaxBody, a.deleteWebhook, scopeAdmin)
	handle("POST /v1/webhooks/{id}/enable", web.MaxBody, a.whole((*API).enableWebhook, nil), scopeAdmin)
	handle("POST /v1/webhooks/{id}/rotate-secret", web.MaxBody, a.rotateWebhook, scopeAdmin)
	handle("POST /v1/webhooks/{id}/test", web.MaxBody, a.whole((*API).testWebhook, nil), scopeAdmin)
	handle("POST /v1/webhooks/{id}/replay", web.MaxBody, a.whole((*API).replayWebhook, nil), scopeAdmin)
	handle("GET /v1/webhooks/{id}/attempts", web.MaxBody, a.webhookAttempts, scopeRead, scopeAdmin)
	handle("GET /v1/cases", web.MaxBody, a.cases, scopeRead, scopeClerk)
	handle("GET /v1/cases/{id}", web.MaxBody, a.showCase, scopeRead, scopeClerk)
	handle("POST /v1/cases/{id}/close", web.MaxBody, a.whole((*API).closeCase, caseVersion), scopeClerk)
	// clerks: whom a message did not reach, what came of calling, and who wants no messages
	handle("GET /v1/calls", web.MaxBody, a.callList, scopeRead, scopeClerk)
	handle("GET /v1/calls/{id}", web.MaxBody, a.showCall, scopeRead, scopeClerk)
	handle("POST /v1/calls/{id}/called", web.MaxBody, a.whole((*API).called, callVersion), scopeClerk)
	handle("POST /v1/deliveries/{id}/wrong-person", web.MaxBody, a.whole((*API).wrongPerson, deliveryVersion), scopeClerk)
	handle("GET /v1/do-not-send", web.MaxBody, a.stopped, scopeRead, scopeClerk)
	handle("POST /v1/do-not-send", web.MaxBody, a.whole((*API).stop, nil), scopeClerk)
	handle("POST /v1/do-not-send/lift", web.MaxBody, a.whole((*API).lift, nil), scopeClerk)
	a.mux.Handle("/v1/", a.guard(func(w http.ResponseWriter, r *http.Request, _ courier.Token) error {
		return web.NewProblem(http.StatusNotFound, "no_such_call", "没有这个接口，请核对地址和方法")
	}, nil))
	return a
}

// A handler answers one call of an authenticated token; its error becomes a problem.
type handler func(w http.ResponseWriter, r *http.Request, t courier.Token) error

// guard lets a call through when its token is valid and has one of the scopes; admin may do everything.
func (a *API) guard(h handler, scopes []string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'") // for who opens an address in a browser
		t, err := a.authenticate(r, scopes)
		if err == nil {
			err = a.limit.allow(w, t)
		}
		if err == nil {
			err = readable(r)
		}
		if err == nil {
			err = h(w, r, t)
		}
		if err != nil {
			if p := web.Describe(err); p.Status == http.StatusUnauthorized {
				w.Header().Set("WWW-Authenticate", `Bearer realm="emsd"`)
			}
			web.WriteProblem(w, r, a.log, err)
		}
	})
}

func (a *API) authenticate(r *http.Request, scopes []string) (courier.Token, error) {
	unauthorized := web.NewProblem(http.StatusUnauthorized, "unauthorized", "令牌缺失、无效或已过期，请检查 Authorization: Bearer")
	secret, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return courier.Token{}, unauthorized
	}
	t, err := a.service.Authenticate(r.Context(), strings.TrimSpace(secret))
	if err == courier.ErrNotFound {
		return t, unauthorized
	}
	if err != nil {
		return t, err
	}
	if len(scopes) > 0 && !slices.Contains(t.Scopes, scopeAdmin) && !slices.ContainsFunc(scopes, func(s string) bool { return slices.Contains(t.Scopes, s) }) {
		return t, web.NewProblem(http.StatusForbidden, "scope_missing", "令牌没有此操作的权限，需要其中之一："+strings.Join(scopes, "、"))
	}
	return t, nil
}

// mayUnmask says whether a token that reads sees names, phones and addresses in clear. Answers to a POST are masked for
// everybody: they are stored under their Idempotency-Key, and who posted knows what it says.
func mayUnmask(t courier.Token) bool {
	return slices.Contains(t.Scopes, scopeClerk) || slices.Contains(t.Scopes, scopeAdmin)
}

func pathID(r *http.Request) (uuid.UUID, error) {
	id, err := uuid.Parse(r.PathValue("id"))
	if err != nil {
		return id, courier.ErrNotFound // an id that cannot be is one that is not there
	}
	return id, nil
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
