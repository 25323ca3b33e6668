package tencent

import (
	"context"
	"fmt"
	"strconv"

	"emsd/notify"
	"emsd/notify/post"
)

var _ notify.Registrar = (*Client)(nil)

// states are StatusCode of templates and signatures (B.2): only 0 can send.
var states = map[int]string{0: notify.Approved, 1: "in_review", 2: "approved_not_live", -1: "refused"}

// templatesRequest is DescribeSmsTemplateList, signsRequest DescribeSmsSignList; International 0 is the mainland.
type templatesRequest struct {
	International uint64
	TemplateIDSet []uint64 `json:"TemplateIdSet"`
}

type signsRequest struct {
	International uint64
	SignIDSet     []uint64 `json:"SignIdSet"`
}

// An application is what became of one for a template or a signature.
type application struct {
	TemplateID      uint64 `json:"TemplateId"`
	TemplateContent string
	SignID          uint64 `json:"SignId"`
	SignName        string
	StatusCode      int
	ReviewReply     string
}

func (a application) state() string {
	if name := states[a.StatusCode]; name != "" {
		return name
	}
	return fmt.Sprintf("state_%d", a.StatusCode)
}

// Approval is DescribeSmsTemplateList for one template.
func (c *Client) Approval(ctx context.Context, m notify.Milestone) (notify.Approval, error) {
	id, err := strconv.ParseUint(c.TemplateCode(m), 10, 64)
	if err != nil {
		return notify.Approval{}, &notify.SendError{Class: notify.Configuration, ThisTemplate: true, Code: "no_template", Message: "no template is configured for this text"}
	}
	r, err := c.call(ctx, "DescribeSmsTemplateList", templatesRequest{TemplateIDSet: []uint64{id}})
	if err != nil {
		return notify.Approval{}, err
	}
	for _, t := range r.body.DescribeTemplateStatusSet {
		if t.TemplateID == id {
			return notify.Approval{State: t.state(), Reason: post.Scrub(t.ReviewReply), Words: t.TemplateContent}, nil
		}
	}
	return notify.Approval{State: "unknown", Reason: "the account has no such template"}, nil
}

// Standing is DescribeSmsSignList, which asks by id: without EMSD_SMS_TENCENT_SIGN_ID it is not asked. It tells nothing of
// single carriers.
func (c *Client) Standing(ctx context.Context) (notify.Standing, error) {
	if c.cfg.SignID == 0 {
		return notify.Standing{}, notify.ErrNotAsked
	}
	r, err := c.call(ctx, "DescribeSmsSignList", signsRequest{SignIDSet: []uint64{c.cfg.SignID}})
	if err != nil {
		return notify.Standing{}, err
	}
	for _, s := range r.body.DescribeSignListStatusSet {
		switch {
		case s.SignID != c.cfg.SignID:
		case s.SignName != c.cfg.SignName:
			return notify.Standing{State: "another", Reason: "EMSD_SMS_TENCENT_SIGN_ID is the id of another signature"}, nil
		default:
			return notify.Standing{State: s.state(), Reason: post.Scrub(s.ReviewReply)}, nil
		}
	}
	return notify.Standing{State: "unknown", Reason: "the account has no signature with this id"}, nil
}

// Registered is a text with its variables numbered.
func (c *Client) Registered(m notify.Milestone) string { return notify.Numbered(m) }
