package aliyun

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"emsd/courier/vault"
	"emsd/notify"
)

// smsUp is one element of SmsUp.
type smsUp struct {
	PhoneNumber string          `json:"phone_number"`
	Content     string          `json:"content"`
	SendTime    string          `json:"send_time"`
	SequenceID  json.RawMessage `json:"sequence_id"` // a number, or one in quotes
}

// ParseReplies reads the body of a push of replies. What is no reply of a mainland mobile number is dropped: there is nobody
// whom it could be about. A body that is no list of elements is an error.
func ParseReplies(body []byte) ([]notify.Reply, error) {
	var elements []json.RawMessage
	if err := json.Unmarshal(body, &elements); err != nil {
		return nil, fmt.Errorf("read replies: not a JSON array")
	}
	var replies []notify.Reply
	for _, e := range elements {
		var up smsUp
		if len(e) == 0 || e[0] != '{' || json.Unmarshal(e, &up) != nil || !notify.IsMobile(up.PhoneNumber) {
			continue
		}
		r := notify.Reply{Phone: vault.Conceal(up.PhoneNumber), Text: vault.Conceal(up.Content), Sequence: strings.Trim(string(up.SequenceID), `"`)}
		if at, err := time.ParseInLocation(time.DateTime, up.SendTime, beijing); err == nil {
			r.SentAt = at
		}
		replies = append(replies, r)
	}
	return replies, nil
}
