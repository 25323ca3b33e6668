package tracking

import (
	"context"
	"fmt"
	"strings"
	"time"

	"emsd/courier"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// A Chronicler keeps the table journeys: how long envelopes took, for expectations and statistics. The feed tells it which
// deliveries have changed; what their journeys were is computed from their scans, as the status is (I-6), so that scans
// which came in one bunch, late or in the wrong order, and scans that were taken back, count as they should.
type Chronicler struct {
	db    *sqlx.DB
	clock courier.Clock
}

// NewChronicler returns a Chronicler; any number may run on one database, they take turns.
func NewChronicler(db *sqlx.DB, clock courier.Clock) *Chronicler { return &Chronicler{db, clock} }

// journeyChunk bounds how many events one transaction takes in.
const journeyChunk = 1000

// Round reads the feed to its end.
func (c *Chronicler) Round(ctx context.Context) error {
	book, err := readRulebook(ctx, c.db, c.clock.Now())
	if err != nil {
		return fmt.Errorf("journeys: %w", err)
	}
	for {
		read, err := chronicle(ctx, c.db, book, journeyChunk)
		if err != nil {
			return fmt.Errorf("journeys: %w", err)
		}
		if read < journeyChunk {
			return nil
		}
	}
}

// travelled lists the deliveries that a chunk of the feed may have brought on.
func travelled(events []courier.Event) []uuid.UUID {
	seen := make(map[uuid.UUID]bool, len(events))
	var ids []uuid.UUID
	for _, e := range events {
		moved := e.Type == courier.EventScan || strings.HasPrefix(string(e.Type), "delivery.")
		if moved && !seen[e.DeliveryID] {
			seen[e.DeliveryID] = true
			ids = append(ids, e.DeliveryID)
		}
	}
	return ids
}

// A traveller is what a journey needs of a delivery beside its scans.
type traveller struct {
	id                              uuid.UUID
	station, province, city, county string
	status                          courier.Status
	since                           time.Time
	Envelope
}

// A journey is how far an envelope has come; times that have not come yet are zero.
type journey struct {
	traveller
	acceptedAt     time.Time // EMS had it in hand: its first scan that counts
	firstAttemptAt time.Time
	firstAttemptOK bool           // handed over at once, and not to somebody that a clerk must ask about (I-7)
	endedAt        time.Time      // zero while it is live, also after a final status was left again
	outcome        courier.Status // final
}

// journeyOf computes a journey from all scans of a delivery.
func journeyOf(t traveller, scans []courier.Scan, b *Rulebook) journey {
	j := journey{traveller: t}
	r, judged := b.Explain(scans, t.Envelope)
	for i := range judged {
		if !judged[i].Rule.counts() {
			continue
		}
		x := b.entryOf(&judged[i].Scan)
		if j.acceptedAt.IsZero() {
			j.acceptedAt = x.At
		}
		if j.firstAttemptAt.IsZero() && isAttempt(x.group) {
			j.firstAttemptAt, j.firstAttemptOK = x.At, b.handedOver(&x, t.IDChecked)
		}
	}
	if t.status.Final() {
		j.endedAt, j.outcome = t.since, t.status
		if r.Status == t.status && !r.Since.IsZero() { // else a person has decided, who was there
			j.endedAt = r.Since
		}
	}
	return j
}

// counts reports whether a scan that was taken by the rule tells where the envelope was on its way to the holder.
func (r Rule) counts() bool {
	return r == RuleMoves || r == RuleConfirms || r == RuleLateAcceptance || r == RuleFound
}

func isAttempt(g Group) bool { return g == AttemptFailed || g == Delivered || g == Held }

// handedOver reports whether an attempt was a delivery that needs no clerk.
func (b *Rulebook) handedOver(x *entry, idChecked bool) bool {
	e := b.effectOf(x)
	if e.status != courier.Delivered {
		return false
	}
	receipt, _ := b.receipt(e.receiver, x.Scan, idChecked)
	return receipt != receiptCase
}
