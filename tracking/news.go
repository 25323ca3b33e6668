package tracking

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"emsd/courier"
)

// lateAfter is how old a scan may be when it is first seen and still be worth a message: after a day the resident has
// found out otherwise (I-5).
const lateAfter = 24 * time.Hour

// ahead is how far a scan may lie in the future when it is first seen. Beyond it the time is wrong: the scan is kept, but
// it would otherwise stand last in the line for years and hide everything that follows.
const ahead = 24 * time.Hour

// standing is a delivery as it stands when news comes.
type standing struct {
	status    courier.Status
	since     time.Time
	idChecked bool
	atStation bool // the issuing station has scanned it in: no scan of EMS's moves it from there
}

// news is everything that one changed trace does to its delivery.
type news struct {
	waybill
	fresh       []telling      // scans not seen before
	retold      []telling      // scans that were, told in other words
	status      courier.Status // of the delivery afterwards
	changedAt   time.Time
	fingerprint int64
	next        time.Time
	urgency     int

	move   *courier.Move
	event  *courier.NewEvent
	open   []courier.NewCase
	closed []courier.CaseClosing

	grew      bool    // a scan that counts is new
	heldUntil *string // last day of collection to write, empty for none; nil leaves it
	receiver  *string // class to write, empty for none; nil leaves it

	refold string // names the reason when no news but other rules are the cause
	quiet  bool   // residents are not to be told

	unreadable, implausible int
	missingYear             int // that the calendar lacks
}

// digest decides what a changed trace means. It is pure: the rules of the round are tested without a database. hash gives
// the keyed print of a scan's text.
func digest(a *asked, st standing, known []kept, r rules, hash func(*courier.Scan) int64, now time.Time) news {
	n := news{waybill: a.waybill, status: st.status, changedAt: a.changedAt, fingerprint: a.trace.Fingerprint ^ salt}
	n.sift(a.trace.Scans, known, hash)
	n.unreadable += a.trace.Unreadable

	all := make([]courier.Scan, 0, len(known)+len(n.fresh)+len(n.retold))
	for i := range known {
		if !known[i].ahead {
			all = append(all, known[i].Scan)
		}
	}
	stored := len(all)
	for _, list := range [][]telling{n.fresh, n.retold} {
		for i := range list {
			if list[i].ahead = list[i].ahead || list[i].At.Sub(now) > ahead; list[i].ahead {
				n.implausible++
			} else {
				all = append(all, list[i].Scan)
			}
		}
	}
	if len(n.fresh) > 0 {
		n.changedAt = now
	}
	e := Envelope{OrderedAt: a.orderedAt, IDChecked: st.idChecked}
	before, after := r.book.Fold(all[:stored], e), r.book.Fold(all, e)
	for _, s := range after.Ignored {
		if n.isNews(s) {
			n.implausible++
		}
	}
	n.grew = n.countsFresh(after.Ignored)
	n.missingYear = after.MissingYear
	switch {
	case st.status == courier.Cancelled:
		n.afterCancelling(r.book, now)
	case tracked(st.status) && !st.atStation:
		n.follow(after, before, st, now)
	}
	if n.move == nil && len(n.fresh)+len(n.retold) > 0 {
		n.event = n.updated(after, now)
	}
	n.next, n.urgency = r.plan.Next(n.status, n.changedAt, a.orderedAt, 0, now)
	n.next = Spread(n.next, now, a.no)
	return n
}

// tracked reports whether tracking may move a delivery that stands at s.
func tracked(s courier.Status) bool {
	return s == courier.Ordered || s != courier.Cancelled && s != courier.Approved && courier.Ordered.MayBecome(s, "")
}

// follow moves the delivery to where its scans say it is.
func (n *news) follow(r, before Result, st standing, now time.Time) {
	rule, moves := n.mayMove(r, before, st)
	if moves {
		n.status = r.Status
	}
	none := ""
	switch {
	case n.status == r.Status && r.Status == courier.Held:
		day := r.HeldUntil.Format(time.DateOnly)
		n.heldUntil = &day
	case st.status == courier.Held && n.status != courier.Held:
		n.heldUntil = &none
	}
	if n.status == r.Status {
		receiver := r.Receiver
		n.receiver = &receiver
	}
	cause := r.Scan
	if r.Withdrawn {
		cause = r.VoidedBy
	}
	if moves {
		data := n.data(cause, now)
		data.Rule, data.Receiver, data.Receipt, data.Withdrawn = rule, r.Receiver, r.Receipt, r.Withdrawn
		data.Attempt = r.Attempt
		n.move = &courier.Move{ID: n.delivery, From: st.status, To: r.Status, At: now, Data: data}
	}
	n.closeCases(r, before, cause, now)
	n.openCases(r, before, now)
}

// mayMove says whether the delivery moves to where the fold has it, and by which named rule when that reopens a final
// status (I-6). A delivery that a person has moved (handed over at the counter, declared lost) stays where it is until
// EMS says something newer.
func (n *news) mayMove(r, before Result, st standing) (rule string, ok bool) {
	switch {
	case r.Status == st.status:
		return "", false
	case r.Status == courier.Ordered && !r.Withdrawn && before.Status != st.status: // no scan decides: a person has
		return "", false
	case !st.status.Final():
		return n.refold, st.status.MayBecome(r.Status, "")
	case n.refold != "":
		rule = n.refold
	case len(n.fresh)+len(n.retold) == 0:
		return "", false
	case r.Rule != "" && n.isNews(r.RuleScan):
		rule = r.Rule
	case before.Status == st.status: // ours, from scans that were not complete
		rule = "scan_late:" + r.Scan.Code
		if len(n.fresh) == 0 {
			rule = "scan_retold:" + n.retold[len(n.retold)-1].Code
		}
	case st.status == courier.Lost && n.isNews(r.Scan) && r.Since.After(st.since):
		rule = "found:" + r.Scan.Code
	}
	return rule, rule != "" && st.status.MayBecome(r.Status, rule)
}

// isNews reports whether a scan is new, or told in new words.
func (n *news) isNews(s courier.Scan) bool {
	same := func(t telling) bool { return sameScan(&t.Scan, &s) }
	return slices.ContainsFunc(n.fresh, same) || slices.ContainsFunc(n.retold, same)
}

// countsFresh reports whether a new scan is of this envelope and of a time that can be.
func (n *news) countsFresh(ignored []courier.Scan) bool {
	for i := range n.fresh {
		f := &n.fresh[i]
		if !f.ahead && !slices.ContainsFunc(ignored, func(s courier.Scan) bool { return sameScan(&s, &f.Scan) }) {
			return true
		}
	}
	return false
}

// updated is the event of news that moves nothing. It says who received the envelope as it stands now, because another
// telling of its scan may have changed that.
func (n *news) updated(r Result, now time.Time) *courier.NewEvent {
	last := n.retold
	if len(n.fresh) > 0 {
		last = n.fresh
	}
	data := n.data(last[len(last)-1].Scan, now)
	if n.receiver != nil {
		data.Receiver, data.Receipt, data.Attempt = r.Receiver, r.Receipt, r.Attempt
	}
	return &courier.NewEvent{DeliveryID: n.delivery, Type: courier.EventScan, At: now, Data: data}
}

// data describes the scan that an event is about.
func (n *news) data(s courier.Scan, now time.Time) courier.EventData {
	d := courier.EventData{
		WaybillNo: n.no,
		ScanAt:    s.At.In(beijing).Format(time.RFC3339),
		ScanCode:  s.Code,
		Late:      n.quiet || now.Sub(s.At) > lateAfter,
		Grew:      n.grew,
	}
	if n.heldUntil != nil {
		d.HeldUntil = *n.heldUntil
	}
	return d
}

// longestCode bounds what becomes part of a scan's identity; EMS's own codes have up to ten characters (dossier 2.4).
const longestCode = 64

// makeStorable makes a scan what PostgreSQL gives back: microseconds, valid UTF-8, no NUL.
func makeStorable(s *courier.Scan) {
	s.At = s.At.UTC().Truncate(time.Microsecond)
	for _, field := range []*string{&s.Code, &s.Name, &s.OrgCode, &s.OrgName, &s.Province, &s.City, &s.DeliverCode, &s.AttemptCode} {
		*field = clean(*field)
	}
}

func clean(text string) string {
	if utf8.ValidString(text) && !strings.Contains(text, "\x00") {
		return text
	}
	return strings.ReplaceAll(strings.ToValidUTF8(text, "�"), "\x00", "�")
}
