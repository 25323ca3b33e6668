package courier

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"
)

// payment is money that came in an hour before.
func payment(no string, fen int64) Payment {
	return Payment{TransactionNo: no, Method: MethodWeChat, AmountFen: fen, PaidAt: testNow.Add(-time.Hour), RecordedBy: "permits"}
}

func (s *intakeScene) pay(id uuid.UUID, p Payment) Delivery {
	s.t.Helper()
	d, err := s.svc.Pay(s.t.Context(), id, p)
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

func conflictOf(err error) string {
	if c, ok := errors.AsType[*Conflict](err); ok {
		return c.Code
	}
	return fmt.Sprint(err)
}

func TestPartsAddUpUntilTheFeeIsPaid(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	d := s.created(permit(1))
	if got := s.pay(d.ID, payment("T1", 500)); got.Status != AwaitingPayment || got.PaidFen != 500 {
		t.Errorf("after 500 fen: %s, %d paid", got.Status, got.PaidFen)
	}
	if got := s.pay(d.ID, payment("T1", 500)); got.PaidFen != 500 || got.Seq != 2 {
		t.Errorf("the same transaction twice: %d paid, seq %d, want 500, 2", got.PaidFen, got.Seq)
	}
	if got := s.pay(d.ID, payment("T1b", 699)); got.Status != AwaitingPayment {
		t.Errorf("with one fen missing: %s", got.Status)
	}
	got := s.pay(d.ID, payment("T2", 1))
	if got.Status != Approved || got.PaidFen != 1200 || got.RefundDueFen != 0 || got.Recipient.Name.Reveal() != "张三丰" {
		t.Errorf("after 1200 fen: %+v", got)
	}
	if !value[bool](s, `SELECT next_attempt_at = $2 FROM deliveries WHERE id = $1`, d.ID, s.clock()) {
		t.Error("an approved delivery is not due for its order")
	}
	got = s.pay(d.ID, payment("T3", 300))
	if got.Status != Approved || got.RefundDueFen != 300 {
		t.Errorf("after an overpayment: %s, %d due back", got.Status, got.RefundDueFen)
	}
	want := "delivery.awaiting_payment payment.recorded payment.recorded payment.recorded delivery.approved payment.recorded refund.due"
	if e := s.events(d.ID); e != want {
		t.Errorf("events %q, want %q", e, want)
	}
	if v := s.get(d.ID); len(v.Payments) != 4 || v.Payments[0].RecordedBy != "permits" || v.Payments[0].Kind != KindPayment {
		t.Errorf("payments %+v", v.Payments)
	}
	s.checkLog()
}

func TestPaymentsThatAreNotTaken(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	d, other := s.created(permit(1)), s.created(permit(2))
	collect := s.created(with(permit(3), func(a *Application) { a.PaymentMethod = Collect }))
	refused := s.accept(with(permit(4), func(a *Application) { a.Business = Change }))[0].Delivery
	s.pay(d.ID, payment("T1", 500))
	tests := []struct {
		name string
		id   uuid.UUID
		p    Payment
		want string
	}{
		{"unknown delivery", uuid.New(), payment("T9", 1), ErrNotFound.Error()},
		{"refused delivery", refused.ID, payment("T9", 1200), "payment_refused_delivery"},
		{"freight is collected", collect.ID, payment("T9", 1200), "payment_not_prepaid"},
		{"transaction of another delivery", other.ID, payment("T1", 500), "transaction_reused"},
		{"transaction with another amount", d.ID, payment("T1", 501), "transaction_reused"},
		{"no money", d.ID, payment("T9", 0), "amount_fen range"},
		{"negative", d.ID, payment("T9", -5), "amount_fen range"},
		{"yuan for fen", d.ID, payment("T9", maxMoney+1), "amount_fen range"},
		{"all wrong", d.ID, Payment{Method: "barter", AmountFen: -1}, "transaction_no required, amount_fen range, method unknown_value, paid_at required"},
		{"NUL", d.ID, payment("T\x009", 1), "transaction_no format"},
		{"tomorrow", d.ID, Payment{TransactionNo: "T9", Method: MethodCash, AmountFen: 1, PaidAt: testNow.Add(24 * time.Hour)}, "paid_at future"},
	}
	before := s.dump()
	for _, tt := range tests {
		_, err := s.svc.Pay(t.Context(), tt.id, tt.p)
		got := conflictOf(err)
		if f, ok := errors.AsType[Faults](err); ok {
			got = fieldsAndCodes(f)
		}
		if got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
	if s.dump() != before {
		t.Error("a payment that was not taken left something behind")
	}
}

func TestMoneyForACancelledDeliveryIsKeptAndDueBack(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	d := s.created(permit(1))
	s.pay(d.ID, payment("T1", 500))
	got, err := s.svc.Cancel(t.Context(), d.ID, "不再需要", "clerk")
	if err != nil || got.Status != Cancelled || got.RefundDueFen != 500 {
		t.Fatalf("cancelled: %s, %d due back (%v)", got.Status, got.RefundDueFen, err)
	}
	if got = s.pay(d.ID, payment("T2", 700)); got.Status != Cancelled || got.PaidFen != 1200 || got.RefundDueFen != 1200 {
		t.Errorf("late payment: %s, %d paid, %d due back", got.Status, got.PaidFen, got.RefundDueFen)
	}
	for _, step := range []struct {
		p        Payment
		conflict string
		due      int64
	}{{payment("R1", 1201), "refund_exceeds_due", 1200}, {payment("T1", 500), "transaction_reused", 1200}, {payment("R1", 1000), "", 200},
		{payment("R1", 1000), "", 200}, {payment("R2", 200), "", 0}, {payment("R3", 1), "refund_exceeds_due", 0}} {
		_, err := s.svc.Refund(t.Context(), d.ID, step.p)
		if got := s.get(d.ID); err != nil && conflictOf(err) != step.conflict || err == nil && step.conflict != "" || got.RefundDueFen != step.due {
			t.Errorf("refund %s of %d: %v, %d due, want %s, %d", step.p.TransactionNo, step.p.AmountFen, err, got.RefundDueFen, step.conflict, step.due)
		}
	}
	want := "delivery.awaiting_payment payment.recorded delivery.cancelled refund.due payment.recorded refund.due refund.recorded refund.recorded"
	if e := s.events(d.ID); e != want {
		t.Errorf("events %q, want %q", e, want)
	}
	if n := value[int](s, `SELECT count(*) FROM audit WHERE action = 'refund'`); n != 2 {
		t.Errorf("%d refunds audited, want 2", n)
	}
	s.checkLog()
}

func TestPaymentInTheSameRow(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	row := func(n int, no string, fen int64) Intake {
		return Intake{Application: permit(n), Extras: RowExtras{no, fen}}
	}
	refused := row(3, "T3", 1200)
	refused.Business = Extension
	intakes := []Intake{row(1, "T1", 1200), row(2, "T2", 500), row(2, "T2b", 700), refused, row(4, "T1", 1200), row(5, "T5", 1500)}
	for range 2 { // the same file twice changes nothing
		results, err := s.svc.AcceptPaid(t.Context(), intakes, "import")
		if err != nil {
			t.Fatal(err)
		}
		want := []struct {
			status   Status
			paid     bool
			conflict string
		}{{Approved, true, ""}, {Approved, true, ""}, {Approved, true, ""}, {Refused, false, "payment_refused_delivery"},
			{AwaitingPayment, false, "transaction_reused"}, {Approved, true, ""}}
		for i, w := range want {
			r := results[i]
			if r.Delivery.Status != w.status || r.Paid != w.paid || w.conflict != "" && conflictOf(r.PaymentErr) != w.conflict {
				t.Errorf("row %d: %s, paid %v, %v, want %+v", i+1, r.Delivery.Status, r.Paid, r.PaymentErr, w)
			}
		}
	}
	if n := value[int](s, `SELECT count(*) FROM payments WHERE method = 'unstated' AND recorded_by = 'import'`); n != 4 {
		t.Errorf("%d payments, want 4", n)
	}
	s.checkLog()
}

func TestOneTransactionIsOnePaymentHoweverManyReportItAtOnce(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	a, b := s.created(permit(1)), s.created(permit(2))
	var wg sync.WaitGroup
	var mu sync.Mutex
	conflicts := 0
	start := make(chan struct{})
	for c := range 20 {
		wg.Go(func() {
			id := a.ID
			if c%2 == 1 {
				id = b.ID
			}
			<-start
			for _, no := range []string{"X1", "X2", "X3"} {
				_, err := s.svc.Pay(t.Context(), id, payment(no, 400))
				if err != nil && conflictOf(err) != "transaction_reused" {
					t.Errorf("client %d: %v", c, err)
				}
				if err != nil {
					mu.Lock()
					conflicts++
					mu.Unlock()
				}
			}
		})
	}
	close(start)
	wg.Wait()
	if n := value[int](s, `SELECT sum(paid_fen) FROM deliveries`); n != 1200 || conflicts != 30 {
		t.Errorf("%d fen recorded, %d conflicts, want 1200, 30", n, conflicts)
	}
	if n := value[int](s, `SELECT count(*) FROM events WHERE type = 'payment.recorded'`); n != 3 {
		t.Errorf("%d payment events, want 3", n)
	}
	s.checkLog()
}

// TestMoneyAlwaysReconciles plays random payments, refunds, cancellations and changes of address.
func TestMoneyAlwaysReconciles(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		d := s.created(permit(n))
		var in, out int64
		for i := range rapid.IntRange(1, 8).Draw(rt, "steps") {
			no, fen := fmt.Sprintf("P%d-%d", n, i), rapid.SampledFrom([]int64{1, 500, 700, 999, 1000, 1199, 1200, 1201, 2199, 2200, 2500}).Draw(rt, "fen")
			switch rapid.SampledFrom([]string{"pay", "pay", "pay", "refund", "cancel", "move", "again"}).Draw(rt, "step") {
			case "pay":
				s.pay(d.ID, payment(no, fen))
				in += fen
			case "again":
				if i > 0 {
					for _, p := range s.get(d.ID).Payments {
						if p.Kind == KindPayment {
							s.pay(d.ID, p)
						}
					}
				}
			case "refund":
				if _, err := s.svc.Refund(t.Context(), d.ID, payment("R"+no, fen)); err == nil {
					out += fen
				} else if conflictOf(err) != "refund_exceeds_due" {
					rt.Fatal(err)
				}
			case "cancel":
				if _, err := s.svc.Cancel(t.Context(), d.ID, "取消", "clerk"); err != nil {
					rt.Fatal(err)
				}
			case "move":
				to := permit(n).Recipient
				if rapid.Bool().Draw(rt, "far") {
					to.Province, to.City, to.County = "广东省", "广州市", "越秀区"
				}
				if _, err := s.svc.ChangeAddress(t.Context(), d.ID, to, "改址", "clerk"); err != nil && conflictOf(err) != "already_finished" {
					rt.Fatal(err)
				}
			}
			got := s.get(d.ID)
			if got.PaidFen != in || got.RefundedFen != out {
				rt.Fatalf("paid %d, refunded %d, want %d, %d", got.PaidFen, got.RefundedFen, in, out)
			}
			left := in - out
			wantDue := max(0, left-got.FeeFen)
			if got.Status == Cancelled {
				wantDue = left
			}
			if got.RefundDueFen != wantDue {
				rt.Fatalf("%s with %d of %d fen: %d due back, want %d", got.Status, left, got.FeeFen, got.RefundDueFen, wantDue)
			}
			if got.Status != Cancelled && (got.Status == Approved) != (left >= got.FeeFen) {
				rt.Fatalf("%s with %d of %d fen", got.Status, left, got.FeeFen)
			}
		}
	})
	s.checkLog()
}
