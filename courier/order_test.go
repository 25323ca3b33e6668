package courier_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"emsd/courier"
	"emsd/courier/ems"
	"emsd/courier/emssim"
	"emsd/courier/vault"
	"emsd/migrations/dbtest"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// orderOptions are quick enough for tests; no call outlives its lease.
func orderOptions() courier.OrderOptions {
	return courier.OrderOptions{
		LowWater: 20, RefillTo: 100, Chunk: 7, Lanes: 3, Concurrency: 8,
		Lease: 1500 * time.Millisecond, Reconciles: 40,
		ReconcileAfter: 10 * time.Millisecond, ReconcileMax: 100 * time.Millisecond,
		RetryAfter: 10 * time.Millisecond, RetryMax: 100 * time.Millisecond,
		Sender: courier.Party{Name: vault.Conceal("默认寄件人"), Phone: vault.Conceal("01060000000"), Province: "北京市", City: "北京市", County: "东城区", Address: vault.Conceal("示例大街1号")},
	}
}

var testClock = courier.Clock{Now: func() time.Time { return noon }, Wall: time.Now}

func newOrderer(t testing.TB, db *sqlx.DB, c courier.Carrier, opts courier.OrderOptions) *courier.Orderer {
	t.Helper()
	return courier.NewOrderer(db, testVault(t), c, testClock, opts, slog.New(slog.DiscardHandler), nil)
}

// emsClient is the real client, impatient.
func emsClient(t testing.TB, url string) *ems.Client {
	t.Helper()
	c, err := ems.New(ems.Config{
		URL: url + emssim.PathOpen, SenderNo: emssim.SampleSenderNo, Authorization: emssim.SampleAuthorization, Secret: emssim.SampleSecret,
		Rate: 100_000, Concurrency: 16, Timeout: 400 * time.Millisecond, Retries: -1, BreakerPause: 20 * time.Millisecond,
	}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func serveEMS(t testing.TB, cfg emssim.Config) (*emssim.Carrier, string) {
	t.Helper()
	sim := emssim.New(cfg)
	srv := httptest.NewServer(sim)
	t.Cleanup(srv.Close)
	return sim, srv.URL
}

// settleOrders runs every round until nothing is left to do. Errors of single rounds are what faults make of them.
func settleOrders(t testing.TB, db *sqlx.DB, orderers ...*courier.Orderer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		var wg sync.WaitGroup
		for _, o := range orderers {
			wg.Go(func() { last = allRounds(ctx, o) })
			wg.Wait()
		}
		n, err := orderWork(db)
		if err == nil && n == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%d items are still to be done (%v); the last rounds said: %v\n%+v", n, err, last, orderStates(t, db))
		}
	}
}

func allRounds(ctx context.Context, o *courier.Orderer) error {
	return errors.Join(o.NumberRound(ctx), o.OrderRound(ctx), o.ReconcileRound(ctx), o.CancelRound(ctx), o.LabelRound(ctx))
}

// checkPaidOnce fails unless EMS would charge exactly once for each delivery, under the waybill number we know (I-3), and
// not at all for a cancelled one.
func checkPaidOnce(t testing.TB, db *sqlx.DB, sim *emssim.Carrier) {
	t.Helper()
	ledger := sim.Ledger()
	live := map[string][]string{}
	for _, o := range ledger.Orders {
		if !o.Cancelled {
			live[o.OrderNo] = append(live[o.OrderNo], o.WaybillNo)
		}
	}
	for _, d := range orderStates(t, db) {
		got := fmt.Sprint(live[d.OrderNo])
		delete(live, d.OrderNo)
		switch d.Status {
		case courier.Ordered:
			if want := fmt.Sprint([]string{d.WaybillNo}); got != want {
				t.Errorf("delivery %s: EMS holds %s, want %s", d.ID, got, want)
			}
			if !d.Label || !d.Tracked {
				t.Errorf("delivery %s is ordered; label %v, tracked %v", d.ID, d.Label, d.Tracked)
			}
		case courier.Cancelled:
			if got != "[]" {
				t.Errorf("delivery %s is cancelled; EMS holds %s", d.ID, got)
			}
			if d.RefundDue != d.Paid {
				t.Errorf("delivery %s is cancelled; refund due %d of %d", d.ID, d.RefundDue, d.Paid)
			}
		default:
			t.Errorf("delivery %s stands at %s with cases %q; EMS holds %s", d.ID, d.Status, d.Cases, got)
		}
	}
	if len(live) > 0 {
		t.Errorf("EMS holds orders of no delivery: %v", live)
	}
	checkEventLog(t, db)
	checkIntents(t, db, ledger.Calls["020003"], ledger.Calls["020006"])
}

func TestApprovedDeliveriesBecomePaidWaybills(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	sim, url := serveEMS(t, emssim.Config{})
	ids := addApproved(t, db, testVault(t), 50, time.Now())
	o := newOrderer(t, db, emsClient(t, url), orderOptions())
	if err := o.OrderRound(t.Context()); err != nil {
		t.Fatal(err)
	}
	for id, d := range orderStates(t, db) {
		if want := "delivery.approved delivery.ordering delivery.ordered"; d.Events != want || d.Attempts != 1 {
			t.Errorf("delivery %s: events %q after %d attempts, want %q after 1", id, d.Events, d.Attempts, want)
		}
		if want := "RP" + strings.ReplaceAll(id.String(), "-", ""); d.OrderNo != want {
			t.Errorf("order number %s, want %s", d.OrderNo, want)
		}
	}
	if err := o.LabelRound(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkPaidOnce(t, db, sim)
	modes := map[string]int{}
	for _, x := range sim.Ledger().Orders {
		modes[x.PaymentMode]++
	}
	if modes["1"] != 34 || modes["2"] != 16 {
		t.Errorf("payment modes %v, want 34 paid by the sender and 16 by the recipient", modes)
	}
	pdf, err := o.LabelOf(t.Context(), ids[0])
	if err != nil || !strings.HasPrefix(string(pdf), "%PDF") {
		t.Errorf("LabelOf = %.8q, %v, want a PDF", pdf, err)
	}
	if _, err := o.LabelOf(t.Context(), uuid.New()); !errors.Is(err, courier.ErrNotFound) {
		t.Errorf("LabelOf(nobody) = %v, want ErrNotFound", err)
	}
	if b, err := o.Backlog(t.Context()); err != nil || b.Order != (time.Time{}) || b.Label != (time.Time{}) || b.FreeNumbers == 0 {
		t.Errorf("Backlog = %+v, %v, want nothing due and some numbers", b, err)
	}
	if n := one[int](t, db, `SELECT count(*) FROM order_attempts WHERE outcome = 'confirmed' AND finished_at IS NOT NULL AND serial_no <> ''`); n != 50 {
		t.Errorf("%d attempts are recorded as confirmed with their serial number, want 50", n)
	}
}

func TestI2_UnpaidIsNeverOrdered(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	sim, url := serveEMS(t, emssim.Config{})
	ids := addApproved(t, db, testVault(t), 2, time.Now())
	execSQL(t, db, `UPDATE deliveries SET status = 'awaiting_payment', paid_fen = 1999 WHERE id = $1`, ids[0])
	if _, err := db.Exec(`UPDATE deliveries SET paid_fen = 1999 WHERE id = $1`, ids[1]); err == nil || !strings.Contains(err.Error(), "i2_paid_before_order") {
		t.Errorf("taking money from an approved delivery = %v, want i2_paid_before_order", err)
	}
	if err := newOrderer(t, db, emsClient(t, url), orderOptions()).OrderRound(t.Context()); err != nil {
		t.Fatal(err)
	}
	states := orderStates(t, db)
	if got := states[ids[0]]; got.Status != courier.AwaitingPayment || got.WaybillNo != "" || got.Attempts != 0 {
		t.Errorf("the unpaid delivery = %+v, want it untouched", got)
	}
	if n := sim.Ledger().Calls["020003"]; n != 1 {
		t.Errorf("EMS was asked for %d orders, want 1", n)
	}
}

// faultKinds are the ways in which EMS misbehaves, each with the interfaces it applies to.
var faultKinds = map[string]emssim.Fault{
	"lose_reply":        {Kind: emssim.LoseReply, Rate: 0.25},
	"lose_request":      {Kind: emssim.LoseRequest, Rate: 0.25},
	"http_502":          {Kind: emssim.HTTP502, Rate: 0.25},
	"http_502_done":     {Kind: emssim.HTTP502, Rate: 0.25, Carried: true},
	"html":              {Kind: emssim.HTML, Rate: 0.25},
	"error_200":         {Kind: emssim.Error200, Rate: 0.25},
	"empty":             {Kind: emssim.Empty, Rate: 0.25},
	"truncate":          {Kind: emssim.Truncate, Rate: 0.25},
	"redirect":          {Kind: emssim.Redirect307, Rate: 0.25},
	"slow":              {Kind: emssim.Slow, Rate: 0.2, Delay: 600 * time.Millisecond},
	"drip":              {Kind: emssim.Drip, Rate: 0.2, Delay: 2 * time.Second},
	"hang":              {Kind: emssim.Hang, Rate: 0.2},
	"wrong_echo":        {API: "020003", Kind: emssim.WrongEcho, Rate: 0.3},
	"other_waybill":     {API: "020003", Kind: emssim.OtherWaybill, Rate: 0.3},
	"duplicate_waybill": {API: "020003", Kind: emssim.DuplicateWaybill, Rate: 0.3},
}

var repeatBehaviours = []emssim.RepeatBehaviour{emssim.RepeatSame, emssim.RepeatNew, emssim.RepeatRefuse}

func TestI3_OnePaidWaybillWhateverEMSDoes(t *testing.T) {
	t.Parallel()
	for name, fault := range faultKinds {
		for _, repeat := range repeatBehaviours {
			t.Run(name+"/"+string(repeat), func(t *testing.T) {
				t.Parallel()
				db := dbtest.Open(t)
				sim, url := serveEMS(t, emssim.Config{Repeat: repeat, Seed: 7})
				addApproved(t, db, testVault(t), 30, time.Now())
				sim.SetFault(fault)
				settleOrders(t, db, newOrderer(t, db, emsClient(t, url), orderOptions()))
				checkPaidOnce(t, db, sim)
				for id, d := range orderStates(t, db) {
					if d.Cases != "" {
						t.Errorf("delivery %s went through and has open cases %q", id, d.Cases)
					}
				}
			})
		}
	}
}

func TestI3_LateLabelsMakeNoSecondWaybill(t *testing.T) {
	t.Parallel()
	for _, repeat := range repeatBehaviours {
		t.Run(string(repeat), func(t *testing.T) {
			t.Parallel()
			db := dbtest.Open(t)
			sim, url := serveEMS(t, emssim.Config{Repeat: repeat, LabelDelay: 300 * time.Millisecond})
			addApproved(t, db, testVault(t), 10, time.Now())
			sim.SetFault(emssim.Fault{API: "020003", Kind: emssim.LoseReply, Count: 5})
			opts := orderOptions()
			settleOrders(t, db, newOrderer(t, db, emsClient(t, url), opts))
			states := orderStates(t, db)
			for id, d := range states {
				// EMS refuses a repeated order number while it shows no label: nobody can tell that from a real refusal.
				if repeat == emssim.RepeatRefuse && d.Status == courier.Ordering && d.Cases == "order_refused" {
					execSQL(t, db, `UPDATE deliveries SET reconcile_at = $2, reconciles = 0 WHERE id = $1`, id, time.Now())
				}
			}
			settleOrders(t, db, newOrderer(t, db, emsClient(t, url), opts))
			checkPaidOnce(t, db, sim)
		})
	}
}

// Whoever just writes about a delivery (a message, a case) has a share lock on its key. A paid permit is ordered meanwhile,
// at once: neither passed over until the next tick nor kept waiting.
func TestAnOrderIsNotHeldUpByAMessageBeingPlanned(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	sim, url := serveEMS(t, emssim.Config{})
	addApproved(t, db, testVault(t), 5, time.Now())
	o := newOrderer(t, db, emsClient(t, url), orderOptions())
	tx, err := db.Beginx()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	_, err = tx.Exec(`
		INSERT INTO messages (id, delivery_id, milestone, position, event_at, vars, state, verdict, reason, not_before, created_at, updated_at)
		SELECT gen_random_uuid(), id, 'payment_due', 1, $1, '{}', 'queued', 'send', '', $1, $1, $1 FROM deliveries`, noon)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := errors.Join(o.OrderRound(ctx), o.LabelRound(ctx)); err != nil {
		t.Fatal(err)
	}
	checkPaidOnce(t, db, sim)
}

func TestI3_TwoDaemonsOrderOnce(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	sim, url := serveEMS(t, emssim.Config{Repeat: emssim.RepeatNew})
	addApproved(t, db, testVault(t), 200, time.Now())
	sim.SetFault(emssim.Fault{Kind: emssim.LoseReply, Rate: 0.1})
	sim.SetFault(emssim.Fault{Kind: emssim.LoseRequest, Rate: 0.1})
	a, b := newOrderer(t, db, emsClient(t, url), orderOptions()), newOrderer(t, db, emsClient(t, url), orderOptions())
	var wg sync.WaitGroup
	for _, o := range []*courier.Orderer{a, b} {
		wg.Go(func() { settleOrders(t, db, o) })
	}
	wg.Wait()
	checkPaidOnce(t, db, sim)
}

func TestPostgreSQLRestartedUnderLoad(t *testing.T) {
	t.Parallel()
	pg, dsn := dbtest.Private(t, nil)
	db := sqlx.MustConnect("postgres", dsn)
	t.Cleanup(func() { db.Close() })
	sim, url := serveEMS(t, emssim.Config{Repeat: emssim.RepeatNew, Latency: 5 * time.Millisecond})
	addApproved(t, db, testVault(t), 400, time.Now())
	o := newOrderer(t, db, emsClient(t, url), orderOptions())
	done := make(chan struct{})
	restarts := make(chan error, 1)
	go func() {
		defer close(restarts)
		for range 3 {
			if err := pg.Restart(t.Context()); err != nil {
				restarts <- err
				return
			}
			select {
			case <-done:
			case <-time.After(150 * time.Millisecond):
			}
		}
	}()
	failed := 0
	for restarting := true; restarting; {
		if err := allRounds(t.Context(), o); err != nil {
			failed++
		}
		select {
		case err := <-restarts:
			if err != nil {
				t.Error(err)
			}
			restarting = false
		case <-time.After(5 * time.Millisecond):
		}
	}
	close(done)
	if failed == 0 {
		t.Error("no round noticed that the database went away: the test shows nothing")
	}
	settleOrders(t, db, o)
	checkPaidOnce(t, db, sim)
}
