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

// oneMoment is how close scans may lie and still have happened in another order than their times say: some devices
// send minutes without seconds. Within it a scan of lower rank does not move the status back.
const oneMoment = time.Minute

// A Result is what all scans of an envelope say together.
type Result struct {
	Status    courier.Status
	Since     time.Time    // of Scan; zero when no scan decides
	Scan      courier.Scan // brought the status
	Receiver  string       // class of who or what received it, when delivered or left for collection
	Receipt   string       // what the class means for a delivered envelope: fine, ask or case
	HeldUntil time.Time    // last day of collection, midnight in Beijing; zero unless held
	Attempt   string       // why the last try delivered nothing, in a word of attempt_codes.csv; empty when nobody said

	Rule      string       // what last reopened a final status, for example "scan_voided:743"
	RuleScan  courier.Scan // the scan that Rule names
	Withdrawn bool         // the status follows from a voided scan, not from an event of its own
	VoidedBy  courier.Scan // the voiding scan that it follows from, when Withdrawn

	Readdressed bool           // EMS was told another address on the way
	Unknown     []string       // codes that neither tables nor decisions know, sorted
	Ignored     []courier.Scan // older than the order
	Concerns    []Concern      // what a clerk must look at, as things stand now
	MissingYear int            // a year that the calendar lacks, where it was needed; 0 for none
}

// A Concern is a reason for a case, and the scan that gives it.
type Concern struct {
	Kind  courier.CaseKind
	Code  string // the code to show; a deliverCode or attemptDeliveryCode stands behind a slash
	Scan  courier.Scan
	Hours int // working hours until the case is due, where a policy says so; 0: by the kind
}

// Fold computes the status from all scans by the built-in rulebook; see Rulebook.Fold.
func Fold(scans []courier.Scan, orderedAt time.Time) Result {
	return defaultBook.Fold(scans, Envelope{OrderedAt: orderedAt})
}

// Fold computes the status from all scans. It depends on their set only: order of arrival, repetition and the polls in
// which they came change nothing (I-6). Within one second causes go before effects.
func (b *Rulebook) Fold(scans []courier.Scan, e Envelope) Result {
	r, _ := b.fold(scans, e, false)
	return r
}

// A Judged scan is one with the rule that took it.
type Judged struct {
	Scan courier.Scan
	Rule Rule
}

// Explain is Fold with the rule that took each scan, in the order of the fold.
func (b *Rulebook) Explain(scans []courier.Scan, e Envelope) (Result, []Judged) {
	return b.fold(scans, e, true)
}

func (b *Rulebook) fold(scans []courier.Scan, e Envelope, explain bool) (Result, []Judged) {
	line, ignored := b.arrange(scans, e.OrderedAt)
	matchVoids(line)
	f := folding{book: b, idChecked: e.IDChecked, last: -1}
	f.Status = courier.Ordered
	for i := range line {
		line[i].rule = f.rule(line, i)
	}
	f.conclude(line)
	for _, x := range ignored {
		f.Ignored = append(f.Ignored, *x.Scan)
	}
	if !explain {
		return f.Result, nil
	}
	judged := make([]Judged, 0, len(ignored)+len(line))
	for _, x := range ignored {
		judged = append(judged, Judged{*x.Scan, RuleOlder})
	}
	for _, x := range line {
		judged = append(judged, Judged{*x.Scan, x.rule})
	}
	return f.Result, judged
}

// An entry is a scan in the line.
type entry struct {
	*courier.Scan
	group Group // empty for a code that nobody knows
	rank  int
	voids []string
	until time.Time // last day of collection that one of the tellings names: the earliest

	voidedBy, target int // of the scan that takes this one back, of the one that this one takes back; -1 is none
	rule             Rule
}

func (b *Rulebook) entryOf(s *courier.Scan) entry {
	x := entry{Scan: s, until: s.SaidUntil, voidedBy: -1, target: -1}
	if d := b.decided("", s.Code, s.At); d != nil {
		x.group, x.rank, x.voids = d.group, d.rank, d.voids
	} else if c, ok := codes[s.Code]; ok {
		x.group, x.rank, x.voids = c.Group, c.rank, c.Voids
	}
	return x
}

// arrange puts scans in order, makes the tellings of one scan one and splits off those older than the order.
func (b *Rulebook) arrange(scans []courier.Scan, orderedAt time.Time) (line, ignored []entry) {
	line = make([]entry, len(scans))
	for i := range scans {
		line[i] = b.entryOf(&scans[i])
	}
	slices.SortFunc(line, b.compareEntries)
	line = oneTelling(line)
	if orderedAt.IsZero() {
		return line, nil
	}
	floor := orderedAt.Add(-beforeOrder)
	n, _ := slices.BinarySearchFunc(line, floor, func(x entry, t time.Time) int { return x.At.Compare(t) })
	return line[n:], line[:n:n]
}

// oneTelling keeps the first of several tellings of a scan, with the earliest last day that any of them names.
func oneTelling(line []entry) []entry {
	n := 0
	for i := range line {
		if n == 0 || !sameScan(line[n-1].Scan, line[i].Scan) {
			line[n] = line[i]
			n++
			continue
		}
		if until := line[i].until; !until.IsZero() && (line[n-1].until.IsZero() || until.Before(line[n-1].until)) {
			line[n-1].until = until
		}
	}
	return line[:n]
}

// sameScan is the identity of scans of one waybill; rewritten text is not a new scan.
func sameScan(a, b *courier.Scan) bool {
	return a.At.Equal(b.At) && a.Code == b.Code && a.OrgCode == b.OrgCode
}

// compareEntries orders by time, then by group, then by what makes the order total. Of several tellings of one scan the
// one that counts comes first: moreCareful.
func (b *Rulebook) compareEntries(x, y entry) int {
	if c := x.At.Compare(y.At); c != 0 {
		return c
	}
	if c := cmp.Or(cmp.Compare(x.rank, y.rank), cmp.Compare(x.Code, y.Code), cmp.Compare(x.OrgCode, y.OrgCode)); c != 0 {
		return c
	}
	return cmp.Or(
		b.moreCareful(x.Scan, y.Scan, x.group),
		cmp.Compare(y.DeliverCode, x.DeliverCode),
		cmp.Compare(y.AttemptCode, x.AttemptCode),
		cmp.Compare(y.SaidClass, x.SaidClass),
		x.SaidUntil.Compare(y.SaidUntil))
}

// compareScans orders scans by time and what identifies them.
func compareScans(a, b *courier.Scan) int {
	if c := a.At.Compare(b.At); c != 0 {
		return c
	}
	return cmp.Or(
		cmp.Compare(codes[a.Code].rank, codes[b.Code].rank),
		cmp.Compare(a.Code, b.Code),
		cmp.Compare(a.OrgCode, b.OrgCode),
		cmp.Compare(b.DeliverCode, a.DeliverCode),
		cmp.Compare(b.AttemptCode, a.AttemptCode))
}

// folding is a Result in the making.
type folding struct {
	Result
	book      *Rulebook
	idChecked bool

	cause   *courier.Scan // brought the status
	reopens *courier.Scan // RuleScan
	place   string        // where it is held
	said    bool          // HeldUntil is EMS's own word
	soft    bool          // of a return: only announced
	rank    int           // of the last scan that brought or confirmed the status,
	last    int           // its index
	lastAt  time.Time     // and time

	own      concern   // of the status; none without a kind
	standing []concern // of scans that leave the status
	unknown  []concern // the last scan of each unknown code
}

// rule takes the i-th scan and names the rule by which it did.
func (f *folding) rule(line []entry, i int) Rule {
	x := &line[i]
	switch {
	case x.voidedBy >= 0:
		return RuleVoided // as if it had never been
	case x.target > i:
		f.takeBack(x.Scan, &line[x.target])
		return RuleVoidsAhead
	case x.target >= 0:
		f.takeBack(x.Scan, &line[x.target])
		return RuleVoids
	case x.group == Void:
		return RuleVoidsNothing
	}
	return f.take(i, x)
}

func (f *folding) take(i int, x *entry) Rule {
	e := f.book.effectOf(x)
	if e.unknown != "" {
		f.meet(e.unknown, x.Scan)
	}
	if e.status == "" {
		return f.leave(x, e)
	}
	if f.cause != nil && e.status != f.Status && x.rank < f.rank && x.At.Sub(f.lastAt) < oneMoment {
		return RuleBelowRank
	}
	if e.status == courier.Delivered {
		e.receipt, e.hours = f.book.receipt(e.receiver, x.Scan, f.idChecked)
		if e.receipt == receiptCase {
			e.concern = courier.CaseDeliveredElsewhere
		}
	}
	if e.status == f.Status && f.cause != nil {
		return f.confirm(i, x, e)
	}
	return f.move(i, x, e)
}

// leave takes a scan that leaves the status as it is.
func (f *folding) leave(x *entry, e effect) Rule {
	f.note(e.concern, x.Scan, e.until)
	f.Readdressed = f.Readdressed || x.group == Changed
	switch {
	case x.group == "":
		return RuleUnknown
	case x.group == Changed:
		return RuleReaddressed
	case x.group == Exception:
		return RuleException
	case e.receiver == ReceiverClaim:
		return RuleClaim
	}
	return RuleLeaves
}

// confirm takes a scan that says what stands already. Of two deliveries the one that asks for more care decides who
// received the envelope.
func (f *folding) confirm(i int, x *entry, e effect) Rule {
	f.taken(i, x, e)
	f.soft = f.soft && e.soft
	switch f.Status {
	case courier.Held:
		f.hold(x, e)
		f.Receiver = cmp.Or(e.receiver, f.Receiver)
	case courier.AttemptFailed:
		f.Attempt = e.attempt
	case courier.Delivered:
		if f.book.classCare(e.receiver, x.Scan) > f.book.classCare(f.Receiver, f.cause) {
			f.Receiver, f.Receipt, f.own = e.receiver, e.receipt, newConcern(e.concern, x.Scan, e.hours)
		}
	}
	return RuleConfirms
}

func (f *folding) move(i int, x *entry, e effect) Rule {
	may, rule := f.may(x, e)
	if !may {
		f.contradicted(x, e)
		return rule
	}
	if rule.reopens() {
		f.Rule, f.reopens = string(rule)+":"+x.Code, x.Scan
	}
	f.taken(i, x, e)
	f.Status, f.cause, f.Receiver, f.Receipt = e.status, x.Scan, e.receiver, e.receipt
	f.HeldUntil, f.place, f.said, f.Attempt = time.Time{}, "", false, e.attempt
	f.soft, f.own = e.soft, newConcern(e.concern, x.Scan, e.hours)
	if e.status == courier.Held {
		f.hold(x, e)
	}
	return rule
}

// taken keeps where the status stands, and drops the concerns that it settles.
func (f *folding) taken(i int, x *entry, e effect) {
	f.last, f.lastAt, f.rank = i, x.At, x.rank
	f.Readdressed = f.Readdressed || e.readdressed
	if len(f.standing) > 0 {
		f.standing = slices.DeleteFunc(f.standing, func(c concern) bool { return c.until.settledBy(e.status) })
	}
	f.note(e.standing, x.Scan, untilEnd)
}

// hold sets the last day of collection. What EMS says counts, and stands until it says otherwise or puts the envelope
// elsewhere; a repeated scan at the same place gives no more time.
func (f *folding) hold(x *entry, e effect) {
	switch {
	case !x.until.IsZero():
		f.HeldUntil, f.said = x.until, true
	case f.place != e.place:
		day, missing := f.book.lastDay(e.place, x.At)
		f.HeldUntil, f.said = day, false
		f.MissingYear = max(f.MissingYear, missing)
	}
	f.place = e.place
}

// may says whether a scan moves the status, and by which rule it does or does not.
func (f *folding) may(x *entry, e effect) (may bool, rule Rule) {
	if e.status == courier.Accepted && f.Status != courier.Ordered {
		return false, RuleLateAcceptance // charging data often comes after the first leg
	}
	if x.group == Withdrawn && f.Status == courier.Ordered {
		return false, RuleWithdrawnEarly // EMS did not have it yet: there is nothing that could come back
	}
	switch f.Status {
	case courier.Delivered:
		switch x.group {
		case Returning, Returned: // not 801, 013: what is delivered cannot be called back any more
			return true, RuleReturnAfterDelivery
		case Lost:
			return true, RuleLostAfterDelivery
		}
		return false, RuleAfterDelivery
	case courier.Returned:
		return false, RuleAfterReturn // only a voided scan or a person goes back from here
	case courier.Lost:
		if x.group == Withdrawn {
			return false, RuleAfterLoss
		}
		return true, RuleFound
	case courier.Returning:
		if e.status == courier.Returned || e.status == courier.Lost {
			return true, RuleMoves
		}
		// The way back is scanned like the way there. No code takes a registered return back, so that a 704 on it may be
		// the sender's own signature: it is no delivery.
		if f.soft && e.status != courier.InTransit {
			return true, RuleMoves
		}
		return false, RuleReturnWay
	}
	return true, RuleMoves
}

// contradicted notes scans that a clerk must look at although they may not move the status.
func (f *folding) contradicted(x *entry, e effect) {
	switch {
	case f.Status == courier.Ordered && x.group == Withdrawn:
		f.note(courier.CaseStalled, x.Scan, untilMoved)
	case f.Status == courier.Delivered && (e.status == courier.OutForDelivery || e.status == courier.AttemptFailed ||
		e.status == courier.Held || e.status == courier.Returning || e.status == courier.Lost):
		f.note(courier.CaseNotReceived, x.Scan, untilNever)
	case f.Status == courier.Returning && e.status == courier.Delivered:
		f.note(courier.CaseReturned, x.Scan, untilNever)
	}
}

// takeBack sees a voiding scan: the status has been computed without its target; what is left is the name of the rule.
func (f *folding) takeBack(void *courier.Scan, target *entry) {
	if to := f.book.effectOf(target).status; to != "" && to.Final() {
		f.Rule, f.reopens = "scan_voided:"+void.Code, void
	}
}

// conclude fills in what only the whole line tells.
func (f *folding) conclude(line []entry) {
	if f.cause != nil {
		f.Scan, f.Since = *f.cause, f.cause.At
	}
	if f.reopens != nil {
		f.RuleScan = *f.reopens
	}
	for i := range line {
		if t := line[i].target; t > f.last && f.book.effectOf(&line[t]).status != "" {
			f.Withdrawn, f.VoidedBy = true, *line[i].Scan
		}
	}
	f.tellConcerns()
}
