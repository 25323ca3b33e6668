package smssim

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"emsd/courier/asynctest"

	"github.com/google/go-cmp/cmp"
)

// told keeps what SmsReport says, in order.
type told struct {
	mu   sync.Mutex
	list []toldReport
}

type toldReport struct {
	Phone   string `json:"phone_number"`
	OutID   string `json:"out_id"`
	BizID   string `json:"biz_id"`
	Success bool   `json:"success"`
}

func (v *told) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var list []toldReport
	if err := json.NewDecoder(r.Body).Decode(&list); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.list = append(v.list, list...)
	w.Write([]byte(`{"code":0}`))
}

func (v *told) all() []toldReport {
	v.mu.Lock()
	defer v.mu.Unlock()
	return append([]toldReport(nil), v.list...)
}

// reporting is a rig whose receipts are heard.
func reporting(t *testing.T) (*rig, *told) {
	t.Helper()
	v := &told{}
	srv := httptest.NewServer(v)
	t.Cleanup(srv.Close)
	r := newRig(t, Config{ReceiptTo: srv.URL})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); r.g.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return r, v
}

func TestReceiptsGoWrongByFault(t *testing.T) {
	t.Parallel()
	tests := []struct {
		kind  FaultKind
		hour  int // reports within an hour, of the message and the one behind it
		check func(first, second toldReport) bool
	}{
		{ReceiptLate, 1, nil},
		{ReceiptLost, 1, nil},
		{ReceiptTwice, 3, func(a, b toldReport) bool { return a == b }},
		{ReceiptContradictory, 3, func(a, b toldReport) bool { return a.BizID == b.BizID && a.OutID == b.OutID && a.Success != b.Success }},
		{ReceiptStranger, 3, func(a, b toldReport) bool { return a.BizID != b.BizID && a.OutID != b.OutID && a.Phone != b.Phone }},
	}
	for _, tt := range tests {
		t.Run(string(tt.kind), func(t *testing.T) {
			t.Parallel()
			r, v := reporting(t)
			f := Fault{Gateway: "aliyun", Kind: tt.kind, Count: 1}
			if err := f.Check(); err != nil {
				t.Fatal(err)
			}
			r.g.SetFault(f)
			r.call("SendSms", sms("13900000001", "hit"))
			r.forward(59 * time.Minute)
			r.call("SendSms", sms("13900000002", "behind"))
			r.forward(50 * time.Second)
			asynctest.Eventually(t, "the reports of an hour", func() bool { return len(v.all()) >= tt.hour })
			var of []toldReport
			for _, one := range v.all() {
				if one.Phone != "13900000002" {
					of = append(of, one)
				}
			}
			if len(of) != tt.hour-1 {
				t.Fatalf("reports %+v, want %d beside the one behind", of, tt.hour-1)
			}
			if tt.check != nil && !tt.check(of[0], of[1]) {
				t.Errorf("reports %+v", of)
			}
			if tt.kind == ReceiptLate {
				r.forward(5 * time.Hour)
				asynctest.Eventually(t, "the late report", func() bool { return len(v.all()) == 2 })
			}
		})
	}
}

func TestAnEarlyReceiptPrecedesTheAnswer(t *testing.T) {
	t.Parallel()
	r, v := reporting(t)
	r.g.Next(ReceiptEarly)
	got := r.call("SendSms", sms("13900000001", "hit"))
	if list := v.all(); got.Code != "OK" || len(list) != 1 || list[0].BizID != got.BizId {
		t.Errorf("answer %+v, by then reported %+v", got, list)
	}
	r.call("SendSms", sms("13900000001", "next"))
	if list := v.all(); len(list) != 1 {
		t.Errorf("the fault was to hit once: %+v", list)
	}
}

func TestAFaultEndsOnceItsTimeHasPassed(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{})
	r.g.SetFault(Fault{Gateway: "aliyun", Kind: Down, For: time.Hour})
	for _, after := range []time.Duration{0, time.Hour - time.Second} {
		r.now.Store(start.Add(after).UnixNano())
		for _, api := range []string{"SendSms", "GetSmsSign"} {
			resp, err := http.DefaultClient.Do(r.request(api, sms("13900000001", "x"), nil))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusServiceUnavailable {
				t.Errorf("%s after %v: %d", api, after, resp.StatusCode)
			}
		}
	}
	r.now.Store(start.Add(time.Hour).UnixNano())
	if got := r.call("SendSms", sms("13900000001", "x")); got.Code != "OK" || len(r.g.Messages()) != 1 {
		t.Errorf("after an hour: %+v, %d messages", got, len(r.g.Messages()))
	}
}

var kindRow = regexp.MustCompile("(?m)^\\| `([a-z0-9_]+)` \\|")

func TestTheRunbookListsEveryKindOfFault(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/runbook.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(doc), "## Faults of the simulated SMS gateways")
	section, _, _ = strings.Cut(section, "\n## ")
	var got, want []string
	for _, m := range kindRow.FindAllStringSubmatch(section, -1) {
		got = append(got, m[1])
	}
	for _, k := range faultKinds {
		want = append(want, string(k))
	}
	if diff := cmp.Diff(want, got); !found || diff != "" {
		t.Errorf("docs/runbook.md, kinds of faults (-code +table):\n%s", diff)
	}
}
