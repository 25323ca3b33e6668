package tencent

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"emsd/courier/vault"
	"emsd/notify"
)

// An uplink is the callback for replies. It has no number of its own; time is in seconds.
type uplink struct {
	Mobile string `json:"mobile"`
	Text   string `json:"text"`
	Time   int64  `json:"time"`
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
	var replies []notify.Reply
	for _, e := range elements {
		var up uplink
		if len(e) == 0 || e[0] != '{' || json.Unmarshal(e, &up) != nil || !notify.IsMobile(up.Mobile) {
			continue
		}
		r := notify.Reply{Phone: vault.Conceal(up.Mobile), Text: vault.Conceal(up.Text)}
		if up.Time > 0 && up.Time < 1<<33 {
			r.SentAt = time.Unix(up.Time, 0)
		}
		replies = append(replies, r)
	}
	return replies, nil
}
