package tencent

import (
	"context"
	"slices"
	"time"

	"emsd/notify"
)

const (
	mostPulled  = 100
	queryBefore = 5 * time.Second // the gateway's clock may be behind ours
	queryBack   = 7*24*time.Hour - time.Minute
)

// pullRequest is PullSmsSendStatusByPhoneNumber (B.2).
type pullRequest struct {
	BeginTime   int64
	EndTime     int64
	Limit       int
	Offset      int
	PhoneNumber string
	SmsSdkAppID string `json:"SmsSdkAppId"`
}

// pulled is what the carrier said about one message.
type pulled struct {
	SerialNo       string
	ReportStatus   string // SUCCESS or FAIL
	Description    string
	SessionContext string
}

// Questions are spread over a day, and prove nothing: the list knows only what a carrier has reported (E.3).
func (c *Client) Questions() notify.Questions {
	return notify.Questions{After: []time.Duration{time.Minute, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 24 * time.Hour}}
}

// Find looks for an attempt among what carriers have reported about its number (E.3). It is recognised by our id where
// support has switched the echo on, else by being the only message that no attempt of ours accounts for.
func (c *Client) Find(ctx context.Context, q notify.Query) (notify.Found, error) {
	list, err := c.pull(ctx, q.Phone.Reveal(), q.Since.Add(-queryBefore))
	if err != nil {
		return notify.Found{}, err
	}
	var strangers []pulled
	for _, p := range list {
		switch {
		case p.SessionContext == q.AttemptID.String():
			return found(p), nil
		case p.SessionContext == "" && !slices.Contains(q.Known, p.SerialNo):
			strangers = append(strangers, p)
		}
	}
	if q.Alone && len(strangers) == 1 && len(list) < mostPulled {
		return found(strangers[0]), nil
	}
	return notify.Found{}, nil
}

func (c *Client) pull(ctx context.Context, phone string, from time.Time) ([]pulled, error) {
	now := c.cfg.Now()
	if oldest := now.Add(-queryBack); from.Before(oldest) {
		from = oldest
	}
	r, err := c.call(ctx, "PullSmsSendStatusByPhoneNumber", pullRequest{
		BeginTime: from.Unix(), EndTime: now.Unix(), Limit: mostPulled, PhoneNumber: "+86" + phone, SmsSdkAppID: c.cfg.AppID,
	})
	return r.body.PullSmsSendStatusSet, err
}

// found is a message that a carrier has reported. Its words may quote anything, so they are not kept.
func found(p pulled) notify.Found {
	f := notify.Found{Outcome: notify.NotArrived, ProviderID: p.SerialNo}
	switch p.ReportStatus {
	case "SUCCESS":
		f.Outcome = notify.Arrived
	case "FAIL":
	default:
		f.Outcome = notify.Pending // it is there, whatever its status
	}
	return f
}

// Check asks for the messages of a number that nobody has: nil when Tencent answers and takes the credentials.
func (c *Client) Check(ctx context.Context) error {
	_, err := c.pull(ctx, "13000000000", c.cfg.Now().Add(-time.Minute))
	return err
}
