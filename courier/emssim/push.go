package emssim

import (
	"bytes"
	"container/heap"
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
)

// How pushes are sent, in real time: how often Run looks at the simulated clock, how many are under way at once, and how
// long a receiver may take.
const (
	pushLook     = 20 * time.Millisecond
	pushWorkers  = 8
	pushPatience = 5 * time.Second
)

// push is one event on its way to the receiver.
type push struct {
	at    time.Time // simulated
	body  []byte
	tries int
}

// Pushed is what a push (040002) is made of, for tests that send their own.
type Pushed struct {
	Secret         string // key, base64 of 16 bytes
	SecretAppended bool   // append the secret to the plaintext, as requests do
	SenderNo       string // may be empty, or another's
	WaybillNo      string
	OrderNo        string
	Scan           Scan
	At             time.Time // of sending
}

// Body is the push as it is posted. A secret that is no key is a mistake of the caller, so it panics.
func (p Pushed) Body() []byte { return p.sealed(newECB(p.Secret)) }

func (p Pushed) sealed(key *ecb) []byte {
	event := p.Scan.wire(p.WaybillNo)
	event.OrderNo = p.OrderNo
	plain := render(event)
	if p.SecretAppended {
		plain = append(plain, p.Secret...)
	}
	return render(struct {
		Message   string `json:"logitcsInterface"`
		Method    string `json:"method"`
		MsgType   string `json:"msgType"`
		SenderNo  string `json:"senderNo"`
		SerialNo  string `json:"serialNo"`
		TimeStamp string `json:"timeStamp"`
		Version   string `json:"version"`
	}{key.seal(plain), "040002", "0", p.SenderNo, strings.ToUpper(strings.ReplaceAll(uuid.NewString(), "-", "")), p.At.In(beijing).Format(wireTime), "v1.0.0"})
}

// forger is the key of somebody who does not have the account's.
var forger = newECB("AAECAwQFBgcICQoLDA0ODw==")

// wake says when an order may have a scan that was not pushed yet.
type wake struct {
	at    time.Time
	order *order
}

// timed is a heap by time.
type timed[T any] struct {
	items []T
	at    func(T) time.Time
}

func (h *timed[T]) Len() int           { return len(h.items) }
func (h *timed[T]) Less(i, j int) bool { return h.at(h.items[i]).Before(h.at(h.items[j])) }
func (h *timed[T]) Swap(i, j int)      { h.items[i], h.items[j] = h.items[j], h.items[i] }
func (h *timed[T]) Push(x any)         { h.items = append(h.items, x.(T)) }
func (h *timed[T]) Pop() any {
	last := h.items[len(h.items)-1]
	var none T
	h.items[len(h.items)-1] = none
	h.items = h.items[:len(h.items)-1]
	return last
}

// due takes the first item if its time has come.
func (h *timed[T]) due(now time.Time) (T, bool) {
	var none T
	if len(h.items) == 0 || h.at(h.items[0]).After(now) {
		return none, false
	}
	return heap.Pop(h).(T), true
}

// pushQueue holds the orders to look at and the pushes to send; init makes it usable.
type pushQueue struct {
	wakes   timed[wake]
	waiting timed[*push]
}

func (q *pushQueue) init() {
	q.wakes.at = func(w wake) time.Time { return w.at }
	q.waiting.at = func(p *push) time.Time { return p.at }
}

// expectPush has an order looked at when it may have news. The caller holds mu.
func (c *Carrier) expectPush(o *order) {
	if c.cfg.PushTo == "" {
		return
	}
	at := o.leaves.Add(earliest)
	if o.planned {
		at = time.Time{}
		for _, s := range o.scans {
			if !s.pushed {
				at = s.Visible
				break
			}
		}
		if at.IsZero() {
			return
		}
	}
	if !o.wakeAt.IsZero() && !at.Before(o.wakeAt) {
		return
	}
	o.wakeAt = at
	heap.Push(&c.pushes.wakes, wake{at, o})
}

// collect turns what has become visible into pushes.
func (c *Carrier) collect(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		w, ok := c.pushes.wakes.due(now)
		if !ok {
			return
		}
		w.order.wakeAt = time.Time{}
		for i := range c.visible(w.order, now) {
			s := &w.order.scans[i]
			if s.pushed {
				continue
			}
			s.pushed = true
			c.enqueue(w.order, *s, uint64(i), now)
		}
		if !w.order.cancelled {
			c.expectPush(w.order)
		}
	}
}

// enqueue decides from the seed what becomes of one event. The caller holds mu.
func (c *Carrier) enqueue(o *order, s Scan, i uint64, now time.Time) {
	rng := rand.New(rand.NewPCG(o.number, 4+i))
	lost, late, twice := rng.Float64() < c.cfg.PushLose, rng.Float64() < c.cfg.PushDisorder, rng.Float64() < c.cfg.PushDuplicate
	if lost || c.pushes.waiting.Len() >= c.cfg.PushQueue {
		c.pushed.Lost++
		return
	}
	p := &push{at: now, body: c.message(o, s, now).sealed(c.cipher)}
	if late {
		p.at = now.Add(time.Duration(rng.Int64N(int64(3 * time.Hour))))
	}
	heap.Push(&c.pushes.waiting, p)
	if twice {
		heap.Push(&c.pushes.waiting, &push{at: p.at.Add(time.Duration(rng.Int64N(int64(10 * time.Minute)))), body: p.body})
		c.pushed.Repeated++
	}
	if rng.Float64() < c.cfg.PushForged {
		heap.Push(&c.pushes.waiting, &push{at: p.at, body: c.message(o, s, now).sealed(forger), tries: c.cfg.PushTries - 1})
		c.pushed.Forged++
	}
	if rng.Float64() < c.cfg.PushStrange {
		m := c.message(o, s, now)
		m.WaybillNo = strangeNumber(m.WaybillNo)
		heap.Push(&c.pushes.waiting, &push{at: p.at, body: m.sealed(c.cipher)})
		c.pushed.Strange++
	}
}

// message is one event as EMS tells it. The secret is not appended, unlike in requests (dossier section 5).
func (c *Carrier) message(o *order, s Scan, now time.Time) Pushed {
	return Pushed{Secret: c.cfg.Secret, SecretAppended: c.cfg.PushSecretAppended, SenderNo: c.cfg.SenderNo,
		WaybillNo: o.waybillNo, OrderNo: o.ref, Scan: s, At: now}
}

// Run sends pushes until ctx is done, and returns when none is under way. Without Config.PushTo it only waits.
func (c *Carrier) Run(ctx context.Context) {
	if c.cfg.PushTo == "" {
		<-ctx.Done()
		return
	}
	client := pushClient()
	defer client.CloseIdleConnections()
	work := make(chan *push)
	var workers sync.WaitGroup
	for range pushWorkers {
		workers.Go(func() { c.deliverAll(ctx, client, work) })
	}
	c.dispatch(ctx, work)
	close(work)
	workers.Wait()
}

// PushDue sends what is due now and returns when everything has its answer, for tests that move the clock themselves
// and do not call Run.
func (c *Carrier) PushDue(ctx context.Context) {
	if c.cfg.PushTo == "" {
		return
	}
	now := c.cfg.Now()
	c.collect(now)
	var due []*push
	for p := c.duePush(now); p != nil; p = c.duePush(now) {
		due = append(due, p)
	}
	if len(due) == 0 {
		return
	}
	client := pushClient()
	defer client.CloseIdleConnections()
	work := make(chan *push)
	var workers sync.WaitGroup
	for range min(pushWorkers, len(due)) {
		workers.Go(func() { c.deliverAll(ctx, client, work) })
	}
	for _, p := range due {
		work <- p
	}
	close(work)
	workers.Wait()
}

func pushClient() *http.Client {
	return &http.Client{
		Timeout:       pushPatience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{MaxIdleConnsPerHost: pushWorkers},
	}
}

func (c *Carrier) deliverAll(ctx context.Context, client *http.Client, work <-chan *push) {
	for p := range work {
		c.settle(p, deliver(ctx, client, c.cfg.PushTo, p))
	}
}

// dispatch hands due pushes to the workers.
func (c *Carrier) dispatch(ctx context.Context, work chan<- *push) {
	tick := time.NewTicker(pushLook)
	defer tick.Stop()
	for {
		now := c.cfg.Now()
		c.collect(now)
		for p := c.duePush(now); p != nil; p = c.duePush(now) {
			select {
			case work <- p:
			case <-ctx.Done():
				return
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (c *Carrier) duePush(now time.Time) *push {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, _ := c.pushes.waiting.due(now)
	return p
}

// settle notes how a push went and puts it back for another try.
func (c *Carrier) settle(p *push, received bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p.tries++
	switch {
	case received:
		c.pushed.Delivered++
		return
	case p.tries >= c.cfg.PushTries:
		c.pushed.GivenUp++
	default:
		p.at = c.cfg.Now().Add(c.cfg.PushRetryEvery)
		heap.Push(&c.pushes.waiting, p)
	}
	c.pushed.Failed++
}

// deliver posts one push; only HTTP 200 with code 00000 counts.
func deliver(ctx context.Context, client *http.Client, to string, p *push) bool {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(p.body))
	if err != nil {
		return false
	}
	r.Header.Set("Content-Type", "application/json;charset=UTF-8")
	resp, err := client.Do(r)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	var reply struct {
		Code string `json:"code"`
	}
	return err == nil && resp.StatusCode == http.StatusOK && json.Unmarshal(body, &reply) == nil && reply.Code == codeSuccess
}
