package tracking

import (
	"context"
	"testing"
	"time"

	"emsd/courier"
	"emsd/courier/vault"
	"emsd/migrations/dbtest"

	"github.com/jmoiron/sqlx"
	"github.com/prometheus/client_golang/prometheus"
)

// sameEMS always gives the same answer.
type sameEMS struct{ t courier.Trace }

func (e sameEMS) Trace(_ context.Context, _ string, known int64) (courier.Trace, error) {
	if known == e.t.Fingerprint {
		return courier.Trace{Fingerprint: known, Unchanged: true}, nil
	}
	return e.t, nil
}

// BenchmarkRound is the cost of a poll without news apart from the call: claim, bookkeeping, one update, commit.
func BenchmarkRound(b *testing.B) {
	db := dbtest.Open(b)
	const n = 20_000
	seed(b, db, n)
	c := newClock(hour(9))
	ems := sameEMS{courier.Trace{Fingerprint: 7, Scans: []courier.Scan{at(1, "203"), at(2, "305")}}}
	p := NewPoller(db, vault.Fixed([]byte("tracking")), ems, c.courierClock(), Options{}, quiet, NewMetrics(prometheus.NewRegistry()))
	if err := p.Round(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.Run("quiet", func(b *testing.B) { benchRounds(b, db, p, c, n) })
}

func benchRounds(b *testing.B, db *sqlx.DB, p *Poller, c *clock, n int) {
	polls := 0
	var spent time.Duration
	for b.Loop() {
		c.add(20 * time.Hour)
		start := time.Now()
		if err := p.Round(b.Context()); err != nil {
			b.Fatal(err)
		}
		spent += time.Since(start)
		polls += n
	}
	b.ReportMetric(float64(polls)/spent.Seconds(), "polls/s")
	b.ReportMetric(float64(spent.Microseconds())/float64(polls), "µs/poll")
}
