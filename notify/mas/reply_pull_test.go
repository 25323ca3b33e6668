package mas

import (
	"encoding/base64"
	"net/http"
	"testing"
	"time"

	"emsd/notify"
	"emsd/notify/smssim"
)

// Replies that nobody pushed are fetched, if the account is set to.
func TestRepliesAreFetched(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 2, 0, 0, 0, time.UTC)
	sim, url := simulate(t, smssim.Config{Now: func() time.Time { return at }, MAS: smssim.MAS{HoldReplies: true}})
	cfg := config(url)
	if list, more, err := newClient(t, cfg).PullReplies(t.Context()); list != nil || more || err != nil {
		t.Errorf("not set to pull: %v, %v, %v", list, more, err)
	}
	cfg.PullsReplies = true
	c := newClient(t, cfg)
	for range 2 {
		if err := sim.Reply(t.Context(), "mas", phone, "TD"); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range []int{2, 0} {
		list, more, err := c.PullReplies(t.Context())
		if err != nil || len(list) != want || more {
			t.Fatalf("call %d: %d replies, more %v, %v; want %d", i+1, len(list), more, err, want)
		}
		for _, r := range list {
			if r.Phone.Reveal() != phone || r.Text.Reveal() != "TD" || !r.SentAt.Equal(at) {
				t.Errorf("call %d: %q %q %s", i+1, r.Phone.Reveal(), r.Text.Reveal(), r.SentAt)
			}
		}
	}
	cfg.SecretKey = "another"
	if _, _, err := newClient(t, cfg).PullReplies(t.Context()); err == nil || sendError(t, err).Class != notify.Configuration {
		t.Errorf("with another secret: %v", err)
	}
}

func TestAnswersToAPullOfReplies(t *testing.T) {
	t.Parallel()
	one := `[{"smsContent":"TD","mobile":"13912345678","sendTime":"2026-11-23 10:00:00"}]`
	for _, tt := range []struct {
		name, body string
		status     int
		want       int
		fails      bool
	}{
		{"a list", one, 200, 1, false},
		{"in base64", base64.StdEncoding.EncodeToString([]byte(one)), 200, 1, false},
		{"nothing", " ", 200, 0, false},
		{"success and nothing", `{"rspcod":"success","success":true}`, 200, 0, false},
		{"a page", "<html>", 200, 0, true},
		{"a page of failure", one, 502, 0, true},
	} {
		cfg := config(answering(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(tt.status); w.Write([]byte(tt.body)) }))
		cfg.PullsReplies = true
		list, _, err := newClient(t, cfg).PullReplies(t.Context())
		if len(list) != tt.want || (err != nil) != tt.fails {
			t.Errorf("%s: %d replies, %v", tt.name, len(list), err)
		}
	}
}
