package smssim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// contradicted is the message as a second report tells it: delivered what was not, and the reverse.
func (m *message) contradicted(at time.Time) *message {
	other := &message{Message: m.Message, bizID: m.bizID, content: m.content, settled: at, errCode: codeDelivered}
	if m.errCode == codeDelivered {
		other.errCode = "MOBILE_NOT_ON_SERVICE"
	}
	return other
}

// stranger is a message of somebody else: another number, another id, and no reference of this customer's.
func (m *message) stranger(rng *rand.Rand) *message {
	other := &message{Message: m.Message, bizID: fmt.Sprintf("%d%09d^0", m.At.Unix(), rng.IntN(1e9)), content: m.content, settled: m.settled, errCode: m.errCode}
	other.Phone, other.OutID = fmt.Sprintf("199%08d", rng.IntN(1e8)), fmt.Sprintf("stranger-%d", rng.Uint64())
	return other
}

// planEarly settles a message as it is taken, and lets the answer wait until its receipt was pushed. The caller holds mu.
func (g *Gateway) planEarly(m *message) {
	m.settled = m.At
	r := &receipt{at: m.At, m: m, early: make(chan struct{})}
	g.receipts, g.early = append(g.receipts, r), append(g.early, r.early)
}

// precede lets the answer go that waits for a receipt. The caller holds mu.
func (g *Gateway) precede(r *receipt) {
	if r.early == nil {
		return
	}
	close(r.early)
	g.early = slices.DeleteFunc(g.early, func(c chan struct{}) bool { return c == r.early })
	r.early = nil
}

// awaitEarly waits, within bounds of real time, until the receipts that precede an answer were pushed once.
func (g *Gateway) awaitEarly(ctx context.Context) {
	g.mu.Lock()
	waits := slices.Clone(g.early)
	g.mu.Unlock()
	if len(waits) == 0 {
		return
	}
	limit := time.NewTimer(2 * receiptPatience)
	defer limit.Stop()
	for _, c := range waits {
		select {
		case <-c:
		case <-ctx.Done():
			return
		case <-limit.C: // nobody pushes
			g.mu.Lock()
			defer g.mu.Unlock()
			g.early = slices.DeleteFunc(g.early, func(c chan struct{}) bool { return slices.Contains(waits, c) })
			return
		}
	}
}
