package courier

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// OrderMetrics counts what became of calls to EMS about orders. A nil *OrderMetrics counts nothing.
type OrderMetrics struct {
	calls   *prometheus.CounterVec
	success *prometheus.GaugeVec
	numbers prometheus.Gauge
}

// NewOrderMetrics registers the metrics, every label at zero.
func NewOrderMetrics(r prometheus.Registerer) *OrderMetrics {
	m := &OrderMetrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "emsd_order_calls_total",
			Help: "Calls to EMS about orders, by call and outcome."}, []string{"call", "outcome"}),
		success: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "emsd_order_round_success_timestamp_seconds",
			Help: "When a round of ordering last went through."}, []string{"round"}),
		numbers: prometheus.NewGauge(prometheus.GaugeOpts{Name: "emsd_order_free_numbers",
			Help: "Reserved waybill numbers that are free, as last counted, up to the mark of refilling."}),
	}
	for _, call := range []string{"create", "create_again", "cancel"} {
		for _, outcome := range []string{outcomeConfirmed, outcomeRefused, outcomeUnsent, outcomeUnknown, outcomeAnomaly} {
			m.calls.WithLabelValues(call, outcome)
		}
	}
	for _, answer := range []string{"held", "not_held", "not_answered"} {
		m.calls.WithLabelValues("ask", answer)
	}
	for _, outcome := range []string{outcomeConfirmed, "failed"} {
		m.calls.WithLabelValues("label", outcome)
	}
	for _, round := range []string{"order", "numbers", "reconcile", "cancel", "label"} {
		m.success.WithLabelValues(round)
	}
	r.MustRegister(m.calls, m.success, m.numbers)
	return m
}

func (m *OrderMetrics) count(call, outcome string, n int) {
	if m != nil {
		m.calls.WithLabelValues(call, outcome).Add(float64(n))
	}
}

func (m *OrderMetrics) succeeded(round string, wall time.Time) {
	if m != nil {
		m.success.WithLabelValues(round).Set(float64(wall.UnixMilli()) / 1000)
	}
}

func (m *OrderMetrics) free(n int) {
	if m != nil {
		m.numbers.Set(float64(n))
	}
}
