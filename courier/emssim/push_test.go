package emssim

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"emsd/courier/asynctest"
)

// receiver opens pushes and answers as told.
type receiver struct {
	t      *testing.T
	suffix string
	answer func(n int) (int, string) // n counts from 1; the text may hold one %s for the serial number
	mu     sync.Mutex
	events []wireScan
	calls  int
}

func (v *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in struct{ LogitcsInterface, Method, SenderNo, SerialNo, TimeStamp, Version, ApiCode string }
	body, err := io.ReadAll(r.Body)
	if err != nil || json.Unmarshal(body, &in) != nil || in.Method != "040002" || in.ApiCode != "" || in.Version != "v1.0.0" ||
		len(in.SerialNo) != 32 || in.SerialNo != strings.ToUpper(in.SerialNo) || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		v.t.Errorf("push %s, %v", body, err)
	}
	sealed, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(in.LogitcsInterface, "|$4|"))
	plain, ok := newECB(SampleSecret).decrypt(sealed)
	var event wireScan
	if err != nil || !ok || json.Unmarshal([]byte(strings.TrimSuffix(string(plain), v.suffix)), &event) != nil {
		v.t.Errorf("push opens as %q, %v", plain, err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.calls++
	status, text := 200, `{"serialNo":"%s","code":"00000","codeMessage":"成功","senderNo":"1"}`
	if v.answer != nil {
		status, text = v.answer(v.calls)
	}
	if status == 200 && strings.Contains(text, "00000") {
		v.events = append(v.events, event)
	}
	w.WriteHeader(status)
	io.WriteString(w, strings.Replace(text, "%s", in.SerialNo, 1))
}

func (v *receiver) got() []wireScan {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.events)
}

func (v *receiver) called() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.calls
}

// pushing is a rig whose push loop runs until the test ends.
func pushing(t *testing.T, v *receiver, cfg Config) *rig {
	t.Helper()
	v.t = t
	srv := httptest.NewServer(v)
	cfg.PushTo = srv.URL
	r := newRig(t, cfg)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); r.c.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended; srv.Close() })
	return r
}

func TestEachScanIsPushedOnce(t *testing.T) {
	t.Parallel()
	v := &receiver{}
	r := pushing(t, v, Config{})
	no := r.order("R", "", "13900000001", inBeijing...)
	r.clock.forward(30 * time.Minute)
	if n := len(v.got()); n != 0 {
		t.Errorf("%d pushes before the first scan", n)
	}
	for range 12 {
		r.clock.forward(8 * time.Hour)
		asynctest.Eventually(t, "pushes keep up", func() bool { return len(v.got()) == len(r.trace(no)) })
	}
	for _, e := range v.got() {
		if e.OrderNo != "R" || e.WaybillNo != no || e.ProductName != "" {
			t.Errorf("event %+v", e)
		}
	}
	if err := r.c.AddScan(no, Scan{OpCode: "743"}); err != nil {
		t.Fatal(err)
	}
	asynctest.Eventually(t, "an added scan is pushed", func() bool {
		return slices.ContainsFunc(v.got(), func(e wireScan) bool { return e.OpCode == "743" })
	})
	asynctest.Eventually(t, "the counts agree", func() bool {
		return r.c.Ledger().Pushes == PushCounts{Delivered: len(v.got())} && len(v.got()) == len(r.trace(no))
	})
}

func TestAPushIsTriedThreeTimesMinutesApart(t *testing.T) {
	t.Parallel()
	answers := []string{"", `{"serialNo":"%s","code":"B00001"}`, `OK`}
	v := &receiver{answer: func(n int) (int, string) {
		if n == 1 {
			return 500, ""
		}
		return 200, answers[min(n-1, 2)]
	}}
	r := pushing(t, v, Config{})
	r.order("R", "", "13900000006", inBeijing...)
	r.clock.forward(24 * time.Hour)
	for calls := 1; calls <= 3; calls++ {
		asynctest.Eventually(t, fmt.Sprint("try ", calls), func() bool { return v.called() == calls && r.c.Ledger().Pushes.Failed == calls })
		r.clock.forward(3 * time.Minute)
	}
	r.clock.forward(24 * time.Hour)
	asynctest.Eventually(t, "giving up", func() bool { return r.c.Ledger().Pushes.GivenUp == 1 })
	if got := v.called(); got != 3 {
		t.Errorf("%d tries", got)
	}
}

func TestPushesComeTwiceAndOutOfOrderWhenAsked(t *testing.T) {
	t.Parallel()
	v := &receiver{suffix: SampleSecret}
	r := pushing(t, v, Config{PushDuplicate: 1, PushDisorder: 0.5, PushSecretAppended: true, Seed: 3})
	no := r.order("R", "", "13900000001", inBeijing...)
	r.clock.forward(10 * 24 * time.Hour)
	asynctest.Eventually(t, "the events are taken up", func() bool { return r.c.Ledger().Pushes.Repeated == 7 })
	r.clock.forward(4 * time.Hour)
	asynctest.Eventually(t, "all pushes", func() bool { return len(v.got()) == 14 })
	times := map[string]int{}
	for _, e := range v.got() {
		times[e.OpCode]++
	}
	for code, n := range times {
		if n != 2 {
			t.Errorf("%s came %d times", code, n)
		}
	}
	var order []string
	for _, e := range v.got() {
		order = append(order, e.OpTime)
	}
	if slices.IsSorted(order) || len(r.trace(no)) != 7 {
		t.Errorf("pushes in order: %v", order)
	}
}

func TestLostPushesAreLostAndTheQueueIsBounded(t *testing.T) {
	t.Parallel()
	lost := pushing(t, &receiver{}, Config{PushLose: 1})
	lost.order("R", "", "13900000001", inBeijing...)
	lost.clock.forward(10 * 24 * time.Hour)
	asynctest.Eventually(t, "seven events lost", func() bool { return lost.c.Ledger().Pushes.Lost == 7 })

	v := &receiver{answer: func(int) (int, string) { return 503, "" }}
	full := pushing(t, v, Config{PushQueue: 2, PushDisorder: 1})
	full.order("R", "", "13900000001", inBeijing...)
	full.clock.forward(10 * 24 * time.Hour)
	asynctest.Eventually(t, "five events without room", func() bool { return full.c.Ledger().Pushes.Lost == 5 })
}

// Without Run, a test decides when pushes are sent: what is due has been answered when PushDue returns.
func TestPushesOnDemandTrueForgedAndStrange(t *testing.T) {
	t.Parallel()
	v := &receiver{t: t}
	other := map[string]int{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var in struct{ LogitcsInterface string }
		if err != nil || json.Unmarshal(body, &in) != nil {
			t.Errorf("push %s, %v", body, err)
		}
		sealed, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(in.LogitcsInterface, "|$4|"))
		plain, ok := newECB(SampleSecret).decrypt(sealed)
		var event wireScan
		v.mu.Lock()
		defer v.mu.Unlock()
		v.calls++
		if err != nil || !ok || json.Unmarshal(plain, &event) != nil {
			other["forged"]++
			io.WriteString(w, `{"code":"B00001"}`)
			return
		}
		other[event.WaybillNo]++
		io.WriteString(w, `{"code":"00000"}`)
	}))
	defer srv.Close()
	r := newRig(t, Config{PushTo: srv.URL, PushForged: 1, PushStrange: 1})
	no := r.order("R", "", "13900000001", inBeijing...)
	r.c.PushDue(t.Context())
	if v.called() != 0 {
		t.Errorf("%d pushes before the first scan", v.called())
	}
	r.clock.forward(10 * 24 * time.Hour)
	r.c.PushDue(t.Context())
	if other[no] != 7 || other["forged"] != 7 || other[strangeNumber(no)] != 7 || v.called() != 21 {
		t.Errorf("pushes %v", other)
	}
	if got, want := r.c.Ledger().Pushes, (PushCounts{Delivered: 14, Failed: 7, GivenUp: 7, Forged: 7, Strange: 7}); got != want {
		t.Errorf("counts %+v, want %+v", got, want)
	}
}
