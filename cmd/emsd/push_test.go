package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"emsd/courier"
	"emsd/courier/emssim"
	"emsd/notify/smssim"
)

const otherKey = "AAECAwQFBgcICQoLDA0ODw=="

// pushOf is a push as EMS sends it, about a delivered item.
func pushOf(waybillNo string) emssim.Pushed {
	return emssim.Pushed{Secret: emssim.SampleSecret, SenderNo: emssim.SampleSenderNo, WaybillNo: waybillNo, OrderNo: "RP1",
		At: monthStart, Scan: emssim.Scan{At: monthStart, OpCode: "704", OpName: "投递结果反馈-妥投", OpDesc: "已签收", OrgCode: "10010101", DeliverCode: "10"}}
}

// send posts a push and says whether EMS would take it for received.
func send(t testing.TB, public string, body []byte, extra ...string) bool {
	t.Helper()
	r, err := request(public+"/ems/push", "POST", body, extra...)
	if err != nil {
		t.Errorf("push: %v", err)
		return false
	}
	var in struct{ Code, SerialNo string }
	if r.status != http.StatusOK || json.Unmarshal(r.body, &in) != nil || in.Code != "00000" && in.Code != "B00001" {
		t.Errorf("push answered %s", r)
	}
	return in.Code == "00000"
}

func (d *stepped) hints() (n int) {
	d.t.Helper()
	if err := d.app.db.Get(&n, `SELECT count(*) FROM push_hints`); err != nil {
		d.t.Fatal(err)
	}
	return n
}

// orderOne takes one permit in and has it ordered.
func (d *stepped) orderOne(n int, edits ...any) (id, waybillNo string) {
	d.t.Helper()
	text, err := json.Marshal(permit(n, append(edits, "payment_method", "collect")...))
	if err != nil {
		d.t.Fatal(err)
	}
	app, faults := courier.ParseApplication(text)
	results, err := d.app.service.AcceptPaid(d.t.Context(), []courier.Intake{{Application: app, Faults: faults}}, "test")
	if err != nil || results[0].Outcome != courier.Created {
		d.t.Fatalf("accept: %+v, %v", results, err)
	}
	d.round("numbers", "order")
	var no *string
	if err := d.app.db.Get(&no, `SELECT waybill_no FROM deliveries WHERE id = $1`, results[0].Delivery.ID); err != nil || no == nil {
		d.t.Fatalf("no waybill number: %v", err)
	}
	return results[0].Delivery.ID.String(), *no
}

func (d *stepped) status(id string) (s courier.Status) {
	d.t.Helper()
	if err := d.app.db.Get(&s, `SELECT status FROM deliveries WHERE id = $1`, id); err != nil {
		d.t.Fatal(err)
	}
	return s
}

// TestPushesOfEveryForm: what is sealed under the account's key is kept, once answered; everything else is refused, and
// EMS will send it again.
func TestPushesOfEveryForm(t *testing.T) {
	t.Parallel()
	d := newStepped(t, monthStart, emssim.Config{}, smssim.Config{})
	good := pushOf("1200000001417")
	forged, trailing, nameless, foreign, noNumber, evil := good, good, good, good, good, good
	forged.Secret = otherKey
	trailing.SecretAppended = true
	nameless.SenderNo = ""
	foreign.SenderNo = "9999999999999"
	noNumber.WaybillNo = ""
	evil.WaybillNo = "12'; DROP TABLE"
	whole := string(good.Body())
	form := "method=040002&serialNo=S1&logitcsInterface=" + strings.NewReplacer("+", "%2B", "/", "%2F", "=", "%3D", "|", "%7C", "$", "%24").Replace(sealedPart(t, whole))
	for name, tt := range map[string]struct {
		body  string
		taken bool
	}{
		"as it should be":        {whole, true},
		"with a trailing secret": {string(trailing.Body()), true},
		"senderNo empty":         {string(nameless.Body()), true},
		"senderNo another's":     {string(foreign.Body()), true},
		"as a form":              {form, true},
		"with a byte order mark": {"\ufeff" + whole, true},
		"forged":                 {string(forged.Body()), false},
		"without a number":       {string(noNumber.Body()), false},
		"with a strange number":  {string(evil.Body()), false},
		"of another interface":   {strings.Replace(whole, "040002", "020003", 1), false},
		"cut in the envelope":    {whole[:len(whole)/2], false},
		"cut in the sealed part": {strings.Replace(whole, sealedPart(t, whole), sealedPart(t, whole)[:40], 1), false},
		"under the mark of AES":  {strings.Replace(whole, "|$4|", "|$|", 1), false},
		"empty":                  {"", false},
		"nonsense":               {"\x00\xff\xfe", false},
		"null":                   {"null", false},
		"a list":                 {"[" + whole + "]", false},
		"nested deep":            {strings.Repeat(`{"a":`, 20000), false},
		"oversized":              {strings.Repeat("x", 70<<10), false},
		"oversized by far":       {`{"logitcsInterface":"` + strings.Repeat("A", 8<<20) + `"}`, false},
	} {
		before := d.hints()
		if got := send(t, d.public, []byte(tt.body)); got != tt.taken {
			t.Errorf("%s: taken %t, want %t", name, got, tt.taken)
		}
		if kept := d.hints() - before; kept != map[bool]int{true: 1}[tt.taken] {
			t.Errorf("%s: %d hints are kept", name, kept)
		}
	}
	if r, err := request(d.public+"/ems/push", "GET", nil); err != nil || r.status != http.StatusMethodNotAllowed {
		t.Errorf("GET: %s, %v", r, err)
	}
	d.round("poll")
	if n := d.hints(); n != 0 {
		t.Errorf("%d hints of strangers are kept after a round", n)
	}
	if log := d.log.String(); strings.Contains(log, "已签收") || strings.Contains(log, emssim.SampleSecret) {
		t.Error("the log holds what a push said, or the key")
	}
}

// sealedPart is the value of logitcsInterface.
func sealedPart(t *testing.T, body string) string {
	t.Helper()
	var in struct{ LogitcsInterface string }
	if err := json.Unmarshal([]byte(body), &in); err != nil {
		t.Fatal(err)
	}
	return in.LogitcsInterface
}

// TestAPushIsNotBelieved: whatever pushes say, how often and in which order, the status is what EMS answers when asked;
// and they make that answer come at once.
func TestAPushIsNotBelieved(t *testing.T) {
	t.Parallel()
	d := newStepped(t, monthStart, emssim.Config{PushLose: 1}, smssim.Config{})
	id, no := d.orderOne(1)
	if err := d.ems.SetJourney(no, emssim.Journey{Events: []emssim.JourneyEvent{{OpCode: "203", After: time.Minute}, {OpCode: "305", After: 90 * time.Minute}}}); err != nil {
		t.Fatal(err)
	}
	d.clock.set(monthStart.Add(2 * time.Minute))
	d.round("poll")
	if got := d.status(id); got != courier.Ordered {
		t.Fatalf("%s without a poll being due", got)
	}
	out := pushOf(no)
	out.Scan.OpCode, out.Scan.DeliverCode = "702", ""
	for _, p := range []emssim.Pushed{pushOf(no), out, out, pushOf(no), pushOf(no)} { // delivered before it was out, each twice or more
		if !send(t, d.public, p.Body()) {
			t.Error("a push was not taken")
		}
	}
	asked := d.ems.Ledger().Calls["040001"]
	d.round("poll", "publish", "send")
	if got := d.status(id); got != courier.Accepted {
		t.Errorf("status %s after pushes that say delivered, EMS says accepted", got)
	}
	if n := d.ems.Ledger().Calls["040001"] - asked; n != 1 || d.hints() != 0 {
		t.Errorf("five pushes made %d questions, and %d hints are left", n, d.hints())
	}
	var scans, moves int
	if err := d.app.db.Get(&scans, `SELECT count(*) FROM scans`); err != nil || scans != 1 {
		t.Errorf("%d scans are stored, EMS has one: %v", scans, err)
	}
	d.clock.set(monthStart.Add(4 * time.Minute))
	send(t, d.public, pushOf(no).Body()) // once more, of what is known
	d.round("poll", "publish", "send")
	if err := d.app.db.Get(&moves, `SELECT count(*) FROM events WHERE type = 'delivery.accepted'`); err != nil || moves != 1 || d.status(id) != courier.Accepted {
		t.Errorf("%d moves to accepted, status %s: %v", moves, d.status(id), err)
	}
	if n := len(d.sms.Messages()); n != 1 {
		t.Errorf("%d messages, want the one of the hand-over", n)
	}
}

// TestAPushBeforeTheOrdersCommit: EMS has the order and scans the envelope while its reply is lost. The push names a
// number that tracking does not follow yet, so it goes with the strangers; once the order is known, the first poll tells
// what the push could not.
func TestAPushBeforeTheOrdersCommit(t *testing.T) {
	t.Parallel()
	d := newStepped(t, monthStart, emssim.Config{}, smssim.Config{})
	d.round("numbers")
	d.ems.SetFault(emssim.Fault{API: "020003", Kind: emssim.LoseReply, Count: 1})
	id, no := d.orderOne(1)
	if got := d.status(id); got != courier.Ordering {
		t.Fatalf("%s after a lost reply", got)
	}
	if err := d.ems.SetJourney(no, emssim.Journey{Events: []emssim.JourneyEvent{{OpCode: "203", After: time.Second}}}); err != nil {
		t.Fatal(err)
	}
	d.clock.set(monthStart.Add(time.Minute))
	if !send(t, d.public, pushOf(no).Body()) {
		t.Error("the push was not taken")
	}
	d.round("poll")
	if got := d.status(id); got != courier.Ordering {
		t.Errorf("a push made it %s", got)
	}
	for i := range 60 {
		d.clock.set(monthStart.Add(time.Duration(2+i) * time.Minute))
		d.round("reconcile", "poll")
		if d.status(id) == courier.Ordered {
			break
		}
	}
	ordered := d.clock.now()
	if got := d.status(id); got != courier.Ordered {
		t.Fatalf("%s an hour after the lost reply", got)
	}
	for d.status(id) == courier.Ordered && d.clock.now().Sub(ordered) < 2*time.Hour {
		d.clock.set(d.clock.now().Add(10 * time.Minute))
		d.round("poll")
	}
	if got := d.status(id); got != courier.Accepted {
		t.Errorf("%s two hours after the order was confirmed: the push was lost", got)
	}
	var polls int
	if polls = d.ems.Ledger().Calls["040001"]; polls != 1 {
		t.Errorf("%d polls until it was known, want the first to tell", polls)
	}
}

// TestTenThousandPushesInAMinute: each is answered after its commit, strangers are dropped, ours are asked about, and the
// rest of the service goes on.
func TestTenThousandPushesInAMinute(t *testing.T) {
	const n, ours = 10_000, 40
	d := start(t, setup{env: []string{"EMSD_LOG_LEVEL=warn"}})
	var numbers, ids []string
	for i := range ours {
		ids = append(ids, id(d.accept(permit(i+1, "payment_method", "collect"))))
	}
	until(t, 20*time.Second, "all ordered", func() bool {
		numbers = nil
		err := d.app.db.Select(&numbers, `SELECT waybill_no FROM deliveries WHERE status = 'ordered' ORDER BY id`)
		return err == nil && len(numbers) == ours
	})
	for _, no := range numbers {
		if err := d.ems.SetJourney(no, emssim.Journey{Events: []emssim.JourneyEvent{{OpCode: "203", After: 0}}}); err != nil {
			t.Fatal(err)
		}
	}
	bodies := make([][]byte, 200)
	for i := range bodies {
		no := fmt.Sprintf("12%08d199", i) // nobody's
		if i%5 == 0 {
			no = numbers[i/5]
		}
		bodies[i] = pushOf(no).Body()
	}
	var next, refused atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for range 16 {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < n; i = next.Add(1) - 1 {
				if !send(t, d.public, bodies[i%int64(len(bodies))]) {
					refused.Add(1)
				}
			}
		})
	}
	slow := time.Duration(0)
	for i := 1000; next.Load() < n; i++ { // meanwhile somebody works
		at := time.Now()
		d.accept(permit(i, "payment_method", "collect"))
		slow = max(slow, time.Since(at))
	}
	wg.Wait()
	took := time.Since(began)
	if refused.Load() > 0 || took > time.Minute {
		t.Errorf("%d of %d pushes were not taken; it took %s", refused.Load(), n, took)
	}
	drained := until(t, 20*time.Second, "all hints taken", func() bool {
		var left int
		err := d.app.db.Get(&left, `SELECT count(*) FROM push_hints`)
		return err == nil && left == 0
	})
	until(t, 20*time.Second, "all asked about", func() bool {
		for _, id := range ids {
			if d.status(id) != "accepted" {
				return false
			}
		}
		return true
	})
	m, err := request(d.ops+"/metrics", "GET", nil)
	if err != nil || !bytes.Contains(m.body, fmt.Appendf(nil, "emsd_push_hints_total{waybill=\"known\"} %d", n/5)) ||
		!bytes.Contains(m.body, fmt.Appendf(nil, "emsd_push_hints_total{waybill=\"stranger\"} %d", n-n/5)) {
		t.Errorf("%d known and %d strange pushes are not what was counted: %s", n/5, n-n/5, grep(m.body, "emsd_push_hints_total"))
	}
	t.Logf("%d pushes in %s, %.0f a second; hints drained %s later; the slowest acceptance beside it took %s; %d questions",
		n, took.Round(time.Millisecond), n/took.Seconds(), drained.Round(time.Millisecond), slow.Round(time.Millisecond), d.ems.Ledger().Calls["040001"])
}

// grep gives the lines that hold a text.
func grep(text []byte, part string) string {
	var found []string
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, part) {
			found = append(found, line)
		}
	}
	return strings.Join(found, "")
}
