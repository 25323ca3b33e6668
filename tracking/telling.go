package tracking

import (
	"encoding/binary"
	"slices"
	"time"

	"emsd/courier"
	"emsd/courier/vault"
)

// A telling is a scan as EMS told it once. EMS rewrites texts and adds codes later: the scan stands, and each other
// telling of it is kept beside it (I-6).
type telling struct {
	courier.Scan
	print int64 // keyed hash of what it tells beyond its identity; 0 when that is not known
	ahead bool  // its time lay in the future when the scan was first seen
}

// A kept telling is one that the store has.
type kept struct {
	telling
	retold bool
}

// mostTellings is how many tellings of a scan are kept that say nothing new to the rules: a text that changes with every
// answer must not fill the database.
const mostTellings = 8

// textPrint is the keyed hash of what a scan tells beyond its identity; never 0.
func textPrint(v *vault.Vault, s *courier.Scan) int64 {
	text := s.Name + "\x00" + s.Desc.Reveal() + "\x00" + s.DeliverCode + "\x00" + s.AttemptCode
	if p := int64(binary.BigEndian.Uint64(v.Lookup(vault.ColumnScan, text))); p != 0 {
		return p
	}
	return 1
}

// identity is what makes two tellings tell of one scan.
type identity struct {
	at        int64
	code, org string
}

func identityOf(s *courier.Scan) identity { return identity{s.At.UnixMicro(), s.Code, s.OrgCode} }

// tellings finds what is known of a scan. It keeps what it compares, not whole scans: traces may be long.
type tellings struct {
	first map[identity]int32
	list  []variant
}

// A variant is what tells a telling from others of the same scan.
type variant struct {
	print            int64
	deliver, attempt string
	class            string
	until            time.Time
	ahead            bool
	next             int32 // of the same scan; -1 ends
}

func newTellings(known []kept, more int) *tellings {
	t := &tellings{first: make(map[identity]int32, len(known)+more), list: make([]variant, 0, len(known)+more)}
	for _, retold := range []bool{false, true} { // the scan itself stands first
		for i := range known {
			if known[i].retold == retold {
				t.add(&known[i].telling)
			}
		}
	}
	return t
}

func (t *tellings) add(x *telling) {
	n := int32(len(t.list))
	t.list = append(t.list, variant{x.print, x.DeliverCode, x.AttemptCode, x.SaidClass, x.SaidUntil, x.ahead, -1})
	id := identityOf(&x.Scan)
	if first, ok := t.first[id]; ok {
		t.list[n].next, t.list[first].next = t.list[first].next, n
	} else {
		t.first[id] = n
	}
}

// has reports whether a scan was told with this print.
func (t *tellings) has(first int32, print int64) bool {
	for i := first; i >= 0; i = t.list[i].next {
		if t.list[i].print == print {
			return true
		}
	}
	return false
}

// worth reports whether another telling of a known scan is kept.
func (t *tellings) worth(first int32, x *telling) bool {
	n, new := 0, true
	for i := first; i >= 0; i = t.list[i].next {
		y := &t.list[i]
		n++
		new = new && (y.deliver != x.DeliverCode || y.attempt != x.AttemptCode || y.class != x.SaidClass || !y.until.Equal(x.SaidUntil))
	}
	return new || n < mostTellings
}

// sift takes the scans of a trace that can be kept and are not kept yet, and counts the others: scans of another waybill,
// without a code, or of a time that no calendar needs.
func (n *news) sift(scans []courier.Scan, known []kept, hash func(*courier.Scan) int64) {
	have := newTellings(known, len(scans))
	n.fresh = slices.Grow(n.fresh, max(0, len(scans)-len(known)))
	var x telling // one for all: its address is handed on
	for i := range scans {
		s := &scans[i]
		if year := s.At.UTC().Year(); s.WaybillNo != "" && s.WaybillNo != n.no || s.Code == "" ||
			max(len(s.Code), len(s.OrgCode)) > longestCode || year < 2000 || year > 2199 {
			n.unreadable++
			continue
		}
		x = telling{Scan: *s}
		makeStorable(&x.Scan)
		x.DeliveryID, x.WaybillNo = n.delivery, n.no
		first, known := have.first[identityOf(&x.Scan)]
		if known && have.list[first].print == 0 {
			continue // stored before there were prints: nobody can say whether this is another telling
		}
		if x.print = hash(&x.Scan); known && have.has(first, x.print) {
			continue
		}
		readInto(&x.Scan)
		switch {
		case !known:
			n.fresh = append(n.fresh, x)
		case have.worth(first, &x):
			x.ahead = have.list[first].ahead
			n.retold = append(n.retold, x)
		default:
			continue
		}
		have.add(&x)
	}
	sortTellings(n.fresh)
	sortTellings(n.retold)
}

func sortTellings(list []telling) {
	for i := 1; i < len(list); i++ {
		if compareScans(&list[i-1].Scan, &list[i].Scan) > 0 { // EMS gives most traces in order
			slices.SortStableFunc(list, func(a, b telling) int { return compareScans(&a.Scan, &b.Scan) })
			return
		}
	}
}

// day gives a day as PostgreSQL's date wants it; nil for none.
func day(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	s := t.In(beijing).Format(time.DateOnly)
	return &s
}
