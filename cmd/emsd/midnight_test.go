package main

import (
	"testing"
	"time"

	"emsd/courier/emssim"
	"emsd/notify/smssim"
)

// TestI5_AnAnswerLostAtMidnightInBeijingIsFoundAfterIt: sent in the last second of a day, asked about in the first minutes of the
// next. Aliyun books by the day, Tencent is asked from the second of the start, 云MAS names the time of the submission in a report
// that is pushed or fetched. A milestone is to be sent again when it is proved absent: a question for the wrong day would do so.
func TestI5_AnAnswerLostAtMidnightInBeijingIsFoundAfterIt(t *testing.T) {
	t.Parallel()
	lastSecond := time.Date(2026, 11, 23, 23, 59, 59, 0, beijing)
	for _, tt := range []struct {
		name, gateway, send string
		sim                 smssim.Config
		pulled              bool
	}{
		{"aliyun", "aliyun", "SendSms", smssim.Config{}, false},
		{"tencent, nothing of ours in its list", "tencent", "SendSms", smssim.Config{}, false},
		{"tencent, with the echo", "tencent", "SendSms", smssim.Config{Tencent: smssim.Tencent{Echo: true}}, false},
		{"mas, pushed", "mas", "tmpsubmit", smssim.Config{}, false},
		{"mas, fetched", "mas", "tmpsubmit", smssim.Config{}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			env := []string{"EMSD_SMS=" + tt.gateway, "EMSD_QUIET_HOURS=off", "EMSD_SMS_RESEND_IF_ABSENT=handed_over"}
			if tt.pulled {
				env = append(env, "EMSD_SMS_MAS_PULL=true")
			}
			d := newStepped(t, lastSecond, emssim.Config{}, tt.sim, env...)
			count := func(query string) (n int) {
				t.Helper()
				if err := d.app.db.Get(&n, query); err != nil {
					t.Fatal(err)
				}
				return n
			}
			p := &posts{t: t, db: d.app.db, vault: d.app.vault, now: d.clock.now}
			p.envelopes(4)
			d.sms.SetFault(smssim.Fault{API: tt.send, Kind: smssim.LoseReply})
			if tt.gateway != "mas" || tt.pulled { // what is found is found by asking
				d.sms.SetFault(smssim.Fault{Gateway: tt.gateway, Kind: smssim.ReceiptLost})
			}
			d.round("send")
			d.sms.ClearFaults()
			if n := count(`SELECT count(*) FROM message_attempts WHERE state = 'unknown' AND sent_on = '20261123'`); n != 4 || len(d.sms.Messages()) != 4 {
				t.Fatalf("%d attempts in doubt, %d messages taken; want 4 of each", n, len(d.sms.Messages()))
			}
			for _, after := range []time.Duration{31 * time.Second, 91 * time.Second} {
				d.clock.set(lastSecond.Add(after))
				if tt.gateway == "mas" && !tt.pulled {
					until(t, 30*time.Second, "reports pushed", func() bool { return count(`SELECT count(*) FROM message_receipts`) == 4 })
				}
				d.round("resolve")
				d.round("send")
			}
			if n := count(`SELECT count(*) FROM message_attempts WHERE state IN ('accepted', 'delivered')`); n != 4 {
				t.Errorf("%d are found after midnight, want 4", n)
			}
			for day := range 2 {
				d.clock.set(lastSecond.Add(time.Duration(day+1) * 25 * time.Hour))
				d.round("resolve")
				d.round("send")
			}
			p.judge(d.sms, tt.gateway)
			if n := len(d.sms.Messages()); n != 4 {
				t.Errorf("%d messages in the end, want 4", n)
			}
		})
	}
}
