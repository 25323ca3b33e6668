package emssim

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestEachFaultDoesWhatItsNameSays(t *testing.T) {
	t.Parallel()
	fine := func(status int, body string) bool {
		var out reply
		return status == 200 && json.Unmarshal([]byte(body), &out) == nil && out.RetCode == "00000"
	}
	tests := []struct {
		kind FaultKind
		done int                                // orders that are charged
		ok   func(status int, body string) bool // nil: the connection must break
	}{
		{LoseReply, 1, nil},
		{LoseRequest, 0, nil},
		{Hang, 0, nil},
		{Refuse, 0, func(s int, b string) bool { return s == 200 && strings.Contains(b, `"B00001"`) }},
		{Error200, 0, func(s int, b string) bool { return s == 200 && strings.Contains(b, `"S00001"`) }},
		{HTTP502, 0, func(s int, b string) bool { return s == 502 && strings.Contains(b, "<html>") }},
		{HTML, 0, func(s int, b string) bool { return s == 200 && strings.Contains(b, "<html>") }},
		{Empty, 1, func(s int, b string) bool { return s == 200 && b == "" }},
		{Truncate, 1, func(s int, b string) bool {
			return s == 200 && strings.HasPrefix(b, `{"serialNo"`) && !json.Valid([]byte(b))
		}},
		{Slow, 1, fine},
		{Drip, 1, fine},
		{DuplicateWaybill, 2, func(s int, b string) bool { return fine(s, b) && !strings.Contains(b, "NAMED") }},
		{OtherWaybill, 1, func(s int, b string) bool { return fine(s, b) && !strings.Contains(b, "NAMED") }},
		{WrongEcho, 1, func(s int, b string) bool { return fine(s, b) && !strings.Contains(b, `\"R\"`) }},
		{Stale, 0, func(s int, b string) bool { return s == 200 && strings.Contains(b, "timeStamp已过期") }},
		{Redirect307, 0, func(s int, b string) bool { return s == 307 }},
	}
	for _, tt := range tests {
		t.Run(string(tt.kind), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, Config{Hang: 50 * time.Millisecond})
			no := r.reserve(1)[0]
			r.c.SetFault(Fault{API: "020003", Kind: tt.kind, Count: 1, Delay: 40 * time.Millisecond})
			stay := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
			status, body, err := fetch(stay, r.srv.URL+PathOpen, r.form("020003", orderText("R", no, "13900000001")))
			body = strings.ReplaceAll(body, no, "NAMED")
			switch {
			case tt.ok == nil && err == nil:
				t.Errorf("an answer came: %d %s", status, body)
			case tt.ok != nil && (err != nil || !tt.ok(status, body)):
				t.Errorf("answer %d %q, %v", status, body, err)
			}
			if n := r.c.Orders("R"); n != tt.done {
				t.Errorf("%d orders are charged, want %d", n, tt.done)
			}
			if got := r.call("020003", orderText("NEXT", "", "13900000001")); got.RetCode != "00000" {
				t.Errorf("the call after the fault = %+v", got)
			}
		})
	}
	if len(tests) != len(faultKinds) {
		t.Errorf("%d of %d kinds are tested", len(tests), len(faultKinds))
	}
}

func fetch(client *http.Client, address string, form url.Values) (int, string, error) {
	resp, err := client.PostForm(address, form)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

func TestARedirectCatchesClientsThatFollow(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{})
	r.c.SetFault(Fault{API: "020003", Kind: Redirect307, Count: 1, Carried: true})
	r.c.SetRepeat(RepeatNew)
	r.call("020003", orderText("R", "", "13900000001"))
	if n := r.c.Orders("R"); n != 2 {
		t.Errorf("a client that follows is charged %d times, want 2", n)
	}
}

func TestFaultsAreChosenByAPIRateAndCount(t *testing.T) {
	t.Parallel()
	c := New(Config{Seed: 7})
	c.SetFault(Fault{API: "020003", Kind: HTML, Rate: 0.2})
	c.SetFault(Fault{Kind: Empty, Count: 2})
	hits := map[FaultKind]int{}
	for range 1000 {
		hits[c.faults.pick("020003").Kind]++
	}
	if hits[HTML] < 150 || hits[HTML] > 250 || hits[Empty] != 2 {
		t.Errorf("hits %v", hits)
	}
	for range 100 {
		if f := c.faults.pick("040001"); f.Kind != "" {
			t.Fatalf("040001 has the fault %v", f)
		}
	}
	c.Next(Slow)
	c.Next(Hang)
	for _, want := range []FaultKind{Slow, Hang, ""} {
		if got := c.faults.pick("040001").Kind; got != want {
			t.Errorf("one-shot %q, want %q", got, want)
		}
	}
	c.Next(Slow)
	c.ClearFaults()
	for range 100 {
		if f := c.faults.pick("020003"); f.Kind != "" {
			t.Fatalf("after ClearFaults: %v", f)
		}
	}
}

func TestReadsCanLagAndMixUpNumbers(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{})
	no := r.order("R", "", "13900000001")
	r.clock.forward(7 * 24 * time.Hour)
	whole := r.trace(no)
	r.c.Next(Stale)
	if got := r.trace(no); len(got) != len(whole)-2 {
		t.Errorf("a lagging trace has %d of %d scans", len(got), len(whole))
	}
	r.c.Next(OtherWaybill)
	if got := r.trace(no); got[0].WaybillNo == no || len(got[0].WaybillNo) != 13 {
		t.Errorf("another's trace is for %s", got[0].WaybillNo)
	}
	if got, want := r.c.Ledger().Faults, map[FaultKind]int{Stale: 1, OtherWaybill: 1}; !maps.Equal(got, want) {
		t.Errorf("hits %v, want %v", got, want)
	}
	r.c.Next(Stale)
	if got := r.c.Trace(no); len(got) != len(whole) || len(r.c.Trace("1200000000000")) != 0 {
		t.Errorf("the truth has %d of %d scans, whatever goes wrong on the wire", len(got), len(whole))
	}
}

func TestTracesCanBeWrittenOddly(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{OddTraces: 1})
	no := r.order("R", "", "13900000001")
	r.clock.forward(7 * 24 * time.Hour)
	var list []struct {
		OpCode int
		OpTime string
	}
	got := r.call("040001", `{"waybillNo":"`+no+`","direction":"0"}`)
	if err := json.Unmarshal([]byte(got.RetBody), &list); err != nil || len(list) == 0 || list[0].OpCode != 203 || list[0].OpTime[10] != 'T' {
		t.Errorf("%v, %s", err, got.RetBody)
	}
}

func TestControlsRefuseNonsense(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{})
	no := r.order("R", "", "13900000001")
	tests := []struct {
		path, body string
		want       int
	}{
		{"/sim/faults", `{"api":"020003","kind":"lose_reply","rate":0.2,"count":0}`, 204},
		{"/sim/faults", `{"kind":"slow","delay":"3s"}`, 204},
		{"/sim/faults", `{"kind":"slow","delay":"3"}`, 400},
		{"/sim/faults", `{"kind":"nothing"}`, 400},
		{"/sim/faults", `{"api":"020007","kind":"slow"}`, 400},
		{"/sim/faults", `{"kind":"slow","rate":2}`, 400},
		{"/sim/faults", `[]`, 400},
		{"/sim/journey", `{"waybill_no":"` + no + `","outcome":"lost"}`, 204},
		{"/sim/journey", `{"waybill_no":"` + no + `","events":[{"op_code":"203","after":"2h"}]}`, 204},
		{"/sim/journey", `{"waybill_no":"` + no + `","outcome":"happy"}`, 400},
		{"/sim/journey", `{"waybill_no":"` + no + `"}`, 400},
		{"/sim/journey", `{"waybill_no":"` + no + `","events":[{"op_code":"203","after":"later"}]}`, 400},
		{"/sim/journey", `{"waybill_no":"nobody","outcome":"lost"}`, 404},
		{"/sim/scan", `{"waybill_no":"` + no + `","op_code":"954"}`, 204},
		{"/sim/scan", `{"waybill_no":"` + no + `"}`, 400},
		{"/sim/scan", `{"waybill_no":"nobody","op_code":"954"}`, 404},
		{"/sim/scan", `{"waybill_no":"` + no + `","op_code":"704","rewrite":true}`, 400},
		{"/sim/repeat", `{"repeat":"often"}`, 400},
	}
	for _, tt := range tests {
		if code, body := r.control("POST", tt.path, tt.body); code != tt.want {
			t.Errorf("%s %s = %d %s, want %d", tt.path, tt.body, code, body, tt.want)
		}
	}
	if code, _ := r.control("DELETE", "/sim/faults", ""); code != 204 {
		t.Errorf("DELETE = %d", code)
	}
}

func TestTheLedgerKeepsWhatTheClientNeverLearnt(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{Messages: func() any { return []string{"one"} }})
	r.c.Next(LoseReply)
	if _, _, err := r.post(r.form("020003", orderText("R", "", "13900000001"))); err == nil {
		t.Fatal("the reply was not lost")
	}
	_, body := r.control("GET", "/sim/ledger", "")
	var l struct {
		Orders   []map[string]any
		Calls    map[string]int
		Messages []string
	}
	if err := json.Unmarshal([]byte(body), &l); err != nil || len(l.Orders) != 1 || l.Calls["020003"] != 1 || len(l.Messages) != 1 {
		t.Fatalf("ledger %s, %v", body, err)
	}
	for _, name := range []string{"order_no", "waybill_no", "payment_mode", "product", "at", "cancelled"} {
		if _, ok := l.Orders[0][name]; !ok {
			t.Errorf("the ledger's orders lack %s", name)
		}
	}
	if strings.Contains(body, "李四") || strings.Contains(body, "13900000001") {
		t.Error("the ledger names people")
	}
}

func TestAHungCallEndsWithItsClient(t *testing.T) {
	t.Parallel()
	c := New(Config{})
	done := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(done)
		c.ServeHTTP(w, r)
	}))
	defer srv.Close()
	c.Next(Hang)
	client := &http.Client{Timeout: 50 * time.Millisecond}
	if _, err := client.PostForm(srv.URL+PathOpen, url.Values{}); err == nil {
		t.Error("a hung call answered")
	}
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Error("the call is held after its client has gone")
	}
}
