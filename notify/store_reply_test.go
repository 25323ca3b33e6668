package notify

import (
	"bytes"
	"testing"
	"time"

	"emsd/courier"
	"emsd/courier/vault"
)

func said(n int, text string) Reply {
	return Reply{Phone: vault.Conceal(phoneOf(n)), Text: vault.Conceal(text), SentAt: noon.Add(time.Duration(n) * time.Second)}
}

func TestARefusalByReplyStopsTheNumberAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stop, wrong, doubt, other := w.delivery(), w.delivery(), w.delivery(), w.delivery()
	again := w.deliveryWith(phoneOf(1), courier.InTransit)
	over := w.deliveryWith(phoneOf(1), courier.Delivered)
	r := NewReplies(w.db, w.vault, w.gateways(&fakeGateway{name: "a"}), w.clock(), Options{}, w.log, nil)
	list := []Reply{said(0, "TD"), said(1, "发错了"), said(2, "怎么退订"), said(3, "谢谢诸葛孔明"), said(77, "拒收")}
	for range 2 { // a push that was not answered in time comes again
		if err := r.Append(t.Context(), "a", list); err != nil {
			t.Fatal(err)
		}
		if n := w.count(`SELECT count(*) FROM do_not_send`); n > 3 {
			t.Errorf("%d stopped", n)
		}
		w.run(r)
	}
	if n := w.count(`SELECT count(*) FROM message_replies WHERE processed_at IS NOT NULL`); n != len(list) {
		t.Errorf("%d replies are kept and read, want %d", n, len(list))
	}
	refusals := NewRefusals(w.db, w.vault)
	for n, want := range map[int]bool{0: true, 1: true, 2: false, 3: false, 77: true} {
		if got, err := refusals.Has(t.Context(), vault.Conceal(phoneOf(n))); err != nil || got != want {
			t.Errorf("number %d stopped: %v, %v", n, got, err)
		}
	}
	if n := w.count(`SELECT count(*) FROM audit WHERE action = 'do_not_send.add' AND actor = 'emsd'`); n != 3 {
		t.Errorf("%d audit entries, want 3", n)
	}
	for _, c := range []struct {
		name, kind string
		delivery   any
		want       int
	}{
		{"wrong person", "address", wrong, 1}, {"wrong person, another delivery", "address", again, 1}, {"wrong person, long delivered", "address", over, 0},
		{"doubt", "sms_failed", doubt, 1}, {"stop", "sms_failed", stop, 0}, {"other", "sms_failed", other, 0},
	} {
		if n := w.count(`SELECT count(*) FROM cases WHERE delivery_id = $1 AND kind = $2`, c.delivery, c.kind); n != c.want {
			t.Errorf("%s: %d cases, want %d", c.name, n, c.want)
		}
	}
	if n := w.count(`SELECT count(*) FROM cases`); n != 3 {
		t.Errorf("%d cases in all, want 3", n)
	}
	read, err := r.Of(t.Context(), other)
	if err != nil || len(read) != 1 || read[0].Text.Reveal() != "谢谢诸葛孔明" || read[0].Meaning != MeansOther {
		t.Errorf("a clerk reads %+v, %v", read, err)
	}
	var sealed [][]byte
	if err := w.db.SelectContext(t.Context(), &sealed, `SELECT text_sealed FROM message_replies`); err != nil {
		t.Fatal(err)
	}
	for _, s := range sealed {
		if bytes.Contains(s, []byte("孔明")) {
			t.Error("a reply is kept in clear")
		}
	}
}

func TestRepliesWithASequenceAreOneByIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := NewReplies(w.db, w.vault, w.gateways(&fakeGateway{name: "a"}), w.clock(), Options{}, w.log, nil)
	one, two := said(0, "好"), said(0, "好")
	one.Sequence, two.Sequence = "1", "2"
	for _, list := range [][]Reply{{one, one}, {one, two}} {
		if err := r.Append(t.Context(), "a", list); err != nil {
			t.Fatal(err)
		}
	}
	if n := w.count(`SELECT count(*) FROM message_replies`); n != 2 {
		t.Errorf("%d replies, want 2", n)
	}
}
