package tencent

import (
	"context"
	"fmt"
	"net/http"

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
	if bad := c.Rules().BadVariable(s.Vars); bad != nil {
		return notify.Sent{}, &notify.SendError{Class: notify.Permanent, Code: "variable", Message: bad.Error()}
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

// Rules are what the account at Tencent may send (B.3).
func (c *Client) Rules() notify.Rules {
	return notify.Rules{LongestVariable: c.cfg.VariableLimit}
}

// TemplateCode is the id of a text's template.
func (c *Client) TemplateCode(m notify.Milestone) string { return c.cfg.Templates[string(m)] }
