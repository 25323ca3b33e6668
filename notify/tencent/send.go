package tencent

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"unicode/utf8"

	"emsd/notify"
)

// sendRequest is SendSms (B.2).
type sendRequest struct {
	PhoneNumberSet   []string
	SessionContext   string
	SignName         string
	SmsSdkAppID      string `json:"SmsSdkAppId"`
	TemplateID       string `json:"TemplateId"`
	TemplateParamSet []string
}

// A sendStatus is the lower level of errors: one entry a number.
type sendStatus struct {
	SerialNo       string
	PhoneNumber    string
	SessionContext string
	Code           string
}

// Send is SendSms for one number. Accepted is HTTP 200, no Error, and an entry for our number with Code Ok and a SerialNo,
// nothing less (B.2).
func (c *Client) Send(ctx context.Context, s notify.SMS) (notify.Sent, error) {
	id := c.cfg.Templates[string(s.Milestone)]
	if id == "" {
		return notify.Sent{}, &notify.SendError{Class: notify.Configuration, ThisTemplate: true, Code: "no_template", Message: "no template is configured for this milestone"}
	}
	if name := c.tooLong(s.Milestone); name != "" {
		return notify.Sent{}, &notify.SendError{Class: notify.Configuration, ThisTemplate: true, Code: "variable_limit",
			Message: fmt.Sprintf("variable %s may need %d characters, EMSD_SMS_TENCENT_VARIABLE_LIMIT is %d", name, notify.LongestValue(name), c.cfg.VariableLimit)}
	}
	if name, why := c.badVariable(s.Vars); why != "" {
		return notify.Sent{}, &notify.SendError{Class: notify.Permanent, Code: "variable", Message: "variable " + name + " " + why}
	}
	params := []string{} // never null
	for _, name := range notify.Variables(s.Milestone) {
		params = append(params, s.Vars[name])
	}
	phone := "+86" + s.Phone.Reveal()
	r, err := c.call(ctx, "SendSms", sendRequest{
		PhoneNumberSet: []string{phone}, SessionContext: s.AttemptID.String(), SignName: c.cfg.SignName,
		SmsSdkAppID: c.cfg.AppID, TemplateID: id, TemplateParamSet: params,
	})
	if err != nil {
		return notify.Sent{}, err
	}
	return c.read(r, phone, s.AttemptID.String())
}

func (c *Client) read(r reply, phone, attempt string) (notify.Sent, error) {
	unclear := func(message string) (notify.Sent, error) {
		return notify.Sent{}, &notify.SendError{Class: notify.Unknown, Code: fmt.Sprintf("http_%d", r.status), Message: message}
	}
	if len(r.body.SendStatusSet) != 1 {
		return unclear("the answer has not one entry for one number")
	}
	switch s := r.body.SendStatusSet[0]; {
	case s.PhoneNumber != phone, s.SessionContext != "" && s.SessionContext != attempt:
		return unclear("the answer is about another message")
	case !codeForm.MatchString(s.Code):
		return unclear("the entry has no code")
	case s.Code != "Ok":
		return notify.Sent{}, c.refusal(r.status, s.Code)
	case r.status != http.StatusOK || s.SerialNo == "":
		return notify.Sent{}, &notify.SendError{Class: notify.Unknown, Code: "Ok", Message: "Ok without a SerialNo"}
	default:
		return notify.Sent{ProviderID: s.SerialNo}, nil
	}
}

var address = regexp.MustCompile(`(?i)://|www\.`)

// badVariable finds a variable that the gateway would refuse: such a message would never be sent, and say so late.
func (c *Client) badVariable(vars map[string]string) (name, why string) {
	for name, value := range vars {
		switch n := utf8.RuneCountInString(value); {
		case n == 0 || n > c.cfg.VariableLimit:
			return name, fmt.Sprintf("has %d characters, 1 to %d are allowed", n, c.cfg.VariableLimit)
		case !utf8.ValidString(value):
			return name, "is not UTF-8"
		case address.MatchString(value):
			return name, "holds an address"
		case strings.ContainsAny(value, "【】"):
			return name, "holds a bracket that is not allowed"
		}
	}
	return "", ""
}
