package aliyun

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"emsd/notify"
)

// A meaning is what a code says about a message (dossier A.7).
type meaning struct {
	class       notify.Class
	template    bool // Configuration of one template only
	unlisted    bool // nobody knows the code
	unexplained bool // nobody knows the code, but what its family asks for
	word        string
}

var (
	account   = meaning{class: notify.Configuration, word: "the account"}
	funds     = meaning{class: notify.Configuration, word: "no money"}
	volume    = meaning{class: notify.Configuration, word: "the account's own volume limit"}
	access    = meaning{class: notify.Configuration, word: "credentials, clock or network place"}
	signature = meaning{class: notify.Configuration, word: "the signature"}
	carrier   = meaning{class: notify.Unregistered, word: "the carrier does not know the signature"}
	template  = meaning{class: notify.Configuration, template: true, word: "the template"}
	payload   = meaning{class: notify.Permanent, word: "our payload"}
	variable  = meaning{class: notify.Permanent, word: "the value of a variable"}
	number    = meaning{class: notify.Recipient, word: "the number"}
	perNumber = meaning{class: notify.Throttle, word: "too many messages to the number"}
	pace      = meaning{class: notify.Throttle, word: "too many requests"}
	unclear   = meaning{class: notify.Unknown, word: "it may have been taken"}
)

// codes are the answers to SendSms. What they lack is classed by unlisted.
var codes = map[string]meaning{
	"isv.BUSINESS_LIMIT_CONTROL": perNumber,
	"isv.DAY_LIMIT_CONTROL":      volume,
	"isv.MONTH_LIMIT_CONTROL":    volume,

	"isv.MOBILE_NUMBER_ILLEGAL":   number,
	"isv.BLACK_KEY_CONTROL_LIMIT": number,
	"isv.CUSTOMER_REFUSED":        number,
	"isv.MOBILE_COUNT_OVER_LIMIT": payload,

	"isv.SMS_TEMPLATE_ILLEGAL":          template,
	"isv.SMS_SIGNATURE_SCENE_ILLEGAL":   template,
	"isv.DOMESTIC_NUMBER_NOT_SUPPORTED": template,
	"isv.SMS_SIGNATURE_ILLEGAL":         signature,
	"isv.SMS_SIGN_ILLEGAL":              signature,
	"isv.SIGN_STATE_ILLEGAL":            signature,
	"isv.SIGN_NAME_ILLEGAL":             signature,
	"isv.EXTEND_CODE_ERROR":             signature,
	"isv.ONE_CODE_MULTIPLE_SIGN":        signature,
	"isv.CODE_ERROR":                    signature,
	"isv.CODE_EXCEED_LIMIT":             signature,
	"PORT_NOT_REGISTERED":               carrier,

	"isv.TEMPLATE_MISSING_PARAMETERS": payload,
	"isv.INVALID_JSON_PARAM":          payload,
	"isv.INVALID_PARAMETERS":          payload,
	"PARAMS_ILLEGAL":                  payload,

	"isv.TEMPLATE_PARAMS_ILLEGAL":            variable,
	"isv.PARAM_LENGTH_LIMIT":                 variable,
	"isv.PARAM_NOT_SUPPORT_URL":              variable,
	"isv.SMS_CONTENT_ILLEGAL":                variable,
	"isv.UNSUPPORTED_CONTENT":                variable,
	"isv.SMS_CONTENT_MISMATCH_TEMPLATE_TYPE": variable,

	"isv.OUT_OF_SERVICE":          funds,
	"isv.AMOUNT_NOT_ENOUGH":       funds,
	"isv.ACCOUNT_NOT_EXISTS":      account,
	"isv.ACCOUNT_ABNORMAL":        account,
	"isv.SECURITY_FROZEN_ACCOUNT": account,
	"isv.PRODUCT_UN_SUBSCRIPT":    account,
	"isv.PRODUCT_UNSUBSCRIBE":     account,

	"isp.RAM_PERMISSION_DENY":              access,
	"isv.DENY_IP_RANGE":                    access,
	"InvalidAccessKeyId.NotFound":          access,
	"SignatureDoesNotMatch":                access,
	"IncompleteSignature":                  access,
	"InvalidTimeStamp.Expired":             access,
	"InvalidVersion":                       access,
	"InvalidAction.NotFound":               access,
	"MissingAccessKeyId":                   access,
	"isv.SMS_TEST_NUMBER_LIMIT":            account,
	"isv.SMS_TEST_SIGN_TEMPLATE_LIMIT":     account,
	"isv.SMS_TEST_TEMPLATE_PARAMS_ILLEGAL": account,
	"isv.SMS_OVER_LIMIT":                   account,
	"isv.TEMPLATE_COUNT_OVER_LIMIT":        account,
	"isv.SIGN_COUNT_OVER_LIMIT":            account,

	"Throttling":      pace,
	"Throttling.User": pace,
	"Throttling.Api":  pace,

	// The nonce was seen: an earlier copy of this very request has arrived (E.3).
	"SignatureNonceUsed": unclear,
	"isp.SYSTEM_ERROR":   unclear,
	"isp.GATEWAY_ERROR":  unclear,
	"InternalError":      unclear,
	"ServiceUnavailable": unclear,
}

// judge gives the meaning of a well-formed answer that is not OK.
func judge(status int, code string) meaning {
	if m, listed := codes[code]; listed {
		return m
	}
	return unlisted(status, code)
}

// unlisted stops for a business code that nobody knows, rather than loop over it; whatever may have been taken is asked about.
// Anything that begins with isp. is the platform's own trouble, which A.7 wants asked about and does not stop for: no message
// goes twice, and a person is told of the code.
func unlisted(status int, code string) meaning {
	const word = "a code that the table lacks"
	switch {
	case strings.HasPrefix(code, "Throttling."):
		return pace
	case strings.HasPrefix(code, "isp."):
		return meaning{class: notify.Unknown, unexplained: true, word: "a code that the table lacks; it may have been taken"}
	case status >= http.StatusInternalServerError:
		return unclear
	case strings.HasPrefix(code, "isv."), status >= http.StatusBadRequest:
		return meaning{class: notify.Configuration, unlisted: true, word: word}
	}
	return meaning{class: notify.Unknown, unlisted: true, word: word}
}

// maxWait bounds what a gateway may make a message wait.
const maxWait = 24 * time.Hour

// perNumberWait is the rest of the window that the text names; minutes and hours are clock windows in Beijing, a day is
// 24 hours (A.9). Without a window it is a guess at the shortest that is not a nuisance.
func perNumberWait(message string, now time.Time) time.Duration {
	switch {
	case strings.Contains(message, "分钟级"):
		return rest(now, time.Minute)
	case strings.Contains(message, "小时级"):
		return rest(now, time.Hour)
	case strings.Contains(message, "天级"):
		return maxWait
	}
	return rest(now, time.Hour)
}

// rest is what is left of a window, and a second more. Beijing's offset is whole hours, so UTC windows are its windows.
func rest(now time.Time, window time.Duration) time.Duration {
	return now.Truncate(window).Add(window).Sub(now) + time.Second
}

var timeLeft = regexp.MustCompile(`TimeLeft:([0-9]{1,9})`)

// paceWait reads how long the account is throttled; the larger header counts. The unit is not documented: taken as
// milliseconds, with a floor, and a ceiling in case it is not.
func paceWait(headers http.Header) time.Duration {
	var wait time.Duration
	for _, name := range []string{"x-ratelimit-user-api", "x-ratelimit-user"} {
		if m := timeLeft.FindStringSubmatch(headers.Get(name)); m != nil {
			n, err := strconv.Atoi(m[1])
			if err == nil {
				wait = max(wait, time.Duration(n)*time.Millisecond)
			}
		}
	}
	return min(max(wait, time.Second), time.Minute)
}

// receiptCodes are the carriers' words in receipts and query answers (A.7).
var receiptCodes = map[string]notify.Class{
	"MOBILE_NOT_ON_SERVICE":   notify.Recipient,
	"INVALID_NUMBER":          notify.Recipient,
	"MOBILE_SEND_LIMIT":       notify.Throttle,
	"MOBILE_ACCOUNT_ABNORMAL": notify.Recipient,
	"MOBLLE_TERMINAL_ERROR":   notify.Recipient, // spelt so
	"MOBILE_TERMINAL_ERROR":   notify.Recipient,
	"MOBILE_IN_BLACK":         notify.Recipient,
	"USER_REJECT":             notify.Recipient,
	"CONTENT_KEYWORD":         notify.Permanent,
	"CONTENT_ERROR":           notify.Permanent,
	"NO_ROUTE":                notify.Configuration,
	"PORT_NOT_REGISTERED":     notify.Unregistered,
	"IS_CLOSE":                notify.Transient,
	"SP_UNKNOWN_ERROR":        notify.Unknown, // not delivered, for a reason that the carrier does not tell
}

// ReadReceipt says what a receipt means. REQUEST_SUCCESS is no carrier's word: the platform has taken the message. A
// raw carrier code that the table lacks is a failure of unknown reason.
func (c *Client) ReadReceipt(success bool, code string) (notify.Outcome, notify.Class) {
	switch {
	case code == "REQUEST_SUCCESS":
		return notify.Pending, notify.Unknown
	case success, code == "DELIVERED", code == "DELIVRD":
		return notify.Arrived, notify.Unknown
	}
	return notify.NotArrived, receiptCodes[code]
}
