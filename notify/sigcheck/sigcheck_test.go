// Package sigcheck holds our signers against the vendors' own SDKs. It is a module of its own so that those, and the seventy
// modules behind them, stay out of the daemon. It tests signatures only: what a gateway does with a request is smssim's.
package sigcheck

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"emsd/courier/vault"
	"emsd/notify"
	"emsd/notify/aliyun"
	"emsd/notify/tencent"

	openapi "github.com/alibabacloud-go/darabonba-openapi/v2/client"
	"github.com/alibabacloud-go/darabonba-openapi/v2/models"
	"github.com/alibabacloud-go/darabonba-openapi/v2/utils"
	"github.com/alibabacloud-go/tea/dara"
	"github.com/google/uuid"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"
	tchttp "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/http"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common/profile"
	"pgregory.net/rapid"
)

const (
	keyID  = "LTAI5tFakeKeyForTests01"
	secret = "FakeAccessKeySecretForTestsOnly01"
)

// wild is any text that may come near a signature: Han, emoji, blanks and every sign that encoders differ about.
var wild = rapid.StringOfN(rapid.RuneFrom([]rune("aZ09中𠮷😀 +*~!'()/%&=?#:;,\"\\\n\t<>@$[]{}|^`-_.é")), 0, 20, -1)

// Layer 2: parameters in the query, whatever they hold, are signed as the vendor signs them.
func TestAliyunSignsAsItsSDK(t *testing.T) {
	t.Parallel()
	algorithm := "ACS3-HMAC-SHA256"
	emptyHash := "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	rapid.Check(t, func(t *rapid.T) {
		params := rapid.MapOfN(rapid.StringMatching(`[A-Za-z][A-Za-z0-9._~-]{0,8}`), wild, 0, 6).Draw(t, "params")
		headers := map[string]string{"host": "dysmsapi.aliyuncs.com", "x-acs-content-sha256": emptyHash}
		maps.Copy(headers, rapid.MapOfN(rapid.StringMatching(`x-acs-[a-z]{1,8}`), rapid.StringMatching(`[ -~]{0,12}`), 0, 4).Draw(t, "headers"))
		key := rapid.StringMatching(`[A-Za-z0-9]{1,40}`).Draw(t, "secret")
		r := &dara.Request{Method: dara.String("POST"), Query: pointers(params), Headers: pointers(headers)}
		want := dara.StringValue(utils.GetAuthorization(r, &algorithm, &emptyHash, dara.String(keyID), &key))
		if got := aliyun.Authorization(keyID, key, headers, params); got != want {
			t.Errorf("ours   %s\nvendor %s", got, want)
		}
	})
}

func pointers(values map[string]string) map[string]*string {
	all := make(map[string]*string, len(values))
	for name, value := range values {
		all[name] = &value
	}
	return all
}

// message draws one that our clients let pass.
func message(t *rapid.T) notify.SMS {
	value := rapid.StringOfN(rapid.RuneFrom([]rune("aZ09中 +*~!'()/%=?#;,\"\\@$[]{}|^`-_.é")), 1, 20, -1)
	return notify.SMS{AttemptID: uuid.New(), Phone: vault.Conceal("13900000000"), Milestone: notify.HandedOver,
		Vars: map[string]string{"name": value.Draw(t, "name"), "no": value.Draw(t, "no")}}
}

// Layer 3: the vendor's function, given what arrived, comes to the signature that arrived.
func TestAliyunSendsWhatItSigned(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var wrong []string
	calls := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		headers := map[string]string{"host": r.Host}
		for name := range r.Header {
			if low := strings.ToLower(name); strings.HasPrefix(low, "x-acs-") || low == "content-type" && len(body) > 0 {
				headers[low] = r.Header.Get(name)
			}
		}
		query := map[string]string{}
		for name, values := range r.URL.Query() {
			query[name] = values[0]
		}
		algorithm, payload := "ACS3-HMAC-SHA256", utils.Hash(body, dara.String("ACS3-HMAC-SHA256"))
		hash := hexOf(payload)
		want := dara.StringValue(utils.GetAuthorization(&dara.Request{Method: &r.Method, Query: pointers(query), Headers: pointers(headers)},
			&algorithm, &hash, dara.String(keyID), dara.String(secret)))
		mu.Lock()
		defer mu.Unlock()
		calls++
		if got := r.Header.Get("Authorization"); err != nil || got != want || r.Header.Get("x-acs-content-sha256") != hash {
			wrong = append(wrong, "ours "+got+", vendor "+want)
		}
		io.WriteString(w, `{"Code":"OK","BizId":"1^0"}`)
	}))
	defer srv.Close()
	for _, inQuery := range []bool{false, true} {
		c, err := aliyun.New(aliyun.Config{URL: srv.URL, AccessKeyID: keyID, AccessKeySecret: secret, SignName: "某某市政务服务",
			Templates: map[string]string{"handed_over": "SMS_1"}, InQuery: inQuery})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		rapid.Check(t, func(t *rapid.T) {
			if _, err := c.Send(t.Context(), message(t)); err != nil {
				t.Error(err)
			}
		})
	}
	if len(wrong) > 0 || calls < 100 {
		t.Errorf("%d calls, wrong: %s", calls, strings.Join(wrong, "\n"))
	}
}

func hexOf(b []byte) string {
	const digits = "0123456789abcdef"
	var s strings.Builder
	for _, c := range b {
		s.WriteByte(digits[c>>4])
		s.WriteByte(digits[c&15])
	}
	return s.String()
}

// catcher keeps a request and sends nothing.
type catcher struct{ caught *http.Request }

var errCaught = errors.New("caught")

func (c *catcher) Call(r *http.Request, _ *http.Transport) (*http.Response, error) {
	c.caught = r
	return nil, errCaught
}

func (c *catcher) RoundTrip(r *http.Request) (*http.Response, error) { return c.Call(r, nil) }

// Layer 4: a request that the vendor's whole client made is signed by us to the same header.
func TestAliyunRequestOfTheSDKReproduced(t *testing.T) {
	t.Parallel()
	c := &catcher{}
	client, err := openapi.NewClient(&models.Config{AccessKeyId: dara.String(keyID), AccessKeySecret: dara.String(secret),
		Endpoint: dara.String("dysmsapi.aliyuncs.com"), HttpClient: c})
	if err != nil {
		t.Fatal(err)
	}
	params := map[string]any{"PhoneNumbers": "13900000000", "SignName": "某某市政务服务", "TemplateCode": "SMS_000000001", "OutId": "ntf_01",
		"TemplateParam": `{"name":"王小明","no":"EMS-1234 5678*~+/"}`}
	_, err = client.CallApi(&models.Params{Action: dara.String("SendSms"), Version: dara.String("2017-05-25"), Protocol: dara.String("HTTPS"),
		Method: dara.String("POST"), AuthType: dara.String("AK"), Style: dara.String("RPC"), Pathname: dara.String("/"),
		ReqBodyType: dara.String("formData"), BodyType: dara.String("json")},
		&models.OpenApiRequest{Query: utils.Query(params)}, &dara.RuntimeOptions{Autoretry: dara.Bool(false)})
	if c.caught == nil {
		t.Fatalf("nothing was caught: %v", err)
	}
	headers := map[string]string{"host": "dysmsapi.aliyuncs.com"}
	for name, values := range c.caught.Header {
		if low := strings.ToLower(name); strings.HasPrefix(low, "x-acs-") {
			headers[low] = values[0]
		}
	}
	if headers["x-acs-credentials-provider"] == "" {
		t.Errorf("the SDK does not send its provider any more: %v", headers)
	}
	query := map[string]string{}
	for name, values := range c.caught.URL.Query() {
		query[name] = values[0]
	}
	want := headerOf(c.caught.Header, "authorization")
	got := aliyun.Authorization(keyID, secret, headers, query)
	if want == "" || got != want {
		t.Errorf("ours   %s\nvendor %s", got, want)
	}
}

// headerOf finds a header whatever its case: the SDK writes the map itself.
func headerOf(h http.Header, name string) string {
	for n, values := range h {
		if strings.EqualFold(n, name) {
			return values[0]
		}
	}
	return ""
}

// Layers 2 and 3 for Tencent: its SDK, given what arrived, comes to the header that arrived. The SDK escapes < > & in JSON
// and we do not, so no message holds them.
func TestTencentSendsWhatItsSDKWouldSign(t *testing.T) {
	t.Parallel()
	const id, key = "AKIDz8FakeSecretIdForTests0001", "FakeSecretKeyForTestsOnly0001"
	var mu sync.Mutex
	var wrong []string
	calls := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		sdkBody, want := signedBySDK(id, key, r, body)
		mu.Lock()
		defer mu.Unlock()
		calls++
		if got := r.Header.Get("Authorization"); err != nil || got != want || !bytes.Equal(body, sdkBody) {
			wrong = append(wrong, "ours "+got+" over "+string(body)+"\nvendor "+want+" over "+string(sdkBody))
		}
		io.WriteString(w, `{"Response":{"SendStatusSet":[{"PhoneNumber":"+8613900000000","Code":"Ok","SerialNo":"1"}]}}`)
	}))
	defer srv.Close()
	at := time.Date(2026, 1, 1, 17, 30, 0, 0, time.UTC) // in China it is already tomorrow
	c, err := tencent.New(tencent.Config{URL: srv.URL, SecretID: id, SecretKey: key, AppID: "1400006666", SignName: "某某市政务服务",
		Templates: map[string]string{"handed_over": "1110"}, VariableLimit: 20, Wall: func() time.Time { return at }})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	rapid.Check(t, func(t *rapid.T) {
		if _, err := c.Send(t.Context(), message(t)); err != nil {
			t.Error(err)
		}
	})
	if len(wrong) > 0 || calls < 100 {
		t.Errorf("%d calls, wrong: %s", calls, strings.Join(wrong, "\n"))
	}
}

// signedBySDK lets the vendor's client sign a request of the same host, time and parameters.
func signedBySDK(id, key string, r *http.Request, body []byte) (sdkBody []byte, authorization string) {
	c := &catcher{}
	request := tchttp.NewCommonRequest("sms", r.Header.Get("X-TC-Version"), r.Header.Get("X-TC-Action"))
	var params map[string]any
	if json.Unmarshal(body, &params) != nil || request.SetActionParameters(params) != nil {
		return nil, "not to be read"
	}
	request.SetHeader(map[string]string{"X-TC-Timestamp": r.Header.Get("X-TC-Timestamp")})
	p := profile.NewClientProfile()
	p.HttpProfile.Endpoint, p.HttpProfile.Scheme, p.DisableRegionBreaker = r.Host, "HTTP", true
	client := common.NewCommonClient(common.NewCredential(id, key), r.Header.Get("X-TC-Region"), p)
	client.WithHttpTransport(c)
	client.Send(request, tchttp.NewCommonResponse()) // ends in errCaught
	if c.caught == nil {
		return nil, "nothing was caught"
	}
	sdkBody, err := io.ReadAll(c.caught.Body)
	if err != nil {
		return nil, err.Error()
	}
	return sdkBody, headerOf(c.caught.Header, "authorization")
}
