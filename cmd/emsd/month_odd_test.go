package main

import (
	"time"

	"emsd/courier"
	"emsd/courier/emssim"
	"emsd/notify"
)

// An oddScan is a scan of a hand-made journey; times count from ten in the morning after the order.
type oddScan struct {
	at   time.Duration // that it carries
	code string
	who  string        // deliverCode of a 704, attemptDeliveryCode of a 705
	seen time.Duration // when EMS shows it; 0: at its time
}

// An oddJourney is something that happens to envelopes and that the simulator does not do by itself. What must come of it
// is written down from the design.
type oddJourney struct {
	name   string
	scans  []oddScan
	again  string // code of a scan whose text is rewritten a day after the last one
	status courier.Status
	cases  []courier.CaseKind // opened at some time
	untold []notify.Milestone // no message ever
}

const hour = time.Hour

func oddJourneys() []oddJourney {
	way := []oddScan{{at: 0, code: "203"}, {at: 2 * hour, code: "305"}, {at: 6 * hour, code: "954"}, {at: 20 * hour, code: "306"}}
	after := func(more ...oddScan) []oddScan { return append(way[:len(way):len(way)], more...) }
	day := 24 * hour
	return []oddJourney{
		{name: "delivery voided, delivered again the next day", status: courier.Delivered, scans: after(
			oddScan{at: day, code: "702"}, oddScan{at: day + 3*hour, code: "704", who: "10"}, oddScan{at: day + 6*hour, code: "743"},
			oddScan{at: 2 * day, code: "702"}, oddScan{at: 2*day + hour, code: "705", who: "1"}, oddScan{at: 3 * day, code: "702"},
			oddScan{at: 3*day + 2*hour, code: "704", who: "10"})},
		{name: "delivery voided, then returned", status: courier.Returned, cases: []courier.CaseKind{courier.CaseReturned}, scans: after(
			oddScan{at: day, code: "702"}, oddScan{at: day + 3*hour, code: "704", who: "10"}, oddScan{at: day + 6*hour, code: "743"},
			oddScan{at: 2 * day, code: "702"}, oddScan{at: 2*day + hour, code: "705", who: "7"}, oddScan{at: 2*day + 5*hour, code: "708"},
			oddScan{at: 3 * day, code: "305"}, oddScan{at: 4 * day, code: "711"})},
		{name: "a failed attempt voided", status: courier.Delivered, scans: after(
			oddScan{at: day, code: "702"}, oddScan{at: day + hour, code: "705", who: "1"}, oddScan{at: day + 2*hour, code: "744"},
			oddScan{at: day + 5*hour, code: "704", who: "10"})},
		{name: "taken out, taken back in, out again", status: courier.Delivered, scans: after(
			oddScan{at: day, code: "702"}, oddScan{at: day + hour, code: "742"}, oddScan{at: 2 * day, code: "702"},
			oddScan{at: 2*day + hour, code: "704", who: "10"})},
		{name: "text rewritten", status: courier.Delivered, again: "704", scans: after(
			oddScan{at: day, code: "702"}, oddScan{at: day + 2*hour, code: "704", who: "10"})},
		{name: "shown a day and a half late", status: courier.Delivered, untold: []notify.Milestone{notify.OutForDelivery, notify.Delivered},
			scans: after(oddScan{at: day, code: "702", seen: day + 36*hour}, oddScan{at: day + 2*hour, code: "704", who: "10", seen: day + 38*hour})},
		{name: "back-dated after the delivery", status: courier.Delivered, scans: after(
			oddScan{at: day, code: "702"}, oddScan{at: day + 2*hour, code: "704", who: "10"}, oddScan{at: 7 * hour, code: "389", seen: day + 8*hour},
			oddScan{at: 22 * hour, code: "713", seen: day + 9*hour})},
		{name: "unknown codes", status: courier.Delivered, cases: []courier.CaseKind{courier.CaseUnknownCode}, scans: after(
			oddScan{at: 21 * hour, code: "Q9"}, oddScan{at: 22 * hour, code: "998"}, oddScan{at: day, code: "702"},
			oddScan{at: day + 2*hour, code: "704", who: "10"})},
		{name: "scans of an earlier envelope", status: courier.InTransit, untold: []notify.Milestone{notify.OutForDelivery, notify.Delivered},
			scans: append([]oddScan{{at: -200 * day, code: "203", seen: hour}, {at: -199 * day, code: "702", seen: hour},
				{at: -199*day + hour, code: "704", who: "10", seen: hour}}, way...)},
		{name: "a scan from the future", status: courier.Delivered, scans: after(
			oddScan{at: 40 * day, code: "305", seen: 21 * hour}, oddScan{at: day, code: "702"}, oddScan{at: day + 2*hour, code: "704", who: "10"})},
		{name: "delivered in the future only", status: courier.InTransit, untold: []notify.Milestone{notify.Delivered}, scans: after(
			oddScan{at: 400 * day, code: "704", who: "10", seen: 21 * hour})},
		{name: "two scans in one second", status: courier.Delivered, scans: after(
			oddScan{at: day, code: "704", who: "10"}, oddScan{at: day, code: "702"})},
		{name: "the voiding scan comes first", status: courier.Delivered, scans: after(
			oddScan{at: day, code: "702"}, oddScan{at: day + 4*hour, code: "743"},
			oddScan{at: day + 3*hour, code: "704", who: "10", seen: day + 7*hour}, oddScan{at: 2 * day, code: "702"},
			oddScan{at: 2*day + hour, code: "704", who: "10"})},
		{name: "compensation is no delivery", status: courier.OutForDelivery, cases: []courier.CaseKind{courier.CaseLost},
			untold: []notify.Milestone{notify.Delivered}, scans: after(
				oddScan{at: day, code: "702"}, oddScan{at: day + 3*hour, code: "704", who: "180"})},
		{name: "out of the locker again", status: courier.Delivered, scans: after(
			oddScan{at: day, code: "702"}, oddScan{at: day + hour, code: "747"}, oddScan{at: 3 * day, code: "749"},
			oddScan{at: 3*day + hour, code: "702"}, oddScan{at: 3*day + 2*hour, code: "704", who: "10"})},
		{name: "lost and found", status: courier.Delivered, cases: []courier.CaseKind{courier.CaseLost}, scans: after(
			oddScan{at: 3 * day, code: "987"}, oddScan{at: 5 * day, code: "954"}, oddScan{at: 5*day + 5*hour, code: "306"},
			oddScan{at: 6 * day, code: "702"}, oddScan{at: 6*day + hour, code: "705", who: "1"}, oddScan{at: 7 * day, code: "702"},
			oddScan{at: 7*day + 2*hour, code: "704", who: "10"})},
		{name: "returned after delivery", status: courier.Returned, cases: []courier.CaseKind{courier.CaseReturned}, scans: after(
			oddScan{at: day, code: "702"}, oddScan{at: day + 2*hour, code: "704", who: "10"}, oddScan{at: 2 * day, code: "708"},
			oddScan{at: 2*day + 3*hour, code: "305"}, oddScan{at: 2*day + 9*hour, code: "954"}, oddScan{at: 3 * day, code: "306"},
			oddScan{at: 4 * day, code: "711"})},
	}
}

// begin gives EMS the journey of an odd envelope.
func (m *month) begin(e *envelope, waybillNo string) error {
	now := m.clock.now()
	y, mo, d := now.In(beijing).Date()
	base := time.Date(y, mo, d+1, 10, 0, 0, 0, beijing)
	last := base
	for i, o := range e.odd.scans {
		s := emssim.Scan{At: base.Add(o.at), Visible: base.Add(o.at), OpCode: o.code}
		if o.seen != 0 {
			s.Visible = base.Add(o.seen)
		}
		if s.Visible.After(last) {
			last = s.Visible
		}
		switch o.code {
		case "704":
			s.DeliverCode = o.who
		case "705":
			s.AttemptCode = o.who
		}
		if i == 0 { // in the place of the journey that EMS would make up
			if err := m.ems.SetJourney(waybillNo, emssim.Journey{Events: []emssim.JourneyEvent{{OpCode: "651", After: 500 * 24 * hour}}}); err != nil {
				return err
			}
		}
		if err := m.ems.AddScan(waybillNo, s); err != nil {
			return err
		}
	}
	if e.odd.again != "" {
		m.deeds = append(m.deeds, deed{last.Add(24 * hour), func() error {
			return m.ems.AddScan(waybillNo, emssim.Scan{OpCode: e.odd.again, Rewrite: true, OpDesc: "【示例】妥投，本人签收，感谢使用"})
		}})
	}
	return nil
}
