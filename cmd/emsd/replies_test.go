package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"emsd/courier/emssim"
	"emsd/notify/smssim"

	"github.com/google/go-cmp/cmp"
)

// repliedTo is what a resident's delivery shows a clerk after an answer to its first message.
type repliedTo struct {
	Meaning string            // of the answer
	Stopped bool              // by a call about it, if there is one
	Told    map[string]string // verdict by milestone
	Cases   map[string]int
	Called  bool // it stands in the list of calls
}

// TestAReplyHasItsEffectWhicheverWayItComes goes the whole way, for each gateway and each way that it has: residents answer
// the first message, and what is told afterwards, whom clerks call and what they read follows from the answer.
func TestAReplyHasItsEffectWhicheverWayItComes(t *testing.T) {
	t.Parallel()
	all := map[string]string{"handed_over": "send", "out_for_delivery": "send", "delivered": "send"}
	stopped := map[string]string{"handed_over": "send", "out_for_delivery": "opted_out", "delivered": "opted_out"}
	answers := []struct {
		text string
		want repliedTo
	}{
		{"退订", repliedTo{"stop", false, stopped, map[string]int{}, false}},
		{"T", repliedTo{"stop", false, stopped, map[string]int{}, false}},
		{"发错了", repliedTo{"wrong_person", false, stopped, map[string]int{"address": 1}, false}},
		{"怎么退订？", repliedTo{"in_doubt", false, all, map[string]int{"sms_failed": 1}, true}},
		{"谢谢", repliedTo{"other", false, all, map[string]int{}, false}},
	}
	for _, tt := range []struct {
		name     string
		gateways []string
		sims     smssim.Config
		env      []string
	}{
		{"pushed", []string{"aliyun", "tencent", "mas"}, smssim.Config{MAS: smssim.MAS{Wrapped: true}}, nil},
		{"fetched", []string{"tencent", "mas"}, smssim.Config{Tencent: smssim.Tencent{HoldReplies: true}, MAS: smssim.MAS{HoldReplies: true}},
			[]string{"EMSD_SMS_TENCENT_PULL_REPLIES=true", "EMSD_SMS_MAS_PULL_REPLIES=true"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := newCalmMonth(t, 1, emssim.Config{LabelDelay: time.Second}, tt.sims, append(tt.env, "EMSD_SMS=aliyun,mas,tencent")...)
			m.plan(len(tt.gateways) * len(answers))
			byPhone := map[string]int{}
			for i, e := range m.envelopes {
				e.odd, e.outcome, e.phone = nil, emssim.OutcomeDelivered, e.phone[:7]+"0001"
				byPhone[e.phone] = i
			}
			m.take(m.envelopes)
			for now := monthStart; m.counts(`SELECT 'undelivered' AS k, count(*) AS n FROM deliveries WHERE status <> 'delivered'`)["undelivered"] > 0; now = now.Add(time.Hour) {
				if now.Sub(monthStart) > 9*24*time.Hour {
					t.Fatal("not delivered in nine days")
				}
				if h := now.In(beijing).Hour(); h >= 21 {
					now = now.Add(11 * time.Hour)
				}
				m.clock.set(now)
				m.round("numbers", "order", "reconcile", "poll", "publish", "send")
				m.direct()
				for _, s := range m.sms.Messages() {
					i, first := byPhone[s.Phone]
					if !first || s.At.Before(now) {
						continue
					}
					delete(byPhone, s.Phone)
					for range 2 { // said twice, or passed on twice
						if err := m.sms.Reply(t.Context(), tt.gateways[i/len(answers)], s.Phone, answers[i%len(answers)].text); err != nil {
							t.Fatalf("answer %d: %v", i, err)
						}
					}
				}
				m.round("replies", "resolve")
			}
			get, told := m.office("admin"), 0
			for i, e := range m.envelopes {
				a := answers[i%len(answers)]
				told += strings.Count(fmt.Sprint(a.want.Told), ":send")
				if diff := cmp.Diff(a.want, readReplied(t, get, e.id.String())); diff != "" {
					t.Errorf("what follows from %s by %s (-want +got):\n%s", a.text, tt.gateways[i/len(answers)], diff)
				}
			}
			if n := len(m.sms.Messages()); n != told {
				t.Errorf("the gateways have %d messages, want %d", n, told)
			}
			m.checkLog(t)
		})
	}
}

// readReplied reads a delivery, and whether it stands in the list of calls, as the permit system or a page would.
func readReplied(t *testing.T, get func(string) reply, id string) repliedTo {
	t.Helper()
	var d struct {
		Messages []struct{ Milestone, Verdict, Reason string }
		Replies  []struct{ Meaning, Text string }
		Cases    []struct{ Kind string }
	}
	if r := get("/v1/deliveries/" + id); r.status != http.StatusOK || json.Unmarshal(r.body, &d) != nil {
		t.Fatalf("delivery: %s", r)
	}
	out := repliedTo{Told: map[string]string{}, Cases: map[string]int{}}
	for _, m := range d.Messages {
		if m.Milestone != "payment_due" { // of those who were to pay first
			out.Told[m.Milestone] = m.Verdict
		}
		if m.Verdict == "opted_out" && !strings.Contains(m.Reason, "不再接收短信") {
			t.Errorf("a message that was suppressed says %q", m.Reason)
		}
	}
	for _, r := range d.Replies {
		if out.Meaning != "" && out.Meaning != r.Meaning || r.Text == "" {
			t.Errorf("answers %+v", d.Replies)
		}
		out.Meaning = r.Meaning
	}
	for _, c := range d.Cases {
		out.Cases[c.Kind]++
	}
	var calls struct {
		Calls []struct {
			DeliveryID string `json:"delivery_id"`
			Stopped    bool
		}
	}
	if r := get("/v1/calls"); r.status != http.StatusOK || json.Unmarshal(r.body, &calls) != nil {
		t.Fatalf("calls: %s", r)
	}
	for _, c := range calls.Calls {
		if c.DeliveryID == id {
			out.Called, out.Stopped = true, c.Stopped
		}
	}
	return out
}
