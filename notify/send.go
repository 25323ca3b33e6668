package notify

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"emsd/courier"
	"emsd/courier/vault"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"golang.org/x/time/rate"
)

// Points at which a test may stop the process. A crash between any two of them must leave no message sent twice (I-5).
const (
	PointSendClaimed         = "send.claimed"          // verdicts and attempts are written, not committed
	PointSendIntentCommitted = "send.intent_committed" // committed, nothing sent
	PointSendAnswered        = "send.answered"         // one request of a chunk has been answered; others are on their way
	PointSendPosted          = "send.posted"           // all of them, nothing written
	PointSendRecording       = "send.recording"        // outcomes are written, not committed
	PointSendOutcomeWritten  = "send.outcome_written"  // committed

	PointResolveSwept          = "resolve.swept"     // attempts of a dead sender are unknown, nothing asked
	PointResolveClaimed        = "resolve.claimed"   // lease committed, nothing asked
	PointResolveAsked          = "resolve.asked"     // the gateway has said what it knows
	PointResolveRecording      = "resolve.recording" // answers are written, not committed
	PointResolveOutcomeWritten = "resolve.outcome_written"

	PointReceiptsPulled = "receipts.pulled" // a gateway has handed its receipts out, nothing stored
	PointReceiptsStored = "receipts.stored" // as they came, committed
	PointReceiptsJoined = "receipts.joined" // attempts are settled by them, not committed
)

// PointTrialIntentCommitted is where a self-test is committed and not sent.
const PointTrialIntentCommitted = "trial.intent_committed"

// SendPoints lists the points of sending and resolving, ReceiptPoints those of receipts, for tests that walk over them.
// PointSendAnswered is in neither: workers pass it, and what ends them ends the whole process.
var (
	SendPoints = []string{
		PointSendClaimed, PointSendIntentCommitted, PointSendPosted, PointSendRecording, PointSendOutcomeWritten,
		PointResolveSwept, PointResolveClaimed, PointResolveAsked, PointResolveRecording, PointResolveOutcomeWritten,
	}
	ReceiptPoints = []string{PointReceiptsPulled, PointReceiptsStored, PointReceiptsJoined}
)

// Options says how messages are sent. Times are wall times unless they say otherwise; zero values take the default
// given here.
type Options struct {
	Policy     *Policy           // DefaultPolicy()
	Signatures map[string]string // by gateway, without brackets, to count segments

	Chunk       int           // messages per transaction; 500
	Lanes       int           // chunks in flight; 4
	Concurrency int           // requests in flight, over all rounds; 64
	Rate        float64       // requests a second of this process to all gateways together; 0: no limit
	Lease       time.Duration // how long a claim holds; no request outlives it; 2 min
	PostTimeout time.Duration // of one request; gateways have shorter ones of their own; 30 s

	MaxTries   int           // rejections for now, after which a clerk is called; a throttle is none; 8
	RetryAfter time.Duration // first wait after a rejection for now or an unsent request, doubled each time; 5 s
	RetryMax   time.Duration // 10 min
	StopFor    time.Duration // how long a gateway is left alone that refused our account, signature or template; 5 min
	PauseFor   time.Duration // how long a gateway is left alone that cannot be reached; 15 s

	// ResolveAfter lists when an unknown attempt is asked about, counted from its start; none: as its gateway's Questions say.
	ResolveAfter []time.Duration
	// ReceiptWait is how long a receipt may settle an attempt whose gateway cannot be asked, or does not answer.
	ReceiptWait time.Duration // 24 h

	CaseWithin time.Duration // business time a clerk has for a call; a day

	// ResendIfAbsent lists the milestones that are sent again when the gateway has proved that it never took them; by
	// default none: a duplicate is a nuisance, and the next news follows by itself (dossier E.3).
	ResendIfAbsent map[Milestone]bool

	Hook func(point string) // tests stop the process in it; see SendPoints
}

func (o Options) withDefaults() Options {
	if o.Policy == nil {
		p := DefaultPolicy()
		o.Policy = &p
	}
	o.Chunk = cmp.Or(o.Chunk, 500)
	o.Lanes = cmp.Or(o.Lanes, 4)
	o.Concurrency = cmp.Or(o.Concurrency, 64)
	o.Lease = cmp.Or(o.Lease, 2*time.Minute)
	if o.Rate > 0 { // what is claimed can be sent in half the time in which it is to be begun
		o.Chunk = min(o.Chunk, max(1, int(o.Rate*o.Lease.Seconds()/4)/o.Lanes))
	}
	o.PostTimeout = min(cmp.Or(o.PostTimeout, 30*time.Second), o.Lease/4)
	o.MaxTries = cmp.Or(o.MaxTries, 8)
	o.RetryAfter = cmp.Or(o.RetryAfter, 5*time.Second)
	o.RetryMax = cmp.Or(o.RetryMax, 10*time.Minute)
	o.StopFor = cmp.Or(o.StopFor, 5*time.Minute)
	o.PauseFor = cmp.Or(o.PauseFor, 15*time.Second)
	o.ReceiptWait = cmp.Or(o.ReceiptWait, 24*time.Hour)
	o.CaseWithin = cmp.Or(o.CaseWithin, caseWithin)
	return o
}

func (o Options) at(point string) {
	if o.Hook != nil {
		o.Hook(point)
	}
}

// A Sender gives due messages to gateways, each at most once (I-5). Its rounds may run beside each other and on any
// number of replicas.
type Sender struct {
	db       *sqlx.DB
	vault    *vault.Vault
	gateways *Gateways
	clock    courier.Clock
	opts     Options
	log      *slog.Logger
	metrics  *Metrics

	prepared *statements
	slots    chan struct{} // requests in flight
	limiter  *rate.Limiter
}

// NewSender returns a Sender; it starts nothing. metrics may be nil.
func NewSender(db *sqlx.DB, v *vault.Vault, g *Gateways, clock courier.Clock, opts Options, log *slog.Logger, m *Metrics) *Sender {
	opts = opts.withDefaults()
	limit := rate.Inf
	if opts.Rate > 0 {
		limit = rate.Limit(opts.Rate)
	}
	return &Sender{db: db, vault: v, gateways: g, clock: clock, opts: opts, log: log, metrics: m, prepared: newStatements(db),
		slots: make(chan struct{}, opts.Concurrency), limiter: rate.NewLimiter(limit, max(1, int(opts.Rate/10)))}
}

// ErrStopped ends a round early: no gateway can be reached, or all refuse our account. Messages wait as they are.
var ErrStopped = errors.New("send messages: every gateway is stopped for now")

// Round decides about everything that is due, and sends what is to be sent. Lanes overlap so that requests go on
// while another chunk commits. When ctx ends, requests in flight are finished and recorded, and what was claimed
// beyond them is handed back.
func (s *Sender) Round(ctx context.Context) error {
	for _, g := range s.gateways.list {
		s.metrics.gatewayStopped(g.Name(), s.gateways.stopped(g.Name(), s.clock.Wall()))
	}
	r := &sendRound{Sender: s, postings: make(chan posting, s.opts.Concurrency)}
	defer r.workers.Wait()
	defer close(r.postings)
	if s.opts.Lanes == 1 || s.gateways.probing(s.clock.Wall()) {
		return r.lane(ctx)
	}
	errs := make([]error, s.opts.Lanes)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = r.lane(ctx) })
	}
	wg.Wait()
	if i := slices.IndexFunc(errs, func(err error) bool { return err != nil && !errors.Is(err, ErrStopped) }); i >= 0 {
		return errs[i]
	}
	return cmp.Or(errs...)
}

// Oldest tells since when, by business time, the longest waiting due message has waited; zero when none is due.
func (s *Sender) Oldest(ctx context.Context) (time.Time, error) {
	return oldestDue(ctx, s.db, s.clock.Now(), s.clock.Wall())
}

// A sendRound is one pass over what is due; its lanes share the place up to which they have claimed.
type sendRound struct {
	*Sender
	mu     sync.Mutex
	cursor cursor

	// Workers belong to the round, not to a lane: they do not wait for a lane's last answer, and keep the stacks that requests need.
	hire     sync.Once
	workers  sync.WaitGroup
	postings chan posting
}

func (r *sendRound) lane(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if r.gateways.allStopped(r.clock.Wall()) {
			return ErrStopped
		}
		n, err := r.chunk(ctx)
		if err != nil || n == 0 {
			return err
		}
	}
}

// chunk takes one chunk through: claim, verdicts and intents, commit; requests; outcomes, commit. It returns how many
// messages it claimed.
func (r *sendRound) chunk(ctx context.Context) (int, error) {
	if err := r.prepared.prepare(ctx); err != nil {
		return 0, fmt.Errorf("prepare statements: %w", err)
	}
	now, wall := r.clock.Now(), r.clock.Wall()
	claimed, jobs, begun, err := r.claim(ctx, now, wall)
	if err != nil {
		return 0, fmt.Errorf("claim messages: %w", err)
	}
	if len(jobs) == 0 {
		return claimed, nil
	}
	r.opts.at(PointSendIntentCommitted)
	replies := r.post(ctx, jobs, wall)
	r.opts.at(PointSendPosted)
	if err := r.keep(ctx, begun, jobs, replies); err != nil {
		return 0, fmt.Errorf("record the outcome of %d messages: %w", len(jobs), err)
	}
	r.opts.at(PointSendOutcomeWritten)
	return claimed, nil
}

// claim decides about a chunk of due messages and commits the verdicts, with an intent for each that is to be sent; chunk is
// the number of those in attempt_chunks.
func (r *sendRound) claim(ctx context.Context, now, wall time.Time) (claimed int, send []*sendJob, chunk int64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	limit := r.opts.Chunk
	if r.gateways.probing(wall) {
		limit = 1
	}
	var parkings []parking
	var last cursor
	err = courier.InTx(ctx, r.db, func(tx *sqlx.Tx) error {
		quick := preparedTx{tx, r.prepared}
		jobs, err := claimDue(ctx, quick, r.cursor, now, wall, limit)
		if err != nil || len(jobs) == 0 {
			return err
		}
		claimed = len(jobs)
		last = cursor{jobs[claimed-1].NotBefore, jobs[claimed-1].ID}
		jobs = slices.DeleteFunc(jobs, func(j *sendJob) bool { return !j.Free })
		if len(jobs) == 0 {
			return nil
		}
		if err := r.situate(ctx, quick, jobs, now); err != nil {
			return err
		}
		var cases []courier.NewCase
		send, parkings, cases = r.sort(jobs, now, wall)
		var waiting []parking
		send, waiting = r.keepNumbers(send, now, wall)
		parkings = append(parkings, waiting...)
		if chunk, err = insertAttempts(ctx, quick, send, now, wall); err != nil {
			return err
		}
		if err := park(ctx, tx, parkings, now); err != nil {
			return err
		}
		if err := courier.OpenCases(ctx, tx, cases); err != nil {
			return err
		}
		r.opts.at(PointSendClaimed)
		return nil
	})
	if err != nil || claimed == 0 {
		return 0, nil, 0, err
	}
	r.cursor = last
	r.count(send, parkings)
	return claimed, send, chunk, nil
}

// situate reads what verdicts depend on beside the delivery itself.
func (r *sendRound) situate(ctx context.Context, tx queryer, jobs []*sendJob, now time.Time) error {
	if err := readSituation(ctx, tx, jobs, nextMinute(now, 0).AddDate(0, 0, -1), r.gateways.byNumber()); err != nil {
		return err
	}
	return readPast(ctx, tx, jobs)
}

// keepNumbers parks what would be too much for a number today, and what would be the second of one text in doubt at a gateway and
// number: of two, a report that names neither could be about both (dossier E.2).
func (r *sendRound) keepNumbers(send []*sendJob, now, wall time.Time) (kept []*sendJob, parkings []parking) {
	more := make(map[string]int, len(send)) // by number: what is kept of this chunk
	kept = send[:0]
	for _, j := range send {
		number := string(j.Number)
		if number == "" {
			kept = append(kept, j)
			continue
		}
		if v, over := r.opts.Policy.Cap(j.Milestone, j.sentToday+more[number], now); over {
			parkings = append(parkings, parking{id: j.ID, milestone: j.Milestone, state: queued, verdict: v.Action, reason: v.Reason, notBefore: v.Until})
			continue
		}
		if j.doubted() || more[number] > 0 && slices.ContainsFunc(kept, j.alike) {
			parkings = append(parkings, parking{id: j.ID, milestone: j.Milestone, state: queued, verdict: Hold, reason: "等待同一号码的上一条短信有结果", next: wall.Add(r.opts.RetryAfter)})
			continue
		}
		more[number]++
		kept = append(kept, j)
	}
	return kept, parkings
}

// wording names the text that was taken, and its version.
func (j *sendJob) wording() string { return string(j.text) + "/" + strconv.Itoa(TextVersion(j.text)) }

// doubted reports whether it is not known what became of the same text, given to the same gateway for the same number.
func (j *sendJob) doubted() bool {
	return len(j.doubts) > 0 && slices.Contains(j.doubts, j.gateway.Name()+" "+j.wording())
}

// alike reports whether two jobs give the same text to the same gateway for the same number.
func (j *sendJob) alike(k *sendJob) bool {
	return bytes.Equal(j.Number, k.Number) && j.gateway == k.gateway && j.text == k.text
}

// inFlightWait is how long a message waits for one of the same delivery that is at a gateway this moment, so that they
// arrive in order.
const inFlightWait = 2 * time.Second

// sort splits jobs by verdict: those to send now have a gateway and an attempt.
func (r *sendRound) sort(jobs []*sendJob, now, wall time.Time) (send []*sendJob, parkings []parking, cases []courier.NewCase) {
	for _, j := range jobs {
		v := r.opts.Policy.Decide(j.message(), j.situation(), now)
		if v.Action != Send {
			p := parking{id: j.ID, milestone: j.Milestone, state: suppressed, verdict: v.Action, reason: v.Reason}
			if v.Action == Hold {
				p.state, p.notBefore = queued, v.Until
			}
			parkings = append(parkings, p)
			if v.Action == TooLate && j.Tries > 0 {
				cases = append(cases, smsFailed(j.DeliveryID, j.Milestone, "多次未能交给短信网关，已过时效", now, r.opts.CaseWithin))
			}
			continue
		}
		if j.inFlight {
			parkings = append(parkings, parking{id: j.ID, milestone: j.Milestone, state: queued, verdict: Hold, reason: "等待同一投递的上一条短信发出", next: wall.Add(inFlightWait)})
			continue
		}
		chosen, again := r.gateways.pick(j.texts(), j.past, wall)
		if chosen.gateway == nil {
			parkings = append(parkings, parking{id: j.ID, milestone: j.Milestone, state: queued, verdict: Hold, reason: noGateway, next: again})
			if j.passwordWaits() {
				cases = append(cases, smsFailed(j.DeliveryID, j.template(), "没有网关能发送签收密码，短信暂缓", now, r.opts.CaseWithin))
			}
			continue
		}
		j.gateway, j.text, j.attempt = chosen.gateway, chosen.text, uuid.Must(uuid.NewV7())
		send = append(send, j)
	}
	return send, parkings, cases
}

// noGateway is the reason of a message that no gateway takes at present.
const noGateway = "短信网关暂停使用，待运维处理后自动发送"

// passwordWaits reports whether the resident may stand at the door without the password, and the message did not already
// wait for its gateway: a clerk then calls meanwhile, once.
func (j *sendJob) passwordWaits() bool {
	told := slices.ContainsFunc(j.told, func(t Told) bool { return t.Milestone.withPassword() != t.Milestone })
	waited := j.Reason == noGateway || strings.HasPrefix(j.Reason, classWords[Configuration])
	return j.template() != j.Milestone && !told && !waited
}

func (j *sendJob) message() Message {
	return Message{Milestone: j.Milestone, Position: j.Position, EventAt: j.EventAt, Vars: j.vars}
}

// texts names the texts that would do, the best first: in the language that the resident chose, else in Chinese, for a
// resident is better told in Chinese than not at all.
func (j *sendJob) texts() []Milestone {
	if chosen := j.template().In(j.Language); chosen != j.template() {
		return []Milestone{chosen, j.template()}
	}
	return []Milestone{j.template()}
}

// inOtherLanguage reports whether the text that was taken is not in the language that the resident chose.
func (j *sendJob) inOtherLanguage() bool { return j.text != j.template().In(j.Language) }

// template names the Chinese text: that of the milestone, or the one with the password that the resident needs at the door. A
// gateway that lacks it is passed over, or the message waits: without the password it would be no use.
func (j *sendJob) template() Milestone {
	if len(j.Password) > 0 {
		return j.Milestone.withPassword()
	}
	return j.Milestone
}

func (j *sendJob) situation() Situation {
	return Situation{Status: j.Status, Told: j.told, OptedOut: j.optedOut, HeldUntil: dayOf(j.HeldUntil)}
}

func (r *sendRound) count(send []*sendJob, parkings []parking) {
	sent := make(map[Milestone]int)
	for _, j := range send {
		sent[j.Milestone]++
	}
	for m, n := range sent {
		r.metrics.decided(m, Send, n)
	}
	for _, p := range parkings {
		r.metrics.decided(p.milestone, p.verdict, 1)
	}
}

// A reply is what came of one request.
type reply struct {
	sent       Sent
	err        *SendError // nil: accepted
	segments   int
	handedBack bool // not begun
	local      bool // no gateway has seen it
}

// A posting is one request that a worker is to make.
type posting struct {
	job   *sendJob
	begun time.Time
	reply *reply
	done  *sync.WaitGroup
}

// post makes the requests, beside each other, and waits for their end.
func (r *sendRound) post(ctx context.Context, jobs []*sendJob, begun time.Time) []reply {
	r.hire.Do(func() {
		for range r.opts.Concurrency {
			r.workers.Go(func() { r.work(ctx) })
		}
	})
	replies := make([]reply, len(jobs))
	var done sync.WaitGroup
	done.Add(len(jobs))
	for i, j := range jobs {
		r.postings <- posting{j, begun, &replies[i], &done}
	}
	done.Wait()
	return replies
}

// work makes requests until the round's lanes have ended.
func (r *sendRound) work(ctx context.Context) {
	for p := range r.postings {
		*p.reply = r.postOne(ctx, p.job, p.begun)
		p.done.Done()
	}
}

// notBegun is the reply to a request that was not made.
var notBegun = reply{err: &SendError{Class: Unsent, Code: codeNotBegun, Clerk: "尚未交给短信网关，重新决定"}, handedBack: true, local: true}

// postOne makes a request when its turn comes. It begins none when ctx has ended, half the lease is over, or the gateway has
// shown meanwhile that messages may be lost there: such a message is decided about anew.
func (r *sendRound) postOne(ctx context.Context, j *sendJob, begun time.Time) reply {
	name := j.gateway.Name()
	if r.gateways.hushed(name, r.clock.Wall()) {
		return notBegun
	}
	if r.opts.Rate > 0 && r.limiter.Wait(ctx) != nil { // an error is the end of ctx
		return notBegun
	}
	r.slots <- struct{}{}
	defer func() { <-r.slots }()
	wall := r.clock.Wall()
	if ctx.Err() != nil || wall.Sub(begun) > r.opts.Lease/2 || !r.gateways.begin(name, wall) {
		return notBegun
	}
	defer r.gateways.end(name)
	p := r.send(ctx, j)
	r.opts.at(PointSendAnswered)
	r.learn(j, p, r.clock.Wall())
	return p
}

// send makes one request. What cannot be sent as it is never leaves.
func (r *sendRound) send(ctx context.Context, j *sendJob) reply {
	s, err := r.compose(j)
	if err != nil {
		return reply{err: err, local: true}
	}
	ctx = context.WithoutCancel(ctx)
	if b, ok := j.gateway.(Bounded); !ok || b.Timeout() > r.opts.PostTimeout {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.opts.PostTimeout)
		defer cancel()
	}
	sent, failure := j.gateway.Send(ctx, s)
	return reply{sent: sent, err: r.judge(j, failure), segments: s.Segments}
}

// judge makes sure that a failure has a class. An error of another type may hold anything, so only its type is logged.
func (r *sendRound) judge(j *sendJob, failure error) *SendError {
	if failure == nil {
		return nil
	}
	if e, ok := errors.AsType[*SendError](failure); ok {
		return e
	}
	r.log.Error("a gateway gave an error without a class", "gateway", j.gateway.Name(), "attempt", j.attempt.String(), "type", fmt.Sprintf("%T", failure))
	return &SendError{Class: Unknown, Code: "unclassified"}
}

// compose unseals number and name and fills in the text.
func (r *sendRound) compose(j *sendJob) (SMS, *SendError) {
	phone, err := unsealPhone(r.vault, j.DeliveryID, j.Phone)
	if err != nil {
		r.log.Error("a number cannot be unsealed", "delivery", j.DeliveryID.String(), "err", err)
		return SMS{}, &SendError{Class: Unsent, Code: codeUnseal}
	}
	if !IsMobile(phone.Reveal()) {
		return SMS{}, &SendError{Class: Recipient, Code: codeNumber}
	}
	name, err := r.vault.Unseal(vault.ColumnName, j.DeliveryID, j.Name)
	if err != nil {
		r.log.Error("a name cannot be unsealed", "delivery", j.DeliveryID.String(), "err", err)
		return SMS{}, &SendError{Class: Unsent, Code: codeUnseal}
	}
	facts := j.facts()
	if len(j.Password) > 0 {
		password, err := r.vault.Unseal(vault.ColumnPassword, j.DeliveryID, j.Password)
		if err != nil {
			r.log.Error("a delivery password cannot be unsealed", "delivery", j.DeliveryID.String(), "err", err)
			return SMS{}, &SendError{Class: Unsent, Code: codeUnseal}
		}
		facts.Password = password.Reveal()
	}
	vars := Fields(j.text, name.Reveal(), facts)
	if unfit := check(j.gateway, j.text, vars); unfit != nil {
		return SMS{}, unfit
	}
	return SMS{AttemptID: j.attempt, Phone: phone, Milestone: j.text, Vars: vars, Segments: segmentsOf(r.opts.Signatures[j.gateway.Name()], j.text, vars)}, nil
}

func (j *sendJob) facts() Facts {
	f := Facts{WaybillNo: j.WaybillNo, DueFen: j.DueFen}
	f.LastDay, _ = lastDay(j.message(), j.situation())
	return f
}

// unsealPhone gives the bare 11 digits of a number.
func unsealPhone(v *vault.Vault, delivery uuid.UUID, sealed []byte) (vault.Secret, error) {
	phone, err := v.Unseal(vault.ColumnPhone, delivery, sealed)
	if err != nil {
		return vault.Secret{}, err
	}
	if IsMobile(phone.Reveal()) {
		return phone, nil
	}
	digits := strings.NewReplacer(" ", "", "-", "").Replace(phone.Reveal())
	for _, prefix := range []string{"+86", "0086", "86"} {
		if rest, ok := strings.CutPrefix(digits, prefix); ok && len(rest) == 11 {
			digits = rest
			break
		}
	}
	return vault.Conceal(digits), nil
}
