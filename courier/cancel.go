package courier

import (
	"context"
	"strings"
	"time"

	"emsd/courier/audit"
	"emsd/courier/vault"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// change runs f on one locked delivery, with the reason cleaned of what it repeats of the recipient, audits what was
// done, and reads the delivery again. f says false when there was nothing to do.
func (s *Service) change(ctx context.Context, id uuid.UUID, action, reason, by string,
	f func(tx *sqlx.Tx, row *deliveryRow, reason string, now time.Time) (bool, error)) (Delivery, error) {
	err := s.inTx(ctx, func(tx *sqlx.Tx) error {
		rows, err := lockDeliveries(ctx, tx, []uuid.UUID{id})
		if err != nil {
			return err
		}
		row := rows[id]
		if row == nil {
			return ErrNotFound
		}
		reason, err := s.scrub(row, "reason", reason)
		if err != nil {
			return err
		}
		now := s.clock.Now()
		done, err := f(tx, row, reason, now)
		if err != nil || !done {
			return err
		}
		return audit.Append(ctx, tx, audit.Entry{At: now, Actor: by, Action: action, Object: id.String(),
			Detail: map[string]string{"from": string(row.Status), "reason": reason}})
	})
	if err != nil {
		return Delivery{}, err
	}
	return s.delivery(ctx, id)
}

// Cancel stops a delivery before hand-over. What EMS knows nothing of is cancelled at once, and money that came in is
// due back; what may stand at EMS is asked for there by the cancel round. Cancelling twice is cancelling once.
func (s *Service) Cancel(ctx context.Context, id uuid.UUID, reason, by string) (Delivery, error) {
	return s.change(ctx, id, "cancel", reason, by, func(tx *sqlx.Tx, row *deliveryRow, reason string, now time.Time) (bool, error) {
		switch row.Status {
		case Cancelled:
			return false, nil
		case AwaitingPayment, Approved:
			return true, cancelAtOnce(ctx, tx, row, reason, by, now)
		case Ordering, Ordered:
			if row.CancelRequested.Valid {
				return s.cancelInstead(ctx, tx, row, reason, now)
			}
			if row.HandedOverAt.Valid {
				break
			}
			return true, s.askToCancel(ctx, tx, id, reason, now)
		case Refused:
			return false, &Conflict{"refused_delivery", "该申请未予受理，没有可取消的寄递"}
		case Delivered, Returned, Lost:
			return false, &Conflict{"already_finished", "该寄递已经结束，不能取消"}
		}
		return false, &Conflict{"already_handed_over", "邮件已交寄，不能直接取消；如需拦截，请联系 EMS（010-56421484）办理撤单或改址"}
	})
}

func cancelAtOnce(ctx context.Context, tx *sqlx.Tx, row *deliveryRow, reason, by string, now time.Time) error {
	if _, err := ApplyMoves(ctx, tx, []Move{{ID: row.ID, From: row.Status, To: Cancelled, At: now}}); err != nil {
		return err
	}
	if err := saveCancelled(ctx, tx, row.ID, reason, now); err != nil {
		return err
	}
	d := row.delivery()
	d.Status = Cancelled
	if due := refundDue(d); due > 0 {
		if err := AppendEvents(ctx, tx, []NewEvent{{row.ID, EventRefundDue, now, EventData{AmountFen: due}}}); err != nil {
			return err
		}
	}
	var closings []CaseClosing
	for _, kind := range []CaseKind{CaseUnpaid, CaseAddress, CaseOrderRefused, CaseOrderUnknown} {
		closings = append(closings, CaseClosing{DeliveryID: row.ID, Kind: kind, At: now, Outcome: "cancelled", By: by, Why: reason})
	}
	return CloseCases(ctx, tx, closings)
}

func (s *Service) askToCancel(ctx context.Context, tx *sqlx.Tx, id uuid.UUID, reason string, now time.Time) error {
	if err := saveCancelRequest(ctx, tx, id, reason, now, s.clock.Wall()); err != nil {
		return err
	}
	if err := AppendEvents(ctx, tx, []NewEvent{{DeliveryID: id, Type: EventCancelAsked, At: now}}); err != nil {
		return err
	}
	return Wake(ctx, tx, WakeOrders)
}

// refusedByEMS reports whether EMS has definitely refused the order, so that nothing stands there and a clerk decides.
func refusedByEMS(ctx context.Context, tx *sqlx.Tx, row *deliveryRow) (bool, error) {
	if row.Status != Ordering || row.ReconcileAt.Valid {
		return false, nil
	}
	return hasOpenCase(ctx, tx, row.ID, CaseOrderRefused)
}

// Retry orders again what EMS refused, after a clerk has mended the cause. An order whose outcome is unknown is not
// retried: it may stand at EMS.
func (s *Service) Retry(ctx context.Context, id uuid.UUID, reason, by string) (Delivery, error) {
	return s.change(ctx, id, "retry", reason, by, func(tx *sqlx.Tx, row *deliveryRow, reason string, now time.Time) (bool, error) {
		if err := retryable(ctx, tx, row); err != nil {
			return false, err
		}
		return true, s.backToApproved(ctx, tx, row, "retried", reason, by, now)
	})
}

func retryable(ctx context.Context, tx *sqlx.Tx, row *deliveryRow) error {
	refused, err := refusedByEMS(ctx, tx, row)
	switch {
	case err != nil:
		return err
	case !refused && row.Status == Ordering:
		return &Conflict{"order_not_settled", "EMS 是否已接单尚不明确，系统正在核对，不能重新下单"}
	case !refused:
		return &Conflict{"not_refused", "只有被 EMS 拒绝的订单可以重新下单"}
	case row.CancelRequested.Valid:
		return &Conflict{"cancel_requested", "该寄递正在取消，不能重新下单"}
	}
	return nil
}

// backToApproved lets an order that EMS refused be made again, with the number it has.
func (s *Service) backToApproved(ctx context.Context, tx *sqlx.Tx, row *deliveryRow, outcome, reason, by string, now time.Time) error {
	if err := saveDue(ctx, tx, row.ID, s.clock.Wall()); err != nil {
		return err
	}
	if err := AppendEvents(ctx, tx, []NewEvent{{DeliveryID: row.ID, Type: EventRetry, At: now}}); err != nil {
		return err
	}
	var closings []CaseClosing
	for _, kind := range []CaseKind{CaseOrderRefused, CaseAddress} {
		closings = append(closings, CaseClosing{DeliveryID: row.ID, Kind: kind, At: now, Outcome: outcome, By: by, Why: reason})
	}
	return approve(ctx, tx, []Move{{ID: row.ID, From: Ordering, To: Approved, At: now}}, closings)
}

// ChangeAddress sends the envelope elsewhere, before it is ordered or after EMS refused the order, which is then made
// again. The fee follows the new address: where more is due than was paid, the delivery waits for the rest.
func (s *Service) ChangeAddress(ctx context.Context, id uuid.UUID, to Recipient, reason, by string) (Delivery, error) {
	to = normaliseRecipient(to)
	if faults := CheckDestination(to); len(faults) > 0 {
		return Delivery{}, faults
	}
	reason = withoutPerson(reason, Order{Recipient: Party{Address: to.Address}})
	return s.change(ctx, id, "address", reason, by, func(tx *sqlx.Tx, row *deliveryRow, reason string, now time.Time) (bool, error) {
		switch row.Status {
		case AwaitingPayment, Approved:
		case Ordering:
			if err := retryable(ctx, tx, row); err != nil {
				return false, err
			}
		case Ordered:
			return s.readdress(ctx, tx, row, to, reason, by, now)
		case Refused, Cancelled, Delivered, Returned, Lost:
			return false, &Conflict{"already_finished", "该寄递已经结束，不能更改地址"}
		default:
			return false, &Conflict{"already_ordered", "邮件已在途中，不能在此更改地址；请办理在途改址（intervene），或联系 EMS（010-56421484）"}
		}
		return true, s.changeAddress(ctx, tx, row, to, reason, by, now)
	})
}

var noTariff = Faults{{"province", "no_tariff", "目前没有寄往该省的资费，请管理员导入资费（emsd import tariffs.csv）"}}

func (s *Service) changeAddress(ctx context.Context, tx *sqlx.Tx, row *deliveryRow, to Recipient, reason, by string, now time.Time) error {
	tariffs, err := readTariffs(ctx, tx, now)
	if err != nil {
		return err
	}
	quote, ok := Quote(tariffs, to.Province, s.opts.WeightG, now)
	if !ok {
		return noTariff
	}
	d := row.delivery()
	if d.Status == Ordering {
		if err := s.backToApproved(ctx, tx, row, "address_changed", reason, by, now); err != nil {
			return err
		}
		d.Status = Approved
	}
	d.Zone, d.FeeFen = quote.Zone, quote.Fen
	d.Recipient.Province, d.Recipient.City, d.Recipient.County, d.Recipient.Address = to.Province, to.City, to.County, to.Address
	from := d.Status
	d.Status = AwaitingPayment
	if covered(d) {
		d.Status = Approved
	}
	// The fee may rise only where nothing can be ordered, and the status may fall only while the old fee is paid: so a
	// delivery goes back first and gets its fee after (I-2).
	if from == Approved && d.Status == AwaitingPayment {
		if _, err := ApplyMoves(ctx, tx, []Move{{ID: row.ID, From: from, To: d.Status, At: now, Data: EventData{FeeFen: d.FeeFen, PaidFen: d.PaidFen}}}); err != nil {
			return err
		}
	}
	events := []NewEvent{{row.ID, EventAddress, now, EventData{FeeFen: d.FeeFen, PaidFen: d.PaidFen}}}
	due := refundDue(d)
	if due > d.RefundDueFen {
		events = append(events, NewEvent{row.ID, EventRefundDue, now, EventData{AmountFen: due}})
	}
	d.RefundDueFen = due
	if err := saveAddress(ctx, tx, d, s.vault.Seal(vault.ColumnAddress, row.ID, to.Address.Reveal()), s.clock.Wall()); err != nil {
		return err
	}
	if err := AppendEvents(ctx, tx, events); err != nil {
		return err
	}
	closing := []CaseClosing{{DeliveryID: row.ID, Kind: CaseAddress, At: now, Outcome: "address_changed", By: by, Why: reason}}
	if from == AwaitingPayment && d.Status == Approved {
		return approve(ctx, tx, []Move{{ID: row.ID, From: from, To: Approved, At: now, Data: EventData{FeeFen: d.FeeFen, PaidFen: d.PaidFen}}}, closing)
	}
	return CloseCases(ctx, tx, closing)
}

// Quote tells the postage to a province by the tariff in force; a weight of 0 is that of one envelope.
func (s *Service) Quote(ctx context.Context, province string, weightG int) (Quotation, error) {
	province = strings.TrimSpace(province)
	if weightG == 0 {
		weightG = s.opts.WeightG
	}
	if weightG < 0 || weightG > 50_000 {
		return Quotation{}, Faults{{"weight_g", "range", "重量以克为单位，应为1至50000"}}
	}
	now := s.clock.Now()
	tariffs, err := readTariffs(ctx, s.q(), now)
	if err != nil {
		return Quotation{}, err
	}
	q, ok := Quote(tariffs, province, weightG, now)
	if !ok {
		return Quotation{}, Faults{{"province", "no_tariff", "目前没有寄往该省的资费；请核对省份全称，例如“北京市”"}}
	}
	return q, nil
}

// Policies tells what the rules allow at a time.
func (s *Service) Policies(ctx context.Context, now time.Time) ([]Policy, error) {
	return readPolicies(ctx, s.q(), now)
}
