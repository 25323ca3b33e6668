package smssim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// FaultKind names a way to misbehave.
type FaultKind string

// What each kind does. Those marked (done) accept the message first; the others do not, unless Fault.Carried is set.
const (
	LoseReply   FaultKind = "lose_reply"   // (done) the connection closes without an answer
	LoseRequest FaultKind = "lose_request" // the connection closes before anything is done
	HTTP502     FaultKind = "http_502"     // HTTP 502 with a page of HTML
	HTML        FaultKind = "html"         // HTTP 200 with a page of HTML
	Throttle    FaultKind = "throttle"     // Throttling.User
	NonceUsed   FaultKind = "nonce_used"   // (done) SignatureNonceUsed: a copy of this very request came first
	OutOfMoney  FaultKind = "out_of_money" // isv.AMOUNT_NOT_ENOUGH
	Reject      FaultKind = "reject"       // isv.SMS_CONTENT_ILLEGAL
	Truncate    FaultKind = "truncate"     // (done) half an answer, well-formed as HTTP
	Hang        FaultKind = "hang"         // no answer until the client gives up
	Slow        FaultKind = "slow"         // (done) the whole answer after Fault.Delay, 2 s if unset
	Down        FaultKind = "down"         // HTTP 503 to every call, of the registry too
)

// Kinds that concern the receipt of a message which the gateway takes, not the answer to a call.
const (
	ReceiptLate          FaultKind = "receipt_late"          // one to four hours late
	ReceiptTwice         FaultKind = "receipt_twice"         // once more within ten minutes
	ReceiptLost          FaultKind = "receipt_lost"          // never; a query knows all the same
	ReceiptContradictory FaultKind = "receipt_contradictory" // a second one within ten minutes says the opposite; a query agrees with the first
	ReceiptStranger      FaultKind = "receipt_stranger"      // beside its own, one for a message that this customer never sent
	ReceiptEarly         FaultKind = "receipt_early"         // before the answer to the call that sent the message
)

var (
	receiptKinds = []FaultKind{ReceiptLate, ReceiptTwice, ReceiptLost, ReceiptContradictory, ReceiptStranger, ReceiptEarly}
	faultKinds   = append([]FaultKind{LoseReply, LoseRequest, HTTP502, HTML, Throttle, NonceUsed, OutOfMoney, Reject, Truncate, Hang, Slow, Down}, receiptKinds...)
)

func (k FaultKind) ofReceipts() bool { return slices.Contains(receiptKinds, k) }

// Fault is a standing order to misbehave.
type Fault struct {
	Gateway string        // aliyun, tencent or mas; empty: all
	API     string        // a call of the gateway, such as "SendSms"; empty: all that concern messages
	Kind    FaultKind     // what to do
	Rate    float64       // share of calls that it hits; 0 means all
	Count   int           // ends after so many hits; 0: never
	Delay   time.Duration // real time, for Slow
	Carried bool          // accept the message first, also for the kinds that would not
	For     time.Duration // simulated time after which it ends; 0: never

	until time.Time
}

// Check reports what is wrong with a fault.
func (f Fault) Check() error {
	switch {
	case !slices.Contains(faultKinds, f.Kind):
		return fmt.Errorf("unknown kind %q", f.Kind)
	case f.Gateway != "" && vendors[f.Gateway] == nil:
		return fmt.Errorf("unknown gateway %q", f.Gateway)
	case f.API != "" && !f.known():
		return fmt.Errorf("unknown api %q", f.API)
	case f.API != "" && f.Kind.ofReceipts():
		return fmt.Errorf("%s concerns receipts, not the calls of an api: leave out %q", f.Kind, f.API)
	case f.Rate < 0 || f.Rate > 1 || f.Count < 0 || f.Delay < 0 || f.For < 0:
		return fmt.Errorf("rate is from 0 to 1, count, delay and for are not negative")
	}
	return nil
}

// known reports whether a gateway that the fault means has its call.
func (f Fault) known() bool {
	for name, v := range vendors {
		if (f.Gateway == "" || f.Gateway == name) && slices.Contains(v.apis, f.API) {
			return true
		}
	}
	return false
}

func (f Fault) carried() bool {
	switch f.Kind {
	case "", LoseReply, NonceUsed, Truncate, Slow:
		return true
	}
	return f.Carried
}

type faults struct {
	mu       *sync.Mutex
	rng      *rand.Rand
	next     []FaultKind
	standing []Fault
}

func newFaults(seed uint64) faults {
	return faults{mu: &sync.Mutex{}, rng: rand.New(rand.NewPCG(seed, 0x5357))}
}

// pick finds the fault of a call. A call of the registry is hit by what names it, and by a gateway that is down.
func (f *faults) pick(gateway, api string, now time.Time) Fault {
	aside := slices.Contains(registryCalls, api)
	return f.choose(now, !aside, func(s Fault) bool {
		all := s.API == "" && (!aside || s.Kind == Down)
		return !s.Kind.ofReceipts() && (s.Gateway == "" || s.Gateway == gateway) && (all || s.API != "" && s.API == api)
	})
}

// pickReceipt finds the fault of the receipt of a message just taken.
func (f *faults) pickReceipt(gateway string, now time.Time) FaultKind {
	return f.choose(now, true, func(s Fault) bool {
		return s.Kind.ofReceipts() && (s.Gateway == "" || s.Gateway == gateway)
	}).Kind
}

// choose takes a one-shot that fits, if those count, or the first standing fault that fits and that its rate lets through.
func (f *faults) choose(now time.Time, oneShots bool, fits func(Fault) bool) Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	if i := slices.IndexFunc(f.next, func(k FaultKind) bool { return fits(Fault{Kind: k}) }); oneShots && i >= 0 {
		kind := f.next[i]
		f.next = slices.Delete(f.next, i, i+1)
		return Fault{Kind: kind}
	}
	f.standing = slices.DeleteFunc(f.standing, func(s Fault) bool { return !s.until.IsZero() && !now.Before(s.until) })
	for i, s := range f.standing {
		if !fits(s) || s.Rate > 0 && f.rng.Float64() >= s.Rate {
			continue
		}
		if s.Count > 0 {
			f.standing[i].Count--
			if s.Count == 1 {
				f.standing = slices.Delete(f.standing, i, i+1)
			}
		}
		return s
	}
	return Fault{}
}

// Next makes the next call that concerns a message, or the next receipt, go wrong in this way.
func (g *Gateway) Next(k FaultKind) {
	g.faults.mu.Lock()
	defer g.faults.mu.Unlock()
	g.faults.next = append(g.faults.next, k)
}

// SetFault adds a standing fault; of several that fit a call, the first that its rate lets through is used.
func (g *Gateway) SetFault(f Fault) {
	if f.For > 0 {
		f.until = g.cfg.Now().Add(f.For)
	}
	g.faults.mu.Lock()
	defer g.faults.mu.Unlock()
	g.faults.standing = append(g.faults.standing, f)
}

// ClearFaults ends all faults, one-shots too.
func (g *Gateway) ClearFaults() {
	g.faults.mu.Lock()
	defer g.faults.mu.Unlock()
	g.faults.next, g.faults.standing = nil, nil
}

const (
	page503 = "<html>\r\n<head><title>503 Service Temporarily Unavailable</title></head>\r\n</html>\r\n"
	page502 = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n</body>\r\n</html>\r\n"
	pageOdd = "<!DOCTYPE html><html><head><title>Maintenance</title></head><body>Service is being upgraded.</body></html>"
)

// misbehave answers as the fault says, in the vendor's words; do carries the call out.
func (g *Gateway) misbehave(w http.ResponseWriter, r *http.Request, v *vendor, f Fault, do func() answer) {
	var a answer
	if f.carried() {
		a = do()
		g.awaitEarly(r.Context())
	}
	switch f.Kind {
	case LoseReply, LoseRequest:
		panic(http.ErrAbortHandler)
	case Hang:
		pause(r.Context(), g.cfg.Hang)
		panic(http.ErrAbortHandler)
	case HTTP502:
		write(w, http.StatusBadGateway, "text/html", []byte(page502))
		return
	case Down:
		write(w, http.StatusServiceUnavailable, "text/html", []byte(page503))
		return
	case HTML:
		write(w, http.StatusOK, "text/html; charset=utf-8", []byte(pageOdd))
		return
	case Throttle, NonceUsed, OutOfMoney, Reject:
		if f.Kind == Throttle && v.throttled != nil {
			v.throttled(w.Header())
		}
		a = v.refuse[f.Kind]()
	case Slow:
		if f.Delay <= 0 {
			f.Delay = 2 * time.Second
		}
		pause(r.Context(), f.Delay)
	}
	body := v.render(a, g.requestID())
	if f.Kind == Truncate {
		body = body[:len(body)/2]
	}
	write(w, a.status, "application/json;charset=utf-8", body)
}

func write(w http.ResponseWriter, status int, kind string, body []byte) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body) // a client that has gone needs no answer
}

// pause waits for real time, or until the client has gone.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
