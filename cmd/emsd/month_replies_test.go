package main

import (
	"math/rand/v2"
	"testing"
	"time"

	"emsd/notify"
	"emsd/notify/smssim"

	"github.com/google/uuid"
)

// said is what residents answer, and what it has to be taken for.
var said = []struct {
	text    string
	meaning notify.Meaning
}{
	{"退订", notify.MeansStop}, {"T", notify.MeansStop}, {"TD", notify.MeansStop}, {"发错了", notify.MeansWrongPerson}, {"不是本人", notify.MeansWrongPerson},
	{"怎么退订？", notify.MeansDoubt}, {"拒收这个快递", notify.MeansDoubt}, {"谢谢", notify.MeansOther}, {"收到，辛苦了", notify.MeansOther},
}

// An answer is one reply that the test has sent.
type answer struct {
	gateway, phone string
	meaning        notify.Meaning
}

// A conversation is what residents answer in a month, and the gateways that are down meanwhile.
type conversation struct {
	*month
	rng     *rand.Rand
	share   float64 // of messages that are answered
	seen    int     // of the gateways' books
	answers []answer
	downOn  int // day on which a gateway was down last
	unheard int // replies that a gateway could not pass on
}

// step answers a share of the messages that came since the last one, and takes one gateway away for an hour each day.
func (c *conversation) step() {
	books := c.sms.Messages()
	for _, s := range books[c.seen:] {
		if c.rng.Float64() >= c.share {
			continue
		}
		one := said[c.rng.IntN(len(said))]
		if err := c.sms.Reply(c.t.Context(), s.Gateway, s.Phone, one.text); err != nil {
			c.unheard++
			continue
		}
		c.answers = append(c.answers, answer{s.Gateway, s.Phone, one.meaning})
	}
	c.seen = len(books)
	c.round("replies", "resolve")
	if now := c.clock.now(); now.In(beijing).Day() != c.downOn && now.In(beijing).Hour() >= 9 {
		c.downOn = now.In(beijing).Day()
		c.sms.SetFault(smssim.Fault{Gateway: []string{"aliyun", "mas", "tencent"}[c.rng.IntN(3)], Kind: smssim.Down, For: time.Hour})
	}
}

// check holds what was answered against what emsd has made of it.
func (c *conversation) check(t *testing.T) {
	t.Helper()
	want, stops, wrong, doubts := map[string]int{}, map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, a := range c.answers {
		want[a.gateway+" "+string(a.meaning)]++
		stops[a.phone] = stops[a.phone] || a.meaning == notify.MeansStop || a.meaning == notify.MeansWrongPerson
		wrong[a.phone] = wrong[a.phone] || a.meaning == notify.MeansWrongPerson
		doubts[a.phone] = doubts[a.phone] || a.meaning == notify.MeansDoubt
	}
	got := c.counts(`SELECT gateway || ' ' || meaning AS k, count(*) AS n FROM message_replies GROUP BY 1`)
	t.Logf("replies: %v", got)
	for k := range want {
		if got[k] > want[k] {
			t.Errorf("%d replies are %s, %d were sent", got[k], k, want[k])
		}
	}
	if c.unheard > 0 || len(want) < 2 {
		t.Errorf("%d replies were not heard, of %v", c.unheard, want)
	}
	var rows []struct {
		ID      uuid.UUID  `db:"id"`
		Stopped *time.Time `db:"since"`
		Address bool       `db:"address"`
		Call    bool       `db:"call"`
		Over    bool       `db:"over"` // was at an end, maybe before an answer was read
		Opted   int        `db:"opted"`
	}
	if err := c.app.db.Select(&rows, `
		SELECT d.id, s.since,
			EXISTS (SELECT FROM cases c WHERE c.delivery_id = d.id AND c.kind = 'address') AS address,
			EXISTS (SELECT FROM cases c WHERE c.delivery_id = d.id AND c.kind = 'sms_failed') AS call,
			EXISTS (SELECT FROM events e WHERE e.delivery_id = d.id AND e.type IN ('delivery.delivered', 'delivery.returned', 'delivery.lost')) AS over,
			(SELECT count(*) FROM messages m WHERE m.delivery_id = d.id AND m.verdict = 'opted_out') AS opted
		FROM deliveries d LEFT JOIN do_not_send s ON s.phone_lookup = d.phone_lookup AND s.lifted_at IS NULL`); err != nil {
		t.Fatal(err)
	}
	since, opted := map[string]time.Time{}, 0
	for _, r := range rows {
		e := c.byID[r.ID]
		if stops[e.phone] != (r.Stopped != nil) {
			t.Errorf("%s refused: %v, is stopped: %v", e, stops[e.phone], r.Stopped != nil)
		}
		if r.Stopped != nil {
			since[e.phone] = *r.Stopped
		}
		if wrong[e.phone] && !r.Address && !r.Over {
			t.Errorf("%s is somebody else's number, and no clerk is asked", e)
		}
		if doubts[e.phone] && !r.Call && !r.Over {
			t.Errorf("%s may have refused, and no clerk is asked", e)
		}
		if r.Opted > 0 && !stops[e.phone] {
			t.Errorf("%s refused nothing, and was told less", e)
		}
		opted += r.Opted
	}
	for _, s := range c.sms.Messages() {
		if at, refused := since[s.Phone]; refused && s.At.After(at) {
			t.Errorf("%s was told %s at %s, and had refused by %s", s.Phone, s.Template, s.At, at)
		}
	}
	if len(since) == 0 {
		t.Error("nobody refused anything")
	}
	t.Logf("%d numbers refused; %d messages were not sent for it", len(since), opted)
}
