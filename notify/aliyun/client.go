package aliyun

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	"emsd/notify"

	"github.com/go-resty/resty/v2"
	"github.com/google/uuid"
)

var (
	_ notify.Gateway       = (*Client)(nil)
	_ notify.Finder        = (*Client)(nil)
	_ notify.ReceiptReader = (*Client)(nil)
)

const (
	apiVersion = "2017-05-25"
	maxAnswer  = 1 << 20
)

// A Client is one account at Aliyun. It may be used by any number of goroutines.
type Client struct {
	cfg  Config
	host string
	http *resty.Client
}

// New makes the client of an account. Everything in cfg is checked at once.
func New(cfg Config) (*Client, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	conf, err := cfg.tlsConfig()
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, err
	}
	// HTTP/1.1 only and no proxy from the environment, as for EMS: what is repeated, and by whom data passes, is
	// decided here.
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	transport := &http.Transport{
		DialContext:         cfg.dialer().DialContext,
		TLSClientConfig:     conf,
		TLSHandshakeTimeout: cfg.DialTimeout,
		Protocols:           &protocols,
		MaxIdleConns:        cfg.Concurrency,
		MaxIdleConnsPerHost: cfg.Concurrency,
		IdleConnTimeout:     30 * time.Second, // shorter than servers': a request on a connection just closed is unknown
		DisableCompression:  true,
	}
	// RetryCount stays 0 and no redirect is followed: resty would post the body again (E.4).
	client := resty.NewWithClient(&http.Client{Transport: transport, Timeout: cfg.Timeout}).
		SetLogger(silent{}).
		SetRedirectPolicy(resty.NoRedirectPolicy()).
		SetResponseBodyLimit(maxAnswer).
		SetHeader("User-Agent", "emsd").
		SetHeader("Accept", "application/json")
	return &Client{cfg: cfg, host: u.Host, http: client}, nil
}

// Name is the gateway's name in configuration and attempts.
func (c *Client) Name() string { return "aliyun" }

// Close closes the connections that are idle.
func (c *Client) Close() { c.http.GetClient().CloseIdleConnections() }

// MissingTemplates lists what has no approved template: those messages wait, or take another gateway. With passwords the
// texts that tell one are wanted too.
func (c *Client) MissingTemplates(passwords bool) []notify.Milestone {
	wanted := notify.Milestones
	if passwords {
		wanted = slices.Concat(wanted, notify.PasswordTemplates)
	}
	var missing []notify.Milestone
	for _, m := range wanted {
		if c.cfg.Templates[string(m)] == "" {
			missing = append(missing, m)
		}
	}
	return missing
}

// A reply is a well-formed answer.
type reply struct {
	status int
	header http.Header
	body   answer
}

// call makes one signed request. Its error is a *notify.SendError of class Unsent or Unknown.
func (c *Client) call(ctx context.Context, action string, params map[string]string) (reply, error) {
	r := newRequest(c.host, action, apiVersion, c.cfg.Wall().UTC().Format(dateForm), c.cfg.Nonce(), params, c.cfg.InQuery)
	// A connection obtained means that bytes may have left. net/http asks for another one only when surely nothing was
	// written to the first, so a new GetConn clears the mark.
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { connected.Store(false) },
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	})
	req := c.http.R().SetContext(ctx).SetHeader("Authorization", r.authorization(c.cfg.AccessKeyID, c.cfg.AccessKeySecret))
	for name, value := range r.headers {
		if name != "host" {
			req.SetHeader(name, value)
		}
	}
	if r.body != nil {
		req.SetBody(r.body)
	}
	address := c.cfg.URL
	if r.query != "" {
		address += "?" + r.query
	}
	resp, err := req.Post(address)
	if err != nil {
		class := notify.Unknown
		if !connected.Load() {
			class = notify.Unsent
		}
		return reply{}, &notify.SendError{Class: class, Code: "transport", Message: withoutURL(err)}
	}
	body, err := readAnswer(resp.Body())
	if err != nil {
		return reply{}, &notify.SendError{Class: notify.Unknown, Code: fmt.Sprintf("http_%d", resp.StatusCode()), Message: "the answer cannot be read"}
	}
	return reply{status: resp.StatusCode(), header: resp.Header(), body: body}, nil
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
	return scrub(err.Error())
}

func newNonce() string { return uuid.NewString() }

// silent is resty's logger: it quotes errors as they are.
type silent struct{}

func (silent) Errorf(string, ...any) {}
func (silent) Warnf(string, ...any)  {}
func (silent) Debugf(string, ...any) {}
