package ems

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"emsd/courier"

	"github.com/go-resty/resty/v2"
	"github.com/sony/gobreaker/v2"
	"golang.org/x/time/rate"
)

var _ courier.Carrier = (*Client)(nil)

// ErrBreakerOpen means that EMS has failed too often just now: nothing was sent.
var ErrBreakerOpen = errors.New("EMS has failed repeatedly; calls pause for some seconds")

// maxAnswer bounds what is read of an answer. Labels are the largest: some hundred kilobytes of base64.
const maxAnswer = 8 << 20

// A Client calls EMS for one account. It may be used by any number of goroutines.
type Client struct {
	cfg     Config
	log     *slog.Logger
	metrics *Metrics
	sealer  *sealer
	prefix  string // of every form

	// Two clients over one transport: asks repeats, orders never does. Neither follows a redirect, which would carry
	// the credentials elsewhere, or an order twice.
	asks, orders *resty.Client
	transport    *http.Transport

	line    chan struct{} // place for one: the call that waits for the rate, of those that only ask
	slots   chan struct{} // one for each call in flight
	limiter *rate.Limiter
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}]
	open    atomic.Bool
}

// New makes the client of an account. Everything in cfg is checked; an error names the setting, never its value.
// A nil log is silent, nil metrics are counted nowhere.
func New(cfg Config, log *slog.Logger, m *Metrics) (*Client, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	sealer, err := newSealer(cfg.Secret)
	if err != nil {
		return nil, fmt.Errorf("EMSD_EMS_SECRET: %w", err)
	}
	transport, err := newTransport(cfg)
	if err != nil {
		return nil, err
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if m == nil {
		m = NewMetrics(nil)
	}
	c := &Client{
		cfg: cfg, log: log, metrics: m, sealer: sealer, prefix: cfg.form(), transport: transport,
		line:    make(chan struct{}, 1),
		slots:   make(chan struct{}, cfg.Concurrency),
		limiter: rate.NewLimiter(limit(cfg.Rate), burst(cfg.Rate)),
	}
	c.breaker = c.newBreaker()
	c.orders = c.newResty()
	c.asks = c.newResty().
		SetRetryCount(max(cfg.Retries, 0)).
		SetRetryWaitTime(cfg.RetryWait).
		SetRetryMaxWaitTime(cfg.RetryLimit)
	return c, nil
}

// newTransport is shared by both resty clients. It uses no proxy from the environment: the daemon stands on a closed
// network, and a variable left in somebody's shell must not send personal data through a third machine. HTTP/1.1 only:
// in HTTP/2 a refused stream is repeated by the library, and whether an order may be repeated is decided here.
func newTransport(cfg Config) (*http.Transport, error) {
	conf, err := cfg.tlsConfig()
	if err != nil {
		return nil, err
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy:               nil,
		DialContext:         dialer.DialContext,
		TLSClientConfig:     conf,
		TLSHandshakeTimeout: 5 * time.Second,
		Protocols:           &protocols,
		MaxIdleConns:        cfg.Concurrency,
		MaxIdleConnsPerHost: cfg.Concurrency,
		// An order written to a connection that EMS has just closed is an unknown order. Servers commonly close after
		// 60 s or more, so a connection is not kept that long.
		IdleConnTimeout:    30 * time.Second,
		DisableCompression: true,
	}, nil
}

func (c *Client) newResty() *resty.Client {
	return resty.NewWithClient(&http.Client{Transport: c.transport, Timeout: c.cfg.Timeout}).
		SetLogger(silent{}). // resty's log quotes errors as they are
		SetRedirectPolicy(resty.NoRedirectPolicy()).
		SetDoNotParseResponse(true). // call.judge reads into a pooled buffer
		SetHeader("Content-Type", "application/x-www-form-urlencoded; charset=UTF-8").
		SetHeader("User-Agent", "emsd").
		SetHeader("Accept", "application/json").
		OnBeforeRequest(func(_ *resty.Client, r *resty.Request) error {
			return r.Context().Value(callKey{}).(*call).begin(r)
		})
}

// newBreaker opens when EMS does nothing but fail: ten attempts on end, of whatever interface. Refusals are answers,
// and a caller who gives up says nothing about EMS.
func (c *Client) newBreaker() *gobreaker.TwoStepCircuitBreaker[struct{}] {
	return gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests: 1,
		Timeout:     c.cfg.BreakerPause,
		ReadyToTrip: func(n gobreaker.Counts) bool { return n.ConsecutiveFailures >= 10 },
		IsExcluded:  func(err error) bool { return errors.Is(err, context.Canceled) },
		OnStateChange: func(_ string, _, to gobreaker.State) {
			c.open.Store(to == gobreaker.StateOpen)
			c.metrics.breakerIs(to == gobreaker.StateOpen)
			if to == gobreaker.StateOpen {
				c.log.Warn("EMS fails; calls pause", "for", c.cfg.BreakerPause)
			} else {
				c.log.Info("EMS circuit breaker", "state", to.String())
			}
		},
	})
}

// Open says whether the circuit breaker lets nothing through at present.
func (c *Client) Open() bool { return c.open.Load() && c.breaker.State() == gobreaker.StateOpen }

// SetRate sets this process's share of the account's calls per second. A share that is no positive number is ignored.
func (c *Client) SetRate(perSecond float64) {
	if !(perSecond > 0) {
		return
	}
	c.limiter.SetLimit(limit(perSecond))
	c.limiter.SetBurst(burst(perSecond))
}

// Close closes the connections that are idle.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Check asks for the trace of a number that no item bears: nil when EMS answers and takes the credentials.
func (c *Client) Check(ctx context.Context) error {
	_, err := c.Trace(ctx, "0000000000000", 0)
	return err
}

// silent is resty's logger.
type silent struct{}

func (silent) Errorf(string, ...any) {}
func (silent) Warnf(string, ...any)  {}
func (silent) Debugf(string, ...any) {}
