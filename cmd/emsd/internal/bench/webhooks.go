package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"emsd/courier"
	"emsd/notify/webhook"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"golang.org/x/sync/errgroup"
)

// Subscribers of the measurement, and how many events come a second.
const (
	subscribers   = 50
	hangingOnes   = 10
	hookPerSecond = 200
	hookTypes     = 10 // kinds of events; a subscriber of one kind gets a tenth of them
)

// measureWebhooks gives W1: what a hanging subscriber costs the others. A delay is from before the event is written to when
// its webhook has arrived.
func (b *bench) measureWebhooks(ctx context.Context) error {
	for _, load := range []struct {
		name  string
		every int // a subscriber wants one in so many events
	}{{"each told of a tenth of them", hookTypes}, {"each told of all", 1}} {
		hung, err := b.webhooks(ctx, load.every, hangingOnes)
		if err != nil {
			return err
		}
		alone, err := b.webhooks(ctx, load.every, 0)
		if err != nil {
			return err
		}
		b.say("webhooks, %s: median %.1f ms, 99th %.1f ms; without the hanging ones %.1f and %.1f", load.name,
			median(hung), percentile(hung, 99), median(alone), percentile(alone, 99))
		what := fmt.Sprintf("%d webhook endpoints, %d of them hanging, at %d events a second, %s; beside it: none hanging: delay of the healthy ones, ",
			subscribers, hangingOnes, hookPerSecond, load.name)
		middle := against("W1", what+"median", "ms", []float64{median(hung)}, []float64{median(alone)})
		last := against("W1", what+"99th percentile", "ms", []float64{percentile(hung, 99)}, []float64{percentile(alone, 99)})
		b.report.add(middle, last.below(1000, 250))
	}
	return nil
}

// webhooks gives the delays, in milliseconds, of the healthy ones among the subscribers.
func (b *bench) webhooks(ctx context.Context, every, hanging int) (delays []float64, err error) {
	n := int(b.Sizes.HookSeconds * hookPerSecond)
	err = b.within(ctx, func(db *sqlx.DB, dsn string) error {
		if _, err := b.hooked(ctx); err != nil { // what an earlier run left
			return err
		}
		t := task{Kind: "webhooks", DSN: dsn, URL: b.stub, Items: n, Workers: subscribers, Every: every, Hanging: hanging, PerSecond: hookPerSecond}
		if _, err := b.run(ctx, t); err != nil {
			return err
		}
		h, err := b.hooked(ctx)
		if err != nil {
			return err
		}
		if want := (subscribers - hanging) * n / every; len(h.Delays) != want || h.Repeated != 0 {
			return fmt.Errorf("check webhooks: %d came, want %d; %d repeated", len(h.Delays), want, h.Repeated)
		}
		delays = h.Delays
		return nil
	})
	return delays, err
}

// hooked tells what the stub's subscribers got since the last time.
func (b *bench) hooked(ctx context.Context) (h hookCounts, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.stub+pathHooked, nil)
	if err != nil {
		return h, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return h, fmt.Errorf("ask the stub for its webhooks: %w", err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&h); err != nil {
		return h, fmt.Errorf("read the stub's webhooks: %w", err)
	}
	return h, nil
}

// webhookProduct writes events evenly while publisher and sender work as in the daemon: woken by notifications, else every
// 5 s.
func webhookProduct(ctx context.Context, t task, m *meter) error {
	db, err := open(ctx, t.DSN)
	if err != nil {
		return err
	}
	defer db.Close()
	allow, err := webhook.ParseAllow([]string{"127.0.0.1:*"})
	if err != nil {
		return err
	}
	clock := courier.Clock{Now: time.Now, Wall: time.Now}
	client, err := webhook.NewClient(webhook.ClientConfig{Allow: allow})
	if err != nil {
		return err
	}
	defer client.Close()
	if err := subscribe(ctx, webhook.NewService(db, benchVault(), allow, clock), t); err != nil {
		return err
	}
	wakes := pq.NewListener(t.DSN, time.Second, time.Minute, nil)
	defer wakes.Close()
	for _, channel := range []string{courier.WakeEvents, courier.WakePublished, courier.WakeWebhooks} {
		if err := wakes.Listen(channel); err != nil {
			return err
		}
	}
	sender := webhook.NewSender(db, benchVault(), client, clock, webhook.Options{}, quiet, nil)
	if err := m.start(ctx, db); err != nil {
		return err
	}
	if err := tellAll(ctx, db, sender, wakes.Notify, t); err != nil {
		return err
	}
	return m.stop(ctx, db, t.Items)
}

// subscribe registers the subscribers, of which the first hang.
func subscribe(ctx context.Context, service *webhook.Service, t task) error {
	for i := range t.Workers {
		path, types := pathHook, []string{}
		if i < t.Hanging {
			path = pathHang
		}
		if t.Every > 1 {
			types = []string{hookType(i)}
		}
		name, url := "subscriber "+strconv.Itoa(i), t.URL+path+strconv.Itoa(i)
		if _, _, err := service.Create(ctx, webhook.Wish{Name: &name, URL: &url, Types: &types}, "bench"); err != nil {
			return err
		}
	}
	return nil
}

// hookType is one of hookTypes kinds of events.
func hookType(i int) string { return "bench.kind_" + string(rune('a'+i%hookTypes)) }

// tellAll writes the events and returns once each healthy subscriber has had its own.
func tellAll(ctx context.Context, db *sqlx.DB, sender *webhook.Sender, wakes <-chan *pq.Notification, t task) error {
	ctx, done := context.WithTimeout(ctx, runTimeout/2)
	defer done()
	g, ctx := errgroup.WithContext(ctx)
	work, stop := context.WithCancel(ctx)
	publish, send := make(chan struct{}, 1), make(chan struct{}, 1)
	publisher := courier.NewPublisher(db)
	var written atomic.Bool
	g.Go(func() error { route(work, wakes, publish, send); return nil })
	g.Go(func() error { return rounds(work, publish, publisher.Round) })
	g.Go(func() error { return rounds(work, send, sender.Round) }) // what hangs is left to hang: this process ends
	g.Go(func() error {
		defer written.Store(true)
		return writeEvents(work, db, t)
	})
	g.Go(func() error {
		defer stop()
		for {
			if err := wait(work, 50*time.Millisecond); err != nil {
				return fmt.Errorf("not every webhook was sent in time: %w", err)
			}
			left, err := hooksLeft(work, db, pathHook)
			if err != nil || left == 0 && written.Load() {
				return err
			}
		}
	})
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// route turns notifications into signals that do not pile up.
func route(ctx context.Context, wakes <-chan *pq.Notification, publish, send chan<- struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case n := <-wakes:
			to := send
			if n == nil || n.Channel == courier.WakeEvents {
				to = publish
			}
			select {
			case to <- struct{}{}:
			default:
			}
		}
	}
}

func rounds(ctx context.Context, due <-chan struct{}, round func(context.Context) error) error {
	for again := time.NewTicker(5 * time.Second); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-due:
		case <-again.C:
		}
		if err := round(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// writeEvents writes one event after the other, each when it is its turn.
func writeEvents(ctx context.Context, db *sqlx.DB, t task) error {
	began := time.Now()
	for i := range t.Items {
		if err := wait(ctx, time.Until(began.Add(time.Duration(float64(i)/t.PerSecond*float64(time.Second))))); err != nil {
			return err
		}
		if err := writeEvent(ctx, db, i+1, hookType(i), time.Now()); err != nil {
			return fmt.Errorf("write an event: %w", err)
		}
	}
	return nil
}

// Paths of the stub's subscribers; a number follows the first two.
const (
	pathHook   = "/hook/"
	pathHang   = "/hang/" // never answers
	pathHooked = "/hooked"
)

// hookCounts is what healthy subscribers got.
type hookCounts struct {
	Delays   []float64 `json:"delays"` // milliseconds
	Repeated int       `json:"repeated"`
}

// A hookBook keeps what healthy subscribers got.
type hookBook struct {
	mu       sync.Mutex
	delays   []float64
	seen     map[string]bool
	repeated int
}

// take notes a webhook and gives the answer.
func (h *hookBook) take(path string, body []byte) ([]byte, error) {
	now := time.Now()
	var b struct {
		Timestamp time.Time `json:"timestamp"`
		Data      struct {
			Position int64 `json:"position"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &b); err != nil {
		return nil, err
	}
	key := path + " " + strconv.FormatInt(b.Data.Position, 10)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.seen[key] {
		h.repeated++
	} else {
		h.delays = append(h.delays, float64(now.Sub(b.Timestamp).Microseconds())/1000)
	}
	if h.seen == nil {
		h.seen = map[string]bool{}
	}
	h.seen[key] = true
	return reply(nil), nil
}

// taken gives the counts and begins new ones.
func (h *hookBook) taken() []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	b, err := json.Marshal(hookCounts{h.delays, h.repeated})
	if err != nil {
		panic(err) // numbers only
	}
	h.delays, h.seen, h.repeated = nil, nil, 0
	return b
}
