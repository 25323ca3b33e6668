package courier

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"emsd/courier/audit"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// Kinds of a Payment, and how the money came.
const (
	KindPayment = "payment"
	KindRefund  = "refund"

	MethodWeChat   = "wechat"
	MethodAlipay   = "alipay"
	MethodUnionPay = "unionpay"
	MethodCash     = "cash"
	MethodUnstated = "unstated" // the row of a table does not say
)

// CheckPayment tells everything that is wrong with a payment or refund as posted, except what depends on its delivery
// and on the time.
func CheckPayment(p Payment) Faults {
	var c checker
	switch {
	case p.TransactionNo == "":
		c.add("transaction_no", "required", "请填写支付渠道的交易号")
	case len(p.TransactionNo) > maxTransaction || !plainTransaction(p.TransactionNo):
		c.add("transaction_no", "format", fmt.Sprintf("交易号只能由字母、数字、连字符、下划线和点组成，最多%d位", maxTransaction))
	}
	if p.AmountFen <= 0 || p.AmountFen > maxMoney {
		c.add("amount_fen", "range", fmt.Sprintf("金额以分为单位，应为1至%d的整数", maxMoney))
	}
	if p.Method != MethodUnstated {
		c.oneOf("method", p.Method, []string{MethodWeChat, MethodAlipay, MethodUnionPay, MethodCash})
	}
	if p.PaidAt.IsZero() {
		c.add("paid_at", "required", "请填写付款时间，例如 2026-11-22T09:00:00+08:00")
	}
	return c.faults
}

func checkPayment(p Payment, now time.Time) Faults {
	faults := CheckPayment(p)
	if p.PaidAt.After(now.Add(clockSkew)) {
		faults = append(faults, Fault{"paid_at", "future", "付款时间晚于现在，请核对时间与时区"})
	}
	return faults
}

// refundDue is what must go back to the applicant: after a cancellation all that is left of the money, else what was
// paid beyond the fee.
func refundDue(d Delivery) int64 {
	left := d.PaidFen - d.RefundedFen
	if d.Status == Cancelled {
		return left
	}
	return max(0, left-d.FeeFen)
}

// covered reports whether the payment rule is met (I-2): freight collected from the recipient, or paid in full with
// money that has not gone back.
func covered(d Delivery) bool {
	return d.PaymentMethod == Collect || d.PaidFen-d.RefundedFen >= d.FeeFen
}

// A PayResult is what became of one payment: the delivery after it, whether it had been recorded before, and why it
// was not recorded (Faults, ErrNotFound or *Conflict).
type PayResult struct {
	Delivery Delivery
	Repeated bool
	Err      error
}

// Pay records money that came in for a delivery. The same transaction twice is one payment. What is paid in full may
// be ordered; what is paid beyond the fee, or for a cancelled delivery, is due back: money that came in is never lost.
// A refused delivery and one whose freight is collected take no money: it was never asked for.
func (s *Service) Pay(ctx context.Context, delivery uuid.UUID, p Payment) (Delivery, error) {
	p.DeliveryID = delivery
	if p.Reason != "" {
		d, err := s.delivery(ctx, delivery)
		if err != nil {
			return d, err
		}
		if p.Reason, err = Scrub(d.Recipient, "reason", p.Reason); err != nil {
			return d, err
		}
	}
	results, err := s.PayBatch(ctx, []Payment{p})
	if err != nil {
		return Delivery{}, err
	}
	if results[0].Err != nil {
		return Delivery{}, results[0].Err
	}
	return s.delivery(ctx, delivery)
}

// PayBatch is Pay for many; results are in order, their recipients stay sealed.
func (s *Service) PayBatch(ctx context.Context, payments []Payment) (results []PayResult, err error) {
	err = s.inTx(ctx, func(tx *sqlx.Tx) error {
		now := s.clock.Now()
		if results, err = s.payIn(ctx, tx, payments, now, s.clock.Wall()); err != nil {
			return err
		}
		return audit.Queue(ctx, tx, paymentEntries(newlyPaid(payments, results), now)...)
	})
	return results, err
}

// newlyPaid are the payments that were recorded now.
func newlyPaid(payments []Payment, results []PayResult) []Payment {
	var fresh []Payment
	for i, r := range results {
		if r.Err == nil && !r.Repeated {
			fresh = append(fresh, payments[i])
		}
	}
	return fresh
}

// payIn records payments in a transaction of the caller's.
func (s *Service) payIn(ctx context.Context, tx *sqlx.Tx, payments []Payment, now, wall time.Time) ([]PayResult, error) {
	results := make([]PayResult, len(payments))
	rows, err := lockDeliveries(ctx, tx, deliveryIDs(payments))
	if err != nil {
		return nil, err
	}
	var fit []int
	for i, p := range payments {
		if results[i].Err = payable(p, rows[p.DeliveryID], now); results[i].Err == nil {
			fit = append(fit, i)
		}
	}
	fresh, err := recordMoney(ctx, tx, payments, fit, results, KindPayment, now)
	if err != nil {
		return nil, err
	}
	if err := s.credit(ctx, tx, rows, fresh, now, wall); err != nil {
		return nil, err
	}
	// Read again: seq and status are what the events made of them.
	after, err := readDeliveries(ctx, tx, deliveryIDs(payments))
	if err != nil {
		return nil, err
	}
	for i, p := range payments {
		if row := after[p.DeliveryID]; row != nil {
			results[i].Delivery = row.delivery()
		}
	}
	return results, nil
}

func deliveryIDs(payments []Payment) []uuid.UUID {
	ids := make([]uuid.UUID, len(payments))
	for i, p := range payments {
		ids[i] = p.DeliveryID
	}
	return ids
}

// payable says why a delivery does not take a payment.
func payable(p Payment, row *deliveryRow, now time.Time) error {
	if faults := checkPayment(p, now); len(faults) > 0 {
		return faults
	}
	switch {
	case row == nil:
		return ErrNotFound
	case row.Status == Refused:
		return &Conflict{"payment_refused_delivery", "该申请不符合寄递规定，未予受理，款项未入账，请原路退还付款人"}
	case row.PaymentMethod == Collect:
		return &Conflict{"payment_not_prepaid", "该件由收件人到付，不收预付款，款项未入账，请原路退还付款人"}
	}
	return nil
}

// recordMoney inserts the payments or refunds that are new and says of the others what they are: the same again, or
// another one under a number in use.
func recordMoney(ctx context.Context, tx *sqlx.Tx, payments []Payment, fit []int, results []PayResult, kind string, now time.Time) ([]Payment, error) {
	numbers := make([]string, len(fit))
	for j, i := range fit {
		numbers[j] = payments[i].TransactionNo
	}
	stored, err := paymentsByNumber(ctx, tx, numbers)
	if err != nil {
		return nil, err
	}
	byNumber := map[string]Payment{}
	for _, i := range fit {
		p := payments[i]
		p.ID, p.Kind, p.RecordedAt = uuid.Must(uuid.NewV7()), kind, now
		if _, known := stored[p.TransactionNo]; !known {
			stored[p.TransactionNo], byNumber[p.TransactionNo] = p, p
			continue
		}
		results[i].Repeated = true
	}
	inserted, err := insertPayments(ctx, tx, byNumber)
	if err != nil {
		return nil, err
	}
	if len(inserted) < len(byNumber) {
		// Another transaction recorded the same number meanwhile; ON CONFLICT has waited for it.
		if stored, err = paymentsByNumber(ctx, tx, numbers); err != nil {
			return nil, err
		}
	}
	var fresh []Payment
	for _, i := range fit {
		p := payments[i]
		s := stored[p.TransactionNo]
		if s.DeliveryID != p.DeliveryID || s.AmountFen != p.AmountFen || s.Kind != kind {
			results[i] = PayResult{Err: &Conflict{"transaction_reused", "该交易号已用于另一笔款项（寄递、金额或方向不同），本次未入账，请核对"}}
			continue
		}
		if n, isNew := byNumber[p.TransactionNo]; isNew && inserted[n.ID] && !results[i].Repeated {
			fresh = append(fresh, n)
		} else {
			results[i].Repeated = true
		}
	}
	return fresh, nil
}

// credit adds new payments to their deliveries, with the events and moves that follow.
func (s *Service) credit(ctx context.Context, tx *sqlx.Tx, rows map[uuid.UUID]*deliveryRow, fresh []Payment, now, wall time.Time) error {
	if len(fresh) == 0 {
		return nil
	}
	changed := map[uuid.UUID]*Delivery{}
	var events []NewEvent
	for _, p := range fresh {
		d := changed[p.DeliveryID]
		if d == nil {
			now := rows[p.DeliveryID].delivery()
			d = &now
			changed[p.DeliveryID] = d
		}
		d.PaidFen += p.AmountFen
		events = append(events, NewEvent{p.DeliveryID, EventPayment, now, EventData{AmountFen: p.AmountFen, PaidFen: d.PaidFen, FeeFen: d.FeeFen}})
	}
	var moves []Move
	var closings []CaseClosing
	ids := sortedIDs(changed)
	for _, id := range ids {
		d := changed[id]
		if due := refundDue(*d); due > d.RefundDueFen {
			events = append(events, NewEvent{id, EventRefundDue, now, EventData{AmountFen: due}})
			d.RefundDueFen = due
		}
		if d.Status == AwaitingPayment && covered(*d) {
			moves = append(moves, Move{ID: id, From: AwaitingPayment, To: Approved, At: now, Data: EventData{FeeFen: d.FeeFen, PaidFen: d.PaidFen}})
			closings = append(closings, CaseClosing{DeliveryID: id, Kind: CaseUnpaid, At: now, Outcome: "paid", By: "emsd", Why: "已付清"})
		}
	}
	if err := saveSums(ctx, tx, ids, changed, wall); err != nil {
		return err
	}
	if err := AppendEvents(ctx, tx, events); err != nil {
		return err
	}
	return approve(ctx, tx, moves, closings)
}

// approve makes moves that let deliveries be ordered, and wakes the order round.
func approve(ctx context.Context, tx *sqlx.Tx, moves []Move, closings []CaseClosing) error {
	if len(moves) == 0 {
		return nil
	}
	if _, err := ApplyMoves(ctx, tx, moves); err != nil {
		return err
	}
	if err := CloseCases(ctx, tx, closings); err != nil {
		return err
	}
	return Wake(ctx, tx, WakeOrders)
}

func sortedIDs(m map[uuid.UUID]*Delivery) []uuid.UUID {
	ids := make([]uuid.UUID, 0, len(m))
	for id := range m {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b uuid.UUID) int { return cmp.Compare(string(a[:]), string(b[:])) })
	return ids
}

// Refund records money that went back to the applicant, up to what is due. The same transaction twice is one refund.
func (s *Service) Refund(ctx context.Context, delivery uuid.UUID, p Payment) (Delivery, error) {
	p.DeliveryID = delivery
	err := s.inTx(ctx, func(tx *sqlx.Tx) error {
		now := s.clock.Now()
		rows, err := lockDeliveries(ctx, tx, []uuid.UUID{delivery})
		if err != nil {
			return err
		}
		row := rows[delivery]
		if row == nil {
			return ErrNotFound
		}
		if faults := checkPayment(p, now); len(faults) > 0 {
			return faults
		}
		results := make([]PayResult, 1)
		fresh, err := recordMoney(ctx, tx, []Payment{p}, []int{0}, results, KindRefund, now)
		if err != nil || results[0].Err != nil {
			return cmp.Or(err, results[0].Err)
		}
		if len(fresh) == 0 {
			return nil
		}
		d := row.delivery()
		if p.AmountFen > d.RefundDueFen {
			return &Conflict{"refund_exceeds_due", fmt.Sprintf("退款超过应退金额：目前应退%d分", d.RefundDueFen)}
		}
		d.RefundDueFen -= p.AmountFen
		d.RefundedFen += p.AmountFen
		if err := saveSums(ctx, tx, []uuid.UUID{delivery}, map[uuid.UUID]*Delivery{delivery: &d}, time.Time{}); err != nil {
			return err
		}
		if err := AppendEvents(ctx, tx, []NewEvent{{delivery, EventRefunded, now, EventData{AmountFen: p.AmountFen}}}); err != nil {
			return err
		}
		if p.Reason != "" {
			if p.Reason, err = s.scrub(row, "reason", p.Reason); err != nil {
				return err
			}
		}
		return audit.Append(ctx, tx, audit.Entry{At: now, Actor: p.RecordedBy, Action: "refund", Object: delivery.String(), Detail: moneyDetail(p)})
	})
	if err != nil {
		return Delivery{}, err
	}
	return s.delivery(ctx, delivery)
}
