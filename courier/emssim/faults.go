package emssim

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// FaultKind names a way to misbehave.
type FaultKind string

// What each kind does. Those marked (done) carry the call out before they spoil the answer; the others do not, unless
// Fault.Carried is set.
const (
	LoseReply        FaultKind = "lose_reply"        // (done) the connection closes without an answer
	LoseRequest      FaultKind = "lose_request"      // the connection closes before anything is done
	Refuse           FaultKind = "refuse"            // B00001
	Error200         FaultKind = "error_200"         // HTTP 200 with S00001
	HTTP502          FaultKind = "http_502"          // HTTP 502 with a page of HTML
	HTML             FaultKind = "html"              // HTTP 200 with a page of HTML
	Empty            FaultKind = "empty"             // (done) HTTP 200 without a body
	Truncate         FaultKind = "truncate"          // (done) the first half of the answer, well-formed as HTTP
	Slow             FaultKind = "slow"              // (done) the whole answer after Fault.Delay, 2 s if unset
	Drip             FaultKind = "drip"              // (done) the answer in crumbs that take Fault.Delay, 10 s if unset
	Hang             FaultKind = "hang"              // no answer until the client gives up
	Redirect307      FaultKind = "redirect_307"      // 307 to the same address; a client that follows sends its order twice
	DuplicateWaybill FaultKind = "duplicate_waybill" // (done) 020003 makes a second, charged order and answers with its number
	OtherWaybill     FaultKind = "other_waybill"     // (done) 020003 and 040001 answer about a number that nobody asked for
	WrongEcho        FaultKind = "wrong_echo"        // (done) 020003 echoes another order number, 040001 another waybill
	Stale            FaultKind = "stale"             // (done) 040001 answers without the latest scans; any other API: timeStamp已过期, nothing done
)

var faultKinds = []FaultKind{LoseReply, LoseRequest, Refuse, Error200, HTTP502, HTML, Empty, Truncate, Slow, Drip, Hang,
	Redirect307, DuplicateWaybill, OtherWaybill, WrongEcho, Stale}

// Fault is a standing order to misbehave.
type Fault struct {
	API     string        // apiCode; empty: every API
	Kind    FaultKind     // what to do
	Rate    float64       // share of calls that it hits; 0 means all
	Count   int           // ends after so many hits; 0: never
	Delay   time.Duration // real time, for Slow and Drip
	Carried bool          // carry the call out first, also for the kinds that would not
	For     time.Duration // simulated time after which it ends, for the other simulators; 0: never
}

// UnmarshalJSON reads the form of contract.md, with the durations as "3s".
func (f *Fault) UnmarshalJSON(b []byte) error {
	var in struct {
		API     string    `json:"api"`
		Kind    FaultKind `json:"kind"`
		Rate    float64   `json:"rate"`
		Count   int       `json:"count"`
		Delay   string    `json:"delay"`
		Carried bool      `json:"carried"`
		For     string    `json:"for"`
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&in); err != nil {
		return err
	}
	*f = Fault{API: in.API, Kind: in.Kind, Rate: in.Rate, Count: in.Count, Carried: in.Carried}
	for _, d := range []struct {
		text string
		into *time.Duration
	}{{in.Delay, &f.Delay}, {in.For, &f.For}} {
		if d.text == "" {
			continue
		}
		parsed, err := time.ParseDuration(d.text)
		if err != nil {
			return err
		}
		*d.into = parsed
	}
	return nil
}

// check reports what is wrong with a fault that names an EMS interface.
func (f Fault) check() error {
	if !slices.Contains(faultKinds, f.Kind) {
		return fmt.Errorf("unknown kind %q", f.Kind)
	}
	if _, known := apis[f.API]; f.API != "" && !known {
		return fmt.Errorf("unknown api %q", f.API)
	}
	if f.For != 0 {
		return fmt.Errorf("for is known to the SMS gateways only; use count, or DELETE")
	}
	if f.Rate < 0 || f.Rate > 1 || f.Count < 0 || f.Delay < 0 {
		return fmt.Errorf("rate is from 0 to 1, count and delay are not negative")
	}
	return nil
}

// carried reports whether the call is done in spite of the fault.
func (f Fault) carried(api string) bool {
	switch f.Kind {
	case "", LoseReply, Empty, Truncate, Slow, Drip, DuplicateWaybill, OtherWaybill, WrongEcho:
		return true
	case Stale:
		return api == "040001" || f.Carried
	}
	return f.Carried
}

// faults holds what is to go wrong: one-shots first, then standing ones in the order they were set.
type faults struct {
	mu       *sync.Mutex
	rng      *rand.Rand
	next     []FaultKind
	standing []Fault
	hits     map[FaultKind]int
}

func newFaults(seed uint64) faults {
	return faults{mu: &sync.Mutex{}, rng: rand.New(rand.NewPCG(seed, 0x0fa1)), hits: map[FaultKind]int{}}
}

func (f *faults) pick(api string) Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	picked := f.choose(api)
	if picked.Kind != "" {
		f.hits[picked.Kind]++
	}
	return picked
}

// choose finds the fault of a call. The caller holds mu.
func (f *faults) choose(api string) Fault {
	if len(f.next) > 0 {
		kind := f.next[0]
		f.next = f.next[1:]
		return Fault{Kind: kind}
	}
	for i, s := range f.standing {
		if s.API != "" && s.API != api {
			continue
		}
		if s.Rate > 0 && f.rng.Float64() >= s.Rate {
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

// counts are the calls that each kind has hit.
func (f *faults) counts() map[FaultKind]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.hits)
}

// Next makes the next call, of any API, go wrong in this way. Several are used up in the order they were given.
func (c *Carrier) Next(k FaultKind) {
	c.faults.mu.Lock()
	defer c.faults.mu.Unlock()
	c.faults.next = append(c.faults.next, k)
}

// SetFault adds a standing fault; of several that fit a call, the first that its rate lets through is used.
func (c *Carrier) SetFault(f Fault) {
	c.faults.mu.Lock()
	defer c.faults.mu.Unlock()
	c.faults.standing = append(c.faults.standing, f)
}

// ClearFaults ends all faults, one-shots too.
func (c *Carrier) ClearFaults() {
	c.faults.mu.Lock()
	defer c.faults.mu.Unlock()
	c.faults.next, c.faults.standing = nil, nil
}

const (
	page502 = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
	pageOdd = "<!DOCTYPE html><html><head><meta charset=\"utf-8\"><title>系统维护</title></head><body>系统升级维护中，请稍后再试。</body></html>"
)

// misbehave carries the call out, or not, and answers as the fault says.
func (c *Carrier) misbehave(w http.ResponseWriter, r *http.Request, api string, f Fault, do func() answer) {
	var a answer
	if f.carried(api) {
		a = do()
	}
	reply := func() []byte { return envelope(a, c.cfg.Now()) }
	switch f.Kind {
	case LoseReply, LoseRequest:
		panic(http.ErrAbortHandler)
	case Hang:
		pause(r.Context(), c.cfg.Hang)
		panic(http.ErrAbortHandler)
	case Refuse:
		a = refuse("模拟拒绝")
	case Error200:
		a = answer{codeSystem, "系统级错误", ""}
	case Stale:
		if a.code == "" {
			a = refuse("timeStamp已过期")
		}
	case HTTP502:
		writeBody(w, http.StatusBadGateway, "text/html", []byte(page502))
		return
	case HTML:
		writeBody(w, http.StatusOK, "text/html; charset=utf-8", []byte(pageOdd))
		return
	case Empty:
		writeBody(w, http.StatusOK, jsonType, nil)
		return
	case Truncate:
		b := reply()
		writeBody(w, http.StatusOK, jsonType, b[:len(b)/2])
		return
	case Redirect307:
		http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
		return
	case Slow:
		pause(r.Context(), orElse(f.Delay, 2*time.Second))
	case Drip:
		drip(w, r, reply(), orElse(f.Delay, 10*time.Second))
		return
	}
	writeBody(w, http.StatusOK, jsonType, reply())
}

const jsonType = "application/json;charset=UTF-8"

func writeBody(w http.ResponseWriter, status int, kind string, body []byte) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body) // a client that has gone needs no answer
}

// drip sends the answer in twenty crumbs spread over the given time.
func drip(w http.ResponseWriter, r *http.Request, body []byte, over time.Duration) {
	const crumbs = 20
	w.Header().Set("Content-Type", jsonType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	flush := http.NewResponseController(w)
	for i := range crumbs {
		w.Write(body[len(body)*i/crumbs : len(body)*(i+1)/crumbs])
		flush.Flush() // an unflushable writer sends all at the end, which is late enough
		if !pause(r.Context(), over/crumbs) {
			return
		}
	}
}

// pause waits for real time, or until the client has gone; it reports whether the client still waits.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func orElse(d, fallback time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return fallback
}
