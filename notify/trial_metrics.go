package notify

import (
	"context"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/prometheus/client_golang/prometheus"
)

// A TrialCollector counts messages to numbers of our own from the database, for commands send them, too.
type TrialCollector struct {
	db   *sqlx.DB
	desc *prometheus.Desc
}

// NewTrialCollector returns a collector to be registered.
func NewTrialCollector(db *sqlx.DB) *TrialCollector {
	return &TrialCollector{db, prometheus.NewDesc("emsd_sms_trials_total",
		"Messages to numbers of our own: self_test monthly, test_send by an operator.", []string{"kind", "gateway", "state"}, nil)}
}

// Describe tells the metric.
func (c *TrialCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }

// Collect counts.
func (c *TrialCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	counts, err := countTrials(ctx, c.db)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(c.desc, err)
		return
	}
	for _, n := range counts {
		ch <- prometheus.MustNewConstMetric(c.desc, prometheus.CounterValue, float64(n.Count), n.Kind, n.Gateway, n.State)
	}
}
