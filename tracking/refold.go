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
	"emsd/courier/vault"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// A Refolder computes anew what stored scans mean, after a table or a reader was mended or a clerk has decided about a
// code. It asks nobody. What a person has decided about a delivery stays.
type Refolder struct {
	on    courier.Handle
	vault *vault.Vault
	clock courier.Clock
	log   *slog.Logger
	size  int // of a chunk: one transaction

	// Progress, when set, gets the number of deliveries looked at after each chunk, and of those in the scope.
	Progress func(looked, total int)
}

// NewRefolder returns a Refolder.
func NewRefolder(db *sqlx.DB, v *vault.Vault, clock courier.Clock, log *slog.Logger) *Refolder {
	return &Refolder{on: courier.HandleOf(db), vault: v, clock: clock, log: log, size: refoldChunk}
}

// On returns a Refolder for work on another handle: as a part of the transaction that is open there.
func (f *Refolder) On(h courier.Handle) *Refolder {
	bound := *f
	bound.on = h
	return &bound
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
	Dark    int // texts that cannot be opened: what was read of them before counts
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
		r.count(c, 1, n.delivery)
	}
}

func (r *RefoldReport) count(kind string, n int, examples ...uuid.UUID) {
	if r.Kinds == nil {
		r.Kinds = map[string]int{}
	}
	if r.Examples == nil {
		r.Examples = map[string][]uuid.UUID{}
	}
	r.Kinds[kind] += n
	if all := append(r.Examples[kind], examples...); len(all) > 0 {
		r.Examples[kind] = all[:min(len(all), mostExamples)]
	}
}

// with is the report and that of a further chunk.
func (r RefoldReport) with(chunk RefoldReport) RefoldReport {
	sum := RefoldReport{Looked: r.Looked + chunk.Looked, Changed: r.Changed + chunk.Changed, Skipped: r.Skipped + chunk.Skipped,
		Bygone: r.Bygone + chunk.Bygone, Dark: r.Dark + chunk.Dark}
	for _, of := range []RefoldReport{r, chunk} {
		for kind, n := range of.Kinds {
			sum.count(kind, n, of.Examples[kind]...)
		}
	}
	return sum
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
	job := &refoldJob{Refolder: f, why: cause{rule, true}, dryRun: dryRun}
	return job.run(ctx, book, scope)
}

// book is the rulebook of all times, as it would be with more decisions: traces may be kept longer than the poller looks back.
func (f *Refolder) book(ctx context.Context, more ...Decision) (*Rulebook, error) {
	decisions, err := readDecisions(ctx, f.on.Q())
	if err != nil {
		return nil, err
	}
	policies, err := readPolicies(ctx, f.on.Q(), time.Time{})
	if err != nil {
		return nil, err
	}
	terms, err := readTerms(ctx, f.on.Q())
	if err != nil {
		return nil, err
	}
	book := newRulebook(append(decisions, more...), policies, terms)
	if len(book.Faults) > 0 {
		return nil, fmt.Errorf("the rulebook has rows that cannot be used: %w", errors.Join(book.Faults...))
	}
	return book, nil
}

// A refoldJob is one run of a Refolder.
type refoldJob struct {
	*Refolder
	why    cause
	dryRun bool
	after  uuid.UUID // the last delivery of the chunks so far
	report RefoldReport
	save   func(ctx context.Context, tx *sqlx.Tx, after uuid.UUID, report RefoldReport) error // keeps both with each chunk; nil: nobody does

	rules rules
	total int
}

// run folds every delivery of the scope behind the job's last one anew.
func (f *refoldJob) run(ctx context.Context, book *Rulebook, scope RefoldScope) (RefoldReport, error) {
	plan, err := readPlan(ctx, f.on.Q())
	if err != nil {
		return f.report, err
	}
	f.rules = rules{book, plan}
	if f.Progress != nil {
		if f.total, err = refoldCount(ctx, f.on.Q(), scope); err != nil {
			return f.report, err
		}
	}
	lost := f.report.Skipped // by who worked on it before: nobody knows which they are
	var busy []uuid.UUID
	for {
		ids, err := refoldPage(ctx, f.on.Q(), scope, f.after, refoldPageSize)
		if err != nil {
			return f.report, err
		}
		if len(ids) == 0 {
			break
		}
		left, err := f.chunks(ctx, ids, f.size, false)
		if err != nil {
			return f.report, err
		}
		busy = append(busy, left...)
	}
	for try := 0; len(busy) > 0 && try < refoldTries; try++ {
		if busy, err = f.chunks(ctx, busy, 1, true); err != nil {
			return f.report, err
		}
	}
	f.report.Skipped = lost + len(busy)
	if f.report.Dark > 0 {
		f.log.WarnContext(ctx, "texts of scans cannot be opened, what was read of them before counts", "count", f.report.Dark)
	}
	if f.dryRun {
		return f.report, nil
	}
	return f.report, f.on.InTx(ctx, func(tx *sqlx.Tx) error { return releaseKnown(ctx, tx, book) })
}

// chunks folds deliveries anew, some in a transaction, and gives back those that somebody else has locked.
func (f *refoldJob) chunks(ctx context.Context, ids []uuid.UUID, size int, again bool) (busy []uuid.UUID, err error) {
	for chunk := range slices.Chunk(ids, size) {
		left, err := f.chunk(ctx, chunk, again)
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

// How a chunk's transaction ends when nothing is to be written: a dry run, or somebody else has held a lock for too long.
var (
	errDryRun = errors.New("dry run")
	errBusy   = errors.New("busy")
)

// chunk folds some deliveries anew and gives back those that somebody else has locked. Again is for those that were given
// back before: they are waited for, and the job stays where it is.
func (f *refoldJob) chunk(ctx context.Context, ids []uuid.UUID, again bool) (busy []uuid.UUID, err error) {
	after, sum := f.after, f.report
	if !again {
		after = ids[len(ids)-1]
	}
	err = f.on.InTx(ctx, func(tx *sqlx.Tx) (err error) {
		var done RefoldReport
		if busy, done, err = f.anew(ctx, tx, ids, again); err != nil {
			return err
		}
		sum = f.report.with(done)
		if again {
			sum.Skipped -= len(ids) - len(busy)
		} else {
			sum.Skipped += len(busy)
		}
		if f.dryRun {
			return errDryRun
		}
		if f.save != nil {
			return f.save(ctx, tx, after, sum)
		}
		return nil
	})
	if err == errBusy {
		return ids, nil
	}
	if err != nil && err != errDryRun {
		return nil, err
	}
	f.after, f.report = after, sum
	return busy, nil
}

// anew is the work of a chunk: of those deliveries that nobody else has locked.
func (f *refoldJob) anew(ctx context.Context, tx *sqlx.Tx, ids []uuid.UUID, wait bool) (busy []uuid.UUID, report RefoldReport, err error) {
	now := f.clock.Now()
	all, err := lockStood(ctx, tx, ids, wait)
	if isLockTimeout(err) {
		return nil, report, errBusy
	}
	if err != nil {
		return nil, report, err
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
	reread, dark, err := f.readTexts(ctx, tx, mine, from)
	if err != nil {
		return nil, report, err
	}
	report.Dark = dark
	known, err := readKept(ctx, tx, texts(mine), from)
	if err != nil {
		return nil, report, err
	}
	var changed []news
	for _, id := range mine {
		if n, ok := f.one(&report, all[id], known[id], reread, now); ok {
			changed = append(changed, n)
		}
	}
	if f.dryRun {
		return busy, report, nil
	}
	if err := reread.write(ctx, tx); err != nil {
		return nil, report, err
	}
	if len(changed) > 0 {
		err = writeNews(ctx, tx, f.vault, changed, now)
	}
	return busy, report, err
}

// one folds a delivery anew and reports it; ok is false when nothing is to be written.
func (f *refoldJob) one(report *RefoldReport, was stood, known []kept, reread readings, now time.Time) (n news, ok bool) {
	report.Looked++
	if was.bygone(known) {
		report.Bygone++
		return n, false
	}
	for i := range known {
		reread.apply(&known[i])
	}
	n = refold(was, known, f.rules, f.why, now)
	report.add(&n, was)
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
