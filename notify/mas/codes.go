package mas

import (
	"net/http"

	"emsd/notify"
)

// A meaning is what rspcod says about a message (dossier C.3).
type meaning struct {
	class notify.Class
	word  string
}

var codes = map[string]meaning{
	"IllegalMac":      {notify.Configuration, "the secret"},
	"InvalidUsrOrPwd": {notify.Configuration, "the account"},
	"NoSignId":        {notify.Configuration, "the signature's code"},
	"IllegalSignId":   {notify.Configuration, "the signature's code"},
	"NOT_WHITE_IP":    {notify.Configuration, "the network place"},
	"InvalidMessage":  {notify.Permanent, "our payload"},
	"TooManyMobiles":  {notify.Permanent, "our payload"},
	"DupMobile":       {notify.Permanent, "our payload"},
	"InvalidMobile":   {notify.Recipient, "the number"},
}

// judge gives the meaning of a well-formed answer that is not success. What the short list lacks may have been taken.
func judge(status int, code string) meaning {
	if m, listed := codes[code]; listed && status < http.StatusInternalServerError {
		return m
	}
	return meaning{notify.Unknown, "it may have been taken"}
}

// ReadReceipt says what a report means. Carriers' codes are not explained: a failure is of unknown reason.
func (c *Client) ReadReceipt(success bool, _ string) (notify.Outcome, notify.Class) {
	if success {
		return notify.Arrived, notify.Unknown
	}
	return notify.NotArrived, notify.Unknown
}
