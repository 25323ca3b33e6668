package mas

import (
	"net/http"

	"emsd/notify"
)

// A meaning is what rspcod says about a message (dossier C.3).
type meaning struct {
	class    notify.Class
	word     string
	unlisted bool // nobody knows the code
}

var codes = map[string]meaning{
	"IllegalMac":      {class: notify.Configuration, word: "the secret"},
	"InvalidUsrOrPwd": {class: notify.Configuration, word: "the account"},
	"NoSignId":        {class: notify.Configuration, word: "the signature's code"},
	"IllegalSignId":   {class: notify.Configuration, word: "the signature's code"},
	"NOT_WHITE_IP":    {class: notify.Configuration, word: "the network place"},
	"InvalidMessage":  {class: notify.Permanent, word: "our payload"},
	"TooManyMobiles":  {class: notify.Permanent, word: "our payload"},
	"DupMobile":       {class: notify.Permanent, word: "our payload"},
	"InvalidMobile":   {class: notify.Recipient, word: "the number"},
}

// judge gives the meaning of a well-formed answer that is not success. What the short list lacks may have been taken, and
// stops the gateway until somebody has looked it up.
func judge(status int, code string) meaning {
	if status >= http.StatusInternalServerError {
		return meaning{class: notify.Unknown, word: "it may have been taken"}
	}
	if m, listed := codes[code]; listed {
		return m
	}
	return meaning{class: notify.Unknown, word: "a code that the table lacks", unlisted: true}
}

// ReadReceipt says what a report means. Carriers' codes are not explained: a failure is of unknown reason.
func (c *Client) ReadReceipt(success bool, _ string) (notify.Outcome, notify.Class) {
	if success {
		return notify.Arrived, notify.Unknown
	}
	return notify.NotArrived, notify.Unknown
}
