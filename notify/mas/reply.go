package mas

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"emsd/courier/vault"
	"emsd/notify"
)

// A deliver is one reply (C.4).
type deliver struct {
	SMSContent string `json:"smsContent"`
	Mobile     mobile `json:"mobile"`
	SendTime   string `json:"sendTime"`
}

// ParseReplies reads the body of pushed replies: an object or a list of them, as JSON or wrapped in base64. What is no
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
		if len(e) == 0 || e[0] != '{' || json.Unmarshal(e, &d) != nil || !notify.IsMobile(string(d.Mobile)) {
			continue
		}
		r := notify.Reply{Phone: vault.Conceal(string(d.Mobile)), Text: vault.Conceal(d.SMSContent)}
		if at, err := time.ParseInLocation(time.DateTime, d.SendTime, beijing); err == nil {
			r.SentAt = at
		}
		replies = append(replies, r)
	}
	return replies, nil
}
