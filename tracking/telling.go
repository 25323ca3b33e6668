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
func textPrint(v *vault.Vault, s courier.Scan) int64 {
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

// tellings finds what is known of a scan.
type tellings struct {
	first map[identity]int32
	list  []telling
	next  []int32 // of the same scan; -1 ends
}

func newTellings(known []kept, more int) *tellings {
	t := &tellings{first: make(map[identity]int32, len(known)+more),
		list: make([]telling, 0, len(known)+more), next: make([]int32, 0, len(known)+more)}
	for _, retold := range []bool{false, true} { // the scan itself stands first
		for i := range known {
			if known[i].retold == retold {
				t.add(known[i].telling)
			}
		}
	}
	return t
}

// add gives where the telling stands.
func (t *tellings) add(x telling) {
	n := int32(len(t.list))
	t.list, t.next = append(t.list, x), append(t.next, -1)
	id := identityOf(&x.Scan)
	if first, ok := t.first[id]; ok {
		t.next[n], t.next[first] = t.next[first], n
	} else {
		t.first[id] = n
	}
}

// has reports whether a scan was told with this print.
func (t *tellings) has(first int32, print int64) bool {
	for i := first; i >= 0; i = t.next[i] {
		if t.list[i].print == print {
			return true
		}
	}
	return false
}

// worth reports whether another telling of a known scan is kept.
func (t *tellings) worth(first int32, x *telling) bool {
	n, new := 0, true
	for i := first; i >= 0; i = t.next[i] {
		y := &t.list[i]
		n++
		new = new && (y.DeliverCode != x.DeliverCode || y.AttemptCode != x.AttemptCode || y.SaidClass != x.SaidClass || !y.SaidUntil.Equal(x.SaidUntil))
	}
	return new || n < mostTellings
}

// sift takes the scans of a trace that can be kept and are not kept yet, and counts the others: scans of another waybill,
// without a code, or of a time that no calendar needs.
func (n *news) sift(scans []courier.Scan, known []kept, hash func(courier.Scan) int64) {
	have := newTellings(known, len(scans))
	for _, s := range scans {
		if year := s.At.UTC().Year(); s.WaybillNo != "" && s.WaybillNo != n.no || s.Code == "" ||
			max(len(s.Code), len(s.OrgCode)) > longestCode || year < 2000 || year > 2199 {
			n.unreadable++
			continue
		}
		x := telling{Scan: storable(s)}
		x.DeliveryID, x.WaybillNo = n.delivery, n.no
		first, known := have.first[identityOf(&x.Scan)]
		if known && have.list[first].print == 0 {
			continue // stored before there were prints: nobody can say whether this is another telling
		}
		if x.print = hash(x.Scan); known && have.has(first, x.print) {
			continue
		}
		x.Scan = readText(x.Scan)
		switch {
		case !known:
			n.fresh = append(n.fresh, x)
		case have.worth(first, &x):
			x.ahead = have.list[first].ahead
			n.retold = append(n.retold, x)
		default:
			continue
		}
		have.add(x)
	}
	slices.SortStableFunc(n.fresh, func(a, b telling) int { return compareScans(a.Scan, b.Scan) })
	slices.SortStableFunc(n.retold, func(a, b telling) int { return compareScans(a.Scan, b.Scan) })
}

// day gives a day as PostgreSQL's date wants it; nil for none.
func day(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	s := t.In(beijing).Format(time.DateOnly)
	return &s
}
