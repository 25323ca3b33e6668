package webhook

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
	"os"
	"syscall"
	"time"

	"github.com/go-resty/resty/v2"
)

// maxAnswer is how much of an answer is read, so that the connection can be used again; only its status counts.
const maxAnswer = 16 << 10

// ClientConfig says how endpoints are reached. Zero values take the default given here.
type ClientConfig struct {
	Allow       *Allow
	CAFile      string        // a further root certificate; certificate checks are never off
	Timeout     time.Duration // of one request, its answer included; 10 s
	DialTimeout time.Duration // 3 s
	IdlePerHost int           // connections kept; 4
	Resolver    *net.Resolver // the machine's own
}

// A Client posts to endpoints: once, no redirect followed, through no proxy, and to no address but those allowed.
type Client struct {
	http  *resty.Client
	allow *Allow
}

// NewClient makes a client; it connects to nothing yet.
func NewClient(cfg ClientConfig) (*Client, error) {
	conf, err := tlsConfig(cfg.CAFile)
	if err != nil {
		return nil, err
	}
	dial := cmp.Or(cfg.DialTimeout, 3*time.Second)
	dialer := &net.Dialer{Timeout: dial, KeepAlive: 30 * time.Second, Resolver: cfg.Resolver,
		Control: func(network, address string, _ syscall.RawConn) error { return cfg.Allow.control(network, address) }}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	transport := &http.Transport{ // no Proxy: one from the environment would connect in our place, to anything
		DialContext:            dialer.DialContext,
		TLSClientConfig:        conf,
		TLSHandshakeTimeout:    dial,
		Protocols:              &protocols,
		MaxIdleConnsPerHost:    cmp.Or(cfg.IdlePerHost, 4),
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: 32 << 10,
		DisableCompression:     true,
	}
	return &Client{allow: cfg.Allow, http: resty.NewWithClient(&http.Client{Transport: transport, Timeout: cmp.Or(cfg.Timeout, 10*time.Second)}).
		SetLogger(silent{}).
		SetRedirectPolicy(resty.NoRedirectPolicy()).
		SetDoNotParseResponse(true).
		SetHeader("User-Agent", "emsd")}, nil
}

// Close closes the connections that are idle.
func (c *Client) Close() { c.http.GetClient().CloseIdleConnections() }

// A result is what came of one try.
type result struct {
	outcome    string
	status     int
	retryAfter time.Duration
	detail     string // for the subscriber's people: no address, no body
	at         time.Time
	took       time.Duration
}

// post sends body, exactly these bytes.
func (c *Client) post(ctx context.Context, url string, headers map[string]string, body []byte, wall time.Time) result {
	if err := c.allow.Check(url); err != nil { // the list may be another one than when the address was entered
		return result{outcome: outcomeForbidden, detail: err.Error()}
	}
	resp, err := c.http.R().SetContext(ctx).SetHeaders(headers).SetBody(body).Post(url)
	if resp != nil && resp.RawResponse != nil && resp.RawResponse.Body != nil {
		defer resp.RawResponse.Body.Close()
	}
	if err != nil {
		return failure(err)
	}
	// What follows the status is of no interest; an error in it changes nothing.
	io.Copy(io.Discard, io.LimitReader(resp.RawResponse.Body, maxAnswer))
	r := result{status: resp.StatusCode(), retryAfter: retryAfter(resp.Header().Get("Retry-After"), wall)}
	switch {
	case r.status >= 200 && r.status < 300:
		r.outcome, r.retryAfter = outcomeDelivered, 0
	case r.status == http.StatusGone:
		r.outcome = outcomeGone
	case r.status >= 300 && r.status < 400:
		r.outcome = outcomeRedirect
	default:
		r.outcome = outcomeRefused
	}
	return r
}

// failure classes an error without an answer. A url.Error quotes the address, so its text is not taken.
func failure(err error) result {
	timeout, isNet := errors.AsType[net.Error](err)
	dns, isDNS := errors.AsType[*net.DNSError](err)
	switch {
	case errors.Is(err, errAddress):
		return result{outcome: outcomeForbidden, detail: errAddress.Error()}
	case errors.Is(err, resty.ErrAutoRedirectDisabled):
		return result{outcome: outcomeRedirect, detail: "redirects are not followed"}
	case isDNS && dns.IsNotFound:
		return result{outcome: outcomeUnreachable, detail: "no such host"}
	case isNet && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded):
		return result{outcome: outcomeTimeout, detail: "no answer in time"}
	case errors.Is(err, syscall.ECONNREFUSED):
		return result{outcome: outcomeUnreachable, detail: "connection refused"}
	case isCertificate(err):
		return result{outcome: outcomeUnreachable, detail: "the certificate is not valid"}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return result{outcome: outcomeUnreachable, detail: "the connection broke"}
	}
	return result{outcome: outcomeUnreachable, detail: "no connection, or no HTTP answer"}
}

func isCertificate(err error) bool {
	_, verify := errors.AsType[*tls.CertificateVerificationError](err)
	_, record := errors.AsType[tls.RecordHeaderError](err)
	return verify || record
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
