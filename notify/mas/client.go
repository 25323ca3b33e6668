package mas

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"time"

	"emsd/notify"
	"emsd/notify/post"
)

var (
	_ notify.Gateway       = (*Client)(nil)
	_ notify.Templated     = (*Client)(nil)
	_ notify.Ruled         = (*Client)(nil)
	_ notify.ReceiptReader = (*Client)(nil)
	_ notify.Puller        = (*Client)(nil)
	_ notify.ReplyPuller   = (*Client)(nil)
)

// A Client is one interface account. It may be used by any number of goroutines.
type Client struct {
	cfg  Config
	post *post.Client
}

// New makes the client of an account. Everything in cfg is checked at once.
func New(cfg Config) (*Client, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	client, err := post.New(post.Config{CAFile: cfg.CAFile, Timeout: cfg.Timeout, DialTimeout: cfg.DialTimeout, Concurrency: cfg.Concurrency})
	if err != nil {
		return nil, fmt.Errorf("EMSD_SMS_MAS_CA_FILE: %w", err)
	}
	return &Client{cfg, client}, nil
}

// Name is the gateway's name in configuration and attempts.
func (c *Client) Name() string { return "mas" }

// Timeout is how long a request lasts at most.
func (c *Client) Timeout() time.Duration { return c.post.Timeout() }

// Close closes the connections that are idle.
func (c *Client) Close() { c.post.Close() }

// HasTemplate reports whether a text can be sent, by template or as it is.
func (c *Client) HasTemplate(m notify.Milestone) bool {
	return c.cfg.Texts || c.cfg.Templates[string(m)] != ""
}

// A submission is the JSON of C.2. The order is the document's; a field that one of the two kinds lacks is left out.
type submission struct {
	ECName     string  `json:"ecName"`
	APID       string  `json:"apId"`
	SecretKey  string  `json:"secretKey,omitempty"`
	TemplateID string  `json:"templateId,omitempty"`
	Mobiles    string  `json:"mobiles"`
	Content    string  `json:"content,omitempty"`
	Params     *string `json:"params,omitempty"`
	Sign       string  `json:"sign"`
	AddSerial  string  `json:"addSerial"`
	MAC        string  `json:"mac"`
}

// mac is the MD5 of the fields in the document's order, without separators (C.2).
func (s *submission) mac(secret string) string {
	text := s.ECName + s.APID + secret + s.Mobiles + s.Content + s.Sign + s.AddSerial
	if s.Params != nil {
		text = s.ECName + s.APID + secret + s.TemplateID + s.Mobiles + *s.Params + s.Sign + s.AddSerial
	}
	sum := md5.Sum([]byte(text))
	return hex.EncodeToString(sum[:])
}

// Send submits one message to one number. Accepted is HTTP 200, rspcod success and a msgGroup, nothing less (C.3).
func (c *Client) Send(ctx context.Context, s notify.SMS) (notify.Sent, error) {
	sub, path, refused := c.compose(s)
	if refused != nil {
		return notify.Sent{}, refused
	}
	body, err := wrap(sub)
	if err != nil {
		return notify.Sent{}, &notify.SendError{Class: notify.Permanent, Code: "variable", Message: "the message cannot be encoded"}
	}
	a, err := c.post.Post(ctx, c.cfg.URL+path, http.Header{"Content-Type": {"application/json"}}, body)
	if err != nil {
		return notify.Sent{}, err
	}
	return read(a)
}

// compose makes the submission of a message: by template where there is one.
func (c *Client) compose(s notify.SMS) (sub *submission, path string, refused *notify.SendError) {
	sub = &submission{ECName: c.cfg.ECName, APID: c.cfg.APID, Mobiles: s.Phone.Reveal(), Sign: c.cfg.Sign, AddSerial: c.cfg.AddSerial}
	if bad := c.Rules().BadVariable(s.Vars); bad != nil {
		return nil, "", &notify.SendError{Class: notify.Permanent, Code: "variable", Message: bad.Error()}
	}
	id := c.cfg.Templates[string(s.Milestone)]
	switch {
	case id != "":
		params, err := paramList(s)
		if err != nil {
			return nil, "", &notify.SendError{Class: notify.Permanent, Code: "variable", Message: "the variables cannot be encoded"}
		}
		path, sub.TemplateID, sub.Params = c.cfg.TemplatePath, id, &params
	case c.cfg.Texts:
		text, err := notify.Render(s.Milestone, s.Vars)
		if err != nil {
			return nil, "", &notify.SendError{Class: notify.Permanent, Code: "variable", Message: "a variable is missing"}
		}
		path, sub.Content = c.cfg.TextPath, text
	default:
		return nil, "", &notify.SendError{Class: notify.Configuration, ThisTemplate: true, Code: "no_template", Message: "no template is configured for this milestone"}
	}
	sub.MAC = sub.mac(c.cfg.SecretKey)
	if c.cfg.SecretInBody {
		sub.SecretKey = c.cfg.SecretKey
	}
	return sub, path, nil
}

// paramList is a string that holds a JSON array, with one empty string when there is no variable (C.2). It enters the mac
// exactly so.
func paramList(s notify.SMS) (string, error) {
	values := []string{}
	for _, name := range notify.Variables(s.Milestone) {
		values = append(values, s.Vars[name])
	}
	if len(values) == 0 {
		values = []string{""}
	}
	b, err := encode(values)
	return string(b), err
}

// Rules are what is known of what 云MAS takes: its document gives no limits.
func (c *Client) Rules() notify.Rules { return notify.Rules{} }

// TemplateCode is the id of a text's template; empty where the text is sent as it is.
func (c *Client) TemplateCode(m notify.Milestone) string { return c.cfg.Templates[string(m)] }

// wrap is the raw base64 of the JSON.
func wrap(v any) ([]byte, error) {
	text, err := encode(v)
	if err != nil {
		return nil, err
	}
	return base64.StdEncoding.AppendEncode(nil, text), nil
}

// encode keeps < > & as they are, as the mac has them.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// An answer is that of a submission. The document spells the id both ways, and success may be a string (C.3): rspcod
// alone is believed.
type answer struct {
	Rspcod   string `json:"rspcod"`
	MsgGroup string `json:"msgGroup"`
	MgsGroup string `json:"mgsGroup"`
}

// codeForm is what a code may look like; anything else is no answer of this gateway, and goes into no log.
var codeForm = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._-]{0,79}$`)

func readAnswer(body []byte) (answer, error) {
	var a answer
	if err := json.Unmarshal(body, &a); err != nil || !codeForm.MatchString(a.Rspcod) {
		return answer{}, errors.New("not JSON of the known form")
	}
	if a.MsgGroup == "" {
		a.MsgGroup = a.MgsGroup
	}
	return a, nil
}

func read(r post.Answer) (notify.Sent, error) {
	a, err := readAnswer(r.Body)
	if err != nil {
		return notify.Sent{}, r.Unreadable()
	}
	if a.Rspcod != "success" {
		m := judge(r.Status, a.Rspcod)
		return notify.Sent{}, &notify.SendError{Class: m.class, Code: a.Rspcod, Message: m.word, Unlisted: m.unlisted}
	}
	if r.Status != http.StatusOK || a.MsgGroup == "" {
		return notify.Sent{}, &notify.SendError{Class: notify.Unknown, Code: "success", Message: "success without a msgGroup"}
	}
	return notify.Sent{ProviderID: a.MsgGroup}, nil
}
