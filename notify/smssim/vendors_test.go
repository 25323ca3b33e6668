package smssim

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// The dossier's vectors (B.6): the SDK's and the published one.
func TestTencentSignaturesAgreeWithTheVendor(t *testing.T) {
	t.Parallel()
	const body = `{"PhoneNumberSet":["+8613900000000"],"SessionContext":"ntf_01JTEST0000000000000000001","SignName":"某某市政务服务","SmsSdkAppId":"1400006666","TemplateId":"1110","TemplateParamSet":["王小明","EMS-1234"]}`
	canonical := "POST\n/\n\ncontent-type:application/json\nhost:sms.tencentcloudapi.com\n\ncontent-type;host\n" + hexHash([]byte(body))
	if got := hexHash([]byte(canonical)); got != "f9001fe61fb068fb1f59c1d8e079aa0627f3392d2f12d90e6865a3a5f4cac734" {
		t.Errorf("hash of the request %s", got)
	}
	if got := tc3Signature(SampleSecretKey, "sms", time.Unix(1767323045, 0), canonical); got != "6506ee7f8ba5b036fd8d3495199440a40dda127da60064cc109a098b256c3b22" {
		t.Errorf("signature %s", got)
	}
	canonical = "POST\n/\n\ncontent-type:application/json; charset=utf-8\nhost:cvm.tencentcloudapi.com\n\ncontent-type;host\n35e9c5b0e3ae67532d3c9f17ead6c90222632e5b1ff7f6e89887f1398934f064"
	if got := tc3Signature("Gu5t9xGARNpq86cd98joQYCN3EXAMPLE", "cvm", time.Unix(1551113065, 0), canonical); got != "72e494ea809ad7a8c8f7a4507b9bddcbaa8e581f516e8da2f66e2c5a96525168" {
		t.Errorf("published signature %s", got)
	}
}

func postTo(t *testing.T, g *Gateway, path, body string, headers map[string]string) string {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "http://sms.tencentcloudapi.com"+path, strings.NewReader(body))
	for name, value := range headers {
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	g.ServeHTTP(w, r)
	answer, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(answer)
}

// A request is refused for one changed byte, for a day that is China's, and for a clock that is off.
func TestTencentIsStrict(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 1, 17, 30, 0, 0, time.UTC) // already the second in China
	g := New(Config{Now: func() time.Time { return at }, Wall: func() time.Time { return at }, Tencent: Tencent{VariableLimit: 20}})
	const body = `{"PhoneNumberSet":["+8613900000000"],"SessionContext":"a","SignName":"某某市政务服务","SmsSdkAppId":"1400006666","TemplateId":"1110","TemplateParamSet":["王小明","EMS-1234"]}`
	ask := func(signed, sent, day string, stamp time.Time) string {
		canonical := "POST\n/\n\ncontent-type:application/json\nhost:sms.tencentcloudapi.com\n\ncontent-type;host\n" + hexHash([]byte(signed))
		return postTo(t, g, "/tencent/", sent, map[string]string{"Content-Type": "application/json", "X-TC-Action": "SendSms", "X-TC-Version": "2021-01-11", "X-TC-Region": "ap-guangzhou",
			"X-TC-Timestamp": "1767288600", "Authorization": "TC3-HMAC-SHA256 Credential=" + SampleSecretID + "/" + day + "/sms/tc3_request, SignedHeaders=content-type;host, Signature=" +
				tc3Signature(SampleSecretKey, "sms", stamp, canonical)})
	}
	if got := ask(body, body, "2026-01-01", at); !strings.Contains(got, `"Code":"Ok"`) {
		t.Errorf("a good request: %s", got)
	}
	if got := ask(body, body+" ", "2026-01-01", at); !strings.Contains(got, "AuthFailure.SignatureFailure") {
		t.Errorf("a byte more: %s", got)
	}
	if got := ask(body, body, "2026-01-02", at); !strings.Contains(got, "AuthFailure.SignatureExpire") {
		t.Errorf("the day in China: %s", got)
	}
	// The same content to the same number within 30 seconds, then not.
	if got := ask(body, body, "2026-01-01", at); !strings.Contains(got, "LimitExceeded.PhoneNumberThirtySecondLimit") {
		t.Errorf("a repetition: %s", got)
	}
	if n := len(g.Messages()); n != 1 {
		t.Errorf("%d messages, want 1", n)
	}
	unknown := strings.Replace(body, `"SignName"`, `"Signname2":"x","SignName"`, 1)
	if got := ask(unknown, unknown, "2026-01-01", at); !strings.Contains(got, "UnknownParameter") {
		t.Errorf("an unknown field: %s", got)
	}
}

// The dossier's vector (C.6) is taken; one changed letter is not.
func TestMASIsStrict(t *testing.T) {
	t.Parallel()
	g := New(Config{})
	ask := func(mac, content string) string {
		text := `{"ecName":"某某市政务服务中心","apId":"fakeap","mobiles":"13900000000,13900000001","content":"` + content + `","sign":"FakeSignId","addSerial":"","mac":"` + mac + `"}`
		return postTo(t, g, "/mas/sms/norsubmit", base64.StdEncoding.EncodeToString([]byte(text)), nil)
	}
	if got := ask("f4ba454dc2dfaa6f0584752cbb754a4e", "您的证件已寄出，单号EMS1234。"); !strings.Contains(got, `"rspcod":"success"`) {
		t.Errorf("the vector: %s", got)
	}
	if got := ask("f4ba454dc2dfaa6f0584752cbb754a4e", "您的证件已寄出，单号EMS1235。"); !strings.Contains(got, "IllegalMac") {
		t.Errorf("another text: %s", got)
	}
	sum := md5.Sum([]byte("某某市政务服务中心" + "fakeap" + SampleMASSecret + "13900000000,13900000000" + "x" + "FakeSignId"))
	text := `{"ecName":"某某市政务服务中心","apId":"fakeap","mobiles":"13900000000,13900000000","content":"x","sign":"FakeSignId","addSerial":"","mac":"` + hex.EncodeToString(sum[:]) + `"}`
	if got := postTo(t, g, "/mas/sms/norsubmit", base64.StdEncoding.EncodeToString([]byte(text)), nil); !strings.Contains(got, "DupMobile") {
		t.Errorf("a number twice: %s", got)
	}
	if got := postTo(t, g, "/mas/sms/norsubmit", `{"ecName":"x"}`, nil); !strings.Contains(got, "InvalidMessage") {
		t.Errorf("without base64: %s", got)
	}
	if n := len(g.Messages()); n != 2 {
		t.Errorf("%d messages, want 2", n)
	}
}

// Each gateway reports in its own form, to its own address, and repeats as it is known to.
func TestReportsOfEachGateway(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 10, 0, 0, 0, beijing)
	m := func(gateway string) *message {
		return &message{Message: Message{Gateway: gateway, Phone: "13900000000", OutID: "out", At: at}, bizID: "biz", settled: at.Add(5 * time.Second), errCode: codeDelivered}
	}
	g := New(Config{Tencent: Tencent{Echo: true}, MAS: MAS{Wrapped: true}})
	if got, want := string(vendors["tencent"].report(g, []*receipt{{m: m("tencent")}})),
		`[{"description":"用户短信送达成功","errmsg":"DELIVRD","ext":"out","mobile":"13900000000","nationcode":"86","report_status":"SUCCESS","sid":"biz","user_receive_time":"2026-11-23 10:00:05"}]`; got != want {
		t.Errorf("tencent: %s", got)
	}
	wrapped, err := base64.StdEncoding.DecodeString(string(vendors["mas"].report(g, []*receipt{{m: m("mas")}})))
	if want := `{"errorCode":"","mobile":"13900000000","msgGroup":"biz","receiveDate":"20261123100005","reportStatus":"DELIVRD","submitDate":"20261123100000"}`; err != nil || string(wrapped) != want {
		t.Errorf("mas: %s, %v", wrapped, err)
	}
	if heardTencent([]byte(`{"result":1}`)) || heardTencent(nil) || !heardTencent([]byte(`{"result":0,"errmsg":"OK"}`)) {
		t.Error("tencent hears what it should not")
	}
}
