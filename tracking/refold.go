package tracking

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"emsd/courier"
	"emsd/courier/audit"
	"emsd/courier/vault"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// A Refolder computes anew what stored scans mean, after a table or a reader was mended or a clerk has decided about a
// code. It asks nobody. What a person has decided about a delivery stays.
type Refolder struct {
	db    *sqlx.DB
	vault *vault.Vault
	clock courier.Clock
	log   *slog.Logger

	// Progress, when set, gets the number of deliveries looked at after each chunk.
	Progress func(looked int)
}

// NewRefolder returns a Refolder.
func NewRefolder(db *sqlx.DB, v *vault.Vault, clock courier.Clock, log *slog.Logger) *Refolder {
	return &Refolder{db: db, vault: v, clock: clock, log: log}
}

// RefoldScope says which deliveries are looked at. All fields empty: all that have a waybill.
type RefoldScope struct {
	Since    time.Time // whose trace has grown since
	Delivery uuid.UUID
	Code     string // whose scans hold it: "999", "704/99", "705/99"
}

// A RefoldReport says what was changed, or would be.
type RefoldReport struct {
	Looked  int
	Changed int
	Skipped int // in other hands throughout: run it again
	Kinds   map[string]int
	// Examples are some deliveries of each kind of change.
	Examples map[string][]uuid.UUID
}

const mostExamples = 5

func (r *RefoldReport) add(n *news, was stood) {
	changes := n.changes(was)
	if len(changes) > 0 {
		r.Changed++
	}
	for _, c := range changes {
		if r.Kinds == nil {
			r.Kinds, r.Examples = map[string]int{}, map[string][]uuid.UUID{}
		}
		r.Kinds[c]++
		if len(r.Examples[c]) < mostExamples {
			r.Examples[c] = append(r.Examples[c], n.delivery)
		}
	}
}

// Lines tells the report for people, the most frequent change first.
func (r *RefoldReport) Lines() []string {
	kinds := slices.SortedFunc(maps.Keys(r.Kinds), func(a, b string) int {
		return cmp.Or(cmp.Compare(r.Kinds[b], r.Kinds[a]), cmp.Compare(a, b))
	})
	var lines []string
	for _, k := range kinds {
		var ids []string
		for _, id := range r.Examples[k] {
			ids = append(ids, id.String())
		}
		lines = append(lines, fmt.Sprintf("%7d  %-50s  %s", r.Kinds[k], k, strings.Join(ids, " ")))
	}
	return lines
}

// stood is a delivery as it stands before it is folded anew.
type stood struct {
	waybill
	standing
	receiver  string
	heldUntil time.Time
	byScan    bool               // its status was brought by a scan, not by a person
	open      []courier.CaseKind // cases
	had       []courier.CaseKind // cases that were closed
}

// refold decides what the rules make of the stored scans now. rule names why, should a final status be left (I-6).
func refold(was stood, known []kept, r rules, rule string, now time.Time) news {
	n := news{waybill: was.waybill, status: was.status, changedAt: was.changedAt, fingerprint: was.fingerprint, refold: rule}
	all := make([]courier.Scan, 0, len(known))
	for i := range known {
		if !known[i].ahead {
			all = append(all, known[i].Scan)
		}
	}
	after := r.book.Fold(all, Envelope{OrderedAt: was.orderedAt, IDChecked: was.idChecked})
	n.missingYear = after.MissingYear
	if tracked(was.status) && !was.atStation && (was.byScan || !was.status.Final()) {
		// What a clerk was told of once is not told again; what is open and gives no concern any more is settled.
		before := Result{Status: was.status, Receiver: was.receiver}
		for _, c := range after.Concerns {
			if slices.Contains(was.had, c.Kind) || slices.Contains(was.open, c.Kind) {
				before.Concerns = append(before.Concerns, c)
			}
		}
		for _, k := range was.open {
			if k == courier.CaseUnknownCode || k == courier.CaseDeliveredElsewhere || k == courier.CaseLost || k == courier.CaseReturned {
				before.Concerns = append(before.Concerns, Concern{Kind: k})
			}
		}
		n.follow(after, before, was.standing, now)
	}
	n.next, n.urgency = r.plan.Next(n.status, n.changedAt, was.orderedAt, 0, now)
	n.next = Spread(n.next, now, was.no)
	return n
}

// changes names what a new fold changes, in words that group alike deliveries.
func (n *news) changes(was stood) (list []string) {
	if n.move != nil {
		list = append(list, fmt.Sprintf("status %s → %s", n.move.From, n.move.To))
	}
	if n.receiver != nil && *n.receiver != was.receiver {
		list = append(list, fmt.Sprintf("receiver %s → %s", cmp.Or(was.receiver, "none"), cmp.Or(*n.receiver, "none")))
	}
	if n.heldUntil != nil && *n.heldUntil != dateText(was.heldUntil) {
		list = append(list, "last day of collection")
	}
	for _, c := range n.open {
		if !slices.Contains(was.open, c.Kind) {
			list = append(list, "case opened: "+string(c.Kind))
		}
	}
	for _, c := range n.closed {
		if slices.Contains(was.open, c.Kind) {
			list = append(list, "case closed: "+string(c.Kind))
		}
	}
	return list
}

func dateText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.DateOnly)
}

// refoldChunk bounds one transaction.
const refoldChunk = 500

// refoldTries is how often deliveries that somebody else has locked are tried again.
const refoldTries = 5

// Refold looks at every delivery of the scope under the rules as they stand now, and writes what changes unless dryRun.
// rule names the reason in the events of final statuses that are left, for example "refold:decision-7". Doing it again
// changes nothing.
func (f *Refolder) Refold(ctx context.Context, scope RefoldScope, rule string, dryRun bool) (RefoldReport, error) {
	book, err := readRulebook(ctx, f.db, f.clock.Now())
	if err != nil {
		return RefoldReport{}, err
	}
	if len(book.Faults) > 0 {
		return RefoldReport{}, fmt.Errorf("the rulebook has rows that cannot be used: %w", errors.Join(book.Faults...))
	}
	return f.under(ctx, book, scope, rule, dryRun)
}

func (f *Refolder) under(ctx context.Context, book *Rulebook, scope RefoldScope, rule string, dryRun bool) (report RefoldReport, err error) {
	plan, err := readPlan(ctx, f.db)
	if err != nil {
		return report, err
	}
	var after uuid.UUID
	var busy []uuid.UUID
	for {
		ids, err := refoldPage(ctx, f.db, scope, after, refoldChunk)
		if err != nil {
			return report, err
		}
		if len(ids) == 0 {
			break
		}
		after = ids[len(ids)-1]
		left, err := f.chunk(ctx, ids, rules{book, plan}, rule, dryRun, &report)
		if err != nil {
			return report, fmt.Errorf("refold %d deliveries after %s: %w", len(ids), after, err)
		}
		busy = append(busy, left...)
		if f.Progress != nil {
			f.Progress(report.Looked)
		}
	}
	for try := 0; len(busy) > 0 && try < refoldTries; try++ {
		var left []uuid.UUID
		for ids := range slices.Chunk(busy, refoldChunk) {
			again, err := f.chunk(ctx, ids, rules{book, plan}, rule, dryRun, &report)
			if err != nil {
				return report, err
			}
			left = append(left, again...)
		}
		busy = left
	}
	report.Skipped = len(busy)
	return report, ctx.Err()
}

// chunk folds some deliveries anew and gives back those that somebody else has locked.
func (f *Refolder) chunk(ctx context.Context, ids []uuid.UUID, r rules, rule string, dryRun bool, report *RefoldReport) (busy []uuid.UUID, err error) {
	now := f.clock.Now()
	tx, err := f.db.BeginTxx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer tx.Rollback() // after a commit it does nothing
	all, err := lockStood(ctx, tx, ids)
	if err != nil {
		return nil, err
	}
	reread, err := f.readTexts(ctx, tx, ids)
	if err != nil {
		return nil, err
	}
	known, err := readKept(ctx, tx, texts(ids), time.Unix(0, 0))
	if err != nil {
		return nil, err
	}
	var changed []news
	for _, id := range ids {
		was, ok := all[id]
		if !ok {
			busy = append(busy, id)
			continue
		}
		for i := range known[id] {
			reread.apply(&known[id][i])
		}
		n := refold(was, known[id], r, rule, now)
		report.Looked++
		report.add(&n, was)
		if len(n.changes(was)) > 0 {
			changed = append(changed, n)
		}
	}
	if dryRun {
		return busy, nil
	}
	if err := reread.write(ctx, tx); err != nil {
		return nil, err
	}
	if len(changed) > 0 {
		if err := writeNews(ctx, tx, f.vault, changed, now); err != nil {
			return nil, err
		}
	}
	return busy, tx.Commit()
}

// Readings are what texts say by the reader of today, where that differs from what is stored.
type readings map[identityKey]reading

type identityKey struct {
	delivery uuid.UUID
	identity
	print int64
}

type reading struct {
	class  string
	until  time.Time
	retold bool
}

func keyOf(k *kept) identityKey { return identityKey{k.DeliveryID, identityOf(&k.Scan), k.print} }

func (s readings) apply(k *kept) {
	if now, ok := s[keyOf(k)]; ok {
		k.SaidClass, k.SaidUntil = now.class, now.until
	}
}

func texts(ids []uuid.UUID) []string {
	list := make([]string, len(ids))
	for i, id := range ids {
		list[i] = id.String()
	}
	return list
}

// Decide records what a code means and applies it to the deliveries that have it: a dated row, never overwritten. With
// dryRun it only tells what would change. The faults of a decision that cannot be read are courier.Faults.
func (f *Refolder) Decide(ctx context.Context, d Decision, by, reason string, dryRun bool) (RefoldReport, error) {
	if err := d.Check(); err != nil {
		return RefoldReport{}, courier.Faults{{Field: "meaning", Code: "unknown_value", Detail: err.Error()}}
	}
	if strings.TrimSpace(reason) == "" {
		return RefoldReport{}, courier.Faults{{Field: "reason", Code: "required", Detail: "请填写依据，例如邮政的答复和日期"}}
	}
	now, scope := f.clock.Now(), RefoldScope{Code: d.Code}
	if dryRun {
		book, err := f.bookWith(ctx, d, now)
		if err != nil {
			return RefoldReport{}, err
		}
		return f.under(ctx, book, scope, "refold:decision", true)
	}
	var id int64
	err := courier.InTx(ctx, f.db, func(tx *sqlx.Tx) (err error) {
		if id, err = insertDecision(ctx, tx, RecordedDecision{Decision: d, At: now, By: by, Reason: reason}); err != nil {
			return fmt.Errorf("record the decision about %s: %w", d.Code, err)
		}
		return audit.Append(ctx, tx, audit.Entry{At: now, Actor: by, Action: "code.decide", Object: d.Code,
			Detail: map[string]string{"meaning": d.Meaning, "sentence": d.Sentence, "valid_from": d.ValidFrom.Format(time.RFC3339), "reason": reason}})
	})
	if err != nil {
		return RefoldReport{}, err
	}
	f.log.InfoContext(ctx, "a code was decided", "code", d.Code, "meaning", d.Meaning, "decision", id)
	return f.Refold(ctx, scope, fmt.Sprintf("refold:decision-%d", id), false)
}

// bookWith is the rulebook as it would be with one more decision.
func (f *Refolder) bookWith(ctx context.Context, d Decision, now time.Time) (*Rulebook, error) {
	decisions, err := readDecisions(ctx, f.db)
	if err != nil {
		return nil, err
	}
	policies, err := readPolicies(ctx, f.db, now.AddDate(-policyYears, 0, 0))
	if err != nil {
		return nil, err
	}
	terms, err := readTerms(ctx, f.db)
	if err != nil {
		return nil, err
	}
	return newRulebook(append(decisions, d), policies, terms), nil
}
