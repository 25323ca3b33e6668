package courier

import (
	"context"
	"time"

	"emsd/courier/vault"

	"github.com/google/uuid"
)

// A Carrier orders waybills. Every failure is a *CarrierError, whose Kind says what may be done about it.
type Carrier interface {
	// ReserveNumbers asks for count waybill numbers (020002, 1 to 999).
	ReserveNumbers(ctx context.Context, count int) ([]string, error)
	// CreateWaybill orders one paid waybill (020003). It is sent once: a lost reply is Unknown.
	CreateWaybill(ctx context.Context, o Order) (Confirmation, error)
	// CancelWaybill cancels an order before hand-over (020006). It is sent once.
	CancelWaybill(ctx context.Context, orderNo, waybillNo, reason string) error
	// Label fetches the label PDF (010004). ErrNoOrder: EMS holds nothing under the number.
	Label(ctx context.Context, waybillNo string) ([]byte, error)
}

// An Order is what EMS needs to make one waybill.
type Order struct {
	OrderNo     string // logisticsOrderNo, ours, unique for the life of the delivery
	WaybillNo   string // reserved with 020002; empty when EMS assigns one
	CreatedAt   time.Time
	PaymentMode int    // 1 sender's account (prepaid by the applicant), 2 collected from the recipient
	WeightG     int    // grams
	Contents    string // cargo name
	Remarks     string
	Sender      Party
	Recipient   Party

	// What makes right hand-over likely, where the contract with EMS allows it; empty otherwise.
	RecipientID vault.Secret // the holder's ID number, for the courier to check
	Password    vault.Secret // six digits that the courier asks for (密码投递)
}

// A Party is sender or recipient of an order.
type Party struct {
	Name     vault.Secret
	Phone    vault.Secret
	Province string
	City     string
	County   string
	Address  vault.Secret
}

// A Confirmation is EMS's answer to an order.
type Confirmation struct {
	OrderNo   string // echoed
	WaybillNo string
	RouteCode string
	SerialNo  string
}

// A Scan is one line of a trace as EMS tells it, times in UTC.
type Scan struct {
	DeliveryID  uuid.UUID
	WaybillNo   string
	At          time.Time
	Code        string       // opCode; a string with letters at times
	Name        string       // opName
	Desc        vault.Secret // opDesc: holds courier names and phones
	OrgCode     string
	OrgName     string
	Province    string
	City        string
	DeliverCode string // who received it, with 704
	AttemptCode string // why not, with 705

	SaidClass string    // recipient class that the wording of a 704 names; filled in by package tracking
	SaidUntil time.Time // last day of collection that the wording names, midnight in Beijing; filled in by package tracking
}

// A Trace is EMS's answer to a tracking query.
type Trace struct {
	Fingerprint int64 // of the answer's body without its envelope; never 0
	Unchanged   bool  // same fingerprint as the one known: Scans is not filled
	Scans       []Scan
	Raw         []byte // the body that the fingerprint is of, when it has changed; holds personal data, so it is only ever stored sealed
	Unreadable  int    // items that could not be read as a scan: kept out, counted, never an error of the trace
}
