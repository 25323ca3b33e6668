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
	status courier.Status
	since  time.Time
}

// A kept scan is one that the store has.
type kept struct {
	courier.Scan
	ahead bool // its time lay in the future when it was first seen
}

// news is everything that one changed trace does to its delivery.
type news struct {
	waybill
	fresh       []courier.Scan // not seen before
	status      courier.Status // of the delivery afterwards
	changedAt   time.Time
	fingerprint int64
	next        time.Time
	urgency     int

	move   *courier.Move
	event  *courier.NewEvent
	open   []courier.NewCase
	closed []courier.CaseClosing

	heldUntil *string // last day of collection to write, empty for none; nil leaves it

	unreadable, implausible int
}

// digest decides what a changed trace means. It is pure: the rules of the round are tested without a database.
func digest(a *asked, st standing, known []kept, r rules, now time.Time) news {
	n := news{waybill: a.waybill, status: st.status, changedAt: a.changedAt, fingerprint: a.trace.Fingerprint ^ salt}
	var all []courier.Scan
	for _, k := range known {
		if !k.ahead {
			all = append(all, k.Scan)
		}
	}
	stored := len(all)
	n.fresh, n.unreadable = sift(a.trace.Scans, a.waybill, known)
	n.unreadable += a.trace.Unreadable
	for _, s := range n.fresh {
		if s.At.Sub(now) > ahead {
			n.implausible++
		} else {
			all = append(all, s)
		}
	}
	if len(n.fresh) > 0 {
		n.changedAt = now
	}
	result := Fold(all, a.orderedAt)
	for _, s := range result.Ignored {
		if n.isFresh(s) {
			n.implausible++
		}
	}
	switch {
	case st.status == courier.Cancelled:
		n.afterCancelling(now)
	case tracked(st.status):
		n.follow(result, all[:stored], st, now)
	}
	if n.move == nil && len(n.fresh) > 0 {
		n.event = &courier.NewEvent{DeliveryID: a.delivery, Type: courier.EventScan, At: now, Data: n.data(n.fresh[len(n.fresh)-1], now)}
	}
	n.next, n.urgency = r.plan.Next(n.status, n.changedAt, a.orderedAt, 0, now)
	n.next = Spread(n.next, now, a.no)
	return n
}

// tracked reports whether tracking may move a delivery that stands at s.
func tracked(s courier.Status) bool {
	return s == courier.Ordered || s != courier.Cancelled && courier.Ordered.MayBecome(s, "")
}

// follow moves the delivery to where its scans say it is.
func (n *news) follow(r Result, stored []courier.Scan, st standing, now time.Time) {
	if r.Status == courier.Held && (st.status == courier.Held || !st.status.Final()) {
		day := r.HeldUntil.Format(time.DateOnly)
		n.heldUntil = &day
	}
	if rule, ok := n.mayMove(r, stored, st); ok {
		cause := r.Scan
		if r.Withdrawn {
			cause = r.VoidedBy
		}
		n.status = r.Status
		if st.status == courier.Held {
			n.heldUntil = new(string)
		}
		data := n.data(cause, now)
		data.Rule, data.Receiver, data.Withdrawn = rule, r.Receiver, r.Withdrawn
		n.move = &courier.Move{ID: n.delivery, From: st.status, To: r.Status, At: now, Data: data}
		n.closeCases(st.status, now)
	}
	n.openCases(r, now)
}

// mayMove says whether the delivery moves to where the fold has it, and by which named rule when that reopens a final
// status (I-6). A delivery that a person has moved (handed over at the counter, declared lost) stays where it is until
// EMS says something newer.
func (n *news) mayMove(r Result, stored []courier.Scan, st standing) (rule string, ok bool) {
	switch {
	case r.Status == st.status, r.Status == courier.Ordered && !r.Withdrawn:
		return "", false
	case !st.status.Final():
		return "", st.status.MayBecome(r.Status, "")
	case len(n.fresh) == 0:
		return "", false
	case r.Rule != "" && n.isFresh(r.RuleScan):
		rule = r.Rule
	case Fold(stored, n.orderedAt).Status == st.status: // ours, from scans that were not complete
		rule = "scan_late:" + r.Scan.Code
	case st.status == courier.Lost && n.isFresh(r.Scan) && r.Since.After(st.since):
		rule = "found:" + r.Scan.Code
	}
	return rule, rule != "" && st.status.MayBecome(r.Status, rule)
}

func (n *news) isFresh(s courier.Scan) bool {
	_, found := slices.BinarySearchFunc(n.fresh, s, compareScans)
	return found || slices.ContainsFunc(n.fresh, func(f courier.Scan) bool { return sameScan(f, s) })
}

// data describes the scan that an event is about.
func (n *news) data(s courier.Scan, now time.Time) courier.EventData {
	d := courier.EventData{
		WaybillNo: n.no,
		ScanAt:    s.At.In(beijing).Format(time.RFC3339),
		ScanCode:  s.Code,
		Late:      now.Sub(s.At) > lateAfter,
	}
	if n.heldUntil != nil {
		d.HeldUntil = *n.heldUntil
	}
	return d
}

// longestCode bounds what becomes part of a scan's identity; EMS's own codes have up to ten characters (dossier 2.4).
const longestCode = 64

// sift takes the scans of a trace that can be kept and are not kept yet, in order and each once, and counts the others:
// scans of another waybill, without a code, or of a time that no calendar needs.
func sift(scans []courier.Scan, w waybill, known []kept) (fresh []courier.Scan, unreadable int) {
	type identity struct {
		at        int64
		code, org string
	}
	have := make(map[identity]bool, len(known))
	for _, k := range known {
		have[identity{k.At.UnixMicro(), k.Code, k.OrgCode}] = true
	}
	for _, s := range scans {
		year := s.At.UTC().Year()
		if s.WaybillNo != "" && s.WaybillNo != w.no || s.Code == "" || max(len(s.Code), len(s.OrgCode)) > longestCode || year < 2000 || year > 2199 {
			unreadable++
			continue
		}
		s = storable(s)
		s.DeliveryID, s.WaybillNo = w.delivery, w.no
		if !have[identity{s.At.UnixMicro(), s.Code, s.OrgCode}] {
			fresh = append(fresh, s)
		}
	}
	slices.SortFunc(fresh, compareScans)
	return slices.CompactFunc(fresh, sameScan), unreadable
}

// storable makes a scan what PostgreSQL gives back: microseconds, valid UTF-8, no NUL.
func storable(s courier.Scan) courier.Scan {
	s.At = s.At.UTC().Truncate(time.Microsecond)
	for _, field := range []*string{&s.Code, &s.Name, &s.OrgCode, &s.OrgName, &s.Province, &s.City, &s.DeliverCode, &s.AttemptCode} {
		*field = clean(*field)
	}
	return s
}

func clean(text string) string {
	if utf8.ValidString(text) && !strings.Contains(text, "\x00") {
		return text
	}
	return strings.ReplaceAll(strings.ToValidUTF8(text, "�"), "\x00", "�")
}
