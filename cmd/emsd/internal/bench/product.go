package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"time"

	"emsd/cmd/emsd/internal/api"
	"emsd/courier"
	"emsd/courier/ems"
	"emsd/courier/vault"
	"emsd/tracking"

	"github.com/jmoiron/sqlx"
	"github.com/prometheus/client_golang/prometheus"
)

// conns is what a run may open: a connection for each of four lanes, and some for what goes on beside them.
const conns = 16

// unlimited is a rate that no machine reaches: the rate limiter works, but never waits.
const unlimited = 1e9

var quiet = slog.New(slog.DiscardHandler)

// benchVault seals and opens what is seeded; parent and children make the same keys of the seed.
func benchVault() *vault.Vault { return vault.Fixed([]byte("emsd bench")) }

// newEMS is the product's client against the stub, as the daemon makes it.
func newEMS(url string, workers int, reg prometheus.Registerer) (*ems.Client, error) {
	return ems.New(ems.Config{URL: url, SenderNo: account, Authorization: authorization, Secret: secret, Rate: unlimited, Concurrency: workers},
		quiet, ems.NewMetrics(reg))
}

// product opens what a run of the product needs: the database, the client of the stub, and where it counts.
func (t task) product(ctx context.Context) (*sqlx.DB, *ems.Client, *prometheus.Registry, error) {
	db, err := open(ctx, t.DSN)
	if err != nil {
		return nil, nil, nil, err
	}
	reg := prometheus.NewRegistry()
	client, err := newEMS(t.URL, t.Workers, reg)
	if err != nil {
		return nil, nil, nil, errors.Join(err, db.Close())
	}
	return db, client, reg, nil
}

// clockFrom runs business time from now on; wall time is the machine's.
func clockFrom(now time.Time) courier.Clock {
	began := time.Now()
	return courier.Clock{Now: func() time.Time { return now.Add(time.Since(began)) }, Wall: time.Now}
}

// An office is the daemon's own JSON API, served, with a token of one scope for it. Its feed never grows.
type office struct {
	*httptest.Server
	service *courier.Service
	token   string
}

func openOffice(ctx context.Context, db *sqlx.DB, clock courier.Clock, scope string) (*office, error) {
	service := courier.New(db, benchVault(), clock, courier.Options{})
	token, _, err := service.CreateToken(ctx, "bench", []string{scope}, time.Hour, "bench")
	if err != nil {
		return nil, err
	}
	never := make(chan struct{})
	feed := api.Feed{Grew: func() <-chan struct{} { return never }, Stopping: never}
	handler := api.New(service, nil, tracking.NewReader(db), db, clock, feed, nil, nil, api.Options{}, quiet)
	return &office{httptest.NewServer(handler), service, token}, nil
}

// pollProduct runs the product's own poll round over everything that is due.
func pollProduct(ctx context.Context, t task, m *meter) error {
	db, client, reg, err := t.product(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	defer client.Close()
	asker := &marker{Client: client, at: int64(t.Mark)}
	clock := clockFrom(t.Now)
	if t.Frozen {
		clock.Now = func() time.Time { return t.Now }
	}
	p := tracking.NewPoller(db, benchVault(), asker, clock, tracking.Options{Concurrency: t.Workers, KeepAnswers: t.Keep}, quiet, tracking.NewMetrics(reg))
	if err := m.start(ctx, db); err != nil {
		return err
	}
	if err := p.Round(ctx); err != nil {
		return err
	}
	m.MarkRSS = asker.rss.Load()
	return m.stop(ctx, db, t.Items)
}

// A marker notes the memory after so many questions. It keeps the client's Open.
type marker struct {
	*ems.Client
	at  int64
	n   atomic.Int64
	rss atomic.Int64
}

func (m *marker) Trace(ctx context.Context, waybillNo string, known int64) (courier.Trace, error) {
	if m.at > 0 && m.n.Add(1) == m.at {
		if rss, err := peakRSS(); err == nil {
			m.rss.Store(rss)
		}
	}
	return m.Client.Trace(ctx, waybillNo, known)
}

// orderProduct runs the product's own order round over everything that is approved.
func orderProduct(ctx context.Context, t task, m *meter) error {
	db, client, reg, err := t.product(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	defer client.Close()
	o := courier.NewOrderer(db, benchVault(), client, clockFrom(t.Now), courier.OrderOptions{Concurrency: t.Workers}, quiet, courier.NewOrderMetrics(reg))
	if err := m.start(ctx, db); err != nil {
		return err
	}
	if err := o.OrderRound(ctx); err != nil {
		return err
	}
	return m.stop(ctx, db, t.Items)
}

// claimProduct times the product's own claims of a chunk: a round reads the business clock, claims, and asks. Asking
// ends the round here, so that nothing is written and each claim goes on behind the one before.
func claimProduct(ctx context.Context, t task, m *meter) error {
	db, err := open(ctx, t.DSN)
	if err != nil {
		return err
	}
	defer db.Close()
	w := &claimWatch{now: t.Now}
	clock := courier.Clock{Now: w.read, Wall: time.Now}
	p := tracking.NewPoller(db, benchVault(), w, clock, tracking.Options{Concurrency: 1, Lanes: 1}, quiet, nil)
	if err := m.start(ctx, db); err != nil {
		return err
	}
	for i := range t.Items {
		if err := w.one(ctx, p); err != nil {
			return fmt.Errorf("claim %d: %w", i, err)
		}
	}
	m.Took = w.took
	return m.stop(ctx, db, t.Items)
}

// A claimWatch is the clock and the courier of rounds that get no further than their first claim.
type claimWatch struct {
	now time.Time

	mu    sync.Mutex
	began time.Time
	took  []float64
	end   context.CancelFunc
}

func (w *claimWatch) read() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.began = time.Now()
	return w.now
}

// Trace is asked right after a claim, which reads the clock right before it begins.
func (w *claimWatch) Trace(context.Context, string, int64) (courier.Trace, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.took = append(w.took, time.Since(w.began).Seconds())
	w.end()
	return courier.Trace{}, context.Canceled
}

func (w *claimWatch) one(ctx context.Context, p *tracking.Poller) error {
	before := len(w.took)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w.mu.Lock()
	w.end = cancel
	w.mu.Unlock()
	if err := p.Round(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	if len(w.took) != before+1 {
		return errors.New("nothing was due")
	}
	return nil
}
