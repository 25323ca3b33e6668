package tracking

// rules is what a round goes by: how scans are read, and when EMS is asked again. Both are snapshots of tables that an
// operator or a clerk may change; a round takes up changes within half a minute.
type rules struct {
	book *Rulebook
	plan *Plan
}

// A Rulebook says how scans are read: the code tables and what was decided beyond them.
type Rulebook struct{}

// DefaultRulebook is the rulebook of the built-in tables.
func DefaultRulebook() *Rulebook { return &Rulebook{} }
