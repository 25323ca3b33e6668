package resident

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// A rationed log says one line in ten seconds at most, and how many it has left out before: pushes come hundreds a second, each
// fails while the database is away, and anybody can send what is none.
type rationed struct {
	log     *slog.Logger
	every   rate.Sometimes
	leftOut atomic.Int64
}

func newRationed(log *slog.Logger) *rationed {
	return &rationed{log: log, every: rate.Sometimes{First: 1, Interval: 10 * time.Second}}
}

func (r *rationed) say(level slog.Level, what string, args ...any) {
	said := false
	r.every.Do(func() {
		said = true
		r.log.Log(context.Background(), level, what, append(args, "left_out", r.leftOut.Swap(0))...)
	})
	if !said {
		r.leftOut.Add(1)
	}
}
