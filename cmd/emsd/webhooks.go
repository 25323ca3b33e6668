package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"emsd/courier"
	"emsd/notify/webhook"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/prometheus/client_golang/prometheus"
)

// makeWebhooks makes what tells subscribers.
func (a *app) makeWebhooks() (err error) {
	if a.allow, err = webhook.ParseAllow(a.cfg.Webhook.Allow); err != nil {
		return fmt.Errorf("EMSD_WEBHOOK_ALLOW: %w", err)
	}
	opts := a.cfg.webhookOptions()
	a.caller, err = webhook.NewClient(webhook.ClientConfig{Allow: a.allow, CAFile: a.cfg.Webhook.CAFile, Timeout: a.cfg.Webhook.Timeout, IdlePerHost: opts.InFlight})
	if err != nil {
		return err
	}
	a.hooks = webhook.NewService(a.db, a.vault, a.allow, a.clock)
	a.webhooks = webhook.NewSender(a.db, a.vault, a.caller, a.clock, opts, a.log, webhook.NewMetrics(a.reg))
	a.reg.MustRegister(newWebhookCollector(a.db, a.clock.Wall))
	return nil
}

func (c Config) webhookOptions() webhook.Options {
	o := webhook.Options{InFlight: 4, Lease: 2*c.Webhook.Timeout + time.Minute, Hook: crashHook()}
	if c.quickRetries {
		second := time.Second
		o.Waits = webhook.Waits{second / 5, second / 2, second, second, 2 * second, 2 * second, 2 * second, 2 * second, 2 * second, 2 * second}
		o.BreakFor, o.Lease = second, 8*second
	}
	return o
}

// tellSubscribers plans and sends webhooks. While they are off, the feed is not read for them: what is published meanwhile
// reaches the endpoints that there are once they are on again.
func (a *app) tellSubscribers(ctx context.Context) error {
	if a.allow.Empty() {
		return nil
	}
	return a.webhooks.Round(ctx)
}

type replayWebhooksCmd struct {
	Endpoint  uuid.UUID `arg:"" help:"Id of the endpoint, from GET /v1/webhooks."`
	MessageID string    `help:"One message, by its webhook-id."`
	After     int64     `help:"Events behind this position of the feed, up to --until."`
	Until     int64     `help:"Last position."`
	Failed    bool      `help:"All messages for which no try is left."`
}

// Run queues messages again; the daemons send them.
func (c replayWebhooksCmd) Run(e *world) error {
	return withApp(e, func(a *app) error {
		n, err := a.hooks.Replay(e.ctx, c.Endpoint, webhook.Replay{MessageID: c.MessageID, After: c.After, Until: c.Until, Failed: c.Failed}, operator())
		if _, wrong := errors.AsType[courier.Faults](err); wrong {
			return usageError{errors.New("name one: --message-id msg_…, --after N --until M with M above N, or --failed")}
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(e.out, "%d messages are queued again\n", n)
		return nil
	})
}

// checkWebhooks tells an operator whether somebody is not told any more.
func checkWebhooks(ctx context.Context, cfg Config, db *sqlx.DB) (fine string, err error) {
	allow, err := webhook.ParseAllow(cfg.Webhook.Allow)
	if err != nil {
		return "", err
	}
	all, err := webhook.Backlogs(ctx, db, time.Now())
	if err != nil {
		return "", err
	}
	if allow.Empty() {
		if len(all) > 0 {
			return "", fmt.Errorf("%d endpoints are told nothing: EMSD_WEBHOOK_ALLOW is empty", len(all))
		}
		return "off: EMSD_WEBHOOK_ALLOW is empty", nil
	}
	pending, oldest := 0, time.Duration(0)
	var faults []error
	for _, b := range all {
		pending, oldest = pending+b.Pending, max(oldest, b.Oldest)
		switch {
		case b.Disabled:
			faults = append(faults, fmt.Errorf("endpoint %s is disabled, %d messages wait: mend and enable it", b.Endpoint, b.Pending))
		case b.Failed > 0:
			faults = append(faults, fmt.Errorf("endpoint %s has refused %d messages for good: emsd replay-webhooks %s --failed", b.Endpoint, b.Failed, b.Endpoint))
		}
	}
	return fmt.Sprintf("%d endpoints, %d messages wait, the oldest for %s", len(all), pending, oldest.Round(time.Second)), errors.Join(faults...)
}

// webhookCollector asks the database what waits for each endpoint, at most every few seconds however often it is scraped.
type webhookCollector struct {
	db                                *sqlx.DB
	wall                              func() time.Time
	pending, oldest, failed, disabled *prometheus.Desc

	mu   sync.Mutex
	at   time.Time
	last []webhook.Backlog
}

func newWebhookCollector(db *sqlx.DB, wall func() time.Time) *webhookCollector {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("emsd_webhook_"+name, help, []string{"endpoint"}, nil)
	}
	return &webhookCollector{db: db, wall: wall,
		pending:  desc("pending", "Messages that wait for an endpoint, counted up to 100,000."),
		oldest:   desc("oldest_seconds", "How long the first message that waits for an endpoint has been waiting."),
		failed:   desc("failed", "Messages for which no try is left."),
		disabled: desc("disabled", "1 while an endpoint is disabled."),
	}
}

func (c *webhookCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.pending, c.oldest, c.failed, c.disabled} {
		ch <- d
	}
}

func (c *webhookCollector) Collect(ch chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if wall := c.wall(); wall.Sub(c.at) > 10*time.Second {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		all, err := webhook.Backlogs(ctx, c.db, wall)
		if err != nil {
			ch <- prometheus.NewInvalidMetric(c.pending, err)
			return
		}
		c.at, c.last = wall, all
	}
	for _, b := range c.last {
		gauge := func(d *prometheus.Desc, v float64) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, b.Endpoint.String())
		}
		off := 0.0
		if b.Disabled {
			off = 1
		}
		gauge(c.pending, float64(b.Pending))
		gauge(c.oldest, b.Oldest.Seconds())
		gauge(c.failed, float64(b.Failed))
		gauge(c.disabled, off)
	}
}
