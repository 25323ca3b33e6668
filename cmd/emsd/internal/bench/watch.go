package bench

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	"emsd/courier"
	"emsd/courier/ems"
)

// A watch notes when each waybill is asked about and when its answer comes. A nil watch notes nothing.
type watch struct {
	now func() time.Time
	due func(waybillNo string) (stage courier.Status, at time.Time, known bool)

	mu       sync.Mutex
	lags     map[courier.Status][]float64 // seconds from due to asked
	answered []time.Time
	asked    int
}

func (w *watch) asks(waybillNo string) {
	if w == nil {
		return
	}
	now := w.now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	if w.due == nil {
		return
	}
	if stage, at, known := w.due(waybillNo); known {
		w.lags[stage] = append(w.lags[stage], now.Sub(at).Seconds())
	}
}

func (w *watch) answers() {
	if w == nil {
		return
	}
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answered = append(w.answered, now)
}

func (w *watch) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asked
}

// steady is the answers a second while a run was neither starting nor ending: those between a fifth and four fifths.
func (w *watch) steady() float64 {
	n := len(w.answered)
	if n < 5 {
		return 0
	}
	slices.SortFunc(w.answered, time.Time.Compare)
	from, to := n/5, n*4/5
	return float64(to-from) / w.answered[to].Sub(w.answered[from]).Seconds()
}

// A watched client is the product's, under a watch. It keeps the client's Open.
type watched struct {
	*ems.Client
	watch *watch
}

func (c *watched) Trace(ctx context.Context, waybillNo string, known int64) (courier.Trace, error) {
	c.watch.asks(waybillNo)
	t, err := c.Client.Trace(ctx, waybillNo, known)
	c.watch.answers()
	return t, err
}

// ordinal is the place of a seeded waybill among its fellows.
func ordinal(waybillNo string) (int, bool) {
	if len(waybillNo) < 3 {
		return 0, false
	}
	i, err := strconv.Atoi(waybillNo[2:])
	return i, err == nil
}

// evenly says when waybills are due that are due one after the other, all of one stage.
func evenly(from time.Time, perSecond float64) func(string) (courier.Status, time.Time, bool) {
	return func(no string) (courier.Status, time.Time, bool) {
		i, ok := ordinal(no)
		return courier.InTransit, from.Add(time.Duration(float64(i) / perSecond * float64(time.Second))), ok
	}
}
