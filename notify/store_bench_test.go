package notify

import (
	"testing"
)

// BenchmarkSendRound sends through a gateway that answers at once: what is measured is everything else.
func BenchmarkSendRound(b *testing.B) {
	w := newWorld(b)
	numbers := make([]string, b.N)
	for i := range numbers {
		numbers[i] = phoneOf(i)
	}
	w.manyInTransit(numbers)
	w.exec(`INSERT INTO messages (id, delivery_id, milestone, position, event_at, vars, state, verdict, reason, not_before, created_at, updated_at)
		SELECT gen_random_uuid(), id, 'handed_over', 1, $1, '{}', 'queued', 'send', '', $1, $1, $1 FROM deliveries`, noon)
	g := &fakeGateway{name: "a"}
	s := NewSender(w.db, w.vault, w.gateways(g), w.clock(), Options{}, w.log, nil)
	b.ResetTimer()
	if err := s.Round(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
	if n := w.count(`SELECT count(*) FROM messages WHERE state = 'accepted'`); n != b.N {
		b.Fatalf("%d accepted of %d", n, b.N)
	}
}
