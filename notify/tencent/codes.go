package tencent

import (
	"net/http"
	"strings"
	"time"

	"emsd/notify"
)

// A meaning is what a code says about a message (dossier B.7).
type meaning struct {
	class    notify.Class
	template bool // Configuration of one template only
	unlisted bool // nobody knows the code
	word     string
	wait     func(now time.Time) time.Duration // of Throttle; nil: the gateway does not say
}

var (
	account   = meaning{class: notify.Configuration, word: "the account"}
	funds     = meaning{class: notify.Configuration, word: "no money"}
	volume    = meaning{class: notify.Configuration, word: "the application's own volume limit"}
	access    = meaning{class: notify.Configuration, word: "credentials, clock or network place"}
	signature = meaning{class: notify.Configuration, word: "the signature"}
	template  = meaning{class: notify.Configuration, template: true, word: "the template"}
	unlisted  = meaning{class: notify.Configuration, unlisted: true, word: "a code that the table lacks"}
	strange   = meaning{class: notify.Unknown, unlisted: true, word: "a code that the table lacks; it may have been taken"}
	payload   = meaning{class: notify.Permanent, word: "our payload"}
	variable  = meaning{class: notify.Permanent, word: "the value of a variable"}
	badNumber = meaning{class: notify.Recipient, word: "the number"}
	pace      = meaning{class: notify.Throttle, word: "too many requests"}
	unclear   = meaning{class: notify.Unknown, word: "it may have been taken"}

	halfMinute = meaning{class: notify.Throttle, word: "too many messages to the number", wait: func(time.Time) time.Duration { return 31 * time.Second }}
	anHour     = meaning{class: notify.Throttle, word: "too many messages to the number", wait: func(time.Time) time.Duration { return time.Hour }}
	tomorrow   = meaning{class: notify.Throttle, word: "too many messages to the number today", wait: untilTomorrow}
)

// untilTomorrow is until the next calendar day in China, on which counts start again (B.8).
func untilTomorrow(now time.Time) time.Duration {
	y, m, d := now.In(beijing).Date()
	return time.Date(y, m, d+1, 0, 0, 1, 0, beijing).Sub(now)
}

var beijing = time.FixedZone("Asia/Shanghai", 8*60*60)

// codes are the answers of both levels. What they lack is judged by its family.
var codes = map[string]meaning{
	"LimitExceeded.PhoneNumberThirtySecondLimit":     halfMinute,
	"LimitExceeded.PhoneNumberOneHourLimit":          anHour,
	"LimitExceeded.DeliveryFrequencyLimit":           anHour,
	"LimitExceeded.PhoneNumberDailyLimit":            tomorrow,
	"LimitExceeded.PhoneNumberSameContentDailyLimit": tomorrow,
	"LimitExceeded.AppDailyLimit":                    volume,
	"LimitExceeded.AppMainlandChinaDailyLimit":       volume,
	"LimitExceeded.PhoneNumberCountLimit":            payload,

	"FailedOperation.FailResolvePacket": payload,
	"FailedOperation.JsonParseFail":     payload,

	"InvalidParameterValue.IncorrectPhoneNumber": badNumber,
	"FailedOperation.PhoneNumberInBlacklist":     badNumber,

	"InvalidParameterValue.TemplateParameterLengthLimit":        variable,
	"InvalidParameterValue.TemplateParameterFormatError":        variable,
	"InvalidParameterValue.ContentLengthLimit":                  variable,
	"InvalidParameterValue.ProhibitedUseUrlInTemplateParameter": variable,
	"FailedOperation.ContainSensitiveWord":                      variable,
	"FailedOperation.TemplateParamSetNotMatchApprovedTemplate":  variable,
	"FailedOperation.SignatureIncorrectOrUnapproved":            signature,
	"FailedOperation.TemplateIncorrectOrUnapproved":             template,
	"FailedOperation.TemplateUnapprovedOrNotExist":              template,
	"FailedOperation.MarketingSendTimeConstraint":               template,
	"UnsupportedOperation.UnsupportedTemplateVariable":          template,
	"InvalidParameterValue.SdkAppIdNotExist":                    account,
	"FailedOperation.InsufficientBalanceInSmsPackage":           funds,
	"UnauthorizedOperation.ServiceSuspendDueToArrears":          funds,
	"InternalError.RequestTimeException":                        access,
	"InternalError.SigVerificationFail":                         access,
	"InternalError.SigFieldMissing":                             access,
	"InternalError.RestApiInterfaceNotExist":                    access,
	"InternalError.Timeout":                                     unclear,
	"InternalError.SendAndRecvFail":                             unclear,
	"InternalError.OtherError":                                  unclear,
	"InternalError.UnknownError":                                unclear,
	"InternalError.ParseBackendResponseFail":                    unclear,
	"ServiceUnavailable":                                        unclear,
}

// families judge a code that the table lacks. A business code that nobody knows stops the gateway rather than loop over
// it; whatever may have been taken is asked about.
var families = map[string]meaning{
	"RequestLimitExceeded":  pace, // not executed (B.7)
	"MissingParameter":      payload,
	"InvalidParameter":      payload,
	"UnsupportedOperation":  account,
	"UnauthorizedOperation": account,
	"AuthFailure":           access,
	"InvalidParameterValue": unlisted,
	"FailedOperation":       unlisted,
	"LimitExceeded":         unlisted,
}

// judge gives the meaning of a well-formed answer that is not Ok.
func judge(status int, code string) meaning {
	if m, listed := codes[code]; listed {
		return m
	}
	family, _, _ := strings.Cut(code, ".")
	switch m, known := families[family]; {
	case status >= http.StatusInternalServerError:
		return unclear
	case known:
		return m
	}
	return strange
}

func (c *Client) refusal(status int, code string) *notify.SendError {
	m := judge(status, code)
	e := &notify.SendError{Class: m.class, Code: code, Message: m.word, ThisTemplate: m.template, Unlisted: m.unlisted}
	if m.wait != nil {
		e.RetryAfter = m.wait(c.cfg.Now())
	}
	return e
}

// ReadReceipt says what a receipt means. A carrier's code is not explained by the vendor: a failure is of unknown reason.
func (c *Client) ReadReceipt(success bool, code string) (notify.Outcome, notify.Class) {
	if success || code == "DELIVRD" {
		return notify.Arrived, notify.Unknown
	}
	return notify.NotArrived, notify.Unknown
}
