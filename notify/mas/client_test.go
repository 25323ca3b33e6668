package mas

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
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
		templates[string(m)] = fmt.Sprintf("tpl%04d", 100+i)
	}
	return Config{URL: url, ECName: smssim.SampleECName, APID: smssim.SampleAPID, SecretKey: smssim.SampleMASSecret, Sign: smssim.SampleMASSign, Templates: templates}
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
	return sim, srv.URL + smssim.PrefixMAS
}

func answering(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.URL + "/sms"
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

// The dossier's vectors (C.6), with the body as it leaves.
func TestVectors(t *testing.T) {
	t.Parallel()
	s := submission{ECName: "某某市政务服务中心", APID: "fakeap", Mobiles: "13900000000,13900000001", Content: "您的证件已寄出，单号EMS1234。", Sign: "FakeSignId"}
	s.MAC = s.mac("FakeMasSecret01")
	if s.MAC != "f4ba454dc2dfaa6f0584752cbb754a4e" {
		t.Errorf("mac of a text = %s", s.MAC)
	}
	body, err := wrap(s)
	const want = "eyJlY05hbWUiOiLmn5Dmn5DluILmlL/liqHmnI3liqHkuK3lv4MiLCJhcElkIjoiZmFrZWFwIiwibW9iaWxlcyI6IjEzOTAwMDAwMDAwLDEzOTAwMDAwMDAxIiwiY29udGVudCI6IuaCqOeahOivgeS7tuW3suWvhOWHuu+8jOWNleWPt0VNUzEyMzTjgIIiLCJzaWduIjoiRmFrZVNpZ25JZCIsImFkZFNlcmlhbCI6IiIsIm1hYyI6ImY0YmE0NTRkYzJkZmFhNmYwNTg0NzUyY2JiNzU0YTRlIn0="
	if err != nil || string(body) != want {
		t.Errorf("body = %s, %v", body, err)
	}
	params := `["王小明","EMS1234"]`
	s = submission{ECName: s.ECName, APID: s.APID, Mobiles: s.Mobiles, TemplateID: "tpl0001", Params: &params, Sign: s.Sign}
	if got := s.mac("FakeMasSecret01"); got != "ac93932b69323677151172fcdfb463b8" {
		t.Errorf("mac of a template = %s", got)
	}
}

func TestSendIsAcceptedBySimulator(t *testing.T) {
	t.Parallel()
	for name, account := range map[string]smssim.MAS{"as documented": {}, "misspelt": {Misspelt: true, TextFlag: true}, "secret wanted": {WantSecret: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			account.Templates = map[string]int{"tpl0101": 2}
			sim, url := simulate(t, smssim.Config{MAS: account})
			cfg := config(url)
			cfg.SecretInBody = account.WantSecret
			sent, err := newClient(t, cfg).Send(t.Context(), sms())
			if err != nil || sent.ProviderID == "" {
				t.Fatalf("Send = %v, %v", sent, err)
			}
			got := sim.Messages()
			if len(got) != 1 || got[0].Gateway != "mas" || got[0].Phone != phone || got[0].Template != "tpl0101" {
				t.Fatalf("ledger = %+v", got)
			}
			if diff := cmp.Diff(map[string]string{"1": "张**", "2": "1200000001417"}, got[0].Params); diff != "" {
				t.Errorf("variables in the order of the text (-want +got):\n%s", diff)
			}
		})
	}
}

// Without a template the text itself goes, if told so, by either of its two paths.
func TestOrdinarySubmission(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"", "submit"} {
		sim, url := simulate(t, smssim.Config{})
		cfg := config(url)
		cfg.Templates, cfg.Texts, cfg.TextPath = nil, true, path
		s := sms()
		if _, err := newClient(t, cfg).Send(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		want, err := notify.Render(s.Milestone, s.Vars)
		if got := sim.Messages(); err != nil || len(got) != 1 || got[0].Params["content"] != want {
			t.Errorf("ledger = %+v, %v; want %s", got, err, want)
		}
	}
}

// The secret is in the mac only, unless a province wants it.
func TestSecretStaysOutOfTheBody(t *testing.T) {
	t.Parallel()
	var body []byte
	url := answering(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
		if r.Method != http.MethodPost || r.URL.String() != "/sms/tmpsubmit" || r.Header.Get("Idempotency-Key")+r.Header.Get("X-Idempotency-Key") != "" {
			t.Errorf("%s %s with %v", r.Method, r.URL, r.Header)
		}
		io.WriteString(w, `{"rspcod":"success","success":true,"msgGroup":"1"}`)
	})
	if _, err := newClient(t, config(url)).Send(t.Context(), sms()); err != nil {
		t.Fatal(err)
	}
	text, err := base64.StdEncoding.DecodeString(string(body))
	var fields map[string]any
	if err != nil || json.Unmarshal(text, &fields) != nil {
		t.Fatalf("body = %s", body)
	}
	if _, there := fields["secretKey"]; there || strings.Contains(string(text), smssim.SampleMASSecret) {
		t.Errorf("the secret leaves: %s", text)
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
		{smssim.Throttle, notify.Unknown, 0}, // a code that no document lists
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
}

func TestRedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	url := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		w.Header().Set("Location", "/again")
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	_, err := newClient(t, config(url)).Send(t.Context(), sms())
	if e := sendError(t, err); e.Class != notify.Unknown || calls.Load() != 1 {
		t.Errorf("a redirect is %v after %d requests, want unknown after 1", e, calls.Load())
	}
}

func TestSimulatorRefusals(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(cfg *Config, s *notify.SMS)
		want   notify.SendError
	}{
		{"a number that is refused", func(_ *Config, s *notify.SMS) { s.Phone = vault.Conceal("13900000008") }, notify.SendError{Class: notify.Recipient, Code: "InvalidMobile"}},
		{"another account", func(c *Config, _ *notify.SMS) { c.APID = "x" }, notify.SendError{Class: notify.Configuration, Code: "InvalidUsrOrPwd"}},
		{"another secret", func(c *Config, _ *notify.SMS) { c.SecretKey = "x" }, notify.SendError{Class: notify.Configuration, Code: "IllegalMac"}},
		{"another signature", func(c *Config, _ *notify.SMS) { c.Sign = "x" }, notify.SendError{Class: notify.Configuration, Code: "IllegalSignId"}},
		{"a secret that is not wanted", func(c *Config, _ *notify.SMS) { c.SecretInBody = true }, notify.SendError{Class: notify.Configuration, Code: "InvalidUsrOrPwd"}},
		{"no template", func(c *Config, _ *notify.SMS) { delete(c.Templates, "handed_over") }, notify.SendError{Class: notify.Configuration, Code: "no_template", ThisTemplate: true}},
		{"a bracket", func(_ *Config, s *notify.SMS) { s.Vars["name"] = "【" }, notify.SendError{Class: notify.Permanent, Code: "variable"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sim, url := simulate(t, smssim.Config{})
			cfg, s := config(url), sms()
			tt.change(&cfg, &s)
			_, err := newClient(t, cfg).Send(t.Context(), s)
			got := *sendError(t, err)
			got.Message = ""
			if diff := cmp.Diff(tt.want, got); diff != "" || len(sim.Messages()) != 0 {
				t.Errorf("%d taken (-want +got):\n%s", len(sim.Messages()), diff)
			}
		})
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		status int
		body   string
		want   notify.SendError
	}{
		{"success without an id", 200, `{"rspcod":"success","success":true,"msgGroup":""}`, notify.SendError{Class: notify.Unknown, Code: "success"}},
		{"success with 500", 500, `{"rspcod":"success","msgGroup":"1"}`, notify.SendError{Class: notify.Unknown, Code: "success"}},
		{"the flag alone", 200, `{"success":true,"msgGroup":"1"}`, notify.SendError{Class: notify.Unknown, Code: "http_200"}},
		{"empty", 200, ``, notify.SendError{Class: notify.Unknown, Code: "http_200"}},
		{"a number in the code", 200, `{"rspcod":"13912345678"}`, notify.SendError{Class: notify.Unknown, Code: "http_200"}},
		{"a code that nobody lists", 200, `{"rspcod":"BrandNew"}`, notify.SendError{Class: notify.Unknown, Code: "BrandNew", Unlisted: true}},
		{"a listed code in a 502", 502, `{"rspcod":"InvalidMobile"}`, notify.SendError{Class: notify.Unknown, Code: "InvalidMobile"}},
		{"place", 200, `{"rspcod":"NOT_WHITE_IP"}`, notify.SendError{Class: notify.Configuration, Code: "NOT_WHITE_IP"}},
		{"twice", 200, `{"rspcod":"DupMobile"}`, notify.SendError{Class: notify.Permanent, Code: "DupMobile"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newClient(t, config(answering(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tt.status)
				io.WriteString(w, tt.body)
			})))
			_, err := c.Send(t.Context(), sms())
			got := *sendError(t, err)
			got.Message = ""
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestConfigNamesEveryFault(t *testing.T) {
	t.Parallel()
	_, err := New(Config{URL: "ftp://mas.example.com/", TemplatePath: "a/b", TextPath: "?", ReportPath: "#", AddSerial: "x"})
	for _, setting := range []string{"URL", "EC_NAME", "AP_ID", "SECRET_KEY", "SIGN", "TEMPLATE_PATH", "TEXT_PATH", "REPORT_PATH", "ADD_SERIAL", "TEMPLATES"} {
		if err == nil || !strings.Contains(err.Error(), "EMSD_SMS_MAS_"+setting) {
			t.Errorf("New does not name %s: %v", setting, err)
		}
	}
	if _, err := New(config("http://112.35.1.155:1992/sms")); err != nil {
		t.Errorf("plain http, as most accounts have it: %v", err)
	}
	if text := fmt.Sprintf("%v %+v %#v", config("u"), config("u"), config("u")); strings.Contains(text, smssim.SampleMASSecret) {
		t.Error("a printed Config shows the secret")
	}
}
