package tracking

import (
	"context"
	"hash/fnv"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"emsd/courier"
	"emsd/courier/vault"

	"github.com/jmoiron/sqlx"
)

// fakeEMS answers with the traces it was given and counts the questions.
type fakeEMS struct {
	mu     sync.Mutex
	traces map[string][]courier.Scan
	asked  map[string]int
	calls  atomic.Int64
	open   atomic.Bool
	// before, when set, is called for each question; its error is the answer.
	before func(ctx context.Context, waybillNo string) error
}

func newFakeEMS() *fakeEMS {
	return &fakeEMS{traces: map[string][]courier.Scan{}, asked: map[string]int{}}
}

func (f *fakeEMS) show(waybillNo string, scans ...courier.Scan) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.traces[waybillNo] = scans
}

func (f *fakeEMS) Open() bool { return f.open.Load() }

func (f *fakeEMS) Trace(ctx context.Context, waybillNo string, known int64) (courier.Trace, error) {
	f.calls.Add(1)
	f.mu.Lock()
	f.asked[waybillNo]++
	scans, before := f.traces[waybillNo], f.before
	f.mu.Unlock()
	if before != nil {
		if err := before(ctx, waybillNo); err != nil {
			return courier.Trace{}, err
		}
	}
	h := fnv.New64a()
	for _, s := range scans {
		io.WriteString(h, s.At.String()+s.Code+s.OrgCode+s.DeliverCode+s.Desc.Reveal()+"\n")
	}
	print := int64(h.Sum64() | 1)
	if print == known {
		return courier.Trace{Fingerprint: print, Unchanged: true}, nil
	}
	return courier.Trace{Fingerprint: print, Scans: scans}, nil
}

// clock is a business clock that tests set.
type clock struct{ now atomic.Pointer[time.Time] }

func newClock(t time.Time) *clock {
	c := &clock{}
	c.set(t)
	return c
}

func (c *clock) set(t time.Time)     { c.now.Store(&t) }
func (c *clock) add(d time.Duration) { c.set(c.now.Load().Add(d)) }
func (c *clock) courierClock() courier.Clock {
	return courier.Clock{Now: func() time.Time { return *c.now.Load() }, Wall: time.Now}
}

var quiet = slog.New(slog.DiscardHandler)

func newTestPoller(t *testing.T, db *sqlx.DB, ems Asker, c *clock, opts Options) *Poller {
	t.Helper()
	return NewPoller(db, vault.Fixed([]byte("tracking")), ems, c.courierClock(), opts, quiet, nil)
}
