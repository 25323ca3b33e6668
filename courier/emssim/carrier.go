// Package emssim is an EMS that stands in for the real one: it speaks the wire form of the agreement-customer platform
// (dossier sections 1 to 8), refuses what the real one refuses, moves envelopes along realistic routes on a simulated
// clock, and misbehaves on request. It keeps a ledger of what it did, so that a test can ask how often EMS was really
// made to charge, whatever its client believes.
//
// It is not a client, a model of EMS's internals or a source of truth about undocumented behaviour: what nobody outside
// EMS knows (dossier section 12) is a setting in Config. It shares no code with the clients on purpose; the two sides
// agree through the dossier's vectors only.
package emssim

import (
	"net/http"
	"strings"
	"sync"
	"time"
)

// Published sample account: the secret stands in the platform's own documentation, the rest is invented.
const (
	SampleSecret        = "TvaBgrhE46sft3nZlfe7xw=="
	SampleSenderNo      = "1100000000000"
	SampleAuthorization = "SIMAUTHORIZATION"
)

// Paths of the two environments; one account serves both.
const (
	PathOpen = "/amp-prod-api/f/amp/api/open"
	PathTest = "/amp-prod-api/f/amp/api/test"
)

// RepeatBehaviour says what 020003 answers for an order number it already holds; nobody outside EMS knows (dossier section 3).
type RepeatBehaviour string

// The three behaviours that are possible.
const (
	RepeatSame   RepeatBehaviour = "same"   // the first waybill again, nothing charged
	RepeatNew    RepeatBehaviour = "new"    // a second waybill, charged, even when the call names the first one's number
	RepeatRefuse RepeatBehaviour = "refuse" // B00001
)

// UsedNumberBehaviour says what 020003 answers when it names a number that another order uses.
type UsedNumberBehaviour string

// A cancelled order goes on using its number.
const (
	UsedRefuse UsedNumberBehaviour = "refuse"
	UsedAccept UsedNumberBehaviour = "accept"
)

// Config sets the account and every behaviour that the dossier's section 12 leaves open. The zero value is a usable
// EMS on the real clock with the suggested defaults.
type Config struct {
	Secret        string // base64 of 16 bytes; SampleSecret
	SenderNo      string // SampleSenderNo
	Authorization string // SampleAuthorization

	Now  func() time.Time // simulated clock of orders, traces and pushes; time.Now
	Seed uint64           // fixes outcomes, routes and which calls a rate hits

	FirstSerial uint32 // first serial of a waybill number; 1. A restarted simulator must not hand out old numbers again.

	Repeat            RepeatBehaviour     // RepeatSame
	UsedNumber        UsedNumberBehaviour // UsedRefuse
	AcceptUnreserved  bool                // 020003 may name a number that 020002 never gave out
	CancelAccepted    bool                // 020006 works after acceptance
	RefuseCancelTwice bool                // 020006 for a cancelled order is B00001 instead of 00000
	CancelUnknown     bool                // 020006 for an unknown order is 00000 instead of B00001
	SignatureCode     string              // retCode of signature and authorization faults; B00001
	MalformedCode     string              // retCode of 非法报文 and unreadable JSON; B00001
	StaleAfter        time.Duration       // refuse a timeStamp further than this from Now; 0: not checked
	LabelDelay        time.Duration       // simulated time until 010004 holds a new order
	PickUpDelay       time.Duration       // simulated time that an order waits for its courier, before the way of any journey begins
	Unreachable       []string            // 收寄管控不可达 for a receiver whose 省市区 text begins so

	Latency time.Duration // real time that every call takes
	Hang    time.Duration // real time that a hung call is held; 30 s

	// Scans that misbehave, as shares of all scans of generated journeys.
	LateScans   float64 // appear one to five hours after the time they carry
	RepeatScans float64 // stand in the trace a second time with other wording

	OddTraces float64 // share of items whose traces are written in another way that says the same: see odd

	PushTo             string // address for 040002; empty: no pushes
	PushSecretAppended bool   // append the secret to a push's plaintext, as requests do
	PushTries          int    // 3
	PushRetryEvery     time.Duration
	PushDuplicate      float64 // share of pushes that come twice
	PushDisorder       float64 // share of pushes that come up to three hours late, so behind their successors
	PushLose           float64 // share of pushes that never come
	PushForged         float64 // share of pushes beside which another comes that was sealed under another key
	PushStrange        float64 // share of pushes beside which another comes about an item of somebody else
	PushQueue          int     // most pushes waiting or being retried; beyond it the oldest-due stay, new ones are lost; 10,000

	// Messages fills the ledger's "messages"; the process that also simulates SMS gateways sets it.
	Messages func() any
	// OtherFaults is offered each fault posted to /sim/faults; it reports whether the API was another simulator's.
	OtherFaults func(Fault) (taken bool, err error)
	// ClearOther follows a DELETE of /sim/faults.
	ClearOther func()
}

// Carrier is the simulated EMS. It is safe for concurrent use.
type Carrier struct {
	cfg    Config
	cipher *ecb
	faults faults

	mu       sync.Mutex
	orders   map[string]*order   // by waybill number
	byRef    map[string][]*order // by the customer's order number, oldest first
	sequence []*order            // in the order of acceptance
	reserved map[string]string   // number from 020002 → product, in 020003's numbering
	serial   uint32
	calls    map[string]int
	refused  map[string]int
	repeat   RepeatBehaviour
	pushes   pushQueue
	pushed   PushCounts
}

// New returns an EMS without any order. A secret that is not base64 of 16 bytes is a mistake in the program that
// configures it, so it panics.
func New(cfg Config) *Carrier {
	cfg = withDefaults(cfg)
	c := &Carrier{
		cfg:      cfg,
		cipher:   newECB(cfg.Secret),
		faults:   newFaults(cfg.Seed),
		orders:   map[string]*order{},
		byRef:    map[string][]*order{},
		reserved: map[string]string{},
		serial:   cfg.FirstSerial,
		calls:    map[string]int{},
		refused:  map[string]int{},
		repeat:   cfg.Repeat,
	}
	c.pushes.init()
	return c
}

func withDefaults(cfg Config) Config {
	text := func(s *string, fallback string) {
		if *s == "" {
			*s = fallback
		}
	}
	text(&cfg.Secret, SampleSecret)
	text(&cfg.SenderNo, SampleSenderNo)
	text(&cfg.Authorization, SampleAuthorization)
	text(&cfg.SignatureCode, codeInterface)
	text(&cfg.MalformedCode, codeInterface)
	text((*string)(&cfg.Repeat), string(RepeatSame))
	text((*string)(&cfg.UsedNumber), string(UsedRefuse))
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.FirstSerial == 0 {
		cfg.FirstSerial = 1
	}
	if cfg.Hang == 0 {
		cfg.Hang = 30 * time.Second
	}
	if cfg.PushTries == 0 {
		cfg.PushTries = 3
	}
	if cfg.PushRetryEvery == 0 {
		cfg.PushRetryEvery = 3 * time.Minute
	}
	if cfg.PushQueue == 0 {
		cfg.PushQueue = 10_000
	}
	return cfg
}

// ServeHTTP answers the platform's two addresses and the label URLs that 010004 hands out.
func (c *Carrier) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == PathOpen || r.URL.Path == PathTest:
		c.serveCall(w, r)
	case strings.HasPrefix(r.URL.Path, labelPath):
		c.serveLabel(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (c *Carrier) serveCall(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
		return
	}
	form, err := readForm(w, r)
	pause(r.Context(), c.cfg.Latency)
	api := form.Get("apiCode")
	fault := c.faults.pick(api)
	c.misbehave(w, r, api, fault, func() answer {
		if err != nil {
			return c.count(api, malformed(c.cfg))
		}
		return c.count(api, c.carryOut(r, form, fault))
	})
}

// count notes the call in the ledger; known codes only, so that nonsense cannot fill the memory.
func (c *Carrier) count(api string, a answer) answer {
	if _, known := apis[api]; !known {
		api = "other"
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if a.code == codeSuccess {
		c.calls[api]++
	} else {
		c.refused[api]++
	}
	return a
}

// SetRepeat changes what a repeated order is answered from now on.
func (c *Carrier) SetRepeat(b RepeatBehaviour) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.repeat = b
}
