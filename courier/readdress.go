package courier

import (
	"context"
	"time"

	"emsd/courier/vault"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// How a change of address ends that was asked for while EMS had the order.
const (
	readdressAnew      = "ordered_anew" // EMS cancelled the waybill; the delivery is ordered again, to the new address
	readdressRefused   = "refused"      // EMS does not cancel it any more
	readdressOvertaken = "overtaken"    // EMS cancelled it, and scans say that it has the envelope all the same
	readdressCancelled = "cancelled"    // the delivery was cancelled meanwhile
)

// A readdressing is a new address for an order that EMS has and nobody has handed over.
type readdressing struct {
	DeliveryID uuid.UUID `db:"delivery_id"`
	AskedBy    string    `db:"asked_by"`
	Reason     string    `db:"reason"`
	Address    []byte    `db:"address_sealed"`
	Province   string    `db:"province"`
	City       string    `db:"city"`
	County     string    `db:"county"`
}

func (r readdressing) recipient(v *vault.Vault) (Recipient, error) {
	address, err := v.Unseal(vault.ColumnNewAddress, r.DeliveryID, r.Address)
	return Recipient{Province: r.Province, City: r.City, County: r.County, Address: address}, err
}

// readdress asks for another address for an order that EMS has. A label with the old one exists, so the waybill is
// cancelled first; only when EMS has agreed is the delivery ordered anew, under another number (I-3).
func (s *Service) readdress(ctx context.Context, tx *sqlx.Tx, row *deliveryRow, to Recipient, reason, by string, now time.Time) (bool, error) {
	if row.HandedOverAt.Valid {
		return false, &Conflict{"already_handed_over", "邮件已交给 EMS，不能撤单重下；请办理在途改址（intervene）"}
	}
	pending, err := lockReaddressings(ctx, tx, []uuid.UUID{row.ID})
	if err != nil {
		return false, err
	}
	if p, ok := pending[row.ID]; ok {
		was, err := p.recipient(s.vault)
		if err != nil {
			return false, err
		}
		if was.Province == to.Province && was.City == to.City && was.County == to.County && was.Address.Reveal() == to.Address.Reveal() {
			return false, nil
		}
		return false, &Conflict{"address_change_pending", "正在按另一个新地址撤单重下，请等待结果后再更改"}
	}
	if row.CancelRequested.Valid {
		return false, &Conflict{"cancel_requested", "该寄递正在取消，不能更改地址"}
	}
	tariffs, err := readTariffs(ctx, tx, now)
	if err != nil {
		return false, err
	}
	if _, ok := Quote(tariffs, to.Province, s.opts.WeightG, now); !ok {
		return false, noTariff
	}
	r := readdressing{DeliveryID: row.ID, AskedBy: by, Reason: reason, Address: s.vault.Seal(vault.ColumnNewAddress, row.ID, to.Address.Reveal()),
		Province: to.Province, City: to.City, County: to.County}
	if err := saveReaddressing(ctx, tx, r, row.WaybillNo.String, now); err != nil {
		return false, err
	}
	if err := saveCancelRequest(ctx, tx, row.ID, readdressReason, now, s.clock.Wall()); err != nil {
		return false, err
	}
	if err := AppendEvents(ctx, tx, []NewEvent{{DeliveryID: row.ID, Type: EventAddressAsk, At: now}}); err != nil {
		return false, err
	}
	return true, Wake(ctx, tx, WakeOrders)
}

// cancelInstead makes a cancellation of a change of address that is under way: EMS is asked for the same either way.
func (s *Service) cancelInstead(ctx context.Context, tx *sqlx.Tx, row *deliveryRow, reason string, now time.Time) (bool, error) {
	ended, err := endReaddressings(ctx, tx, []uuid.UUID{row.ID}, readdressCancelled, now)
	if err != nil || len(ended) == 0 {
		return false, err
	}
	if err := saveCancelReason(ctx, tx, row.ID, reason); err != nil {
		return false, err
	}
	return true, AppendEvents(ctx, tx, []NewEvent{{DeliveryID: row.ID, Type: EventCancelAsked, At: now}})
}

// orderAnew takes deliveries whose waybill EMS has cancelled for a new address back to where they may be ordered, and
// gives back those that were to be cancelled for good.
func (o *Orderer) orderAnew(ctx context.Context, tx *sqlx.Tx, cancelled []uuid.UUID, readdressed map[uuid.UUID]readdressing, now, wall time.Time) (rest []uuid.UUID, err error) {
	var again []uuid.UUID
	for _, id := range cancelled {
		if _, ok := readdressed[id]; ok {
			again = append(again, id)
		} else {
			rest = append(rest, id)
		}
	}
	if len(again) == 0 {
		return rest, nil
	}
	standing, err := dropWaybills(ctx, tx, again, wall)
	if err != nil {
		return nil, err
	}
	moves := make([]Move, len(standing))
	for i, id := range standing {
		moves[i] = Move{ID: id, From: Ordered, To: Approved, At: now}
	}
	moved, err := ApplyMoves(ctx, tx, moves)
	if err != nil {
		return nil, err
	}
	if err := clearWaybills(ctx, tx, moved); err != nil {
		return nil, err
	}
	if err := o.changeAddresses(ctx, tx, moved, readdressed, now); err != nil {
		return nil, err
	}
	if _, err := endReaddressings(ctx, tx, moved, readdressAnew, now); err != nil {
		return nil, err
	}
	if _, err := endReaddressings(ctx, tx, again, readdressOvertaken, now); err != nil { // those that are still open
		return nil, err
	}
	if err := o.movedAway(ctx, tx, Ordered, again, moved, now); err != nil {
		return nil, err
	}
	return rest, Wake(ctx, tx, WakeOrders)
}

// changeAddresses gives each delivery its new address, with the fee that goes with it.
func (o *Orderer) changeAddresses(ctx context.Context, tx *sqlx.Tx, ids []uuid.UUID, readdressed map[uuid.UUID]readdressing, now time.Time) error {
	rows, err := lockDeliveries(ctx, tx, ids)
	if err != nil {
		return err
	}
	s := New(o.db, o.vault, o.clock, Options{WeightG: o.opts.WeightG})
	for _, id := range ids {
		r := readdressed[id]
		to, err := r.recipient(o.vault)
		if err != nil {
			return err
		}
		if err := s.changeAddress(ctx, tx, rows[id], to, r.Reason, r.AskedBy, now); err != nil {
			return err
		}
	}
	return nil
}
