package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"
	"unicode"

	"emsd/courier/emssim"
	"emsd/notify"
	"emsd/notify/smssim"

	"github.com/google/uuid"
)

// gatewayFaults are all that a gateway can do wrong when it is called, receiptFaults what can become of a receipt.
var (
	gatewayFaults = []smssim.FaultKind{smssim.LoseReply, smssim.LoseRequest, smssim.HTTP502, smssim.HTML, smssim.Throttle, smssim.NonceUsed,
		smssim.OutOfMoney, smssim.Reject, smssim.Truncate, smssim.Hang, smssim.Slow, smssim.Down}
	receiptFaults = []smssim.FaultKind{smssim.ReceiptLate, smssim.ReceiptTwice, smssim.ReceiptLost, smssim.ReceiptContradictory,
		smssim.ReceiptStranger, smssim.ReceiptEarly}
)

// A plannedMessage is a message as the service has it in the end.
type plannedMessage struct {
	Delivery  uuid.UUID        `db:"delivery_id"`
	Milestone notify.Milestone `db:"milestone"`
	State     string           `db:"state"`
	Verdict   string           `db:"verdict"`
	Reason    string           `db:"reason"`
	Gateways  int              `db:"gateways"` // that may have it
	Case      bool             `db:"has_case"`
}

// TestI5_MonthWithEveryGatewayFault is a month over three gateways, each of which does each thing wrong in a tenth of the
// messages that it is given, and some thing in a tenth of what it is asked; a tenth of its receipts goes wrong in each way;
// each day one of them is down for an hour; and a tenth of the messages is answered by somebody. By the gateways' books nobody is
// told anything twice, nobody is told anything after a refusal, and every message that was not sent says why in words for a
// clerk. It is a small fortnight; EMSD_TEST_ENVELOPES=2000 makes it a city's month.
func TestI5_MonthWithEveryGatewayFault(t *testing.T) {
	n := 60
	if text := os.Getenv("EMSD_TEST_ENVELOPES"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	} else {
		t.Parallel()
	}
	seed := monthSeed(t)
	m := newCalmMonth(t, seed, emssim.Config{Seed: seed, LabelDelay: 5 * time.Second},
		smssim.Config{Seed: seed, Hang: time.Millisecond, QueryLag: time.Minute, Undelivered: 0.1, MAS: smssim.MAS{HoldReplies: true}},
		"EMSD_SMS=aliyun,mas,tencent", "EMSD_SMS_MAS_PULL_REPLIES=true")
	for _, k := range gatewayFaults {
		for api, rate := range map[string]float64{"SendSms": 0.1, "tmpsubmit": 0.1, "QuerySendDetails": 0.01, "PullSmsSendStatusByPhoneNumber": 0.01} {
			m.sms.SetFault(smssim.Fault{API: api, Kind: k, Rate: rate, Delay: time.Millisecond})
		}
	}
	for _, k := range receiptFaults {
		m.sms.SetFault(smssim.Fault{Kind: k, Rate: 0.1})
	}
	for _, k := range []smssim.FaultKind{smssim.LoseRequest, smssim.HTTP502, smssim.HTML, smssim.Throttle, smssim.Down} { // what loses no reply for good
		m.sms.SetFault(smssim.Fault{API: "deliver", Kind: k, Rate: 0.02})
	}
	m.again = 3
	talk := &conversation{month: m, rng: rand.New(rand.NewPCG(seed, 1)), share: 0.1}
	if n < 500 { // the fortnight in which they are delivered, with more to say
		m.again, m.days, m.minutes, m.rarely, talk.share = 1, 14, 5, true, 0.3
	}
	m.each = talk.step
	m.plan(n)
	began := time.Now()
	m.live()
	m.sms.ClearFaults()
	for range 3 { // what is still asked about is asked about to its end
		m.clock.set(m.clock.now().Add(25 * time.Hour))
		m.round(often...)
		m.round("replies", "resolve")
	}
	t.Logf("%d envelopes, %d steps in %s", n, m.steps, time.Since(began).Round(time.Second))
	told, by := m.toldOnce(t)
	if len(by) < 2 || n >= 2000 && len(by) < 3 { // the last takes what the first two refuse: about one message in 250
		t.Errorf("the gateways took %v: each is needed now and then", by)
	}
	talk.check(t)
	m.explained(t, told)
	m.receiptsCounted(t, n)
	m.messageFigures()
	m.checkLog(t)
}

// receiptsCounted: receipts went wrong in every way that a receipt can, and were taken for what they were.
func (m *month) receiptsCounted(t *testing.T, n int) {
	t.Helper()
	families, err := m.app.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, one := range f.GetMetric() {
			if f.GetName() == "emsd_sms_receipts_total" {
				got[one.GetLabel()[0].GetValue()] = one.GetCounter().GetValue()
			}
		}
	}
	t.Logf("receipts: %v", got)
	for _, result := range []string{"delivered", "failed", "duplicate", "stranger", "contrary"} {
		if got[result] == 0 && (n >= 500 || result == "delivered") { // few messages need not have met each
			t.Errorf("no receipt was %s", result)
		}
	}
	if left := m.counts(`SELECT 'open' AS k, count(*) AS n FROM message_receipts WHERE processed_at IS NULL`)["open"]; left > 0 {
		t.Errorf("%d receipts were not worked through", left)
	}
}

// templateMilestones tells which milestone a template of a simulated gateway is for.
func templateMilestones(t *testing.T) map[string]string {
	t.Helper()
	milestones := map[string]string{}
	var templates map[string]string
	if err := json.Unmarshal([]byte(demoTemplates), &templates); err != nil {
		t.Fatal(err)
	}
	for milestone, code := range templates {
		milestones[code], milestones[code[len(demoPrefix):]] = milestone, milestone
	}
	return milestones
}

// toldOnce holds the gateways' books against I-5 and gives who was told what, and how many messages each
// gateway has.
func (m *month) toldOnce(t *testing.T) (told map[string]bool, by map[string]int) {
	t.Helper()
	milestones := templateMilestones(t)
	told, by = map[string]bool{}, map[string]int{}
	for _, s := range m.sms.Messages() {
		milestone := milestones[s.Template]
		if milestone == "" {
			t.Errorf("%s has a message by the template %q, which is none of ours", s.Gateway, s.Template)
		}
		key := s.Phone + " " + milestone
		if told[key] {
			t.Errorf("I-5: %s was told %s twice", s.Phone, milestone)
		}
		told[key] = true
		by[s.Gateway]++
	}
	t.Logf("%d messages by the gateways' books: %v", len(told), by)
	return told, by
}

// explained: what counts as sent was sent by one gateway; what was not sent has a reason that a clerk can read, and what
// went wrong on the way to a gateway has a case, too.
func (m *month) explained(t *testing.T, told map[string]bool) {
	t.Helper()
	var planned []plannedMessage
	err := m.app.db.Select(&planned, `
		SELECT m.delivery_id, m.milestone, m.state, m.verdict, m.reason,
			(SELECT count(DISTINCT a.gateway) FROM message_attempts a WHERE a.message_id = m.id AND a.state NOT IN ('rejected', 'unsent')) AS gateways,
			EXISTS (SELECT 1 FROM cases c WHERE c.delivery_id = m.delivery_id AND c.kind = 'sms_failed') AS has_case
		FROM messages m`)
	if err != nil {
		t.Fatal(err)
	}
	unsent := map[string]int{}
	for _, p := range planned {
		e := m.byID[p.Delivery]
		what := fmt.Sprintf("%s, %s: %s by verdict %s, %q", e, p.Milestone, p.State, p.Verdict, p.Reason)
		sent := told[e.phone+" "+string(p.Milestone)]
		delete(told, e.phone+" "+string(p.Milestone))
		if p.Gateways > 1 {
			t.Errorf("%s: %d gateways may have it", what, p.Gateways)
		}
		switch p.State {
		case "accepted", "delivered":
			if !sent {
				t.Errorf("%s: no gateway has it", what)
			}
			continue
		case "failed", "suppressed":
		default:
			t.Errorf("%s: not settled", what)
		}
		if !slices.ContainsFunc([]rune(p.Reason), func(r rune) bool { return unicode.Is(unicode.Han, r) }) {
			t.Errorf("%s: no reason for a clerk", what)
		}
		if p.State == "failed" && p.Gateways == 0 && !p.Case {
			t.Errorf("%s: no case", what)
		}
		if !sent {
			unsent[p.Reason]++
		}
	}
	for key := range told {
		t.Errorf("%s was sent and never planned", key)
	}
	for _, reason := range slices.Sorted(maps.Keys(unsent)) {
		t.Logf("not sent: %4d %s", unsent[reason], reason)
	}
}

// messageFigures prints what became of messages and attempts.
func (m *month) messageFigures() {
	for what, query := range map[string]string{
		"messages":                      `SELECT state || ' ' || verdict AS k, count(*) AS n FROM messages GROUP BY 1`,
		"attempts":                      `SELECT gateway || ' ' || state || ' ' || class AS k, count(*) AS n FROM message_attempts GROUP BY 1`,
		"in doubt, and what came of it": `SELECT gateway || ' ' || state AS k, count(*) AS n FROM message_attempts WHERE class = 'unknown' OR resolves > 0 GROUP BY 1`,
	} {
		m.t.Logf("%s: %v", what, m.counts(query))
	}
}
