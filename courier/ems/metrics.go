package ems

import (
	"time"

	"emsd/courier"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts the calls to EMS. No label holds anything of a person.
type Metrics struct {
	byAPI   map[string]*apiMetrics
	breaker prometheus.Gauge
}

// apiMetrics are the children for one interface, looked up once and not per call.
type apiMetrics struct {
	outcomes [courier.Unknown + 1]prometheus.Counter // by Kind; the zero kind is success
	retries  prometheus.Counter
	seconds  prometheus.Observer
}

// NewMetrics makes the counters, all at zero, and registers them; with nil they are registered nowhere.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	calls := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "emsd_ems_calls_total", Help: "Calls to EMS by interface and outcome, retries not counted.",
	}, []string{"api", "outcome"})
	retries := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "emsd_ems_retries_total", Help: "Attempts after the first, of calls that only ask.",
	}, []string{"api"})
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "emsd_ems_attempt_seconds", Help: "Time of one attempt, without the wait for its turn.",
		Buckets: []float64{.005, .02, .05, .1, .25, .5, 1, 2.5, 5, 10, 20},
	}, []string{"api"})
	m := &Metrics{
		byAPI: make(map[string]*apiMetrics),
		breaker: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "emsd_ems_breaker_open", Help: "1 while calls to EMS pause because it keeps failing.",
		}),
	}
	if reg != nil {
		reg.MustRegister(calls, retries, seconds, m.breaker)
	}
	for _, api := range append([]string{configured}, apis...) {
		m.byAPI[api] = &apiMetrics{
			outcomes: [...]prometheus.Counter{
				calls.WithLabelValues(api, "ok"),
				calls.WithLabelValues(api, courier.RefusedByCarrier.String()),
				calls.WithLabelValues(api, courier.Unsent.String()),
				calls.WithLabelValues(api, courier.Unknown.String()),
			},
			retries: retries.WithLabelValues(api),
			seconds: seconds.WithLabelValues(api),
		}
	}
	return m
}

// configured is the label of the interface whose code an operator sets (SPEC 5.27).
const configured = "configured"

func (m *Metrics) of(api string) *apiMetrics {
	if known := m.byAPI[api]; known != nil {
		return known
	}
	return m.byAPI[configured]
}

func (m *Metrics) outcome(api string, err *courier.CarrierError) {
	kind := courier.NotRefused
	if err != nil {
		kind = err.Kind
	}
	m.of(api).outcomes[kind].Inc()
}

func (m *Metrics) retry(api string) { m.of(api).retries.Inc() }

func (m *Metrics) took(api string, d time.Duration) { m.of(api).seconds.Observe(d.Seconds()) }

func (m *Metrics) breakerIs(open bool) {
	if open {
		m.breaker.Set(1)
	} else {
		m.breaker.Set(0)
	}
}
