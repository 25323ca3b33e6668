package smssim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// A vendor is what differs between gateways in how they answer and report.
type vendor struct {
	render    func(a answer, requestID string) []byte
	refuse    map[FaultKind]func() answer // of the fault kinds that speak
	throttled func(http.Header)           // what goes along with Throttle, if anything
	apis      []string                    // that a fault may name

	batch   int                                         // most reports in one call
	again   []time.Duration                             // simulated time to the next call after a failed one, then never again
	report  func(*Gateway, []*receipt) []byte           // the body of a call
	heard   func(answer []byte) bool                    // whether the receiver's answer counts
	uplink  func(g *Gateway, phone, text string) []byte // the body that passes a reply on
	address func(cfg *Config) (receiptTo string)        // where reports go; empty: nowhere
	holds   func(cfg *Config) bool                      // whether replies wait until they are fetched
}

var vendors map[string]*vendor

func init() { // the methods reach the table through faults, so it cannot be initialised in place
	vendors = map[string]*vendor{
		"aliyun": {
			render: answer.render,
			refuse: map[FaultKind]func() answer{
				Throttle: func() answer {
					return failure(http.StatusBadRequest, "Throttling.User", "Request was denied due to user flow control.")
				},
				NonceUsed: func() answer {
					return failure(http.StatusBadRequest, "SignatureNonceUsed", "Specified signature nonce was used already.")
				},
				OutOfMoney: func() answer { return failure(http.StatusOK, "isv.AMOUNT_NOT_ENOUGH", "账户余额不足") },
				Reject: func() answer {
					return failure(http.StatusOK, "isv.SMS_CONTENT_ILLEGAL", "短信内容包含禁止发送内容")
				},
			},
			throttled: func(h http.Header) { h.Set("X-Ratelimit-User", "Limit:100,Remain:0,TimeLeft:500") },
			apis:      []string{"SendSms", "QuerySendDetails", "GetSmsTemplate", "GetSmsSign"},
			batch:     20, again: []time.Duration{time.Minute, 5 * time.Minute, 10 * time.Minute}, // A.8
			report: (*Gateway).reportAliyun, heard: heardAliyun, uplink: (*Gateway).uplinkAliyun,
			address: func(cfg *Config) string { return cfg.ReceiptTo },
			holds:   func(*Config) bool { return false },
		},
		"tencent": {
			render: renderTencent,
			refuse: map[FaultKind]func() answer{
				Throttle:  func() answer { return tc3Error("RequestLimitExceeded", "Too many requests.") },
				NonceUsed: func() answer { return tc3Error("InternalError.Timeout", "Timeout.") }, // there are no nonces; as ambiguous
				OutOfMoney: func() answer {
					return tc3Error("FailedOperation.InsufficientBalanceInSmsPackage", "The package is used up.")
				},
				Reject: func() answer { return tc3Error("FailedOperation.ContainSensitiveWord", "The content is not allowed.") },
			},
			apis:  []string{"SendSms", "PullSmsSendStatusByPhoneNumber", "PullSmsReplyStatus", "DescribeSmsTemplateList", "DescribeSmsSignList"},
			batch: 100, again: []time.Duration{time.Minute, 5 * time.Minute}, // twice (B.4); when is not known
			report: (*Gateway).reportTencent, heard: heardTencent, uplink: (*Gateway).uplinkTencent,
			address: func(cfg *Config) string { return cfg.Tencent.ReceiptTo },
			holds:   func(cfg *Config) bool { return cfg.Tencent.HoldReplies },
		},
		"mas": {
			render: renderMAS,
			refuse: map[FaultKind]func() answer{
				Throttle:   func() answer { return masRefusal("FlowControl") }, // no such code is documented: what the client must take as unknown
				NonceUsed:  func() answer { return masRefusal("Timeout") },
				OutOfMoney: func() answer { return masRefusal("InvalidUsrOrPwd") },
				Reject:     func() answer { return masRefusal("InvalidMessage") },
			},
			apis:   []string{"tmpsubmit", "norsubmit", "submit", "report", "deliver"},
			batch:  1, // one number a call (C.4); repeats are not documented
			report: (*Gateway).reportMAS, heard: func([]byte) bool { return true }, uplink: (*Gateway).uplinkMAS,
			address: func(cfg *Config) string { return cfg.MAS.ReceiptTo },
			holds:   func(cfg *Config) bool { return cfg.MAS.HoldReplies },
		},
	}
}

// encode is JSON without HTML escapes.
func encode(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(fmt.Sprintf("smssim: render an answer: %v", err)) // strings, numbers and lists of them only
	}
	return bytes.TrimSpace(b.Bytes())
}
