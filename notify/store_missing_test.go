package notify

import (
	"strings"
	"testing"

	"emsd/courier"
)

// TestAMessageThatLacksAVariableIsACaseAndNeverLeaves: no gateway sees it, the reason names what is missing, a clerk is to call,
// and nothing of the resident stands in it. The messages beside it go out.
func TestAMessageThatLacksAVariableIsACaseAndNeverLeaves(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ waybill, says string }{
		"missing":      {"", "邮件号为空"},
		"another form": {"no number", "邮件号"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			g := &fakeGateway{name: "a"}
			lacking, whole := w.news(courier.InTransit, courier.EventData{}), w.news(courier.InTransit, courier.EventData{})
			w.exec(`UPDATE deliveries SET waybill_no = $2 WHERE id = $1`, lacking, tt.waybill)
			for range 3 { // never tried again either
				w.run(w.sender(w.gateways(g), Options{}))
			}
			w.wantMessage(lacking, HandedOver, state{failed, Send, 1})
			w.wantMessage(whole, HandedOver, state{accepted, Send, 1})
			w.wantAttempts(lacking, "a rejected")
			var reason string
			if err := w.db.Get(&reason, `SELECT reason FROM messages WHERE delivery_id = $1`, lacking); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(reason, tt.says) || strings.Contains(reason, surname) || strings.Contains(reason, phoneOf(0)) {
				t.Errorf("reason %q, want one that says %q", reason, tt.says)
			}
			if n := g.once(t); n != 1 || w.openCases(lacking) != 1 || w.openCases(whole) != 0 {
				t.Errorf("%d sent, %d and %d cases; want 1, 1 and 0", n, w.openCases(lacking), w.openCases(whole))
			}
		})
	}
}
