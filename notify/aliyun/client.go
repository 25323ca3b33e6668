package aliyun

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"emsd/notify"
	"emsd/notify/post"

	"github.com/google/uuid"
)

var (
	_ notify.Gateway       = (*Client)(nil)
	_ notify.Templated     = (*Client)(nil)
	_ notify.Ruled         = (*Client)(nil)
	_ notify.Finder        = (*Client)(nil)
	_ notify.Bounded       = (*Client)(nil)
	_ notify.ReceiptReader = (*Client)(nil)
)

const apiVersion = "2017-05-25"

// A Client is one account at Aliyun. It may be used by any number of goroutines.
type Client struct {
	cfg   Config
	host  string
	post  *post.Client
	keyed *sync.Pool // HMACs under the account's secret
}

// New makes the client of an account. Everything in cfg is checked at once.
func New(cfg Config) (*Client, error) {
	cfg = cfg.withDefaults()
	host, err := cfg.check()
	if err != nil {
		return nil, err
	}
	client, err := post.New(post.Config{CAFile: cfg.CAFile, Timeout: cfg.Timeout, DialTimeout: cfg.DialTimeout, Concurrency: cfg.Concurrency})
	if err != nil {
		return nil, fmt.Errorf("EMSD_SMS_ALIYUN_CA_FILE: %w", err)
	}
	return &Client{cfg: cfg, host: host, post: client, keyed: newKeyed(cfg.AccessKeySecret)}, nil
}

// Name is the gateway's name in configuration and attempts.
func (c *Client) Name() string { return "aliyun" }

// Timeout is how long a request lasts at most.
func (c *Client) Timeout() time.Duration { return c.post.Timeout() }

// Close closes the connections that are idle.
func (c *Client) Close() { c.post.Close() }

// HasTemplate reports whether a template is configured for a text.
func (c *Client) HasTemplate(m notify.Milestone) bool { return c.cfg.Templates[string(m)] != "" }

// A reply is a well-formed answer.
type reply struct {
	status int
	header http.Header
	body   answer
}

// call makes one signed request. Its error is a *notify.SendError of class Unsent or Unknown.
func (c *Client) call(ctx context.Context, action string, params map[string]string) (reply, error) {
	r := newRequest(c.host, action, apiVersion, c.cfg.Wall().UTC().Format(dateForm), c.cfg.Nonce(), params, c.cfg.InQuery)
	headers := make(http.Header, 12) // room for those that are added
	values := make([]string, 0, len(r.headers)+1)
	set := func(name, value string) {
		values = append(values, value)
		headers[name] = values[len(values)-1 : len(values) : len(values)]
	}
	set("Authorization", r.authorization(c.cfg.AccessKeyID, c.keyed))
	for _, h := range r.headers {
		if h.name != "host" { // net/http sends it
			set(wireNames[h.name], h.value)
		}
	}
	address := c.cfg.URL
	if r.query != "" {
		address += "?" + r.query
	}
	a, err := c.post.Post(ctx, address, headers, r.body)
	if err != nil {
		return reply{}, err
	}
	body, err := readAnswer(a.Body)
	if err != nil {
		return reply{}, a.Unreadable()
	}
	return reply{status: a.Status, header: a.Header, body: body}, nil
}

func newNonce() string { return uuid.NewString() }
