package courier

import (
	"context"
	"time"

	"emsd/courier/audit"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// A PackVerdict says what a pack check found: whether a permit may be closed into the envelope with a label.
type PackVerdict string

// The verdicts. Only PackMatch and PackAlready let the envelope be closed.
const (
	PackMatch          PackVerdict = "match"
	PackAlready        PackVerdict = "already_packed"   // the same two were matched before
	PackMismatch       PackVerdict = "mismatch"         // the label is another permit's: both envelopes are stopped
	PackStopped        PackVerdict = "stopped"          // an earlier mismatch has not been settled by two people
	PackUnknownPermit  PackVerdict = "unknown_permit"   // no delivery has this permit
	PackUnknownWaybill PackVerdict = "unknown_waybill"  // no delivery has this waybill
	PackSuperseded     PackVerdict = "superseded_label" // the waybill was cancelled: the envelope bears an old label
	PackNotReady       PackVerdict = "not_ready"        // EMS has not confirmed the order, or the envelope has left
	PackWithdrawn      PackVerdict = "withdrawn"        // being cancelled or readdressed: this label will not be used
	PackOtherStation   PackVerdict = "other_station"    // the permit was handled elsewhere
)

// Good reports whether the envelope may be closed.
func (v PackVerdict) Good() bool { return v == PackMatch || v == PackAlready }

// A PackCheck is what one check found.
type PackCheck struct {
	Verdict    PackVerdict
	PermitNo   string
	WaybillNo  string    // as scanned
	DeliveryID uuid.UUID // of the permit; zero when unknown or of another station
	Expected   string    // the label that belongs to the permit, where there is one
	Status     Status
	PackedAt   time.Time // of PackAlready
	PackedBy   string
}

// A packing is a permit in its envelope.
type packing struct {
	DeliveryID uuid.UUID `db:"delivery_id"`
	WaybillNo  string    `db:"waybill_no"`
	PackedAt   time.Time `db:"packed_at"`
	PackedBy   string    `db:"packed_by"`
}

// packState is what is known of a permit and the label that was scanned with it.
type packState struct {
	permit      *deliveryRow // nil: no such permit
	label       *deliveryRow // nil: no delivery has this waybill
	void        bool         // the waybill was one of ours and is cancelled
	foreign     bool         // the permit is another station's
	readdressed bool
	stopped     bool
	packed      *packing
}

func (p packState) verdict() PackVerdict {
	switch {
	case p.permit == nil:
		return PackUnknownPermit
	case p.foreign:
		return PackOtherStation
	case p.label == nil && p.void:
		return PackSuperseded
	case p.label == nil:
		return PackUnknownWaybill
	case p.label.ID != p.permit.ID:
		return PackMismatch
	case p.permit.Status != Ordered || p.permit.HandedOverAt.Valid:
		return PackNotReady
	case p.readdressed || p.permit.CancelRequested.Valid:
		return PackWithdrawn
	case p.stopped:
		return PackStopped
	case p.packed != nil && p.packed.WaybillNo == p.label.WaybillNo.String:
		return PackAlready
	}
	return PackMatch
}

// PackCheck compares a permit with the label of the envelope that it is about to be closed into, and records what it
// found. A mismatch stops both envelopes: if one permit lies wrong, the other does too.
func (s *Service) PackCheck(ctx context.Context, permitNo, waybillNo, by string) (PackCheck, error) {
	permitNo, waybillNo = normaliseNo(permitNo), normaliseNo(waybillNo)
	var c checker
	if permitNo == "" {
		c.add("permit_no", "required", "请扫描或填写居住证编号")
	}
	if waybillNo == "" {
		c.add("waybill_no", "required", "请扫描面单上的运单号")
	}
	if len(c.faults) > 0 {
		return PackCheck{}, c.faults
	}
	var found PackCheck
	err := s.inTx(ctx, func(tx *sqlx.Tx) error {
		state, err := readPackState(ctx, tx, permitNo, waybillNo)
		if err != nil {
			return err
		}
		found = PackCheck{Verdict: state.verdict(), PermitNo: permitNo, WaybillNo: waybillNo}
		if state.permit == nil || state.foreign {
			return nil
		}
		found.DeliveryID, found.Expected, found.Status = state.permit.ID, state.permit.WaybillNo.String, state.permit.Status
		return s.recordPackCheck(ctx, tx, state, &found, by)
	})
	return found, err
}

// recordPackCheck writes what follows from a verdict; one that only tells the clerk to look again leaves an audit entry.
func (s *Service) recordPackCheck(ctx context.Context, tx *sqlx.Tx, state packState, found *PackCheck, by string) error {
	now := s.clock.Now()
	switch found.Verdict {
	case PackAlready:
		found.PackedAt, found.PackedBy = state.packed.PackedAt, state.packed.PackedBy
		return nil
	case PackMatch:
		if err := savePacking(ctx, tx, packing{state.permit.ID, found.WaybillNo, now, by}); err != nil {
			return err
		}
		if err := AppendEvents(ctx, tx, []NewEvent{{state.permit.ID, EventPacked, now, EventData{WaybillNo: found.WaybillNo}}}); err != nil {
			return err
		}
	case PackMismatch:
		if err := stopPacking(ctx, tx, *found, []*deliveryRow{state.permit, state.label}, by, now); err != nil {
			return err
		}
	}
	return audit.Append(ctx, tx, audit.Entry{At: now, Actor: by, Action: "pack." + string(found.Verdict), Object: state.permit.ID.String(),
		Detail: map[string]string{"permit_no": found.PermitNo, "waybill_no": found.WaybillNo}})
}

// stopPacking stops the envelopes that are still here. What they were matched with before counts no more.
func stopPacking(ctx context.Context, tx *sqlx.Tx, found PackCheck, rows []*deliveryRow, by string, now time.Time) error {
	var here []uuid.UUID
	for _, r := range rows {
		if !r.HandedOverAt.Valid && r.Status == Ordered {
			here = append(here, r.ID)
		}
	}
	stopped, err := insertPackStops(ctx, tx, here, found, by, now)
	if err != nil {
		return err
	}
	events := make([]NewEvent, len(stopped))
	for i, id := range stopped {
		events[i] = NewEvent{id, EventPackStopped, now, EventData{WaybillNo: found.WaybillNo}}
	}
	return AppendEvents(ctx, tx, events)
}

// A PackStop is an envelope that must not leave, because a permit was scanned with a wrong label.
type PackStop struct {
	DeliveryID  uuid.UUID `db:"delivery_id"`
	PermitNo    string    `db:"permit_no"` // what was scanned together
	WaybillNo   string    `db:"waybill_no"`
	StoppedAt   time.Time `db:"stopped_at"`
	StoppedBy   string    `db:"stopped_by"`
	OwnPermit   string    `db:"own_permit"` // of the stopped delivery
	OwnWaybill  string    `db:"own_waybill"`
	StationCode string    `db:"station_code"`
}

// PackStops lists the envelopes that are stopped, the oldest first.
func (s *Service) PackStops(ctx context.Context) ([]PackStop, error) {
	return listPackStops(ctx, s.q())
}

var errNotStopped = &Conflict{"not_stopped", "该信封没有待处理的核对不符，无需处理"}

// settlePackStop lets an envelope go on once two people have looked into it. It must be checked again.
func settlePackStop(ctx context.Context, tx *sqlx.Tx, row *deliveryRow, settledBy, confirmedBy string, now time.Time) error {
	if settledBy == confirmedBy {
		return &Conflict{"same_person", "核对处理须由两个人分别确认"}
	}
	done, err := savePackSettled(ctx, tx, row.ID, settledBy, confirmedBy, now)
	if err != nil {
		return err
	}
	if !done {
		return errNotStopped
	}
	return AppendEvents(ctx, tx, []NewEvent{{row.ID, EventPackSettled, now, EventData{WaybillNo: row.WaybillNo.String}}})
}
