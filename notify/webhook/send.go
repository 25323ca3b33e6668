package webhook

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"emsd/courier"
	"emsd/courier/audit"
	"emsd/courier/vault"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// Points at which a test may stop the process. After a crash between any two of them every message still arrives.
const (
	PointPlanned   = "webhook.planned"   // committed, nothing claimed
	PointClaimed   = "webhook.claimed"   // leases are committed, nothing sent
	PointPosted    = "webhook.posted"    // a subscriber has answered, nothing written
	PointRecording = "webhook.recording" // outcomes are written, not committed
	PointRecorded  = "webhook.recorded"  // committed
)

// Points lists every point, for tests that walk over them.
var Points = []string{PointPlanned, PointClaimed, PointPosted, PointRecording, PointRecorded}

// Options says how messages are sent. Times are wall times; zero values take the default given here.
type Options struct {
	Waits        Waits         // DefaultSchedule
	DisableAfter time.Duration // DisableAfter
	BreakFor     time.Duration // between probes of an endpoint that fails on and on; 30 s
	InFlight     int           // requests at a time to one endpoint; one that wants its messages in order has 1; 4
	Ahead        int           // messages that are claimed at a time for an endpoint that takes them all; 64
	Lease        time.Duration // how long a claim holds; longer than any request; 1 min
	PlanChunk    int           // events a transaction; 1000
	Chunk        int           // outcomes a transaction; 1000
	CaseWithin   time.Duration // business time a clerk has for a disabled endpoint; 24 h

	Hook func(point string) // tests stop the process in it; see Points
}

func (o Options) withDefaults() Options {
	if len(o.Waits) == 0 {
		o.Waits = DefaultSchedule
	}
	o.DisableAfter = cmp.Or(o.DisableAfter, DisableAfter)
	o.BreakFor = cmp.Or(o.BreakFor, breakFor)
	o.InFlight = cmp.Or(o.InFlight, 4)
	o.Ahead = max(cmp.Or(o.Ahead, 64), o.InFlight)
	o.Lease = cmp.Or(o.Lease, time.Minute)
	o.PlanChunk = cmp.Or(o.PlanChunk, 1000)
	o.Chunk = cmp.Or(o.Chunk, 1000)
	o.CaseWithin = cmp.Or(o.CaseWithin, 24*time.Hour)
	return o
}

// A Sender plans and sends webhooks. A round plans what is new and returns; requests go on beside it, a few at a time for each
// endpoint in a lane of its own, so that nobody waits for a slow one. Any number of Senders may share a database.
type Sender struct {
	db      *sqlx.DB
	vault   *vault.Vault
	client  *Client
	clock   courier.Clock
	opts    Options
	log     *slog.Logger
	metrics *Metrics

	work sync.WaitGroup // requests, and what claims and records

	mu        sync.Mutex
	lanes     map[uuid.UUID]*lane // of the endpoints that have rows claimed here
	outcomes  []outcome           // that are not recorded yet
	recording bool
	claiming  bool
	again     bool // look once more before claiming ends
}

// A lane is what this process has claimed of an endpoint.
type lane struct {
	held    int // claimed and not recorded yet
	queue   []*job
	workers int
	failed  bool // a try has failed, or was not begun: what waits is handed back, for its endpoint is to be judged first, and nothing may overtake
}

// An outcome is a job and what came of it.
type outcome struct {
	job        *job
	result     result
	handedBack bool // not tried
}

// A job is one try that this process has claimed.
type job struct {
	claimed
	target *target
	signs  *signer // nil: its secret cannot be unsealed
	lease  time.Time
}

// NewSender returns a Sender; it starts nothing. metrics may be nil.
func NewSender(db *sqlx.DB, v *vault.Vault, client *Client, clock courier.Clock, opts Options, log *slog.Logger, m *Metrics) *Sender {
	return &Sender{db: db, vault: v, client: client, clock: clock, opts: opts.withDefaults(), log: log, metrics: m, lanes: map[uuid.UUID]*lane{}}
}

// Round plans what the feed has and starts what is due; it waits for no subscriber. ctx ends what goes on beside it: nothing
// more is claimed then, and requests in flight are finished and recorded (see Wait).
func (s *Sender) Round(ctx context.Context) error {
	for {
		read, queued, err := planOnce(ctx, s.db, s.clock.Wall(), s.opts.PlanChunk)
		if err != nil {
			return err
		}
		if queued > 0 {
			s.opts.at(PointPlanned)
			s.metrics.planned(queued)
		}
		if read < s.opts.PlanChunk {
			break
		}
	}
	s.record(ctx) // what could not be written before
	s.claim(ctx)
	return nil
}

// Wait returns when nothing is in flight any more.
func (s *Sender) Wait() { s.work.Wait() }

// Purge deletes what was done before a time.
func (s *Sender) Purge(ctx context.Context, before time.Time) error {
	const chunk = 5000
	for {
		n, err := purge(ctx, s.db, before, chunk)
		if err != nil || n < chunk {
			return err
		}
	}
}

func (o Options) at(point string) {
	if o.Hook != nil {
		o.Hook(point)
	}
}

// claim starts a goroutine that claims until nothing is due for which there is room; one at a time.
func (s *Sender) claim(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.again = true; s.claiming {
		return
	}
	s.claiming = true
	s.work.Go(func() { s.claims(ctx) })
}

func (s *Sender) claims(ctx context.Context) {
	for s.claimAgain(ctx) {
		n, err := s.claimOnce(ctx)
		if err != nil && ctx.Err() == nil {
			s.log.Warn("webhooks cannot be claimed, tried again at the next turn", "error", err)
		}
		if n > 0 && err == nil {
			s.mu.Lock()
			s.again = true
			s.mu.Unlock()
		}
	}
}

// claimAgain reports whether somebody has asked for another look since the last one.
func (s *Sender) claimAgain(ctx context.Context) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	again := s.again && ctx.Err() == nil
	s.again, s.claiming = false, again
	return again
}

// claimOnce leases what is due and starts a request for each.
func (s *Sender) claimOnce(ctx context.Context) (int, error) {
	wall := s.clock.Wall()
	targets, err := readTargets(ctx, s.db, wall)
	if err != nil {
		return 0, err
	}
	plain, ordered := s.withRoom(targets)
	lease := wall.Add(s.opts.Lease).Truncate(time.Microsecond) // as the database keeps it
	var rows []claimed
	if len(plain) > 0 {
		if rows, err = claimDue(ctx, s.db, plain, wall, lease); err != nil {
			return 0, err
		}
	}
	if len(ordered) > 0 {
		err = courier.InTx(ctx, s.db, func(tx *sqlx.Tx) error {
			lines, err := claimLines(ctx, tx, ordered, wall, lease)
			rows = append(rows, lines...)
			return err
		})
	}
	s.start(ctx, targets, rows, lease)
	if err != nil {
		return len(rows), fmt.Errorf("claim ordered webhooks: %w", err)
	}
	return len(rows), nil
}

// withRoom says how many rows may be claimed for each target, and leaves out those that have enough.
func (s *Sender) withRoom(targets []*target) (plain, ordered []*target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range targets {
		t.free = s.opts.Ahead
		switch {
		case t.Failures >= breakFailures, t.Ordered && t.Failures > 0:
			t.free = 1
		case t.Failures > 0:
			t.free = s.opts.InFlight
		}
		if l := s.lanes[t.ID]; l != nil {
			t.free -= l.held
			if l.failed || t.Ordered { // until it is empty, and its endpoint judged
				t.free = 0
			}
		}
		switch {
		case t.free <= 0:
		case t.Ordered:
			ordered = append(ordered, t)
		default:
			plain = append(plain, t)
		}
	}
	return plain, ordered
}

// start begins a request for each claimed row.
func (s *Sender) start(ctx context.Context, targets []*target, rows []claimed, lease time.Time) {
	if len(rows) == 0 {
		return
	}
	s.opts.at(PointClaimed)
	wall := s.clock.Wall()
	byID := make(map[uuid.UUID]*target, len(targets))
	for _, t := range targets {
		byID[t.ID] = t
	}
	signers := map[uuid.UUID]*signer{}
	for _, r := range rows {
		if _, known := signers[r.Endpoint]; known {
			continue
		}
		k, err := byID[r.Endpoint].open(s.vault, r.Endpoint)
		if err != nil {
			s.log.Error("the secret of a webhook endpoint cannot be unsealed", "endpoint", r.Endpoint.String(), "error", err)
			signers[r.Endpoint] = nil
			continue
		}
		signers[r.Endpoint] = k.signer(wall)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range rows {
		l := s.lanes[r.Endpoint]
		if l == nil {
			l = &lane{}
			s.lanes[r.Endpoint] = l
		}
		l.held++
		l.queue = append(l.queue, &job{claimed: r, target: byID[r.Endpoint], signs: signers[r.Endpoint], lease: lease})
		if workers := s.opts.workers(byID[r.Endpoint]); l.workers < workers {
			l.workers++
			s.work.Go(func() { s.drive(ctx, l) })
		}
	}
}

// workers is how many send to an endpoint at a time: in order, one after the other.
func (o Options) workers(t *target) int {
	if t.Ordered {
		return 1
	}
	return o.InFlight
}

// drive sends what a lane has, one after the other, until it has nothing more.
func (s *Sender) drive(ctx context.Context, l *lane) {
	for {
		j, send := s.pop(ctx, l)
		if j == nil {
			return
		}
		o := outcome{job: j, handedBack: !send}
		if send {
			o.result = s.post(ctx, j)
			s.opts.at(PointPosted)
			s.metrics.tried(o.result.outcome)
		}
		s.mu.Lock()
		l.failed = l.failed || !send || o.result.outcome != outcomeDelivered
		s.outcomes = append(s.outcomes, o)
		s.mu.Unlock()
		s.record(ctx)
	}
}

// pop takes the next job of a lane, and tells whether it is to be sent: not once this process stops, a try has failed, or so
// much of the lease is over that a request could outlive it. A nil job ends the worker.
func (s *Sender) pop(ctx context.Context, l *lane) (j *job, send bool) {
	wall := s.clock.Wall()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(l.queue) == 0 {
		l.workers--
		return nil, false
	}
	j, l.queue = l.queue[0], l.queue[1:]
	return j, ctx.Err() == nil && !l.failed && j.lease.Sub(wall) > s.opts.Lease/2
}

func (s *Sender) post(ctx context.Context, j *job) (r result) {
	wall := s.clock.Wall()
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("a webhook request panicked", "endpoint", j.Endpoint.String(), "stack", string(debug.Stack()))
			r = result{outcome: outcomeUnreadable, detail: "internal fault"}
		}
		r.at, r.took = wall, s.clock.Wall().Sub(wall)
	}()
	if j.signs == nil {
		return result{outcome: outcomeUnreadable, detail: "the secret cannot be unsealed"}
	}
	body := []byte(j.Body)
	return s.client.post(context.WithoutCancel(ctx), j.target.URL, j.signs.headers(messageID(j.Message), wall, body), body, wall)
}

// record starts a goroutine that writes outcomes until there is none; one at a time, so that those of many endpoints share
// a commit.
func (s *Sender) record(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.recording || len(s.outcomes) == 0 {
		return
	}
	s.recording = true
	s.work.Go(func() { s.records(ctx) })
}

func (s *Sender) records(ctx context.Context) {
	for {
		s.mu.Lock()
		batch := slices.Clone(s.outcomes[:min(len(s.outcomes), s.opts.Chunk)])
		if len(batch) == 0 {
			s.recording = false
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		if err := s.recordBatch(context.WithoutCancel(ctx), batch); err != nil {
			s.log.Warn("the outcome of webhooks cannot be written, tried again at the next turn", "count", len(batch), "error", err)
			s.mu.Lock()
			s.recording = false
			s.mu.Unlock()
			return
		}
		s.opts.at(PointRecorded)
		s.mu.Lock()
		s.outcomes = s.outcomes[len(batch):]
		for _, o := range batch {
			if l := s.lanes[o.job.Endpoint]; l.held > 1 {
				l.held--
			} else {
				delete(s.lanes, o.job.Endpoint)
			}
		}
		s.mu.Unlock()
		s.claim(ctx)
	}
}

// recordTimeout bounds one transaction of outcomes, so that a stop does not hang on a database that is away.
const recordTimeout = 20 * time.Second

// recordBatch writes outcomes, how their endpoints do now, and who is disabled for it.
func (s *Sender) recordBatch(ctx context.Context, batch []outcome) error {
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	wall, now := s.clock.Wall(), s.clock.Now()
	var back []*job
	var settlings []settling
	batch = slices.DeleteFunc(slices.Clone(batch), func(o outcome) bool {
		if o.handedBack {
			back = append(back, o.job)
		}
		return o.handedBack
	})
	for _, o := range batch {
		settlings = append(settlings, s.settling(o, wall))
	}
	var disabled []uuid.UUID
	err := courier.InTx(ctx, s.db, func(tx *sqlx.Tx) error {
		disabled = nil
		fine, failing := partByHealth(batch)
		entries, err := s.judge(ctx, tx, failing, now, wall)
		if err != nil {
			return err
		}
		if err := noteSuccess(ctx, tx, fine, wall); err != nil {
			return err
		}
		if err := settle(ctx, tx, settlings, wall); err != nil {
			return err
		}
		if err := handBack(ctx, tx, back); err != nil {
			return err
		}
		s.opts.at(PointRecording)
		for _, e := range entries {
			disabled = append(disabled, uuid.MustParse(e.Object))
		}
		return audit.Append(ctx, tx, entries...)
	})
	if err != nil {
		return err
	}
	for _, id := range disabled {
		s.log.Error("a webhook endpoint is disabled; its messages wait", "endpoint", id.String())
	}
	return nil
}

// settling says what an outcome makes of its message. A 410 is no fault of the message: it waits until the endpoint is enabled.
func (s *Sender) settling(o outcome, wall time.Time) settling {
	x := settling{job: o.job, result: o.result, done: o.result.outcome == outcomeDelivered}
	if x.done {
		return x
	}
	wait, again := s.opts.Waits.next(o.job.Tries+1, o.result.retryAfter, rand.Float64())
	if !again && o.result.outcome != outcomeGone {
		x.done, x.failed = true, true
		return x
	}
	x.next = wall.Add(wait)
	return x
}

// partByHealth parts the endpoints that took everything from those that did not, whose results come in their order.
func partByHealth(batch []outcome) (fine []uuid.UUID, failing map[uuid.UUID][]result) {
	results := map[uuid.UUID][]result{}
	for _, o := range batch {
		results[o.job.Endpoint] = append(results[o.job.Endpoint], o.result)
	}
	failing = map[uuid.UUID][]result{}
	for id, all := range results {
		if slices.ContainsFunc(all, func(r result) bool { return r.outcome != outcomeDelivered }) {
			failing[id] = all
		} else {
			fine = append(fine, id)
		}
	}
	return fine, failing
}

// judge writes how failing endpoints do, and disables those that are gone or have failed for too long, each with a case and
// an entry for the audit.
func (s *Sender) judge(ctx context.Context, tx *sqlx.Tx, failing map[uuid.UUID][]result, now, wall time.Time) ([]audit.Entry, error) {
	if len(failing) == 0 {
		return nil, nil
	}
	var ids []uuid.UUID
	for id := range failing {
		ids = append(ids, id)
	}
	rows, err := lockHealth(ctx, tx, ids)
	if err != nil {
		return nil, err
	}
	var entries []audit.Entry
	var healths []Health
	ids = ids[:0]
	for id, row := range rows {
		h, why := row.health(), ""
		for _, r := range failing[id] {
			next, reason := h.after(r, s.opts.DisableAfter, s.opts.BreakFor, wall)
			h, why = next, cmp.Or(why, reason)
		}
		ids, healths = append(ids, id), append(healths, h)
		if why == "" || row.DisabledWhy != "" {
			continue
		}
		if err := disableEndpoint(ctx, tx, id, why, wall); err != nil {
			return nil, err
		}
		if err := courier.OpenSubjectCase(ctx, tx, disabledCase(row, why, now, s.opts.CaseWithin)); err != nil {
			return nil, err
		}
		entries = append(entries, audit.Entry{At: now, Actor: "emsd", Action: "webhook.disable", Object: id.String(), Detail: map[string]string{"why": why}})
	}
	return entries, saveHealth(ctx, tx, ids, healths)
}

// disabledCase asks somebody to talk to the subscriber.
func disabledCase(row endpointRow, why string, now time.Time, within time.Duration) courier.NewSubjectCase {
	c := courier.NewSubjectCase{Subject: subject(row.ID), Kind: courier.CaseWebhookDisabled, OpenedAt: now, DueAt: now.Add(within)}
	switch why {
	case whyGone:
		c.NextAction = "与订阅方确认是否不再接收推送：不再接收则删除该订阅，仍需接收则更正地址后重新启用"
		c.Detail = "订阅方“" + row.Name + "”的地址回答不再接收（410），推送已暂停，期间的消息保留"
	default:
		c.NextAction = "联系订阅方修复接收地址，然后重新启用，积压的消息会自动发出"
		c.Detail = "订阅方“" + row.Name + "”的地址长时间没有成功接收，推送已暂停，期间的消息保留"
	}
	return c
}
