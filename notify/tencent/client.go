package tencent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"emsd/notify"
	"emsd/notify/post"
)

var (
	_ notify.Gateway       = (*Client)(nil)
	_ notify.Templated     = (*Client)(nil)
	_ notify.Ruled         = (*Client)(nil)
	_ notify.Finder        = (*Client)(nil)
	_ notify.ReceiptReader = (*Client)(nil)
	_ notify.ReplyPuller   = (*Client)(nil)
)

const (
	apiVersion = "2021-01-11"
	service    = "sms"
)

// A Client is one application of an account at Tencent Cloud. It may be used by any number of goroutines.
type Client struct {
	cfg  Config
	host string
	post *post.Client
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
		return nil, fmt.Errorf("EMSD_SMS_TENCENT_CA_FILE: %w", err)
	}
	return &Client{cfg: cfg, host: host, post: client}, nil
}

// Name is the gateway's name in configuration and attempts.
func (c *Client) Name() string { return "tencent" }

// Timeout is how long a request lasts at most.
func (c *Client) Timeout() time.Duration { return c.post.Timeout() }

// Close closes the connections that are idle.
func (c *Client) Close() { c.post.Close() }

// HasTemplate reports whether a template is configured for a text, and the account's limit lets its variables pass.
func (c *Client) HasTemplate(m notify.Milestone) bool {
	return c.cfg.Templates[string(m)] != "" && c.tooLong(m) == ""
}

// tooLong names a variable of a text that the account's limit does not let pass.
func (c *Client) tooLong(m notify.Milestone) string {
	for _, name := range notify.Variables(m) {
		if notify.LongestValue(name) > c.cfg.VariableLimit {
			return name
		}
	}
	return ""
}

// A response is what stands under Response in every answer: HTTP says 200 whatever happened (B.2).
type response struct {
	Error *struct {
		Code    string
		Message string
	}
	SendStatusSet        []sendStatus
	PullSmsSendStatusSet []pulled

	PullSmsReplyStatusSet []json.RawMessage

	DescribeTemplateStatusSet []application
	DescribeSignListStatusSet []application
}

// codeForm is what a code may look like; anything else is no answer of this gateway, and goes into no log.
var codeForm = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._-]{0,99}$`)

func readAnswer(body []byte) (response, error) {
	var a struct{ Response *response }
	if err := json.Unmarshal(body, &a); err != nil || a.Response == nil {
		return response{}, errors.New("not JSON of the known form")
	}
	if a.Response.Error != nil && !codeForm.MatchString(a.Response.Error.Code) {
		return response{}, errors.New("no code")
	}
	return *a.Response, nil
}

// A reply is a well-formed answer.
type reply struct {
	status int
	body   response
}

// call makes one signed request. Its error is a *notify.SendError: Unsent, Unknown, or what the upper of the two levels of
// errors says.
func (c *Client) call(ctx context.Context, action string, params any) (reply, error) {
	body, err := encode(params)
	if err != nil {
		return reply{}, &notify.SendError{Class: notify.Permanent, Code: "variable", Message: "the request cannot be encoded"}
	}
	at := c.cfg.Wall()
	a, err := c.post.Post(ctx, c.cfg.URL, http.Header{
		"Authorization":  {sign(c.cfg.SecretID, c.cfg.SecretKey, service, c.host, contentType, at, body)},
		"Content-Type":   {contentType},
		"X-Tc-Action":    {action},
		"X-Tc-Version":   {apiVersion},
		"X-Tc-Timestamp": {strconv.FormatInt(at.Unix(), 10)},
		"X-Tc-Region":    {c.cfg.Region},
	}, body)
	if err != nil {
		return reply{}, err
	}
	r, err := readAnswer(a.Body)
	if err != nil {
		return reply{}, a.Unreadable()
	}
	if r.Error != nil {
		return reply{}, c.refusal(a.Status, r.Error.Code)
	}
	return reply{a.Status, r}, nil
}

// encode keeps < > & as they are: the hash of what is sent must be that of what the gateway reads.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
