package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"emsd/courier"
	"emsd/courier/emssim"
	"emsd/notify/smssim"

	"github.com/google/uuid"
)

// An envelope is one permit of the month: how EMS will treat it, written down before anything happens, and how that has
// to end.
type envelope struct {
	n       int
	phone   string
	outcome emssim.Outcome // of the simulator; empty: the simulator draws one
	odd     *oddJourney    // instead of an outcome

	id uuid.UUID
	no string // waybill, once EMS has it
}

func (e *envelope) String() string {
	if e.odd != nil {
		return fmt.Sprintf("envelope %d (%s)", e.n, e.odd.name)
	}
	return fmt.Sprintf("envelope %d (%s)", e.n, e.outcome)
}

// A deed is what the test does to EMS at some time.
type deed struct {
	at time.Time
	do func() error
}

// A month is a stepped daemon and the envelopes that it sends.
type month struct {
	*stepped

	envelopes []*envelope
	byID      map[uuid.UUID]*envelope
	byOrder   map[string]*envelope
	directed  int // orders of the simulator's books that have their journeys
	deeds     []deed
	rng       *rand.Rand
	steps     int
	again     int    // further rounds of messages in a step, as what is refused wakes the sender at once
	each      func() // done at the end of each step, if anything
	days      int    // that pass
	minutes   int    // after each day's intake that pass one by one
	rarely    bool   // the other rounds run each day instead of each hour
}

// monthStart is a Monday; the month has a change of month in it, and thereby of partitions.
var monthStart = time.Date(2026, 11, 2, 8, 0, 0, 0, beijing)

const monthDays = 30

// monthSeed fixes what the simulators draw; EMSD_TEST_SEED sets another.
func monthSeed(t *testing.T) uint64 {
	seed, err := strconv.ParseUint(os.Getenv("EMSD_TEST_SEED"), 10, 64)
	if err != nil {
		seed = 20261102
	}
	t.Logf("EMSD_TEST_SEED=%d", seed)
	return seed
}

// kindRates divides a share of calls among kinds of faults; the slow kinds cost real time and get little of it.
func kindRates(api string, share float64, kinds ...emssim.FaultKind) []emssim.Fault {
	slow := []emssim.FaultKind{emssim.Hang, emssim.Slow, emssim.Drip}
	const little = 0.0004
	left := share
	for _, k := range kinds {
		if slices.Contains(slow, k) {
			left -= little
		}
	}
	var faults []emssim.Fault
	taken := 0.0
	for _, k := range kinds {
		want := little
		if !slices.Contains(slow, k) {
			want = left / float64(len(kinds)-len(slow))
		}
		// The simulator tries one fault after the other: a later one sees what the earlier ones let through.
		faults = append(faults, emssim.Fault{API: api, Kind: k, Rate: want / (1 - taken)})
		taken += want
	}
	return faults
}

var traceFaults = []emssim.FaultKind{emssim.LoseReply, emssim.LoseRequest, emssim.Refuse, emssim.Error200, emssim.HTTP502, emssim.HTML,
	emssim.Empty, emssim.Truncate, emssim.Slow, emssim.Drip, emssim.Hang, emssim.Redirect307, emssim.OtherWaybill, emssim.WrongEcho, emssim.Stale}

var orderFaults = append([]emssim.FaultKind{emssim.DuplicateWaybill}, traceFaults...)

func newMonth(t *testing.T, seed uint64) *month {
	t.Helper()
	m := newCalmMonth(t, seed, emssim.Config{Seed: seed, LateScans: 0.1, RepeatScans: 0.1, OddTraces: 0.1, LabelDelay: 5 * time.Second,
		PushLose: 0.05, PushDuplicate: 0.05, PushDisorder: 0.05, PushForged: 0.03, PushStrange: 0.02},
		smssim.Config{Seed: seed, Hang: 20 * time.Millisecond, QueryLag: time.Minute, Undelivered: 0.01,
			LateReceipts: 0.05, TwiceReceipts: 0.05, LostReceipts: 0.05})
	for _, api := range []string{"020002", "020003", "020006", "010004", "050001"} {
		for _, f := range kindRates(api, 0.2, orderFaults...) {
			m.ems.SetFault(f)
		}
	}
	for _, f := range kindRates("040001", 0.2, traceFaults...) {
		m.ems.SetFault(f)
	}
	for _, k := range []smssim.FaultKind{smssim.LoseReply, smssim.LoseRequest, smssim.HTTP502, smssim.HTML, smssim.Throttle, smssim.NonceUsed,
		smssim.Truncate, smssim.Hang} {
		m.sms.SetFault(smssim.Fault{Kind: k, Rate: 0.01})
	}
	return m
}

// newCalmMonth is a month in which only that goes wrong which the simulators' settings say.
func newCalmMonth(t *testing.T, seed uint64, e emssim.Config, s smssim.Config, env ...string) *month {
	t.Helper()
	return &month{days: monthDays, minutes: 30, byID: map[uuid.UUID]*envelope{}, byOrder: map[string]*envelope{}, rng: rand.New(rand.NewPCG(seed, 0)),
		stepped: newStepped(t, monthStart, e, s, append([]string{"EMSD_NUMBERS_LOW=300", "EMSD_NUMBERS_REFILL=900"}, env...)...)}
}

// plan writes down the envelopes of the month. Of 30 there are 21 with an outcome that the test fixes, 4 that the
// simulator draws, and 5 odd ones.
func (m *month) plan(n int) {
	tails := map[emssim.Outcome]string{emssim.OutcomeDelivered: "0001", emssim.OutcomeFailedFirst: "0002", emssim.OutcomeLocker: "0003",
		emssim.OutcomeDoor: "0004", emssim.OutcomeReturned: "0005", emssim.OutcomeSilent: "0006", emssim.OutcomeLost: "0009"}
	fixed := []emssim.Outcome{emssim.OutcomeDelivered, emssim.OutcomeAgent, emssim.OutcomeDelivered, emssim.OutcomeFrontDesk, emssim.OutcomeDelivered,
		emssim.OutcomeFailedFirst, emssim.OutcomeLocker, emssim.OutcomeDelivered, emssim.OutcomeDoor, emssim.OutcomeReturned, emssim.OutcomeDelivered,
		emssim.OutcomeSilent, emssim.OutcomeLost, emssim.OutcomeDelivered, emssim.OutcomeIntercepted, emssim.OutcomeCounter, emssim.OutcomeLocker,
		emssim.OutcomeDelivered, emssim.OutcomeFailedFirst, emssim.OutcomeAgent, emssim.OutcomeDelivered}
	odds := oddJourneys()
	odd := 0
	for i := range n {
		e := &envelope{n: i + 1}
		tail := "1234"
		switch at := i % 30; {
		case at < len(fixed):
			e.outcome = fixed[at]
			if s := tails[e.outcome]; s != "" {
				tail = s
			}
		case at >= 25:
			e.odd = &odds[odd%len(odds)]
			odd++
		}
		e.phone = fmt.Sprintf("139%04d%s", e.n, tail)
		m.envelopes = append(m.envelopes, e)
	}
}

// take takes envelopes in, two thirds with the postage to be collected and one third paid.
func (m *month) take(envelopes []*envelope) {
	m.t.Helper()
	intakes := make([]courier.Intake, 0, len(envelopes))
	for _, e := range envelopes {
		edits, fee := []any{"recipient.phone", e.phone}, int64(1200)
		if e.n%4 == 0 {
			edits, fee = append(edits, "recipient.province", "上海市", "recipient.city", "上海市", "recipient.county", "黄浦区"), 2200
		}
		in := courier.Intake{Extras: courier.RowExtras{TransactionNo: fmt.Sprintf("WX%d", e.n), PaidFen: fee}}
		if e.n%3 != 0 {
			edits, in.Extras = append(edits, "payment_method", "collect"), courier.RowExtras{}
		}
		text, err := json.Marshal(permit(e.n, edits...))
		if err != nil {
			m.t.Fatal(err)
		}
		in.Application, in.Faults = courier.ParseApplication(text)
		intakes = append(intakes, in)
	}
	results, err := m.app.service.AcceptPaid(m.t.Context(), intakes, "month")
	if err != nil {
		m.t.Fatal(err)
	}
	for i, r := range results {
		if r.Outcome != courier.Created || r.PaymentErr != nil {
			m.t.Fatalf("%s: %s, %v, %v", envelopes[i], r.Outcome, r.Faults, r.PaymentErr)
		}
		envelopes[i].id = r.Delivery.ID
		m.byID[r.Delivery.ID] = envelopes[i]
		m.byOrder["RP"+strings.ReplaceAll(r.Delivery.ID.String(), "-", "")] = envelopes[i]
	}
}

// direct tells the simulator what is to become of the orders that it has got since, also of those whose reply was lost.
func (m *month) direct() {
	m.t.Helper()
	orders := m.ems.Ledger().Orders
	for _, o := range orders[m.directed:] {
		e := m.byOrder[o.OrderNo]
		if e == nil {
			m.t.Fatalf("EMS has the order %s, which is nobody's", o.OrderNo)
		}
		var err error
		switch {
		case o.Cancelled:
		case e.odd != nil:
			err = m.begin(e, o.WaybillNo)
		case e.outcome != "":
			err = m.ems.SetJourney(o.WaybillNo, emssim.Journey{Outcome: e.outcome})
		}
		if err != nil {
			m.t.Fatalf("%s: %v", e, err)
		}
	}
	m.directed = len(orders)
}

// learn notes which number each envelope has got.
func (m *month) learn() {
	m.t.Helper()
	var rows []struct {
		ID uuid.UUID `db:"id"`
		No string    `db:"waybill_no"`
	}
	if err := m.app.db.Select(&rows, `SELECT id, coalesce(waybill_no, '') AS waybill_no FROM deliveries`); err != nil {
		m.t.Fatal(err)
	}
	for _, r := range rows {
		m.byID[r.ID].no = r.No
	}
}

// often are the rounds of every step; the others run each hour.
var often = []string{"poll", "publish", "send", "resolve"}

func (m *month) seldom() []string {
	var names []string
	for _, r := range m.app.schedule.rounds {
		if !slices.Contains(often, r.name) {
			names = append(names, r.name)
		}
	}
	return names
}

// clerk sends again what EMS refused by a fault.
func (m *month) clerk() {
	m.t.Helper()
	var ids []uuid.UUID
	if err := m.app.db.Select(&ids, `SELECT d.id FROM deliveries d WHERE d.status = 'ordering' AND d.reconcile_at IS NULL
		AND EXISTS (SELECT 1 FROM cases c WHERE c.delivery_id = d.id AND c.closed_at IS NULL AND c.kind IN ('order_refused', 'order_unknown'))`); err != nil {
		m.t.Fatal(err)
	}
	for _, id := range ids {
		if _, err := m.app.service.Retry(m.t.Context(), id, "邮政已恢复，重新下单", "month"); err != nil {
			m.t.Fatalf("retry: %v", err)
		}
	}
}

// next is the length of a step, never twice the same: from 45 to 135 minutes by day while envelopes are on their way, longer
// at night and afterwards.
func (m *month) next(now time.Time) time.Duration {
	h := now.In(beijing).Hour()
	mean := 90 * time.Minute
	switch day := int(now.Sub(monthStart).Hours()) / 24; {
	case day >= 14:
		mean = 6 * time.Hour
	case day >= 9:
		mean = 4 * time.Hour
	case h < 7 || h >= 21:
		mean = 3 * time.Hour
	}
	return mean/2 + time.Duration(m.rng.Int64N(int64(mean))).Truncate(time.Second)
}

// live lets the month pass.
func (m *month) live() {
	const days = 5 // of intake
	share := (len(m.envelopes) + days - 1) / days
	var hourly, daily time.Time
	for now := monthStart; now.Before(monthStart.AddDate(0, 0, m.days)); now = now.Add(m.next(now)) {
		m.clock.set(now)
		m.steps++
		if day := int(now.Sub(monthStart).Hours()) / 24; now.Sub(daily) >= 24*time.Hour {
			daily = now
			if day < days {
				m.take(m.envelopes[min(day*share, len(m.envelopes)):min((day+1)*share, len(m.envelopes))])
				now = m.order(now)
			}
			m.checkSeenDelivered()
		}
		m.deeds = slices.DeleteFunc(m.deeds, func(d deed) bool {
			if d.at.After(now) {
				return false
			}
			if err := d.do(); err != nil {
				m.t.Errorf("on %s: %v", now, err)
			}
			return true
		})
		began := time.Now()
		m.ems.PushDue(m.t.Context())
		m.took["pushes"] += time.Since(began)
		m.round(often...)
		for range m.again {
			m.clock.set(m.clock.now().Add(20 * time.Second))
			m.round("send", "resolve")
		}
		if m.each != nil {
			m.each()
		}
		if now.Sub(hourly) >= time.Hour {
			m.clerk()
			if !m.rarely || hourly.YearDay() != now.YearDay() {
				m.round(m.seldom()...)
			}
			hourly = now
			m.direct()
		}
	}
}

// order lets half an hour, unless m says otherwise, pass minute by minute, for orders and what goes wrong with them are a matter of minutes; it gives
// the time then.
func (m *month) order(now time.Time) time.Time {
	for range m.minutes {
		m.clerk()
		m.round("numbers", "order", "reconcile", "cancel")
		now = now.Add(time.Minute)
		m.clock.set(now)
	}
	m.direct()
	return now
}

// settle lets everything be asked about once more, without faults.
func (m *month) settle() {
	m.ems.ClearFaults()
	m.sms.ClearFaults()
	if _, err := m.app.db.Exec(`UPDATE waybills SET next_poll_at = $1`, m.clock.now()); err != nil {
		m.t.Fatal(err)
	}
	m.failed = map[string]int{}
	for range 6 {
		m.round(often...)
		m.round(m.seldom()...)
		m.clock.set(m.clock.now().Add(10 * time.Minute))
	}
	for name, n := range m.failed {
		m.t.Errorf("round %s failed %d times without a fault", name, n)
	}
}

// TestMonthOfAThousandEnvelopes is the service's whole work for a month, with a fifth of all calls going wrong: what it
// says in the end is what happened, and whatever is not as it should be is a case.
func TestMonthOfAThousandEnvelopes(t *testing.T) {
	n := 1000
	if testing.Short() {
		n = 150
	}
	m := newMonth(t, monthSeed(t))
	m.plan(n)
	began := time.Now()
	m.live()
	m.learn()
	t.Logf("%d envelopes, %d steps in %s", n, m.steps, time.Since(began).Round(time.Second))
	t.Run("truth", func(t *testing.T) { m.checkTruth(t) })
	m.settle()
	m.figures()
	t.Run("truth after the last look", func(t *testing.T) { m.checkTruth(t) })
	t.Run("cases", func(t *testing.T) { m.checkCases(t) })
	t.Run("I-3", func(t *testing.T) { m.checkOrders(t) })
	t.Run("I-5", func(t *testing.T) { m.checkMessages(t) })
	t.Run("I-6", func(t *testing.T) { m.checkScans(t); m.checkFinal(t) })
	t.Run("I-7", func(t *testing.T) { m.checkDelivered(t) })
	t.Run("I-8", func(t *testing.T) { m.checkFeed(t) })
	t.Run("I-9", func(t *testing.T) { m.checkLog(t) })
}

// figures prints what the month was made of.
func (m *month) figures() {
	l := m.ems.Ledger()
	list := func(counts map[string]int) string {
		var parts []string
		for _, k := range slices.Sorted(maps.Keys(counts)) {
			parts = append(parts, fmt.Sprintf("%s %d", k, counts[k]))
		}
		return strings.Join(parts, ", ")
	}
	faults := map[string]int{}
	hit := 0
	for k, n := range l.Faults {
		faults[string(k)], hit = n, hit+n
	}
	for _, k := range orderFaults {
		if l.Faults[k] == 0 && !testing.Short() {
			m.t.Errorf("the fault %s never came up", k)
		}
	}
	m.t.Logf("calls that EMS carried out: %s; refused: %s", list(l.Calls), list(l.Refused))
	m.t.Logf("%d faults: %s", hit, list(faults))
	m.t.Logf("pushes: %+v", l.Pushes)
	m.t.Logf("rounds that failed: %s; time: %v", list(m.failed), m.took)
	for what, query := range map[string]string{
		"deliveries": `SELECT status AS k, count(*) AS n FROM deliveries GROUP BY 1`,
		"cases":      `SELECT kind || CASE WHEN closed_at IS NULL THEN ' open' ELSE ' closed' END AS k, count(*) AS n FROM cases GROUP BY 1`,
		"messages":   `SELECT state || ' ' || verdict AS k, count(*) AS n FROM messages GROUP BY 1`,
		"events":     `SELECT 'all' AS k, count(*) AS n FROM events`,
		"scans":      `SELECT 'all' AS k, count(*) AS n FROM scans`,
	} {
		m.t.Logf("%s: %s", what, list(m.counts(query)))
	}
}

func (m *month) counts(query string, args ...any) map[string]int {
	m.t.Helper()
	var rows []struct {
		K string `db:"k"`
		N int    `db:"n"`
	}
	if err := m.app.db.SelectContext(context.WithoutCancel(m.t.Context()), &rows, query, args...); err != nil {
		m.t.Fatal(err)
	}
	counts := map[string]int{}
	for _, r := range rows {
		counts[r.K] = r.N
	}
	return counts
}
