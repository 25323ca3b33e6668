package webhook

import "github.com/prometheus/client_golang/prometheus"

// Metrics counts what becomes of webhooks. A nil *Metrics counts nothing.
type Metrics struct {
	queued   prometheus.Counter
	attempts *prometheus.CounterVec // by outcome
}

// NewMetrics makes the counters, all at zero, and registers them unless reg is nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		queued:   prometheus.NewCounter(prometheus.CounterOpts{Name: "emsd_webhook_queued_total", Help: "Messages queued, one for each endpoint and event."}),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "emsd_webhook_attempts_total", Help: "Requests to subscribers by outcome."}, []string{"outcome"}),
	}
	for _, o := range Outcomes {
		m.attempts.WithLabelValues(o)
	}
	if reg != nil {
		reg.MustRegister(m.queued, m.attempts)
	}
	return m
}

func (m *Metrics) planned(n int) {
	if m != nil {
		m.queued.Add(float64(n))
	}
}

func (m *Metrics) tried(outcome string) {
	if m != nil {
		m.attempts.WithLabelValues(outcome).Inc()
	}
}
