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

	// Progress, when set, gets the number of deliveries looked at after each chunk, and of those in the scope.
	Progress func(looked, total int)
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
	Bygone  int // left as they are: the scans that brought their status are dropped
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
	byScan    bool   // its status was brought by a scan, not by a person
	causeCode string // that scan
	causeAt   time.Time
	open      []courier.CaseKind // cases
	had       []courier.CaseKind // cases that were closed
}

// bygone reports whether what brought the status is not stored any more. The rules cannot tell then where it would stand.
func (was *stood) bygone(known []kept) bool {
	if !was.byScan {
		return len(known) == 0 && was.status != courier.Ordered
	}
	return !slices.ContainsFunc(known, func(k kept) bool { return k.Code == was.causeCode && k.At.Unix() == was.causeAt.Unix() })
}

// A cause says why deliveries are folded anew. rule stands in their events, and lets final statuses be left (I-6).
type cause struct {
	rule string
	// quiet keeps residents from being told: they were told by the old rules. A decision about a code is the first that
	// anybody can tell, so that it is news for as long as its scan is.
	quiet bool
}

// refold decides what the rules make of the stored scans now.
func refold(was stood, known []kept, r rules, why cause, now time.Time) news {
	n := news{waybill: was.waybill, status: was.status, changedAt: was.changedAt, fingerprint: was.fingerprint, refold: why.rule, quiet: why.quiet}
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
		if n.move == nil && n.differs(was) {
			data := n.data(after.Scan, now)
			data.Rule, data.Receiver, data.Receipt, data.Attempt = n.refold, after.Receiver, after.Receipt, after.Attempt
			n.event = &courier.NewEvent{DeliveryID: n.delivery, Type: courier.EventScan, At: now, Data: data}
		}
	}
	n.next, n.urgency = r.plan.Next(n.status, n.changedAt, was.orderedAt, 0, now)
	n.next = Spread(n.next, now, was.no)
	return n
}

// differs reports whether who received the envelope, or how long it waits, is another than it was.
func (n *news) differs(was stood) bool {
	return n.receiver != nil && *n.receiver != was.receiver || n.heldUntil != nil && *n.heldUntil != dateText(was.heldUntil)
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

// refoldPageSize is how many deliveries are looked up at once: a scope may take a pass over all scans to find them.
const refoldPageSize = 20_000

// refoldChunk bounds one transaction.
const refoldChunk = 500

// refoldTries is how often a delivery that somebody else has locked is waited for again, refoldWait each time.
const (
	refoldTries = 3
	refoldWait  = 2 * time.Second
)

// Refold looks at every delivery of the scope under the rules as they stand now, and writes what changes unless dryRun.
// rule names the reason in the events of what moves, for example "refold:v1.2.0"; residents are told nothing. Doing it
// again changes nothing.
func (f *Refolder) Refold(ctx context.Context, scope RefoldScope, rule string, dryRun bool) (RefoldReport, error) {
	book, err := f.book(ctx)
	if err != nil {
		return RefoldReport{}, err
	}
	return f.under(ctx, book, scope, cause{rule, true}, dryRun)
}

// book is the rulebook of all times, as it would be with more decisions: traces may be kept longer than the poller looks back.
func (f *Refolder) book(ctx context.Context, more ...Decision) (*Rulebook, error) {
	decisions, err := readDecisions(ctx, f.db)
	if err != nil {
		return nil, err
	}
	policies, err := readPolicies(ctx, f.db, time.Time{})
	if err != nil {
		return nil, err
	}
	terms, err := readTerms(ctx, f.db)
	if err != nil {
		return nil, err
	}
	book := newRulebook(append(decisions, more...), policies, terms)
	if len(book.Faults) > 0 {
		return nil, fmt.Errorf("the rulebook has rows that cannot be used: %w", errors.Join(book.Faults...))
	}
	return book, nil
}

func (f *Refolder) under(ctx context.Context, book *Rulebook, scope RefoldScope, why cause, dryRun bool) (report RefoldReport, err error) {
	plan, err := readPlan(ctx, f.db)
	if err != nil {
		return report, err
	}
	job := refoldJob{Refolder: f, rules: rules{book, plan}, why: why, dryRun: dryRun, report: &report}
	if f.Progress != nil {
		if job.total, err = refoldCount(ctx, f.db, scope); err != nil {
			return report, err
		}
	}
	var after uuid.UUID
	var busy []uuid.UUID
	for {
		ids, err := refoldPage(ctx, f.db, scope, after, refoldPageSize)
		if err != nil {
			return report, err
		}
		if len(ids) == 0 {
			break
		}
		after = ids[len(ids)-1]
		left, err := job.chunks(ctx, ids, refoldChunk, false)
		if err != nil {
			return report, err
		}
		busy = append(busy, left...)
	}
	for try := 0; len(busy) > 0 && try < refoldTries; try++ {
		if busy, err = job.chunks(ctx, busy, 1, true); err != nil {
			return report, err
		}
	}
	report.Skipped = len(busy)
	if job.unreadable > 0 {
		f.log.WarnContext(ctx, "texts of scans cannot be opened, what was read of them before counts", "count", job.unreadable)
	}
	if dryRun {
		return report, nil
	}
	return report, releaseKnown(ctx, f.db, book)
}

// A refoldJob is one run of a Refolder.
type refoldJob struct {
	*Refolder
	rules  rules
	why    cause
	dryRun bool
	total  int
	report *RefoldReport

	unreadable int // texts
}

// chunks folds deliveries anew, some in a transaction, and gives back those that somebody else has locked.
func (f *refoldJob) chunks(ctx context.Context, ids []uuid.UUID, size int, wait bool) (busy []uuid.UUID, err error) {
	for chunk := range slices.Chunk(ids, size) {
		left, err := f.chunk(ctx, chunk, wait)
		if err != nil {
			return nil, fmt.Errorf("refold %d deliveries from %s on: %w", len(chunk), chunk[0], err)
		}
		busy = append(busy, left...)
		if f.Progress != nil {
			f.Progress(f.report.Looked, f.total)
		}
	}
	return busy, nil
}

// chunk folds some deliveries anew and gives back those that somebody else has locked.
func (f *refoldJob) chunk(ctx context.Context, ids []uuid.UUID, wait bool) (busy []uuid.UUID, err error) {
	now := f.clock.Now()
	tx, err := f.db.BeginTxx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer tx.Rollback() // after a commit it does nothing
	all, err := lockStood(ctx, tx, ids, wait)
	if isLockTimeout(err) {
		return ids, nil
	}
	if err != nil {
		return nil, err
	}
	mine := ids[:0:0]
	from := now
	for _, id := range ids {
		was, ok := all[id]
		if !ok {
			busy = append(busy, id)
			continue
		}
		mine = append(mine, id)
		if was.orderedAt.Before(from) {
			from = was.orderedAt
		}
	}
	from = from.AddDate(0, -1, 0) // what is older than its order by more than that counts for nothing
	reread, err := f.readTexts(ctx, tx, mine, from)
	if err != nil {
		return nil, err
	}
	known, err := readKept(ctx, tx, texts(mine), from)
	if err != nil {
		return nil, err
	}
	var changed []news
	for _, id := range mine {
		if n, ok := f.one(all[id], known[id], reread, now); ok {
			changed = append(changed, n)
		}
	}
	if f.dryRun {
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

// one folds a delivery anew and reports it; ok is false when nothing is to be written.
func (f *refoldJob) one(was stood, known []kept, reread readings, now time.Time) (n news, ok bool) {
	f.report.Looked++
	if was.bygone(known) {
		f.report.Bygone++
		return n, false
	}
	for i := range known {
		reread.apply(&known[i])
	}
	n = refold(was, known, f.rules, f.why, now)
	f.report.add(&n, was)
	return n, len(n.changes(was)) > 0
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
		return RefoldReport{}, err
	}
	if strings.TrimSpace(reason) == "" {
		return RefoldReport{}, courier.Faults{{Field: "reason", Code: "required", Detail: "请填写依据，例如邮政的答复和日期"}}
	}
	now, scope := f.clock.Now(), RefoldScope{Code: d.Code}
	if dryRun {
		book, err := f.book(ctx, d)
		if err != nil {
			return RefoldReport{}, err
		}
		return f.under(ctx, book, scope, cause{rule: "refold:decision"}, true)
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
	book, err := f.book(ctx)
	if err != nil {
		return RefoldReport{}, err
	}
	report, err := f.under(ctx, book, scope, cause{rule: fmt.Sprintf("refold:decision-%d", id)}, false)
	if err != nil {
		return report, fmt.Errorf("decision %d is recorded and counts; fold what is stored anew with emsd refold: %w", id, err)
	}
	return report, nil
}
