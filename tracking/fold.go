package tracking

import (
	"cmp"
	"slices"
	"time"

	"emsd/courier"
)

// beijing is the zone of EMS's times and of everything that residents read.
var beijing = time.FixedZone("Asia/Shanghai", 8*60*60)

// beforeOrder is how far a scan may lie before the order and still count. Numbers are used again after years, so that a
// scan of an earlier envelope lies months back; a day covers clocks that disagree and orders confirmed long after the call.
const beforeOrder = 24 * time.Hour

// How long an envelope is kept for collection before it goes back. EMS states no term on the wire; these are the short
// ends of what lockers and counters give, because a last day told to a resident must not be too late.
const (
	lockerDays  = 3
	counterDays = 7
)

// A Result is what all scans of an envelope say together.
type Result struct {
	Status    courier.Status
	Since     time.Time    // of Scan; zero when no scan decides
	Scan      courier.Scan // brought the status
	Receiver  string       // class of who or what received it, when delivered or left for collection
	HeldUntil time.Time    // last day of collection, midnight in Beijing; zero unless held

	Rule      string       // what last reopened a final status, for example "scan_voided:743"
	RuleScan  courier.Scan // the scan that Rule names
	Withdrawn bool         // the status follows from a voided scan, not from an event of its own
	VoidedBy  courier.Scan // the voiding scan that it follows from, when Withdrawn

	Unknown  []string       // codes that the tables lack, sorted
	Ignored  []courier.Scan // older than the order
	Concerns []Concern      // what a clerk must look at, as things stand now
}

// A Concern is a reason for a case, and the scan that gives it.
type Concern struct {
	Kind courier.CaseKind
	Code string // the code to show; a deliverCode or attemptDeliveryCode stands behind a slash
	Scan courier.Scan
}

// Fold computes the status from all scans. It depends on their set only: order of arrival, repetition and the polls in
// which they came change nothing (I-6). Within one second causes go before effects.
func Fold(scans []courier.Scan, orderedAt time.Time) Result {
	line, ignored := arrange(scans, orderedAt)
	voidedBy, target := matchVoids(line)
	f := folding{Result: Result{Status: courier.Ordered, Ignored: ignored}, last: -1}
	for i, s := range line {
		switch {
		case voidedBy[i] >= 0: // taken back: as if it had never been
		case target[i] >= 0:
			f.takeBack(s, line[target[i]])
		default:
			f.take(i, s)
		}
	}
	f.conclude(line, target)
	return f.Result
}

// arrange puts scans in order, makes repeated ones one and splits off those older than the order.
func arrange(scans []courier.Scan, orderedAt time.Time) (line, ignored []courier.Scan) {
	line = slices.Clone(scans)
	slices.SortFunc(line, compareScans)
	line = slices.CompactFunc(line, sameScan)
	if orderedAt.IsZero() {
		return line, nil
	}
	floor := orderedAt.Add(-beforeOrder)
	n, _ := slices.BinarySearchFunc(line, floor, func(s courier.Scan, t time.Time) int { return s.At.Compare(t) })
	return line[n:], line[:n:n]
}

// sameScan is the identity of scans of one waybill; rewritten text is not a new scan.
func sameScan(a, b courier.Scan) bool {
	return a.At.Equal(b.At) && a.Code == b.Code && a.OrgCode == b.OrgCode
}

var rank = func() map[Group]int {
	m := make(map[Group]int, len(groups))
	for i, g := range groups {
		m[g] = i
	}
	return m
}()

// compareScans orders by time, then by group, then by what makes the order total. Of two tellings of one scan the one
// that says who received it comes first, and is kept.
func compareScans(a, b courier.Scan) int {
	if c := a.At.Compare(b.At); c != 0 {
		return c
	}
	return cmp.Or(
		cmp.Compare(rank[codes[a.Code].Group], rank[codes[b.Code].Group]),
		cmp.Compare(a.Code, b.Code),
		cmp.Compare(a.OrgCode, b.OrgCode),
		cmp.Compare(b.DeliverCode, a.DeliverCode),
		cmp.Compare(b.AttemptCode, a.AttemptCode))
}

// matchVoids gives for every scan the voiding scan that takes it back, and for every voiding scan what it takes back; -1
// is none. A voiding scan takes the most recent earlier scan of the codes it names that is not taken back yet, so that
// each takes one and none is taken twice.
func matchVoids(line []courier.Scan) (voidedBy, target []int) {
	voidedBy, target = make([]int, len(line)), make([]int, len(line))
	open := map[string][]int{} // standing scans by code
	for i, s := range line {
		voidedBy[i], target[i] = -1, -1
		c := codes[s.Code]
		if c.Group != Void {
			open[s.Code] = append(open[s.Code], i)
			continue
		}
		code, latest := "", -1
		for _, v := range c.Voids {
			if stack := open[v]; len(stack) > 0 && stack[len(stack)-1] > latest {
				code, latest = v, stack[len(stack)-1]
			}
		}
		if latest >= 0 {
			open[code] = open[code][:len(open[code])-1]
			voidedBy[latest], target[i] = i, latest
		}
	}
	return voidedBy, target
}

// An effect is what one scan says by itself.
type effect struct {
	status   courier.Status // empty: leaves the status as it is
	receiver string
	days     int              // of collection, when held
	soft     bool             // a return that is only announced: a further attempt ends it
	concern  courier.CaseKind // what a clerk must look at once the scan has its effect
	unknown  string           // code that the tables lack
}

func effectOf(s courier.Scan) effect {
	c, ok := codes[s.Code]
	if !ok {
		return effect{unknown: s.Code}
	}
	switch c.Group {
	case Accepted:
		return effect{status: courier.Accepted}
	case InTransit, Customs:
		return effect{status: courier.InTransit}
	case OutForDelivery:
		return effect{status: courier.OutForDelivery}
	case AttemptFailed:
		return attemptEffect(s)
	case Delivered:
		return deliverEffect(s)
	case Held:
		return heldEffect(s)
	case Withdrawn, Returning:
		return effect{status: courier.Returning}
	case Returned:
		return effect{status: courier.Returned, concern: courier.CaseReturned}
	case Lost:
		return effect{status: courier.Lost, concern: courier.CaseLost}
	}
	return effect{}
}

func heldEffect(s courier.Scan) effect {
	e := effect{status: courier.Held, days: counterDays, concern: courier.CaseHeld}
	if s.Code == "747" {
		e.days = lockerDays
	}
	return e
}

// attemptEffect reads a 705. Without an attemptDeliveryCode, or with one that the table lacks, it is a failed attempt.
func attemptEffect(s courier.Scan) effect {
	a, ok := attempts[s.AttemptCode]
	if !ok || s.Code != "705" {
		e := effect{status: courier.AttemptFailed}
		if s.Code == "705" && s.AttemptCode != "" {
			e.unknown = s.Code + "/" + s.AttemptCode
		}
		return e
	}
	e := effect{status: a.Status, concern: a.Case}
	switch a.Status {
	case courier.Held:
		e.days, e.concern = counterDays, courier.CaseHeld
	case courier.Lost:
		e.concern = courier.CaseLost
	case courier.Returning:
		e.soft = true
	}
	return e
}

// deliverEffect reads a 704 by who received it (I-7): the holder's own hands are a success; a locker or a pickup point
// only holds the envelope until 748 (dossier 4.3: China Post itself counts it as delivered, a served document is not);
// anybody else, a door or a code that the table lacks is delivered for EMS and a case for a clerk; 180 is a claim. A 704
// that names nobody is taken at its word: the field is optional on the wire, and a case for each would hide the real ones.
func deliverEffect(s courier.Scan) effect {
	switch {
	case s.Code == "748":
		return effect{status: courier.Delivered, receiver: ReceiverCollected}
	case s.Code != "704" || s.DeliverCode == "":
		return effect{status: courier.Delivered, receiver: ReceiverUnstated}
	}
	r, ok := receivers[s.DeliverCode]
	if !ok {
		return effect{status: courier.Delivered, receiver: ReceiverUnknown, concern: courier.CaseDeliveredElsewhere,
			unknown: s.Code + "/" + s.DeliverCode}
	}
	switch r.Effect {
	case handed:
		return effect{status: courier.Delivered, receiver: r.Class}
	case waits:
		return effect{status: courier.Held, receiver: r.Class, days: lockerDays, concern: courier.CaseHeld}
	case nothing:
		return effect{concern: courier.CaseLost}
	}
	return effect{status: courier.Delivered, receiver: r.Class, concern: courier.CaseDeliveredElsewhere}
}

// folding is a Result in the making.
type folding struct {
	Result
	soft     bool // of a return
	last     int  // index of the last scan that brought or confirmed the status
	own      *Concern
	standing []Concern // of scans that leave the status
	unknown  map[string]courier.Scan
}

func (f *folding) take(i int, s courier.Scan) {
	e := effectOf(s)
	if e.unknown != "" {
		if f.unknown == nil {
			f.unknown = map[string]courier.Scan{}
		}
		f.unknown[e.unknown] = s
	}
	switch {
	case e.status == "":
		f.note(e.concern, s)
	case e.status == f.Status:
		f.confirm(i, s, e)
	default:
		f.move(i, s, e)
	}
}

// confirm takes a scan that says what stands already. The first delivery decides who received it; the last day of
// collection and the reason of a failed attempt are those of the last scan.
func (f *folding) confirm(i int, s courier.Scan, e effect) {
	f.last = i
	f.soft = f.soft && e.soft
	switch f.Status {
	case courier.Held:
		f.HeldUntil = lastDay(s.At, e.days)
	case courier.AttemptFailed:
		f.own = concernOf(e.concern, s)
	}
}

func (f *folding) move(i int, s courier.Scan, e effect) {
	may, rule := f.may(s, e)
	if !may {
		f.contradicted(s, e)
		return
	}
	if rule != "" {
		f.Rule, f.RuleScan = rule+":"+s.Code, s
	}
	f.Status, f.Since, f.Scan, f.Receiver, f.HeldUntil = e.status, s.At, s, e.receiver, time.Time{}
	f.soft, f.last, f.own = e.soft, i, concernOf(e.concern, s)
	if e.status == courier.Held {
		f.HeldUntil = lastDay(s.At, e.days)
	}
}

// may says whether a scan moves the status, and by which named rule it leaves a final one.
func (f *folding) may(s courier.Scan, e effect) (may bool, rule string) {
	group := codes[s.Code].Group
	if e.status == courier.Accepted && f.Status != courier.Ordered {
		return false, "" // charging data often comes after the first leg
	}
	if group == Withdrawn && f.Status == courier.Ordered {
		return false, "" // called back before EMS had it: there is nothing that could come back
	}
	switch f.Status {
	case courier.Delivered:
		switch group {
		case Withdrawn, Returning, Returned:
			return true, "return_after_delivery"
		case Lost:
			return true, "lost_after_delivery"
		}
		return false, ""
	case courier.Returned:
		return false, "" // only a voided scan or a person goes back from here
	case courier.Lost:
		return group != Withdrawn, "found"
	case courier.Returning:
		if e.status == courier.Returned || e.status == courier.Lost {
			return true, ""
		}
		// The way back is scanned like the way there. No code takes a registered return back, so that a 704 on it may be
		// the sender's own signature: it is no delivery.
		return f.soft && e.status != courier.InTransit, ""
	}
	return true, ""
}

// contradicted notes scans that a clerk must look at although they may not move the status.
func (f *folding) contradicted(s courier.Scan, e effect) {
	switch {
	case f.Status == courier.Ordered: // Withdrawn
		f.note(courier.CaseStalled, s)
	case f.Status == courier.Delivered && (e.status == courier.OutForDelivery || e.status == courier.AttemptFailed ||
		e.status == courier.Held || e.status == courier.Returning || e.status == courier.Lost):
		f.note(courier.CaseNotReceived, s)
	case f.Status == courier.Returning && e.status == courier.Delivered:
		f.note(courier.CaseReturned, s)
	}
}

func (f *folding) note(kind courier.CaseKind, s courier.Scan) {
	if c := concernOf(kind, s); c != nil {
		f.standing = append(f.standing, *c)
	}
}

// takeBack sees a voiding scan: the status has been computed without its target; what is left is the name of the rule.
func (f *folding) takeBack(void, target courier.Scan) {
	if to := effectOf(target).status; to != "" && to.Final() {
		f.Rule, f.RuleScan = "scan_voided:"+void.Code, void
	}
}

// conclude fills in what only the whole line tells.
func (f *folding) conclude(line []courier.Scan, target []int) {
	for i, t := range target {
		if t > f.last && effectOf(line[t]).status != "" {
			f.Withdrawn, f.VoidedBy = true, line[i]
		}
	}
	if f.own != nil {
		f.Concerns = append(f.Concerns, *f.own)
	}
	for _, c := range f.standing {
		// A withdrawal before acceptance matters only while nothing else is known.
		if c.Kind != courier.CaseStalled || f.Status == courier.Ordered {
			f.Concerns = append(f.Concerns, c)
		}
	}
	for code, s := range f.unknown {
		f.Unknown = append(f.Unknown, code)
		f.Concerns = append(f.Concerns, Concern{Kind: courier.CaseUnknownCode, Code: code, Scan: s})
	}
	slices.Sort(f.Unknown)
	slices.SortStableFunc(f.Concerns, func(a, b Concern) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), compareScans(a.Scan, b.Scan))
	})
}

func concernOf(kind courier.CaseKind, s courier.Scan) *Concern {
	if kind == "" {
		return nil
	}
	code := s.Code
	if s.DeliverCode != "" {
		code += "/" + s.DeliverCode
	} else if s.AttemptCode != "" {
		code += "/" + s.AttemptCode
	}
	return &Concern{Kind: kind, Code: code, Scan: s}
}

// lastDay is the last day of collection when the first of them is the day of at.
func lastDay(at time.Time, days int) time.Time {
	y, m, d := at.In(beijing).Date()
	return time.Date(y, m, d+days-1, 0, 0, 0, 0, beijing)
}
