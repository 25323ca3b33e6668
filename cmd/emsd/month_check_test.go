package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"emsd/courier"
	"emsd/courier/emssim"
	"emsd/notify"
	"emsd/tracking"

	"github.com/google/uuid"
)

// wants is where an envelope has to end, by the simulator's books or by the odd journey's own word.
func (m *month) wants() map[uuid.UUID]courier.Status {
	want := map[uuid.UUID]courier.Status{}
	drawn := m.drawn()
	for _, e := range m.envelopes {
		switch outcome := drawn[e.no]; {
		case e.odd != nil:
			want[e.id] = e.odd.status
		case outcome == emssim.OutcomeReturned || outcome == emssim.OutcomeIntercepted:
			want[e.id] = courier.Returned
		case outcome == emssim.OutcomeLost:
			want[e.id] = courier.Lost
		case outcome == emssim.OutcomeSilent:
			want[e.id] = courier.Accepted
		default:
			want[e.id] = courier.Delivered
		}
	}
	return want
}

// drawn gives the outcome of each waybill by the simulator's books.
func (m *month) drawn() map[string]emssim.Outcome {
	drawn := map[string]emssim.Outcome{}
	for _, o := range m.ems.Ledger().Orders {
		if !o.Cancelled {
			drawn[o.WaybillNo] = o.Outcome
		}
	}
	return drawn
}

// A monthRow is a delivery as the service has it in the end.
type monthRow struct {
	ID        uuid.UUID      `db:"id"`
	Status    courier.Status `db:"status"`
	No        string         `db:"waybill_no"`
	OrderNo   string         `db:"order_no"`
	OrderedAt time.Time      `db:"ordered_at"`
	IDChecked bool           `db:"id_checked"`
	Cases     string         `db:"cases"` // ever
	Open      string         `db:"open"`
}

func (m *month) rows(t *testing.T) []monthRow {
	t.Helper()
	var rows []monthRow
	err := m.app.db.Select(&rows, `
		SELECT d.id, d.status, coalesce(d.waybill_no, '') AS waybill_no, coalesce(d.order_no, '') AS order_no, coalesce(w.ordered_at, d.created_at) AS ordered_at,
			d.id_checked, coalesce((SELECT string_agg(kind, ' ') FROM cases c WHERE c.delivery_id = d.id), '') AS cases,
			coalesce((SELECT string_agg(kind, ' ') FROM cases c WHERE c.delivery_id = d.id AND c.closed_at IS NULL), '') AS open
		FROM deliveries d LEFT JOIN waybills w ON w.delivery_id = d.id`)
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != len(m.envelopes) {
		t.Errorf("%d deliveries for %d envelopes", len(rows), len(m.envelopes))
	}
	return rows
}

func has(list string, kind courier.CaseKind) bool {
	return slices.Contains(strings.Fields(list), string(kind))
}

// checkTruth: every envelope is where EMS has it.
func (m *month) checkTruth(t *testing.T) {
	want := m.wants()
	for _, r := range m.rows(t) {
		if e := m.byID[r.ID]; r.Status != want[r.ID] {
			t.Errorf("%s is %s, want %s; cases %q; EMS says %s", e, r.Status, want[r.ID], r.Cases, trail(m.ems.Trace(e.no)))
		}
	}
}

// trail is a trace in one line.
func trail(scans []emssim.Scan) string {
	var b strings.Builder
	for _, s := range scans {
		b.WriteString(" " + s.At.In(beijing).Format("02T15:04") + "=" + s.OpCode)
		if s.DeliverCode+s.AttemptCode != "" {
			b.WriteString("/" + s.DeliverCode + s.AttemptCode)
		}
	}
	return b.String()
}

// checkCases: what is not as it should be has a case that a clerk was told of.
func (m *month) checkCases(t *testing.T) {
	drawn := m.drawn()
	for _, r := range m.rows(t) {
		e := m.byID[r.ID]
		var want, open []courier.CaseKind
		if e.odd != nil {
			want = e.odd.cases
		} else {
			switch drawn[e.no] {
			case emssim.OutcomeReturned, emssim.OutcomeIntercepted:
				open = append(open, courier.CaseReturned)
			case emssim.OutcomeLost:
				open = append(open, courier.CaseLost)
			case emssim.OutcomeDoor, emssim.OutcomeFrontDesk:
				open = append(open, courier.CaseDeliveredElsewhere)
			case emssim.OutcomeAgent:
				if !r.IDChecked {
					open = append(open, courier.CaseDeliveredElsewhere)
				}
			}
		}
		for _, k := range open {
			if !has(r.Open, k) {
				t.Errorf("%s is %s and has no open case %s, only %q", e, r.Status, k, r.Open)
			}
		}
		for _, k := range want {
			if !has(r.Cases, k) {
				t.Errorf("%s is %s and never had a case %s, only %q", e, r.Status, k, r.Cases)
			}
		}
		if r.Status == courier.Delivered && e.odd == nil && len(open) == 0 && has(r.Open, courier.CaseDeliveredElsewhere) && !r.IDChecked &&
			drawn[e.no] != emssim.OutcomeAgent {
			t.Errorf("%s was given to its holder and has the open cases %q", e, r.Open)
		}
		if !r.Status.Final() && !has(r.Open, courier.CaseStalled) {
			t.Errorf("%s rests at %s and no clerk knows: open cases %q", e, r.Status, r.Open)
		}
	}
}

// checkOrders (I-3): one paid order per envelope, whatever EMS answered. A second waybill that EMS made by itself may stand
// only where nobody can know of it, since the reply that named it was lost, or where a clerk was told.
func (m *month) checkOrders(t *testing.T) {
	paid := map[string][]string{}
	for _, o := range m.ems.Ledger().Orders {
		if !o.Cancelled {
			paid[o.OrderNo] = append(paid[o.OrderNo], o.WaybillNo)
		}
	}
	lost := m.counts(`SELECT order_no AS k, count(*) AS n FROM order_attempts WHERE call <> 'cancel' AND outcome = 'unknown' GROUP BY 1`)
	strangers := 0
	for _, r := range m.rows(t) {
		got := paid[r.OrderNo]
		switch {
		case len(got) == 1 && got[0] == r.No:
		case len(got) == 2 && slices.Contains(got, r.No) && (lost[r.OrderNo] > 0 || has(r.Cases, courier.CaseOrderUnknown)):
			strangers++
			t.Logf("%s has the waybill %q, EMS was paid for %q: %d replies lost, cases %q", m.byID[r.ID], r.No, got, lost[r.OrderNo], r.Cases)
		default:
			t.Errorf("%s has the waybill %q, EMS was paid for %q; cases %q", m.byID[r.ID], r.No, got, r.Cases)
		}
		delete(paid, r.OrderNo)
	}
	if len(paid) > 0 {
		t.Errorf("EMS was paid for %d orders that nobody knows", len(paid))
	}
	if made := m.ems.Ledger().Faults[emssim.DuplicateWaybill]; strangers > max(1, made/10) {
		t.Errorf("of %d waybills that EMS made beside ours %d stand", made, strangers)
	}
}

// checkMessages (I-5): by the gateway's books no resident was told the same twice, nor of what came late or was taken
// back.
func (m *month) checkMessages(t *testing.T) {
	var attempts []struct {
		ID        uuid.UUID        `db:"id"`
		Delivery  uuid.UUID        `db:"delivery_id"`
		Milestone notify.Milestone `db:"milestone"`
		EventAt   time.Time        `db:"at"`
		Data      []byte           `db:"data"`
	}
	if err := m.app.db.Select(&attempts, `SELECT a.id, m.delivery_id, m.milestone, e.at, e.data FROM message_attempts a
		JOIN messages m ON m.id = a.message_id JOIN events e ON e.position = m.position AND e.delivery_id = m.delivery_id`); err != nil {
		t.Fatal(err)
	}
	byID := map[string]int{}
	for i, a := range attempts {
		byID[a.ID.String()] = i
	}
	told := map[string]int{}
	for _, s := range m.sms.Messages() {
		i, ok := byID[s.OutID]
		if !ok {
			t.Errorf("the gateway has a message under %s, which is no attempt", s.OutID)
			continue
		}
		a := attempts[i]
		e := m.byID[a.Delivery]
		if s.Phone != e.phone {
			t.Errorf("%s: the message %s went to another's phone", e, a.Milestone)
		}
		if told[s.Phone+string(a.Milestone)]++; told[s.Phone+string(a.Milestone)] > 1 {
			t.Errorf("%s was told %s twice", e, a.Milestone)
		}
		var data courier.EventData
		if err := json.Unmarshal(a.Data, &data); err != nil {
			t.Fatal(err)
		}
		if data.Late || data.Withdrawn {
			t.Errorf("%s was told %s by an event that is late or withdrawn: %s", e, a.Milestone, a.Data)
		}
		if happened, err := time.Parse(time.RFC3339, data.ScanAt); err == nil && a.EventAt.Sub(happened) > 24*time.Hour {
			t.Errorf("%s was told %s, which happened at %s and was seen at %s", e, a.Milestone, happened, a.EventAt)
		}
		if e.odd != nil && slices.Contains(e.odd.untold, a.Milestone) {
			t.Errorf("%s was told %s", e, a.Milestone)
		}
	}
	if len(told) < 2*len(m.envelopes) {
		t.Errorf("%d messages for %d envelopes", len(told), len(m.envelopes))
	}
}

// A monthScan is a stored scan.
type monthScan struct {
	Delivery    uuid.UUID  `db:"delivery_id"`
	At          time.Time  `db:"op_at"`
	Code        string     `db:"op_code"`
	OrgCode     string     `db:"org_code"`
	DeliverCode string     `db:"deliver_code"`
	AttemptCode string     `db:"attempt_code"`
	SaidClass   string     `db:"said_class"`
	SaidUntil   *time.Time `db:"said_until"`
	SeenAt      time.Time  `db:"seen_at"`
}

func (m *month) scans(t *testing.T) map[uuid.UUID][]monthScan {
	t.Helper()
	var rows []monthScan
	if err := m.app.db.Select(&rows, `SELECT delivery_id, op_at, op_code, org_code, deliver_code, attempt_code, said_class, said_until, seen_at FROM scans`); err != nil {
		t.Fatal(err)
	}
	of := map[uuid.UUID][]monthScan{}
	for _, r := range rows {
		of[r.Delivery] = append(of[r.Delivery], r)
	}
	return of
}

// checkScans (I-6): what EMS shows is what is stored, and folding it gives the stored status.
func (m *month) checkScans(t *testing.T) {
	if report, err := m.app.refolder().Refold(t.Context(), tracking.RefoldScope{}, "test", true); err != nil || report.Changed > 0 || report.Looked != len(m.envelopes) {
		t.Errorf("computed again from %d of %d traces, %d would change: %q, %v", report.Looked, len(m.envelopes), report.Changed, report.Lines(), err)
	}
	stored := m.scans(t)
	book := tracking.DefaultRulebook()
	type identity struct {
		at        int64
		code, org string
	}
	for _, r := range m.rows(t) {
		e := m.byID[r.ID]
		have := map[identity]bool{}
		var all []courier.Scan
		for _, s := range stored[r.ID] {
			have[identity{s.At.Unix(), s.Code, s.OrgCode}] = true
			if s.At.Sub(s.SeenAt) > 24*time.Hour {
				continue // a time that is wrong
			}
			c := courier.Scan{DeliveryID: r.ID, WaybillNo: r.No, At: s.At.UTC(), Code: s.Code, OrgCode: s.OrgCode, DeliverCode: s.DeliverCode,
				AttemptCode: s.AttemptCode, SaidClass: s.SaidClass}
			if s.SaidUntil != nil {
				y, mo, d := s.SaidUntil.Date()
				c.SaidUntil = time.Date(y, mo, d, 0, 0, 0, 0, beijing)
			}
			all = append(all, c)
		}
		shown := map[identity]bool{}
		for _, s := range m.ems.Trace(e.no) {
			shown[identity{s.At.Unix(), s.OpCode, s.OrgCode}] = true
		}
		for id := range shown {
			if !have[id] {
				t.Errorf("%s: scan %s of %s is not stored", e, id.code, time.Unix(id.at, 0).In(beijing))
			}
		}
		for id := range have {
			if !shown[id] {
				t.Errorf("%s: EMS never had scan %s of %s", e, id.code, time.Unix(id.at, 0).In(beijing))
			}
		}
		if got := book.Fold(all, tracking.Envelope{OrderedAt: r.OrderedAt, IDChecked: r.IDChecked}).Status; got != r.Status {
			t.Errorf("%s is %s, its scans say %s", e, r.Status, got)
		}
	}
}

// checkFinal (I-6): a final status is left by a named rule only.
func (m *month) checkFinal(t *testing.T) {
	var events []struct {
		Delivery uuid.UUID         `db:"delivery_id"`
		Type     courier.EventType `db:"type"`
		Data     []byte            `db:"data"`
	}
	if err := m.app.db.Select(&events, `SELECT delivery_id, type, data FROM events WHERE type LIKE 'delivery.%' ORDER BY delivery_id, seq`); err != nil {
		t.Fatal(err)
	}
	left := map[string]int{}
	standing := map[uuid.UUID]courier.Status{}
	for _, ev := range events {
		var data courier.EventData
		if err := json.Unmarshal(ev.Data, &data); err != nil {
			t.Fatal(err)
		}
		if was := standing[ev.Delivery]; was != "" && was.Final() {
			if data.Rule == "" {
				t.Errorf("%s left %s by %s without a rule: %s", m.byID[ev.Delivery], was, ev.Type, ev.Data)
			}
			left[string(was)+" by "+data.Rule]++
		}
		standing[ev.Delivery] = courier.Status(strings.TrimPrefix(string(ev.Type), "delivery."))
	}
	t.Logf("final statuses left: %v", left)
	if len(left) < 3 {
		t.Errorf("final statuses were left by %v: the month lacks voided deliveries, returns after delivery or things found", left)
	}
	for _, r := range m.rows(t) {
		if standing[r.ID] != r.Status {
			t.Errorf("%s is %s, its last event says %s", m.byID[r.ID], r.Status, standing[r.ID])
		}
	}
}

// checkSeenDelivered (I-7), each day: nothing is delivered for which EMS does not show a 704 or 748.
func (m *month) checkSeenDelivered() {
	m.t.Helper()
	var rows []struct {
		ID uuid.UUID `db:"id"`
		No string    `db:"waybill_no"`
	}
	if err := m.app.db.Select(&rows, `SELECT id, waybill_no FROM deliveries WHERE status = 'delivered'`); err != nil {
		m.t.Fatal(err)
	}
	now := m.clock.now()
	for _, r := range rows {
		e := m.byID[r.ID]
		if !slices.ContainsFunc(m.ems.Trace(r.No), func(s emssim.Scan) bool {
			return s.OpCode == "748" || s.OpCode == "704" && s.DeliverCode != "180" && s.At.Before(now) && now.Sub(s.At) < 60*24*time.Hour
		}) {
			m.t.Errorf("on %s %s is delivered and EMS shows %s", now, e, trail(m.ems.Trace(r.No)))
		}
	}
}

// checkDelivered (I-7) is the same at the end, and for every event that said so on the way.
func (m *month) checkDelivered(t *testing.T) {
	m.checkSeenDelivered()
	var n int
	if err := m.app.db.Get(&n, `SELECT count(*) FROM events e WHERE e.type = 'delivery.delivered' AND NOT EXISTS (
		SELECT 1 FROM scans s WHERE s.delivery_id = e.delivery_id AND s.op_code IN ('704', '748') AND s.deliver_code <> '180' AND s.seen_at <= e.at)`); err != nil {
		t.Fatal(err)
	}
	if n > 0 {
		t.Errorf("%d deliveries were called delivered before EMS had said so", n)
	}
	if err := m.app.db.Get(&n, `SELECT count(*) FROM push_hints`); err != nil || n > 0 {
		t.Errorf("%d hints are left: %v", n, err)
	}
}

// checkFeed (I-8): positions without a gap, and nothing unpublished.
func (m *month) checkFeed(t *testing.T) {
	var feed struct {
		N, Last, Distinct, Unpublished int
	}
	if err := m.app.db.Get(&feed, `SELECT count(position) AS n, coalesce(max(position), 0) AS last, count(DISTINCT position) AS distinct,
		count(*) FILTER (WHERE position IS NULL) AS unpublished FROM events`); err != nil {
		t.Fatal(err)
	}
	if feed.N != feed.Last || feed.N != feed.Distinct || feed.Unpublished > 0 {
		t.Errorf("the feed: %+v", feed)
	}
}

// checkLog (I-9): nobody's phone and no courier's words are in the log, written at its finest.
func (m *month) checkLog(t *testing.T) {
	text := m.log.String()
	for _, e := range m.envelopes {
		if strings.Contains(text, e.phone) {
			t.Errorf("the log holds the phone of %s", e)
		}
	}
	for _, words := range []string{"欧阳测试", "试验胡同", "快递员", "已签收"} {
		if strings.Contains(text, words) {
			t.Errorf("the log holds %q", words)
		}
	}
}
