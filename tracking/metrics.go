package tracking

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts what rounds do. A nil *Metrics counts nothing.
type Metrics struct {
	polls     *prometheus.CounterVec
	hintCount *prometheus.CounterVec
	scans     *prometheus.CounterVec
	moves     *prometheus.CounterVec
	delay     *prometheus.HistogramVec
	rounds    *prometheus.HistogramVec
}

// NewMetrics registers the metrics of tracking, each label at zero.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		polls: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "emsd_polls_total",
			Help: "Waybills asked about, by outcome: quiet (nothing new), news, failed, broken (news that could not be stored)."}, []string{"outcome"}),
		hintCount: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "emsd_push_hints_total",
			Help: "Push hints taken by a round: known waybills, and strangers that were dropped."}, []string{"waybill"}),
		scans: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "emsd_scans_total",
			Help: "Scans: new, implausible (kept, of a time that cannot be) and unreadable (not kept)."}, []string{"kind"}),
		moves: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "emsd_tracking_moves_total",
			Help: "Deliveries moved by scans, by the status they took."}, []string{"to"}),
		delay: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "emsd_poll_delay_seconds",
			Help:    "Business time between being due and being asked about, by the stage of the envelope.",
			Buckets: []float64{.01, .05, .1, .5, 1, 5, 30, 120, 600, 3600, 21600}}, []string{"stage"}),
		rounds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "emsd_poll_round_seconds",
			Help: "Wall time of poll rounds.", Buckets: []float64{.005, .05, .5, 5, 50, 500}}, []string{"result"}),
	}
	for _, s := range askedStages {
		m.delay.WithLabelValues(string(s))
	}
	for _, o := range []string{"quiet", "news", "failed", "broken"} {
		m.polls.WithLabelValues(o)
	}
	for _, w := range []string{"known", "stranger"} {
		m.hintCount.WithLabelValues(w)
	}
	for _, k := range []string{"new", "implausible", "unreadable"} {
		m.scans.WithLabelValues(k)
	}
	for _, r := range []string{"done", "failed"} {
		m.rounds.WithLabelValues(r)
	}
	reg.MustRegister(m.polls, m.hintCount, m.scans, m.moves, m.delay, m.rounds)
	return m
}

func (m *Metrics) polled(outcome string, n int) {
	if m != nil && n > 0 {
		m.polls.WithLabelValues(outcome).Add(float64(n))
	}
}

func (m *Metrics) hints(known, strangers int) {
	if m != nil {
		m.hintCount.WithLabelValues("known").Add(float64(known))
		m.hintCount.WithLabelValues("stranger").Add(float64(strangers))
	}
}

func (m *Metrics) claimed(rows []asked, now time.Time) {
	if m == nil {
		return
	}
	for i := range rows {
		m.delay.WithLabelValues(string(rows[i].stage)).Observe(now.Sub(rows[i].dueAt).Seconds())
	}
}

func (m *Metrics) took(n *news) {
	if m == nil {
		return
	}
	m.scans.WithLabelValues("new").Add(float64(len(n.fresh)))
	m.scans.WithLabelValues("implausible").Add(float64(n.implausible))
	m.scans.WithLabelValues("unreadable").Add(float64(n.unreadable))
	if n.move != nil {
		m.moves.WithLabelValues(string(n.move.To)).Inc()
	}
}

func (m *Metrics) round(took time.Duration, err error) {
	if m == nil {
		return
	}
	result := "done"
	if err != nil {
		result = "failed"
	}
	m.rounds.WithLabelValues(result).Observe(took.Seconds())
}
