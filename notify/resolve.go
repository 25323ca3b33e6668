package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"emsd/courier"
	"emsd/courier/vault"

	"github.com/jmoiron/sqlx"
)

// A Resolver finds out what became of attempts whose answer was lost, by asking; it never sends (I-4).
//
// What no gateway knows of after the last question stays unsent: a second message would be a nuisance, a missing one
// is made good by the next news (dossier E.3), or by a clerk's call when the resident has to do something.
type Resolver struct {
	db       *sqlx.DB
	vault    *vault.Vault
	gateways *Gateways
	clock    courier.Clock
	opts     Options
	log      *slog.Logger
	metrics  *Metrics
}

// NewResolver returns a Resolver; any number may run. opts are the Sender's. metrics may be nil.
func NewResolver(db *sqlx.DB, v *vault.Vault, g *Gateways, clock courier.Clock, opts Options, log *slog.Logger, m *Metrics) *Resolver {
	return &Resolver{db: db, vault: v, gateways: g, clock: clock, opts: opts.withDefaults(), log: log, metrics: m}
}

// Round takes over attempts whose sender is gone, and asks about every unknown one that is due.
func (r *Resolver) Round(ctx context.Context) error {
	if err := r.sweep(ctx); err != nil {
		return fmt.Errorf("take over attempts without an outcome: %w", err)
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := r.chunk(ctx)
		if err != nil || n < r.opts.Chunk {
			return err
		}
	}
}

// sweep makes attempts unknown that have been sending for longer than a sender's lease. Whether they left is not known
// to anybody, so none is queued again.
func (r *Resolver) sweep(ctx context.Context) error {
	for {
		now, wall := r.clock.Now(), r.clock.Wall()
		chunks, left, err := leftSending(ctx, r.db, wall.Add(-r.opts.Lease))
		if err != nil || len(chunks) == 0 {
			return err
		}
		settlings := make([]settling, len(left))
		for i, a := range left {
			settlings[i] = settling{
				attempt: a.ID, delivery: a.DeliveryID, milestone: a.Milestone, state: unknown, class: Unknown.String(), code: "interrupted", messageState: unknown,
				reason: "发送中断，正在查询短信网关是否已接收，不会重发", resolveAt: r.firstQuestion(a),
			}
		}
		err = courier.InTx(ctx, r.db, func(tx *sqlx.Tx) error {
			if _, err := settle(ctx, tx, []string{sending}, settlings, now, wall); err != nil {
				return err
			}
			return endChunks(ctx, tx, chunks...)
		})
		if err != nil {
			return err
		}
		if len(left) > 0 {
			r.log.Warn("attempts without an outcome taken over", "count", len(left))
		}
		r.opts.at(PointResolveSwept)
	}
}

func (r *Resolver) firstQuestion(a openAttempt) time.Time {
	return a.StartedAt.Add(r.opts.firstQuestion(r.gateways.find(a.Gateway)))
}

// chunk asks about one chunk of unknown attempts and returns how many it took.
func (r *Resolver) chunk(ctx context.Context) (int, error) {
	wall := r.clock.Wall()
	open, err := claimUnknown(ctx, r.db, wall, wall.Add(r.opts.Lease), r.opts.Chunk)
	if err != nil {
		return 0, fmt.Errorf("claim unknown attempts: %w", err)
	}
	if len(open) == 0 {
		return 0, nil
	}
	r.opts.at(PointResolveClaimed)
	answers := r.ask(ctx, open, wall)
	r.opts.at(PointResolveAsked)
	if err := r.record(context.WithoutCancel(ctx), open, answers); err != nil {
		return 0, fmt.Errorf("record what became of %d attempts: %w", len(open), err)
	}
	r.opts.at(PointResolveOutcomeWritten)
	return len(open), nil
}

// errNotAsked is the answer of a question that was not put: the round had to end.
var errNotAsked = errors.New("not asked")

// An answer is what a gateway said about an attempt.
type answer struct {
	found Found
	after []time.Duration // when questions are put; none: the gateway cannot be asked
	proof bool            // absent after the last one: never taken
	err   error
}

func (r *Resolver) ask(ctx context.Context, open []openAttempt, begun time.Time) []answer {
	answers := make([]answer, len(open))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(len(open), r.opts.Concurrency) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(open); i = int(next.Add(1)) - 1 {
				if ctx.Err() != nil || r.clock.Wall().Sub(begun) > r.opts.Lease/2 {
					answers[i].err = errNotAsked
					continue
				}
				answers[i] = r.askOne(ctx, open[i])
			}
		})
	}
	wg.Wait()
	return answers
}

func (r *Resolver) askOne(ctx context.Context, a openAttempt) answer {
	finder, ok := r.gateways.find(a.Gateway).(Finder)
	if !ok {
		return answer{}
	}
	got := answer{after: r.opts.questions(finder), proof: finder.Questions().Proof}
	phone, err := unsealPhone(r.vault, a.DeliveryID, a.Phone)
	if err != nil {
		got.err = err
		return got
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.opts.PostTimeout)
	defer cancel()
	got.found, got.err = finder.Find(ctx, Query{Phone: phone, AttemptID: a.ID, Day: a.SentOn, Since: a.SentAt, Known: a.Known, Alone: a.Alone})
	return got
}

// record writes what the answers make of the attempts.
func (r *Resolver) record(ctx context.Context, open []openAttempt, answers []answer) error {
	now, wall := r.clock.Now(), r.clock.Wall()
	var settlings []settling
	var questions []question
	byAttempt := make(map[string]openAttempt)
	for i, a := range open {
		s, q, settled := r.opts.resolve(a, answers[i], wall)
		if settled {
			settlings = append(settlings, s)
			byAttempt[a.ID.String()] = a
		} else {
			questions = append(questions, q)
		}
		r.note(a, answers[i], s.state)
	}
	return courier.InTx(ctx, r.db, func(tx *sqlx.Tx) error {
		lost, err := settle(ctx, tx, []string{unknown}, settlings, now, wall)
		if err != nil {
			return err
		}
		if err := askAgain(ctx, tx, questions); err != nil {
			return err
		}
		var cases []courier.NewCase
		for _, s := range settlings {
			a := byAttempt[s.attempt.String()]
			if !lost[s.attempt] && s.messageState == failed && (s.state == failed || mustKnow[a.Milestone]) {
				cases = append(cases, smsFailed(a.DeliveryID, a.Milestone, s.reason, now, r.opts.CaseWithin))
			}
		}
		if err := courier.OpenCases(ctx, tx, cases); err != nil {
			return err
		}
		r.opts.at(PointResolveRecording)
		return nil
	})
}

// resolve says what an answer makes of an unknown attempt: settled, or asked about again.
func (o Options) resolve(a openAttempt, got answer, wall time.Time) (settling, question, bool) {
	s := settling{attempt: a.ID, delivery: a.DeliveryID, milestone: a.Milestone, providerID: got.found.ProviderID}
	giveUp := a.StartedAt.Add(o.ReceiptWait)
	switch {
	case errors.Is(got.err, errNotAsked):
		return s, question{a.ID, a.Resolves, wall}, false
	case len(got.after) == 0:
		if wall.Before(giveUp) {
			return s, question{a.ID, a.Resolves, giveUp}, false
		}
	case got.err != nil:
		if wall.Before(giveUp) {
			return s, question{a.ID, a.Resolves, wall.Add(got.after[min(1, len(got.after)-1)])}, false
		}
	case got.found.Outcome == Pending:
		s.state, s.messageState, s.reason = accepted, accepted, "查询确认：短信网关已接收"
		return s, question{}, true
	case got.found.Outcome == Arrived:
		s.state, s.messageState, s.reason = delivered, delivered, "查询确认：短信已送达"
		return s, question{}, true
	case got.found.Outcome == NotArrived:
		s.state, s.messageState, s.class, s.code = failed, failed, got.found.Class.String(), got.found.Code
		s.reason = explain(got.found.Class, got.found.Code)
		return s, question{}, true
	default:
		if asked := a.Resolves + 1; asked < len(got.after) {
			return s, question{a.ID, asked, got.again(a, wall)}, false
		}
		if got.proof {
			return o.absent(s, a.Milestone, wall), question{}, true
		}
	}
	s.state, s.messageState, s.class = abandoned, failed, Unknown.String()
	s.reason = "无法确认短信网关是否收到；为避免重复，不再发送"
	return s, question{}, true
}

// absent is what becomes of an attempt that its gateway never took.
func (o Options) absent(s settling, m Milestone, wall time.Time) settling {
	s.state, s.class = absent, Unknown.String()
	if o.ResendIfAbsent[m] {
		s.messageState, s.next, s.reason = queued, wall, "查询确认：短信网关没有收到，将重新判断是否发送"
		return s
	}
	s.messageState, s.reason = failed, "查询确认：短信网关没有收到；按规定不再发送"
	return s
}

// again is when an attempt is asked about once more. Where silence is proof, the time between two questions counts, and not
// only that since the start: a clock that was put ahead meanwhile would make a list that is a moment old the last word.
func (g answer) again(a openAttempt, wall time.Time) time.Time {
	asked := a.Resolves + 1
	at := later(a.StartedAt.Add(g.after[asked]), wall)
	if earliest := wall.Add(g.after[asked] - g.after[a.Resolves]); g.proof && at.Before(earliest) {
		return earliest
	}
	return at
}

// later is at, or a little after wall when at is past: after an outage the questions do not all fall together.
func later(at, wall time.Time) time.Time {
	if soon := wall.Add(10 * time.Second); at.Before(soon) {
		return soon
	}
	return at
}

func (r *Resolver) note(a openAttempt, got answer, state string) {
	switch {
	case errors.Is(got.err, errNotAsked):
	case state != "":
		r.metrics.asked(a.Gateway, state)
	case got.err != nil:
		r.metrics.asked(a.Gateway, "query_failed")
		r.log.Warn("an SMS gateway could not be asked about an attempt", "gateway", a.Gateway, "attempt", a.ID.String(), "class", classOf(got.err).String())
	default:
		r.metrics.asked(a.Gateway, "asked_again")
	}
}

func classOf(err error) Class {
	if e, ok := errors.AsType[*SendError](err); ok {
		return e.Class
	}
	return Unknown
}
