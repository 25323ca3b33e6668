package courier_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"emsd/courier"
	"emsd/courier/vault"
	"emsd/migrations/dbtest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

// onlyState is the state of a database with one delivery.
func onlyState(t *testing.T, states map[uuid.UUID]orderState) orderState {
	t.Helper()
	if len(states) != 1 {
		t.Fatalf("%d deliveries, want 1", len(states))
	}
	for _, d := range states {
		return d
	}
	panic("unreachable")
}

func TestI4_TheIntentIsCommittedBeforeTheCall(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	addApproved(t, db, testVault(t), 20, time.Now())
	ems := newFakeCarrier()
	var bad atomic.Int64
	intent := func(orderNo, waybillNo string, calls ...string) {
		var n int
		err := db.Get(&n, `SELECT count(*) FROM order_attempts a JOIN deliveries d ON d.id = a.delivery_id
			WHERE a.order_no = $1 AND a.waybill_no = $2 AND a.outcome IS NULL AND a.call = ANY(string_to_array($3, ' ')) AND d.order_no = a.order_no`,
			orderNo, waybillNo, strings.Join(calls, " "))
		if err != nil || n != 1 {
			bad.Add(1)
		}
	}
	var first atomic.Int64
	ems.create = func(f *fakeCarrier, o courier.Order) (courier.Confirmation, error) {
		intent(o.OrderNo, o.WaybillNo, "create", "create_again")
		switch first.Add(1) % 4 {
		case 1:
			return courier.Confirmation{}, carrierError(courier.Unknown, "lost")
		case 2:
			other := o
			other.WaybillNo = ""
			return f.make(other), nil
		}
		return f.make(o), nil
	}
	ems.cancel = func(f *fakeCarrier, orderNo, waybillNo string) error {
		intent(orderNo, waybillNo, "cancel")
		return f.drop(waybillNo)
	}
	o := newOrderer(t, db, ems, orderOptions())
	settleOrders(t, db, o)
	execSQL(t, db, `UPDATE deliveries SET cancel_requested_at = $1, cancel_attempt_at = $2`, noon, time.Now())
	settleOrders(t, db, o)
	if n := bad.Load(); n != 0 {
		t.Errorf("%d calls left without their committed intent", n)
	}
	if left := ems.waybills(); len(left) != 0 {
		t.Errorf("EMS still holds %v", left)
	}
	checkCancelled(t, db, 20)
}

func TestOutcomesOfTheFirstCall(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		numbers  string
		create   func(f *fakeCarrier, o courier.Order) (courier.Confirmation, error)
		want     courier.Status
		cases    string
		waiting  bool
		outcome  string
		detail   string
		roundErr bool
	}{
		{name: "refused", want: courier.Ordering, cases: "order_refused", outcome: "refused", detail: "收件人…的电话…、地址…有误",
			create: func(_ *fakeCarrier, o courier.Order) (courier.Confirmation, error) {
				return courier.Confirmation{}, carrierError(courier.RefusedByCarrier, "收件人张三丰的电话"+o.Recipient.Phone.Reveal()+"、地址"+o.Recipient.Address.Reveal()+"有误")
			}},
		{name: "unsent", want: courier.Approved, waiting: true, outcome: "unsent", detail: "connection refused", roundErr: true,
			create: func(*fakeCarrier, courier.Order) (courier.Confirmation, error) {
				return courier.Confirmation{}, carrierError(courier.Unsent, "connection refused")
			}},
		{name: "unknown", want: courier.Ordering, waiting: true, outcome: "unknown", detail: "HTTP 502",
			create: func(*fakeCarrier, courier.Order) (courier.Confirmation, error) {
				return courier.Confirmation{}, carrierError(courier.Unknown, "HTTP 502")
			}},
		{name: "unclassified", want: courier.Ordering, waiting: true, outcome: "unknown", detail: "调用失败，原因未分类",
			create: func(*fakeCarrier, courier.Order) (courier.Confirmation, error) {
				return courier.Confirmation{}, errors.New("13800010000")
			}},
		{name: "another number", want: courier.Ordering, waiting: true, cases: "order_unknown", outcome: "anomaly", detail: "答复了另一个运单号",
			create: func(f *fakeCarrier, o courier.Order) (courier.Confirmation, error) {
				o.WaybillNo = ""
				return f.make(o), nil
			}},
		{name: "another echo", want: courier.Ordering, waiting: true, outcome: "unknown", detail: "答复中的订单号不是本订单",
			create: func(f *fakeCarrier, o courier.Order) (courier.Confirmation, error) {
				c := f.make(o)
				c.OrderNo = "RP0"
				return c, nil
			}},
		{name: "no number", want: courier.Ordering, waiting: true, outcome: "unknown", detail: "答复中没有运单号",
			create: func(f *fakeCarrier, o courier.Order) (courier.Confirmation, error) {
				return courier.Confirmation{OrderNo: o.OrderNo}, nil
			}},
		{name: "assigned, confirmed", numbers: courier.NumbersAssigned, want: courier.Ordered, outcome: "confirmed"},
		{name: "assigned, unknown", numbers: courier.NumbersAssigned, want: courier.Ordering, cases: "order_unknown", outcome: "unknown", detail: "lost",
			create: func(*fakeCarrier, courier.Order) (courier.Confirmation, error) {
				return courier.Confirmation{}, carrierError(courier.Unknown, "lost")
			}},
		{name: "assigned, refused", numbers: courier.NumbersAssigned, want: courier.Ordering, cases: "order_refused", outcome: "refused", detail: "no",
			create: func(*fakeCarrier, courier.Order) (courier.Confirmation, error) {
				return courier.Confirmation{}, carrierError(courier.RefusedByCarrier, "no")
			}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			db := dbtest.Open(t)
			addApproved(t, db, testVault(t), 1, time.Now())
			ems := newFakeCarrier()
			ems.create = test.create
			opts := orderOptions()
			opts.Numbers = test.numbers
			opts.RetryAfter, opts.RetryMax = time.Hour, time.Hour
			o := newOrderer(t, db, ems, opts)
			if err := o.OrderRound(t.Context()); (err != nil) != test.roundErr {
				t.Errorf("OrderRound = %v, want an error: %v", err, test.roundErr)
			}
			d := onlyState(t, orderStates(t, db))
			if d.Status != test.want || d.Cases != test.cases || d.Waiting != test.waiting {
				t.Errorf("status %s, cases %q, waiting %v; want %s, %q, %v", d.Status, d.Cases, d.Waiting, test.want, test.cases, test.waiting)
			}
			var got struct{ Outcome, Detail string }
			if err := db.Get(&got, `SELECT outcome, detail FROM order_attempts WHERE call = 'create'`); err != nil {
				t.Fatal(err)
			}
			if got.Outcome != test.outcome || got.Detail != test.detail {
				t.Errorf("attempt: %s, %q; want %s, %q", got.Outcome, got.Detail, test.outcome, test.detail)
			}
			checkEventLog(t, db)
		})
	}
}

func TestI3_AssignedModeNeverSendsAgain(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	addApproved(t, db, testVault(t), 10, time.Now())
	ems := newFakeCarrier()
	var n atomic.Int64
	ems.create = func(f *fakeCarrier, o courier.Order) (courier.Confirmation, error) {
		if n.Add(1)%2 == 0 {
			return f.make(o), nil
		}
		f.make(o)
		return courier.Confirmation{}, carrierError(courier.Unknown, "lost")
	}
	opts := orderOptions()
	opts.Numbers = courier.NumbersAssigned
	o := newOrderer(t, db, ems, opts)
	settleOrders(t, db, o)
	settleOrders(t, db, o)
	if got := len(ems.orders()); got != 10 || len(ems.reserves) != 0 {
		t.Errorf("%d orders sent, %d reservations, want 10 and none", got, len(ems.reserves))
	}
	count := map[string]int{}
	for _, d := range orderStates(t, db) {
		count[string(d.Status)+" "+d.Cases]++
	}
	if diff := cmp.Diff(map[string]int{"ordered ": 5, "ordering order_unknown": 5}, count); diff != "" {
		t.Error(diff)
	}
}

func TestAnAssignedNumberOfAnotherDeliveryIsACase(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	addApproved(t, db, testVault(t), 2, time.Now())
	ems := newFakeCarrier()
	ems.create = func(f *fakeCarrier, o courier.Order) (courier.Confirmation, error) {
		return courier.Confirmation{OrderNo: o.OrderNo, WaybillNo: "1200000001417"}, nil
	}
	opts := orderOptions()
	opts.Numbers, opts.Chunk, opts.Lanes = courier.NumbersAssigned, 1, 1
	if err := newOrderer(t, db, ems, opts).OrderRound(t.Context()); err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, d := range orderStates(t, db) {
		count[string(d.Status)+" "+d.Cases]++
	}
	if diff := cmp.Diff(map[string]int{"ordered ": 1, "ordering order_unknown": 1}, count); diff != "" {
		t.Error(diff)
	}
	if len(ems.cancels) != 0 {
		t.Errorf("cancelled %v, which is somebody's waybill", ems.cancels)
	}
}

// TestI3_ALateAnswerIsHarmless lets the lease of a process end while its call is under way; another process settles
// the delivery, then the first one gets its answer.
func TestI3_ALateAnswerIsHarmless(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		late   func(f *fakeCarrier, o courier.Order) (courier.Confirmation, error)
		before func(f *fakeCarrier, o courier.Order) // what EMS has done by the time the second process asks
	}{
		{"confirmed", func(f *fakeCarrier, o courier.Order) (courier.Confirmation, error) {
			return courier.Confirmation{OrderNo: o.OrderNo, WaybillNo: o.WaybillNo}, nil
		}, func(f *fakeCarrier, o courier.Order) { f.make(o) }},
		{"refused", func(*fakeCarrier, courier.Order) (courier.Confirmation, error) {
			return courier.Confirmation{}, carrierError(courier.RefusedByCarrier, "no")
		}, nil},
		{"unsent", func(*fakeCarrier, courier.Order) (courier.Confirmation, error) {
			return courier.Confirmation{}, carrierError(courier.Unsent, "no route")
		}, nil},
		{"unknown", func(*fakeCarrier, courier.Order) (courier.Confirmation, error) {
			return courier.Confirmation{}, carrierError(courier.Unknown, "timeout")
		}, nil},
		{"another number", func(f *fakeCarrier, o courier.Order) (courier.Confirmation, error) {
			o.WaybillNo = ""
			return f.make(o), nil
		}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			db := dbtest.Open(t)
			addApproved(t, db, testVault(t), 1, time.Now())
			ems := newFakeCarrier()
			begun, release := make(chan courier.Order, 1), make(chan struct{})
			var calls atomic.Int64
			ems.create = func(f *fakeCarrier, o courier.Order) (courier.Confirmation, error) {
				if calls.Add(1) > 1 {
					return f.make(o), nil
				}
				begun <- o
				<-release
				return test.late(f, o)
			}
			slow := newOrderer(t, db, ems, orderOptions())
			done := make(chan error, 1)
			go func() { done <- slow.OrderRound(context.WithoutCancel(t.Context())) }()
			order := <-begun
			if test.before != nil {
				test.before(ems, order)
			}
			execSQL(t, db, `UPDATE deliveries SET reconcile_at = $1`, time.Now().Add(-time.Second)) // the lease has ended
			other := newOrderer(t, db, ems, orderOptions())
			settleOrders(t, db, other)
			if d := onlyState(t, orderStates(t, db)); d.Status != courier.Ordered {
				t.Fatalf("the second process left it at %s", d.Status)
			}
			close(release)
			<-done // an error only says that EMS is out of reach
			settleOrders(t, db, other)
			d := onlyState(t, orderStates(t, db))
			if diff := cmp.Diff([]string{d.WaybillNo}, ems.waybills()); diff != "" || d.Status != courier.Ordered || d.WaybillNo != order.WaybillNo {
				t.Errorf("%+v\nEMS holds (-want +got):\n%s", d, diff)
			}
			checkEventLog(t, db)
		})
	}
}

func TestI3_AConfirmationAfterTheCancellationIsCancelled(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	addApproved(t, db, testVault(t), 1, time.Now())
	ems := newFakeCarrier()
	begun, release := make(chan courier.Order, 1), make(chan struct{})
	ems.create = func(f *fakeCarrier, o courier.Order) (courier.Confirmation, error) {
		begun <- o
		<-release
		return f.make(o), nil // it reaches EMS only now
	}
	done := make(chan error, 1)
	slow := newOrderer(t, db, ems, orderOptions())
	go func() { done <- slow.OrderRound(context.WithoutCancel(t.Context())) }()
	<-begun
	execSQL(t, db, `UPDATE deliveries SET reconcile_at = $1, cancel_requested_at = $2, cancel_attempt_at = $1`, time.Now().Add(-time.Second), noon)
	other := newOrderer(t, db, ems, orderOptions())
	settleOrders(t, db, other)
	if d := onlyState(t, orderStates(t, db)); d.Status != courier.Cancelled || d.RefundDue != d.Paid {
		t.Fatalf("the second process left it at %+v", d)
	}
	close(release)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	settleOrders(t, db, other)
	if left := ems.waybills(); len(left) != 0 {
		t.Errorf("EMS still holds %v", left)
	}
	if d := onlyState(t, orderStates(t, db)); d.Status != courier.Cancelled || d.Cases != "" {
		t.Errorf("the delivery is %+v", d)
	}
}

func TestUnsentOrdersKeepTheirNumber(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	addApproved(t, db, testVault(t), 30, time.Now())
	ems := newFakeCarrier()
	var down atomic.Bool
	down.Store(true)
	ems.create = func(f *fakeCarrier, o courier.Order) (courier.Confirmation, error) {
		if down.Load() {
			return courier.Confirmation{}, carrierError(courier.Unsent, "connection refused")
		}
		return f.make(o), nil
	}
	opts := orderOptions()
	opts.Lanes = 1
	o := newOrderer(t, db, ems, opts)
	for range 3 {
		if err := o.OrderRound(t.Context()); err == nil {
			t.Error("a round of which nothing leaves gives no error")
		}
	}
	// One chunk of seven, then one delivery at a time: an outage does not move everything to and fro.
	if n := len(ems.orders()); n != 9 {
		t.Errorf("%d orders tried while EMS is away, want 9", n)
	}
	if n := one[int](t, db, `SELECT count(*) FROM deliveries WHERE status = 'approved' AND waybill_no IS NOT NULL`); n < 7 {
		t.Errorf("%d deliveries wait with their number, want at least 7", n)
	}
	down.Store(false)
	settleOrders(t, db, o)
	numbers := map[string]string{}
	for _, x := range ems.orders() {
		if before := numbers[x.OrderNo]; before != "" && before != x.WaybillNo {
			t.Errorf("%s was sent as %s and as %s", x.OrderNo, before, x.WaybillNo)
		}
		numbers[x.OrderNo] = x.WaybillNo
	}
	if len(ems.waybills()) != 30 {
		t.Errorf("%d waybills, want 30", len(ems.waybills()))
	}
}

func TestAnEndingRoundHandsBackWhatItDidNotSend(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	addApproved(t, db, testVault(t), 20, time.Now())
	ems := newFakeCarrier()
	ctx, cancel := context.WithCancel(t.Context())
	ems.create = func(f *fakeCarrier, o courier.Order) (courier.Confirmation, error) {
		cancel() // the daemon is told to stop while calls are under way
		return f.make(o), nil
	}
	opts := orderOptions()
	opts.Chunk, opts.Lanes, opts.Concurrency = 20, 1, 2
	if err := newOrderer(t, db, ems, opts).OrderRound(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("OrderRound = %v, want context.Canceled", err)
	}
	count := map[courier.Status]int{}
	for _, d := range orderStates(t, db) {
		count[d.Status]++
	}
	sent := len(ems.orders())
	if diff := cmp.Diff(map[courier.Status]int{courier.Ordered: sent, courier.Approved: 20 - sent}, count); diff != "" || sent > 2 {
		t.Errorf("%d sent; statuses (-want +got):\n%s", sent, diff)
	}
}

func TestTheSenderIsTheStationWhenItsRecordIsComplete(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	ids := addApproved(t, db, testVault(t), 2, time.Now())
	execSQL(t, db, `ALTER TABLE deliveries DISABLE TRIGGER i1_facts_are_fixed`)
	execSQL(t, db, `UPDATE deliveries SET station_code = '110105002' WHERE id = $1`, ids[1])
	ems := newFakeCarrier()
	if err := newOrderer(t, db, ems, orderOptions()).OrderRound(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, o := range ems.orders() {
		got[o.Sender.Name.Reveal()+" "+o.Sender.County+" "+o.Sender.Address.Reveal()]++
		if o.Recipient.Name.Reveal() != "张三丰" || o.Recipient.County != "朝阳区" || o.WeightG != 50 || o.Contents == "" {
			t.Errorf("order of the wrong content: weight %d, contents %q, county %s", o.WeightG, o.Contents, o.Recipient.County)
		}
	}
	if diff := cmp.Diff(map[string]int{"示例派出所户籍窗口 朝阳区 示例路9号": 1, "默认寄件人 东城区 示例大街1号": 1}, got); diff != "" {
		t.Error(diff)
	}
}

func TestARecipientThatDoesNotOpenIsACaseAndStopsNobodyElse(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	ids := addApproved(t, db, testVault(t), 5, time.Now())
	execSQL(t, db, `UPDATE deliveries SET phone_sealed = name_sealed WHERE id = $1`, ids[2])
	ems := newFakeCarrier()
	if err := newOrderer(t, db, ems, orderOptions()).OrderRound(t.Context()); err != nil {
		t.Fatal(err)
	}
	for id, d := range orderStates(t, db) {
		want, cases := courier.Ordered, ""
		if id == ids[2] {
			want, cases = courier.Approved, "order_refused"
		}
		if d.Status != want || d.Cases != cases {
			t.Errorf("delivery %s: %s with cases %q, want %s with %q", id, d.Status, d.Cases, want, cases)
		}
	}
}

func TestAClerkIsCalledAfterTheConfiguredRounds(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		label func(f *fakeCarrier, no string) ([]byte, error)
		wait  bool // EMS is still asked, beside the case
	}{
		{"EMS never has it", nil, false},
		{"EMS never answers", func(*fakeCarrier, string) ([]byte, error) {
			return nil, &courier.CarrierError{Kind: courier.Unknown, API: "010004", Message: "HTTP 502"}
		}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			db := dbtest.Open(t)
			addApproved(t, db, testVault(t), 1, time.Now())
			ems := newFakeCarrier()
			ems.create = func(*fakeCarrier, courier.Order) (courier.Confirmation, error) {
				return courier.Confirmation{}, carrierError(courier.Unknown, "lost")
			}
			ems.label = test.label
			opts := orderOptions()
			opts.Reconciles = 4
			o := newOrderer(t, db, ems, opts)
			if err := o.OrderRound(t.Context()); err != nil {
				t.Fatal(err)
			}
			for range 4 {
				execSQL(t, db, `UPDATE deliveries SET reconcile_at = $1 WHERE reconcile_at IS NOT NULL`, time.Now().Add(-time.Second))
				if err := o.ReconcileRound(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			d := onlyState(t, orderStates(t, db))
			if d.Status != courier.Ordering || d.Cases != "order_unknown" || d.Waiting != test.wait {
				t.Fatalf("after 4 rounds %+v, want ordering with order_unknown", d)
			}
			// When the order turns up after all, the case closes by itself.
			ems.mu.Lock()
			ems.label = nil
			ems.held[d.WaybillNo] = d.OrderNo
			ems.mu.Unlock()
			execSQL(t, db, `UPDATE deliveries SET reconcile_at = $1`, time.Now().Add(-time.Second))
			settleOrders(t, db, o)
			if d := onlyState(t, orderStates(t, db)); d.Status != courier.Ordered || d.Cases != "" || !strings.HasSuffix(d.Events, "case.closed") {
				t.Errorf("found after all: %+v", d)
			}
		})
	}
}

// A repeated order tells EMS what the first one told, whatever is configured by then; another order has another password.
func TestThePasswordIsDrawnWithTheIntentAndRepeated(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	v := testVault(t)
	ids := addApproved(t, db, v, 2, time.Now())
	for _, id := range ids {
		execSQL(t, db, `UPDATE deliveries SET id_no_sealed = $2 WHERE id = $1`, id, v.Seal(vault.ColumnIDNo, id, "11010519491231002X"))
	}
	ems := newFakeCarrier()
	ems.create = func(*fakeCarrier, courier.Order) (courier.Confirmation, error) {
		return courier.Confirmation{}, &courier.CarrierError{Kind: courier.Unknown, API: "020003"}
	}
	opts := orderOptions()
	opts.Password, opts.RecipientID = true, true
	opts.Hook = func(point string) {
		if point != courier.PointOrderIntentCommitted {
			return
		}
		var n int
		if err := db.Get(&n, `SELECT count(*) FROM deliveries WHERE status = 'ordering' AND id_checked AND length(password_sealed) > 6`); err != nil || n != 2 {
			t.Errorf("%d passwords are committed with the intent, %v; want 2", n, err)
		}
	}
	if err := newOrderer(t, db, ems, opts).OrderRound(t.Context()); err != nil {
		t.Fatal(err)
	}
	ems.create = nil
	ems.label = func(*fakeCarrier, string) ([]byte, error) { return nil, courier.ErrNoOrder }
	for range 4 { // not held is believed the second time
		execSQL(t, db, `UPDATE deliveries SET reconcile_at = '2000-01-01' WHERE status = 'ordering'`)
		if err := newOrderer(t, db, ems, orderOptions()).ReconcileRound(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	told := map[string][]string{}
	for _, o := range ems.orders() {
		if id := o.RecipientID.Reveal(); id != "11010519491231002X" {
			t.Errorf("an order tells the ID %q", id)
		}
		told[o.OrderNo] = append(told[o.OrderNo], o.Password.Reveal())
	}
	var first []string
	for no, passwords := range told {
		if len(passwords) < 2 || len(slices.Compact(passwords)) != 1 || len(passwords[0]) != 6 {
			t.Errorf("order %s was sent with the passwords %q", no, passwords)
		}
		first = append(first, passwords[0])
	}
	if len(first) != 2 {
		t.Errorf("%d orders, want 2", len(first))
	}
}
