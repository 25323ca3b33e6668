package notify

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"emsd/courier"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
)

// received appends receipts and works through them.
func (w *world) received(g *Gateways, list ...Receipt) {
	w.t.Helper()
	w.receivedFrom("a", g, list...)
}

func (w *world) receivedFrom(gateway string, g *Gateways, list ...Receipt) {
	w.t.Helper()
	r := w.receipts(g)
	if err := r.Append(w.t.Context(), gateway, list); err != nil {
		w.t.Fatal(err)
	}
	w.run(r)
	if n := w.count(`SELECT count(*) FROM message_receipts WHERE processed_at IS NULL`); n != 0 {
		w.t.Errorf("%d receipts are left", n)
	}
}

func yes(id uuid.UUID) Receipt {
	return Receipt{AttemptID: id, ProviderID: "biz", Success: true, Code: "DELIVERED"}
}
func no(id uuid.UUID) Receipt {
	return Receipt{AttemptID: id, ProviderID: "biz", Code: "MOBILE_NOT_ON_SERVICE"}
}
func soon(id uuid.UUID) Receipt { return Receipt{AttemptID: id, Code: "PENDING"} }

func TestReceiptsSettleAttempts(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		script func(SMS) (bool, error)
		push   func(id uuid.UUID) []Receipt
		want   string
		cases  int
	}{
		{"delivered", nil, func(id uuid.UUID) []Receipt { return []Receipt{yes(id)} }, delivered, 0},
		{"failed", nil, func(id uuid.UUID) []Receipt { return []Receipt{no(id)} }, failed, 1},
		{"twice", nil, func(id uuid.UUID) []Receipt { return []Receipt{yes(id), yes(id)} }, delivered, 0},
		{"failed twice", nil, func(id uuid.UUID) []Receipt { return []Receipt{no(id), no(id)} }, failed, 1},
		{"contradicting: the first word stands", nil, func(id uuid.UUID) []Receipt { return []Receipt{yes(id), no(id)} }, delivered, 0},
		{"contradicting the other way", nil, func(id uuid.UUID) []Receipt { return []Receipt{no(id), yes(id)} }, failed, 1},
		{"still pending", nil, func(id uuid.UUID) []Receipt { return []Receipt{soon(id)} }, accepted, 0},
		{"pending, then delivered", nil, func(id uuid.UUID) []Receipt { return []Receipt{soon(id), yes(id), soon(id)} }, delivered, 0},
		{"settles an unknown attempt", always(Unknown, true), func(id uuid.UUID) []Receipt { return []Receipt{yes(id)} }, delivered, 0},
		{"settles an unknown attempt as accepted", always(Unknown, true), func(id uuid.UUID) []Receipt { return []Receipt{soon(id)} }, accepted, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			g := w.gateways(&fakeFinder{fakeGateway{name: "a", script: tt.script}})
			id := w.news(courier.InTransit, courier.EventData{})
			w.run(w.sender(g, Options{}))
			attempt := w.attemptID(id)
			w.received(g, tt.push(attempt)...)
			for _, r := range tt.push(attempt) { // each again, alone: nothing changes
				w.received(g, r)
				if r.Code == "PENDING" || tt.want != accepted {
					w.wantMessage(id, HandedOver, state{tt.want, Send, 1})
				}
			}
			w.wantAttempts(id, "a "+tt.want)
			if w.openCases(id) != tt.cases {
				t.Errorf("%d cases, want %d", w.openCases(id), tt.cases)
			}
			w.pass(48 * time.Hour)
			w.run(w.resolver(g, Options{}))
			w.wantMessage(id, HandedOver, state{tt.want, Send, 1})
		})
	}
}

func TestReceiptBeforeTheSendersOwnAnswer(t *testing.T) {
	t.Parallel()
	for _, lost := range []bool{false, true} {
		w := newWorld(t)
		f := &fakeFinder{fakeGateway{name: "a"}}
		g := w.gateways(f)
		f.script = func(s SMS) (bool, error) {
			w.received(g, yes(s.AttemptID))
			if lost {
				return true, &SendError{Class: Unknown}
			}
			return true, nil
		}
		id := w.news(courier.InTransit, courier.EventData{})
		w.run(w.sender(g, Options{}))
		w.wantMessage(id, HandedOver, state{delivered, Send, 1})
		w.wantAttempts(id, "a delivered")
	}
}

func TestReceiptAfterAbsentClosesTheCase(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := w.gateways(&fakeGateway{name: "a", script: always(Unknown, true)})
	id := w.news(courier.Held, courier.EventData{HeldUntil: "2026-12-10"})
	w.run(w.sender(g, Options{}))
	w.pass(25 * time.Hour)
	w.run(w.resolver(g, Options{}))
	if w.openCases(id) != 1 {
		t.Fatal("no case")
	}
	w.received(g, yes(w.attemptID(id)))
	w.wantMessage(id, Held, state{delivered, Send, 1})
	if w.openCases(id) != 0 {
		t.Error("the case stays open")
	}
}

func TestStrangersAndRefusedAttempts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := w.gateways(&fakeGateway{name: "a", script: always(Recipient, false)})
	id := w.news(courier.InTransit, courier.EventData{})
	w.run(w.sender(g, Options{}))
	odd := Receipt{Code: "x\x00\xff" + strings.Repeat("长", 500), ProviderID: strings.Repeat("\x00", 300)}
	w.received(g, yes(uuid.New()), odd, yes(w.attemptID(id)))
	w.wantMessage(id, HandedOver, state{failed, Send, 1})
	w.wantAttempts(id, "a rejected")
	if err := w.receipts(g).Append(t.Context(), "a", nil); err != nil {
		t.Errorf("Append of nothing = %v", err)
	}
}

// A receipt counts only from the gateway that got the attempt.
func TestReceiptFromAnotherGatewayIsAStranger(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := w.gateways(&fakeGateway{name: "a"}, &fakeGateway{name: "b"})
	id := w.news(courier.InTransit, courier.EventData{})
	w.run(w.sender(g, Options{}))
	w.receivedFrom("b", g, no(w.attemptID(id)))
	w.wantAttempts(id, "a accepted")
}

// Two receipt rounds and a sender's outcome at once settle each attempt once.
func TestManyReceiptsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := w.gateways(&fakeFinder{fakeGateway{name: "a"}})
	var list []Receipt
	for range 60 {
		w.move(w.delivery(), courier.InTransit, courier.EventData{})
	}
	w.plan()
	w.run(w.sender(g, Options{}))
	var ids []uuid.UUID
	if err := w.db.SelectContext(t.Context(), &ids, `SELECT id FROM message_attempts`); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		for i, id := range ids {
			if i%2 == 0 {
				list = append(list, yes(id))
			} else {
				list = append(list, no(id))
			}
		}
	}
	var wg sync.WaitGroup
	for part := range 3 {
		wg.Go(func() {
			r := w.receipts(g)
			if err := r.Append(t.Context(), "a", list[part*60:part*60+60]); err != nil {
				t.Error(err)
			}
			if err := r.Round(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if d, f := w.count(`SELECT count(*) FROM messages WHERE state = 'delivered'`), w.count(`SELECT count(*) FROM messages WHERE state = 'failed'`); d != 30 || f != 30 {
		t.Errorf("%d delivered and %d failed, want 30 and 30", d, f)
	}
	if n := w.count(`SELECT count(*) FROM cases WHERE kind = 'sms_failed'`); n != 30 {
		t.Errorf("%d cases, want 30", n)
	}
}

func TestAMessageWithoutAReceiptAfterADayIsKnownAndCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g, quiet := &fakeFinder{fakeGateway{name: "a"}}, &fakeGateway{name: "log"}
	silent, heard := w.news(courier.Held, courier.EventData{}), w.news(courier.Held, courier.EventData{})
	w.run(w.sender(w.gateways(g), Options{}))
	other := w.news(courier.Held, courier.EventData{})
	w.run(w.sender(w.gateways(quiet), Options{}))
	all := w.gateways(g, quiet)
	reg := prometheus.NewRegistry()
	m := NewMetrics(reg, all)
	round := func() {
		w.run(NewReceipts(w.db, w.vault, all, w.clock(), Options{}, w.log, m))
	}
	receiptOf := func(id uuid.UUID) string {
		list, err := NewReader(w.db).Messages(t.Context(), id)
		if err != nil || len(list) != 1 {
			t.Fatalf("messages are %+v, %v", list, err)
		}
		return list[0].Receipt()
	}
	w.received(all, yes(w.attemptID(heard)))
	w.pass(receiptsWithin)
	round()
	if got := receiptOf(silent); got != "awaited" {
		t.Errorf("within the day the receipt is %q", got)
	}
	w.pass(time.Minute)
	round()
	round()
	if got := []string{receiptOf(silent), receiptOf(heard), receiptOf(other)}; !slices.Equal(got, []string{"none", "delivered", "awaited"}) {
		t.Errorf("after a day: %q", got)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counted := map[string]float64{}
	for _, f := range families {
		for _, metric := range f.GetMetric() {
			if f.GetName() == "emsd_sms_no_receipt_total" {
				counted[metric.GetLabel()[0].GetValue()] = metric.GetCounter().GetValue()
			}
		}
	}
	if counted["a"] != 1 || counted["log"] != 0 {
		t.Errorf("counted %v, want one of a: once, and only of gateways that give receipts", counted)
	}
	w.received(all, yes(w.attemptID(silent)))
	if got := receiptOf(silent); got != "delivered" {
		t.Errorf("a late receipt leaves it %q", got)
	}
}

// A receipt is answered in time because taking it in writes one row and does nothing else: what it means is worked out later.
func TestTakingReceiptsInOnlyAppends(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := &fakeFinder{fakeGateway{name: "a"}}
	id := w.news(courier.Held, courier.EventData{})
	w.run(w.sender(w.gateways(g), Options{}))
	attempt := w.attemptID(id)
	before := w.attempts(id)
	// Somebody else holds all that a receipt is about: taking it in must wait for none of it.
	tx := w.db.MustBeginTx(t.Context(), nil)
	defer tx.Rollback()
	tx.MustExec(`LOCK TABLE message_attempts, messages, deliveries, cases, sms_trials IN ACCESS EXCLUSIVE MODE`)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := w.receipts(w.gateways(g)).Append(ctx, "a", []Receipt{no(attempt), no(uuid.New())}); err != nil {
		t.Fatalf("taking receipts in waits for their attempts: %v", err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	w.wantAttempts(id, before...)
	if n := w.count(`SELECT count(*) FROM message_receipts WHERE processed_at IS NULL`); n != 2 {
		t.Errorf("%d receipts are kept, want 2", n)
	}
}
