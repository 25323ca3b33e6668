package courier

import "slices"

// A Status says where a delivery stands.
type Status string

const (
	Refused         Status = "refused"          // a rule said no; rule and reason are kept
	AwaitingPayment Status = "awaiting_payment" // eligible and quoted; waits for the applicant's money
	Approved        Status = "approved"         // payment rule met; may be ordered
	Ordering        Status = "ordering"         // a number is reserved and stored; EMS may or may not have the order
	Ordered         Status = "ordered"          // EMS confirmed; waits for hand-over
	Accepted        Status = "accepted"         // EMS has the envelope
	InTransit       Status = "in_transit"       // between accepting and delivering branch
	OutForDelivery  Status = "out_for_delivery" // with the courier
	AttemptFailed   Status = "attempt_failed"   // tried; will be tried again
	Held            Status = "held"             // waits at a counter or in a locker
	Delivered       Status = "delivered"        // handed over
	Returning       Status = "returning"        // on its way back
	Returned        Status = "returned"         // back at the issuing police station
	Lost            Status = "lost"             // declared lost by a person or by EMS's compensation codes
	Cancelled       Status = "cancelled"        // stopped before hand-over
)

// Statuses lists every status in the order of the life-cycle.
var Statuses = []Status{Refused, AwaitingPayment, Approved, Ordering, Ordered, Accepted, InTransit, OutForDelivery,
	AttemptFailed, Held, Delivered, Returning, Returned, Lost, Cancelled}

// onTheWay lists what tracking may make of an envelope that EMS has: scans come late and in bunches, so that any of
// them may be the first one seen.
var onTheWay = []Status{Accepted, InTransit, OutForDelivery, AttemptFailed, Held, Delivered, Returning, Returned, Lost}

// next lists what may follow each status; a status missing here is final.
var next = map[Status][]Status{
	AwaitingPayment: {Approved, Cancelled},
	Approved:        {Ordering, Cancelled, AwaitingPayment},             // back when a new address costs more than was paid
	Ordering:        {Ordered, Approved, Cancelled},                     // back only when surely nothing was sent, or a clerk mended what EMS refused
	Ordered:         append([]Status{Cancelled, Approved}, onTheWay...), // approved again when EMS has cancelled it for a new address
	Accepted:        append([]Status{Ordered}, onTheWay...),             // back when the acceptance was voided (207, 212)
	InTransit:       append([]Status{Ordered}, onTheWay...),
	OutForDelivery:  append([]Status{Ordered}, onTheWay...),
	AttemptFailed:   append([]Status{Ordered}, onTheWay...),
	Held:            append([]Status{Ordered}, onTheWay...),
	Returning:       append([]Status{Ordered}, onTheWay...),
}

// reopened lists what may follow a final status when a named rule says so (I-6): a voided scan (743 takes back 704),
// a return after delivery (741), or a person who found what was declared lost.
var reopened = map[Status][]Status{
	Delivered: {Ordered, Accepted, InTransit, OutForDelivery, AttemptFailed, Held, Returning, Returned, Lost},
	Returned:  {Ordered, Accepted, InTransit, OutForDelivery, AttemptFailed, Held, Delivered, Returning, Lost},
	Lost:      {Ordered, Accepted, InTransit, OutForDelivery, AttemptFailed, Held, Delivered, Returning, Returned},
}

// Final reports whether nothing follows s unless a named rule reopens it.
func (s Status) Final() bool { return len(next[s]) == 0 }

// Live reports whether s keeps another delivery of the same permit from being made (I-3).
func (s Status) Live() bool { return !s.Final() }

// MayBecome reports whether a delivery may go from s to t; rule names what reopens a final status, and is empty otherwise.
func (s Status) MayBecome(t Status, rule string) bool {
	if slices.Contains(next[s], t) && s != t {
		return true
	}
	return rule != "" && slices.Contains(reopened[s], t)
}
