package main

import (
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"

	"emsd/courier"
	"emsd/courier/emssim"
	"emsd/notify/smssim"
)

// A checked is one line at the end of the demo: what was checked, what was found, and what is wrong with it.
type checked struct {
	name  string
	fine  string
	wrong []string
}

func (c *checked) fail(format string, args ...any) {
	c.wrong = append(c.wrong, fmt.Sprintf(format, args...))
}

// A verdict compares what the service says with the file and with the simulators' books.
type verdict struct {
	permits  []demoPermit
	stations map[string]string
	rows     []demoDelivery
	messages []demoMessage
	ledger   emssim.Ledger
	sms      []smssim.Message
	log      string

	subscriber *demoSubscriber
	feed       []courier.Event

	faults bool // the simulators misbehaved
	lookup func(phone string) string
}

func (v verdict) checks() []checked {
	return []checked{v.delivered(), v.outcomes(), v.refused(), v.orders(), v.milestones(), v.unpaid(), v.cancelled(), v.hooks(), v.private()}
}

// delivered: every envelope that EMS took rests where EMS says that it does.
func (v verdict) delivered() checked {
	c := checked{name: "eligible delivered"}
	byOrder := map[string]emssim.LedgerOrder{}
	for _, o := range v.ledger.Orders {
		if !o.Cancelled {
			byOrder[o.OrderNo] = o
		}
	}
	n, door := 0, 0
	for _, r := range v.rows {
		if r.Status == courier.Refused || r.Status == courier.Cancelled || r.Status == courier.AwaitingPayment {
			continue
		}
		o, ok := byOrder[r.OrderNo]
		switch {
		case !ok && r.Status == courier.Ordering && slices.Contains(r.openCases(), string(courier.CaseOrderRefused)):
			// EMS refused the order: a clerk's work
		case !ok:
			c.fail("%s is %s and EMS has no order for it", r.PermitNo, r.Status)
		case o.WaybillNo != r.WaybillNo:
			c.fail("%s has waybill %s, EMS made %s", r.PermitNo, r.WaybillNo, o.WaybillNo)
		case r.Status != restsAt(o.Outcome):
			c.fail("%s is %s, its journey was %s", r.PermitNo, r.Status, o.Outcome)
		case o.Outcome == emssim.OutcomeDoor && !slices.Contains(r.openCases(), string(courier.CaseDeliveredElsewhere)):
			c.fail("%s lies at a door and no clerk was told", r.PermitNo)
		default:
			n++
			if o.Outcome == emssim.OutcomeDoor {
				door++
			}
		}
	}
	if n == 0 {
		c.fail("no envelope came to its end")
	}
	c.fine = fmt.Sprintf("%d envelopes rest where EMS says, %d of them a case for a clerk", n, door)
	return c
}

// refused: each permit that a rule forbids was refused by just that rule, and no other was.
func (v verdict) refused() checked {
	c := checked{name: "ineligible refused by rule id"}
	byPermit := map[string]demoDelivery{}
	for _, r := range v.rows {
		byPermit[r.PermitNo] = r
	}
	want := 0
	for _, p := range v.permits {
		rule := p.expectedRule(v.stations)
		r, ok := byPermit[p.v["permit_no"]]
		if !ok {
			continue // a row with faults: told by the import
		}
		if rule != "" {
			want++
		}
		if r.Rule != rule {
			c.fail("row %d, %s: refused by %q, want %q", p.number, r.PermitNo, r.Rule, rule)
		}
	}
	c.fine = fmt.Sprintf("%d refused, each by its rule", want)
	return c
}

// orders: EMS was paid for one envelope per delivery and for nothing that the service does not know.
func (v verdict) orders() checked {
	c := checked{name: "orders per delivery = 1"}
	paid := map[string]int{}
	for _, o := range v.ledger.Orders {
		if !o.Cancelled {
			paid[o.OrderNo]++
		}
	}
	for _, r := range v.rows {
		n := paid[r.OrderNo]
		delete(paid, r.OrderNo)
		ordered := !slices.Contains([]courier.Status{courier.Refused, courier.AwaitingPayment, courier.Approved, courier.Cancelled}, r.Status)
		refused := r.Status == courier.Ordering && slices.Contains(r.openCases(), string(courier.CaseOrderRefused))
		switch {
		case ordered && !refused && n != 1:
			c.fail("%s (%s): EMS has %d orders", r.PermitNo, r.Status, n)
		case (!ordered || refused) && n != 0:
			c.fail("%s (%s): EMS has %d orders, want none", r.PermitNo, r.Status, n)
		}
	}
	for no := range paid {
		c.fail("EMS has order %s, which nobody knows", no)
	}
	c.fine = fmt.Sprintf("%d calls made %d orders", v.ledger.Calls["020003"], len(v.ledger.Orders))
	return c
}

// milestones: no resident was told the same thing twice.
func (v verdict) milestones() checked {
	c := checked{name: "messages per milestone ≤ 1"}
	type news struct{ number, milestone string }
	of, deliveries := map[string]demoMessage{}, map[news]map[string]bool{}
	for _, m := range v.messages {
		of[m.AttemptID] = m
		k := news{string(m.Number), m.Milestone}
		if deliveries[k] == nil {
			deliveries[k] = map[string]bool{}
		}
		deliveries[k][m.DeliveryID] = true
	}
	milestones := milestoneOfTemplate()
	sent, told := map[string]int{}, map[news]int{}
	for _, s := range v.sms {
		// Over all gateways, of which one does not know our ids.
		k := news{v.lookup(s.Phone), milestones[strings.TrimPrefix(s.Template, demoPrefix)]}
		if told[k]++; told[k] > len(deliveries[k]) {
			c.fail("a number was told %s %d times, %s the last, for %d deliveries", k.milestone, told[k], s.Gateway, len(deliveries[k]))
		}
		if s.OutID == "" {
			continue
		}
		m, ok := of[s.OutID]
		if !ok {
			c.fail("the gateway has message %s, which nobody knows", s.OutID)
			continue
		}
		if sent[m.DeliveryID+m.Milestone]++; sent[m.DeliveryID+m.Milestone] > 1 {
			c.fail("delivery %s was told %s twice", m.DeliveryID, m.Milestone)
		}
	}
	if len(v.sms) == 0 {
		c.fail("no message was sent")
	}
	by, english := map[string]int{}, 0
	for _, s := range v.sms {
		by[s.Gateway]++
		if strings.Contains(demoEnglish, `"`+s.Template+`"`) {
			english++
		}
	}
	c.fine = fmt.Sprintf("%d messages", len(v.sms))
	for _, gateway := range slices.Sorted(maps.Keys(by)) {
		c.fine += fmt.Sprintf(", %s %d", gateway, by[gateway])
	}
	c.fine += fmt.Sprintf("; %d in English", english)
	return c
}

// milestoneOfTemplate reads demoBilingual backwards: in either language a text tells the same.
func milestoneOfTemplate() map[string]string {
	var templates map[string]string
	if err := json.Unmarshal([]byte(demoBilingual), &templates); err != nil {
		panic(fmt.Sprintf("demo templates: %v", err))
	}
	milestones := map[string]string{}
	for m, code := range templates {
		milestones[strings.TrimPrefix(code, demoPrefix)] = strings.TrimSuffix(m, ".en")
	}
	return milestones
}

// unpaid: nothing went to EMS before its postage was paid, or was to be collected.
func (v verdict) unpaid() checked {
	c := checked{name: "unpaid never ordered"}
	ordered := map[string]emssim.LedgerOrder{}
	for _, o := range v.ledger.Orders {
		ordered[o.OrderNo] = o
	}
	money := v.paidByFile()
	waiting := 0
	for _, r := range v.rows {
		if r.Status == courier.AwaitingPayment {
			waiting++
		}
		o, ok := ordered[r.OrderNo]
		if !ok {
			continue
		}
		if r.PaymentMethod == "prepaid" && (money[r.PermitNo] < r.FeeFen || o.PaymentMode != "1") {
			c.fail("%s: %d of %d fen paid by the file, ordered with payment mode %s", r.PermitNo, money[r.PermitNo], r.FeeFen, o.PaymentMode)
		}
		if r.PaymentMethod == "collect" && o.PaymentMode != "2" {
			c.fail("%s: to be collected, ordered with payment mode %s", r.PermitNo, o.PaymentMode)
		}
	}
	c.fine = fmt.Sprintf("%d wait for their money", waiting)
	return c
}

// paidByFile sums what the file says was paid, each transaction once.
func (v verdict) paidByFile() map[string]int64 {
	seen, sum := map[string]bool{}, map[string]int64{}
	for _, p := range v.permits {
		no := p.v["transaction_no"]
		fen, err := strconv.ParseInt(p.v["paid_fen"], 10, 64)
		if no == "" || err != nil || seen[no] {
			continue
		}
		seen[no] = true
		sum[p.v["permit_no"]] += fen
	}
	return sum
}

// cancelled: what was paid for a cancelled delivery is to be given back.
func (v verdict) cancelled() checked {
	c := checked{name: "cancelled is cancelled at EMS, money due back"}
	n := 0
	for _, r := range v.rows {
		if r.Status != courier.Cancelled {
			continue
		}
		n++
		if r.PaidFen != r.RefundDueFen {
			c.fail("%s: %d fen paid, %d fen due back", r.PermitNo, r.PaidFen, r.RefundDueFen)
		}
	}
	c.fine = fmt.Sprintf("%d cancelled", n)
	return c
}

// private: nobody's data is in the log, which was written at its finest.
func (v verdict) private() checked {
	c := checked{name: "no personal data in the log"}
	for _, p := range v.permits {
		for _, field := range []string{"name", "phone", "id_no", "address"} {
			if s := p.v[field]; len(s) > 3 && strings.Contains(v.log, s) {
				c.fail("row %d: the log holds its %s", p.number, field)
			}
		}
	}
	if v.log == "" {
		c.fail("nothing was logged, so nothing was checked")
	}
	c.fine = fmt.Sprintf("%d kB searched", len(v.log)/1024)
	return c
}

func keys[V any](m map[string]V) iter.Seq[string] { return maps.Keys(m) }
