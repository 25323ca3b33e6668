package tracking

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"emsd/courier"
	"emsd/courier/vault"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// An Asker asks EMS for the trace of one waybill. known is the fingerprint of the answer that was taken in last: when it
// has not changed, the scans need not be read. An Asker with a method Open() bool says by it that it lets nothing through
// for a while, and the round ends.
type Asker interface {
	Trace(ctx context.Context, waybillNo string, known int64) (courier.Trace, error)
}

// Options says how rounds ask. Zero values take the default given here.
type Options struct {
	Chunk       int     // waybills per transaction; 500
	Lanes       int     // chunks in flight over the same workers; 4
	Concurrency int     // calls in flight; 64
	Rate        float64 // calls a second that this process may make at first, 0 for no limit; bounds the chunk, the Asker does the waiting

	// SweepEvery is the wall time between two looks for cancelled deliveries whose waybills are still asked about; 1 min.
	SweepEvery time.Duration

	KeepAnswers bool // store EMS's answers as they came, sealed
}

// chunkSeconds bounds how long the rows of a chunk stay locked when the account's rate sets the pace.
const chunkSeconds = 2

func (o Options) withDefaults() Options {
	o.Chunk = cmp.Or(o.Chunk, 500)
	o.Lanes = cmp.Or(o.Lanes, 4)
	o.Concurrency = cmp.Or(o.Concurrency, 64)
	o.SweepEvery = cmp.Or(o.SweepEvery, time.Minute)
	return o
}

// chunkAt gives how many waybills a chunk has at a rate.
func (o Options) chunkAt(perSecond float64) int {
	if !(perSecond > 0) {
		return o.Chunk
	}
	return int(min(float64(o.Chunk), max(1, perSecond*chunkSeconds/float64(o.Lanes))))
}

// A Poller asks EMS about every waybill that is due and writes down what is new. Any number of them may run on one
// database: the rows of a chunk are locked while EMS is asked, others skip them, and a crash frees them at once. There is
// no committed lease: a poll can be repeated without harm, so that a lease would only cost a second write (P4).
//
// Lock order: waybills before deliveries. A transaction that holds a delivery must not wait for its waybill.
type Poller struct {
	db      *sqlx.DB
	vault   *vault.Vault
	asker   Asker
	clock   courier.Clock
	opts    Options
	log     *slog.Logger
	metrics *Metrics

	mu     sync.Mutex // one claim at a time, so that each starts behind the one before
	behind [urgencies]cursor
	idle   [urgencies]time.Time // wall: when an urgency was last found without due waybills
	turn   int                  // claims made
	hinted time.Time            // wall: when hints were last taken
	swept  time.Time            // wall: when cancelled deliveries were last looked for
	looked time.Time            // the same in business time; zero until it was done once
	loaded time.Time            // wall: when the rules were last read

	current atomic.Pointer[rules]
	size    atomic.Int64 // of a chunk

	away atomic.Bool // EMS did not answer last time: begin with a single question
}

// A cursor is the last waybill claimed. Claims start behind it: from the beginning they would walk over every row polled
// since the oldest open snapshot (performance.md, 4).
type cursor struct {
	dueAt time.Time
	id    uuid.UUID
}

// NewPoller returns a Poller; it starts nothing. m may be nil.
func NewPoller(db *sqlx.DB, v *vault.Vault, a Asker, clock courier.Clock, opts Options, log *slog.Logger, m *Metrics) *Poller {
	p := &Poller{db: db, vault: v, asker: a, clock: clock, opts: opts.withDefaults(), log: log, metrics: m}
	p.SetRate(opts.Rate)
	return p
}

// SetRate tells how many calls a second the Asker will let through from now on, 0 for no limit.
func (p *Poller) SetRate(perSecond float64) { p.size.Store(int64(p.opts.chunkAt(perSecond))) }

// rules is what the round goes by now.
func (p *Poller) rules() rules { return *p.current.Load() }

// rulesEvery is how often the tables of the rules are read.
const rulesEvery = 30 * time.Second

// loadRules reads the rules when that is due. Once they have been read, tables that cannot be read leave them as they are.
func (p *Poller) loadRules(ctx context.Context, now, wall time.Time) error {
	p.mu.Lock()
	first, due := p.current.Load() == nil, wall.Sub(p.loaded) >= rulesEvery
	if due {
		p.loaded = wall
	}
	p.mu.Unlock()
	if !first && !due {
		return nil
	}
	book, err := readRulebook(ctx, p.db, now)
	var plan *Plan
	if err == nil {
		plan, err = readPlan(ctx, p.db)
	}
	switch {
	case err != nil && first:
		return err
	case err != nil:
		p.log.WarnContext(ctx, "the rules of tracking cannot be read again, the old ones stay in force", "err", err)
		return nil
	}
	for _, stage := range plan.Missing {
		p.log.ErrorContext(ctx, "table poll_plan has no row with silent_hours = 0 for a stage, the built-in one counts", "stage", stage)
	}
	for _, fault := range book.Faults {
		p.log.ErrorContext(ctx, "a row of the rulebook cannot be used and is left out", "fault", fault)
	}
	p.current.Store(&rules{book, plan})
	return nil
}

// A waybill is a row of waybills that is due.
type waybill struct {
	delivery    uuid.UUID
	no          string
	stage       courier.Status
	orderedAt   time.Time
	dueAt       time.Time
	changedAt   time.Time
	fingerprint int64
	failures    int
}

// An asked waybill has its answer, its error, or neither when the round ended before its turn.
type asked struct {
	waybill
	trace courier.Trace
	err   error
	done  bool
}

// errSilent ends a round early; what was not asked stays due.
var errSilent = errors.New("EMS does not answer")

// Round turns hints into due waybills and asks until nothing is due. When ctx ends, calls in flight are given up, answers
// that have come are written, and everything else stays due.
func (p *Poller) Round(ctx context.Context) error {
	started := p.clock.Wall()
	if err := p.prepare(ctx, 0); err != nil {
		return fmt.Errorf("poll: %w", err)
	}
	r := p.newRound()
	defer r.close()
	n, err := p.first(ctx, r)
	if err == nil && n > 0 {
		err = p.lanes(ctx, r)
	}
	p.metrics.round(p.clock.Wall().Sub(started), err)
	if err != nil {
		return fmt.Errorf("poll: %w", err)
	}
	return ctx.Err()
}

// hintsEvery is how often a round under way looks for hints; a backlog may keep it busy for hours.
const hintsEvery = time.Second

// prepare takes in what others have left: hints, and cancelled deliveries. One lane at a time does it, and none when it
// has just been done.
func (p *Poller) prepare(ctx context.Context, wait time.Duration) error {
	now, wall := p.clock.Now(), p.clock.Wall()
	p.mu.Lock()
	hints, sweep, since := wall.Sub(p.hinted) >= wait, wall.Sub(p.swept) >= p.opts.SweepEvery, p.looked
	if hints {
		p.hinted = wall
	}
	if sweep {
		p.swept = wall
	}
	p.mu.Unlock()
	if err := p.loadRules(ctx, now, wall); err != nil {
		return err
	}
	if hints {
		known, strangers, err := p.takeHints(ctx, now)
		if err != nil {
			return fmt.Errorf("take push hints: %w", err)
		}
		p.metrics.hints(known, strangers)
	}
	if sweep {
		if err := p.stopCancelled(ctx, since); err != nil {
			return fmt.Errorf("stop asking about cancelled deliveries: %w", err)
		}
		p.mu.Lock()
		p.looked = now.Add(-sweepOverlap)
		p.mu.Unlock()
	}
	return nil
}

// sweepOverlap covers cancellations that were under way at the last look.
const sweepOverlap = 24 * time.Hour

// first takes one chunk by itself: most rounds find nothing due, and after an outage one question tells enough.
func (p *Poller) first(ctx context.Context, r *round) (int, error) {
	limit := int(p.size.Load())
	if p.away.Load() {
		limit = 1
	}
	n, err := p.chunk(ctx, r, limit)
	if err == nil && n > 0 {
		p.away.Store(false)
		r.limit = p.patience()
	}
	return n, err
}

func (p *Poller) lanes(ctx context.Context, r *round) error {
	errs := make([]error, p.opts.Lanes)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			errs[i] = p.lane(ctx, r)
		})
	}
	wg.Wait()
	var silent error
	for i, err := range errs {
		if errors.Is(err, errSilent) { // all lanes say the same
			silent, errs[i] = err, nil
		}
	}
	return errors.Join(append(errs, silent)...)
}

func (p *Poller) lane(ctx context.Context, r *round) error {
	for ctx.Err() == nil {
		if err := p.prepare(ctx, hintsEvery); err != nil {
			return err
		}
		n, err := p.chunk(ctx, r, int(p.size.Load()))
		if err != nil || n == 0 {
			return err
		}
	}
	return nil
}

// chunk claims up to limit waybills, asks about them and records the answers, all in one transaction. The transaction
// outlives ctx by a little: what EMS has answered is written.
func (p *Poller) chunk(ctx context.Context, r *round, limit int) (int, error) {
	if r.down.Load() {
		return 0, r.silence()
	}
	txCtx, cancel := outlive(ctx, writeGrace)
	defer cancel()
	tx, err := p.db.BeginTxx(txCtx, nil)
	if err != nil {
		return 0, fmt.Errorf("begin a chunk: %w", err)
	}
	defer tx.Rollback() // after a commit it does nothing
	rows, err := p.claim(txCtx, tx, limit)
	if err != nil {
		return 0, fmt.Errorf("claim due waybills: %w", err)
	}
	if len(rows) == 0 {
		return 0, nil
	}
	r.ask(ctx, rows)
	if err := p.record(txCtx, tx, r, rows); err != nil {
		return 0, fmt.Errorf("record %d polls: %w", len(rows), err)
	}
	if err := tx.Commit(); err != nil {
		return 0, fmt.Errorf("commit %d polls: %w", len(rows), err)
	}
	if r.down.Load() {
		return 0, r.silence()
	}
	return len(rows), nil
}

// idleFor is how long an urgency that had nothing due is passed over while others have: asking costs a statement.
const idleFor = 100 * time.Millisecond

// claim fills a chunk, the most urgent waybills first, each urgency behind its cursor. When nothing is found, it is
// looked once more from the beginning, where rows stand that another process let go or that came in with an earlier time.
func (p *Poller) claim(ctx context.Context, tx *sqlx.Tx, limit int) ([]asked, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.clock.Now()
	order := claimOrder(p.turn)
	p.turn++
	rows, err := p.fill(ctx, tx, order, now, limit, idleFor)
	if err == nil && len(rows) == 0 {
		p.behind = [urgencies]cursor{}
		rows, err = p.fill(ctx, tx, order, now, limit, 0)
	}
	if err != nil {
		return nil, err
	}
	p.metrics.claimed(rows, now)
	return rows, nil
}

func (p *Poller) fill(ctx context.Context, tx *sqlx.Tx, order [urgencies]int, now time.Time, limit int, pass time.Duration) (rows []asked, err error) {
	wall := p.clock.Wall()
	for _, u := range order {
		have := len(rows)
		if have == limit || wall.Sub(p.idle[u]) < pass {
			continue
		}
		if rows, err = claimDue(ctx, tx, rows, u, p.behind[u], now, limit-have); err != nil {
			return nil, err
		}
		if len(rows) == have {
			p.idle[u] = wall
			continue
		}
		last := rows[len(rows)-1]
		p.behind[u] = cursor{last.dueAt, last.delivery}
	}
	return rows, nil
}

// record sorts the answers: most are quiet and cost their share of one small update; news is taken in.
func (p *Poller) record(ctx context.Context, tx *sqlx.Tx, r *round, rows []asked) error {
	now, plan := p.clock.Now(), p.rules().plan
	polls := make([]poll, 0, len(rows))
	var news []*asked
	failed, lastErr := 0, error(nil)
	for i := range rows {
		a := &rows[i]
		switch {
		case !a.done, a.err != nil && r.forgiven(a.err):
			// Stays due as it is.
		case a.err != nil:
			failed, lastErr = failed+1, a.err
			polls = append(polls, pollAgain(plan, a.waybill, a.failures+1, now))
		case a.trace.Unchanged:
			polls = append(polls, pollAgain(plan, a.waybill, 0, now))
		default:
			news = append(news, a)
		}
	}
	p.metrics.polled("quiet", len(polls)-failed)
	p.metrics.polled("failed", failed)
	if failed > 0 {
		p.log.WarnContext(ctx, "polls failed, asked again later", "count", failed, "of", len(rows), "last", lastErr)
	}
	broken, err := p.takeNews(ctx, tx, news, now)
	if err != nil {
		return err
	}
	for _, a := range broken {
		polls = append(polls, pollAgain(plan, a.waybill, a.failures+1, now))
	}
	p.metrics.polled("news", len(news)-len(broken))
	p.metrics.polled("broken", len(broken))
	return writePolls(ctx, tx, polls)
}

// A poll is what an answer without news leaves behind.
type poll struct {
	delivery uuid.UUID
	next     time.Time // zero: never
	failures int
	urgency  int
}

func pollAgain(p *Plan, w waybill, failures int, now time.Time) poll {
	next, urgency := p.Next(w.stage, w.changedAt, w.orderedAt, failures, now)
	return poll{w.delivery, Spread(next, now, w.no), failures, urgency}
}

// writeGrace is how long answers may still be written after the round was told to end.
const writeGrace = 10 * time.Second

// outlive is ctx without its end, until grace after it.
func outlive(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var timer *time.Timer
	var mu sync.Mutex
	stop := context.AfterFunc(ctx, func() {
		mu.Lock()
		defer mu.Unlock()
		timer = time.AfterFunc(grace, cancel)
	})
	return out, func() {
		stop()
		mu.Lock()
		defer mu.Unlock()
		if timer != nil {
			timer.Stop()
		}
		cancel()
	}
}
