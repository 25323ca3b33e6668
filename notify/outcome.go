package notify

import (
	"cmp"
	"context"
	"time"

	"emsd/courier"

	"github.com/jmoiron/sqlx"
)

// Codes of attempts that never came as far as a gateway.
const (
	codeUnseal   = "unseal"      // this process cannot read the recipient
	codeNumber   = "number_form" // not a mainland mobile number
	codeText     = "text"        // a variable is missing, or not what it should be
	codeNotBegun = "not_begun"   // the round had to end; store_send.go counts it as no failure
)

const (
	recordTimeout = 20 * time.Second       // of one try; a database that is away without a word must not hold a lane for ever
	recordAgain   = 250 * time.Millisecond // first wait after a failed try, doubled up to recordMax
	recordMax     = 5 * time.Second
)

// keep records what came of a chunk's requests, and tries again while the database is away: what a gateway said is known to
// nobody else, and a plain refusal that is forgotten would be a message in doubt, never to be sent. It gives up when the
// lease is over, or this process is to stop; then the attempts are taken over and asked about.
func (r *sendRound) keep(ctx context.Context, jobs []*sendJob, replies []reply) error {
	wall := r.clock.Wall()
	for i, j := range jobs {
		r.learn(j, replies[i], wall)
	}
	wait := recordAgain
	for waited := time.Duration(0); ; waited += wait {
		err := r.record(ctx, jobs, replies)
		if err == nil || waited >= r.opts.Lease {
			return err
		}
		if waited == 0 {
			r.log.Warn("the outcome of messages cannot be written, tried again until it is", "count", len(jobs), "error", err)
		} else {
			wait = min(2*wait, recordMax)
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
	}
}

// record writes what came of a chunk's requests, with a case for each message that will not arrive. To write it twice
// changes nothing.
func (r *sendRound) record(ctx context.Context, jobs []*sendJob, replies []reply) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	now, wall := r.clock.Now(), r.clock.Wall()
	settlings := make([]settling, len(jobs))
	soon := false
	for i, j := range jobs {
		settlings[i] = r.outcome(j, replies[i], wall)
		soon = soon || settlings[i].messageState == queued && !settlings[i].next.After(wall)
	}
	err := courier.InTx(ctx, r.db, func(tx *sqlx.Tx) error {
		taken, err := settle(ctx, tx, []string{sending, unknown}, settlings, now, wall)
		if err != nil {
			return err
		}
		var cases []courier.NewCase
		for i, s := range settlings {
			if s.messageState == failed && taken[s.attempt] {
				cases = append(cases, smsFailed(jobs[i].DeliveryID, jobs[i].Milestone, s.reason, now, r.opts.CaseWithin))
			}
			if s.messageState == queued && s.class == Configuration.String() && s.next.After(wall) && taken[s.attempt] && jobs[i].passwordWaits() {
				cases = append(cases, smsFailed(jobs[i].DeliveryID, jobs[i].template(), "没有网关能发送签收密码，短信暂缓", now, r.opts.CaseWithin))
			}
		}
		if err := courier.OpenCases(ctx, tx, cases); err != nil {
			return err
		}
		if soon {
			if err := courier.Wake(ctx, tx, courier.WakeMessages); err != nil {
				return err
			}
		}
		r.opts.at(PointSendRecording)
		return nil
	})
	if err != nil {
		return err
	}
	r.note(jobs, replies)
	return nil
}

// outcome says what a reply makes of an attempt and its message (dossier E.2, E.4).
func (r *sendRound) outcome(j *sendJob, p reply, wall time.Time) settling {
	s := settling{attempt: j.attempt, providerID: p.sent.ProviderID}
	if p.err == nil {
		s.state, s.messageState, s.reason = accepted, accepted, "短信网关已接收"
		if j.inOtherLanguage() {
			s.reason += "；该网关没有可用的英文模板，以中文发送"
		}
		return s
	}
	class := p.err.Class
	s.state, s.class, s.code, s.reason = rejected, class.String(), p.err.Code, cmp.Or(p.err.Clerk, explain(class, p.err.Code))
	switch class {
	case Recipient, Permanent:
		s.messageState = failed
	case Transient, Throttle:
		s.messageState, s.next = queued, wall.Add(r.backoff(j, p.err.RetryAfter))
		if j.rejected+1 >= r.opts.MaxTries {
			s.messageState, s.next = failed, time.Time{}
			s.reason += "，已重试多次"
		}
	case Configuration:
		s.messageState, s.next = queued, wall
		if next, again := r.gateways.pick(j.texts(), j.unsentAt, wall); next.gateway == nil {
			s.next = again
		}
	case Unsent:
		s.state, s.messageState, s.next = unsent, queued, wall
		if !p.handedBack {
			s.next = wall.Add(r.backoff(j, 0))
		}
	default:
		s.state, s.messageState = unknown, unknown
		s.reason = "短信网关没有答复，正在查询是否已接收，不会重发"
		s.resolveAt = wall.Add(r.opts.firstQuestion(j.gateway))
	}
	return s
}

// firstQuestion is how long after an unknown outcome the gateway is asked, or given up on.
func (o Options) firstQuestion(g Gateway) time.Duration {
	if f, ok := g.(Finder); ok {
		return o.questions(f)[0]
	}
	return o.ReceiptWait
}

func (o Options) questions(f Finder) []time.Duration {
	if len(o.ResolveAfter) > 0 {
		return o.ResolveAfter
	}
	return f.Questions().After
}

// backoff doubles from RetryAfter to RetryMax; a gateway that says how long to wait is obeyed.
func (r *sendRound) backoff(j *sendJob, asked time.Duration) time.Duration {
	if asked > 0 {
		return asked
	}
	wait := r.opts.RetryAfter << min(j.Tries, 16)
	return spread(min(wait, r.opts.RetryMax), j.ID)
}

// learn leaves a gateway alone that cannot be reached, or that refused more than this one message: everybody's would
// be refused.
func (r *sendRound) learn(j *sendJob, p reply, wall time.Time) {
	if p.local {
		return
	}
	name := j.gateway.Name()
	if p.err != nil && p.err.Class == Unsent {
		if r.gateways.left(name, false, wall, wall.Add(r.opts.PauseFor)) {
			r.log.Warn("an SMS gateway cannot be reached", "gateway", name, "code", p.err.Code, "message", p.err.Message)
		}
		return
	}
	r.gateways.left(name, true, wall, wall)
	if p.err == nil || p.err.Class != Configuration {
		return
	}
	key := stopKey{gateway: name}
	if p.err.ThisTemplate {
		key.milestone = j.text
	}
	if r.gateways.stop(key, wall, wall.Add(r.opts.StopFor)) {
		r.metrics.gatewayStopped(name, true)
		r.log.Error("an SMS gateway refuses our account, signature or template: a person is needed; messages wait or take the next gateway",
			"gateway", name, "milestone", string(key.milestone), "code", p.err.Code, "message", p.err.Message)
	}
}

// note counts and logs what an operator acts on.
func (r *sendRound) note(jobs []*sendJob, replies []reply) {
	for i, j := range jobs {
		p := replies[i]
		if p.err == nil {
			r.metrics.attempted(j.gateway.Name(), accepted, p.segments)
			continue
		}
		r.metrics.attempted(j.gateway.Name(), p.err.Class.String(), p.segments)
		if p.handedBack || p.err.Class == Configuration {
			continue
		}
		r.log.Warn("a message was not clearly accepted", "gateway", j.gateway.Name(), "attempt", j.attempt.String(),
			"delivery", j.DeliveryID.String(), "milestone", string(j.Milestone), "class", p.err.Class.String(), "code", p.err.Code, "message", p.err.Message)
	}
}
