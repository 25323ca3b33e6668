package aliyun

import (
	"slices"
	"strings"
	"testing"
)

const (
	vectorKey    = "LTAI5tFakeKeyForTests01"
	vectorSecret = "FakeAccessKeySecretForTestsOnly01"
	vectorNonce  = "0123456789abcdef0123456789abcdef"
)

var common = map[string]string{
	"PhoneNumbers":  "13900000000",
	"SignName":      "某某市政务服务",
	"TemplateCode":  "SMS_000000001",
	"OutId":         "ntf_01JTEST0000000000000000001",
	"TemplateParam": `{"name":"王小明","no":"EMS-1234 5678*~+/"}`,
}

var torture = map[string]string{
	"A": "", "PhoneNumbers": "13900000000", "Z-y.x_w~": "1", "TemplateParam": "a b+c*d~e!f'g(h)i/j&k=l%m\"n中",
}

// The vectors of sms-gateways.md A.6, made with the vendor's own SDK, and the one of the vendor's guide.
func TestSignatureVectors(t *testing.T) {
	t.Parallel()
	const host, date = "dysmsapi.aliyuncs.com", "2026-01-02T03:04:05Z"
	sts := newRequest(host, "SendSms", apiVersion, date, "n-0001", torture, true)
	sts.headers = append(sts.headers, header{"x-acs-accesskey-id", "STS.FakeKey01"}, header{"x-acs-security-token", "FakeStsToken01"})
	slices.SortFunc(sts.headers, func(a, b header) int { return strings.Compare(a.name, b.name) })
	tests := []struct {
		name    string
		r       request
		key     string
		secret  string
		hash    string // of the canonical request, where the dossier gives it
		want    string
		headers string
	}{
		{"V3-1 query", newRequest(host, "SendSms", apiVersion, date, vectorNonce, common, true), vectorKey, vectorSecret,
			"16a214ce0a34e858bd3751e99222d65035278546277c66817aedc91010a29132",
			"b0fa727f38647db1b0d5ec21bb7e78258b4719aab0f31b0090d246b3b5d6175c",
			"host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version"},
		{"V3-2 form", newRequest(host, "SendSms", apiVersion, date, vectorNonce, common, false), vectorKey, vectorSecret, "",
			"5dfaf4083510bf751f8fe12ea8ad628eee9c7d668855442cccb6c9cce8e7ad12",
			"content-type;host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version"},
		{"V3-3 torture", newRequest(host, "SendSms", apiVersion, date, "n-0001", torture, true), vectorKey, vectorSecret, "",
			"c997546d92033c08c903cfd26c53239de736c6c3cb53e8d94497ff64c8f829b8",
			"host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version"},
		{"V3-4 STS", sts, "STS.FakeKey01", "FakeStsSecret01", "",
			"34cc4b32a2b60a865a30b3bf4e45d859134bb64d37b06fcbf5e82aa1980d1349",
			"host;x-acs-accesskey-id;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-security-token;x-acs-signature-nonce;x-acs-version"},
		{"published", newRequest("ecs.cn-shanghai.aliyuncs.com", "RunInstances", "2014-05-26", "2023-10-26T10:22:32Z",
			"3156853299f313e23d1673dc12e1703d", map[string]string{
				"ImageId": "win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd", "RegionId": "cn-shanghai",
			}, true), "YourAccessKeyId", "YourAccessKeySecret",
			"7ea06492da5221eba5297e897ce16e55f964061054b7695beedaac1145b1e259",
			"06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0",
			"host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			text, _ := tt.r.canonical(nil)
			if got := hexHash(text); tt.hash != "" && got != tt.hash {
				t.Errorf("hash of the canonical request = %s, want %s; request:\n%s", got, tt.hash, text)
			}
			want := algorithm + " Credential=" + tt.key + ",SignedHeaders=" + tt.headers + ",Signature=" + tt.want
			if got := tt.r.authorization(tt.key, newKeyed(tt.secret)); got != want {
				t.Errorf("authorization = %s\nwant            %s", got, want)
			}
		})
	}
}

func TestEncoding(t *testing.T) {
	t.Parallel()
	const query = "A=&PhoneNumbers=13900000000&TemplateParam=a%20b%2Bc%2Ad~e%21f%27g%28h%29i%2Fj%26k%3Dl%25m%22n%E4%B8%AD&Z-y.x_w~=1"
	if got := string(encode(torture, "%20")); got != query {
		t.Errorf("canonical query = %s\nwant              %s", got, query)
	}
	const form = "OutId=ntf_01JTEST0000000000000000001&PhoneNumbers=13900000000&SignName=%E6%9F%90%E6%9F%90%E5%B8%82%E6%94%BF%E5%8A%A1%E6%9C%8D%E5%8A%A1&TemplateCode=SMS_000000001&TemplateParam=%7B%22name%22%3A%22%E7%8E%8B%E5%B0%8F%E6%98%8E%22%2C%22no%22%3A%22EMS-1234+5678%2A~%2B%2F%22%7D"
	if got := string(encode(common, "+")); got != form {
		t.Errorf("form = %s\nwant   %s", got, form)
	}
}
