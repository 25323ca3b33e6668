package ems

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"emsd/courier"
	"emsd/courier/vault"
)

// mustNotLeak looks through an error, printed every way, and all its causes.
func mustNotLeak(t *testing.T, err error) {
	t.Helper()
	for e := err; e != nil; e = errors.Unwrap(e) {
		mustNotHold(t, fmt.Sprintf("%v\n%+v\n%q", e, e, e))
	}
	if ce, ok := errors.AsType[*courier.CarrierError](err); ok {
		mustNotHold(t, fmt.Sprintf("%+v", *ce))
	}
}

func mustNotHold(t *testing.T, text string) {
	t.Helper()
	for _, s := range secrets {
		if strings.Contains(text, s) {
			t.Errorf("%q holds %q", text, s)
		}
	}
}

// An EMS that repeats all it was told, in every place of an answer, does not get it into our errors or logs.
func TestErrorsAndLogsHoldNothingOfPeopleOrTheAccount(t *testing.T) {
	t.Parallel()
	answers := map[string]func(http.ResponseWriter, string){
		"refusal that quotes": func(w http.ResponseWriter, m string) {
			_, _ = io.WriteString(w, envelope("B00001", "非法报文:"+m, ""))
		},
		"refusal with pieces": func(w http.ResponseWriter, _ string) {
			_, _ = io.WriteString(w, envelope("B00001", "收件人欧阳𠮷·买买提,电话1390000 1234或13900001234,丁戊己弄2号楼301,甲乙丙路 号", ""))
		},
		"system error that quotes": func(w http.ResponseWriter, m string) { _, _ = io.WriteString(w, envelope("S00001", m, m)) },
		"quoting codes": func(w http.ResponseWriter, m string) {
			_, _ = io.WriteString(w, envelope("B欧阳买买提甲乙丙", "x", m))
		},
		"body that quotes":   func(w http.ResponseWriter, m string) { _, _ = io.WriteString(w, envelope("00000", m, m+"x")) },
		"page that quotes":   func(w http.ResponseWriter, m string) { _, _ = io.WriteString(w, "<html>"+m) },
		"502 that quotes":    func(w http.ResponseWriter, m string) { w.WriteHeader(502); _, _ = io.WriteString(w, m) },
		"no HTTP, quoting":   func(w http.ResponseWriter, m string) { hijack(w, m+"\r\n\r\n") },
		"header that quotes": func(w http.ResponseWriter, m string) { hijack(w, "HTTP/1.1 200 OK\r\n"+m+"\r\n\r\n") },
		"redirect that quotes": func(w http.ResponseWriter, m string) {
			hijack(w, "HTTP/1.1 307 X\r\nLocation: http://127.0.0.1/"+strings.ReplaceAll(m, " ", "")+"\r\nContent-Length: 0\r\n\r\n")
		},
		"redirect to nowhere": func(w http.ResponseWriter, m string) {
			hijack(w, "HTTP/1.1 307 X\r\nLocation: ::%zz"+m+"\r\nContent-Length: 0\r\n\r\n")
		},
		"length that quotes": func(w http.ResponseWriter, _ string) {
			hijack(w, "HTTP/1.1 200 OK\r\nContent-Length: 欧阳13900001234\r\n\r\n")
		},
		"reset": func(http.ResponseWriter, string) { panic(http.ErrAbortHandler) },
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, srv := newStub(t, func(w http.ResponseWriter, _ *http.Request, m string) { answer(w, m) })
			var log bytes.Buffer
			c, err := New(config(srv.URL), slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})), nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(c.Close)
			o := testOrder()
			whole := o.Recipient.Address.Reveal()
			calls := map[string]func() error{
				"020003": func() error { _, err := c.CreateWaybill(t.Context(), o); return err },
				"060001": func() error { _, err := c.ParseAddress(t.Context(), whole); return err },
				"060002": func() error { _, err := c.Reachable(t.Context(), o.Sender, o.Recipient, 80); return err },
				"050005": func() error { _, err := c.Estimate(t.Context(), o.Sender, o.Recipient, 80, 1); return err },
			}
			for api, call := range calls {
				if api != "020003" && name == "refusal with pieces" {
					continue // it was not told those
				}
				err := call()
				if err == nil && api != "060002" && api != "060001" {
					t.Errorf("%s: no error", api)
				}
				mustNotLeak(t, err)
			}
			mustNotHold(t, log.String())
		})
	}
}

func hijack(w http.ResponseWriter, text string) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, text)
}

func TestWrongOrdersAreNamedByFieldAndNotByValue(t *testing.T) {
	t.Parallel()
	c, s := clientOf(t, envelope("00000", "", orderAnswer))
	long := strings.Repeat("欧阳", 300)
	tests := []struct {
		field string
		spoil func(*courier.Order)
	}{
		{"logisticsOrderNo", func(o *courier.Order) { o.OrderNo = "" }},
		{"logisticsOrderNo", func(o *courier.Order) { o.OrderNo = strings.Repeat("9", 51) }},
		{"logisticsOrderNo", func(o *courier.Order) { o.OrderNo = "欧阳" }},
		{"waybillNo", func(o *courier.Order) { o.WaybillNo = "12 00" }},
		{"createdTime", func(o *courier.Order) { o.CreatedAt = o.CreatedAt.AddDate(-3000, 0, 0); *o = courier.Order{} }},
		{"paymentMode", func(o *courier.Order) { o.PaymentMode = 3 }},
		{"paymentMode", func(o *courier.Order) { o.PaymentMode = 0 }},
		{"weight", func(o *courier.Order) { o.WeightG = -1 }},
		{"remarks", func(o *courier.Order) { o.Remarks = long }},
		{"cargoName", func(o *courier.Order) { o.Contents = " " }},
		{"sender.name", func(o *courier.Order) { o.Sender.Name = vault.Conceal("") }},
		{"receiver.name", func(o *courier.Order) { o.Recipient.Name = vault.Conceal(long) }},
		{"receiver.name", func(o *courier.Order) { o.Recipient.Name = vault.Conceal(strings.Repeat("𠮷", 26)) }},
		{"receiver.name", func(o *courier.Order) { o.Recipient.Name = vault.Conceal("欧阳\n") }},
		{"receiver.name", func(o *courier.Order) { o.Recipient.Name = vault.Conceal("欧阳\xff") }},
		{"receiver.mobile", func(o *courier.Order) { o.Recipient.Phone = vault.Conceal("欧阳") }},
		{"receiver.prov", func(o *courier.Order) { o.Recipient.Province = "" }},
		{"receiver.city", func(o *courier.Order) { o.Recipient.City = "" }},
		{"sender.county", func(o *courier.Order) { o.Sender.County = strings.Repeat("区", 21) }},
		{"receiver.address", func(o *courier.Order) {
			o.Recipient.Address = vault.Conceal(strings.Repeat("丁戊己弄2号楼301", 21))
		}},
	}
	for _, tt := range tests {
		o := testOrder()
		tt.spoil(&o)
		_, err := c.CreateWaybill(t.Context(), o)
		if kindOf(t, err) != courier.RefusedByCarrier || !errors.Is(err, ErrNotSendable) || !strings.Contains(err.Error(), tt.field+":") {
			t.Errorf("%s: %v, want a refusal that names it", tt.field, err)
		}
		mustNotLeak(t, err)
	}
	if n := s.count("020003"); n != 0 {
		t.Errorf("%d wrong orders arrived, want none", n)
	}
}

func TestScrubLeavesTheCarriersOwnWords(t *testing.T) {
	t.Parallel()
	private := []string{"张三", "13800000000", "朝阳区示例路1号院2号楼301"}
	for in, want := range map[string]string{
		"非法的数字签名":                    "非法的数字签名",
		"收件人 张三\n不存在":                "收件人 … 不存在",
		"手机号13800000000格式错误":         "手机号…格式错误",
		"未知号码 010-87654321,单号 12345": "未知号码 010-…,单号 12345",
		"地址示例路1号院不可达":                "地址…不可达",
		"请求 S00001":                  "请求 S00001",
		strings.Repeat("长", 500):     strings.Repeat("长", 200),
		"a\x00b\u202Ec":              "abc",
		"1234567 在首,与尾 7654321":      "… 在首,与尾 …",
		"张三张三":                       "…",
	} {
		if got := scrub(in, private); got != want {
			t.Errorf("scrub(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestConfigShowsNoCredentials(t *testing.T) {
	t.Parallel()
	cfg := config("https://example.com/open")
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "config", cfg)
	mustNotHold(t, fmt.Sprintf("%v %+v %#v %s %s", cfg, cfg, cfg, cfg, log.String()))
}

func TestWrongSettingsAreNamedAndNotQuoted(t *testing.T) {
	t.Parallel()
	tests := []struct {
		setting string
		spoil   func(*Config)
	}{
		{"EMSD_EMS_URL", func(c *Config) { c.URL = "" }},
		{"EMSD_EMS_URL", func(c *Config) { c.URL = "ftp://example.com" }},
		{"EMSD_EMS_URL", func(c *Config) { c.URL = "https://AbCd1234EfGh5678@example.com/" }},
		{"EMSD_EMS_URL", func(c *Config) { c.URL = "https://example.com/?authorization=AbCd1234EfGh5678" }},
		{"EMSD_EMS_URL", func(c *Config) { c.URL = "http://api.ems.com.cn/open" }},
		{"EMSD_EMS_URL", func(c *Config) { c.URL = "https://x\x7f" + testSecret }},
		{"EMSD_EMS_SENDER_NO", func(c *Config) { c.SenderNo = " " }},
		{"EMSD_EMS_AUTHORIZATION", func(c *Config) { c.Authorization = "AbCd1234EfGh5678\n" }},
		{"EMSD_EMS_SECRET", func(c *Config) { c.Secret = "0123456789abcdef" }},
		{"EMSD_EMS_SECRET", func(c *Config) { c.Secret = testSecret + testSecret }},
		{"EMSD_EMS_SECRET", func(c *Config) { c.Secret = "" }},
		{"EMSD_EMS_RATE", func(c *Config) { c.Rate = -1 }},
		{"EMSD_EMS_CONCURRENCY", func(c *Config) { c.Concurrency = -1 }},
		{"EMSD_EMS_CA_FILE", func(c *Config) { c.CAFile = t.TempDir() + "/none.pem" }},
		{"Product", func(c *Config) { c.CollectProduct = "7" }},
		{"LabelType", func(c *Config) { c.LabelType = "A4" }},
	}
	for _, tt := range tests {
		cfg := config("https://example.com/open")
		tt.spoil(&cfg)
		_, err := New(cfg, nil, nil)
		if err == nil || !strings.Contains(err.Error(), tt.setting) {
			t.Errorf("%v, want an error that names %s", err, tt.setting)
			continue
		}
		mustNotHold(t, err.Error())
	}
}
