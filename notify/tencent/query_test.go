package tencent

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"emsd/courier/vault"
	"emsd/notify"
	"emsd/notify/smssim"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

// clock is a simulated time that a test moves while the simulator reads it.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// Without the echo a lost message is found as the only one that no attempt accounts for; with it, by our id. Before the
// carrier has reported, its absence is all that can be said.
func TestFindAfterALostReply(t *testing.T) {
	t.Parallel()
	for _, echo := range []bool{false, true} {
		at := &clock{at: time.Date(2026, 11, 23, 10, 0, 0, 0, beijing)}
		sim, url := simulate(t, smssim.Config{Now: at.now, Tencent: smssim.Tencent{Echo: echo}})
		cfg := config(url)
		cfg.Now = at.now
		c := newClient(t, cfg)
		earlier := sms()
		earlier.Milestone = notify.OutForDelivery
		known, err := c.Send(t.Context(), earlier)
		if err != nil {
			t.Fatal(err)
		}
		s := sms()
		sim.Next(smssim.LoseReply)
		if _, err := c.Send(t.Context(), s); sendError(t, err).Class != notify.Unknown {
			t.Fatalf("Send = %v", err)
		}
		q := notify.Query{Phone: s.Phone, AttemptID: s.AttemptID, Since: at.now(), Known: []string{known.ProviderID}, Alone: true}
		if f, err := c.Find(t.Context(), q); err != nil || f.Outcome != notify.Absent {
			t.Errorf("echo %t, before the report: %+v, %v", echo, f, err)
		}
		at.pass(time.Minute)
		f, err := c.Find(t.Context(), q)
		if err != nil || f.Outcome != notify.Arrived || f.ProviderID == "" || f.ProviderID == known.ProviderID {
			t.Errorf("echo %t, after the report: %+v, %v", echo, f, err)
		}
		// With another attempt open, or two messages unaccounted for, it could be either.
		for what, change := range map[string]func(*notify.Query){
			"not alone": func(q *notify.Query) { q.Alone = false }, "two strangers": func(q *notify.Query) { q.Known = nil },
		} {
			other := q
			change(&other)
			want := notify.Absent
			if echo {
				want = notify.Arrived
			}
			if f, err := c.Find(t.Context(), other); err != nil || f.Outcome != want {
				t.Errorf("echo %t, %s: %+v, %v; want %v", echo, what, f, err, want)
			}
		}
	}
}

// A lost request is never found, and a message that the carrier could not deliver is told as such.
func TestFindKnowsFailures(t *testing.T) {
	t.Parallel()
	at := &clock{at: time.Date(2026, 11, 23, 10, 0, 0, 0, beijing)}
	sim, url := simulate(t, smssim.Config{Now: at.now, Undelivered: 1})
	cfg := config(url)
	cfg.Now = at.now
	c := newClient(t, cfg)
	s := sms()
	q := notify.Query{Phone: s.Phone, AttemptID: s.AttemptID, Since: at.now(), Alone: true}
	sim.Next(smssim.LoseRequest)
	c.Send(t.Context(), s)
	at.pass(time.Hour)
	if f, err := c.Find(t.Context(), q); err != nil || f.Outcome != notify.Absent {
		t.Errorf("a lost request: %+v, %v", f, err)
	}
	if _, err := c.Send(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	at.pass(8 * 24 * time.Hour) // further back than the list goes
	if f, err := c.Find(t.Context(), q); err != nil || f.Outcome != notify.Absent {
		t.Errorf("after eight days: %+v, %v", f, err)
	}
	at.pass(-8*24*time.Hour + time.Minute)
	if f, err := c.Find(t.Context(), q); err != nil || f.Outcome != notify.NotArrived {
		t.Errorf("undelivered: %+v, %v", f, err)
	}
}

func TestParseReceipts(t *testing.T) {
	t.Parallel()
	id := uuid.Must(uuid.NewV7())
	body := `[{"user_receive_time":"2026-11-23 10:00:05","nationcode":"86","mobile":"13912345678","report_status":"SUCCESS","errmsg":"DELIVRD","description":"用户短信送达成功","sid":"2000:1","ext":"` + id.String() + `"},
		{"mobile":"13912345678","report_status":"FAIL","errmsg":"MK:0001","sid":"2000:2"}, 7, {"sid":9}, {"mobile":"1","sid":"2000:3","ext":"not ours"}]`
	got, err := ParseReceipts([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	number := vault.Conceal(phone)
	want := []notify.Receipt{
		{AttemptID: id, ProviderID: "2000:1", Success: true, Code: "DELIVRD", Phone: number},
		{ProviderID: "2000:2", Code: "MK:0001", Phone: number},
		{Code: "unreadable"}, {Code: "unreadable"}, {ProviderID: "2000:3"},
	}
	same := cmp.Comparer(func(a, b vault.Secret) bool { return a.Reveal() == b.Reveal() })
	if diff := cmp.Diff(want, got, same); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, bad := range []string{"", "{}", "null x", "[1"} {
		if _, err := ParseReceipts([]byte(bad)); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
}

func FuzzParseReceipts(f *testing.F) {
	f.Add([]byte(`[{"mobile":"13912345678","report_status":"SUCCESS","sid":"1","ext":"x"}]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		list, err := ParseReceipts(body)
		if err != nil && strings.Contains(err.Error(), "139") {
			t.Errorf("the error quotes what came: %v", err)
		}
		for _, r := range list {
			if n := r.Phone.Reveal(); n != "" && !notify.IsMobile(n) {
				t.Errorf("%q is taken for a number", n)
			}
		}
	})
}

func FuzzReadAnswer(f *testing.F) {
	f.Add([]byte(`{"Response":{"SendStatusSet":[{"Code":"Ok","SerialNo":"1","PhoneNumber":"+8613912345678"}]}}`))
	f.Add([]byte(`{"Response":{"Error":{"Code":"AuthFailure"}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := readAnswer(body)
		if err == nil && !json.Valid(body) {
			t.Error("what is no JSON is read")
		}
		if err == nil && r.Error != nil && !codeForm.MatchString(r.Error.Code) {
			t.Errorf("code %q", r.Error.Code)
		}
	})
}
