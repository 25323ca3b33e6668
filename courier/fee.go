package courier

import (
	"slices"
	"time"
)

// A Tariff is the postage to a zone from ValidFrom until before ValidTo (zero: open). Money is fen, weights are grams.
type Tariff struct {
	Zone         string
	Provinces    []string
	ValidFrom    time.Time
	ValidTo      time.Time
	FirstWeightG int
	FirstFen     int64
	StepWeightG  int
	StepFen      int64
}

// A Quotation is what one envelope costs.
type Quotation struct {
	Zone string
	Fen  int64
}

// Quote gives the postage to a province by the tariff in force; false when none is. Where several apply the one that
// came into force last wins, so that a new tariff needs no end on the old one.
func Quote(tariffs []Tariff, province string, weightG int, now time.Time) (Quotation, bool) {
	var best *Tariff
	for i := range tariffs {
		t := &tariffs[i]
		if !inForce(t.ValidFrom, t.ValidTo, now) || !slices.Contains(t.Provinces, province) {
			continue
		}
		if best == nil || t.ValidFrom.After(best.ValidFrom) || t.ValidFrom.Equal(best.ValidFrom) && t.Zone < best.Zone {
			best = t
		}
	}
	if best == nil {
		return Quotation{}, false
	}
	return Quotation{best.Zone, best.price(weightG)}, true
}

// price charges each step that was begun.
func (t *Tariff) price(weightG int) int64 {
	over := max(0, weightG-t.FirstWeightG)
	steps := (over + t.StepWeightG - 1) / t.StepWeightG
	return t.FirstFen + int64(steps)*t.StepFen
}

// inForce reports whether now lies in [from, to); a zero to is open.
func inForce(from, to, now time.Time) bool {
	return !now.Before(from) && (to.IsZero() || now.Before(to))
}
