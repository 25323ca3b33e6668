package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/robfig/cron/v3"
)

// beijing is where every clock of this service stands; a fixed zone, so that no machine needs a zone file.
var beijing = time.FixedZone("Asia/Shanghai", 8*60*60)

// checkSpec reads a schedule the way cron will. A specification with TZ= but no fields makes cron panic, and a zone
// of its own would contradict the others: refused before cron sees it.
func checkSpec(spec string) error {
	if strings.TrimSpace(spec) == "" {
		return errors.New("is empty")
	}
	if strings.HasPrefix(spec, "TZ=") || strings.HasPrefix(spec, "CRON_TZ=") {
		return fmt.Errorf("%q: times are Beijing's, a zone cannot be given", spec)
	}
	if _, err := cron.ParseStandard(spec); err != nil {
		return fmt.Errorf(`%q: want five cron fields or "@every 15s": %w`, spec, err)
	}
	return nil
}

// A round is one job: a pass over what is due.
type round struct {
	name string
	spec string
	wake []string // database channels that wake it before its next tick
	run  func(ctx context.Context) error

	due chan struct{} // one pending wake-up: one that comes while the round runs is not lost
}

// A scheduler wakes rounds by cron, by database notification and by hand, and never runs one twice at a time.
type scheduler struct {
	rounds []*round
	log    *slog.Logger
	done   func(ctx context.Context, name string, took time.Duration, err error)
	tick   atomic.Int64 // nanoseconds: wakes every round this often as well; 0: cron only
}

// pace makes rounds run as often as a business clock that is scale times faster than real time asks for.
func (s *scheduler) pace(scale float64) {
	if scale > 1 {
		s.tick.Store(int64(max(20*time.Millisecond, time.Duration(float64(10*time.Minute)/scale))))
	}
}

func (s *scheduler) add(name, spec string, run func(context.Context) error, wake ...string) {
	s.rounds = append(s.rounds, &round{name: name, spec: spec, wake: wake, run: run, due: make(chan struct{}, 1)})
}

// wake marks as due every round that listens to the channel.
func (s *scheduler) wake(channel string) {
	for _, r := range s.rounds {
		for _, w := range r.wake {
			if w == channel {
				r.nudge()
			}
		}
	}
}

// wakeAll marks every round as due: at the start, and after the connection for notifications was lost.
func (s *scheduler) wakeAll() {
	for _, r := range s.rounds {
		r.nudge()
	}
}

func (r *round) nudge() {
	select {
	case r.due <- struct{}{}:
	default:
	}
}

// run works until ctx ends and returns when no round is running any more. Rounds get ctx: when it ends they claim
// nothing more, finish what is in flight and return.
func (s *scheduler) run(ctx context.Context) error {
	logger := cron.PrintfLogger(slog.NewLogLogger(s.log.Handler(), slog.LevelWarn))
	c := cron.New(cron.WithLocation(beijing), cron.WithChain(cron.SkipIfStillRunning(logger), cron.Recover(logger)))
	var wg sync.WaitGroup
	for _, r := range s.rounds {
		if _, err := c.AddFunc(r.spec, r.nudge); err != nil {
			return fmt.Errorf("schedule %s: %w", r.name, err)
		}
	}
	for _, r := range s.rounds {
		wg.Go(func() { s.loop(ctx, r) })
	}
	c.Start()
	s.wakeAll()
	if s.tick.Load() > 0 {
		wg.Go(func() { s.ticks(ctx) })
	}
	<-ctx.Done()
	<-c.Stop().Done()
	wg.Wait()
	return nil
}

func (s *scheduler) loop(ctx context.Context, r *round) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.due:
			start := time.Now()
			err := s.once(ctx, r)
			if ctx.Err() != nil && errors.Is(err, context.Canceled) {
				return
			}
			s.done(ctx, r.name, time.Since(start), err)
		}
	}
}

// once keeps a panic inside the round: the others go on, and this one runs again at its next turn.
func (s *scheduler) once(ctx context.Context, r *round) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("round panicked", "round", r.name, "stack", string(debug.Stack()))
			err = fmt.Errorf("round %s panicked", r.name)
		}
	}()
	return r.run(ctx)
}

func (s *scheduler) ticks(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Duration(s.tick.Load())):
			s.wakeAll()
		}
	}
}
