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
	EventRetry       EventType = "order.retried"
	EventScan        EventType = "tracking.updated" // new scans that leave the status as it is
	EventCharged     EventType = "postage.charged"  // what EMS charged, beside what was paid
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
	ScanAt    string   `json:"scan_at,omitempty"` // RFC 3339, when it happened by EMS
	ScanCode  string   `json:"scan_code,omitempty"`
	Receiver  string   `json:"receiver,omitempty"`   // recipient class of a delivery
	Receipt   string   `json:"receipt,omitempty"`    // what the class means for a delivery: fine, ask or case
	HeldUntil string   `json:"held_until,omitempty"` // yyyy-mm-dd
	Late      bool     `json:"late,omitempty"`       // the scan lay well behind when it was seen: no message
	Withdrawn bool     `json:"withdrawn,omitempty"`  // the move follows from a voiding scan: no message
}

// A Move takes a delivery from one status to another, with its event, if it still stands at From.
type Move struct {
	ID   uuid.UUID
	From Status
	To   Status
	At   time.Time // business time of the move
	Data EventData // From is filled in
}
