package notify

import (
	"time"

	"emsd/courier"
)

// States of a message. Unknown, accepted and delivered messages have, or may have, left for good.
const (
	queued     = "queued"
	sending    = "sending"
	unknown    = "unknown"
	accepted   = "accepted"
	delivered  = "delivered"
	failed     = "failed"
	suppressed = "suppressed"
)

// States of an attempt that no message has.
const (
	rejected = "rejected"
	unsent   = "unsent"
	absent   = "absent" // the gateway does not know it, asked long enough, and would know it
	// abandoned: the gateway cannot tell, and no receipt came
	abandoned = "abandoned"
)

// A Milestone is something a resident is told about, once per delivery. The names of texts are of this type, too: a
// milestone, or one of PasswordTemplates, with .en behind it in English.
type Milestone string

const (
	PaymentDue     Milestone = "payment_due"      // the applicant has to pay the postage
	HandedOver     Milestone = "handed_over"      // EMS has the envelope
	OutForDelivery Milestone = "out_for_delivery" // the courier is on the way to the door
	AttemptFailed  Milestone = "attempt_failed"   // tried in vain; will be tried again
	Held           Milestone = "held"             // waits at a counter until a last day
	Delivered      Milestone = "delivered"        // in the holder's hands
	Returned       Milestone = "returned"         // back at the issuing police station
	Cancelled      Milestone = "cancelled"        // stopped before hand-over
)

// Milestones lists every milestone in the order of the life-cycle.
var Milestones = []Milestone{PaymentDue, HandedOver, OutForDelivery, AttemptFailed, Held, Delivered, Returned, Cancelled}

// tellable lists the statuses in which a milestone is still the news. The sets are disjoint, so at any moment at most
// one milestone of a delivery may be sent.
var tellable = map[Milestone][]courier.Status{
	PaymentDue:     {courier.AwaitingPayment},
	HandedOver:     {courier.Accepted, courier.InTransit},
	OutForDelivery: {courier.OutForDelivery},
	AttemptFailed:  {courier.AttemptFailed},
	Held:           {courier.Held},
	Delivered:      {courier.Delivered},
	Returned:       {courier.Returned},
	Cancelled:      {courier.Cancelled},
}

// stage orders milestones as far as the way of an envelope does. Between the first try and the last, days repeat, so
// that there the order of the events decides.
func (m Milestone) stage() int {
	switch m {
	case PaymentDue:
		return 0
	case HandedOver:
		return 1
	case OutForDelivery, AttemptFailed, Held:
		return 2
	}
	return 3
}

// milestoneOf tells which milestone an event is about, if any. An envelope whose acceptance was never scanned is
// handed over when it is first seen in transit.
func milestoneOf(e courier.Event) (Milestone, bool) {
	for m, statuses := range tellable {
		for _, s := range statuses {
			if e.Type == courier.StatusEvent(s) {
				return m, true
			}
		}
	}
	return "", false
}

// Vars is what a message keeps of its event: nothing of it is personal (I-9).
type Vars struct {
	WaybillNo string `json:"waybill_no,omitempty"`
	FeeFen    int64  `json:"fee_fen,omitempty"`
	HeldUntil string `json:"held_until,omitempty"` // yyyy-mm-dd
	Receiver  string `json:"receiver,omitempty"`   // recipient class of a delivery
	Receipt   string `json:"receipt,omitempty"`    // what the class means: fine, ask or case
	Attempt   string `json:"attempt,omitempty"`    // why a try delivered nothing
}

// A Message is one thing to tell one resident.
type Message struct {
	Milestone Milestone
	Position  int64     // of its event in the feed: of two messages of one stage, the higher is the later news
	EventAt   time.Time // when it happened, by the scan
	Vars      Vars
}
