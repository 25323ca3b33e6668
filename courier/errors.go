package courier

import (
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
)

// Kind says what a caller may do about a failed call to the carrier.
type Kind int

const (
	NotRefused       Kind = iota // zero value: no classified failure
	RefusedByCarrier             // the carrier said no; asking again changes nothing
	Unsent                       // nothing left this machine; asking again is safe
	Unknown                      // it may have happened; look it up before asking again
)

// String gives the word used in logs, metrics and order_attempts.outcome.
func (k Kind) String() string {
	switch k {
	case RefusedByCarrier:
		return "refused"
	case Unsent:
		return "unsent"
	case Unknown:
		return "unknown"
	}
	return "none"
}

// A CarrierError is a failed call to the carrier. It never holds personal data.
type CarrierError struct {
	Kind     Kind
	API      string // EMS interface code, for example 020003
	RetCode  string // as answered, empty without a well-formed answer
	Message  string // the carrier's text, or what went wrong on the way
	SerialNo string // of the answer: what EMS support asks for
	Err      error  // cause, may be nil
}

func (e *CarrierError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "EMS %s: %s", e.API, e.Kind)
	if e.RetCode != "" {
		fmt.Fprintf(&b, " (%s)", e.RetCode)
	}
	if e.Message != "" {
		fmt.Fprintf(&b, ": %s", e.Message)
	}
	return b.String()
}

func (e *CarrierError) Unwrap() error { return e.Err }

var (
	ErrNotFound = errors.New("not found")
	// ErrStale means that the delivery has moved on since it was read; read again and decide again.
	ErrStale = errors.New("the delivery has changed meanwhile")
	// ErrNoOrder means that EMS holds no order under a waybill number (010004, B0001 查询预告失败).
	ErrNoOrder = errors.New("EMS holds no order under this number")
)

// A Fault is one thing wrong with what was posted or imported.
type Fault struct {
	Field  string `json:"field"`  // name as posted, for example recipient.phone
	Code   string `json:"code"`   // stable word, for example required, format, check_digit
	Detail string `json:"detail"` // plain Chinese: what is wrong and what to do
}

// Pointer gives the JSON pointer of the field; a fault of the whole document has none.
func (f Fault) Pointer() string {
	if f.Field == "" {
		return ""
	}
	return "/" + strings.ReplaceAll(f.Field, ".", "/")
}

// Faults is every fault of one application at once.
type Faults []Fault

func (f Faults) Error() string {
	var parts []string
	for _, x := range f {
		parts = append(parts, x.Field+": "+x.Detail)
	}
	return strings.Join(parts, "; ")
}

// A LiveDelivery says that the permit already has a delivery that is under way or done (I-3).
type LiveDelivery struct{ ID uuid.UUID }

func (e *LiveDelivery) Error() string { return "the permit has a live delivery " + e.ID.String() }

// A Conflict is a request that the present state of a delivery does not allow.
type Conflict struct {
	Code   string // stable word, for example payment_after_cancel
	Detail string // plain Chinese
}

func (e *Conflict) Error() string { return e.Code + ": " + e.Detail }

// A Gone is a request for what is kept no more. What is still there begins behind After.
type Gone struct {
	Code   string
	Detail string // plain Chinese
	After  int64  // position in the feed
}

func (e *Gone) Error() string { return e.Code + ": " + e.Detail }
