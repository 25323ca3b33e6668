// Package post makes the HTTP request of an SMS gateway's client: once, never repeated or redirected, and with a failure
// classed by whether a byte of it can have left this machine (dossier E.2, E.4). It knows no vendor's wire form.
package post

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"emsd/courier"
	"emsd/notify"

	"github.com/go-resty/resty/v2"
)

// Headers of every request, shared by all: neither resty nor net/http changes a value.
var userAgent, accept = []string{"emsd"}, []string{"application/json"}

// maxAnswer is more than any gateway has to say.
const maxAnswer = 1 << 20

// Config says how a gateway is reached. Zero values take the default given here.
type Config struct {
	CAFile      string        // a further root certificate; certificate checks are never off
	Timeout     time.Duration // of one request; a shorter one manufactures unknowns; 10 s
	DialTimeout time.Duration // 3 s
	Concurrency int           // idle connections kept; 64
}

// A Client posts to one gateway. It may be used by any number of goroutines.
type Client struct {
	http    *resty.Client
	timeout time.Duration
}

// New makes a client; it connects to nothing yet.
func New(cfg Config) (*Client, error) {
	conf, err := tlsConfig(cfg.CAFile)
	if err != nil {
		return nil, err
	}
	dial := cmp.Or(cfg.DialTimeout, 3*time.Second)
	idle := cmp.Or(cfg.Concurrency, 64)
	// HTTP/1.1 only and no proxy from the environment, as for EMS: what is repeated, and by whom data passes, is
	// decided here.
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	transport := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: dial, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:     conf,
		TLSHandshakeTimeout: dial,
		Protocols:           &protocols,
		MaxIdleConns:        idle,
		MaxIdleConnsPerHost: idle,
		IdleConnTimeout:     30 * time.Second, // shorter than servers': a request on a connection just closed is unknown
		DisableCompression:  true,
	}
	// RetryCount stays 0 and no redirect is followed: resty would post the body again (E.4).
	return &Client{timeout: cmp.Or(cfg.Timeout, 10*time.Second), http: resty.NewWithClient(&http.Client{Transport: transport}).
		SetLogger(silent{}).
		SetRedirectPolicy(resty.NoRedirectPolicy()).
		SetDoNotParseResponse(true)}, nil
}

// Timeout is how long a request lasts at most.
func (c *Client) Timeout() time.Duration { return c.timeout }

// Close closes the connections that are idle.
func (c *Client) Close() { c.http.GetClient().CloseIdleConnections() }

// An Answer is whatever came back, of any status.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Unreadable is the error for an answer that is not of the gateway's form: the message may have been taken.
func (a Answer) Unreadable() *notify.SendError {
	return &notify.SendError{Class: notify.Unknown, Code: fmt.Sprintf("http_%d", a.Status), Message: "the answer cannot be read"}
}

// Post sends body, exactly these bytes, with headers, which name the content type and are its own from now on; a nil body is
// none. Its error is a
// *notify.SendError of class Unsent or Unknown, without anything of the address or the body.
func (c *Client) Post(ctx context.Context, address string, headers http.Header, body []byte) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	// A connection obtained means that bytes may have left. net/http asks for another one only when surely nothing was
	// written to the first, so a new GetConn clears the mark.
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { connected.Store(false) },
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	})
	headers["User-Agent"], headers["Accept"] = userAgent, accept
	req := c.http.R().SetContext(ctx)
	req.Header = headers
	if trace := courier.TraceOf(ctx); trace != "" {
		req.SetHeader("traceparent", trace)
	}
	if body != nil {
		req.SetBody(body)
	}
	resp, err := req.Post(address)
	var answer Answer
	if err == nil {
		answer, err = read(resp.RawResponse)
	}
	if err != nil {
		class := notify.Unknown
		if !connected.Load() {
			class = notify.Unsent
		}
		return Answer{}, &notify.SendError{Class: class, Code: "transport", Message: withoutURL(err)}
	}
	return answer, nil
}

// read takes an answer in, whose length is known as a rule.
func read(r *http.Response) (Answer, error) {
	defer r.Body.Close()
	if 0 <= r.ContentLength && r.ContentLength <= maxAnswer {
		body := make([]byte, r.ContentLength)
		_, err := io.ReadFull(r.Body, body)
		return Answer{r.StatusCode, r.Header, body}, err
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxAnswer+1))
	if err == nil && len(body) > maxAnswer {
		err = errors.New("the answer is longer than any gateway's")
	}
	return Answer{r.StatusCode, r.Header, body}, err
}

// withoutURL tells what went wrong on the way. A url.Error quotes the address, which may hold parameters.
func withoutURL(err error) string {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "cancelled"
	case errors.Is(err, resty.ErrAutoRedirectDisabled):
		return "a redirect was refused"
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	return Scrub(err.Error())
}

var digits = regexp.MustCompile(`[0-9]{5,}`)

// Scrub makes a foreign text fit for a log: gateways quote what they were given, so long numbers go and the rest is cut.
func Scrub(text string) string {
	text = digits.ReplaceAllString(strings.ToValidUTF8(text, "?"), "…")
	if runes := []rune(text); len(runes) > 120 {
		text = string(runes[:120])
	}
	return text
}

// WrongURL says what is wrong with a gateway's address, in words that follow the setting's name; empty when nothing is.
// Plain http leads to this machine only, where the simulator is, unless the gateway has nothing better (plain).
func WrongURL(text string, plain bool) string {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "":
		return "an address is wanted"
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "an address without sign-in, query and fragment is wanted"
	case u.Scheme == "https":
		return ""
	case u.Scheme == "http" && (plain || isLoopback(u.Hostname())):
		return ""
	case plain:
		return "an https or http address is wanted"
	}
	return "an https address is wanted; http only on the loopback"
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

func tlsConfig(caFile string) (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile == "" {
		return conf, nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("read the root certificate: %w", err)
	}
	if conf.RootCAs, err = x509.SystemCertPool(); err != nil {
		conf.RootCAs = x509.NewCertPool()
	}
	if !conf.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read the root certificate: %s holds no PEM certificate", caFile)
	}
	return conf, nil
}

// silent is resty's logger: it quotes errors as they are.
type silent struct{}

func (silent) Errorf(string, ...any) {}
func (silent) Warnf(string, ...any)  {}
func (silent) Debugf(string, ...any) {}
