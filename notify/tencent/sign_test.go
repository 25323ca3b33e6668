package tencent

import (
	"strings"
	"testing"
	"time"
)

// The dossier's vectors (B.6): computed with the vendor's own SDK, and the one that the vendor publishes.
func TestSignatureVectors(t *testing.T) {
	t.Parallel()
	const body = `{"PhoneNumberSet":["+8613900000000"],"SessionContext":"ntf_01JTEST0000000000000000001","SignName":"某某市政务服务","SmsSdkAppId":"1400006666","TemplateId":"1110","TemplateParamSet":["王小明","EMS-1234"]}`
	tests := []struct {
		name, id, key, service, host, kind string
		at                                 int64
		body, want                         string
	}{
		{"SDK", "AKIDz8FakeSecretIdForTests0001", "FakeSecretKeyForTestsOnly0001", "sms", "sms.tencentcloudapi.com", "application/json", 1767323045, body,
			"TC3-HMAC-SHA256 Credential=AKIDz8FakeSecretIdForTests0001/2026-01-02/sms/tc3_request, SignedHeaders=content-type;host, Signature=6506ee7f8ba5b036fd8d3495199440a40dda127da60064cc109a098b256c3b22"},
		{"with a charset", "AKIDz8FakeSecretIdForTests0001", "FakeSecretKeyForTestsOnly0001", "sms", "sms.tencentcloudapi.com", "application/json; charset=utf-8", 1767323045, body,
			"a5864c16b389439b6f7273a91182ef7939bf5b74e51bfe1673b03085e50f0c22"},
		{"published", "AKIDz8krbsJ5yKBZQpn74WFkmLPx3EXAMPLE", "Gu5t9xGARNpq86cd98joQYCN3EXAMPLE", "cvm", "cvm.tencentcloudapi.com", "application/json; charset=utf-8", 1551113065,
			`{"Limit": 1, "Filters": [{"Values": ["\u672a\u547d\u540d"], "Name": "instance-name"}]}`, "72e494ea809ad7a8c8f7a4507b9bddcbaa8e581f516e8da2f66e2c5a96525168"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := sign(tt.id, tt.key, tt.service, tt.host, tt.kind, time.Unix(tt.at, 0).In(beijing), []byte(tt.body))
			if !strings.HasSuffix(got, tt.want) {
				t.Errorf("sign = %s, want …%s", got, tt.want)
			}
		})
	}
}

// Between midnight and eight in China the day in the signature is still yesterday's.
func TestSignatureDayIsUTC(t *testing.T) {
	t.Parallel()
	got := sign("id", "key", "sms", "host", contentType, time.Date(2026, 11, 24, 0, 30, 0, 0, beijing), nil)
	if !strings.Contains(got, "/2026-11-23/sms/") {
		t.Errorf("sign = %s, want the day 2026-11-23", got)
	}
}

// What the client sends is the body of the vector, byte for byte.
func TestEncodeKeepsTheVectorsForm(t *testing.T) {
	t.Parallel()
	got, err := encode(sendRequest{PhoneNumberSet: []string{"+8613900000000"}, SessionContext: "ntf_01JTEST0000000000000000001", SignName: "某某市政务服务",
		SmsSdkAppID: "1400006666", TemplateID: "1110", TemplateParamSet: []string{"<王&小明>", "EMS-1234"}})
	const want = `{"PhoneNumberSet":["+8613900000000"],"SessionContext":"ntf_01JTEST0000000000000000001","SignName":"某某市政务服务","SmsSdkAppId":"1400006666","TemplateId":"1110","TemplateParamSet":["<王&小明>","EMS-1234"]}`
	if err != nil || string(got) != want {
		t.Errorf("encode = %s, %v", got, err)
	}
}
