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
		if err != nil || sameDestination(was, to) {
			return false, err
		}
		asked, err := cancelAsked(ctx, tx, row.ID, row.WaybillNo.String)
		if err != nil {
			return false, err
		}
		if asked {
			return false, &Conflict{"address_change_pending", "正在按另一个新地址撤单重下，请等待结果后再更改"}
		}
		return true, s.replaceReaddressing(ctx, tx, row, to, reason, by, now)
	}
	if row.CancelRequested.Valid {
		return false, &Conflict{"cancel_requested", "该寄递正在取消，不能更改地址"}
	}
	d, err := row.unsealed(s.vault)
	if err != nil || sameDestination(d.Recipient, to) {
		return false, err // said twice, or nothing to change: a waybill is not given up for that
	}
	if err := s.replaceReaddressing(ctx, tx, row, to, reason, by, now); err != nil {
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

// replaceReaddressing writes where the envelope is to go instead; EMS has not been asked to cancel for any other address.
func (s *Service) replaceReaddressing(ctx context.Context, tx *sqlx.Tx, row *deliveryRow, to Recipient, reason, by string, now time.Time) error {
	tariffs, err := readTariffs(ctx, tx, now)
	if err != nil {
		return err
	}
	if _, ok := Quote(tariffs, to.Province, s.opts.WeightG, now); !ok {
		return noTariff
	}
	r := readdressing{DeliveryID: row.ID, AskedBy: by, Reason: reason, Address: s.vault.Seal(vault.ColumnNewAddress, row.ID, to.Address.Reveal()),
		Province: to.Province, City: to.City, County: to.County}
	return saveReaddressing(ctx, tx, r, row.WaybillNo.String, now)
}

func sameDestination(a, b Recipient) bool {
	return a.Province == b.Province && a.City == b.City && a.County == b.County && a.Address.Reveal() == b.Address.Reveal()
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
	if err := o.overtaken(ctx, tx, again, now); err != nil {
		return nil, err
	}
	return rest, Wake(ctx, tx, WakeOrders)
}

// overtaken ends the changes of address that are still open: EMS has cancelled the waybill, and scans say that it has the
// envelope all the same.
func (o *Orderer) overtaken(ctx context.Context, tx *sqlx.Tx, ids []uuid.UUID, now time.Time) error {
	open, err := endReaddressings(ctx, tx, ids, readdressOvertaken, now)
	if err != nil || len(open) == 0 {
		return err
	}
	if err := dropCancelRequests(ctx, tx, open); err != nil {
		return err
	}
	events, cases := make([]NewEvent, len(open)), make([]NewCase, len(open))
	for i, id := range open {
		events[i] = NewEvent{DeliveryID: id, Type: EventAddressNo, At: now}
		cases[i] = NewCase{DeliveryID: id, Kind: CaseAddress, OpenedAt: now, DueAt: now.Add(o.opts.CaseWithin), NextAction: actReaddress,
			Detail: "EMS 已同意撤单，但邮件同时有了新的轨迹"}
	}
	if err := AppendEvents(ctx, tx, events); err != nil {
		return err
	}
	return OpenCases(ctx, tx, cases)
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
