package ems

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/time/rate"
)

// Config is one account at EMS. Zero values of all but the first four fields have a meaning of their own.
type Config struct {
	URL           string // whole address, …/open or …/test
	SenderNo      string // 客户代码
	Authorization string // 授权码
	Secret        string // 签名密钥, 16 bytes in base64

	Rate        float64       // calls per second of this process, retries included; default 20
	Concurrency int           // calls in flight; default 64
	Timeout     time.Duration // of one attempt, without the wait for its turn; default 15 s
	CAFile      string        // a further root certificate; certificate checks are never off

	// Product is bizProductNo of 020003; default "1", 特快专递. CollectProduct is that of orders whose recipient pays;
	// default Product, with paymentMode 2: 020003 has a product "3" (特快到付) too, but the numbers of the pool are
	// reserved before anyone knows who pays, and belong to one product.
	Product, CollectProduct string
	// NumberProduct is bizProductNo of 020002, whose enumeration swaps 10 and 11 (§2.3); default: Product, translated.
	NumberProduct string
	LabelType     string // 129, 149 or 179 (§2.3); default 129, 76 × 129 mm

	Retries               int           // of calls that only ask; default 2, negative none
	RetryWait, RetryLimit time.Duration // first wait and longest; default 200 ms and 2 s
	BreakerPause          time.Duration // how long an open breaker lets nothing through; default 5 s

	// InterveneAPI is the code of SPEC 5.27, which no document states; empty: Intervene is refused. InterveneNames says how
	// the new address is named there: table (default) or sample, for the document contradicts itself (§2.9).
	InterveneAPI, InterveneNames string

	Now  func() time.Time // for timeStamp, sent in Beijing time; default time.Now
	Wall func() time.Time // for how long calls take; default time.Now
}

// LogValue keeps the credentials out of a log.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// String names the account without its credentials.
func (c Config) String() string { return "EMS account " + c.SenderNo + " at " + c.URL }

// GoString is String, so that %#v shows no more.
func (c Config) GoString() string { return c.String() }

// products lists bizProductNo of 020003 with its names in 020002 and 060002, whose enumerations differ (§2.1, §2.3, §2.7).
var products = map[string]struct{ number, base string }{
	"1":  {"1", "1"},
	"2":  {"2", "2"},
	"3":  {"3", "3"},
	"9":  {"9", "9"},
	"10": {"11", "10"},
	"11": {"10", "10"},
}

func (c Config) withDefaults() Config {
	if c.Rate == 0 {
		c.Rate = 20
	}
	if c.Concurrency == 0 {
		c.Concurrency = 64
	}
	if c.Timeout == 0 {
		c.Timeout = 15 * time.Second
	}
	if c.Product == "" {
		c.Product = "1"
	}
	if c.CollectProduct == "" {
		c.CollectProduct = c.Product
	}
	if c.NumberProduct == "" {
		c.NumberProduct = products[c.Product].number
	}
	if c.LabelType == "" {
		c.LabelType = "129"
	}
	if c.Retries == 0 {
		c.Retries = 2
	}
	if c.RetryWait == 0 {
		c.RetryWait = 200 * time.Millisecond
	}
	if c.RetryLimit == 0 {
		c.RetryLimit = 2 * time.Second
	}
	if c.BreakerPause == 0 {
		c.BreakerPause = 5 * time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Wall == nil {
		c.Wall = time.Now
	}
	return c
}

// check names every setting that is wrong, at once and without its value.
func (c Config) check() error {
	var errs []error
	wrong := func(setting, why string) { errs = append(errs, fmt.Errorf("%s: %s", setting, why)) }

	if why := wrongURL(c.URL); why != "" {
		wrong("EMSD_EMS_URL", why)
	}
	if !isPlain(c.SenderNo, 50) {
		wrong("EMSD_EMS_SENDER_NO", "1 to 50 plain characters are wanted")
	}
	if !isPlain(c.Authorization, 64) {
		wrong("EMSD_EMS_AUTHORIZATION", "1 to 64 plain characters are wanted")
	}
	if _, err := newSealer(c.Secret); err != nil {
		wrong("EMSD_EMS_SECRET", err.Error())
	}
	if !(c.Rate > 0) {
		wrong("EMSD_EMS_RATE", "a number above 0 is wanted")
	}
	if c.Concurrency < 1 {
		wrong("EMSD_EMS_CONCURRENCY", "a number above 0 is wanted")
	}
	if c.Timeout < 0 || c.RetryWait < 0 || c.RetryLimit < c.RetryWait || c.BreakerPause < 0 {
		wrong("ems.Config", "a time is negative, or RetryLimit is below RetryWait")
	}
	for _, p := range []string{c.Product, c.CollectProduct} {
		if _, known := products[p]; !known {
			wrong("ems.Config.Product", "1, 2, 3, 9, 10 or 11 is wanted")
			break
		}
	}
	if !isCode(c.NumberProduct, 1, 2) {
		wrong("ems.Config.NumberProduct", "a product number of 020002 is wanted")
	}
	if c.LabelType != "129" && c.LabelType != "149" && c.LabelType != "179" {
		wrong("ems.Config.LabelType", "129, 149 or 179 is wanted")
	}
	return errors.Join(errs...)
}

// wrongURL says what is wrong with an address. Plain HTTP would show the authorization code to the whole way, so it is
// for simulators on this machine only; user names and queries have no place in it and would turn up in errors.
func wrongURL(s string) string {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http"):
		return "a whole https address is wanted"
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "no user name, query or fragment may stand in it"
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return "plain http is for simulators on this machine only"
	}
	return ""
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// isCode says whether s is letters and digits, of an allowed number.
func isCode(s string, shortest, longest int) bool {
	if len(s) < shortest || len(s) > longest {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !('0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z') {
			return false
		}
	}
	return true
}

// isPlain says whether s is printable ASCII without spaces, of an allowed length.
func isPlain(s string, longest int) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return s != "" && len(s) <= longest
}

// tlsConfig checks certificates against the system's roots and one more. TLS checks cannot be turned off: with ECB and
// no integrity check under it, TLS is the only protection that the messages have.
func (c Config) tlsConfig() (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile == "" {
		return conf, nil
	}
	pem, err := os.ReadFile(c.CAFile)
	if err != nil {
		return nil, fmt.Errorf("EMSD_EMS_CA_FILE: %w", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool() // a machine without roots still has ours
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("EMSD_EMS_CA_FILE: no certificate in %s", c.CAFile)
	}
	conf.RootCAs = roots
	return conf, nil
}

// form is what stands before apiCode in every request (§1.2), escaped once.
func (c Config) form() string {
	var b strings.Builder
	b.WriteString("senderNo=" + url.QueryEscape(c.SenderNo))
	b.WriteString("&authorization=" + url.QueryEscape(c.Authorization))
	b.WriteString("&msgType=0&version=V1.0.0&apiCode=")
	return b.String()
}

// burst lets a twentieth of a second's calls go at once, so that quick rates do not depend on quick timers.
func burst(perSecond float64) int { return max(1, int(math.Min(perSecond/20, 1000))) }

func limit(perSecond float64) rate.Limit { return rate.Limit(min(perSecond, float64(rate.Inf))) }

// dialer gives up on a host that does not answer well before the attempt's own timeout.
var dialer = &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}
