package courier_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"emsd/courier"
	"emsd/courier/emssim"
	"emsd/courier/vault"
	"emsd/migrations/dbtest"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// elsewhere is an address in the city, far one in a dearer zone.
func elsewhere(county string) courier.Recipient {
	return courier.Recipient{Province: "北京市", City: "北京市", County: county, Address: vault.Conceal("新示例街9号院1号楼101")}
}

// addReaddressable is addApproved with what a change of address reads besides: tariffs and whole recipients.
func addReaddressable(t testing.TB, db *sqlx.DB, n int) []uuid.UUID {
	t.Helper()
	ids := addApproved(t, db, testVault(t), n, time.Now())
	for _, id := range ids {
		execSQL(t, db, `UPDATE deliveries SET id_no_sealed = $2 WHERE id = $1`, id, testVault(t).Seal(vault.ColumnIDNo, id, "11010519491231002X"))
	}
	execSQL(t, db, `
		INSERT INTO tariffs (zone, provinces, valid_from, first_weight_g, first_fen, step_weight_g, step_fen)
		VALUES ('near', '{北京市}', '2026-01-01', 500, 2000, 500, 500), ('far', '{新疆维吾尔自治区}', '2026-01-01', 500, 3000, 500, 900)
		ON CONFLICT DO NOTHING`)
	return ids
}

func newService(t testing.TB, db *sqlx.DB) *courier.Service {
	t.Helper()
	return courier.New(db, testVault(t), testClock, courier.Options{WeightG: 50})
}

// checkReaddressed fails unless each delivery is ordered to its new address under other numbers than before.
func checkReaddressed(t testing.TB, db *sqlx.DB, before map[uuid.UUID]orderState, ids []uuid.UUID, county string) {
	t.Helper()
	after := orderStates(t, db)
	for _, id := range ids {
		was, is := before[id], after[id]
		if is.Status != courier.Ordered || is.WaybillNo == was.WaybillNo || is.OrderNo == was.OrderNo || is.Cancel || is.CancelDue {
			t.Errorf("delivery %s was %+v, is %+v", id, was, is)
		}
		if got := one[string](t, db, `SELECT county || ' ' || (SELECT state FROM numbers n WHERE n.waybill_no = $2) || ' ' || (SELECT outcome FROM readdressings r WHERE r.delivery_id = d.id)
			FROM deliveries d WHERE id = $1`, id, was.WaybillNo); got != county+" void ordered_anew" {
			t.Errorf("delivery %s: county, old number, outcome: %s", id, got)
		}
		sealed := one[[]byte](t, db, `SELECT pdf_sealed FROM labels WHERE delivery_id = $1`, id)
		if pdf, err := testVault(t).UnsealBytes("labels.pdf", id, sealed); err != nil || len(pdf) == 0 {
			t.Errorf("delivery %s: label: %v", id, err)
		}
	}
	if n := one[int](t, db, `SELECT count(*) FROM waybills w JOIN deliveries d ON d.id = w.delivery_id WHERE w.waybill_no <> d.waybill_no`); n != 0 {
		t.Errorf("%d old waybills are tracked for readdressed deliveries", n)
	}
	checkEventLog(t, db)
}

// What is lost, refused or hung on the way of a corrected address, and by whichever call: one waybill stands in the end.
func TestI3_AReaddressedDeliveryHasOneWaybillWhateverEMSDoes(t *testing.T) {
	t.Parallel()
	for _, api := range []string{"020006", "020003"} {
		for _, kind := range []emssim.FaultKind{emssim.LoseReply, emssim.LoseRequest, emssim.HTTP502, emssim.Hang, emssim.Error200, emssim.Empty} {
			for i, repeat := range repeatBehaviours {
				t.Run(fmt.Sprintf("%s/%s/%s", api, kind, repeat), func(t *testing.T) {
					t.Parallel()
					db := dbtest.Open(t)
					sim, url := serveEMS(t, emssim.Config{Repeat: repeat, Seed: uint64(i), Hang: time.Second, RefuseCancelTwice: i == 1})
					ids := addReaddressable(t, db, 6)
					o := newOrderer(t, db, emsClient(t, url), orderOptions())
					settleOrders(t, db, o)
					before := orderStates(t, db)
					sim.SetFault(emssim.Fault{API: api, Kind: kind, Count: 5})
					for _, id := range ids[:4] {
						if _, err := newService(t, db).ChangeAddress(t.Context(), id, elsewhere("海淀区"), "写错地址", "clerk"); err != nil {
							t.Fatal(err)
						}
					}
					settleOrders(t, db, o)
					checkPaidOnce(t, db, sim)
					checkReaddressed(t, db, before, ids[:4], "海淀区")
					for _, id := range ids[4:] {
						if is := orderStates(t, db)[id]; is.WaybillNo != before[id].WaybillNo {
							t.Errorf("delivery %s was not readdressed and became %+v", id, is)
						}
					}
				})
			}
		}
	}
}

// A label that was asked for under the old waybill never becomes that of the new one: the envelope would go to the old address.
func TestALabelThatComesLateIsNotThatOfTheNewWaybill(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	ids := addReaddressable(t, db, 1)
	ems := newFakeCarrier()
	o := newOrderer(t, db, ems, orderOptions())
	if err := errors.Join(o.NumberRound(t.Context()), o.OrderRound(t.Context())); err != nil {
		t.Fatal(err)
	}
	before := orderStates(t, db)
	old := before[ids[0]].WaybillNo
	var once sync.Once
	ems.label = func(_ *fakeCarrier, no string) ([]byte, error) {
		once.Do(func() {
			if _, err := newService(t, db).ChangeAddress(t.Context(), ids[0], elsewhere("海淀区"), "写错地址", "clerk"); err != nil {
				t.Error(err)
			}
			if err := errors.Join(o.CancelRound(t.Context()), o.OrderRound(t.Context())); err != nil {
				t.Error(err)
			}
		})
		return []byte("%PDF-1.4 " + no), nil
	}
	if _, err := o.LabelOf(t.Context(), ids[0]); err != nil {
		t.Fatal(err)
	}
	settleOrders(t, db, o)
	checkReaddressed(t, db, before, ids, "海淀区")
	pdf, err := o.LabelOf(t.Context(), ids[0])
	if err != nil || strings.Contains(string(pdf), old) || !strings.Contains(string(pdf), orderStates(t, db)[ids[0]].WaybillNo) {
		t.Errorf("the label says %s (%v), and the old waybill was %s", pdf, err, old)
	}
}

// The same address costs no waybill, before, while and after it is changed; another one counts until EMS has been asked.
func TestTheSameAddressAgainChangesNothing(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	id := addReaddressable(t, db, 1)[0]
	ems, svc := newFakeCarrier(), newService(t, db)
	o := newOrderer(t, db, ems, orderOptions())
	settleOrders(t, db, o)
	before := orderStates(t, db)
	change := func(to courier.Recipient) string {
		t.Helper()
		_, err := svc.ChangeAddress(t.Context(), id, to, "写错地址", "clerk")
		if c, ok := errors.AsType[*courier.Conflict](err); ok {
			return c.Code
		}
		if err != nil {
			t.Fatal(err)
		}
		return ""
	}
	v, err := svc.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if got := change(v.Recipient); got != "" || len(ems.cancels) != 0 || orderStates(t, db)[id].Cancel {
		t.Fatalf("the address it has: %q, %+v", got, orderStates(t, db)[id])
	}
	for _, county := range []string{"丰台区", "丰台区", "海淀区"} { // nothing has been sent yet: the last one counts
		if got := change(elsewhere(county)); got != "" {
			t.Errorf("%s: %s", county, got)
		}
	}
	lose := atomic.Bool{}
	lose.Store(true)
	ems.cancel = func(f *fakeCarrier, _, no string) error {
		if lose.Load() {
			return &courier.CarrierError{Kind: courier.Unknown, API: "020006"}
		}
		return f.drop(no)
	}
	if err := o.CancelRound(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := change(elsewhere("丰台区")); got != "address_change_pending" {
		t.Errorf("another address after EMS was asked: %q", got)
	}
	lose.Store(false)
	settleOrders(t, db, o)
	checkReaddressed(t, db, before, []uuid.UUID{id}, "海淀区")
	now := orderStates(t, db)[id]
	if got := change(elsewhere("海淀区")); got != "" {
		t.Errorf("after it was done: %q", got)
	}
	settleOrders(t, db, o)
	if is := orderStates(t, db)[id]; is.WaybillNo != now.WaybillNo {
		t.Errorf("the same address again cost the waybill %s", now.WaybillNo)
	}
	// A second correction is one more order under a third number.
	if got := change(elsewhere("丰台区")); got != "" {
		t.Errorf("second correction: %q", got)
	}
	settleOrders(t, db, o)
	checkReaddressed(t, db, map[uuid.UUID]orderState{id: now}, []uuid.UUID{id}, "丰台区")
	if n := len(ems.waybills()); n != 1 {
		t.Errorf("EMS holds %d waybills", n)
	}
}

// A cancellation that is asked for while the address is being changed wins, whenever it comes.
func TestACancellationWinsOverAChangeOfAddress(t *testing.T) {
	t.Parallel()
	for _, when := range []string{"before EMS is asked", "while EMS is asked", "after EMS has agreed"} {
		t.Run(when, func(t *testing.T) {
			t.Parallel()
			db := dbtest.Open(t)
			id := addReaddressable(t, db, 1)[0]
			ems, svc := newFakeCarrier(), newService(t, db)
			o := newOrderer(t, db, ems, orderOptions())
			settleOrders(t, db, o)
			cancel := func() {
				if _, err := svc.Cancel(t.Context(), id, "不寄了", "clerk"); err != nil {
					t.Error(err)
				}
			}
			if _, err := svc.ChangeAddress(t.Context(), id, elsewhere("海淀区"), "写错地址", "clerk"); err != nil {
				t.Fatal(err)
			}
			switch when {
			case "before EMS is asked":
				cancel()
			case "while EMS is asked":
				ems.cancel = func(f *fakeCarrier, _, no string) error { cancel(); return f.drop(no) }
			case "after EMS has agreed":
				if err := o.CancelRound(t.Context()); err != nil {
					t.Fatal(err)
				}
				cancel()
			}
			settleOrders(t, db, o)
			d := onlyState(t, orderStates(t, db))
			if d.Status != courier.Cancelled || len(ems.waybills()) != 0 || d.RefundDue != d.Paid || len(ems.orders()) != 1 {
				t.Errorf("%+v; EMS holds %v after %d orders", d, ems.waybills(), len(ems.orders()))
			}
			if n := one[int](t, db, `SELECT count(*) FROM readdressings WHERE ended_at IS NULL`); n != 0 {
				t.Error("the change of address is still open")
			}
			checkEventLog(t, db)
		})
	}
}

// Where EMS has the envelope the address stays, the change ends as what it came to, and a clerk is told.
func TestAReaddressingThatComesTooLate(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		moveBefore, moveDuring bool
		refuse                 bool
		outcome                string
		waybillStands          bool
	}{
		"scanned before EMS is asked":   {moveBefore: true, outcome: "overtaken", waybillStands: true},
		"EMS refuses":                   {refuse: true, outcome: "refused", waybillStands: true},
		"scanned while EMS cancels":     {moveDuring: true, outcome: "overtaken"},
		"scanned while EMS is refusing": {moveDuring: true, refuse: true, outcome: "refused", waybillStands: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := dbtest.Open(t)
			id := addReaddressable(t, db, 1)[0]
			ems := newFakeCarrier()
			o := newOrderer(t, db, ems, orderOptions())
			settleOrders(t, db, o)
			was := onlyState(t, orderStates(t, db))
			if _, err := newService(t, db).ChangeAddress(t.Context(), id, elsewhere("海淀区"), "写错地址", "clerk"); err != nil {
				t.Fatal(err)
			}
			move := func() { execSQL(t, db, `UPDATE deliveries SET status = 'in_transit' WHERE id = $1`, id) }
			if tt.moveBefore {
				move()
			}
			ems.cancel = func(f *fakeCarrier, _, no string) error {
				if tt.moveDuring {
					move()
				}
				if tt.refuse {
					return &courier.CarrierError{Kind: courier.RefusedByCarrier, API: "020006", RetCode: "B00001", Message: "邮件已收寄"}
				}
				return f.drop(no)
			}
			settleOrders(t, db, o)
			d := onlyState(t, orderStates(t, db))
			if d.WaybillNo != was.WaybillNo || d.OrderNo != was.OrderNo || d.CancelDue || !d.Tracked || len(ems.orders()) != 1 {
				t.Errorf("was %+v, is %+v", was, d)
			}
			if d.Cases != "address" {
				t.Errorf("cases %q, want address", d.Cases)
			}
			if got := one[string](t, db, `SELECT r.outcome || ' ' || d.county FROM readdressings r JOIN deliveries d ON d.id = r.delivery_id`); got != tt.outcome+" 朝阳区" {
				t.Errorf("outcome and county %s, want %s and the old one", got, tt.outcome)
			}
			if stands := len(ems.waybills()) == 1; stands != tt.waybillStands {
				t.Errorf("EMS holds %v", ems.waybills())
			}
			checkEventLog(t, db)
		})
	}
}

// The fee follows the new address, and nothing is ordered until the rest is paid.
func TestI2_ADearerAddressWaitsWithoutAWaybill(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	id := addReaddressable(t, db, 1)[0]
	ems := newFakeCarrier()
	o := newOrderer(t, db, ems, orderOptions())
	settleOrders(t, db, o)
	far := courier.Recipient{Province: "新疆维吾尔自治区", City: "乌鲁木齐市", County: "天山区", Address: vault.Conceal("新示例街9号院1号楼101")}
	if _, err := newService(t, db).ChangeAddress(t.Context(), id, far, "回乡", "clerk"); err != nil {
		t.Fatal(err)
	}
	settleOrders(t, db, o)
	d := onlyState(t, orderStates(t, db))
	if d.Status != courier.AwaitingPayment || d.WaybillNo != "" || len(ems.waybills()) != 0 || len(ems.orders()) != 1 || d.Tracked || d.Label {
		t.Errorf("%+v; EMS holds %v", d, ems.waybills())
	}
	checkEventLog(t, db)
}

// Clerks who ask and cancel beside the round get no error from it, nor it from them.
func TestReaddressingsBesideTheRoundDoNotBlockEachOther(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	ids := addReaddressable(t, db, 40)
	sim, url := serveEMS(t, emssim.Config{Seed: 5})
	opts := orderOptions()
	o := newOrderer(t, db, emsClient(t, url), opts)
	settleOrders(t, db, o)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := o.CancelRound(ctx); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
			}
		})
	}
	svc := newService(t, db)
	for n, county := range []string{"海淀区", "海淀区", "丰台区", "海淀区"} {
		for _, id := range ids {
			if _, err := svc.ChangeAddress(t.Context(), id, elsewhere(county), "写错地址", "clerk"); err != nil {
				if _, ok := errors.AsType[*courier.Conflict](err); !ok {
					t.Errorf("round %d: %v", n, err)
				}
			}
		}
		settleOrders(t, db, o)
	}
	cancel()
	wg.Wait()
	settleOrders(t, db, o)
	checkPaidOnce(t, db, sim)
	if n := one[int](t, db, `SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`); n != 0 {
		t.Errorf("%d deadlocks", n)
	}
	checkEventLog(t, db)
}
