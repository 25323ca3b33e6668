package courier

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

// An EventType names a change. "delivery.<status>" says that the delivery took that status.
type EventType string

const (
	EventPayment     EventType = "payment.recorded"
	EventRefundDue   EventType = "refund.due"
	EventRefunded    EventType = "refund.recorded"
	EventCancelAsked EventType = "cancel.requested"
	EventCancelNo    EventType = "cancel.refused"
	EventCaseOpened  EventType = "case.opened"
	EventCaseClosed  EventType = "case.closed"
	EventAddress     EventType = "address.changed"
	EventAddressAsk  EventType = "address.requested"      // of an order that EMS has: its waybill is cancelled first
	EventAddressNo   EventType = "address.refused"        // EMS does not cancel it any more: the envelope goes to the old address
	EventIntervene   EventType = "intervention.requested" // EMS is to do something with an envelope that it has
	EventIntervened  EventType = "intervention.ended"
	EventRetry       EventType = "order.retried"
	EventScan        EventType = "tracking.updated" // new scans that leave the status as it is
	EventCharged     EventType = "postage.charged"  // what EMS charged, beside what was paid

	EventPacked           EventType = "pack.checked"          // the permit lies in the envelope with its label
	EventPackStopped      EventType = "pack.stopped"          // it was scanned with another permit's label: the envelope stays
	EventPackSettled      EventType = "pack.settled"          // two people have looked into it: to be checked again
	EventHandedOver       EventType = "handover.recorded"     // the envelope was given to EMS's courier
	EventReturnReceived   EventType = "return.received"       // the envelope lies at the issuing station
	EventReturnMoved      EventType = "return.moved"          // to another shelf
	EventPickedUp         EventType = "return.picked_up"      // the permit was handed out at the counter: the issue is done
	EventRedispatched     EventType = "return.redispatched"   // it goes out again, as the delivery that superseded_by names
	EventReturnAvailable  EventType = "return.available"      // that delivery was cancelled: it lies on the shelf again
	EventReturnDisposed   EventType = "return.disposed"       // kept to its last day and sent back to the issuing office, or destroyed
	EventNotReceived      EventType = "not_received.reported" // somebody says that the envelope did not arrive
	EventNotReceivedEnded EventType = "not_received.closed"
	EventPermitLost       EventType = "permit.lost" // a person has declared it: void the permit and issue it anew
)

// StatusEvent gives the type of the event of a move to s.
func StatusEvent(s Status) EventType { return EventType("delivery." + string(s)) }

// An Event is one change of a delivery (I-8). Data never holds personal data.
type Event struct {
	DeliveryID uuid.UUID
	Seq        int   // per delivery, from 1
	Position   int64 // in the feed, without gaps; 0 until published
	Type       EventType
	At         time.Time
	Data       json.RawMessage
}

// EventData is what an event may say beyond its type; empty fields are left out.
type EventData struct {
	From      Status   `json:"from,omitempty"`
	Rule      string   `json:"rule,omitempty"` // of a refusal, or that reopened a final status
	WaybillNo string   `json:"waybill_no,omitempty"`
	FeeFen    int64    `json:"fee_fen,omitempty"`
	PaidFen   int64    `json:"paid_fen,omitempty"`
	AmountFen int64    `json:"amount_fen,omitempty"`
	Case      CaseKind `json:"case,omitempty"`
	Outcome   string   `json:"outcome,omitempty"`
	Kind      string   `json:"kind,omitempty"`    // of an intervention: readdress, withdraw, urge, redeliver
	ScanAt    string   `json:"scan_at,omitempty"` // RFC 3339, when it happened by EMS
	ScanCode  string   `json:"scan_code,omitempty"`
	Receiver  string   `json:"receiver,omitempty"`   // recipient class of a delivery
	Receipt   string   `json:"receipt,omitempty"`    // what the class means for a delivery: fine, ask or case
	HeldUntil string   `json:"held_until,omitempty"` // yyyy-mm-dd
	Attempt   string   `json:"attempt,omitempty"`    // why a delivery failed: retry, refused, bad_address, absent, …
	Late      bool     `json:"late,omitempty"`       // the scan lay well behind when it was seen: no message
	Withdrawn bool     `json:"withdrawn,omitempty"`  // the move follows from a voiding scan: no message

	Grew bool `json:"-"` // no part of the event: the trace has grown, which deliveries.tracked_at tells

	HandedOverAt string `json:"handed_over_at,omitempty"` // RFC 3339
	RetainUntil  string `json:"retain_until,omitempty"`   // yyyy-mm-dd, of a return
	Who          string `json:"who,omitempty"`            // holder or agent picked up; resident or clerk said so
	Supersedes   string `json:"supersedes,omitempty"`     // the earlier delivery of the same issue
	SupersededBy string `json:"superseded_by,omitempty"`
}

// inCodes is d with nothing in its texts but codes, numbers and times: events go to other systems and are kept, so what a
// person wrote in words of their own, or EMS sent in the place of a code, is not in them (I-9).
func (d EventData) inCodes() EventData {
	for _, text := range []*string{&d.Rule, &d.Outcome, &d.Kind, &d.ScanAt, &d.ScanCode, &d.Receiver, &d.Receipt, &d.HeldUntil, &d.Attempt,
		&d.HandedOverAt, &d.RetainUntil, &d.Who} {
		if !isCode(*text, 7) {
			*text = inWords
		}
	}
	for _, number := range []*string{&d.WaybillNo, &d.Supersedes, &d.SupersededBy} {
		if !isCode(*number, longestCode) {
			*number = inWords
		}
	}
	return d
}

const (
	inWords     = "other" // stands where somebody said something in words
	longestCode = 64
)

// isCode reports whether a text can be a code, a number or a time, with no more digits in a row than are allowed: a telephone
// or ID number has more.
func isCode(text string, digits int) bool {
	run := 0
	for _, c := range []byte(text) {
		switch {
		case c >= '0' && c <= '9':
			if run++; run > digits {
				return false
			}
			continue
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '_', c == '.', c == ':', c == '+', c == '-':
		default:
			return false
		}
		run = 0
	}
	return len(text) <= longestCode
}

// A Move takes a delivery from one status to another, with its event, if it still stands at From.
type Move struct {
	ID   uuid.UUID
	From Status
	To   Status
	At   time.Time // business time of the move
	Data EventData // From is filled in
}
