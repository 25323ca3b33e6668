package smssim

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"emsd/courier/asynctest"
)

const vectorHost = "dysmsapi.aliyuncs.com"

var torture = url.Values{"A": {""}, "PhoneNumbers": {"13900000000"}, "Z-y.x_w~": {"1"}, "TemplateParam": {"a b+c*d~e!f'g(h)i/j&k=l%m\"n中"}}

var sample = url.Values{
	"PhoneNumbers": {"13900000000"}, "SignName": {SampleSignName}, "TemplateCode": {"SMS_000000001"},
	"OutId": {"ntf_01JTEST0000000000000000001"}, "TemplateParam": {`{"name":"王小明","no":"EMS-1234 5678*~+/"}`},
}

const sampleForm = "OutId=ntf_01JTEST0000000000000000001&PhoneNumbers=13900000000&SignName=%E6%9F%90%E6%9F%90%E5%B8%82%E6%94%BF%E5%8A%A1%E6%9C%8D%E5%8A%A1&TemplateCode=SMS_000000001&TemplateParam=%7B%22name%22%3A%22%E7%8E%8B%E5%B0%8F%E6%98%8E%22%2C%22no%22%3A%22EMS-1234+5678%2A~%2B%2F%22%7D"

// The dossier's vectors, computed with the vendor's own SDK, and the one that the vendor publishes.
func TestSignaturesAgreeWithTheVendor(t *testing.T) {
	t.Parallel()
	common := map[string]string{
		"x-acs-action": "SendSms", "x-acs-version": "2017-05-25", "x-acs-date": "2026-01-02T03:04:05Z",
		"x-acs-signature-nonce": "0123456789abcdef0123456789abcdef",
	}
	tests := []struct {
		name, host, secret string
		query              url.Values
		body               string
		headers            map[string]string
		hash, signature    string
	}{
		{"V3-1 query", vectorHost, SampleAccessKeySecret, sample, "", nil,
			"16a214ce0a34e858bd3751e99222d65035278546277c66817aedc91010a29132", "b0fa727f38647db1b0d5ec21bb7e78258b4719aab0f31b0090d246b3b5d6175c"},
		{"V3-2 form", vectorHost, SampleAccessKeySecret, nil, sampleForm, map[string]string{"content-type": "application/x-www-form-urlencoded"},
			"", "5dfaf4083510bf751f8fe12ea8ad628eee9c7d668855442cccb6c9cce8e7ad12"},
		{"V3-3 encoding", vectorHost, SampleAccessKeySecret, torture, "", map[string]string{"x-acs-signature-nonce": "n-0001"},
			"", "c997546d92033c08c903cfd26c53239de736c6c3cb53e8d94497ff64c8f829b8"},
		{"V3-4 STS", vectorHost, "FakeStsSecret01", torture, "",
			map[string]string{"x-acs-signature-nonce": "n-0001", "x-acs-accesskey-id": "STS.FakeKey01", "x-acs-security-token": "FakeStsToken01"},
			"", "34cc4b32a2b60a865a30b3bf4e45d859134bb64d37b06fcbf5e82aa1980d1349"},
		{"published", "ecs.cn-shanghai.aliyuncs.com", "YourAccessKeySecret",
			url.Values{"ImageId": {"win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd"}, "RegionId": {"cn-shanghai"}}, "",
			map[string]string{"x-acs-action": "RunInstances", "x-acs-version": "2014-05-26", "x-acs-date": "2023-10-26T10:22:32Z",
				"x-acs-signature-nonce": "3156853299f313e23d1673dc12e1703d"},
			"7ea06492da5221eba5297e897ce16e55f964061054b7695beedaac1145b1e259", "06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "http://"+tt.host+"/?"+tt.query.Encode(), strings.NewReader(tt.body))
			hash := hexHash([]byte(tt.body))
			r.Header.Set("x-acs-content-sha256", hash)
			for _, set := range []map[string]string{common, tt.headers} {
				for name, value := range set {
					r.Header.Set(name, value)
				}
			}
			canonical := canonicalRequest(r, "/", signedNames(r), hash)
			if got := hexHash([]byte(canonical)); tt.hash != "" && got != tt.hash {
				t.Errorf("hash %s, want %s, of\n%s", got, tt.hash, canonical)
			}
			if got := sign(tt.secret, canonical); got != tt.signature {
				t.Errorf("signature %s, want %s, over\n%s", got, tt.signature, canonical)
			}
		})
	}
}

func signedNames(r *http.Request) []string {
	a := authorization{signed: []string{"host"}}
	if r.Header.Get("Content-Type") != "" {
		a.signed = []string{"content-type", "host"}
	}
	for missing := a.unsigned(r.Header); missing != ""; missing = a.unsigned(r.Header) {
		a.signed = append(a.signed, missing)
	}
	slices.Sort(a.signed)
	return a.signed
}

// rig is a gateway on a server, both clocks moved by hand, and a customer who signs as the dossier says.
type rig struct {
	t   *testing.T
	g   *Gateway
	url string
	now atomic.Int64
}

var start = time.Date(2026, 11, 23, 10, 0, 0, 0, beijing)

func newRig(t *testing.T, cfg Config) *rig {
	t.Helper()
	r := &rig{t: t}
	r.now.Store(start.UnixNano())
	cfg.Now = r.time
	cfg.Wall = func() time.Time { return start }
	r.g = New(cfg)
	srv := httptest.NewServer(r.g)
	t.Cleanup(srv.Close)
	r.url = srv.URL + PrefixAliyun
	return r
}

func (r *rig) time() time.Time { return time.Unix(0, r.now.Load()) }

func (r *rig) forward(d time.Duration) { r.now.Add(int64(d)) }

var nonce atomic.Int64

// request is a signed call; edit changes it after signing.
func (r *rig) request(action string, params url.Values, edit func(*http.Request)) *http.Request {
	r.t.Helper()
	q, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, r.url+"?"+params.Encode(), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	for name, value := range map[string]string{
		"x-acs-action": action, "x-acs-version": "2017-05-25", "x-acs-date": start.UTC().Format("2006-01-02T15:04:05Z"),
		"x-acs-signature-nonce": fmt.Sprint("n", nonce.Add(1)), "x-acs-content-sha256": hexHash(nil),
	} {
		q.Header.Set(name, value)
	}
	signed := signedNames(q)
	q.Header.Set("Authorization", algorithm+" Credential="+SampleAccessKeyID+",SignedHeaders="+strings.Join(signed, ";")+
		",Signature="+sign(SampleAccessKeySecret, canonicalRequest(q, "/", signed, hexHash(nil))))
	if edit != nil {
		edit(q)
	}
	return q
}

type reply struct {
	Status                       int
	Code, Message, BizId, HostId string
	RequestId, TotalCount        string
	SmsSendDetailDTOs            struct{ SmsSendDetailDTO []detail }
}

func (r *rig) do(q *http.Request) (reply, error) {
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return reply{}, err
	}
	out := reply{}
	err = json.Unmarshal(body, &out)
	out.Status = resp.StatusCode
	return out, err
}

func (r *rig) call(action string, params url.Values) reply {
	r.t.Helper()
	got, err := r.do(r.request(action, params, nil))
	if err != nil {
		r.t.Fatal(err)
	}
	return got
}

func sms(phone, outID string, edits ...string) url.Values {
	v := url.Values{"PhoneNumbers": {phone}, "SignName": {SampleSignName}, "TemplateCode": {"SMS_1"}, "TemplateParam": {`{"no":"1200000001417"}`}, "OutId": {outID}}
	for i := 0; i < len(edits); i += 2 {
		v.Set(edits[i], edits[i+1])
	}
	return v
}

func query(phone, day string) url.Values {
	return url.Values{"PhoneNumber": {phone}, "SendDate": {day}, "PageSize": {"10"}, "CurrentPage": {"1"}}
}

func TestAMessageIsAcceptedFoundAndDelivered(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{Templates: map[string][]string{"SMS_1": {"no"}}})
	sent := r.call("SendSms", sms("13900000001", "out-1"))
	if sent.Status != 200 || sent.Code != "OK" || sent.BizId == "" || sent.RequestId == "" {
		t.Fatalf("SendSms = %+v", sent)
	}
	found := r.call("QuerySendDetails", query("13900000001", "20261123"))
	if list := found.SmsSendDetailDTOs.SmsSendDetailDTO; found.TotalCount != "1" || len(list) != 1 || list[0].OutId != "out-1" || list[0].SendStatus != 1 {
		t.Errorf("QuerySendDetails at once = %+v", found)
	}
	r.forward(time.Minute)
	found = r.call("QuerySendDetails", query("13900000001", "20261123"))
	if list := found.SmsSendDetailDTOs.SmsSendDetailDTO; len(list) != 1 || list[0].SendStatus != 3 || list[0].ErrCode != "DELIVERED" {
		t.Errorf("QuerySendDetails later = %+v", found)
	}
	if other := r.call("QuerySendDetails", query("13900000001", "20261122")); other.TotalCount != "0" {
		t.Errorf("another day = %+v", other)
	}
	got := r.g.Messages()
	if len(got) != 1 || !got[0].Delivered || got[0].OutID != "out-1" || got[0].Params["no"] != "1200000001417" {
		t.Errorf("ledger %+v", got)
	}
}

func TestTheGatewayVerifiesWhatArrives(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{})
	tests := []struct {
		name string
		edit func(*http.Request)
		code string
	}{
		{"a changed parameter", func(q *http.Request) { q.URL.RawQuery += "&SmsUpExtendCode=1" }, "SignatureDoesNotMatch"},
		{"an unsigned x-acs header", func(q *http.Request) { q.Header.Set("x-acs-credentials-provider", "static_ak") }, "SignatureDoesNotMatch"},
		{"a changed header", func(q *http.Request) { q.Header.Set("x-acs-action", "QuerySendDetails") }, "SignatureDoesNotMatch"},
		{"another host", func(q *http.Request) { q.Host = "example.com" }, "SignatureDoesNotMatch"},
		{"an unsigned body", func(q *http.Request) { q.Body = io.NopCloser(strings.NewReader("a=b")); q.ContentLength = 3 }, "SignatureDoesNotMatch"},
		{"no authorization", func(q *http.Request) { q.Header.Del("Authorization") }, "MissingAccessKeyId"},
		{"an unknown key", func(q *http.Request) {
			q.Header.Set("Authorization", strings.Replace(q.Header.Get("Authorization"), SampleAccessKeyID, "LTAIother", 1))
		}, "InvalidAccessKeyId.NotFound"},
		{"spaces behind commas", func(q *http.Request) {
			q.Header.Set("Authorization", strings.ReplaceAll(q.Header.Get("Authorization"), ",", ", "))
		}, "IncompleteSignature"},
		{"an old date", func(q *http.Request) { q.Header.Set("x-acs-date", "2026-11-23T01:44:59Z") }, "InvalidTimeStamp.Expired"},
		{"a local date", func(q *http.Request) { q.Header.Set("x-acs-date", "2026-11-23T10:00:00Z") }, "InvalidTimeStamp.Expired"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := r.do(r.request("SendSms", sms("13900000001", "x"), tt.edit))
			if err != nil || got.Code != tt.code || got.Status < 400 {
				t.Errorf("answer %+v, %v; want %s", got, err, tt.code)
			}
		})
	}
	if n := len(r.g.Messages()); n != 0 {
		t.Errorf("%d messages were accepted", n)
	}
}

func TestANonceWorksOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{})
	q := r.request("SendSms", sms("13900000001", "x"), nil)
	for i, want := range []string{"OK", "SignatureNonceUsed"} {
		if got, err := r.do(q.Clone(t.Context())); err != nil || got.Code != want {
			t.Errorf("try %d = %+v, %v; want %s", i+1, got, err, want)
		}
	}
	if n := len(r.g.Messages()); n != 1 {
		t.Errorf("%d messages, want 1", n)
	}
}

func TestParametersAreReadFromAFormBodyToo(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{})
	body := sms("13900000001", "form").Encode()
	got, err := r.do(r.request("SendSms", nil, func(q *http.Request) {
		q.Body, q.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
		q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		q.Header.Set("x-acs-content-sha256", hexHash([]byte(body)))
		signed := signedNames(q)
		q.Header.Set("Authorization", algorithm+" Credential="+SampleAccessKeyID+",SignedHeaders="+strings.Join(signed, ";")+
			",Signature="+sign(SampleAccessKeySecret, canonicalRequest(q, "/aliyun/", signed, hexHash([]byte(body))))) // the mounted path is accepted as well
	}))
	if err != nil || got.Code != "OK" {
		t.Fatalf("answer %+v, %v", got, err)
	}
	if m := r.g.Messages(); len(m) != 1 || m[0].OutID != "form" {
		t.Errorf("ledger %+v", m)
	}
}

func TestBadMessagesAreRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{Templates: map[string][]string{"SMS_1": {"no"}}})
	tests := []struct {
		name, phone string
		edits       []string
		code        string
	}{
		{"a short number", "1390000000", nil, "isv.MOBILE_NUMBER_ILLEGAL"},
		{"the number refused for good", "13900000008", nil, "isv.MOBILE_NUMBER_ILLEGAL"},
		{"no number", "", nil, "MissingPhoneNumbers"},
		{"another signature", "13900000001", []string{"SignName", "别人"}, "isv.SMS_SIGNATURE_ILLEGAL"},
		{"an unknown template", "13900000001", []string{"TemplateCode", "SMS_2"}, "isv.SMS_TEMPLATE_ILLEGAL"},
		{"a missing variable", "13900000001", []string{"TemplateParam", `{"name":"x"}`}, "isv.TEMPLATE_MISSING_PARAMETERS"},
		{"no variables", "13900000001", []string{"TemplateParam", ""}, "isv.TEMPLATE_MISSING_PARAMETERS"},
		{"a number as value", "13900000001", []string{"TemplateParam", `{"no":1}`}, "isv.INVALID_JSON_PARAM"},
		{"broken JSON", "13900000001", []string{"TemplateParam", `{"no":`}, "isv.INVALID_JSON_PARAM"},
		{"a long value", "13900000001", []string{"TemplateParam", `{"no":"` + strings.Repeat("长", 36) + `"}`}, "isv.PARAM_LENGTH_LIMIT"},
		{"an empty value", "13900000001", []string{"TemplateParam", `{"no":""}`}, "isv.PARAM_LENGTH_LIMIT"},
		{"a link", "13900000001", []string{"TemplateParam", `{"no":"https://e.cn"}`}, "isv.PARAM_NOT_SUPPORT_URL"},
		{"brackets", "13900000001", []string{"TemplateParam", `{"no":"【x】"}`}, "isv.SMS_CONTENT_ILLEGAL"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := r.call("SendSms", sms(tt.phone, "x", tt.edits...)); got.Code != tt.code || got.BizId != "" {
				t.Errorf("answer %+v, want %s", got, tt.code)
			}
		})
	}
	if n := len(r.g.Messages()); n != 0 {
		t.Errorf("%d messages were accepted", n)
	}
}

func TestANumberHasADailyLimit(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{DailyLimit: 2})
	for i, want := range []string{"OK", "OK", "isv.BUSINESS_LIMIT_CONTROL"} {
		if got := r.call("SendSms", sms("13900000001", fmt.Sprint(i))); got.Code != want {
			t.Errorf("message %d = %+v, want %s", i+1, got, want)
		}
	}
	if got := r.call("SendSms", sms("13900000002", "other")); got.Code != "OK" {
		t.Errorf("another number = %+v", got)
	}
	r.forward(24 * time.Hour)
	if got := r.call("SendSms", sms("13900000001", "later")); got.Code != "OK" {
		t.Errorf("a day later = %+v", got)
	}
}

func TestFaultsOfTheGateway(t *testing.T) {
	t.Parallel()
	tests := []struct {
		kind     FaultKind
		code     string // "" means no readable answer
		accepted int
	}{
		{LoseReply, "", 1}, {LoseRequest, "", 0}, {HTTP502, "", 0}, {HTML, "", 0}, {Truncate, "", 1},
		{Throttle, "Throttling.User", 0}, {NonceUsed, "SignatureNonceUsed", 1}, {OutOfMoney, "isv.AMOUNT_NOT_ENOUGH", 0},
		{Reject, "isv.SMS_CONTENT_ILLEGAL", 0},
	}
	for _, tt := range tests {
		t.Run(string(tt.kind), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, Config{})
			r.g.SetFault(Fault{API: "SendSms", Kind: tt.kind, Count: 1})
			got, err := r.do(r.request("SendSms", sms("13900000001", "x"), nil))
			if (err != nil) != (tt.code == "") || got.Code != tt.code {
				t.Errorf("answer %+v, %v; want %q", got, err, tt.code)
			}
			if n := len(r.g.Messages()); n != tt.accepted {
				t.Errorf("%d messages accepted, want %d", n, tt.accepted)
			}
			if got := r.call("SendSms", sms("13900000001", "y")); got.Code != "OK" {
				t.Errorf("the fault was to hit once: %+v", got)
			}
		})
	}
}

func TestAHungCallEndsWhenTheClientGivesUp(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{})
	r.g.Next(Hang)
	q := r.request("SendSms", sms("13900000001", "x"), nil)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if got, err := r.do(q.WithContext(ctx)); err == nil {
		t.Errorf("a hung call answered %+v", got)
	}
}

// receiver counts SmsReport entries by out_id and refuses the first calls.
type receiver struct {
	mu      sync.Mutex
	refuse  int
	reports map[string]int
	calls   int
}

func (v *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var list []struct {
		OutID   string `json:"out_id"`
		Success bool   `json:"success"`
		Size    string `json:"sms_size"`
	}
	if err := json.NewDecoder(r.Body).Decode(&list); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.calls++
	if v.calls <= v.refuse {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	for _, one := range list {
		v.reports[one.OutID]++
	}
	io.WriteString(w, `{"code":0,"msg":"接收成功"}`)
}

func (v *receiver) count(outID string) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.reports[outID]
}

func (v *receiver) called() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.calls
}

func TestReceiptsAreRetriedAndMayComeTwice(t *testing.T) {
	t.Parallel()
	v := &receiver{refuse: 2, reports: map[string]int{}}
	srv := httptest.NewServer(v)
	defer srv.Close()
	r := newRig(t, Config{ReceiptTo: srv.URL, TwiceReceipts: 1})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); r.g.Run(ctx) }()
	r.call("SendSms", sms("13900000001", "out-1"))
	asynctest.Eventually(t, "two receipts, after two refused calls", func() bool {
		r.forward(10 * time.Second)
		return v.count("out-1") == 2
	})
	if got := v.called(); got < 3 {
		t.Errorf("%d calls for two refused and two received reports", got)
	}
	cancel()
	<-done
}

func FuzzParseAuthorization(f *testing.F) {
	f.Add(algorithm + " Credential=a,SignedHeaders=host;x-acs-date,Signature=00")
	f.Add(algorithm + " Credential=,SignedHeaders=,Signature=")
	f.Fuzz(func(t *testing.T, header string) {
		a, ok := parseAuthorization(header)
		back := algorithm + " Credential=" + a.credential + ",SignedHeaders=" + strings.Join(a.signed, ";") + ",Signature=" + a.signature
		if ok && back != header {
			t.Errorf("%q reads as %q", header, back)
		}
	})
}
