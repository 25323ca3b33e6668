package tracking

import (
	"strings"
	"time"

	"emsd/courier"
)

// A Step is one scan as people read it.
type Step struct {
	At       time.Time // Beijing
	Code     string
	Name     string // EMS's name of the code; for clerks
	Sentence string // ours; for everybody
	Place    string // organisation, with its city where the name lacks it; for clerks
	Group    Group  // empty for a code that the table lacks
	Voided   bool   // taken back by a later scan: not shown to residents
	Ignored  bool   // older than the order: of another envelope
}

// Steps arranges scans for reading, oldest first.
func Steps(scans []courier.Scan, orderedAt time.Time) []Step {
	line, ignored := arrange(scans, orderedAt)
	voidedBy, _ := matchVoids(line)
	steps := make([]Step, 0, len(scans))
	for _, s := range ignored {
		st := stepOf(s)
		st.Ignored = true
		steps = append(steps, st)
	}
	for i, s := range line {
		st := stepOf(s)
		st.Voided = voidedBy[i] >= 0
		steps = append(steps, st)
	}
	return steps
}

func stepOf(s courier.Scan) Step {
	c := codes[s.Code]
	place := s.OrgName
	if !strings.Contains(place, strings.TrimSuffix(s.City, "市")) {
		place = strings.TrimSpace(s.City + " " + place)
	}
	name := s.Name
	if name == "" {
		name = c.Name
	}
	return Step{At: s.At.In(beijing), Code: s.Code, Name: name, Sentence: SentenceOf(s), Place: place, Group: c.Group}
}
