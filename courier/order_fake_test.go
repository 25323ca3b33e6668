package courier_test

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"emsd/courier"
)

// A fakeCarrier is an EMS in memory that answers as each test tells it to.
type fakeCarrier struct {
	mu       sync.Mutex
	held     map[string]string // waybill → order number
	creates  []courier.Order
	cancels  []string
	reserves []int
	serial   int

	// create answers 020003; unset: EMS makes what was ordered.
	create func(f *fakeCarrier, o courier.Order) (courier.Confirmation, error)
	cancel func(f *fakeCarrier, orderNo, waybillNo string) error
	label  func(f *fakeCarrier, waybillNo string) ([]byte, error)
	give   func(f *fakeCarrier, count int) ([]string, error)
}

func newFakeCarrier() *fakeCarrier { return &fakeCarrier{held: map[string]string{}} }

func (f *fakeCarrier) ReserveNumbers(_ context.Context, count int) ([]string, error) {
	f.mu.Lock()
	f.reserves = append(f.reserves, count)
	give := f.give
	f.mu.Unlock()
	if give != nil {
		return give(f, count)
	}
	return f.numbers(count), nil
}

func (f *fakeCarrier) numbers(count int) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := make([]string, count)
	for i := range list {
		f.serial++
		list[i] = fmt.Sprintf("12%08d017", f.serial)
	}
	return list
}

func (f *fakeCarrier) CreateWaybill(_ context.Context, o courier.Order) (courier.Confirmation, error) {
	f.mu.Lock()
	f.creates = append(f.creates, o)
	create := f.create
	f.mu.Unlock()
	if create != nil {
		return create(f, o)
	}
	return f.make(o), nil
}

// make is what EMS does with an order that it takes.
func (f *fakeCarrier) make(o courier.Order) courier.Confirmation {
	no := o.WaybillNo
	if no == "" {
		no = f.numbers(1)[0]
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held[no] = o.OrderNo
	return courier.Confirmation{OrderNo: o.OrderNo, WaybillNo: no, SerialNo: "serial"}
}

func (f *fakeCarrier) CancelWaybill(_ context.Context, orderNo, waybillNo, _ string) error {
	f.mu.Lock()
	f.cancels = append(f.cancels, waybillNo)
	cancel := f.cancel
	f.mu.Unlock()
	if cancel != nil {
		return cancel(f, orderNo, waybillNo)
	}
	return f.drop(waybillNo)
}

// drop is what EMS does with a cancellation that it takes.
func (f *fakeCarrier) drop(waybillNo string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.held[waybillNo] == "" {
		return &courier.CarrierError{Kind: courier.RefusedByCarrier, API: "020006", RetCode: "B00001", Message: "订单不存在"}
	}
	delete(f.held, waybillNo)
	return nil
}

func (f *fakeCarrier) Label(_ context.Context, waybillNo string) ([]byte, error) {
	f.mu.Lock()
	label := f.label
	f.mu.Unlock()
	if label != nil {
		return label(f, waybillNo)
	}
	if !f.holds(waybillNo) {
		return nil, courier.ErrNoOrder
	}
	return []byte("%PDF-1.4 " + waybillNo), nil
}

func (f *fakeCarrier) holds(waybillNo string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.held[waybillNo] != ""
}

func (f *fakeCarrier) waybills() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []string
	for no := range f.held {
		list = append(list, no)
	}
	slices.Sort(list)
	return list
}

func (f *fakeCarrier) orders() []courier.Order {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.creates)
}

func carrierError(kind courier.Kind, text string) error {
	e := &courier.CarrierError{Kind: kind, API: "020003", Message: text}
	if kind == courier.RefusedByCarrier {
		e.RetCode = "B00001"
	}
	return e
}
