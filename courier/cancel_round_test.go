package courier_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"emsd/courier"
	"emsd/migrations/dbtest"
)

func TestCancelRound(t *testing.T) {
	t.Parallel()
	refuse := func(*fakeCarrier, string, string) error {
		return &courier.CarrierError{Kind: courier.RefusedByCarrier, API: "020006", RetCode: "B00001", Message: "邮件已收寄"}
	}
	var lost atomic.Int64
	tests := []struct {
		name    string
		prepare string // SQL on the ordered delivery
		cancel  func(f *fakeCarrier, orderNo, waybillNo string) error
		want    courier.Status
		cases   string
		calls   int
		events  string // the last ones
	}{
		{name: "before hand-over", want: courier.Cancelled, calls: 1, events: "delivery.cancelled refund.due"},
		{name: "EMS refuses", cancel: refuse, want: courier.Ordered, cases: "order_refused", calls: 1, events: "delivery.ordered cancel.refused case.opened"},
		{name: "handed over meanwhile", prepare: `UPDATE deliveries SET status = 'in_transit'`, want: courier.InTransit, cases: "order_refused", events: "cancel.refused case.opened"},
		{name: "delivered meanwhile", prepare: `UPDATE deliveries SET status = 'delivered'`, want: courier.Delivered, events: "cancel.refused"},
		{name: "approved after all", prepare: `UPDATE deliveries SET status = 'approved', next_attempt_at = created_at`, want: courier.Cancelled, events: "delivery.cancelled refund.due"},
		{name: "refused order, EMS has it", prepare: `UPDATE deliveries SET status = 'ordering'`, want: courier.Cancelled, calls: 1, events: "delivery.ordered delivery.cancelled refund.due"},
		{name: "the first answer is lost, the second a refusal", want: courier.Cancelled, calls: 2, events: "delivery.cancelled refund.due",
			cancel: func(f *fakeCarrier, _, no string) error {
				if lost.Add(1) == 1 {
					_ = f.drop(no)
					return &courier.CarrierError{Kind: courier.Unknown, API: "020006", Message: "lost"}
				}
				return f.drop(no)
			}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			db := dbtest.Open(t)
			addApproved(t, db, testVault(t), 1, time.Now())
			ems := newFakeCarrier()
			o := newOrderer(t, db, ems, orderOptions())
			settleOrders(t, db, o)
			if test.prepare != "" {
				execSQL(t, db, test.prepare)
			}
			execSQL(t, db, `UPDATE deliveries SET cancel_requested_at = $1, cancel_attempt_at = $2`, noon, time.Now())
			ems.cancel = test.cancel
			settleOrders(t, db, o)
			d := onlyState(t, orderStates(t, db))
			if d.Status != test.want || d.Cases != test.cases || d.CancelDue {
				t.Errorf("status %s, cases %q, cancellation due %v; want %s, %q and not due", d.Status, d.Cases, d.CancelDue, test.want, test.cases)
			}
			if len(ems.cancels) != test.calls {
				t.Errorf("020006 was sent %d times, want %d", len(ems.cancels), test.calls)
			}
			if !strings.HasSuffix(d.Events, test.events) {
				t.Errorf("events %q, want them to end with %q", d.Events, test.events)
			}
			if cancelled := test.want == courier.Cancelled; cancelled != (d.RefundDue == d.Paid) || cancelled && d.Tracked || !cancelled && d.Cancel {
				t.Errorf("refund due %d of %d, tracked %v, cancellation asked for %v", d.RefundDue, d.Paid, d.Tracked, d.Cancel)
			}
			checkEventLog(t, db)
		})
	}
}

func TestACancellationWithoutAnswerGoesOnBesideItsCase(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	addApproved(t, db, testVault(t), 1, time.Now())
	ems := newFakeCarrier()
	opts := orderOptions()
	opts.Reconciles = 3
	o := newOrderer(t, db, ems, opts)
	settleOrders(t, db, o)
	ems.cancel = func(*fakeCarrier, string, string) error {
		return &courier.CarrierError{Kind: courier.Unknown, API: "020006", Message: "HTTP 502"}
	}
	due := func() {
		execSQL(t, db, `UPDATE deliveries SET cancel_requested_at = $1, cancel_attempt_at = $2`, noon, time.Now().Add(-time.Second))
		if err := o.CancelRound(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		due()
	}
	if d := onlyState(t, orderStates(t, db)); d.Status != courier.Ordered || d.Cases != "order_unknown" || !d.CancelDue {
		t.Fatalf("after three tries %+v", d)
	}
	ems.cancel = nil
	due()
	if d := onlyState(t, orderStates(t, db)); d.Status != courier.Cancelled || d.Cases != "" {
		t.Errorf("after the fourth %+v", d)
	}
}

func TestAnUnwantedWaybillThatEMSKeepsIsACase(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	addApproved(t, db, testVault(t), 1, time.Now())
	ems := newFakeCarrier()
	var n atomic.Int64
	ems.create = func(f *fakeCarrier, o courier.Order) (courier.Confirmation, error) {
		if n.Add(1) == 1 {
			o.WaybillNo = "1299999999900"
		}
		return f.make(o), nil
	}
	ems.cancel = func(*fakeCarrier, string, string) error {
		return &courier.CarrierError{Kind: courier.RefusedByCarrier, API: "020006", RetCode: "B00001", Message: "不能取消"}
	}
	opts := orderOptions()
	opts.Reconciles = 4
	settleOrders(t, db, newOrderer(t, db, ems, opts))
	d := onlyState(t, orderStates(t, db))
	if d.Status != courier.Ordering || d.Cases != "order_unknown" {
		t.Errorf("%s with cases %q, want ordering with order_unknown", d.Status, d.Cases)
	}
	// A second paid waybill beside one that cannot be cancelled would be the worst answer.
	if got := fmt.Sprint(ems.waybills()); got != "[1299999999900]" || len(ems.orders()) != 1 {
		t.Errorf("EMS holds %s after %d orders, want the unwanted one after one order", got, len(ems.orders()))
	}
}

func TestAnotherDeliverysWaybillIsNeverCancelled(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	ids := addApproved(t, db, testVault(t), 2, time.Now())
	ems := newFakeCarrier()
	opts := orderOptions()
	opts.Chunk, opts.Lanes = 1, 1
	execSQL(t, db, `UPDATE deliveries SET next_attempt_at = $2 WHERE id = $1`, ids[1], time.Now().Add(time.Hour))
	o := newOrderer(t, db, ems, opts)
	if err := o.OrderRound(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := orderStates(t, db)[ids[0]].WaybillNo
	var n atomic.Int64
	ems.create = func(f *fakeCarrier, o courier.Order) (courier.Confirmation, error) {
		if n.Add(1) == 1 {
			return courier.Confirmation{OrderNo: o.OrderNo, WaybillNo: first}, nil
		}
		return f.make(o), nil
	}
	execSQL(t, db, `UPDATE deliveries SET next_attempt_at = $2 WHERE id = $1`, ids[1], time.Now())
	settleOrders(t, db, o)
	if len(ems.cancels) != 0 {
		t.Errorf("020006 was sent for %v", ems.cancels)
	}
	if got := orderStates(t, db); got[ids[0]].Status != courier.Ordered || got[ids[1]].Status != courier.Ordered || len(ems.waybills()) != 2 {
		t.Errorf("%+v", got)
	}
}
