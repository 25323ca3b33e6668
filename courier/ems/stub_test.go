package ems

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"emsd/courier"
	"emsd/courier/vault"
)

// A stub is an EMS that answers what the test says and remembers what it was sent.
type stub struct {
	t      *testing.T
	answer func(w http.ResponseWriter, r *http.Request, message string)

	mu       sync.Mutex
	messages map[string][]string // by apiCode, decrypted
	form     url.Values          // of the last request
	trace    string              // its traceparent
}

func (s *stub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		s.t.Errorf("form: %v", err)
	}
	message := openRequest(s.t, form.Get("logitcsInterface"))
	s.mu.Lock()
	s.messages[form.Get("apiCode")] = append(s.messages[form.Get("apiCode")], message)
	s.form, s.trace = form, r.Header.Get("traceparent")
	s.mu.Unlock()
	s.answer(w, r, message)
}

func (s *stub) count(api string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.messages[api])
}

func (s *stub) last(api string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.messages[api]); n > 0 {
		return s.messages[api][n-1]
	}
	return ""
}

// openRequest decrypts and insists on the secret behind the message, as EMS does.
func openRequest(t *testing.T, value string) string {
	t.Helper()
	s, _ := newSealer(testSecret)
	s.secret = nil // so that open leaves it there
	plain, err := s.open([]byte(value))
	if err != nil {
		t.Errorf("logitcsInterface: %v", err)
	}
	message, signed := strings.CutSuffix(string(plain), testSecret)
	if !signed {
		t.Errorf("no secret behind %q", plain)
	}
	return message
}

func newStub(t *testing.T, answer func(w http.ResponseWriter, r *http.Request, message string)) (*stub, *httptest.Server) {
	t.Helper()
	s := &stub{t: t, answer: answer, messages: map[string][]string{}}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	return s, srv
}

// says answers with one body.
func says(body string) func(http.ResponseWriter, *http.Request, string) {
	return func(w http.ResponseWriter, _ *http.Request, _ string) { _, _ = io.WriteString(w, body) }
}

func config(address string) Config {
	return Config{
		URL: address, SenderNo: "1100000000000", Authorization: "AbCd1234EfGh5678", Secret: testSecret,
		Rate: 100_000, Concurrency: 8, Timeout: 2 * time.Second, RetryWait: time.Millisecond, RetryLimit: 4 * time.Millisecond,
		Now: func() time.Time { return time.Date(2026, 1, 2, 2, 4, 5, 0, time.UTC) },
	}
}

func newClient(t *testing.T, cfg Config) *Client {
	t.Helper()
	c, err := New(cfg, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// clientOf makes a client of a stub that answers with one body.
func clientOf(t *testing.T, body string) (*Client, *stub) {
	t.Helper()
	s, srv := newStub(t, says(body))
	return newClient(t, config(srv.URL)), s
}

// envelope wraps a retBody as EMS does: JSON in a string.
func envelope(code, msg, body string) string {
	quoted, _ := json.Marshal(body)
	text, _ := json.Marshal(msg)
	return `{"serialNo":"1a394b38-0000-4000-8000-000000000000","retCode":"` + code + `","retMsg":` + string(text) +
		`,"retBody":` + string(quoted) + `,"retDate":"2026-03-24 14:02:04","success":true}`
}

func testOrder() courier.Order {
	return courier.Order{
		OrderNo: "TEST-0001", WaybillNo: "1200000001417", CreatedAt: time.Date(2026, 1, 1, 19, 4, 5, 0, time.UTC),
		PaymentMode: 1, WeightG: 80, Contents: "文件", Remarks: "居住证 <1> & 2",
		Sender: courier.Party{
			Name: vault.Conceal("示例派出所"), Phone: vault.Conceal("010-12345678"),
			Province: "北京市", City: "北京市", County: "西城区", Address: vault.Conceal("甲乙丙路1号"),
		},
		Recipient: courier.Party{
			Name: vault.Conceal("欧阳𠮷·买买提"), Phone: vault.Conceal("13900001234"),
			Province: "上海市", City: "上海市", County: "黄浦区", Address: vault.Conceal("丁戊己弄2号楼301"),
		},
	}
}

// private data of testOrder, and the account's: what no error and no log may hold.
var secrets = []string{
	"示例派出所", "010-12345678", "12345678", "甲乙丙", "欧阳", "𠮷", "买买提", "13900001234", "丁戊己", "楼301",
	testSecret, "0123456789abcdef", "AbCd1234EfGh5678",
}

const orderAnswer = `{"routeCode":"16Z-16Z-Y13-020","markDestinationCode":"Y13","packageCode":"","logisticsOrderNo":"TEST-0001","waybillNo":"1200000001417"}`

func kindOf(t *testing.T, err error) courier.Kind {
	t.Helper()
	if err == nil {
		return courier.NotRefused
	}
	e, ok := err.(*courier.CarrierError)
	if !ok {
		t.Fatalf("%T %v, want *courier.CarrierError", err, err)
	}
	return e.Kind
}
