package main

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"emsd/migrations/dbtest"
	"emsd/notify/smssim"
)

// TestI5_PostgreSQLGoneWhileSending: the server dies with requests at the gateway and is away for some seconds. What was
// answered meanwhile is known afterwards, nobody is told twice, no message is left, and it is said without a storm.
func TestI5_PostgreSQLGoneWhileSending(t *testing.T) {
	t.Parallel()
	server, dsn := dbtest.Private(t, nil)
	sub := newHookTaker(t)
	d := start(t, setup{dsn: dsn, quick: true, env: []string{"EMSD_QUIET_HOURS=off", "EMSD_WEBHOOK_ALLOW=127.0.0.0/8:*"},
		sms: smssim.Config{Latency: 200 * time.Millisecond}})
	made := d.call("admin", "POST", "/v1/webhooks", map[string]any{"name": "测试", "url": sub.URL}).in(t)
	secret, _ := made["secret"].(string)
	sub.set(secret, http.StatusNoContent)
	d.sms.SetFault(smssim.Fault{API: "SendSms", Kind: smssim.Reject, Rate: 0.3}) // a refusal that is forgotten would be an attempt in doubt
	p := &posts{t: t, db: d.app.db, vault: d.app.vault, now: d.app.clock.Now}
	const n = 200
	p.envelopes(n)
	until(t, 30*time.Second, "sending", func() bool { return len(d.sms.Messages()) > n/10 })
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	gone, logged := time.Now(), len(d.log.String())
	// What the gateway has taken by then is answered while nothing can be written.
	rounds := func() int { return strings.Count(d.log.String()[logged:], "round failed") }
	until(t, time.Minute, "noticed by several rounds", func() bool { return rounds() > 5 && time.Since(gone) > 2*time.Second })
	receipt := `[{"phone_number":"13900000000","success":true,"err_code":"DELIVERED","biz_id":"1^0","out_id":"x","send_time":"2026-11-20 10:00:00","report_time":"2026-11-20 10:00:05","sms_size":"1"}]`
	if r, err := request(d.public+"/sms/aliyun/receipts/"+receiptSecret, "POST", receipt); err != nil || r.status < 500 {
		t.Errorf("a receipt that cannot be kept: %s, %v; want 5xx, so that it comes again", r, err)
	}
	if m, err := request(d.ops+"/metrics", "GET", nil); err != nil || m.status != http.StatusOK || !bytes.Contains(m.body, []byte(`emsd_rounds_total{outcome="failed",round="send"}`)) {
		t.Errorf("metrics without a database: %d, %v", m.status, err)
	}
	said := d.log.String()[logged:]
	seconds := time.Since(gone).Seconds()
	if err := server.StartAgain(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	away := time.Since(gone)
	lines := strings.Count(said, `"level":"WARN"`) + strings.Count(said, `"level":"ERROR"`)
	t.Logf("%d warnings and errors in %.1f s without a database", lines, seconds)
	if most := 30 + 12*seconds; float64(lines) > most {
		t.Errorf("%d warnings and errors in %.1f s: a storm\n%s", lines, seconds, said)
	}
	until(t, time.Minute, "all settled, and told", func() bool {
		var open int
		err := d.app.db.Get(&open, `SELECT (SELECT count(*) FROM messages WHERE state IN ('queued', 'sending', 'unknown'))
			+ (SELECT count(*) FROM webhook_outbox WHERE done_at IS NULL) + (SELECT count(*) FROM events WHERE position IS NULL)`)
		return err == nil && open == 0 && len(sub.got()) >= n
	})
	p.judge(d.sms, "aliyun")
	var lost int
	if err := d.app.db.Get(&lost, `SELECT count(*) FROM message_attempts WHERE state IN ('absent', 'abandoned')`); err != nil {
		t.Fatal(err)
	}
	if lost > 0 && away < 4*time.Second { // after its lease of five seconds in this test, a refusal is forgotten on purpose
		t.Errorf("%d attempts are lost", lost)
	}
	if len(sub.wrong) > 0 {
		t.Errorf("%d webhooks do not verify: %s", len(sub.wrong), sub.wrong[0])
	}
}
