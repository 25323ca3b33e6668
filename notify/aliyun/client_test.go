package aliyun

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"emsd/courier"
	"emsd/courier/vault"
	"emsd/notify"
	"emsd/notify/smssim"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

const phone = "13912345678"

func config(url string) Config {
	templates := map[string]string{}
	for i, m := range notify.Milestones {
		templates[string(m)] = fmt.Sprintf("SMS_%d", 100+i)
	}
	return Config{URL: url, AccessKeyID: smssim.SampleAccessKeyID, AccessKeySecret: smssim.SampleAccessKeySecret,
		SignName: smssim.SampleSignName, Templates: templates}
}

func newClient(t *testing.T, cfg Config) *Client {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// simulate runs the simulator, which shares no code with the client.
func simulate(t *testing.T, cfg smssim.Config) (*smssim.Gateway, string) {
	t.Helper()
	sim := smssim.New(cfg)
	srv := httptest.NewServer(sim)
	t.Cleanup(srv.Close)
	return sim, srv.URL + smssim.PrefixAliyun
}

// answering runs a server that gives one answer to every call.
func answering(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.URL + "/"
}

func sms() notify.SMS {
	return notify.SMS{AttemptID: uuid.Must(uuid.NewV7()), Phone: vault.Conceal(phone), Milestone: notify.HandedOver,
		Vars: map[string]string{"name": "张**", "no": "1200000001417"}, Segments: 1}
}

func sendError(t *testing.T, err error) *notify.SendError {
	t.Helper()
	e, ok := errors.AsType[*notify.SendError](err)
	if !ok {
		t.Fatalf("error = %v, want a SendError", err)
	}
	return e
}

func TestSendIsAcceptedBySimulator(t *testing.T) {
	t.Parallel()
	for _, inQuery := range []bool{false, true} {
		t.Run(fmt.Sprintf("query=%t", inQuery), func(t *testing.T) {
			t.Parallel()
			sim, url := simulate(t, smssim.Config{Templates: map[string][]string{"SMS_101": {"name", "no"}}})
			cfg := config(url)
			cfg.InQuery = inQuery
			c := newClient(t, cfg)
			s := sms()
			sent, err := c.Send(t.Context(), s)
			if err != nil || sent.ProviderID == "" {
				t.Fatalf("Send = %v, %v", sent, err)
			}
			got := sim.Messages()
			if len(got) != 1 || got[0].Phone != phone || got[0].OutID != s.AttemptID.String() || got[0].Template != "SMS_101" {
				t.Fatalf("ledger = %+v", got)
			}
			if diff := cmp.Diff(s.Vars, got[0].Params); diff != "" {
				t.Errorf("variables (-want +got):\n%s", diff)
			}
			if err := c.Check(t.Context()); err != nil {
				t.Errorf("Check = %v", err)
			}
		})
	}
}

func TestNothingPersonalInTheAddress(t *testing.T) {
	t.Parallel()
	var address string
	url := answering(t, func(w http.ResponseWriter, r *http.Request) {
		address = r.URL.String()
		io.WriteString(w, `{"Code":"OK","BizId":"1^0"}`)
	})
	if _, err := newClient(t, config(url)).Send(t.Context(), sms()); err != nil {
		t.Fatal(err)
	}
	if address != "/" {
		t.Errorf("address = %s, want /", address)
	}
}

func TestNoIdempotencyKeyAndOnePost(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	url := answering(t, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		if r.Method != "POST" || r.Header.Get("Idempotency-Key") != "" || r.Header.Get("X-Idempotency-Key") != "" {
			t.Errorf("%s with %v", r.Method, r.Header)
		}
		w.Header().Set("Location", "/again")
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	_, err := newClient(t, config(url)).Send(t.Context(), sms())
	if e := sendError(t, err); e.Class != notify.Unknown {
		t.Errorf("a redirect is %v, want unknown", e)
	}
	if calls.Load() != 1 {
		t.Errorf("%d requests, want 1", calls.Load())
	}
}

func TestSimulatorFaults(t *testing.T) {
	t.Parallel()
	tests := []struct {
		kind  smssim.FaultKind
		want  notify.Class
		taken int // messages in the ledger
	}{
		{smssim.LoseReply, notify.Unknown, 1},
		{smssim.LoseRequest, notify.Unknown, 0},
		{smssim.HTTP502, notify.Unknown, 0},
		{smssim.HTML, notify.Unknown, 0},
		{smssim.Throttle, notify.Throttle, 0},
		{smssim.NonceUsed, notify.Unknown, 1},
		{smssim.OutOfMoney, notify.Configuration, 0},
		{smssim.Reject, notify.Permanent, 0},
		{smssim.Truncate, notify.Unknown, 1},
		{smssim.Hang, notify.Unknown, 0},
	}
	for _, tt := range tests {
		t.Run(string(tt.kind), func(t *testing.T) {
			t.Parallel()
			sim, url := simulate(t, smssim.Config{Hang: 5 * time.Second})
			cfg := config(url)
			if tt.kind == smssim.Hang {
				cfg.Timeout = 200 * time.Millisecond
			}
			sim.Next(tt.kind)
			_, err := newClient(t, cfg).Send(t.Context(), sms())
			if e := sendError(t, err); e.Class != tt.want {
				t.Errorf("Send = %v, want %v", e, tt.want)
			}
			if got := len(sim.Messages()); got != tt.taken {
				t.Errorf("%d messages taken, want %d", got, tt.taken)
			}
		})
	}
}

func TestUnsentOnlyWithoutConnection(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := "http://" + l.Addr().String() + "/"
	l.Close()
	_, err = newClient(t, config(address)).Send(t.Context(), sms())
	if e := sendError(t, err); e.Class != notify.Unsent {
		t.Errorf("connection refused = %v, want unsent", e)
	}

	srv := httptest.NewTLSServer(http.NotFoundHandler())
	defer srv.Close()
	_, err = newClient(t, config(srv.URL)).Send(t.Context(), sms())
	if e := sendError(t, err); e.Class != notify.Unsent {
		t.Errorf("unknown certificate = %v, want unsent", e)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = newClient(t, config(address)).Send(ctx, sms())
	if e := sendError(t, err); e.Class != notify.Unsent {
		t.Errorf("cancelled before = %v, want unsent", e)
	}
}

func TestFurtherRootCertificate(t *testing.T) {
	t.Parallel()
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"Code":"OK","BizId":"1^0"}`)
	}))
	defer srv.Close()
	file := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	if err := os.WriteFile(file, block, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := config(srv.URL)
	cfg.CAFile = file
	if _, err := newClient(t, cfg).Send(t.Context(), sms()); err != nil {
		t.Errorf("Send = %v", err)
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 10, 20, 30, 0, beijing)
	tests := []struct {
		name   string
		status int
		body   string
		want   notify.SendError
	}{
		{"OK without BizId", 200, `{"Code":"OK"}`, notify.SendError{Class: notify.Unknown, Code: "OK"}},
		{"OK with 500", 500, `{"Code":"OK","BizId":"1"}`, notify.SendError{Class: notify.Unknown, Code: "OK"}},
		{"empty", 200, ``, notify.SendError{Class: notify.Unknown, Code: "http_200"}},
		{"no code", 200, `{}`, notify.SendError{Class: notify.Unknown, Code: "http_200"}},
		{"null", 200, `null`, notify.SendError{Class: notify.Unknown, Code: "http_200"}},
		{"code with spaces", 200, `{"Code":"13912345678 is bad"}`, notify.SendError{Class: notify.Unknown, Code: "http_200"}},
		{"503 with body", 503, `{"Code":"ServiceUnavailable"}`, notify.SendError{Class: notify.Unknown, Code: "ServiceUnavailable"}},
		{"unknown code in 500", 500, `{"Code":"SomethingNew"}`, notify.SendError{Class: notify.Unknown, Code: "SomethingNew"}},
		{"unknown code in 400", 400, `{"Code":"SomethingNew"}`, notify.SendError{Class: notify.Configuration, Code: "SomethingNew", Unlisted: true}},
		{"unknown code in 200", 200, `{"Code":"SomethingNew"}`, notify.SendError{Class: notify.Unknown, Code: "SomethingNew", Unlisted: true}},
		{"unknown isv", 200, `{"Code":"isv.BRAND_NEW"}`, notify.SendError{Class: notify.Configuration, Code: "isv.BRAND_NEW", Unlisted: true}},
		{"unknown isp", 200, `{"Code":"isp.BRAND_NEW"}`, notify.SendError{Class: notify.Unknown, Code: "isp.BRAND_NEW", Unexplained: true}},
		{"unknown isp in 500", 500, `{"Code":"isp.BRAND_NEW"}`, notify.SendError{Class: notify.Unknown, Code: "isp.BRAND_NEW", Unexplained: true}},
		{"template", 200, `{"Code":"isv.SMS_TEMPLATE_ILLEGAL"}`, notify.SendError{Class: notify.Configuration, Code: "isv.SMS_TEMPLATE_ILLEGAL", ThisTemplate: true}},
		{"minute", 200, `{"Code":"isv.BUSINESS_LIMIT_CONTROL","Message":"触发分钟级流控Permits:1"}`,
			notify.SendError{Class: notify.Throttle, Code: "isv.BUSINESS_LIMIT_CONTROL", RetryAfter: 31 * time.Second}},
		{"hour", 200, `{"Code":"isv.BUSINESS_LIMIT_CONTROL","Message":"触发小时级流控Permits:5"}`,
			notify.SendError{Class: notify.Throttle, Code: "isv.BUSINESS_LIMIT_CONTROL", RetryAfter: 39*time.Minute + 31*time.Second}},
		{"day", 200, `{"Code":"isv.BUSINESS_LIMIT_CONTROL","Message":"触发天级流控Permits:10"}`,
			notify.SendError{Class: notify.Throttle, Code: "isv.BUSINESS_LIMIT_CONTROL", RetryAfter: 24 * time.Hour}},
		{"throttled", 400, `{"Code":"Throttling.User"}`, notify.SendError{Class: notify.Throttle, Code: "Throttling.User", RetryAfter: 2500 * time.Millisecond}},
		{"throttled another way", 429, `{"Code":"Throttling.Something"}`, notify.SendError{Class: notify.Throttle, Code: "Throttling.Something", RetryAfter: 2500 * time.Millisecond}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := config(answering(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("x-ratelimit-user", "Limit:1,Remain:0,TimeLeft:2500")
				w.Header().Set("x-ratelimit-user-api", "Limit:1,Remain:0,TimeLeft:300")
				w.WriteHeader(tt.status)
				io.WriteString(w, tt.body)
			}))
			cfg.Now = func() time.Time { return at }
			_, err := newClient(t, cfg).Send(t.Context(), sms())
			got := *sendError(t, err)
			got.Message = ""
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Every code of the dossier's table A.7 with the class that it gives.
func TestCodesAreClassedAsTheDossierSays(t *testing.T) {
	t.Parallel()
	table := map[notify.Class]string{
		notify.Throttle:  "isv.BUSINESS_LIMIT_CONTROL Throttling Throttling.User Throttling.Api",
		notify.Recipient: "isv.MOBILE_NUMBER_ILLEGAL isv.BLACK_KEY_CONTROL_LIMIT isv.CUSTOMER_REFUSED",
		notify.Permanent: "isv.MOBILE_COUNT_OVER_LIMIT isv.TEMPLATE_MISSING_PARAMETERS isv.INVALID_JSON_PARAM isv.INVALID_PARAMETERS PARAMS_ILLEGAL " +
			"isv.TEMPLATE_PARAMS_ILLEGAL isv.PARAM_LENGTH_LIMIT isv.PARAM_NOT_SUPPORT_URL isv.SMS_CONTENT_ILLEGAL isv.UNSUPPORTED_CONTENT isv.SMS_CONTENT_MISMATCH_TEMPLATE_TYPE",
		notify.Configuration: "isv.DAY_LIMIT_CONTROL isv.MONTH_LIMIT_CONTROL isv.SMS_TEMPLATE_ILLEGAL isv.SMS_SIGNATURE_ILLEGAL isv.SMS_SIGN_ILLEGAL isv.SIGN_STATE_ILLEGAL " +
			"isv.SIGN_NAME_ILLEGAL isv.SMS_SIGNATURE_SCENE_ILLEGAL isv.EXTEND_CODE_ERROR isv.ONE_CODE_MULTIPLE_SIGN isv.CODE_ERROR isv.CODE_EXCEED_LIMIT " +
			"isv.OUT_OF_SERVICE isv.AMOUNT_NOT_ENOUGH isv.ACCOUNT_NOT_EXISTS isv.ACCOUNT_ABNORMAL isv.SECURITY_FROZEN_ACCOUNT isv.PRODUCT_UN_SUBSCRIPT isv.PRODUCT_UNSUBSCRIBE " +
			"isp.RAM_PERMISSION_DENY isv.DENY_IP_RANGE InvalidAccessKeyId.NotFound SignatureDoesNotMatch InvalidTimeStamp.Expired InvalidVersion InvalidAction.NotFound MissingAccessKeyId " +
			"isv.DOMESTIC_NUMBER_NOT_SUPPORTED isv.SMS_TEST_NUMBER_LIMIT isv.SMS_TEST_SIGN_TEMPLATE_LIMIT isv.SMS_TEST_TEMPLATE_PARAMS_ILLEGAL isv.SMS_OVER_LIMIT " +
			"isv.TEMPLATE_COUNT_OVER_LIMIT isv.SIGN_COUNT_OVER_LIMIT",
		notify.Unregistered: "PORT_NOT_REGISTERED",
		notify.Unknown:      "SignatureNonceUsed isp.SYSTEM_ERROR isp.GATEWAY_ERROR InternalError ServiceUnavailable",
	}
	listed := 0
	for class, names := range table {
		for _, code := range strings.Fields(names) {
			listed++
			if m, known := codes[code]; !known || m.class != class {
				t.Errorf("%s: %v (known %t), want %v", code, m.class, known, class)
			}
		}
	}
	if listed < 55 {
		t.Errorf("only %d codes compared", listed)
	}
}

// Every receipt code of the dossier's A.7 (testdata, with the class it has there) stands in the table, which has no others.
func TestReceiptCodesAreThoseOfTheDossier(t *testing.T) {
	t.Parallel()
	file, err := os.ReadFile("testdata/receipt_codes.tsv")
	if err != nil {
		t.Fatal(err)
	}
	classes := map[string]notify.Class{"R": notify.Recipient, "R+W": notify.Throttle, "P": notify.Permanent, "C": notify.Configuration,
		"C per carrier": notify.Unregistered, "T": notify.Transient, "U": notify.Unknown}
	c, failures := newClient(t, config("http://127.0.0.1:1")), map[string]notify.Class{}
	for line := range strings.Lines(string(file)) {
		code, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		outcome, class, _ := strings.Cut(rest, "\t")
		want, known := map[string]notify.Outcome{"delivered": notify.Arrived, "pending": notify.Pending, "failed": notify.NotArrived}[outcome]
		if got, gotClass := c.ReadReceipt(false, code); !known || got != want || gotClass != classes[class] {
			t.Errorf("%s: %v, %v; want %s, %s", code, got, gotClass, outcome, class)
		}
		if want, known := classes[class]; known && outcome == "failed" {
			failures[code] = want
		}
	}
	if diff := cmp.Diff(failures, receiptCodes); diff != "" {
		t.Errorf("the table beside the dossier (-dossier +table):\n%s", diff)
	}
}

func TestFindTellsTheOutcome(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 23, 59, 58, 0, beijing)
	var offset atomic.Int64
	clock := func() time.Time { return now.Add(time.Duration(offset.Load())) }
	_, url := simulate(t, smssim.Config{Now: clock, DailyLimit: 500})
	cfg := config(url)
	cfg.Now = clock
	c := newClient(t, cfg)
	wanted := sms()
	query := notify.Query{Phone: wanted.Phone, AttemptID: wanted.AttemptID, Day: "20261123"}

	if found, err := c.Find(t.Context(), query); err != nil || found.Outcome != notify.Absent {
		t.Errorf("before sending: %+v, %v; want absent", found, err)
	}
	offset.Store(int64(4 * time.Second)) // the gateway's day is already the next
	if _, err := c.Send(t.Context(), wanted); err != nil {
		t.Fatal(err)
	}
	for range 120 { // so that it stands on the third page
		if _, err := c.Send(t.Context(), sms()); err != nil {
			t.Fatal(err)
		}
	}
	if found, err := c.Find(t.Context(), query); err != nil || found.Outcome != notify.Pending {
		t.Errorf("after midnight: %+v, %v; want pending", found, err)
	}
	offset.Store(int64(time.Hour))
	if found, err := c.Find(t.Context(), query); err != nil || found.Outcome != notify.Arrived {
		t.Errorf("an hour later: %+v, %v; want arrived", found, err)
	}
	query.AttemptID = uuid.New()
	if found, err := c.Find(t.Context(), query); err != nil || found.Outcome != notify.Absent {
		t.Errorf("another attempt: %+v, %v; want absent", found, err)
	}
}

func TestFindIsNeverAbsentByMistake(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"refused":         `{"Code":"isv.INVALID_PARAMETERS"}`,
		"half a list":     `{"Code":"OK","TotalCount":"3","SmsSendDetailDTOs":{"SmsSendDetailDTO":[]}}`,
		"list is a text":  `{"Code":"OK","TotalCount":"1","SmsSendDetailDTOs":"none"}`,
		"count is a word": `{"Code":"OK","TotalCount":"many","SmsSendDetailDTOs":{"SmsSendDetailDTO":[]}}`,
		"HTML":            `<html></html>`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClient(t, config(answering(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, body) })))
			if found, err := c.Find(t.Context(), notify.Query{Phone: vault.Conceal(phone), AttemptID: uuid.New(), Day: "20261123"}); err == nil {
				t.Errorf("Find = %+v, want an error", found)
			}
		})
	}
}

func TestVariablesAreCheckedBeforeSending(t *testing.T) {
	t.Parallel()
	for value, ok := range map[string]bool{
		"张**":                   true,
		"1200000001417":         true,
		strings.Repeat("字", 35): true,
		strings.Repeat("字", 36): false,
		"":                      false,
		"https://x.cn":          false,
		"WWW.x.cn":              false,
		"好😀":                    false,
		"☀":                     false,
		"【a】":                   false,
		"𠮷":                     false,
		"a\nb":                  false,
		"\xff":                  false,
		"12月31日":                true, "买买提·艾力": true,
	} {
		if bad := rules.BadVariable(map[string]string{"v": value}); (bad == nil) != ok {
			t.Errorf("%q: %v, want ok=%t", value, bad, ok)
		}
	}
	var calls atomic.Int32
	c := newClient(t, config(answering(t, func(http.ResponseWriter, *http.Request) { calls.Add(1) })))
	s := sms()
	s.Vars["no"] = "http://x"
	_, err := c.Send(t.Context(), s)
	if e := sendError(t, err); e.Class != notify.Permanent || calls.Load() != 0 {
		t.Errorf("Send = %v after %d calls, want permanent without one", e, calls.Load())
	}
}

func TestEveryTextIsAcceptable(t *testing.T) {
	t.Parallel()
	for _, m := range slices.Concat(notify.TextNames(courier.InChinese, true), notify.TextNames(courier.InEnglish, true)) {
		vars := notify.Fields(m, "欧阳娜娜", notify.Facts{WaybillNo: "1200-0000-01417", DueFen: 123456, Password: "012345"})
		if bad := rules.BadVariable(vars); bad != nil {
			t.Errorf("%s: %v", m, bad)
		}
	}
}

func TestErrorsHoldNothingPersonal(t *testing.T) {
	t.Parallel()
	quoting := func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		code := "isv.BRAND_NEW"
		if r.URL.RawQuery != "" {
			code = "SignatureDoesNotMatch"
		}
		answer, _ := json.Marshal(map[string]string{"Code": code, "Message": "CanonicalRequest is: " + r.URL.String() + string(body) + phone})
		w.WriteHeader(http.StatusBadRequest)
		w.Write(answer)
	}
	for name, h := range map[string]http.HandlerFunc{
		"quoted": quoting,
		"lost":   func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		for _, inQuery := range []bool{false, true} {
			cfg := config(answering(t, h))
			cfg.InQuery = inQuery
			_, err := newClient(t, cfg).Send(t.Context(), sms())
			var log bytes.Buffer
			slog.New(slog.NewTextHandler(&log, nil)).Error("x", "err", err, "cfg", cfg)
			text := log.String() + fmt.Sprintf("%v %+v %#v %v %+v %#v", err, err, *sendError(t, err), cfg, cfg, cfg)
			for _, secret := range []string{phone, "张", "%E5%BC%A0", smssim.SampleAccessKeySecret, "1200000001417"} {
				if strings.Contains(text, secret) {
					t.Errorf("%s, query=%t: %q stands in %s", name, inQuery, secret, text)
				}
			}
		}
	}
}

func TestConfigNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	_, err := New(Config{URL: "http://example.com/", SignName: "【x】", AccessKeySecret: "hush-hush",
		Templates: map[string]string{"handed_over": "101", "party": "SMS_1"}})
	if err == nil {
		t.Fatal("New = nil, want an error")
	}
	for _, want := range []string{"EMSD_SMS_ALIYUN_URL", "_ACCESS_KEY_ID", "_SIGN_NAME", `"party" is no milestone`, "the code of handed_over"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %s: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "hush") {
		t.Errorf("error quotes a secret: %v", err)
	}
	c := newClient(t, func() Config { c := config(""); delete(c.Templates, "held"); return c }())
	if diff := cmp.Diff([]notify.Unsendable{{Text: notify.Held, Why: "no template is configured"}}, notify.Unsendables(c, smssim.SampleSignName, false)); diff != "" {
		t.Errorf("texts that cannot be sent (-want +got):\n%s", diff)
	}
	s := sms()
	s.Milestone = notify.Held
	_, err = c.Send(t.Context(), s)
	if e := sendError(t, err); e.Class != notify.Configuration || !e.ThisTemplate {
		t.Errorf("Send without template = %v", e)
	}
}

func TestReceipts(t *testing.T) {
	t.Parallel()
	id := uuid.MustParse("019abcde-0000-7000-8000-000000000001")
	body := `[{"phone_number":"13912345678","send_time":"2026-11-23 10:00:00","report_time":"2026-11-23 10:00:05","success":true,"err_code":"DELIVERED",
		"err_msg":"用户接收成功","sms_size":"1","biz_id":"90061^0","out_id":"019abcde-0000-7000-8000-000000000001"},
		{"success":false,"err_code":"MOBILE_NOT_ON_SERVICE","biz_id":"2","out_id":"somebody else's"}, 7, {"success":"yes"}]`
	got, err := ParseReceipts([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	want := []notify.Receipt{
		{AttemptID: id, ProviderID: "90061^0", Success: true, Code: "DELIVERED"},
		{ProviderID: "2", Code: "MOBILE_NOT_ON_SERVICE"},
		{Code: "unreadable"},
		{Code: "unreadable"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, bad := range []string{``, `{}`, `[`, `<xml/>`, `"[]"`} {
		if _, err := ParseReceipts([]byte(bad)); err == nil || strings.Contains(err.Error(), phone) {
			t.Errorf("ParseReceipts(%q) = %v", bad, err)
		}
	}
	c := newClient(t, config(""))
	for code, want := range map[string]notify.Outcome{"REQUEST_SUCCESS": notify.Pending, "DELIVRD": notify.Arrived, "MK:0001": notify.NotArrived} {
		if outcome, _ := c.ReadReceipt(false, code); outcome != want {
			t.Errorf("%s = %v, want %v", code, outcome, want)
		}
	}
}

func FuzzParseReceipts(f *testing.F) {
	f.Add([]byte(`[{"success":true,"err_code":"DELIVERED","biz_id":"1","out_id":"019abcde-0000-7000-8000-000000000001"}]`))
	f.Add([]byte(`[null,1,"x",{}]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		receipts, err := ParseReceipts(body)
		if err != nil && receipts != nil {
			t.Errorf("both receipts and %v", err)
		}
		for _, r := range receipts {
			if r.Code == "unreadable" && (r.AttemptID != uuid.Nil || r.Success) {
				t.Errorf("unreadable and yet %+v", r)
			}
		}
	})
}

func FuzzAnswer(f *testing.F) {
	f.Add(200, []byte(`{"Code":"OK","BizId":"1"}`))
	f.Add(200, []byte(`{"Code":"OK","TotalCount":"2","SmsSendDetailDTOs":{"SmsSendDetailDTO":[{"SendStatus":3,"OutId":"x"}]}}`))
	c, err := New(config(""))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		a, err := readAnswer(body)
		if err != nil {
			return
		}
		sent, err := c.read(reply{status: status, header: http.Header{}, body: a})
		if err == nil && (status != 200 || a.Code != "OK" || sent.ProviderID == "") {
			t.Errorf("accepted by %d %s", status, body)
		}
	})
}

func TestACallCarriesTheTraceOfItsRequestOn(t *testing.T) {
	t.Parallel()
	var got atomic.Value
	c := newClient(t, config(answering(t, func(w http.ResponseWriter, r *http.Request) { got.Store(r.Header.Get("traceparent")) })))
	const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for want, ctx := range map[string]context.Context{trace: courier.WithTrace(t.Context(), trace), "": t.Context()} {
		if _, err := c.Send(ctx, sms()); err == nil || got.Load() != want {
			t.Errorf("sent traceparent %q, %v; want %q", got.Load(), err, want)
		}
	}
}
