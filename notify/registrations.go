package notify

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"emsd/courier"
)

// askedAgainAfter keeps a round that is woken often from asking the vendors as often (wall).
const askedAgainAfter = 10 * time.Minute

// Registrations looks after what the vendors have approved, and keeps the signatures' registrations alive.
type Registrations struct {
	gateways  *Gateways
	trials    *Trials
	passwords bool
	clock     courier.Clock
	log       *slog.Logger
	metrics   *Metrics

	mu   sync.Mutex // one round at a time
	last atomic.Pointer[inspection]
}

// An inspection is what the vendors said at a time (wall).
type inspection struct {
	at    time.Time
	found []Finding
}

// NewRegistrations returns a Registrations; with passwords the texts that tell one are looked after too. metrics may be nil.
func NewRegistrations(g *Gateways, t *Trials, passwords bool, clock courier.Clock, log *slog.Logger, m *Metrics) *Registrations {
	return &Registrations{gateways: g, trials: t, passwords: passwords, clock: clock, log: log, metrics: m}
}

// Last gives what this process was told when it last asked, and when (wall); zero when it has not asked yet.
func (r *Registrations) Last() ([]Finding, time.Time) {
	last := r.last.Load()
	if last == nil {
		return nil, time.Time{}
	}
	return last.found, last.at
}

// Round asks every gateway about signature and templates, warns of what is not fine, and sends the self-tests of this month
// that are missing.
func (r *Registrations) Round(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, asked := r.Last(); asked.IsZero() || r.clock.Wall().Sub(asked) >= askedAgainAfter {
		var found []Finding
		for _, g := range r.gateways.list {
			findings := Inspect(ctx, g, r.passwords)
			if err := ctx.Err(); err != nil {
				return err
			}
			found = append(found, findings...)
			for _, f := range findings {
				r.metrics.registered(f)
				if !f.Fine {
					r.log.Warn("an SMS gateway's registration needs a person", "gateway", f.Gateway, "subject", f.Subject, "says", f.Says)
				}
			}
		}
		r.last.Store(&inspection{r.clock.Wall(), found})
	}
	err := r.trials.Round(ctx)
	tests, terr := r.trials.SelfTests(ctx)
	for _, t := range tests {
		r.metrics.selfTested(t)
		if len(t.Failed) > 0 {
			r.log.Error("a monthly self-test was not accepted: without sends a signature's registration lapses", "gateway", t.Gateway, "stands", t.String())
		}
	}
	return errors.Join(err, terr)
}
