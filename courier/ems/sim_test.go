package ems

import (
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"emsd/courier"
	"emsd/courier/emssim"
	"emsd/courier/vault"
)

// newSim starts an independent EMS, which shares no code with the client: what they agree on is the dossier.
func newSim(t *testing.T, sim emssim.Config, spoil func(*Config)) (*emssim.Carrier, *Client) {
	t.Helper()
	sim.Hang = time.Second
	carrier := emssim.New(sim)
	srv := httptest.NewServer(carrier)
	t.Cleanup(srv.Close)
	cfg := config(srv.URL + emssim.PathOpen)
	cfg.SenderNo, cfg.Authorization, cfg.Secret = emssim.SampleSenderNo, emssim.SampleAuthorization, emssim.SampleSecret
	cfg.Timeout = 400 * time.Millisecond
	if spoil != nil {
		spoil(&cfg)
	}
	return carrier, newClient(t, cfg)
}

func TestSimulatorTakesEveryCall(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 2, 2, 0, 0, 0, time.UTC)
	carrier, c := newSim(t, emssim.Config{Now: func() time.Time { return now }}, nil)
	ctx := t.Context()
	if err := c.Check(ctx); err != nil {
		t.Fatal(err)
	}
	numbers, err := c.ReserveNumbers(ctx, 20)
	if err != nil || len(numbers) != 20 {
		t.Fatalf("%d numbers, %v", len(numbers), err)
	}
	for mode := 1; mode <= 2; mode++ {
		o := testOrder()
		o.Recipient.Phone = vault.Conceal("13900000001") // delivered
		o.OrderNo, o.WaybillNo, o.PaymentMode = "T-"+numbers[mode], numbers[mode], mode
		if ok, err := c.Reachable(ctx, o.Sender, o.Recipient, 80); !ok || err != nil {
			t.Errorf("reachable: %v, %v", ok, err)
		}
		if q, err := c.Estimate(ctx, o.Sender, o.Recipient, 80, mode); err != nil || q.TotalFen <= 0 {
			t.Errorf("estimate: %+v, %v", q, err)
		}
		if _, err := c.Label(ctx, o.WaybillNo); !errors.Is(err, courier.ErrNoOrder) {
			t.Errorf("label before the order: %v", err)
		}
		conf, err := c.CreateWaybill(ctx, o)
		if err != nil || conf.WaybillNo != o.WaybillNo || conf.OrderNo != o.OrderNo || conf.SerialNo == "" {
			t.Fatalf("order: %+v, %v", conf, err)
		}
		if _, err := c.Label(ctx, o.WaybillNo); err != nil {
			t.Errorf("label: %v", err)
		}
		if _, err := c.Postage(ctx, o.WaybillNo); !errors.Is(err, courier.ErrNotFound) {
			t.Errorf("postage before acceptance: %v", err)
		}
	}
	now = now.AddDate(0, 0, 20)
	trace, err := c.Trace(ctx, numbers[1], 0)
	if err != nil || len(trace.Scans) < 4 || trace.Unreadable != 0 || trace.Scans[len(trace.Scans)-1].Code != "704" {
		t.Fatalf("trace: %+v, %v", trace, err)
	}
	if again, err := c.Trace(ctx, numbers[1], trace.Fingerprint); err != nil || !again.Unchanged {
		t.Errorf("trace again: %+v, %v", again, err)
	}
	if p, err := c.Postage(ctx, numbers[1]); err != nil || p.TotalFen <= 0 || p.FeeWeightG <= 0 || p.PaymentMode != "1" {
		t.Errorf("postage: %+v, %v", p, err)
	}
	if p, err := c.Postage(ctx, numbers[2]); err != nil || p.PaymentMode != "2" {
		t.Errorf("postage of a collected one: %+v, %v", p, err)
	}
	if a, err := c.ParseAddress(ctx, "上海市黄浦区示例路2号"); err != nil || a.County != "黄浦区" || a.CountyCode != "310101" {
		t.Errorf("address: %+v, %v", a, err)
	}
	o := testOrder()
	o.WaybillNo = numbers[3]
	if _, err := c.CreateWaybill(ctx, o); err != nil {
		t.Fatal(err)
	}
	if err := c.CancelWaybill(ctx, o.OrderNo, o.WaybillNo, "客户取消"); err != nil {
		t.Errorf("cancel: %v", err)
	}
	if n := len(carrier.Ledger().Orders); n != 3 {
		t.Errorf("%d orders in the ledger, want 3", n)
	}
}

func TestSimulatorsFaultsHaveTheirKinds(t *testing.T) {
	t.Parallel()
	tests := []struct {
		fault  emssim.FaultKind
		want   courier.Kind
		orders int // in the ledger
	}{
		{emssim.LoseReply, courier.Unknown, 1},
		{emssim.LoseRequest, courier.Unknown, 0},
		{emssim.Refuse, courier.RefusedByCarrier, 0},
		{emssim.Error200, courier.Unknown, 0},
		{emssim.HTTP502, courier.Unknown, 0},
		{emssim.HTML, courier.Unknown, 0},
		{emssim.Empty, courier.Unknown, 1},
		{emssim.Truncate, courier.Unknown, 1},
		{emssim.Slow, courier.Unknown, 1},
		{emssim.Drip, courier.Unknown, 1},
		{emssim.Hang, courier.Unknown, 0},
		{emssim.Redirect307, courier.Unknown, 0},
		{emssim.DuplicateWaybill, courier.NotRefused, 2}, // EMS itself makes two; the other number shows it
		{emssim.OtherWaybill, courier.NotRefused, 1},
		{emssim.WrongEcho, courier.Unknown, 1},
	}
	for _, tt := range tests {
		t.Run(string(tt.fault), func(t *testing.T) {
			t.Parallel()
			carrier, c := newSim(t, emssim.Config{AcceptUnreserved: true}, nil)
			carrier.SetFault(emssim.Fault{API: "020003", Kind: tt.fault})
			o := testOrder()
			conf, err := c.CreateWaybill(t.Context(), o)
			if got := kindOf(t, err); got != tt.want {
				t.Errorf("kind %v, want %v: %v", got, tt.want, err)
			}
			if got := carrier.Orders(o.OrderNo); got != tt.orders {
				t.Errorf("%d orders in the ledger, want %d", got, tt.orders)
			}
			if err == nil && conf.WaybillNo == o.WaybillNo {
				t.Errorf("the confirmation hides EMS's own number")
			}
		})
	}
}

func TestSimulatorRefusesForeignCredentials(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*Config){
		"secret":        func(c *Config) { c.Secret = testSecret },
		"authorization": func(c *Config) { c.Authorization = "0000000000000000" },
		"sender":        func(c *Config) { c.SenderNo = "1100000000009" },
	} {
		_, c := newSim(t, emssim.Config{}, spoil)
		if err := c.Check(t.Context()); kindOf(t, err) != courier.RefusedByCarrier {
			t.Errorf("%s: %v, want refused", name, err)
		}
	}
}
