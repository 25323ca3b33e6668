package notify

import (
	"context"
	"fmt"
	"testing"
	"time"

	"emsd/courier/vault"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

// A fakePuller hands out its pages of replies once each, and fails where a page is nil.
type fakePuller struct {
	fakeGateway
	pages [][]Reply
	seen  func() // before a page is handed out
}

func (g *fakePuller) PullReplies(context.Context) ([]Reply, bool, error) {
	g.seen()
	if len(g.pages) == 0 {
		return nil, false, nil
	}
	page := g.pages[0]
	g.pages = g.pages[1:]
	if page == nil {
		return nil, false, &SendError{Class: Unknown, Code: "lost"}
	}
	return page, true, nil
}

// TestRepliesAreFetchedAndStoredBeforeMoreIsAskedFor: what a gateway has handed out it may not have any more, so a page is in the
// database before the next one is asked for; one gateway that fails keeps nobody from the others.
func TestRepliesAreFetchedAndStoredBeforeMoreIsAskedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var stored []int
	look := func() { stored = append(stored, w.count(`SELECT count(*) FROM message_replies`)) }
	a := &fakePuller{fakeGateway: fakeGateway{name: "a"}, pages: [][]Reply{{said(0, "TD"), said(1, "谢谢")}, nil, {said(2, "发错了")}}, seen: look}
	b := &fakePuller{fakeGateway: fakeGateway{name: "b"}, pages: [][]Reply{{said(0, "TD")}}, seen: look}
	reg := prometheus.NewPedanticRegistry()
	g := w.gateways(a, b, &fakeGateway{name: "c"})
	r := NewReplies(w.db, w.vault, g, w.clock(), Options{}, w.log, NewMetrics(reg, g))
	for range 2 {
		if err := r.Pull(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]int{0, 2, 2, 3, 3, 4, 4}, stored); diff != "" {
		t.Errorf("stored when the next page was asked for (-want +got):\n%s", diff)
	}
	w.run(r)
	counted := map[string]float64{}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "emsd_sms_replies_total" && m.GetCounter().GetValue() > 0 {
				counted[m.GetLabel()[0].GetValue()+" "+m.GetLabel()[1].GetValue()] = m.GetCounter().GetValue()
			}
		}
	}
	if diff := cmp.Diff(map[string]float64{"a stop": 1, "a other": 1, "a wrong_person": 1, "b stop": 1}, counted); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
	w.noLeak()
}

// TestOldRepliesAreDroppedAndWhatTheyStoppedStays: only what was worked through, however many there are.
func TestOldRepliesAreDroppedAndWhatTheyStoppedStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := NewReplies(w.db, w.vault, w.gateways(&fakeGateway{name: "a"}), w.clock(), Options{}, w.log, nil)
	var old []Reply
	for n := range 600 {
		old = append(old, Reply{Phone: vault.Conceal(phoneOf(n)), Text: vault.Conceal("谢谢"), Sequence: fmt.Sprint("old", n)})
	}
	old[0].Text = vault.Conceal("TD")
	if err := r.Append(t.Context(), "a", old); err != nil {
		t.Fatal(err)
	}
	w.run(r)
	w.exec(`INSERT INTO message_replies (id, gateway, same, phone_lookup, text_sealed, received_at, meaning, processed_at)
		SELECT gen_random_uuid(), 'b', same || decode(lpad(to_hex(i), 8, '0'), 'hex'), phone_lookup, text_sealed, received_at, meaning, processed_at
		FROM message_replies, generate_series(1, 10) AS i`)
	w.pass(181 * 24 * time.Hour)
	if err := r.Append(t.Context(), "a", []Reply{said(1, "好"), said(2, "拒收")}); err != nil {
		t.Fatal(err)
	}
	w.exec(`INSERT INTO message_replies (id, gateway, same, phone_lookup, text_sealed, received_at)
		SELECT gen_random_uuid(), 'c', same, phone_lookup, text_sealed, $1 FROM message_replies LIMIT 1`, noon) // old, and nobody has read it
	if err := r.Purge(t.Context(), w.clock().Now().AddDate(0, 0, -180)); err != nil {
		t.Fatal(err)
	}
	if n := w.count(`SELECT count(*) FROM message_replies`); n != 3 {
		t.Errorf("%d replies are left, want the two of today and the one that nobody has read", n)
	}
	if has, err := NewRefusals(w.db, w.vault).Has(t.Context(), vault.Conceal(phoneOf(0))); err != nil || !has {
		t.Errorf("what the reply stopped is stopped no more: %v", err)
	}
}
