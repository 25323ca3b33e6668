package tencent

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

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
		templates[string(m)] = fmt.Sprint(100 + i)
	}
	return Config{URL: url, SecretID: smssim.SampleSecretID, SecretKey: smssim.SampleSecretKey, AppID: smssim.SampleAppID,
		SignName: smssim.SampleSignName, Templates: templates, VariableLimit: 20}
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
	if cfg.Tencent.VariableLimit == 0 {
		cfg.Tencent.VariableLimit = 20
	}
	sim := smssim.New(cfg)
	srv := httptest.NewServer(sim)
	t.Cleanup(srv.Close)
	return sim, srv.URL + smssim.PrefixTencent
}

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
	sim, url := simulate(t, smssim.Config{Tencent: smssim.Tencent{Templates: map[string]int{"101": 2}}})
	c := newClient(t, config(url))
	s := sms()
	sent, err := c.Send(t.Context(), s)
	if err != nil || sent.ProviderID == "" {
		t.Fatalf("Send = %v, %v", sent, err)
	}
	got := sim.Messages()
	if len(got) != 1 || got[0].Gateway != "tencent" || got[0].Phone != phone || got[0].OutID != s.AttemptID.String() || got[0].Template != "101" {
		t.Fatalf("ledger = %+v", got)
	}
	if diff := cmp.Diff(map[string]string{"1": "张**", "2": "1200000001417"}, got[0].Params); diff != "" {
		t.Errorf("variables in the order of the text (-want +got):\n%s", diff)
	}
	if err := c.Check(t.Context()); err != nil {
		t.Errorf("Check = %v", err)
	}
}

func TestNothingPersonalInTheAddressAndNoIdempotencyKey(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	url := answering(t, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		if r.Method != http.MethodPost || r.URL.String() != "/" || r.Header.Get("Idempotency-Key")+r.Header.Get("X-Idempotency-Key") != "" {
			t.Errorf("%s %s with %v", r.Method, r.URL, r.Header)
		}
		w.Header().Set("Location", "/again")
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	_, err := newClient(t, config(url)).Send(t.Context(), sms())
	if e := sendError(t, err); e.Class != notify.Unknown || calls.Load() != 1 {
		t.Errorf("a redirect is %v after %d requests, want unknown after 1", e, calls.Load())
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
		{smssim.NonceUsed, notify.Unknown, 1}, // InternalError.Timeout
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
}

// Both levels of errors are read: under Response, and in the entry of the number.
func TestSimulatorRefusals(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(cfg *Config, s *notify.SMS)
		want   notify.SendError
	}{
		{"blacklisted number", func(_ *Config, s *notify.SMS) { s.Phone = vault.Conceal("13900000008") },
			notify.SendError{Class: notify.Recipient, Code: "FailedOperation.PhoneNumberInBlacklist"}},
		{"another application", func(c *Config, _ *notify.SMS) { c.AppID = "1" },
			notify.SendError{Class: notify.Configuration, Code: "InvalidParameterValue.SdkAppIdNotExist"}},
		{"another signature", func(c *Config, _ *notify.SMS) { c.SignName = "别的签名" },
			notify.SendError{Class: notify.Configuration, Code: "FailedOperation.SignatureIncorrectOrUnapproved"}},
		{"a template that is not approved", func(c *Config, _ *notify.SMS) { c.Templates["handed_over"] = "999" },
			notify.SendError{Class: notify.Configuration, Code: "FailedOperation.TemplateUnapprovedOrNotExist", ThisTemplate: true}},
		{"a limit that the account has not", func(c *Config, s *notify.SMS) { s.Vars["no"] = strings.Repeat("1", 20); c.VariableLimit = 30 },
			notify.SendError{Class: notify.Permanent, Code: "InvalidParameterValue.TemplateParameterLengthLimit"}},
	}
	for _, top := range []bool{false, true} {
		for _, tt := range tests {
			t.Run(fmt.Sprintf("%s, at the top %t", tt.name, top), func(t *testing.T) {
				t.Parallel()
				_, url := simulate(t, smssim.Config{Tencent: smssim.Tencent{TopLevel: top, Templates: map[string]int{"101": 2}, VariableLimit: 14}})
				cfg, s := config(url), sms()
				tt.change(&cfg, &s)
				_, err := newClient(t, cfg).Send(t.Context(), s)
				got := *sendError(t, err)
				got.Message = ""
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		}
	}
}

func TestWrongCredentialsAreRefused(t *testing.T) {
	t.Parallel()
	_, url := simulate(t, smssim.Config{})
	for name, change := range map[string]func(*Config){
		"secret": func(c *Config) { c.SecretKey = "another" },
		"id":     func(c *Config) { c.SecretID = "another" },
		"clock":  func(c *Config) { c.Wall = func() time.Time { return time.Now().Add(-6 * time.Minute) } },
	} {
		cfg := config(url)
		change(&cfg)
		c := newClient(t, cfg)
		_, err := c.Send(t.Context(), sms())
		if e := sendError(t, err); e.Class != notify.Configuration || !strings.HasPrefix(e.Code, "AuthFailure.") {
			t.Errorf("wrong %s = %v, want configuration", name, e)
		}
		if c.Check(t.Context()) == nil {
			t.Errorf("wrong %s: Check finds nothing", name)
		}
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 22, 20, 30, 0, beijing)
	entry := func(fields string) string {
		return `{"Response":{"RequestId":"r","SendStatusSet":[{"PhoneNumber":"+86` + phone + `",` + fields + `}]}}`
	}
	tests := []struct {
		name   string
		status int
		body   string
		want   notify.SendError
	}{
		{"Ok without a serial", 200, entry(`"Code":"Ok"`), notify.SendError{Class: notify.Unknown, Code: "Ok"}},
		{"Ok with 500", 500, entry(`"Code":"Ok","SerialNo":"1"`), notify.SendError{Class: notify.Unknown, Code: "Ok"}},
		{"ok in small letters", 200, entry(`"Code":"ok","SerialNo":"1"`), notify.SendError{Class: notify.Unknown, Code: "ok", Unlisted: true}},
		{"another number", 200, `{"Response":{"SendStatusSet":[{"PhoneNumber":"+8613700000000","Code":"Ok","SerialNo":"1"}]}}`, notify.SendError{Class: notify.Unknown, Code: "http_200"}},
		{"another attempt", 200, entry(`"Code":"Ok","SerialNo":"1","SessionContext":"x"`), notify.SendError{Class: notify.Unknown, Code: "http_200"}},
		{"two entries", 200, `{"Response":{"SendStatusSet":[{"Code":"Ok"},{"Code":"Ok"}]}}`, notify.SendError{Class: notify.Unknown, Code: "http_200"}},
		{"no entry", 200, `{"Response":{"RequestId":"r"}}`, notify.SendError{Class: notify.Unknown, Code: "http_200"}},
		{"empty", 200, ``, notify.SendError{Class: notify.Unknown, Code: "http_200"}},
		{"no Response", 200, `{}`, notify.SendError{Class: notify.Unknown, Code: "http_200"}},
		{"a number in the code", 200, `{"Response":{"Error":{"Code":"13912345678 is bad"}}}`, notify.SendError{Class: notify.Unknown, Code: "http_200"}},
		{"30 s", 200, entry(`"Code":"LimitExceeded.PhoneNumberThirtySecondLimit"`), notify.SendError{Class: notify.Throttle, Code: "LimitExceeded.PhoneNumberThirtySecondLimit", RetryAfter: 31 * time.Second}},
		{"an hour", 200, entry(`"Code":"LimitExceeded.PhoneNumberOneHourLimit"`), notify.SendError{Class: notify.Throttle, Code: "LimitExceeded.PhoneNumberOneHourLimit", RetryAfter: time.Hour}},
		{"a calendar day in China", 200, entry(`"Code":"LimitExceeded.PhoneNumberDailyLimit"`),
			notify.SendError{Class: notify.Throttle, Code: "LimitExceeded.PhoneNumberDailyLimit", RetryAfter: 99*time.Minute + 31*time.Second}},
		{"paced", 200, `{"Response":{"Error":{"Code":"RequestLimitExceeded.IPLimitExceeded"}}}`, notify.SendError{Class: notify.Throttle, Code: "RequestLimitExceeded.IPLimitExceeded"}},
		{"a new code of a business family", 200, entry(`"Code":"FailedOperation.BrandNew"`), notify.SendError{Class: notify.Configuration, Code: "FailedOperation.BrandNew", Unlisted: true}},
		{"a new internal one", 200, `{"Response":{"Error":{"Code":"InternalError.BrandNew"}}}`, notify.SendError{Class: notify.Unknown, Code: "InternalError.BrandNew", Unlisted: true}},
		{"a new family", 200, `{"Response":{"Error":{"Code":"Brand.New"}}}`, notify.SendError{Class: notify.Unknown, Code: "Brand.New", Unlisted: true}},
		{"a business family in a 502", 502, `{"Response":{"Error":{"Code":"FailedOperation.BrandNew"}}}`, notify.SendError{Class: notify.Unknown, Code: "FailedOperation.BrandNew"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := config(answering(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tt.status)
				io.WriteString(w, tt.body)
			}))
			cfg.Now = func() time.Time { return at }
			_, err := newClient(t, cfg).Send(t.Context(), sms())
			got := *sendError(t, err)
			if strings.Contains(got.Error(), phone) {
				t.Errorf("the error names the number: %v", got.Error())
			}
			got.Message = ""
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Every code of the dossier's table B.7 with the class that it gives.
func TestCodesAreClassedAsTheDossierSays(t *testing.T) {
	t.Parallel()
	table := map[notify.Class]string{
		notify.Throttle: "LimitExceeded.PhoneNumberThirtySecondLimit LimitExceeded.PhoneNumberOneHourLimit LimitExceeded.PhoneNumberDailyLimit " +
			"LimitExceeded.PhoneNumberSameContentDailyLimit LimitExceeded.DeliveryFrequencyLimit RequestLimitExceeded RequestLimitExceeded.UinLimitExceeded",
		notify.Recipient: "InvalidParameterValue.IncorrectPhoneNumber FailedOperation.PhoneNumberInBlacklist",
		notify.Permanent: "LimitExceeded.PhoneNumberCountLimit MissingParameter.EmptyPhoneNumberSet InvalidParameter.DirtyWordFound InvalidParameter FailedOperation.FailResolvePacket " +
			"FailedOperation.JsonParseFail InvalidParameterValue.TemplateParameterLengthLimit InvalidParameterValue.TemplateParameterFormatError " +
			"InvalidParameterValue.ContentLengthLimit InvalidParameterValue.ProhibitedUseUrlInTemplateParameter FailedOperation.ContainSensitiveWord " +
			"FailedOperation.TemplateParamSetNotMatchApprovedTemplate",
		notify.Configuration: "LimitExceeded.AppDailyLimit LimitExceeded.AppMainlandChinaDailyLimit FailedOperation.SignatureIncorrectOrUnapproved " +
			"FailedOperation.TemplateIncorrectOrUnapproved FailedOperation.TemplateUnapprovedOrNotExist InvalidParameterValue.SdkAppIdNotExist " +
			"UnsupportedOperation.UnsupportedRegion UnsupportedOperation.UnsupportedTemplateVariable FailedOperation.InsufficientBalanceInSmsPackage " +
			"UnauthorizedOperation.ServiceSuspendDueToArrears UnauthorizedOperation.RequestIpNotInWhitelist AuthFailure.SignatureFailure AuthFailure.SignatureExpire " +
			"InternalError.RequestTimeException InternalError.SigVerificationFail InternalError.SigFieldMissing InternalError.RestApiInterfaceNotExist " +
			"FailedOperation.MarketingSendTimeConstraint",
		notify.Unknown: "InternalError.Timeout InternalError.SendAndRecvFail InternalError.OtherError InternalError.UnknownError InternalError.ParseBackendResponseFail ServiceUnavailable",
	}
	listed := map[string]bool{}
	for class, codes := range table {
		for code := range strings.FieldsSeq(codes) {
			listed[code] = true
			if got := judge(http.StatusOK, code); got.class != class {
				t.Errorf("%s is %v, want %v", code, got.class, class)
			}
		}
	}
	for code := range codes {
		if !listed[code] {
			t.Errorf("%s is in the table, but not in the dossier's", code)
		}
	}
}

// A limit of six characters lets no waybill number pass: another gateway takes those texts, nothing is posted.
func TestVariableLimitOfTheAccount(t *testing.T) {
	t.Parallel()
	cfg := config(answering(t, func(http.ResponseWriter, *http.Request) { t.Error("posted") }))
	cfg.VariableLimit = 0
	c := newClient(t, cfg)
	_, err := c.Send(t.Context(), sms())
	if e := sendError(t, err); e.Class != notify.Configuration || !e.ThisTemplate || e.Code != "variable_limit" {
		t.Errorf("Send = %v", e)
	}
	missing := notify.Unsendables(c, smssim.SampleSignName, false)
	is := func(m notify.Milestone) func(notify.Unsendable) bool {
		return func(u notify.Unsendable) bool { return u.Text == m && strings.Contains(u.Why, "13 characters") }
	}
	if slices.ContainsFunc(missing, is(notify.PaymentDue)) || !slices.ContainsFunc(missing, is(notify.HandedOver)) {
		t.Errorf("missing = %v, want those with a waybill number only", missing)
	}
}

func TestBadVariablesNeverLeave(t *testing.T) {
	t.Parallel()
	c := newClient(t, config(answering(t, func(http.ResponseWriter, *http.Request) { t.Error("posted") })))
	for _, value := range []string{"", strings.Repeat("1", 21), "http://a", "WWW.a.cn", "【x】", "\xff"} {
		s := sms()
		s.Vars["no"] = value
		_, err := c.Send(t.Context(), s)
		if e := sendError(t, err); e.Class != notify.Permanent {
			t.Errorf("%q = %v, want permanent", value, e)
		}
	}
}

func TestConfigNamesEveryFault(t *testing.T) {
	t.Parallel()
	_, err := New(Config{URL: "http://sms.example.com/", AppID: "x", SignName: "签", VariableLimit: -1, Templates: map[string]string{"nothing": "x"}})
	for _, setting := range []string{"URL", "SECRET_ID", "SECRET_KEY", "APP_ID", "SIGN_NAME", "VARIABLE_LIMIT", "TEMPLATES"} {
		if err == nil || !strings.Contains(err.Error(), "EMSD_SMS_TENCENT_"+setting) {
			t.Errorf("New does not name %s: %v", setting, err)
		}
	}
	if text := fmt.Sprintf("%v %+v %#v", config("u"), config("u"), config("u")); strings.Contains(text, smssim.SampleSecretKey) {
		t.Error("a printed Config shows the secret")
	}
}
