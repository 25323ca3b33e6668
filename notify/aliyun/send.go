package aliyun

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
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
	if name, why := badVariable(s.Vars); why != "" {
		return notify.Sent{}, &notify.SendError{Class: notify.Permanent, Code: "variable", Message: "variable " + name + " " + why}
	}
	vars, err := json.Marshal(s.Vars)
	if err != nil {
		return notify.Sent{}, &notify.SendError{Class: notify.Permanent, Code: "variable", Message: "the variables cannot be encoded"}
	}
	r, err := c.call(ctx, "SendSms", map[string]string{
		"PhoneNumbers":  s.Phone.Reveal(),
		"SignName":      c.cfg.SignName,
		"TemplateCode":  code,
		"TemplateParam": string(vars),
		"OutId":         s.AttemptID.String(),
	})
	if err != nil {
		return notify.Sent{}, err
	}
	return c.read(r)
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
	e := &notify.SendError{Class: m.class, Code: code, Message: m.word, ThisTemplate: m.template}
	switch {
	case m == perNumber:
		e.RetryAfter = perNumberWait(r.body.Message, c.cfg.Now())
	case m == pace:
		e.RetryAfter = paceWait(r.header)
	case codes[code].word == "" && strings.HasPrefix(code, "isv."):
		e.Message += ": " + scrub(r.body.Message) // somebody has to look it up
	}
	return notify.Sent{}, e
}

// longestVariable is the limit for notifications since 2018 (A.3).
const longestVariable = 35

var (
	address   = regexp.MustCompile(`(?i)://|www\.`)
	forbidden = "【】『』「」〖〗①②③★※→•²"
)

// badVariable finds a variable that the gateway would refuse: such a message would never be sent, and say so late.
func badVariable(vars map[string]string) (name, why string) {
	for name, value := range vars {
		switch n := utf8.RuneCountInString(value); {
		case n == 0 || n > longestVariable:
			return name, fmt.Sprintf("has %d characters, 1 to %d are allowed", n, longestVariable)
		case !utf8.ValidString(value):
			return name, "is not UTF-8"
		case address.MatchString(value):
			return name, "holds an address"
		case strings.ContainsAny(value, forbidden), strings.ContainsFunc(value, pictorial):
			return name, "holds a character that is not allowed"
		}
	}
	return "", ""
}

// pictorial reports characters beyond the basic plane, controls, and the symbols that phones draw as pictures.
func pictorial(r rune) bool {
	return r < ' ' || r > 0xFFFF || 0x2600 <= r && r <= 0x27BF || r == 0xFE0F || r == 0x200D
}

// An answer holds the fields of every answer that are used.
type answer struct {
	Code    string `json:"Code"`
	Message string `json:"Message"`
	BizID   string `json:"BizId"`
	total
	Details struct {
		List []detail `json:"SmsSendDetailDTO"`
	} `json:"SmsSendDetailDTOs"`
}

// codeForm is what a code may look like; anything else is no answer of this gateway, and goes into no log.
var codeForm = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._-]{0,79}$`)

func readAnswer(body []byte) (answer, error) {
	var a answer
	if err := json.Unmarshal(body, &a); err != nil {
		return answer{}, errors.New("not JSON of the known form")
	}
	if !codeForm.MatchString(a.Code) {
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
