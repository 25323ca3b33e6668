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
	Group    Group  // empty for a code that nobody knows
	Voided   bool   // taken back by another scan: not shown to residents
	Ignored  bool   // older than the order: of another envelope
}

// Steps arranges scans for reading by the built-in tables, oldest first.
func Steps(scans []courier.Scan, orderedAt time.Time) []Step {
	return defaultBook.Steps(scans, orderedAt)
}

// Steps arranges scans for reading, oldest first. Of several tellings of a scan it shows the one that counts.
func (b *Rulebook) Steps(scans []courier.Scan, orderedAt time.Time) []Step {
	line, ignored := b.arrange(scans, orderedAt)
	matchVoids(line)
	steps := make([]Step, 0, len(scans))
	for i := range ignored {
		st := b.step(&ignored[i])
		st.Ignored = true
		steps = append(steps, st)
	}
	for i := range line {
		st := b.step(&line[i])
		st.Voided = line[i].voidedBy >= 0
		steps = append(steps, st)
	}
	return steps
}

func (b *Rulebook) step(x *entry) Step {
	place := x.OrgName
	if !strings.Contains(place, strings.TrimSuffix(x.City, "市")) {
		place = strings.TrimSpace(x.City + " " + place)
	}
	name := x.Name
	if name == "" {
		if d := b.decided("", x.Code, x.At); d != nil && d.Name != "" {
			name = d.Name
		} else {
			name = codes[x.Code].Name
		}
	}
	return Step{At: x.At.In(beijing), Code: x.Code, Name: name, Sentence: b.SentenceOf(*x.Scan), Place: place, Group: x.group}
}
