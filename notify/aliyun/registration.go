package aliyun

import (
	"context"
	"fmt"

	"emsd/notify"
	"emsd/notify/post"
)

var _ notify.Registrar = (*Client)(nil)

// states are TemplateStatus and SignStatus (A.2).
var states = map[number64]string{0: "in_review", 1: notify.Approved, 2: "refused", 10: "cancelled"}

// carrierStates are RegisterStatus (A.2).
var carrierStates = map[number64]string{-2: "not_registered", -1: "in_progress", 0: "failed", 1: "to_verify", 2: "lapsed", 3: "registered"}

// registration is what GetSmsTemplate and GetSmsSign say that is used.
type registration struct {
	TemplateStatus  *number64
	TemplateContent string
	SignStatus      *number64
	AuditInfo       struct{ RejectInfo string }

	SignIspRegisterDetailList []struct {
		OperatorCode          string
		RegisterStatus        number64
		RegisterStatusReasons []struct{ ReasonCode string }
	}
}

// Approval is GetSmsTemplate.
func (c *Client) Approval(ctx context.Context, m notify.Milestone) (notify.Approval, error) {
	r, err := c.ask(ctx, "GetSmsTemplate", map[string]string{"TemplateCode": c.TemplateCode(m)})
	if err != nil || r.TemplateStatus == nil {
		return notify.Approval{}, missing(err, "TemplateStatus")
	}
	return notify.Approval{State: stateOf(states, *r.TemplateStatus), Reason: post.Scrub(r.AuditInfo.RejectInfo), Words: r.TemplateContent}, nil
}

// Standing is GetSmsSign.
func (c *Client) Standing(ctx context.Context) (notify.Standing, error) {
	r, err := c.ask(ctx, "GetSmsSign", map[string]string{"SignName": c.cfg.SignName})
	if err != nil || r.SignStatus == nil {
		return notify.Standing{}, missing(err, "SignStatus")
	}
	s := notify.Standing{State: stateOf(states, *r.SignStatus), Reason: post.Scrub(r.AuditInfo.RejectInfo)}
	for _, d := range r.SignIspRegisterDetailList {
		carrier := notify.Carrier{Name: post.Scrub(d.OperatorCode), State: stateOf(carrierStates, d.RegisterStatus)}
		for _, reason := range d.RegisterStatusReasons {
			if isCode(reason.ReasonCode) {
				carrier.Reasons = append(carrier.Reasons, reason.ReasonCode)
			}
		}
		s.Carriers = append(s.Carriers, carrier)
	}
	return s, nil
}

// Registered is a text with its variables named.
func (c *Client) Registered(m notify.Milestone) string { return notify.Text(m) }

// ask makes a call about the account, not about a message.
func (c *Client) ask(ctx context.Context, action string, params map[string]string) (registration, error) {
	r, err := c.call(ctx, action, params)
	if err != nil {
		return registration{}, err
	}
	if r.status != 200 || r.body.Code != "OK" {
		m := judge(r.status, r.body.Code)
		return registration{}, &notify.SendError{Class: m.class, Code: r.body.Code, Message: m.word}
	}
	return r.body.registration, nil
}

func stateOf(names map[number64]string, n number64) string {
	if name := names[n]; name != "" {
		return name
	}
	return fmt.Sprintf("state_%d", n)
}

// missing is err, or that a well-formed answer lacks what was asked for.
func missing(err error, field string) error {
	if err != nil {
		return err
	}
	return &notify.SendError{Class: notify.Unknown, Code: "form", Message: "the answer lacks " + field}
}
