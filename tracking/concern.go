package tracking

import (
	"cmp"
	"slices"

	"emsd/courier"
)

// A concern is a Concern in the making.
type concern struct {
	kind  courier.CaseKind
	code  string // of an unknown code; else the scan tells
	scan  *courier.Scan
	hours int
	until until
}

// until says which later status settles a concern that left the status as it was.
type until int

const (
	untilNever  until = iota // a clerk closes the case
	untilMoved               // anything that EMS does with the envelope
	untilTurned              // it goes back, or an end
	untilEnd                 // it waits, goes back, or an end
	untilFinal               // an end
)

func (u until) settledBy(s courier.Status) bool {
	switch u {
	case untilMoved:
		return true
	case untilTurned:
		return s == courier.Returning || s.Final()
	case untilFinal:
		return s.Final()
	case untilEnd:
		return s == courier.Held || s == courier.Returning || s.Final()
	}
	return false
}

func newConcern(kind courier.CaseKind, s *courier.Scan, hours int) concern {
	return concern{kind: kind, scan: s, hours: hours}
}

// note keeps a concern that leaves the status; of several about one code the last.
func (f *folding) note(kind courier.CaseKind, s *courier.Scan, u until) {
	if kind == "" {
		return
	}
	f.standing = slices.DeleteFunc(f.standing, func(c concern) bool { return c.kind == kind && sameCode(c.scan, s) })
	f.standing = append(f.standing, concern{kind: kind, scan: s, until: u})
}

func sameCode(a, b *courier.Scan) bool {
	return a.Code == b.Code && a.DeliverCode == b.DeliverCode && a.AttemptCode == b.AttemptCode
}

// meet remembers the last scan of each unknown code.
func (f *folding) meet(code string, s *courier.Scan) {
	i := slices.IndexFunc(f.unknown, func(c concern) bool { return c.code == code })
	if i >= 0 {
		f.unknown[i].scan = s
		return
	}
	f.unknown = append(f.unknown, concern{kind: courier.CaseUnknownCode, code: code, scan: s})
}

// tellConcerns sorts what there is for a clerk.
func (f *folding) tellConcerns() {
	if f.own.kind == "" && len(f.standing) == 0 && len(f.unknown) == 0 {
		return
	}
	all := append(f.standing, f.unknown...)
	if f.own.kind != "" {
		all = append(all, f.own)
	}
	f.Concerns = make([]Concern, len(all))
	for i, c := range all {
		f.Concerns[i] = Concern{Kind: c.kind, Code: cmp.Or(c.code, shownCode(c.scan)), Scan: *c.scan, Hours: c.hours}
		if c.kind == courier.CaseUnknownCode {
			f.Unknown = append(f.Unknown, c.code)
		}
	}
	slices.Sort(f.Unknown)
	slices.SortStableFunc(f.Concerns, func(a, b Concern) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), compareScans(&a.Scan, &b.Scan), cmp.Compare(a.Code, b.Code))
	})
}

// shownCode is the code of a scan with the deliverCode or attemptDeliveryCode behind it.
func shownCode(s *courier.Scan) string {
	switch {
	case s.DeliverCode != "":
		return s.Code + "/" + s.DeliverCode
	case s.AttemptCode != "":
		return s.Code + "/" + s.AttemptCode
	}
	return s.Code
}
