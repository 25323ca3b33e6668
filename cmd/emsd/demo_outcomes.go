package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"emsd/courier"
	"emsd/courier/emssim"
	"emsd/notify"
)

// An ending is what an outcome of the simulator must come to: where the delivery rests, the last thing that its resident
// hears, what the resident must not hear, and what is left for a clerk.
type ending struct {
	status courier.Status
	told   notify.Milestone
	untold notify.Milestone
	open   courier.CaseKind
}

// endings are written down from the design, not computed by the service.
var endings = map[emssim.Outcome]ending{
	emssim.OutcomeDelivered:   {status: courier.Delivered, told: notify.Delivered},
	emssim.OutcomeFailedFirst: {status: courier.Delivered, told: notify.Delivered},
	emssim.OutcomeLocker:      {status: courier.Delivered, told: notify.Delivered},
	emssim.OutcomeCounter:     {status: courier.Delivered, told: notify.Delivered},
	emssim.OutcomeDoor:        {status: courier.Delivered, untold: notify.Delivered, open: courier.CaseDeliveredElsewhere},
	emssim.OutcomeAgent:       {status: courier.Delivered, untold: notify.Delivered, open: courier.CaseDeliveredElsewhere},
	emssim.OutcomeFrontDesk:   {status: courier.Delivered, untold: notify.Delivered, open: courier.CaseDeliveredElsewhere},
	emssim.OutcomeReturned:    {status: courier.Returned, told: notify.Returned, untold: notify.Delivered, open: courier.CaseReturned},
	emssim.OutcomeLost:        {status: courier.Lost, untold: notify.Delivered, open: courier.CaseLost},
	emssim.OutcomeSilent:      {status: courier.Accepted, told: notify.HandedOver, untold: notify.Delivered, open: courier.CaseStalled},
}

// Phones that make EMS or the gateway refuse (contract.md).
const (
	phoneOrderRefused = "0007"
	phoneSMSRefused   = "0008"
)

// outcomes: every outcome of the simulator's test numbers ends in the right status, message and case.
func (v verdict) outcomes() checked {
	c := checked{name: "every outcome has its status, message, case"}
	phones := map[string]string{}
	for _, p := range v.permits {
		if phone := p.v["phone"]; len(phone) >= 4 {
			phones[p.v["permit_no"]] = phone[len(phone)-4:]
		}
	}
	journeys := map[string]emssim.Outcome{}
	for _, o := range v.ledger.Orders {
		if !o.Cancelled {
			journeys[o.OrderNo] = emssim.Outcome(o.Outcome)
		}
	}
	seen, told := map[string]int{}, map[string]int{}
	for _, r := range v.rows {
		switch outcome, ordered := journeys[r.OrderNo]; {
		case r.Status == courier.Ordering && phones[r.PermitNo] == phoneOrderRefused:
			seen["order refused"]++
			told["order refused"]++
			v.caseOpen(&c, r, "order refused", courier.CaseOrderRefused)
		case ordered && phones[r.PermitNo] == phoneSMSRefused:
			seen["SMS refused"]++
			if slices.Contains(r.openCases(), string(courier.CaseSMSFailed)) {
				told["SMS refused"]++
			} else if !v.faults { // a reply that was lost is no refusal: nobody knows then that the number takes no messages
				c.fail("%s (SMS refused): no open case %s", r.PermitNo, courier.CaseSMSFailed)
			}
		case ordered:
			seen[string(outcome)]++
			if v.ended(&c, r, outcome) {
				told[string(outcome)]++
			}
		}
	}
	// A message may be held back for a good reason, which is stored; not for every envelope of an outcome.
	for name, n := range seen {
		if n > 2 && told[name] == 0 {
			c.fail("of %d envelopes with the outcome %s no resident heard the end", n, name)
		}
	}
	c.fine = fmt.Sprintf("%d outcomes", len(seen))
	return c
}

func (v verdict) caseOpen(c *checked, r demoDelivery, outcome string, kind courier.CaseKind) {
	if !slices.Contains(r.openCases(), string(kind)) {
		c.fail("%s (%s): no open case %s", r.PermitNo, outcome, kind)
	}
}

// ended checks one delivery; told says that its resident has heard the end, or that there is nothing to hear.
func (v verdict) ended(c *checked, r demoDelivery, outcome emssim.Outcome) (told bool) {
	want, known := endings[outcome]
	if !known {
		return true
	}
	if r.Status != want.status {
		c.fail("%s: %s, want %s after the outcome %s", r.PermitNo, r.Status, want.status, outcome)
		return true
	}
	if want.open != "" {
		v.caseOpen(c, r, string(outcome), want.open)
	}
	if s := r.messageState(want.untold); s != "" && s != "suppressed" {
		c.fail("%s (%s): the message %s is %s", r.PermitNo, outcome, want.untold, s)
	}
	if want.told == "" {
		return true
	}
	s := r.messageState(want.told)
	if s == "" {
		c.fail("%s (%s): nobody decided about the message %s", r.PermitNo, outcome, want.told)
	}
	return s == "accepted" || s == "delivered"
}

// messageState is the state of a delivery's message about a milestone; empty when there is none.
func (d demoDelivery) messageState(m notify.Milestone) string {
	for _, field := range strings.Fields(d.Messages) {
		if milestone, state, ok := strings.Cut(field, ":"); ok && milestone == string(m) && m != "" {
			return state
		}
	}
	return ""
}

// outcomeTable tells for each outcome of the simulator where its deliveries rest, what their residents were told and what
// is open for a clerk.
func (v verdict) outcomeTable(out io.Writer) {
	journeys := map[string]emssim.Outcome{}
	for _, o := range v.ledger.Orders {
		if !o.Cancelled {
			journeys[o.OrderNo] = emssim.Outcome(o.Outcome)
		}
	}
	type line struct {
		n                     int
		statuses, told, cases map[string]int
	}
	lines := map[emssim.Outcome]*line{}
	for _, r := range v.rows {
		o, ok := journeys[r.OrderNo]
		if !ok {
			continue
		}
		l := lines[o]
		if l == nil {
			l = &line{statuses: map[string]int{}, told: map[string]int{}, cases: map[string]int{}}
			lines[o] = l
		}
		l.n++
		l.statuses[string(r.Status)]++
		for _, m := range strings.Fields(r.Messages) {
			if milestone, state, _ := strings.Cut(m, ":"); state == "accepted" || state == "delivered" {
				l.told[milestone]++
			}
		}
		for _, c := range r.openCases() {
			l.cases[c]++
		}
	}
	for _, o := range slices.Sorted(maps.Keys(lines)) {
		l := lines[o]
		fmt.Fprintf(out, "%6d  %-20s %s; told: %s; open: %s\n", l.n, o, tallied(l.statuses), tallied(l.told), tallied(l.cases))
	}
	fmt.Fprintln(out)
}

// tallied writes counts by name.
func tallied(counts map[string]int) string {
	if len(counts) == 0 {
		return "nothing"
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, counts[name]))
	}
	return strings.Join(parts, ", ")
}
