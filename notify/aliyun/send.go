package aliyun

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"unicode/utf8"

	"emsd/notify"
	"emsd/notify/post"
)

// Send is SendSms for one number. Accepted is HTTP 200, Code OK and a BizId, nothing less (A.2).
func (c *Client) Send(ctx context.Context, s notify.SMS) (notify.Sent, error) {
	code := c.cfg.Templates[string(s.Milestone)]
	if code == "" {
		return notify.Sent{}, &notify.SendError{Class: notify.Configuration, ThisTemplate: true, Code: "no_template", Message: "no template is configured for this milestone"}
	}
	if bad := rules.BadVariable(s.Vars); bad != nil {
		return notify.Sent{}, &notify.SendError{Class: notify.Permanent, Code: "variable", Message: bad.Error()}
	}
	r, err := c.call(ctx, "SendSms", map[string]string{
		"PhoneNumbers":  s.Phone.Reveal(),
		"SignName":      c.cfg.SignName,
		"TemplateCode":  code,
		"TemplateParam": object(s.Vars),
		"OutId":         s.AttemptID.String(),
	})
	if err != nil {
		return notify.Sent{}, err
	}
	return c.read(r)
}

// object is a JSON object as json.Marshal writes it. Values are short and plain as a rule, and every message has one.
func object(vars map[string]string) string {
	b := append(make([]byte, 0, 128), '{')
	for i, name := range sortedNames(vars) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(quote(b, name), ':')
		b = quote(b, vars[name])
	}
	return string(append(b, '}'))
}

func quote(b []byte, text string) []byte {
	special := func(r rune) bool {
		return r < ' ' || r == '"' || r == '\\' || r == '<' || r == '>' || r == '&' || r == 0x7F || r == '\u2028' || r == '\u2029' || r == utf8.RuneError
	}
	if !strings.ContainsFunc(text, special) {
		return append(append(append(b, '"'), text...), '"')
	}
	quoted, _ := json.Marshal(text) // a string has no error
	return append(b, quoted...)
}

func (c *Client) read(r reply) (notify.Sent, error) {
	code := r.body.Code
	if code == "OK" {
		if r.status != http.StatusOK || r.body.BizID == "" {
			return notify.Sent{}, &notify.SendError{Class: notify.Unknown, Code: "OK", Message: "OK without a BizId"}
		}
		return notify.Sent{ProviderID: r.body.BizID}, nil
	}
	m := judge(r.status, code)
	e := &notify.SendError{Class: m.class, Code: code, Message: m.word, ThisTemplate: m.template, Unlisted: m.unlisted, Unexplained: m.unexplained}
	switch {
	case m == perNumber:
		e.RetryAfter = perNumberWait(r.body.Message, c.cfg.Now())
	case m == pace:
		e.RetryAfter = paceWait(r.header)
	case m.unlisted && strings.HasPrefix(code, "isv."):
		e.Message += ": " + scrub(r.body.Message) // somebody has to look it up
	}
	return notify.Sent{}, e
}

// rules are those for notifications (A.3): a variable has had 35 characters since 2018, and the words get a template refused.
var rules = notify.Rules{
	LongestVariable: 35, LongestText: 500, Characters: "『』「」〖〗①②③★※→•²",
	Words: []string{"拒收请回复", "回复确认收货", "党政", "代办证件", "贷款", "移民", "移动", "联通", "电信", "[", "]"},
}

// Rules are what Aliyun takes.
func (c *Client) Rules() notify.Rules { return rules }

// TemplateCode is the code of a text's template.
func (c *Client) TemplateCode(m notify.Milestone) string { return c.cfg.Templates[string(m)] }

// An answer holds the fields of every answer that are used.
type answer struct {
	Code    string `json:"Code"`
	Message string `json:"Message"`
	BizID   string `json:"BizId"`
	total
	registration
	Details struct {
		List []detail `json:"SmsSendDetailDTO"`
	} `json:"SmsSendDetailDTOs"`
}

// isCode reports whether a text looks like a code: a letter, then up to 79 letters, digits, dots, dashes and underscores. Anything
// else is no answer of this gateway, and goes into no log. Every answer is asked, so it is no regular expression.
func isCode(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || (c < '0' || c > '9') && c != '.' && c != '-' && c != '_') {
			return false
		}
	}
	return 0 < len(s) && len(s) <= 80
}

func readAnswer(body []byte) (answer, error) {
	var a answer
	if err := json.Unmarshal(body, &a); err != nil {
		return answer{}, errors.New("not JSON of the known form")
	}
	if !isCode(a.Code) {
		return answer{}, errors.New("no code")
	}
	return a, nil
}

// scrub makes a foreign text fit for a log. A signature mismatch quotes the whole request.
func scrub(text string) string {
	if strings.Contains(text, "CanonicalRequest") || strings.Contains(text, "StringToSign") {
		return "not quoted"
	}
	return post.Scrub(text)
}
