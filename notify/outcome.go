package notify

import (
	"cmp"
	"context"
	"maps"
	"time"

	"emsd/courier"

	"github.com/jmoiron/sqlx"
)

// Codes of attempts that never came as far as a gateway.
const (
	codeUnseal   = "unseal"      // this process cannot read the recipient
	codeNumber   = "number_form" // not a mainland mobile number
	codeText     = "text"        // a variable is missing, or not what it should be
	codeNotBegun = "not_begun"   // the round had to end, or the gateway was stopped; store_send.go counts it as no failure
)

const (
	recordTimeout = 20 * time.Second       // of one try; a database that is away without a word must not hold a lane for ever
	recordAgain   = 250 * time.Millisecond // first wait after a failed try, doubled up to recordMax
	recordMax     = time.Second            // once the database is back, it is soon seen
)

// keep records what came of a chunk's requests, and tries again while the database is away: what a gateway said is known to
// nobody else, and a plain refusal that is forgotten would be a message in doubt, never to be sent. It gives up when the
// lease is over, or this process is to stop; then the attempts are taken over and asked about.
func (r *sendRound) keep(ctx context.Context, chunk int64, jobs []*sendJob, replies []reply) error {
	wait := recordAgain
	for waited := time.Duration(0); ; waited += wait {
		err := r.record(ctx, chunk, jobs, replies)
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
func (r *sendRound) record(ctx context.Context, chunk int64, jobs []*sendJob, replies []reply) error {
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
		quick := preparedTx{tx, r.prepared}
		lost, err := settle(ctx, quick, []string{sending, unknown}, settlings, now, wall)
		if err != nil {
			return err
		}
		if err := endChunks(ctx, quick, chunk); err != nil {
			return err
		}
		var cases []courier.NewCase
		for i, s := range settlings {
			if s.messageState == failed && !lost[s.attempt] {
				cases = append(cases, smsFailed(jobs[i].DeliveryID, jobs[i].Milestone, s.reason, now, r.opts.CaseWithin))
			}
			if s.messageState == queued && s.class == Configuration.String() && s.next.After(wall) && !lost[s.attempt] && jobs[i].passwordWaits() {
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
	s := settling{attempt: j.attempt, delivery: j.DeliveryID, milestone: j.Milestone, providerID: p.sent.ProviderID}
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
	case Throttle: // the gateway's own wish is obeyed for as long as the message is worth sending (dossier E.4)
		s.messageState, s.next = queued, wall.Add(r.backoff(j, p.err.RetryAfter))
	case Transient:
		s.messageState, s.next = queued, wall.Add(r.backoff(j, p.err.RetryAfter))
		if j.rejected+1 >= r.opts.MaxTries {
			s.messageState, s.next = failed, time.Time{}
			s.reason += "，已重试多次"
		}
	case Configuration:
		s.messageState, s.next = queued, wall
		if next, again := r.gateways.pick(j.texts(), j.past, wall); next.gateway == nil || next.gateway == j.gateway && next.text == j.text {
			// A little later than the gateway is tried again, so that another message tries it: it may be this one alone that it refuses.
			s.next = later(again, wall).Add(r.backoff(j, 0))
		}
	case Unregistered:
		s.messageState, s.next = r.elsewhere(j, wall)
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

// elsewhere is what becomes of a message whose number's carrier does not know our signature at this gateway: another one
// may be registered with it.
func (r *sendRound) elsewhere(j *sendJob, wall time.Time) (state string, next time.Time) {
	of := maps.Clone(j.past)
	if of == nil {
		of = make(map[string]past)
	}
	here := of[j.gateway.Name()]
	here.unregistered++
	of[j.gateway.Name()] = here
	switch other, again := r.gateways.pick(j.texts(), of, wall); {
	case j.rejected+1 >= r.opts.MaxTries:
	case other.gateway != nil && of[other.gateway.Name()].unregistered == 0:
		return queued, wall
	case !again.IsZero():
		return queued, again
	}
	return failed, time.Time{}
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

// backoff doubles from RetryAfter to RetryMax; a gateway that asks for more gets it.
func (r *sendRound) backoff(j *sendJob, asked time.Duration) time.Duration {
	wait := r.opts.RetryAfter << min(j.Tries, 16)
	return max(asked, spread(min(wait, r.opts.RetryMax), j.ID))
}

// learn leaves a gateway alone that cannot be reached or does not answer, or that refused more than this one message:
// everybody's would be refused.
func (r *sendRound) learn(j *sendJob, p reply, wall time.Time) {
	name := j.gateway.Name()
	if p.err != nil && p.err.Unexplained && r.gateways.news(name, p.err.Code, wall, wall.Add(r.opts.StopFor)) {
		r.log.Error("an SMS gateway answers by a code that the table lacks: a person has to look it up; it goes on, and the message is asked about",
			"gateway", name, "code", p.err.Code, "message", p.err.Message)
	}
	switch {
	case p.local:
	case p.err == nil:
		r.gateways.answered(name)
	case p.err.Unlisted || p.err.Class == Configuration:
		r.stop(j, p.err, wall)
	case p.err.Class == Unregistered:
		r.gateways.answered(name)
		if r.gateways.news(name, p.err.Code, wall, wall.Add(r.opts.StopFor)) {
			r.log.Error("a carrier does not know our signature at an SMS gateway: a person is needed; its customers' messages take the next gateway",
				"gateway", name, "code", p.err.Code, "message", p.err.Message)
		}
	case p.err.Class == Unsent && r.gateways.missed(name, unsentLimit, wall, r.opts.PauseFor, r.opts.PauseFor),
		p.err.Class == Unknown && r.gateways.missed(name, doubtLimit, wall, r.opts.PauseFor, r.opts.StopFor):
		r.metrics.gatewayStopped(name, true)
		r.log.Warn("an SMS gateway cannot be reached, or does not say whether it takes messages: it is left alone for a while; messages wait or take the next gateway",
			"gateway", name, "code", p.err.Code, "message", p.err.Message)
	case p.err.Class != Unsent && p.err.Class != Unknown:
		r.gateways.answered(name)
	}
}

// stop leaves a gateway alone that needs a person, or one template of it. A message that it refused before says nothing
// about the others that it has taken since.
func (r *sendRound) stop(j *sendJob, e *SendError, wall time.Time) {
	key := stopKey{gateway: j.gateway.Name()}
	if e.ThisTemplate {
		key.milestone = j.text
		r.gateways.answered(key.gateway)
	} else if j.past[key.gateway].refused > 0 && !r.gateways.doubted(key.gateway) {
		r.log.Error("an SMS gateway refuses a message again, and takes others: a person has to look the code up",
			"gateway", key.gateway, "delivery", j.DeliveryID.String(), "code", e.Code, "message", e.Message)
		return
	}
	if e.Class == Unknown {
		r.gateways.hush(key.gateway, wall.Add(r.opts.StopFor))
	}
	if !r.gateways.stop(key, wall, wall.Add(r.opts.StopFor)) {
		return
	}
	r.metrics.gatewayStopped(key.gateway, true)
	what := "an SMS gateway refuses our account, signature or template: a person is needed; messages wait or take the next gateway"
	if e.Unlisted {
		what = "an SMS gateway answers by a code that the table lacks: a person has to look it up; messages wait or take the next gateway"
	}
	r.log.Error(what, "gateway", key.gateway, "milestone", string(key.milestone), "code", e.Code, "message", e.Message)
}

// note counts and logs what an operator acts on.
func (r *sendRound) note(jobs []*sendJob, replies []reply) {
	taken, segments := make(map[string]int), make(map[string]int) // by gateway
	for i, j := range jobs {
		p := replies[i]
		if p.err == nil {
			taken[j.gateway.Name()]++
			segments[j.gateway.Name()] += p.segments
			continue
		}
		r.metrics.attempted(j.gateway.Name(), p.err.Class.String(), 1, p.segments)
		if p.handedBack || p.err.Class == Configuration {
			continue
		}
		r.log.Warn("a message was not clearly accepted", "gateway", j.gateway.Name(), "attempt", j.attempt.String(),
			"delivery", j.DeliveryID.String(), "milestone", string(j.Milestone), "class", p.err.Class.String(), "code", p.err.Code, "message", p.err.Message)
	}
	for name, n := range taken {
		r.metrics.attempted(name, accepted, n, segments[name])
	}
}
