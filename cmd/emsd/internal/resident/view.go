package resident

import (
	"slices"
	"time"

	"emsd/courier"
	"emsd/tracking"
)

// beijing is where residents are.
var beijing = time.FixedZone("Asia/Shanghai", 8*60*60)

// An Institution is what a page may say of a station: its name, its address or its hours. It is nobody's personal data.
type Institution string

// A View is all that a resident's page can show. It has no field that could hold a name, a phone number, an address of a
// person or the carrier's words: they cannot get onto a page by mistake (I-9). TestI9_AViewHasNoPlaceForAPerson walks it.
type View struct {
	Language  Language
	Now       time.Time
	Status    courier.Status
	Since     time.Time
	Receiver  Class     // who or what received it, or where it waits
	LastDay   time.Time // of collection, zero when unknown
	DueFen    int64     // still to pay
	Collect   bool      // the courier takes the postage
	RefundFen int64     // to be given back
	Days      *Days
	Steps     []Step
	Scans     []Scan
	Station   Station
	Back      Back // of a returned envelope

	Reported    bool // somebody said that it did not arrive, and a clerk looks
	MayReport   bool
	MayAskAgain bool // another delivery can be asked for
	AskedAgain  bool
}

// A Class is a class of recipients (tracking.Receiver…).
type Class string

// Back says what becomes of an envelope that came back.
type Back string

// What becomes of a returned envelope.
const (
	BackOnTheWay Back = "on_the_way" // EMS says that it is back; nobody at the station has it in hand yet
	BackOnShelf  Back = "on_shelf"
	BackPickedUp Back = "picked_up"
	BackSent     Back = "sent_again"
	BackDisposed Back = "disposed"
)

// Days is how long envelopes like this one take, and the days that follow from it.
type Days struct {
	Low, High        int
	Earliest, Latest time.Time // zero before it is accepted
}

// A Step is a stage of the way. At is zero where the time is not known.
type Step struct {
	Stage courier.Status
	At    time.Time
	Done  bool
	Now   bool
}

// A Scan is one thing that happened, by its group: residents read our own words for it.
type Scan struct {
	At    time.Time
	Group tracking.Group
}

// Station is the institution that handled the application, and where the envelope comes back to.
type Station struct{ Name, Address, Hours Institution }

// Facts are what a view is made of.
type Facts struct {
	courier.View
	Steps         []tracking.Step
	Interventions []courier.Intervention
	Expected      *tracking.Expectation
	Station       courier.Station
}

// way are the stages that a page shows as progress, in order.
var way = []courier.Status{courier.AwaitingPayment, courier.Ordered, courier.Accepted, courier.OutForDelivery, courier.Delivered}

// Compose says what a resident sees of a delivery, in a language, at a time.
func Compose(f Facts, l Language, now time.Time) View {
	v := View{Language: l, Now: now, Status: f.Status, Since: f.StatusSince, Receiver: Class(f.Receiver), LastDay: f.HeldUntil,
		Collect: f.PaymentMethod == courier.Collect, RefundFen: f.RefundDueFen,
		Station: Station{Institution(f.Station.Name), Institution(f.Station.Province + f.Station.City + f.Station.County + f.Station.Address), Institution(f.Station.Hours)}}
	if f.Status == courier.AwaitingPayment {
		v.DueFen = max(0, f.FeeFen-f.PaidFen)
	}
	if f.Station.City == f.Station.Province { // a municipality
		v.Station.Address = Institution(f.Station.Province + f.Station.County + f.Station.Address)
	}
	v.addScans(f.Steps)
	v.addSteps(f)
	v.addDays(f)
	v.addReturn(f.Return)
	v.Reported = slices.ContainsFunc(f.NonReceipts, func(n courier.NonReceipt) bool { return n.EndedAt.IsZero() })
	v.MayReport = !v.Reported && missable(f.Status)
	v.AskedAgain = slices.ContainsFunc(f.Interventions, func(i courier.Intervention) bool { return i.Kind == courier.InterveneRedeliver && i.Open() })
	v.MayAskAgain = !v.AskedAgain && (f.Status == courier.AttemptFailed || f.Status == courier.Held)
	return v
}

// missable says when it can be missed: before EMS says that it is there, it is only late.
func missable(s courier.Status) bool {
	return s == courier.Delivered || s == courier.Held
}

// mostScans bounds what a page shows, the newest.
const mostScans = 20

func (v *View) addScans(steps []tracking.Step) {
	for _, s := range slices.Backward(steps) {
		if s.Voided || s.Ignored || s.Group == "" || s.Group == tracking.Void {
			continue
		}
		if n := len(v.Scans); n > 0 && v.Scans[n-1].Group == s.Group { // one sentence for several scans: when it began
			v.Scans[n-1].At = s.At
			continue
		}
		if len(v.Scans) == mostScans {
			return
		}
		v.Scans = append(v.Scans, Scan{s.At, s.Group})
	}
}

// addSteps marks how far it has come. Only what has happened has a time.
func (v *View) addSteps(f Facts) {
	reached := map[courier.Status]time.Time{courier.AwaitingPayment: f.ApprovedAt, courier.Accepted: tracking.AcceptedAt(f.Steps)}
	for _, s := range f.Steps {
		if s.Group == tracking.OutForDelivery && !s.Voided && !s.Ignored {
			reached[courier.OutForDelivery] = s.At
		}
	}
	if f.Status == courier.Delivered {
		reached[courier.Delivered] = f.StatusSince
	}
	for _, s := range way {
		v.Steps = append(v.Steps, Step{Stage: s, At: reached[s], Done: !reached[s].IsZero() || s == courier.Ordered && f.WaybillNo != "", Now: s == stageOf(f.Status)})
	}
}

// stageOf is the stage that a status belongs to; empty for what is off the way.
func stageOf(s courier.Status) courier.Status {
	switch s {
	case courier.Approved, courier.Ordering:
		return courier.Ordered
	case courier.InTransit:
		return courier.Accepted
	case courier.AttemptFailed, courier.Held:
		return courier.OutForDelivery
	}
	return s
}

func (v *View) addDays(f Facts) {
	switch f.Status {
	case courier.AwaitingPayment, courier.Approved, courier.Ordering, courier.Ordered, courier.Accepted, courier.InTransit:
	default:
		return // at the door or behind it, an average says nothing
	}
	if f.Expected == nil {
		return
	}
	v.Days = &Days{Low: f.Expected.Low, High: f.Expected.High}
	if at := tracking.AcceptedAt(f.Steps); !at.IsZero() {
		v.Days.Earliest, v.Days.Latest = at.AddDate(0, 0, f.Expected.Low), at.AddDate(0, 0, f.Expected.High)
	}
}

func (v *View) addReturn(r *courier.Return) {
	switch {
	case v.Status != courier.Returned:
	case r == nil:
		v.Back = BackOnTheWay
	case r.OnShelf():
		v.Back, v.LastDay = BackOnShelf, r.RetainUntil
	case !r.PickedUpAt.IsZero():
		v.Back = BackPickedUp
	case !r.DisposedAt.IsZero():
		v.Back = BackDisposed
	default:
		v.Back = BackSent
	}
}
