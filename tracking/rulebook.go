package tracking

import (
	"time"

	"emsd/courier"
)

// rules is what a round goes by: how scans are read, and when EMS is asked again. Both are snapshots of tables that an
// operator or a clerk may change; a round takes up changes within half a minute.
type rules struct {
	book *Rulebook
	plan *Plan
}

// A Rulebook says how scans are read: the built-in code tables, what was decided beyond them, what each class of
// recipient means, and how long envelopes wait for collection. It never changes once made.
type Rulebook struct {
	decisions map[string][]Decision // by code, those that count first in front
	policies  map[string][]recipientPolicy
	terms     map[string]term

	// Faults are rows of the tables that could not be used and were left out.
	Faults []error
}

// An Envelope is what the fold has to know beside the scans.
type Envelope struct {
	OrderedAt time.Time
	IDChecked bool // the order told EMS to check an identity document
}

// DefaultRulebook is the rulebook that the schema brings, without a decision.
func DefaultRulebook() *Rulebook { return &Rulebook{} }

// Fold computes the status from all scans; see the function of that name.
func (b *Rulebook) Fold(scans []courier.Scan, e Envelope) Result { return Fold(scans, e.OrderedAt) }

// SentenceOf is what residents and clerks read for a scan, decisions included.
func (b *Rulebook) SentenceOf(s courier.Scan) string { return SentenceOf(s) }

// Steps arranges scans for reading, oldest first.
func (b *Rulebook) Steps(scans []courier.Scan, orderedAt time.Time) []Step { return Steps(scans, orderedAt) }

// A recipientPolicy is a row of recipient_policies.
type recipientPolicy struct {
	class, action string
	dueHours      int
	from, to      time.Time // to is zero while it is open
}

// A term is a row of collection_terms.
type term struct {
	place   string
	days    int
	working bool
}

// A Decision says from when on a code means what. Code is a code of its own ("999"), a deliverCode behind its scan
// ("704/99") or an attemptDeliveryCode ("705/99"). Meaning is a Group or "void:" with the codes taken back; a recipient
// class; or attempt_failed, held, returning, lost or in_transit, with "+address" behind it when a clerk must look at the
// address.
type Decision struct {
	Code      string
	Name      string // EMS's
	Meaning   string
	Sentence  string // what residents read; may be empty
	ValidFrom time.Time
}

// Check says in plain Chinese what is wrong with a decision.
func (d Decision) Check() error { return nil }
