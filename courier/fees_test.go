package courier_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"emsd/courier"
	"emsd/migrations/dbtest"
)

// aCharger charges what its map says; waybills that it lacks are not charged yet.
type aCharger struct {
	mu    sync.Mutex
	fen   map[string]int64
	fails map[string]bool
	asked int
}

func (c *aCharger) Charge(_ context.Context, waybillNo string) (courier.Charge, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	if c.fails[waybillNo] {
		return courier.Charge{}, errors.New("EMS 050001: unknown")
	}
	fen, ok := c.fen[waybillNo]
	if !ok {
		return courier.Charge{}, courier.ErrNotFound
	}
	return courier.Charge{Fen: fen, WeightG: 80}, nil
}

func TestADifferenceOfPostageIsACaseOnce(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	ids := addApproved(t, db, testVault(t), 6, noon) // the third and the sixth are collected
	for i, id := range ids {
		_, err := db.Exec(`UPDATE deliveries SET status = 'accepted', order_no = $2, waybill_no = $2 WHERE id = $1`, id, fmt.Sprintf("W%d", i))
		if err != nil {
			t.Fatal(err)
		}
	}
	charger := &aCharger{fen: map[string]int64{"W0": 2000, "W1": 2400}, fails: map[string]bool{"W3": true}}
	clock := courier.Clock{Now: func() time.Time { return noon }, Wall: time.Now}
	f := courier.NewFeeAuditor(db, charger, clock, slog.New(slog.DiscardHandler))
	for range 2 {
		if err := f.Round(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	var cases []string
	if err := db.Select(&cases, `SELECT d.waybill_no || ' ' || c.detail FROM cases c JOIN deliveries d ON d.id = c.delivery_id WHERE kind = 'fee_difference'`); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(cases) != "[W1 收取20.00元，EMS实收24.00元，计费重量80克]" {
		t.Errorf("cases for %v, want W1 alone: W0 agrees, W3 and W4 are not known, W2 and W5 are collected", cases)
	}
	if charger.asked != 4+2 {
		t.Errorf("asked %d times, want 6: four at first, then the two that are not known", charger.asked)
	}
}

func TestAnUnpaidDeliveryIsACaseUntilItIsPaid(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	ids := addApproved(t, db, testVault(t), 2, noon)
	if _, err := db.Exec(`UPDATE deliveries SET status = 'awaiting_payment', paid_fen = 0`); err != nil {
		t.Fatal(err)
	}
	now := noon
	s := courier.New(db, testVault(t), courier.Clock{Now: func() time.Time { return now }, Wall: time.Now}, courier.Options{})
	open := func() (n int) {
		if err := s.UnpaidRound(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := db.Get(&n, `SELECT count(*) FROM cases WHERE kind = 'unpaid' AND closed_at IS NULL`); err != nil {
			t.Fatal(err)
		}
		return n
	}
	now = noon.Add(7*24*time.Hour - time.Second)
	if n := open(); n != 0 {
		t.Errorf("%d cases before seven days", n)
	}
	now = noon.Add(7*24*time.Hour + time.Second)
	if n := open(); n != 2 {
		t.Errorf("%d cases after seven days, want 2", n)
	}
	if _, err := db.Exec(`UPDATE deliveries SET status = 'approved', paid_fen = fee_fen WHERE id = $1`, ids[0]); err != nil {
		t.Fatal(err)
	}
	if n := open(); n != 1 {
		t.Errorf("%d cases after one was paid, want 1", n)
	}
}
