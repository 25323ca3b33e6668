package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"emsd/courier"
	"emsd/courier/emssim"
	"emsd/notify/smssim"
)

// A stepClock is a clock that the test moves. It is business time and technical time at once, as in production.
type stepClock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *stepClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *stepClock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = t
}

// A stepped daemon is one whose rounds run in lockstep with a clock that the test moves, against both simulators. Its
// outward face is served at public.
type stepped struct {
	*sims
	t      *testing.T
	clock  *stepClock
	app    *app
	log    *logBook
	public string

	failed map[string]int // rounds that ended with an error
	took   map[string]time.Duration
}

// newStepped makes a daemon that does nothing by itself. Pushes and receipts of the simulators go to its outward face.
func newStepped(t *testing.T, start time.Time, e emssim.Config, s smssim.Config, env ...string) *stepped {
	t.Helper()
	d := &stepped{t: t, clock: &stepClock{t: start}, log: &logBook{}, failed: map[string]int{}, took: map[string]time.Duration{}}
	var face atomic.Pointer[http.Handler]
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*face.Load()).ServeHTTP(w, r) }))
	t.Cleanup(front.Close)
	d.public = front.URL
	e.Now, s.Now, s.Wall = d.clock.now, d.clock.now, d.clock.now
	e.PushTo = front.URL + "/ems/push"
	s.ReceiptTo, s.Tencent.ReceiptTo, s.MAS.ReceiptTo = receiptsAt(front.URL, "aliyun"), receiptsAt(front.URL, "tencent"), receiptsAt(front.URL, "mas")
	s.Tencent.VariableLimit = demoVariableLimit
	d.sims = &sims{ems: emssim.New(e), sms: smssim.New(s)}
	mux := http.NewServeMux()
	for _, prefix := range []string{smssim.PrefixAliyun, smssim.PrefixTencent, smssim.PrefixMAS} {
		mux.Handle(prefix, d.sms)
	}
	mux.Handle("/", d.ems)
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	d.url = srv.URL
	ctx, stop := context.WithCancel(context.Background())
	var receipts sync.WaitGroup
	receipts.Go(func() { d.sms.Run(ctx) }) // pushes are sent by PushDue alone
	t.Cleanup(func() { stop(); receipts.Wait() })
	cfg, err := readConfig(environ(emptyDatabase(t), keyFile(t), d.sims, append([]string{"EMSD_EMS_TIMEOUT=250ms", "EMSD_EMS_RATE=100000",
		"EMSD_EMS_CONCURRENCY=32", "EMSD_ORDER_LEASE=2m"}, env...)...))
	if err != nil {
		t.Fatal(err)
	}
	cfg.EMS.retryWait, cfg.EMS.breakerPause = time.Millisecond, 100*time.Millisecond
	if d.app, err = newApp(t.Context(), cfg, courier.Clock{Now: d.clock.now, Wall: d.clock.now}, d.log.logger()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.app.close)
	loadMasterData(t, d.app)
	if err := d.app.prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	face.Store(&d.app.faces(make(chan struct{}))[1].handler)
	return d
}

// receiptsAt is where a gateway's receipts go.
func receiptsAt(public, gateway string) string {
	return public + "/sms/" + gateway + "/receipts/" + receiptSecret
}

// round runs one round of the daemon to its end. Faults may end it with an error; it goes on at the next step.
func (d *stepped) round(names ...string) {
	for _, r := range d.app.schedule.rounds {
		if !slices.Contains(names, r.name) {
			continue
		}
		began := time.Now()
		if err := r.run(d.t.Context()); err != nil {
			d.failed[r.name]++
		}
		d.took[r.name] += time.Since(began)
	}
}

// office serves the back office and gives what asks the API there under the scopes.
func (d *stepped) office(scopes ...string) func(path string) reply {
	d.t.Helper()
	back := httptest.NewServer(d.app.faces(make(chan struct{}))[0].handler)
	d.t.Cleanup(back.Close)
	secret, _, err := d.app.service.CreateToken(d.t.Context(), "office", scopes, 0, "test")
	if err != nil {
		d.t.Fatal(err)
	}
	return func(path string) reply {
		d.t.Helper()
		r, err := request(back.URL+path, "GET", nil, "Authorization", "Bearer "+secret)
		if err != nil {
			d.t.Fatal(err)
		}
		return r
	}
}
