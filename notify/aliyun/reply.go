package aliyun

import (
	"encoding/json"
	"fmt"
	"time"

	"emsd/courier/vault"
	"emsd/notify"
)

// smsUp is one element of SmsUp (help.aliyun.com/zh/sms/developer-reference/smsup-http). sequence_id is text there, and a number in
// older accounts (help.aliyun.com/document_detail/414223.htm). The SMS interface has no call that fetches replies: an account
// either pushes them, or keeps them in a message queue that is a product of its own.
type smsUp struct {
	PhoneNumber notify.WireText `json:"phone_number"`
	Content     notify.WireText `json:"content"`
	SendTime    notify.WireText `json:"send_time"`
	SequenceID  notify.WireText `json:"sequence_id"`
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
		if len(e) == 0 || e[0] != '{' || json.Unmarshal(e, &up) != nil {
			continue
		}
		phone, ok := notify.MobileOf(string(up.PhoneNumber))
		if !ok {
			continue
		}
		r := notify.Reply{Phone: vault.Conceal(phone), Text: vault.Conceal(string(up.Content)), Sequence: string(up.SequenceID)}
		if at, err := time.ParseInLocation(time.DateTime, string(up.SendTime), beijing); err == nil {
			r.SentAt = at
		}
		replies = append(replies, r)
	}
	return replies, nil
}
