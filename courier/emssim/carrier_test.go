package emssim

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// clock is a simulated clock that a test moves by hand.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock {
	return &clock{t: time.Date(2026, 11, 23, 10, 0, 0, 0, beijing)}
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// rig is a simulator on a server, and a customer who writes the wire form by hand.
type rig struct {
	t     *testing.T
	clock *clock
	c     *Carrier
	srv   *httptest.Server
}

func newRig(t *testing.T, cfg Config) *rig {
	t.Helper()
	k := newClock()
	if cfg.Now == nil {
		cfg.Now = k.now
	}
	c := New(cfg)
	mux := http.NewServeMux()
	mux.Handle("/sim/", c.ControlHandler())
	mux.Handle("/", c)
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return &rig{t, k, c, srv}
}

type reply struct {
	SerialNo, RetCode, RetMsg, RetBody, RetDate string
	Success                                     *bool
}

func (r *rig) form(api, message string) url.Values {
	return url.Values{
		"apiCode": {api}, "senderNo": {SampleSenderNo}, "authorization": {SampleAuthorization},
		"timeStamp": {"2026-11-23 10:00:00"}, "version": {"V1.0.0"},
		"logitcsInterface": {newECB(SampleSecret).seal([]byte(message + SampleSecret))},
	}
}

func (r *rig) post(form url.Values) (*http.Response, []byte, error) {
	resp, err := http.Post(r.srv.URL+PathOpen, "application/x-www-form-urlencoded; charset=UTF-8", strings.NewReader(form.Encode()))
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, body, err
}

func (r *rig) postForm(form url.Values) reply {
	r.t.Helper()
	resp, body, err := r.post(form)
	if err != nil {
		r.t.Fatal(err)
	}
	var out reply
	if err := json.Unmarshal(body, &out); err != nil {
		r.t.Fatalf("answer %s %q: %v", resp.Status, body, err)
	}
	return out
}

func (r *rig) call(api, message string) reply {
	r.t.Helper()
	return r.postForm(r.form(api, message))
}

// orderText is a good 020003 message; edits replace parts of it.
func orderText(ref, waybill, mobile string, edits ...string) string {
	s := fmt.Sprintf(`[{"ecommerceUserId":"u1","logisticsOrderNo":"%s","createdTime":"2026-11-23 10:00:00","contentsAttribute":"1","bizProductNo":"1","waybillNo":"%s","paymentMode":"1","weight":80,`+
		`"sender":{"name":"某所","mobile":"13800000000","prov":"北京市","city":"北京市","county":"西城区","address":"示例路1号"},`+
		`"receiver":{"name":"李四","mobile":"%s","prov":"上海市","city":"上海市","county":"黄浦区","address":"示例路2号"},"cargos":[{"cargoName":"文件"}]}]`, ref, waybill, mobile)
	return strings.NewReplacer(edits...).Replace(s)
}

func (r *rig) order(ref, waybill, mobile string, edits ...string) string {
	r.t.Helper()
	got := r.call("020003", orderText(ref, waybill, mobile, edits...))
	if got.RetCode != "00000" {
		r.t.Fatalf("020003 = %s %s", got.RetCode, got.RetMsg)
	}
	var body struct{ LogisticsOrderNo, WaybillNo string }
	if err := json.Unmarshal([]byte(got.RetBody), &body); err != nil || body.LogisticsOrderNo != ref {
		r.t.Fatalf("020003 body %s: %v", got.RetBody, err)
	}
	return body.WaybillNo
}

func (r *rig) reserve(count int) []string {
	r.t.Helper()
	got := r.call("020002", fmt.Sprintf(`{"bizProductNo":"1","count":"%d"}`, count))
	var body struct{ MailList string }
	if err := json.Unmarshal([]byte(got.RetBody), &body); err != nil {
		r.t.Fatalf("020002 = %+v: %v", got, err)
	}
	return strings.Split(body.MailList, ",")
}

func (r *rig) trace(waybill string) []wireScan {
	r.t.Helper()
	got := r.call("040001", fmt.Sprintf(`{"waybillNo":"%s","direction":"0"}`, waybill))
	var body struct{ ResponseItems []wireScan }
	if err := json.Unmarshal([]byte(got.RetBody), &body); err != nil || got.RetCode != "00000" {
		r.t.Fatalf("040001 = %+v: %v", got, err)
	}
	if (len(body.ResponseItems) == 0) != (got.RetMsg == "当前邮件无客户信息！") {
		r.t.Errorf("040001 says %q with %d scans", got.RetMsg, len(body.ResponseItems))
	}
	return body.ResponseItems
}

func codes(scans []wireScan) string {
	var out []string
	for _, s := range scans {
		code := s.OpCode
		if s.DeliverCode != "" {
			code += ":" + s.DeliverCode
		}
		if s.AttemptCode != "" {
			code += "/" + s.AttemptCode
		}
		out = append(out, code)
	}
	return strings.Join(out, " ")
}

func TestAnEnvelopeGoesFromOrderToDoor(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{})
	numbers := r.reserve(3)
	if len(numbers) != 3 || numbers[0] == numbers[1] {
		t.Fatalf("020002 gave %v", numbers)
	}
	no := r.order("RP-1", numbers[1], "13900000001")
	if no != numbers[1] {
		t.Fatalf("020003 gave %s, want the named %s", no, numbers[1])
	}
	if scans := r.trace(no); len(scans) != 0 {
		t.Errorf("a new order has scans: %s", codes(scans))
	}
	label := r.call("010004", `{"waybillNo":"`+no+`","type":"129"}`)
	pdf, err := base64.StdEncoding.DecodeString(label.RetBody)
	if err != nil || !bytes.HasPrefix(pdf, []byte("%PDF-")) || !bytes.Contains(pdf, []byte(no)) {
		t.Errorf("label %q: %v", pdf, err)
	}
	if got := r.call("050001", `{"waybillNo":"`+no+`"}`); got.RetCode == "00000" {
		t.Errorf("a charge before the acceptance: %+v", got)
	}
	r.clock.forward(7 * 24 * time.Hour)
	want := "203 305 954 389 911 912 954 389 954 389 306 702 704:10"
	if got := codes(r.trace(no)); got != want {
		t.Errorf("trace is %s, want %s", got, want)
	}
	bill := r.call("050001", `{"waybillNo":"`+no+`"}`)
	if !strings.Contains(bill.RetBody, `"postageTotal":"14.7"`) {
		t.Errorf("bill %s", bill.RetBody)
	}
	if n := r.c.Orders("RP-1"); n != 1 {
		t.Errorf("%d paid orders, want 1", n)
	}
	l := r.c.Ledger()
	if l.Calls["020003"] != 1 || l.NumbersReserved != 3 || len(l.Orders) != 1 || l.Orders[0].PaymentMode != "1" {
		t.Errorf("ledger %+v", l)
	}
}
