package courier_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"emsd/courier"
	"emsd/migrations/dbtest"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/prometheus/client_golang/prometheus"
)

// A listPress notes what it is given; its sheets are texts.
type listPress struct{ orders []courier.Order }

func (p *listPress) Labels(orders []courier.Order) ([]byte, error) {
	p.orders = orders
	return []byte(fmt.Sprint("own ", len(orders))), nil
}

func (p *listPress) Addresses(orders []courier.Order) ([]byte, error) {
	p.orders = orders
	return []byte(fmt.Sprint("address ", len(orders))), nil
}

func (p *listPress) Join(documents [][]byte) ([]byte, error) {
	return bytes.Join(documents, []byte("|")), nil
}

// printScene has n ordered envelopes, whose EMS labels say which waybill they are for.
func printScene(t *testing.T, n int) (*sqlx.DB, *courier.Orderer, []string) {
	t.Helper()
	db := dbtest.Open(t)
	v := testVault(t)
	ids := addApproved(t, db, v, n, noon)
	numbers := make([]string, n)
	for i, id := range ids {
		numbers[i] = fmt.Sprintf("12%08d017", i+1)
		execSQL(t, db, `UPDATE deliveries SET status = 'ordered', waybill_no = $2, order_no = 'RP' || $2, number_mode = 'reserved', next_attempt_at = NULL WHERE id = $1`, id, numbers[i])
		execSQL(t, db, `INSERT INTO labels (delivery_id, waybill_no, next_attempt_at) VALUES ($1, $2, $3)`, id, numbers[i], noon)
	}
	carrier := newFakeCarrier()
	carrier.label = func(_ *fakeCarrier, no string) ([]byte, error) { return []byte("%PDF " + no), nil }
	now := func() time.Time { return noon }
	clock := courier.Clock{Now: now, Wall: now}
	o := courier.NewOrderer(db, v, carrier, clock, courier.OrderOptions{}, slog.New(slog.DiscardHandler), courier.NewOrderMetrics(prometheus.NewRegistry()))
	return db, o, numbers
}

func TestEveryPrintedSheetIsCountedAndAttributed(t *testing.T) {
	t.Parallel()
	db, o, numbers := printScene(t, 3)
	var press listPress
	ctx := t.Context()
	all, err := o.PrintLabels(ctx, courier.PrintRequest{Kind: courier.PrintEMS, WaybillNos: numbers}, &press, "li")
	if err != nil || string(all) != "%PDF "+strings.Join(numbers, "|%PDF ") {
		t.Fatalf("EMS's labels: %q, %v", all, err)
	}
	if _, err := o.PrintLabels(ctx, courier.PrintRequest{Kind: courier.PrintEMS, WaybillNos: numbers[:1]}, &press, "wang"); err == nil || !strings.Contains(err.Error(), numbers[0]) {
		t.Errorf("printed again without a reason: %v", err)
	}
	if _, err := o.PrintLabels(ctx, courier.PrintRequest{Kind: courier.PrintEMS, WaybillNos: numbers[:1], Reason: "卡纸"}, &press, "wang"); err != nil {
		t.Fatal(err)
	}
	own, err := o.PrintLabels(ctx, courier.PrintRequest{Kind: courier.PrintOwn, WaybillNos: []string{numbers[2], numbers[1]}}, &press, "li")
	if err != nil || string(own) != "own 2" || press.orders[0].WaybillNo != numbers[2] || press.orders[0].Recipient.Name.Reveal() != "张三丰" || press.orders[0].Sender.Name.IsZero() {
		t.Errorf("our own: %q %+v, %v", own, press.orders, err)
	}
	if address, err := o.PrintLabels(ctx, courier.PrintRequest{Kind: courier.PrintAddress, WaybillNos: numbers[:1]}, &press, "li"); err != nil || string(address) != "address 1" {
		t.Errorf("address sheet: %q, %v", address, err)
	}
	var rows []string
	err = db.Select(&rows, `SELECT waybill_no || ' ' || kind || ' ' || nth || ' ' || printed_by || ' ' || reason FROM label_prints ORDER BY kind, waybill_no, nth`)
	want := []string{numbers[0] + " address 1 li ", numbers[0] + " ems 1 li ", numbers[0] + " ems 2 wang 卡纸", numbers[1] + " ems 1 li ", numbers[2] + " ems 1 li ",
		numbers[1] + " own 1 li ", numbers[2] + " own 1 li "}
	if err != nil || !slices.Equal(rows, want) {
		t.Errorf("counted\n%s\nwant\n%s (%v)", strings.Join(rows, "\n"), strings.Join(want, "\n"), err)
	}
	if n := one[int](t, db, `SELECT count(*) FROM audit WHERE action = 'label.print'`); n != len(want) {
		t.Errorf("%d entries in the audit, want %d", n, len(want))
	}
}

func TestNothingIsPrintedForAnEnvelopeThatMustNotLeaveSo(t *testing.T) {
	t.Parallel()
	db, o, numbers := printScene(t, 4)
	execSQL(t, db, `UPDATE deliveries SET handed_over_at = $2 WHERE waybill_no = $1`, numbers[1], noon)
	execSQL(t, db, `UPDATE deliveries SET cancel_requested_at = $2 WHERE waybill_no = $1`, numbers[2], noon)
	var press listPress
	for name, tt := range map[string]struct {
		nos  []string
		want string
	}{
		"handed over beside a good one": {numbers[:2], numbers[1]},
		"being cancelled":               {numbers[2:3], numbers[2]},
		"unknown":                       {[]string{"1299999999999"}, "1299999999999"},
		"none":                          {[]string{" ", "运单"}, "至少一个"},
		"too many": {slices.Collect(func(yield func(string) bool) {
			for i := range 101 {
				if !yield(fmt.Sprintf("13%011d", i)) {
					return
				}
			}
		}), "100"},
	} {
		_, err := o.PrintLabels(t.Context(), courier.PrintRequest{Kind: courier.PrintOwn, WaybillNos: tt.nos}, &press, "li")
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want an error that names %s", name, err, tt.want)
		}
	}
	other := courier.OfStation(t.Context(), "110105002")
	if _, err := o.PrintLabels(other, courier.PrintRequest{Kind: courier.PrintOwn, WaybillNos: numbers[:1]}, &press, "li"); err == nil {
		t.Error("another station prints it")
	}
	if n := one[int](t, db, `SELECT count(*) FROM label_prints`); n != 0 {
		t.Errorf("%d sheets are counted that were not printed", n)
	}
}

func TestASheetThatCannotBeDrawnIsNotCounted(t *testing.T) {
	t.Parallel()
	db, o, numbers := printScene(t, 1)
	bad := badPress{err: courier.Faults{{Field: "font", Code: "no_glyph", Detail: "缺字"}}}
	if _, err := o.PrintLabels(t.Context(), courier.PrintRequest{Kind: courier.PrintOwn, WaybillNos: numbers}, bad, "li"); err == nil {
		t.Error("no error")
	}
	if n := one[int](t, db, `SELECT count(*) FROM label_prints`); n != 0 {
		t.Errorf("%d counted", n)
	}
	moved := movingPress{db: db, id: one[uuid.UUID](t, db, `SELECT id FROM deliveries`)}
	if _, err := o.PrintLabels(t.Context(), courier.PrintRequest{Kind: courier.PrintOwn, WaybillNos: numbers}, moved, "li"); !errors.Is(err, courier.ErrStale) {
		t.Errorf("another waybill came while it was drawn: %v, want stale", err)
	}
}

// A badPress draws nothing.
type badPress struct {
	*listPress
	err error
}

func (p badPress) Labels([]courier.Order) ([]byte, error) { return nil, p.err }

// A movingPress gives the delivery another waybill while it draws.
type movingPress struct {
	*listPress
	db *sqlx.DB
	id uuid.UUID
}

func (p movingPress) Labels([]courier.Order) ([]byte, error) {
	_, err := p.db.Exec(`UPDATE deliveries SET waybill_no = '1277777777777' WHERE id = $1`, p.id)
	return []byte("old"), err
}
