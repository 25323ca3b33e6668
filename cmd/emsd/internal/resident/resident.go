// Package resident is all that faces outward: residents' pages, what EMS pushes, and receipts and replies from the SMS
// gateways. Everything that
// arrives here may be forged: a push is a hint that a waybill is worth asking about, a receipt counts only when it
// comes to the secret address and is about an attempt of ours.
package resident

import (
	"context"
	"crypto/subtle"
	"io"
	"log/slog"
	"net/http"
	"time"

	"emsd/cmd/emsd/internal/web"
	"emsd/courier"
	"emsd/courier/ems"
	"emsd/notify"
)

// maxPush and maxReceipts bound what is read of one request.
const (
	maxPush     = 64 << 10
	maxReceipts = 1 << 20
)

// Config holds the two secrets of this face.
type Config struct {
	EMSSecret     string // under which EMS encrypts pushes
	ReceiptSecret string // last part of the receipts' address; empty: no receipts are taken
}

// Hints takes the news that there is news about a waybill.
type Hints interface {
	Receive(ctx context.Context, waybillNo string, now time.Time) error
}

// Receipts stores receipts as they came.
type Receipts interface {
	Append(ctx context.Context, gateway string, receipts []notify.Receipt) error
}

// Replies stores what residents answered as it came.
type Replies interface {
	Append(ctx context.Context, gateway string, replies []notify.Reply) error
}

// A ReceiptForm is how one gateway posts receipts and replies, and the answer that it wants to hear.
type ReceiptForm struct {
	Parse        func(body []byte) ([]notify.Receipt, error)
	ParseReplies func(body []byte) ([]notify.Reply, error)
	Answer       string
}

type face struct {
	cfg      Config
	hints    Hints
	receipts Receipts
	replies  Replies
	forms    map[string]ReceiptForm
	clock    courier.Clock
	log      *slog.Logger

	unstored, misunderstood *rationed
}

// New returns the handler of the public listener.
func New(cfg Config, pages *Pages, hints Hints, receipts Receipts, replies Replies, forms map[string]ReceiptForm, clock courier.Clock, log *slog.Logger) http.Handler {
	f := &face{cfg, hints, receipts, replies, forms, clock, log, newRationed(log), newRationed(log)}
	mux := http.NewServeMux()
	// EMS: 040002, one scan
	mux.Handle("POST /ems/push", web.LimitBody(maxPush, http.HandlerFunc(f.push)))
	// SMS gateway: delivery receipts, and its probe of the address
	mux.Handle("POST /sms/{gateway}/receipts/{secret}", web.LimitBody(maxReceipts, http.HandlerFunc(f.receipt)))
	mux.HandleFunc("GET /sms/{gateway}/receipts/{secret}", f.probe)
	// SMS gateway: what residents answered, under the same secret
	mux.Handle("POST /sms/{gateway}/replies/{secret}", web.LimitBody(maxReceipts, http.HandlerFunc(f.reply)))
	mux.HandleFunc("GET /sms/{gateway}/replies/{secret}", f.probe)
	if pages != nil {
		pages.register(mux)
	}
	return mux
}

// push answers as the dossier's section 5 says: 00000 only when the hint is stored, for EMS repeats what is not.
func (f *face) push(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		f.answerPush(w, ems.Push{}, false)
		return
	}
	p, err := ems.DecodePush(f.cfg.EMSSecret, body)
	if err != nil {
		f.misunderstood.say(slog.LevelWarn, "push not understood", "error", err)
		f.answerPush(w, p, false)
		return
	}
	if err := f.hints.Receive(r.Context(), p.WaybillNo, f.clock.Now()); err != nil {
		f.unstored.say(slog.LevelError, "push not stored", "error", err)
		f.answerPush(w, p, false)
		return
	}
	f.answerPush(w, p, true)
}

func (f *face) answerPush(w http.ResponseWriter, p ems.Push, ok bool) {
	w.Header().Set("Content-Type", "application/json")
	w.Write(ems.PushReply(p.SerialNo, p.SenderNo, ok))
}

// receipt stores and answers; what the receipts mean is worked out later, for the gateway waits 700 ms at most.
func (f *face) receipt(w http.ResponseWriter, r *http.Request) {
	take(f, w, r, "receipts", func(form ReceiptForm) func([]byte) ([]notify.Receipt, error) { return form.Parse }, f.receipts.Append)
}

// reply does the same with what residents answered.
func (f *face) reply(w http.ResponseWriter, r *http.Request) {
	take(f, w, r, "replies", func(form ReceiptForm) func([]byte) ([]notify.Reply, error) { return form.ParseReplies }, f.replies.Append)
}

// take reads, stores and answers one push of what is called what. The parser's error quotes nothing of the body.
func take[T any](f *face, w http.ResponseWriter, r *http.Request, what string, parser func(ReceiptForm) func([]byte) ([]T, error),
	store func(context.Context, string, []T) error) {
	form, known := f.known(r)
	if !known {
		http.NotFound(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, "too large", http.StatusRequestEntityTooLarge)
		return
	}
	list, err := parser(form)(body)
	if err != nil {
		f.misunderstood.say(slog.LevelWarn, what+" not understood", "gateway", r.PathValue("gateway"), "error", err)
		http.Error(w, "not understood", http.StatusBadRequest)
		return
	}
	if err := store(r.Context(), r.PathValue("gateway"), list); err != nil {
		f.unstored.say(slog.LevelError, what+" not stored", "gateway", r.PathValue("gateway"), "error", err)
		http.Error(w, "try again", http.StatusServiceUnavailable)
		return
	}
	taken(w, form)
}

// probe answers the console of the gateway, which asks whether the address works.
func (f *face) probe(w http.ResponseWriter, r *http.Request) {
	form, known := f.known(r)
	if !known {
		http.NotFound(w, r)
		return
	}
	taken(w, form)
}

func taken(w http.ResponseWriter, form ReceiptForm) {
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, form.Answer)
}

// known returns the gateway's form when the address is the secret one; otherwise it does not tell which part is wrong.
func (f *face) known(r *http.Request) (ReceiptForm, bool) {
	want, got := f.cfg.ReceiptSecret, r.PathValue("secret")
	if want == "" || subtle.ConstantTimeCompare([]byte(want), []byte(got)) != 1 {
		return ReceiptForm{}, false
	}
	form, known := f.forms[r.PathValue("gateway")]
	return form, known
}
