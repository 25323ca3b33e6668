package mas

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"emsd/courier/vault"
	"emsd/notify"
)

// A deliver is one reply (C.4). Pulled ones may hold the number in a list.
type deliver struct {
	SMSContent notify.WireText `json:"smsContent"`
	Mobile     mobile          `json:"mobile"`
	SendTime   notify.WireText `json:"sendTime"`
}

// ParseReplies reads the body of pushed or pulled replies: an object or a list of them, as JSON or wrapped in base64. What is no
// reply of a mainland mobile number is dropped: there is nobody whom it could be about.
func ParseReplies(body []byte) ([]notify.Reply, error) {
	text := bytes.TrimSpace(body)
	if plain, err := base64.StdEncoding.DecodeString(string(bytes.Trim(text, `"`))); err == nil {
		text = bytes.TrimSpace(plain)
	}
	var elements []json.RawMessage
	switch {
	case len(text) > 0 && text[0] == '{' && json.Valid(text):
		elements = []json.RawMessage{text}
	case json.Unmarshal(text, &elements) != nil:
		return nil, fmt.Errorf("read replies: neither JSON nor base64 of it")
	}
	var replies []notify.Reply
	for _, e := range elements {
		var d deliver
		if len(e) == 0 || e[0] != '{' || json.Unmarshal(e, &d) != nil {
			continue
		}
		phone, ok := notify.MobileOf(string(d.Mobile))
		if !ok {
			continue
		}
		r := notify.Reply{Phone: vault.Conceal(phone), Text: vault.Conceal(string(d.SMSContent))}
		if at, err := time.ParseInLocation(time.DateTime, string(d.SendTime), beijing); err == nil {
			r.SentAt = at
		}
		replies = append(replies, r)
	}
	return replies, nil
}

// PullReplies fetches the replies that wait at the gateway, if the account is set to. Fetching sends the secret.
func (c *Client) PullReplies(ctx context.Context) (replies []notify.Reply, more bool, err error) {
	if !c.cfg.PullsReplies {
		return nil, false, nil
	}
	body, err := c.fetch(ctx, c.cfg.DeliverPath)
	if err != nil || len(body.Body) == 0 {
		return nil, false, err
	}
	if replies, err = ParseReplies(body.Body); err != nil {
		return nil, false, body.Unreadable()
	}
	return replies, false, nil
}
