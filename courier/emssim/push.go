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
	at     time.Time // simulated
	serial string
	body   []byte
	tries  int
}

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
	at := o.at.Add(earliest)
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
	p := c.newPush(o, s, now)
	p.at = now
	if late {
		p.at = now.Add(time.Duration(rng.Int64N(int64(3 * time.Hour))))
	}
	heap.Push(&c.pushes.waiting, p)
	if twice {
		again := *p
		again.at = p.at.Add(time.Duration(rng.Int64N(int64(10 * time.Minute))))
		heap.Push(&c.pushes.waiting, &again)
		c.pushed.Repeated++
	}
}

// newPush encrypts one event. The secret is not appended, unlike in requests (dossier section 5).
func (c *Carrier) newPush(o *order, s Scan, now time.Time) *push {
	event := s.wire(o.waybillNo)
	event.OrderNo = o.ref
	plain := render(event)
	if c.cfg.PushSecretAppended {
		plain = append(plain, c.cfg.Secret...)
	}
	serial := strings.ToUpper(strings.ReplaceAll(uuid.NewString(), "-", ""))
	body := render(struct {
		Message   string `json:"logitcsInterface"`
		Method    string `json:"method"`
		MsgType   string `json:"msgType"`
		SenderNo  string `json:"senderNo"`
		SerialNo  string `json:"serialNo"`
		TimeStamp string `json:"timeStamp"`
		Version   string `json:"version"`
	}{c.cipher.seal(plain), "040002", "0", c.cfg.SenderNo, serial, now.In(beijing).Format(wireTime), "v1.0.0"})
	return &push{serial: serial, body: body}
}

// Run sends pushes until ctx is done, and returns when none is under way. Without Config.PushTo it only waits.
func (c *Carrier) Run(ctx context.Context) {
	if c.cfg.PushTo == "" {
		<-ctx.Done()
		return
	}
	client := &http.Client{
		Timeout:       pushPatience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	defer client.CloseIdleConnections()
	work := make(chan *push)
	var workers sync.WaitGroup
	for range pushWorkers {
		workers.Go(func() {
			for p := range work {
				c.settle(p, deliver(ctx, client, c.cfg.PushTo, p))
			}
		})
	}
	c.dispatch(ctx, work)
	close(work)
	workers.Wait()
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
