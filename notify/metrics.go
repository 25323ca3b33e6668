package notify

import (
	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts what becomes of messages. No label holds anything of a person. A nil *Metrics counts nothing.
type Metrics struct {
	messages *prometheus.CounterVec // planned, by milestone
	verdicts *prometheus.CounterVec // by milestone and action
	attempts *prometheus.CounterVec // by gateway and outcome
	segments *prometheus.CounterVec // of accepted messages, by gateway: what is paid for
	resolved *prometheus.CounterVec // of unknown attempts, by gateway and result
	receipts *prometheus.CounterVec // by result
	replies  *prometheus.CounterVec // by gateway and meaning
	silent   *prometheus.CounterVec // messages without a receipt after a day, by gateway
	stopped  *prometheus.GaugeVec   // by gateway
	approved *prometheus.GaugeVec   // signatures, carriers and templates, by gateway
	untested *prometheus.GaugeVec   // numbers without their self-test, by gateway
}

// NewMetrics makes the counters, all at zero, and registers them unless reg is nil.
func NewMetrics(reg prometheus.Registerer, gateways *Gateways) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &Metrics{
		messages: counter("emsd_messages_planned_total", "Messages written for events.", "milestone"),
		verdicts: counter("emsd_message_verdicts_total", "What was decided about messages, each time they were due.", "milestone", "verdict"),
		attempts: counter("emsd_sms_attempts_total", "Requests to SMS gateways by outcome.", "gateway", "outcome"),
		segments: counter("emsd_sms_segments_total", "Segments of accepted messages, as the carriers count them.", "gateway"),
		resolved: counter("emsd_sms_resolved_total", "Attempts of unknown outcome by what the gateway said.", "gateway", "result"),
		receipts: counter("emsd_sms_receipts_total", "Receipts by what they changed.", "result"),
		replies:  counter("emsd_sms_replies_total", "Replies of residents by what they ask of us.", "gateway", "meaning"),
		silent:   counter("emsd_sms_no_receipt_total", "Messages that a gateway took and of which no final receipt came within a day.", "gateway"),
		stopped: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "emsd_sms_gateway_stopped", Help: "1 while a gateway or one of its templates is left alone: it does not answer, or a person has to mend its account.",
		}, []string{"gateway"}),
		approved: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "emsd_sms_registration_fine", Help: "1 for a signature, a carrier's registration of it or a template that is as it should be, when last asked; 0 for one that is not.",
		}, []string{"gateway", "kind", "name"}),
		untested: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "emsd_sms_selftest_missing", Help: "Numbers of the self-test without an accepted message from the gateway this month.",
		}, []string{"gateway"}),
	}
	if reg != nil {
		reg.MustRegister(m.messages, m.verdicts, m.attempts, m.segments, m.resolved, m.receipts, m.replies, m.silent, m.stopped, m.approved, m.untested)
	}
	m.zero(gateways)
	return m
}

func (m *Metrics) zero(gateways *Gateways) {
	for _, milestone := range Milestones {
		m.messages.WithLabelValues(string(milestone))
		for _, a := range Actions {
			m.verdicts.WithLabelValues(string(milestone), string(a))
		}
	}
	for _, g := range gateways.list {
		m.attempts.WithLabelValues(g.Name(), accepted)
		for _, c := range Classes {
			m.attempts.WithLabelValues(g.Name(), c.String())
		}
		for _, r := range []string{accepted, delivered, failed, absent, abandoned, "asked_again", "query_failed"} {
			m.resolved.WithLabelValues(g.Name(), r)
		}
		for _, meaning := range Meanings {
			m.replies.WithLabelValues(g.Name(), string(meaning))
		}
		m.segments.WithLabelValues(g.Name())
		m.silent.WithLabelValues(g.Name())
		m.stopped.WithLabelValues(g.Name())
	}
	for _, r := range receiptResults {
		m.receipts.WithLabelValues(r)
	}
}

func (m *Metrics) planned(milestone Milestone) {
	if m != nil {
		m.messages.WithLabelValues(string(milestone)).Inc()
	}
}

func (m *Metrics) decided(milestone Milestone, a Action, n int) {
	if m != nil {
		m.verdicts.WithLabelValues(string(milestone), string(a)).Add(float64(n))
	}
}

func (m *Metrics) attempted(gateway, outcome string, n, segments int) {
	if m == nil {
		return
	}
	m.attempts.WithLabelValues(gateway, outcome).Add(float64(n))
	if outcome == accepted {
		m.segments.WithLabelValues(gateway).Add(float64(segments))
	}
}

func (m *Metrics) asked(gateway, result string) {
	if m != nil {
		m.resolved.WithLabelValues(gateway, result).Inc()
	}
}

func (m *Metrics) received(result string, n int) {
	if m != nil && n > 0 {
		m.receipts.WithLabelValues(result).Add(float64(n))
	}
}

func (m *Metrics) replied(gateway string, meaning Meaning) {
	if m != nil {
		m.replies.WithLabelValues(gateway, string(meaning)).Inc()
	}
}

func (m *Metrics) notReceived(gateway string, n int) {
	if m != nil {
		m.silent.WithLabelValues(gateway).Add(float64(n))
	}
}

func (m *Metrics) gatewayStopped(gateway string, stopped bool) {
	if m == nil {
		return
	}
	value := 0.0
	if stopped {
		value = 1
	}
	m.stopped.WithLabelValues(gateway).Set(value)
}

func (m *Metrics) registered(f Finding) {
	if m == nil {
		return
	}
	value := 0.0
	if f.Fine {
		value = 1
	}
	m.approved.WithLabelValues(f.Gateway, f.Kind, f.Name).Set(value)
}

func (m *Metrics) selfTested(t SelfTest) {
	if m != nil {
		m.untested.WithLabelValues(t.Gateway).Set(float64(t.Numbers - t.Fine))
	}
}
