package tencent

import (
	"net/http"
	"testing"
	"time"

	"emsd/notify"
	"emsd/notify/smssim"
)

// Replies that nobody pushed are fetched, a hundred at a time and each once, if the account is set to.
func TestRepliesAreFetched(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 2, 0, 0, 0, time.UTC)
	sim, url := simulate(t, smssim.Config{Now: func() time.Time { return at }, Tencent: smssim.Tencent{HoldReplies: true}})
	cfg := config(url)
	if list, more, err := newClient(t, cfg).PullReplies(t.Context()); list != nil || more || err != nil {
		t.Errorf("not set to pull: %v, %v, %v", list, more, err)
	}
	cfg.PullReplies = true
	c := newClient(t, cfg)
	for range mostPulled + 1 {
		if err := sim.Reply(t.Context(), "tencent", phone, "退订"); err != nil {
			t.Fatal(err)
		}
	}
	sim.Next(smssim.HTTP502)
	if _, more, err := c.PullReplies(t.Context()); err == nil || more || sendError(t, err).Class != notify.Unknown {
		t.Errorf("a page of HTML: %v, %v", more, err)
	}
	for i, want := range []int{mostPulled, 1, 0} {
		list, more, err := c.PullReplies(t.Context())
		if err != nil || len(list) != want || more != (want == mostPulled) {
			t.Fatalf("call %d: %d replies, more %v, %v; want %d", i+1, len(list), more, err, want)
		}
		for _, r := range list {
			if r.Phone.Reveal() != phone || r.Text.Reveal() != "退订" || !r.SentAt.Equal(at) {
				t.Fatalf("call %d: %q %q %s", i+1, r.Phone.Reveal(), r.Text.Reveal(), r.SentAt)
			}
		}
	}
	cfg.SecretKey = "another"
	if _, _, err := newClient(t, cfg).PullReplies(t.Context()); err == nil || sendError(t, err).Class != notify.Configuration {
		t.Errorf("with another secret: %v", err)
	}
}

// FuzzPulledReplies: whatever stands under PullSmsReplyStatusSet, no reply is of somebody who has no number.
func FuzzPulledReplies(f *testing.F) {
	for _, seed := range []string{`[{"ReplyContent":"TD","SubscriberNumber":"13912345678","ReplyTime":1778040000}]`, `[7,null,[{}],{"PhoneNumber":["+8613912345678"]}]`, `{"ReplyTime":-1}`, `[`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, set []byte) {
		answer, err := readAnswer([]byte(`{"Response":{"RequestId":"r","PullSmsReplyStatusSet":` + string(set) + `}}`))
		if err != nil {
			return
		}
		for _, r := range readReplies(answer.PullSmsReplyStatusSet) {
			if !notify.IsMobile(r.Phone.Reveal()) || r.SentAt.Year() > 2300 {
				t.Errorf("a reply of %q at %s", r.Phone.Reveal(), r.SentAt)
			}
		}
	})
}

func TestAnAnswerWithoutRepliesIsNone(t *testing.T) {
	t.Parallel()
	cfg := config(answering(t, func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`{"Response":{"RequestId":"r"}}`)) }))
	cfg.PullReplies = true
	if list, more, err := newClient(t, cfg).PullReplies(t.Context()); len(list) != 0 || more || err != nil {
		t.Errorf("%v, %v, %v", list, more, err)
	}
}
