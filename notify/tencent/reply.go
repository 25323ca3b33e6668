package tencent

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"emsd/courier/vault"
	"emsd/notify"
)

// An uplink is a reply. The callback has extend, mobile, nationcode, sign, text and time, in seconds
// (cloud.tencent.com/document/api/382/5809, the same at tencentcloud.com/document/product/382/43548); PullSmsReplyStatus has other names, and
// had others again in version 2019-07-11 (cloud.tencent.com/document/product/685/38776, tencentcloud-cli examples/sms/v20210111). All of
// them are read wherever they come from. A reply has no number of its own.
type uplink struct {
	Mobile           notify.WireText `json:"mobile"`
	SubscriberNumber notify.WireText `json:"SubscriberNumber"`
	PhoneNumber      notify.WireText `json:"PhoneNumber"`
	Text             notify.WireText `json:"text"`
	ReplyContent     notify.WireText `json:"ReplyContent"`
	Time             notify.WireText `json:"time"`
	ReplyTime        notify.WireText `json:"ReplyTime"` // in seconds; a date and time in 2019
	ReplyUnixTime    notify.WireText `json:"ReplyUnixTime"`
}

func (u uplink) at() time.Time {
	for _, text := range []notify.WireText{u.Time, u.ReplyUnixTime, u.ReplyTime} {
		if n, err := strconv.ParseInt(string(text), 10, 64); err == nil && n > 0 && n < 1<<33 {
			return time.Unix(n, 0)
		}
	}
	return time.Time{}
}

// ParseReplies reads the body of a callback for replies: one object, or a list of them. What is no reply of a mainland
// mobile number is dropped: there is nobody whom it could be about.
func ParseReplies(body []byte) ([]notify.Reply, error) {
	var elements []json.RawMessage
	if text := strings.TrimSpace(string(body)); strings.HasPrefix(text, "{") && json.Valid(body) {
		elements = []json.RawMessage{json.RawMessage(text)}
	} else if json.Unmarshal(body, &elements) != nil {
		return nil, fmt.Errorf("read replies: neither a JSON object nor an array")
	}
	return readReplies(elements), nil
}

func readReplies(elements []json.RawMessage) []notify.Reply {
	var replies []notify.Reply
	for _, e := range elements {
		var up uplink
		if len(e) == 0 || e[0] != '{' || json.Unmarshal(e, &up) != nil {
			continue
		}
		phone, ok := notify.MobileOf(string(cmp.Or(up.Mobile, up.SubscriberNumber, up.PhoneNumber)))
		if !ok {
			continue
		}
		replies = append(replies, notify.Reply{Phone: vault.Conceal(phone), Text: vault.Conceal(string(cmp.Or(up.Text, up.ReplyContent))), SentAt: up.at()})
	}
	return replies
}

// PullReplies fetches up to a hundred of the replies that wait, if the account is set to. Tencent hands out each of them once, and
// support has to switch the interface on (tencentcloud.com/document/api/382/40521).
func (c *Client) PullReplies(ctx context.Context) (replies []notify.Reply, more bool, err error) {
	if !c.cfg.PullReplies {
		return nil, false, nil
	}
	r, err := c.call(ctx, "PullSmsReplyStatus", struct {
		Limit       int
		SmsSdkAppID string `json:"SmsSdkAppId"`
	}{mostPulled, c.cfg.AppID})
	if err != nil {
		return nil, false, err
	}
	waiting := r.body.PullSmsReplyStatusSet
	return readReplies(waiting), len(waiting) == mostPulled, nil
}
