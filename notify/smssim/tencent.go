package smssim

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Defaults of a Tencent account that needs no configuration, and where its gateway is mounted.
const (
	SampleSecretID  = "AKIDz8FakeSecretIdForTests0001"
	SampleSecretKey = "FakeSecretKeyForTestsOnly0001"
	SampleAppID     = "1400006666"

	PrefixTencent = "/tencent/"
)

// Tencent sets the account there (dossier B). The zero value is a usable one.
type Tencent struct {
	SecretID  string // SampleSecretID
	SecretKey string // SampleSecretKey
	AppID     string // SampleAppID
	// Templates gives the number of variables of each approved template. With none, every template is known.
	Templates map[string]int

	VariableLimit int  // most characters of a variable; 6
	Echo          bool // support has switched on SessionContext in callbacks and pulls
	TopLevel      bool // refuse under Response.Error what is otherwise refused in the entry of the number
	HourlyLimit   int  // messages per number in an hour; none
	DailyLimit    int  // messages per number and calendar day; 10
	HoldReplies   bool // replies wait for PullSmsReplyStatus instead of being pushed
	ReceiptTo     string
}

func (t *Tencent) defaults() {
	for _, d := range []struct {
		s        *string
		fallback string
	}{{&t.SecretID, SampleSecretID}, {&t.SecretKey, SampleSecretKey}, {&t.AppID, SampleAppID}} {
		if *d.s == "" {
			*d.s = d.fallback
		}
	}
	if t.VariableLimit == 0 {
		t.VariableLimit = 6
	}
	if t.DailyLimit == 0 {
		t.DailyLimit = 10
	}
}

// tc3Error is the upper level of errors; HTTP says 200 whatever happened.
func tc3Error(code, message string) answer {
	return answer{http.StatusOK, map[string]any{"Error": map[string]string{"Code": code, "Message": message}}}
}

func renderTencent(a answer, requestID string) []byte {
	if a.status == 0 {
		return nil
	}
	fields := map[string]any{"RequestId": strings.ToLower(requestID)}
	for name, value := range a.fields {
		fields[name] = value
	}
	return encode(map[string]any{"Response": fields})
}

func (g *Gateway) serveTencent(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		write(w, http.StatusRequestEntityTooLarge, "text/plain", nil)
		return
	}
	pause(r.Context(), g.cfg.Latency)
	action := r.Header.Get("X-TC-Action")
	g.misbehave(w, r, vendors["tencent"], g.faults.pick("tencent", action, g.cfg.Now()), func() answer { return g.callTencent(r, action, body) })
}

func (g *Gateway) callTencent(r *http.Request, action string, body []byte) answer {
	if r.Method != http.MethodPost {
		return tc3Error("UnsupportedProtocol", "The request protocol is not supported.")
	}
	if a := g.authenticateTencent(r, body); a.status != 0 {
		return a
	}
	if r.Header.Get("X-TC-Version") != "2021-01-11" {
		return tc3Error("NoSuchVersion", "The specified version does not exist.")
	}
	if r.Header.Get("X-TC-Region") == "" {
		return tc3Error("MissingParameter", "The request is missing the parameter `Region`.")
	}
	switch action {
	case "SendSms":
		return g.sendTencent(body)
	case "PullSmsSendStatusByPhoneNumber":
		return g.pullTencent(body)
	case "PullSmsReplyStatus":
		return g.pullReplies(body)
	case "DescribeSmsTemplateList":
		return g.describeTemplates(body)
	case "DescribeSmsSignList":
		return g.describeSigns(body)
	}
	return tc3Error("InvalidAction", "The request action is invalid.")
}

var tc3Form = regexp.MustCompile(`^TC3-HMAC-SHA256 Credential=([^/]+)/(\d{4}-\d{2}-\d{2})/sms/tc3_request, SignedHeaders=([a-z;-]+), Signature=([0-9a-f]{64})$`)

// authenticateTencent verifies TC3-HMAC-SHA256 over what arrived (B.5).
func (g *Gateway) authenticateTencent(r *http.Request, body []byte) answer {
	m := tc3Form.FindStringSubmatch(r.Header.Get("Authorization"))
	if m == nil {
		return tc3Error("AuthFailure.InvalidAuthorization", "The Authorization header of the request does not comply with the standard.")
	}
	stamp, err := strconv.ParseInt(r.Header.Get("X-TC-Timestamp"), 10, 64)
	at := time.Unix(stamp, 0).UTC()
	switch off := g.cfg.Wall().Sub(at).Abs(); {
	case err != nil || off > 5*time.Minute || at.Format(time.DateOnly) != m[2]:
		return tc3Error("AuthFailure.SignatureExpire", "The signature has expired.")
	case m[1] != g.cfg.Tencent.SecretID:
		return tc3Error("AuthFailure.SecretIdNotFound", "The SecretId is not found, please ensure that your SecretId is correct.")
	}
	signed := strings.Split(m[3], ";")
	if !strings.HasPrefix(m[3], "content-type;host") {
		return tc3Error("AuthFailure.SignatureFailure", "content-type and host have to be signed.")
	}
	var headers strings.Builder
	for _, name := range signed {
		value := r.Header.Get(name)
		if name == "host" {
			value = r.Host
		}
		headers.WriteString(name + ":" + strings.TrimSpace(value) + "\n")
	}
	canonical := "POST\n/\n\n" + headers.String() + "\n" + m[3] + "\n" + hexHash(body)
	if want := tc3Signature(g.cfg.Tencent.SecretKey, "sms", at, canonical); !hmac.Equal([]byte(want), []byte(m[4])) {
		return tc3Error("AuthFailure.SignatureFailure", "The provided credentials could not be validated.")
	}
	return answer{}
}

func tc3Signature(secret, service string, at time.Time, canonical string) string {
	day := at.UTC().Format(time.DateOnly)
	key := []byte("TC3" + secret)
	for _, part := range []string{day, service, "tc3_request"} {
		key = hmacSHA256(key, part)
	}
	return hex.EncodeToString(hmacSHA256(key, fmt.Sprintf("TC3-HMAC-SHA256\n%d\n%s/%s/tc3_request\n%s", at.Unix(), day, service, hexHash([]byte(canonical)))))
}

func hmacSHA256(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// strictly reads a body that may hold no field the gateway does not know.
func strictly(body []byte, into any) answer {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil || dec.More() {
		return tc3Error("UnknownParameter", "The request has a parameter that cannot be read.")
	}
	return answer{}
}

// sendTencent is SendSms.
func (g *Gateway) sendTencent(body []byte) answer {
	var p struct {
		PhoneNumberSet, TemplateParamSet                                        []string
		SmsSdkAppId, TemplateId, SignName, SessionContext, ExtendCode, SenderId string
	}
	if a := strictly(body, &p); a.status != 0 {
		return a
	}
	switch n := len(p.PhoneNumberSet); {
	case n == 0:
		return tc3Error("MissingParameter.EmptyPhoneNumberSet", "PhoneNumberSet is empty.")
	case n > 200:
		return tc3Error("LimitExceeded.PhoneNumberCountLimit", "Too many numbers.")
	case len(p.SessionContext) >= 512:
		return tc3Error("InvalidParameterValue.SessionContextLimit", "SessionContext is too long.")
	}
	now := g.cfg.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	entries := []map[string]any{}
	for _, given := range p.PhoneNumberSet {
		code, serial := "Ok", ""
		phone := mobile.FindStringSubmatch(given)
		switch {
		case p.SmsSdkAppId != g.cfg.Tencent.AppID:
			code = "InvalidParameterValue.SdkAppIdNotExist"
		case p.SignName != g.cfg.SignName:
			code = "FailedOperation.SignatureIncorrectOrUnapproved"
		case phone == nil:
			code = "InvalidParameterValue.IncorrectPhoneNumber"
		case strings.HasSuffix(phone[1], "0008"): // a test number of contract.md
			code = "FailedOperation.PhoneNumberInBlacklist"
		default:
			code = g.tencentRefuses(phone[1], p.TemplateId, p.TemplateParamSet, now)
		}
		if code == "Ok" {
			g.accepted++
			serial = fmt.Sprintf("%d:%d", 2000+g.accepted, now.UnixNano())
			g.accept(&message{
				Message: Message{Gateway: "tencent", Phone: phone[1], Template: p.TemplateId, Params: numbered(p.TemplateParamSet), OutID: p.SessionContext, At: now},
				bizID:   serial, content: g.text(p.TemplateId, numbered(p.TemplateParamSet)),
			})
		} else if g.cfg.Tencent.TopLevel {
			return tc3Error(code, "refused")
		}
		fee := 0
		if serial != "" {
			fee = 1
		}
		entries = append(entries, map[string]any{"SerialNo": serial, "PhoneNumber": given, "Fee": fee, "SessionContext": p.SessionContext, "Code": code, "Message": "", "IsoCode": "CN"})
	}
	return answer{http.StatusOK, map[string]any{"SendStatusSet": entries}}
}

// tencentRefuses holds template, variables and the limits of a number against a message; Ok when nothing is wrong. The
// caller holds mu.
func (g *Gateway) tencentRefuses(phone, template string, params []string, now time.Time) string {
	if n, known := g.cfg.Tencent.Templates[template]; len(g.cfg.Tencent.Templates) > 0 && !known {
		return "FailedOperation.TemplateUnapprovedOrNotExist"
	} else if known && n != len(params) {
		return "FailedOperation.TemplateParamSetNotMatchApprovedTemplate"
	}
	for _, value := range params {
		if n := utf8.RuneCountInString(value); n > g.cfg.Tencent.VariableLimit {
			return "InvalidParameterValue.TemplateParameterLengthLimit"
		}
		if strings.Contains(value, "://") {
			return "InvalidParameterValue.ProhibitedUseUrlInTemplateParameter"
		}
	}
	content, today, lately := g.text(template, numbered(params)), 0, 0
	for _, m := range g.byPhone[phone] {
		if m.Gateway != "tencent" {
			continue
		}
		if m.content == content && now.Sub(m.At) < 30*time.Second {
			return "LimitExceeded.PhoneNumberThirtySecondLimit"
		}
		if m.At.In(beijing).Format(time.DateOnly) == now.In(beijing).Format(time.DateOnly) {
			today++
		}
		if now.Sub(m.At) < time.Hour {
			lately++
		}
	}
	if limit := g.cfg.Tencent.HourlyLimit; limit > 0 && lately >= limit {
		return "LimitExceeded.PhoneNumberOneHourLimit"
	}
	if today >= g.cfg.Tencent.DailyLimit {
		return "LimitExceeded.PhoneNumberDailyLimit"
	}
	return "Ok"
}

// numbered names variables by their place, as templates of the vendor do.
func numbered(values []string) map[string]string {
	params := make(map[string]string, len(values))
	for i, v := range values {
		params[strconv.Itoa(i+1)] = v
	}
	return params
}

// pullTencent is PullSmsSendStatusByPhoneNumber: only what a carrier has reported is there (B.2).
func (g *Gateway) pullTencent(body []byte) answer {
	var p struct {
		BeginTime, EndTime       int64
		Limit, Offset            int
		PhoneNumber, SmsSdkAppId string
	}
	if a := strictly(body, &p); a.status != 0 {
		return a
	}
	now, phone := g.cfg.Now(), mobile.FindStringSubmatch(p.PhoneNumber)
	begin, end := time.Unix(p.BeginTime, 0), time.Unix(p.EndTime, 0)
	switch {
	case phone == nil || !strings.HasPrefix(p.PhoneNumber, "+86"):
		return tc3Error("InvalidParameterValue.IncorrectPhoneNumber", "PhoneNumber is not of the form +86….")
	case p.SmsSdkAppId != g.cfg.Tencent.AppID:
		return tc3Error("InvalidParameterValue.SdkAppIdNotExist", "SmsSdkAppId is unknown.")
	case p.Limit < 1 || p.Limit > 100 || p.Offset != 0:
		return tc3Error("InvalidParameterValue.LimitOverflow", "Limit is from 1 to 100 and Offset is 0.")
	case end.Before(begin) || now.Sub(begin) > 7*24*time.Hour:
		return tc3Error("InvalidParameterValue.BeginTimeVerifyFail", "BeginTime is at most 7 days back.")
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	list := []map[string]any{}
	for _, m := range g.byPhone[phone[1]] {
		if m.Gateway != "tencent" || m.settled.After(now) || m.At.Truncate(time.Second).Before(begin) || m.At.After(end.Add(time.Second)) || len(list) == p.Limit {
			continue
		}
		status, context := "SUCCESS", ""
		if m.errCode != codeDelivered {
			status = "FAIL"
		}
		if g.cfg.Tencent.Echo {
			context = m.OutID
		}
		list = append(list, map[string]any{"UserReceiveTime": m.settled.Unix(), "CountryCode": "86", "SubscriberNumber": m.Phone, "PhoneNumber": "+86" + m.Phone,
			"SerialNo": m.bizID, "ReportStatus": status, "Description": m.errCode, "SessionContext": context})
	}
	return answer{http.StatusOK, map[string]any{"PullSmsSendStatusSet": list}}
}

// reportTencent is the body of the callback for delivery status (B.4).
func (g *Gateway) reportTencent(batch []*receipt) []byte {
	list := []map[string]string{}
	for _, r := range batch {
		m := r.m
		one := map[string]string{"user_receive_time": m.settled.In(beijing).Format(wireTime), "nationcode": "86", "mobile": m.Phone,
			"report_status": "SUCCESS", "errmsg": "DELIVRD", "description": "用户短信送达成功", "sid": m.bizID}
		if m.errCode != codeDelivered {
			one["report_status"], one["errmsg"], one["description"] = "FAIL", "MK:0001", "用户短信接收失败"
		}
		if g.cfg.Tencent.Echo {
			one["ext"] = m.OutID
		}
		list = append(list, one)
	}
	return encode(list)
}

func heardTencent(body []byte) bool {
	var reply struct {
		Result *int `json:"result"`
	}
	return json.Unmarshal(body, &reply) == nil && reply.Result != nil && *reply.Result == 0
}
