package emssim

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const vectorSecret = "MDEyMzQ1Njc4OWFiY2RlZg=="

// vectors are section 7 of the dossier; V0 is the platform's own published sample, V5 a push, without the secret.
var vectors = []struct {
	name, secret, message, field string
	bare                         bool
}{
	{"V0", SampleSecret, `{"language":"zh-CN","orderId":"QIAO-20200618-004"}`,
		"|$4|efB6PnjDpgHG4xfrvYlXonyBuMJoGTynkfasopHvbl2u3nmNeP+rznA3DyRwb/2GeZL7I3rL6HKD5+Tv3Uy6x8jIDISbYG8Bg14caH2flYE=", false},
	{"V1", vectorSecret, `{"waybillNo":"1200000001417","direction":"0"}`,
		"|$4|bjpt44DaNFululm42LhgQ9OdzTtVykMZ6vxpBuKjf+XBEAzgMwF29by1oQ0/LbI3/vkPai/Ngto8XCYTZqKy1DJdUB/WoUhfa6ykyLZ7yWA=", false},
	{"V2", vectorSecret, `{"logisticsOrderNo":"TEST-0001","waybillNo":"1200000001417","cancelReason":"客户取消"}`,
		"|$4|HBUlITN8H6eM/Qyvnyp3BZ6uIEg9rsJmiL64OLR8D0R8CrbCCHW4odwcNQYLT8WqwzfrW6IegJPgnY+Vs8owvgdo1cH+DE86lVEYl8/7YzY2y3ZZxU3UCQpIl/S1IQkjvluDRadTsM1E3L3OxRhvijTodhC2KQcr+mKd4Mj0JA4=", false},
	{"V3", vectorSecret, `[{"ecommerceUserId":"u1","logisticsOrderNo":"TEST-0001","createdTime":"2026-01-02 03:04:05","contentsAttribute":"1","bizProductNo":"1","sender":{"name":"张三","mobile":"13800000000","prov":"北京市","city":"北京市","county":"西城区","address":"示例路1号"},"receiver":{"name":"李四","mobile":"13900000000","prov":"上海市","city":"上海市","county":"黄浦区","address":"示例路2号"},"cargos":[{"cargoName":"文件"}]}]`,
		"|$4|jji01Oi7zSAfibBddC3Cj3/KYjDcVTM6X1ufUr0rIA0JfdxAAVIDBN7mSUKUEXTo3Nn437GZnyy/kv0YUbduLRdjOpZXsWBbjFZ4VBDlUlf1l8mbhd8MRXoHo85WykE9HBrl1P9Z/+b2rqip7MD4PLcAzTdtwx3rBvHbVB/u2ZmjJ8dE6Kyd//3lPo5cSt/m5Gaur7UawmuPoIbgI27YbDWF+WSfCh9BZQ6DgR2j7MmwBQgNDG3EcNjmt7iZSpRWg6Hjga627u4X5QhmUL/Ocaew5DoHj9GA4KqwPydWW4fjEmoPyS1LkwtFDt/Z1KM0nHspTlrFtiBNfrOkh0jOg9nOaAMUNe5iSE06u2/hQXJyyEFP0qoLnzfUZRHv7MhtMUEjMP0xNq7y379A2xjCkGH5HDJJqpgyobFELuir+ZE/L7mmt5AYvvEsFgdBGF+USP8V1sKhzOU/LAsU97N3/eczpTgF31tZpgWxJK4qmlFPdzuOdTO32VcGgIGWZ4tjf/paUJRXhM5GTQK8qDTIxhv4/Iegu0gPGYCiqdl12UUrIkWdRS6Shr5N5DlBZ1v8ST9ImN16spcxEcFZzWa6iL5bg0WnU7DNRNy9zsUYb4o06HYQtikHK/pineDI9CQO", false},
	{"V4", vectorSecret, `{"waybillNo":"1200000001417","x":"aaaa"}`,
		"|$4|bjpt44DaNFululm42LhgQ/0xEviDFInRvcO1UZ7CPj+qoDfSnKA3mc/pYOATu2iV1wu9+/Nl5YtgziW0sV7noNFNcHjS86Z/4A0yIdux1VY=", false},
	{"V5", vectorSecret, `{"opOrgCode":"10000000","orderNo":"TEST-0001","opTime":"2026-01-02 10:11:12","opName":"投递结果反馈-妥投","opDesc":"示例事件","operatorNo":"","opCode":"704","opOrgName":"示例营业部","opOrgProvName":"北京市","operatorName":"","opOrgCity":"北京市","waybillNo":"1200000001417","deliverCode":"10"}`,
		"|$4|ImzLSSd6gNafP9xzU5Bcsh6HnFJTpANVoZuB6UjpNnMIucjvPAsh8fprM8VeoqmXayn6BZzLyygCbAGGaMm7GnPFv1D5QF5MtqNj/vt/NxsIAHbsnQZnhZX90r8w7AfvO4tagQJSZIe+GRt//+jQORaBwGX0/JwB5rXkgoo5SaztwLF/owOCVfKRUNSabLwL5L3UrJZKk3HfUpl3k9lMNOb9SDtFNghx85UlGDqMrQw+ob74MEHIArG2sx9WQzPv8nVfhz63MnSY6m16YRCoKxYCL7g9sGIaStpM2J5tOhzx0AHzDXGiTcuQcg9Tiit+sGZmzKclnSgxJz5ld1Mgge0B4A1RgPii8maPWR5VtBkzcj0IKs8nlrGAsjfO8ul13otfNxp5GJKnWAIQBfQviQklcgfDWfECAT156wbxZ48=", true},
}

func TestVectorsEncodeAndDecode(t *testing.T) {
	t.Parallel()
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			plain := v.message
			if !v.bare {
				plain += v.secret
			}
			if got := newECB(v.secret).seal([]byte(plain)); got != v.field {
				t.Errorf("sealed\n%s, want\n%s", got, v.field)
			}
			got, bad := New(Config{Secret: v.secret}).open(v.field)
			if v.bare {
				if bad == nil || bad.msg != "非法的数字签名" {
					t.Errorf("a message without the secret opens: %v", bad)
				}
				return
			}
			if bad != nil || string(got) != v.message {
				t.Errorf("opened %q, %v; want %q", got, bad, v.message)
			}
		})
	}
}

// OpenSSL is the third opinion beside the dossier and gmsm: each opens what the other sealed.
func TestOpenSSLAgrees(t *testing.T) {
	t.Parallel()
	key, err := base64.StdEncoding.DecodeString(vectorSecret)
	if err != nil {
		t.Fatal(err)
	}
	openssl := func(in []byte, mode string) []byte {
		cmd := exec.CommandContext(t.Context(), "openssl", "enc", "-sm4-ecb", mode, "-K", hex.EncodeToString(key))
		cmd.Stdin = bytes.NewReader(in)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("openssl enc -sm4-ecb: %v", err)
		}
		return out
	}
	e := newECB(vectorSecret)
	for _, plain := range []string{"", "a", "0123456789abcdef", strings.Repeat("某", 333), vectors[3].message + vectorSecret} {
		sealed := openssl([]byte(plain), "-e")
		if diff := cmp.Diff(sealed, e.encrypt([]byte(plain))); diff != "" {
			t.Errorf("%d bytes, OpenSSL - ours +\n%s", len(plain), diff)
		}
		if got := openssl(e.encrypt([]byte(plain)), "-d"); string(got) != plain {
			t.Errorf("OpenSSL reads %q, want %q", got, plain)
		}
		if got, ok := e.decrypt(sealed); !ok || string(got) != plain {
			t.Errorf("we read %q from OpenSSL, want %q", got, plain)
		}
	}
}

func TestAnswersHaveTheRealEnvelope(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{})
	resp, body, err := r.post(r.form("040001", `{"waybillNo":"sssssss","direction":"0"}`))
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	if serial, _ := got["serialNo"].(string); len(serial) != 36 || serial != strings.ToLower(serial) {
		t.Errorf("serialNo %q", serial)
	}
	delete(got, "serialNo")
	want := map[string]any{"retCode": "00000", "retMsg": "当前邮件无客户信息！", "retBody": `{"responseItems":[]}`, "retDate": "2026-11-23 10:00:00", "success": true}
	if diff := cmp.Diff(want, got); diff != "" || resp.StatusCode != http.StatusOK {
		t.Errorf("status %s, want - got +\n%s", resp.Status, diff)
	}
}

// Each layer of a malformed call gets the dossier's text for that layer (sections 1.3 to 1.6).
func TestMalformedCallsAreRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{})
	good := `{"waybillNo":"1200000001417","direction":"0"}`
	seal := func(s string) string { return newECB(SampleSecret).seal([]byte(s)) }
	with := func(field string) func(url.Values) { return func(f url.Values) { f.Set("logitcsInterface", field) } }
	tests := []struct {
		name string
		edit func(url.Values)
		msg  string
	}{
		{"no apiCode", func(f url.Values) { f.Del("apiCode") }, "apiCode不能为空"},
		{"unknown apiCode", func(f url.Values) { f.Set("apiCode", "020007") }, "非法的接口代码"},
		{"no senderNo", func(f url.Values) { f.Del("senderNo") }, "senderNo不能为空"},
		{"another senderNo", func(f url.Values) { f.Set("senderNo", "1100000000001") }, "非法的授权"},
		{"another authorization", func(f url.Values) { f.Set("authorization", "x") }, "非法的授权"},
		{"no timeStamp", func(f url.Values) { f.Del("timeStamp") }, "timeStamp不能为空"},
		{"RFC 3339 timeStamp", func(f url.Values) { f.Set("timeStamp", "2026-11-23T10:00:00Z") }, "timeStamp格式不正确"},
		{"unknown version", func(f url.Values) { f.Set("version", "2") }, "version取值不正确"},
		{"XML", func(f url.Values) { f.Set("msgType", "1") }, "msgType取值不正确"},
		{"a parameter twice", func(f url.Values) { f.Add("apiCode", "020003") }, "非法报文"},
		{"the word spelt right", func(f url.Values) {
			f.Set("logisticsInterface", f.Get("logitcsInterface"))
			f.Del("logitcsInterface")
		}, "logitcsInterface不能为空"},
		{"plain JSON", with(good), "非法报文"},
		{"no prefix", with(strings.TrimPrefix(seal(good+SampleSecret), "|$4|")), "非法报文"},
		{"the AES prefix", with("|$|" + strings.TrimPrefix(seal(good+SampleSecret), "|$4|")), "非法报文"},
		{"a plus sign as a space", with("|$4|ab d"), "非法报文"},
		{"base64 with a line break", with("|$4|efB6PnjDpgHG\n4xfrvYlX"), "非法报文"},
		{"base64 without its end", with(strings.TrimRight(seal(good+SampleSecret), "=")[:30]), "非法报文"},
		{"half a block", with("|$4|efB6PnjDpgE="), "非法的数字签名"},
		{"no secret", with(seal(good)), "非法的数字签名"},
		{"the key instead of its text", with(seal(good + "\x4e\xf6\x81\x82\xb8\x44\xe3\xab\x1f\xb7\x79\xd9\x95\xf7\xbb\xc7")), "非法的数字签名"},
		{"another key", with(newECB(vectorSecret).seal([]byte(good + SampleSecret))), "非法的数字签名"},
		{"padding twice", with(seal(string(pad([]byte(good + SampleSecret))))), "非法的数字签名"},
		{"broken JSON", with(seal(`{"waybillNo":` + SampleSecret)), "非法的xml/json格式"},
		{"no message", with(seal(SampleSecret)), "非法的xml/json格式"},
		{"two messages", with(seal(good + good + SampleSecret)), "非法的xml/json格式"},
		{"invalid UTF-8", with(seal("{\"waybillNo\":\"\xff\"}" + SampleSecret)), "非法的xml/json格式"},
		{"an array for an object", with(seal("[" + good + "]" + SampleSecret)), "非法报文"},
		{"null", with(seal("null" + SampleSecret)), "非法报文"},
		{"a list as a number", with(seal(`{"waybillNo":["1200000001417"]}` + SampleSecret)), "waybillNo格式不正确"},
		{"no waybill", with(seal(`{"direction":"0"}` + SampleSecret)), "waybillNo不能为空"},
		{"a long waybill", with(seal(`{"waybillNo":"123456789012345678901"}` + SampleSecret)), "waybillNo长度超限"},
		{"an unknown direction", with(seal(`{"waybillNo":"1","direction":"2"}` + SampleSecret)), "direction取值不正确"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			form := r.form("040001", good)
			tt.edit(form)
			got := r.postForm(form)
			if got.RetCode != "B00001" || got.RetMsg != tt.msg || *got.Success || got.RetBody != "" {
				t.Errorf("answer %+v, want B00001 %s", got, tt.msg)
			}
		})
	}
	if len(r.c.Ledger().Calls) != 0 {
		t.Errorf("calls %v were counted as good", r.c.Ledger().Calls)
	}
}

func pad(b []byte) []byte {
	n := 16 - len(b)%16
	return append(b, bytes.Repeat([]byte{byte(n)}, n)...)
}

func TestOnlyAFormPostIsACall(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{})
	form := r.form("040001", `{"waybillNo":"1"}`)
	asJSON, err := http.Post(r.srv.URL+PathOpen, "application/json", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	asJSON.Body.Close()
	if r.c.Ledger().Calls["040001"] != 0 {
		t.Error("a JSON body was taken")
	}
	for _, address := range []string{PathOpen, "/amp-prod-api/f/amp/api/other"} {
		resp, err := http.Get(r.srv.URL + address + "?" + form.Encode())
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode < 400 {
			t.Errorf("GET %s = %s", address, resp.Status)
		}
	}
}

func TestCodesOfRefusalsAreSettings(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{SignatureCode: "S00001", MalformedCode: "B0001", StaleAfter: time.Minute})
	wrong := r.form("040001", `[]`)
	if got := r.postForm(wrong); got.RetCode != "B0001" {
		t.Errorf("a wrong wrapping = %+v", got)
	}
	wrong.Set("authorization", "x")
	if got := r.postForm(wrong); got.RetCode != "S00001" {
		t.Errorf("a wrong authorization = %+v", got)
	}
	r.clock.forward(2 * time.Minute)
	if got := r.call("040001", `{"waybillNo":"1"}`); got.RetMsg != "timeStamp已过期" {
		t.Errorf("an old timeStamp = %+v", got)
	}
}

// Whatever arrives is answered with an envelope, and nothing that was not encrypted under the key gets through.
func FuzzRequest(f *testing.F) {
	for _, v := range vectors {
		f.Add("020003", v.field)
		f.Add("040001", v.field)
	}
	f.Add("020006", "|$4|")
	f.Add("", "")
	c := New(Config{Secret: vectorSecret})
	f.Fuzz(func(t *testing.T, api, field string) {
		form := url.Values{"apiCode": {api}, "senderNo": {SampleSenderNo}, "authorization": {SampleAuthorization},
			"timeStamp": {"2026-01-02 03:04:05"}, "logitcsInterface": {field}}
		a := c.carryOut(nil, form, Fault{})
		if a.code == "" || a.msg == "" {
			t.Errorf("no answer to %q %q", api, field)
		}
		if b := envelope(a, time.Now()); !json.Valid(b) {
			t.Errorf("answer %s", b)
		}
	})
}

// Any JSON under the right key is answered by every API.
func FuzzMessage(f *testing.F) {
	f.Add("020003", orderText("A", "", "13900000001"))
	f.Add("020002", `{"bizProductNo":"1","count":"999"}`)
	f.Add("020006", vectors[2].message)
	f.Add("060001", `[{"wholeAddress":"北京市朝阳区示例路1号"}]`)
	f.Add("050005", `{"productCode":"112104102300991","weight":"80","senderInfo":"北京市西城区","receiveInfo":"上海市黄浦区"}`)
	f.Fuzz(func(t *testing.T, api, message string) {
		c := New(Config{})
		form := url.Values{"apiCode": {api}, "senderNo": {SampleSenderNo}, "authorization": {SampleAuthorization},
			"timeStamp": {"2026-01-02 03:04:05"}, "logitcsInterface": {c.cipher.seal([]byte(message + SampleSecret))}}
		a := c.carryOut(nil, form, Fault{})
		if a.code == "" || a.msg == "" {
			t.Errorf("no answer to %q %q", api, message)
		}
	})
}
