package tracking

import (
	"time"

	"emsd/courier"

	"github.com/google/uuid"
)

// An UnknownCode is a code of EMS's that nobody has decided about. Its scans are kept and change no status.
type UnknownCode struct {
	Code            string // "999", "704/99" (who received), "705/99" (why not)
	Name            string // EMS's own name, of the last example
	Seen            int64  // scans
	FirstAt, LastAt time.Time
	Example         uuid.UUID // a delivery
	ExampleAt       time.Time // of its scan
}

// unknownOf lists what the rulebook does not know about a scan.
func (b *Rulebook) unknownOf(s *courier.Scan) (codes []string) {
	if !b.Knows(s.Code, s.At) {
		codes = append(codes, s.Code)
	}
	for _, detail := range []struct{ of, code string }{{"704", s.DeliverCode}, {"705", s.AttemptCode}} {
		if code := detail.of + "/" + detail.code; s.Code == detail.of && detail.code != "" && !b.Knows(code, s.At) {
			codes = append(codes, code)
		}
	}
	return codes
}

// quarantined gathers the unknown codes among new scans: a count counts scans, however often EMS is asked.
func quarantined(b *Rulebook, all []news, now time.Time) map[string]*UnknownCode {
	var found map[string]*UnknownCode
	for i := range all {
		for j := range all[i].fresh {
			s := &all[i].fresh[j]
			for _, code := range b.unknownOf(&s.Scan) {
				u := found[code]
				if u == nil {
					if found == nil {
						found = map[string]*UnknownCode{}
					}
					u = &UnknownCode{Code: code, FirstAt: now, LastAt: now}
					found[code] = u
				}
				u.Seen++
				u.Name, u.Example, u.ExampleAt = short(s.Name), all[i].delivery, s.At
			}
		}
	}
	return found
}
