package ems

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"testing"

	"github.com/emmansun/gmsm/sm4"
	"pgregory.net/rapid"
)

// Vectors of the dossier, §7. testSecret is base64 of 0123456789abcdef.
const (
	officialSecret = "TvaBgrhE46sft3nZlfe7xw=="
	testSecret     = "MDEyMzQ1Njc4OWFiY2RlZg=="
)

var vectors = []struct{ name, secret, message, sealed string }{
	{
		"V0, the platform's own sample", officialSecret,
		`{"language":"zh-CN","orderId":"QIAO-20200618-004"}`,
		`efB6PnjDpgHG4xfrvYlXonyBuMJoGTynkfasopHvbl2u3nmNeP+rznA3DyRwb/2GeZL7I3rL6HKD5+Tv3Uy6x8jIDISbYG8Bg14caH2flYE=`,
	}, {
		"V1, 040001", testSecret,
		`{"waybillNo":"1200000001417","direction":"0"}`,
		`bjpt44DaNFululm42LhgQ9OdzTtVykMZ6vxpBuKjf+XBEAzgMwF29by1oQ0/LbI3/vkPai/Ngto8XCYTZqKy1DJdUB/WoUhfa6ykyLZ7yWA=`,
	}, {
		"V2, 020006 with Chinese", testSecret,
		`{"logisticsOrderNo":"TEST-0001","waybillNo":"1200000001417","cancelReason":"客户取消"}`,
		`HBUlITN8H6eM/Qyvnyp3BZ6uIEg9rsJmiL64OLR8D0R8CrbCCHW4odwcNQYLT8WqwzfrW6IegJPgnY+Vs8owvgdo1cH+DE86lVEYl8/7YzY2y3ZZxU3UCQpIl/S1IQkjvluDRadTsM1E3L3OxRhvijTodhC2KQcr+mKd4Mj0JA4=`,
	}, {
		"V3, 020003 as a list", testSecret,
		`[{"ecommerceUserId":"u1","logisticsOrderNo":"TEST-0001","createdTime":"2026-01-02 03:04:05","contentsAttribute":"1","bizProductNo":"1","sender":{"name":"张三","mobile":"13800000000","prov":"北京市","city":"北京市","county":"西城区","address":"示例路1号"},"receiver":{"name":"李四","mobile":"13900000000","prov":"上海市","city":"上海市","county":"黄浦区","address":"示例路2号"},"cargos":[{"cargoName":"文件"}]}]`,
		`jji01Oi7zSAfibBddC3Cj3/KYjDcVTM6X1ufUr0rIA0JfdxAAVIDBN7mSUKUEXTo3Nn437GZnyy/kv0YUbduLRdjOpZXsWBbjFZ4VBDlUlf1l8mbhd8MRXoHo85WykE9HBrl1P9Z/+b2rqip7MD4PLcAzTdtwx3rBvHbVB/u2ZmjJ8dE6Kyd//3lPo5cSt/m5Gaur7UawmuPoIbgI27YbDWF+WSfCh9BZQ6DgR2j7MmwBQgNDG3EcNjmt7iZSpRWg6Hjga627u4X5QhmUL/Ocaew5DoHj9GA4KqwPydWW4fjEmoPyS1LkwtFDt/Z1KM0nHspTlrFtiBNfrOkh0jOg9nOaAMUNe5iSE06u2/hQXJyyEFP0qoLnzfUZRHv7MhtMUEjMP0xNq7y379A2xjCkGH5HDJJqpgyobFELuir+ZE/L7mmt5AYvvEsFgdBGF+USP8V1sKhzOU/LAsU97N3/eczpTgF31tZpgWxJK4qmlFPdzuOdTO32VcGgIGWZ4tjf/paUJRXhM5GTQK8qDTIxhv4/Iegu0gPGYCiqdl12UUrIkWdRS6Shr5N5DlBZ1v8ST9ImN16spcxEcFZzWa6iL5bg0WnU7DNRNy9zsUYb4o06HYQtikHK/pineDI9CQO`,
	}, {
		"V4, a whole block of padding", testSecret,
		`{"waybillNo":"1200000001417","x":"aaaa"}`,
		`bjpt44DaNFululm42LhgQ/0xEviDFInRvcO1UZ7CPj+qoDfSnKA3mc/pYOATu2iV1wu9+/Nl5YtgziW0sV7noNFNcHjS86Z/4A0yIdux1VY=`,
	},
}

// V5 is a push: no secret stands behind the message.
const (
	pushEvent  = `{"opOrgCode":"10000000","orderNo":"TEST-0001","opTime":"2026-01-02 10:11:12","opName":"投递结果反馈-妥投","opDesc":"示例事件","operatorNo":"","opCode":"704","opOrgName":"示例营业部","opOrgProvName":"北京市","operatorName":"","opOrgCity":"北京市","waybillNo":"1200000001417","deliverCode":"10"}`
	pushSealed = `|$4|ImzLSSd6gNafP9xzU5Bcsh6HnFJTpANVoZuB6UjpNnMIucjvPAsh8fprM8VeoqmXayn6BZzLyygCbAGGaMm7GnPFv1D5QF5MtqNj/vt/NxsIAHbsnQZnhZX90r8w7AfvO4tagQJSZIe+GRt//+jQORaBwGX0/JwB5rXkgoo5SaztwLF/owOCVfKRUNSabLwL5L3UrJZKk3HfUpl3k9lMNOb9SDtFNghx85UlGDqMrQw+ob74MEHIArG2sx9WQzPv8nVfhz63MnSY6m16YRCoKxYCL7g9sGIaStpM2J5tOhzx0AHzDXGiTcuQcg9Tiit+sGZmzKclnSgxJz5ld1Mgge0B4A1RgPii8maPWR5VtBkzcj0IKs8nlrGAsjfO8ul13otfNxp5GJKnWAIQBfQviQklcgfDWfECAT156wbxZ48=`
)

func TestMessagesAreSealedAsTheDossierComputed(t *testing.T) {
	t.Parallel()
	for _, v := range vectors {
		s, err := newSealer(v.secret)
		if err != nil {
			t.Fatalf("%s: %v", v.name, err)
		}
		if got := string(s.seal(nil, []byte(v.message))); got != v.sealed {
			t.Errorf("%s: sealed\n%s\nwant\n%s", v.name, got, v.sealed)
		}
		back, err := s.open([]byte(sm4Mark + v.sealed))
		if err != nil || string(back) != v.message {
			t.Errorf("%s: opened %q, %v; want %q", v.name, back, err, v.message)
		}
	}
}

func TestPushIsOpenedWithAndWithoutTheSecretBehindIt(t *testing.T) {
	t.Parallel()
	s, _ := newSealer(testSecret)
	for name, sealed := range map[string]string{
		"V5, without": pushSealed,
		"with":        sm4Mark + string(s.seal(nil, []byte(pushEvent))),
	} {
		got, err := s.open([]byte(sealed))
		if err != nil || string(got) != pushEvent {
			t.Errorf("%s: opened %q, %v; want %q", name, got, err, pushEvent)
		}
	}
}

// The block vectors of GM/T 0002-2012 hold the library to the standard.
func TestBlockCipherIsTheStandards(t *testing.T) {
	t.Parallel()
	key, _ := hex.DecodeString("0123456789abcdeffedcba9876543210")
	block, err := sm4.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	b := bytes.Clone(key)
	block.Encrypt(b, b)
	if got := hex.EncodeToString(b); got != "681edf34d206965e86b3e94f536e4246" {
		t.Errorf("once: %s", got)
	}
	for range 999_999 {
		block.Encrypt(b, b)
	}
	if got := hex.EncodeToString(b); got != "595298c7c6fd271f0402f804c33d3f66" {
		t.Errorf("a million times: %s", got)
	}
}

func TestOpenGivesBackWhatWasSealed(t *testing.T) {
	t.Parallel()
	s, _ := newSealer(testSecret)
	rapid.Check(t, func(t *rapid.T) {
		message := rapid.SliceOf(rapid.Byte()).Draw(t, "message")
		got, err := s.open(append([]byte(sm4Mark), s.seal(nil, message)...))
		if err != nil || !bytes.Equal(got, message) {
			t.Fatalf("opened %x, %v; want %x", got, err, message)
		}
	})
}

func TestOpenRefusesWhatIsNotSealedUnderTheSecret(t *testing.T) {
	t.Parallel()
	s, _ := newSealer(testSecret)
	other, _ := newSealer(officialSecret)
	good, _ := base64.StdEncoding.DecodeString(vectors[1].sealed)
	for name, value := range map[string]string{
		"no mark":         vectors[1].sealed,
		"AES mark":        "|$|" + vectors[1].sealed,
		"empty":           sm4Mark,
		"not base64":      sm4Mark + "###",
		"half a block":    sm4Mark + base64.StdEncoding.EncodeToString(good[:24]),
		"last block lost": sm4Mark + base64.StdEncoding.EncodeToString(good[:len(good)-16]),
		"other secret":    sm4Mark + string(other.seal(nil, []byte("{}"))),
	} {
		if got, err := s.open([]byte(value)); err == nil {
			t.Errorf("%s: opened %q, want an error", name, got)
		}
	}
}

func TestBase64IsEscapedAsAFormWantsIt(t *testing.T) {
	t.Parallel()
	for _, v := range vectors {
		if got, want := string(appendEscaped(nil, []byte(v.sealed))), url.QueryEscape(v.sealed); got != want {
			t.Errorf("%s: %s, want %s", v.name, got, want)
		}
	}
}
