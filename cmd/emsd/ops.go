package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/pprof"
	"sync"
	"time"

	"emsd/tracking"

	"github.com/jmoiron/sqlx"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// A check is one part that must work for the daemon to be ready; its error says what is the matter.
type check struct {
	name string
	run  func(ctx context.Context) error
}

// opsHandler serves those who run the daemon: no personal data, on a listener of its own.
func opsHandler(reg *prometheus.Registry, checks []check) http.Handler {
	mux := http.NewServeMux()
	// Supervisor: is the process alive?
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte("ok\n"))
	})
	// Load balancer, operator: may it be given work, and if not, which part is the matter?
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 3*time.Second)
		defer cancel()
		parts, status := map[string]string{}, http.StatusOK
		for _, c := range checks {
			parts[c.name] = "ok"
			if err := c.run(ctx); err != nil {
				parts[c.name], status = err.Error(), http.StatusServiceUnavailable
			}
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(map[string]any{"ready": status == http.StatusOK, "parts": parts})
	})
	// While the database is away, what is counted in this process is told all the same.
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError, Registry: reg}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

// roundMetrics are the figures an operator watches first.
type roundMetrics struct {
	lastSuccess *prometheus.GaugeVec
	runs        *prometheus.CounterVec
	seconds     *prometheus.HistogramVec
}

func newRegistry() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return reg
}

func newRoundMetrics(reg prometheus.Registerer, names []string) *roundMetrics {
	m := &roundMetrics{
		lastSuccess: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "emsd_round_last_success_timestamp_seconds",
			Help: "When the round last went through on this replica."}, []string{"round"}),
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "emsd_rounds_total", Help: "Rounds by outcome."}, []string{"round", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "emsd_round_seconds", Help: "How long a round took.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 9)}, []string{"round"}),
	}
	for _, n := range names {
		m.lastSuccess.WithLabelValues(n)
		m.runs.WithLabelValues(n, "ok")
		m.runs.WithLabelValues(n, "failed")
	}
	reg.MustRegister(m.lastSuccess, m.runs, m.seconds)
	return m
}

// dueCollector asks the database how far behind each round is, at most every few seconds however often it is scraped.
type dueCollector struct {
	db        *sqlx.DB
	now, wall func() time.Time
	names     []string
	desc      *prometheus.Desc
	behind    *prometheus.Desc
	polls     *prometheus.Desc

	mu     sync.Mutex
	at     time.Time
	last   map[string]time.Duration
	stages []tracking.Backlog
}

func newDueCollector(db *sqlx.DB, now, wall func() time.Time) *dueCollector {
	return &dueCollector{db: db, now: now, wall: wall,
		names:  []string{"poll", "order", "reconcile", "cancel", "label", "publish", "send", "webhooks", "resolve", "inbox"},
		desc:   prometheus.NewDesc("emsd_oldest_due_seconds", "How long the oldest due item of a round has been waiting.", []string{"round"}, nil),
		behind: prometheus.NewDesc("emsd_poll_behind_seconds", "How far polls are behind the plan, by the stage of the envelope, in business time; 0 when none is due.", []string{"stage"}, nil),
		polls:  prometheus.NewDesc("emsd_polls_due", "Envelopes that EMS is to be asked about now, by stage; counted up to 50,000 for each urgency.", []string{"stage"}, nil)}
}

func (c *dueCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.desc
	ch <- c.behind
	ch <- c.polls
}

func (c *dueCollector) Collect(ch chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if wall := c.wall(); wall.Sub(c.at) > 5*time.Second {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		due, err := oldestDue(ctx, c.db, c.now(), wall)
		if err != nil {
			ch <- prometheus.NewInvalidMetric(c.desc, err)
			return
		}
		if c.stages, err = tracking.Backlogs(ctx, c.db, c.now()); err != nil {
			ch <- prometheus.NewInvalidMetric(c.behind, err)
			return
		}
		for _, s := range c.stages {
			due["poll"] = max(due["poll"], s.Behind)
		}
		c.at, c.last = wall, due
	}
	for _, s := range c.stages {
		ch <- prometheus.MustNewConstMetric(c.behind, prometheus.GaugeValue, s.Behind.Seconds(), string(s.Stage))
		ch <- prometheus.MustNewConstMetric(c.polls, prometheus.GaugeValue, float64(s.Due), string(s.Stage))
	}
	for _, n := range c.names {
		ch <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, c.last[n].Seconds(), n)
	}
}
