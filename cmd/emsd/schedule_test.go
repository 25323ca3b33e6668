package main

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func quietLog() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestARoundIsWokenByChannelAndNeverRunsTwiceAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var runs, at, most atomic.Int32
		s := &scheduler{log: quietLog(), done: func(context.Context, string, time.Duration, error) {}}
		s.add("poll", "0 0 1 1 *", func(context.Context) error {
			most.Store(max(most.Load(), at.Add(1)))
			time.Sleep(time.Second)
			at.Add(-1)
			runs.Add(1)
			return nil
		}, "news")
		ended := make(chan error, 1)
		go func() { ended <- s.run(ctx) }()
		time.Sleep(1500 * time.Millisecond) // the run of the start is over
		for range 5 {                       // five wake-ups: one run now, and one more because news came while it ran
			s.wake("news")
			time.Sleep(100 * time.Millisecond)
		}
		s.wake("other")
		time.Sleep(10 * time.Second)
		if got := runs.Load(); got != 3 {
			t.Errorf("%d runs, want 3: at the start, woken, and woken while running", got)
		}
		if most.Load() != 1 {
			t.Errorf("%d ran at a time", most.Load())
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestAPanicCostsOneTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var outcomes []string
		var runs int
		s := &scheduler{log: quietLog(), done: func(_ context.Context, _ string, _ time.Duration, err error) {
			outcomes = append(outcomes, map[bool]string{true: "ok", false: "failed"}[err == nil])
		}}
		s.add("send", "@every 1m", func(context.Context) error {
			if runs++; runs == 1 {
				panic("boom")
			}
			return nil
		})
		go s.run(ctx)
		time.Sleep(150 * time.Second)
		synctest.Wait()
		if len(outcomes) != 3 || outcomes[0] != "failed" || outcomes[1] != "ok" {
			t.Errorf("outcomes %v, want failed, ok, ok", outcomes)
		}
	})
}

func TestStoppingWaitsForWhatIsRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		finished := false
		s := &scheduler{log: quietLog(), done: func(context.Context, string, time.Duration, error) {}}
		s.add("order", "@every 1h", func(context.Context) error {
			time.Sleep(5 * time.Second)
			finished = true
			return nil
		})
		ended := make(chan error, 1)
		go func() { ended <- s.run(ctx) }()
		time.Sleep(time.Second)
		cancel()
		<-ended
		if !finished {
			t.Error("the scheduler returned while a round was running")
		}
	})
}

func TestSchedules(t *testing.T) {
	for spec, fine := range map[string]bool{"*/5 * * * *": true, "@every 15s": true, "@daily": true, "": false, "TZ=UTC": false,
		"CRON_TZ=Asia/Tokyo 0 0 * * *": false, "61 * * * *": false, "@every": false, "* * * *": false, "@every -1s": true} {
		if err := checkSpec(spec); (err == nil) != fine {
			t.Errorf("checkSpec(%q) = %v, want fine: %t", spec, err, fine)
		}
	}
}
