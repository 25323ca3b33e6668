// Package smssim stands in for the SMS gateways of sms-gateways.md: Aliyun, Tencent and 云MAS. It verifies signatures over
// what arrives, keeps limits, tells later what became of a message, sends receipts, and misbehaves on
// request. Its ledger says which messages it took, whatever the sender believes.
//
// It sends nothing to anybody, and it shares no code with the clients: the two agree through the dossier's vectors.
package smssim

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults of an account that needs no configuration.
const (
	SampleAccessKeyID     = "LTAI5tFakeKeyForTests01"
	SampleAccessKeySecret = "FakeAccessKeySecretForTestsOnly01"
	SampleSignName        = "某某市政务服务"
)

// PrefixAliyun is where the Aliyun gateway is mounted; the vendor itself has it at the root of a host.
const PrefixAliyun = "/aliyun/"

// Config sets the accounts, the clocks and what goes wrong by itself. What has no gateway's name is Aliyun's alone, or
// common to all. The zero value is a usable gateway.
type Config struct {
	AccessKeyID     string // SampleAccessKeyID
	AccessKeySecret string // SampleAccessKeySecret
	SignName        string // SampleSignName

	// Templates lists the variables that each approved template needs. With none, every template is known and needs nothing.
	Templates map[string][]string

	Registry Registry // what is approved from the start

	Tencent Tencent
	MAS     MAS

	Now  func() time.Time // simulated clock of messages, limits and receipts; time.Now
	Wall func() time.Time // real clock, for signatures: dates and nonces; time.Now
	Seed uint64           // fixes delays and which messages a share hits

	MinuteLimit int           // per template and number in a minute of the clock; none
	HourlyLimit int           // per template and number in an hour of the clock; none
	DailyLimit  int           // per template and number in 24 hours; 50
	QueryLag    time.Duration // simulated time until QuerySendDetails shows a message
	Latency     time.Duration // real time that every call takes
	Hang        time.Duration // real time that a hung call is held; 30 s

	ReceiptTo     string  // address for SmsReport; empty: no receipts are pushed
	Undelivered   float64 // share of messages that the carrier reports as failed
	LateReceipts  float64 // share of receipts that come hours later
	TwiceReceipts float64 // share of receipts that come twice
	LostReceipts  float64 // share of receipts that never come; QuerySendDetails knows all the same
	ReceiptQueue  int     // most receipts waiting; new ones are lost beyond it; 10,000
}

// Message is one SMS that the gateway accepted, also where the sender never learnt of it.
type Message struct {
	Gateway   string            `json:"gateway"`
	Phone     string            `json:"phone"`
	Template  string            `json:"template"`
	Params    map[string]string `json:"params"`
	OutID     string            `json:"out_id"`
	At        time.Time         `json:"at"`
	Delivered bool              `json:"delivered"`
}

// message is a Message with what the simulator knows of its fate.
type message struct {
	Message
	bizID   string
	content string
	settled time.Time // when the carrier reports
	errCode string    // DELIVERED, or why not
	pulled  bool      // its report was fetched
}

func (m *message) delivered(now time.Time) bool {
	return m.errCode == codeDelivered && !m.settled.After(now)
}

// Gateway simulates the SMS gateways. It is safe for concurrent use.
type Gateway struct {
	cfg    Config
	faults faults

	mu       sync.Mutex
	messages []*message
	byPhone  map[string][]*message
	nonces   nonces
	receipts []*receipt
	early    []chan struct{} // closed once a receipt that precedes an answer was pushed
	accepted uint64          // calls of SendSms that succeeded
	registry Registry

	held     map[string][]heldReply // by gateway
	sequence atomic.Uint64          // of replies
}

// New returns a gateway that has taken no message yet.
func New(cfg Config) *Gateway {
	text := func(s *string, fallback string) {
		if *s == "" {
			*s = fallback
		}
	}
	text(&cfg.AccessKeyID, SampleAccessKeyID)
	text(&cfg.AccessKeySecret, SampleAccessKeySecret)
	text(&cfg.SignName, SampleSignName)
	cfg.Tencent.defaults()
	cfg.MAS.defaults()
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Wall == nil {
		cfg.Wall = time.Now
	}
	if cfg.DailyLimit == 0 {
		cfg.DailyLimit = 50
	}
	if cfg.Hang == 0 {
		cfg.Hang = 30 * time.Second
	}
	if cfg.ReceiptQueue == 0 {
		cfg.ReceiptQueue = 10_000
	}
	return &Gateway{cfg: cfg, registry: cfg.Registry, faults: newFaults(cfg.Seed), byPhone: map[string][]*message{}, held: map[string][]heldReply{}, nonces: nonces{seen: map[string]time.Time{}}}
}

// ServeHTTP answers under the prefixes of the gateways.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	under := func(prefix string) bool { return r.URL.Path+"/" == prefix || strings.HasPrefix(r.URL.Path, prefix) }
	switch {
	case under(PrefixAliyun):
		g.serveAliyun(w, r)
	case under(PrefixTencent):
		g.serveTencent(w, r)
	case under(PrefixMAS):
		g.serveMAS(w, r)
	default:
		http.NotFound(w, r)
	}
}

// Messages lists what was accepted, oldest first.
func (g *Gateway) Messages() []Message {
	now := g.cfg.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	out := make([]Message, 0, len(g.messages))
	for _, m := range g.messages {
		one := m.Message
		one.Delivered = m.delivered(now)
		out = append(out, one)
	}
	return out
}
