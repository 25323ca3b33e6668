package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"emsd/courier"
	"emsd/notify/webhook"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// A demoSubscriber takes the demo's webhooks at two addresses, one of which wants them in order, and verifies each.
type demoSubscriber struct {
	faults bool

	mu      sync.Mutex
	secrets map[string]string // by path
	taken   map[string][]demoHook
	asked   int
	wrong   []string
}

// A demoHook is what a webhook said.
type demoHook struct {
	ID   string `json:"-"`
	Body string `json:"-"`
	Data struct {
		DeliveryID string `json:"delivery_id"`
		Seq        int    `json:"seq"`
		Type       string `json:"type"`
		Position   int64  `json:"position"`
	} `json:"data"`
}

// faultEvery is how many requests hold one that is refused and one whose answer is lost. In the line of an ordered endpoint
// each costs the wait of a second, and no simulated time makes that shorter.
const faultEvery = 120

// Paths of the demo's subscriber. The ordered one asks for the moves of deliveries only.
const (
	pathAnyOrder = "/any"
	pathInOrder  = "/ordered"
)

func (s *demoSubscriber) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked++; s.faults && s.asked%faultEvery == 0 {
		http.Error(w, "not now", http.StatusServiceUnavailable)
		return
	}
	hook := demoHook{ID: r.Header.Get(webhook.HeaderID), Body: string(body)}
	if err == nil {
		err = json.Unmarshal(body, &hook)
	}
	var verifier *standardwebhooks.Webhook
	if err == nil {
		verifier, err = standardwebhooks.NewWebhook(s.secrets[r.URL.Path])
	}
	if err == nil {
		err = verifier.Verify(body, r.Header)
	}
	if err != nil {
		s.wrong = append(s.wrong, err.Error())
		http.Error(w, "not verified", http.StatusUnauthorized)
		return
	}
	s.taken[r.URL.Path] = append(s.taken[r.URL.Path], hook)
	if s.faults && s.asked%faultEvery == faultEvery/2 { // taken, and the answer is lost
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(http.StatusNoContent)
}

// subscribe starts the subscriber and lets the daemon send to it.
func (d *demo) subscribe(ctx context.Context, cfg *Config) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	d.subscriber = &demoSubscriber{faults: d.cmd.Faults, secrets: map[string]string{}, taken: map[string][]demoHook{}}
	d.hookURL = "http://" + ln.Addr().String()
	cfg.Webhook.Allow = []string{ln.Addr().String()}
	srv := &http.Server{Handler: d.subscriber, ReadHeaderTimeout: 10 * time.Second}
	d.wait.Go(func() { srv.Serve(ln) })
	d.wait.Go(func() {
		<-ctx.Done()
		srv.Close()
	})
	return nil
}

// register makes the endpoints.
func (d *demo) register(ctx context.Context) error {
	for path, wish := range map[string]webhook.Wish{
		pathAnyOrder: {Name: new("demo, everything")},
		pathInOrder:  {Name: new("demo, moves in order"), Types: &[]string{"delivery.*"}, Ordered: new(true)},
	} {
		wish.URL = new(d.hookURL + path)
		_, credentials, err := d.app.hooks.Create(ctx, wish, "demo")
		if err != nil {
			return err
		}
		d.subscriber.mu.Lock()
		d.subscriber.secrets[path] = credentials.Secret
		d.subscriber.mu.Unlock()
	}
	return nil
}

// hooks checks what the subscriber got against the feed: everything, the same at every try, and in order where that was
// asked for.
func (v verdict) hooks() checked {
	c := checked{name: "webhooks"}
	for _, w := range v.subscriber.wrong {
		c.fail("a request does not verify: %s", w)
	}
	for _, path := range []string{pathAnyOrder, pathInOrder} {
		bodies, positions := map[string]string{}, map[int64]bool{}
		last, lastOf := int64(0), map[string]int{}
		for _, h := range v.subscriber.taken[path] {
			if before, again := bodies[h.ID]; again && before != h.Body {
				c.fail("%s: %s came with another body", path, h.ID)
			}
			bodies[h.ID] = h.Body
			if path == pathInOrder && !positions[h.Data.Position] && (h.Data.Position < last || h.Data.Seq <= lastOf[h.Data.DeliveryID]) {
				c.fail("%s: position %d came after %d", path, h.Data.Position, last)
			}
			positions[h.Data.Position] = true
			last, lastOf[h.Data.DeliveryID] = h.Data.Position, h.Data.Seq
		}
		for _, e := range v.feed {
			if path == pathInOrder && !strings.HasPrefix(string(e.Type), "delivery.") {
				continue
			}
			if !positions[e.Position] {
				c.fail("%s: event %d, %s, never came", path, e.Position, e.Type)
			}
		}
		if len(v.subscriber.taken[path]) == 0 {
			c.fail("%s: nothing came", path)
		}
	}
	c.fine = fmt.Sprintf("every event once or more, in order of position per delivery, signatures verified (%d events, %d requests)", len(v.feed), v.subscriber.asked)
	return c
}

// readWholeFeed reads every event for the checks.
func (d *demo) readWholeFeed(ctx context.Context) (events []courier.Event, err error) {
	const page = 5000
	for after := int64(0); ; {
		part, err := courier.ReadFeed(ctx, d.app.db, after, page)
		if err != nil {
			return nil, err
		}
		events = append(events, part...)
		if len(part) < page {
			return events, nil
		}
		after = part[page-1].Position
	}
}
