package courier_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"emsd/courier"
	"emsd/migrations/dbtest"

	"github.com/google/go-cmp/cmp"
)

func TestNumberRound(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		have     int
		low, to  int
		give     func(f *fakeCarrier, count int) ([]string, error)
		want     int
		reserves []int
		err      bool
	}{
		{name: "empty", low: 1000, to: 2500, want: 2500, reserves: []int{999, 999, 502}},
		{name: "below the mark", have: 9, low: 10, to: 50, want: 50, reserves: []int{41}},
		{name: "at the mark", have: 10, low: 10, to: 50, want: 10},
		{name: "EMS gives fewer", low: 10, to: 50, want: 50, reserves: []int{50, 20},
			give: func(f *fakeCarrier, count int) ([]string, error) { return f.numbers(min(count, 30)), nil }},
		{name: "EMS gives what it gave before", have: 5, low: 10, to: 50, want: 5, reserves: []int{45}, err: true,
			give: func(*fakeCarrier, int) ([]string, error) { return []string{"1200000001017"}, nil }},
		{name: "EMS gives nonsense", low: 10, to: 50, reserves: []int{50}, err: true,
			give: func(*fakeCarrier, int) ([]string, error) { return []string{"", "1'; --", "运单"}, nil }},
		{name: "EMS fails", low: 10, to: 50, reserves: []int{50}, err: true,
			give: func(*fakeCarrier, int) ([]string, error) { return nil, errors.New("lost") }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			db := dbtest.Open(t)
			ems := newFakeCarrier()
			for _, n := range ems.numbers(test.have) {
				execSQL(t, db, `INSERT INTO numbers (waybill_no, product, state, reserved_at) VALUES ($1, '1', 'free', $2)`, n, noon)
			}
			ems.give = test.give
			opts := orderOptions()
			opts.LowWater, opts.RefillTo = test.low, test.to
			if err := newOrderer(t, db, ems, opts).NumberRound(t.Context()); (err != nil) != test.err {
				t.Errorf("NumberRound = %v, want an error: %v", err, test.err)
			}
			if n := one[int](t, db, `SELECT count(*) FROM numbers WHERE state = 'free'`); n != test.want {
				t.Errorf("%d free numbers, want %d", n, test.want)
			}
			if diff := cmp.Diff(test.reserves, ems.reserves); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReplicasTakeTurnsToReserve(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	ems := newFakeCarrier()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := newOrderer(t, db, ems, orderOptions()).NumberRound(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := one[int](t, db, `SELECT count(*) FROM numbers`); n != 100 || len(ems.reserves) != 1 {
		t.Errorf("%d numbers after %d calls, want 100 after 1", n, len(ems.reserves))
	}
}

func TestAnEmptyPoolIsRefilledInTheMiddleOfARound(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	addApproved(t, db, testVault(t), 100, time.Now())
	ems := newFakeCarrier()
	opts := orderOptions()
	opts.LowWater, opts.RefillTo = 1, 11
	if err := newOrderer(t, db, ems, opts).OrderRound(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(ems.waybills()); n != 100 {
		t.Errorf("%d waybills, want 100", n)
	}
	numbers := map[string]bool{}
	for _, d := range orderStates(t, db) {
		if d.Status != courier.Ordered || numbers[d.WaybillNo] {
			t.Errorf("%s with number %s", d.Status, d.WaybillNo)
		}
		numbers[d.WaybillNo] = true
	}
}
