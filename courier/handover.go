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

// maxHandOvers bounds one list of envelopes: more than a courier carries away at a time.
const maxHandOvers = 500

// defaultHandOverReason stands in the audit when a clerk gives none: the act explains itself.
const defaultHandOverReason = "交给邮政揽收人员"

// A HandOverOutcome says what became of one number of a list.
type HandOverOutcome string

const (
	HandOverRecorded   HandOverOutcome = "recorded"
	HandOverAlready    HandOverOutcome = "already"     // recorded before, or earlier in the list
	HandOverUnknown    HandOverOutcome = "unknown"     // no delivery has this waybill
	HandOverNotOrdered HandOverOutcome = "not_ordered" // EMS has not confirmed it, or it will not be sent
	HandOverStopped    HandOverOutcome = "stopped"     // being cancelled or readdressed: the envelope must not leave
	HandOverTooEarly   HandOverOutcome = "too_early"   // the time given lies before the delivery was made
	HandOverMismatch   HandOverOutcome = "mismatch"    // a pack check found another permit's label: two people must settle it first
)

// A HandOverResult is the outcome of one number, as it was given.
type HandOverResult struct {
	WaybillNo  string
	DeliveryID uuid.UUID // zero when unknown
	Outcome    HandOverOutcome
}

// HandOver records that an envelope was given to EMS's courier; from then on EMS has so many hours to accept it. A zero
// at is now. An envelope that EMS has accepted already is recorded too, and the event says that it came after.
func (s *Service) HandOver(ctx context.Context, id uuid.UUID, at time.Time, reason, by string) (Delivery, error) {
	reason = cmp.Or(oneLine(reason), defaultHandOverReason)
	return s.change(ctx, id, "handover", reason, by, func(tx *sqlx.Tx, row *deliveryRow, _ string, now time.Time) (bool, error) {
		at, err := pastTime("at", at, now)
		if err != nil {
			return false, err
		}
		stopped, err := beingReaddressed(ctx, tx, []uuid.UUID{id})
		if err != nil {
			return false, err
		}
		mismatched, err := packStopped(ctx, tx, id)
		if err != nil {
			return false, err
		}
		switch o := handOver(row, stopped[id], mismatched, at); o {
		case HandOverRecorded:
			return true, recordHandOvers(ctx, tx, []*deliveryRow{row}, at, now)
		case HandOverAlready:
			return false, nil
		default:
			return false, handOverConflict(o)
		}
	})
}

func handOverConflict(o HandOverOutcome) error {
	switch o {
	case HandOverStopped:
		return &Conflict{"being_stopped", "该寄递正在取消或改址，请勿交寄，待处理完成后使用新面单"}
	case HandOverMismatch:
		return &Conflict{"pack_mismatch", "装封核对时证件与面单不符，须两人核对处理后方可交寄"}
	case HandOverTooEarly:
		return Faults{{"at", "before_delivery", "交寄时间早于该寄递的建立时间，请核对"}}
	}
	return &Conflict{"not_ordered", "EMS 尚未确认订单或该寄递不再寄出，不能登记交寄"}
}

// handOver decides about one delivery.
func handOver(row *deliveryRow, stopped, mismatched bool, at time.Time) HandOverOutcome {
	switch {
	case row.HandedOverAt.Valid:
		return HandOverAlready
	case mismatched:
		return HandOverMismatch
	case row.Status == Ordered && (stopped || row.CancelRequested.Valid):
		return HandOverStopped
	case row.Status != Ordered && !handedOn(row.Status):
		return HandOverNotOrdered
	case at.Before(row.CreatedAt.Add(-clockSkew)):
		return HandOverTooEarly
	}
	return HandOverRecorded
}

// handedOn reports whether EMS has, or had, the envelope of a delivery that stands at st.
func handedOn(st Status) bool { return slices.Contains(onTheWay, st) }

// HandOverAll records a list of scanned envelopes with one statement; a zero at is now. The results are in the order of
// the numbers, and what is wrong with one never stops another.
func (s *Service) HandOverAll(ctx context.Context, waybillNos []string, at time.Time, by string) (results []HandOverResult, err error) {
	switch n := len(waybillNos); {
	case n == 0:
		return nil, Faults{{"waybill_nos", "required", "请扫描或填写至少一个运单号"}}
	case n > maxHandOvers:
		return nil, Faults{{"waybill_nos", "too_many", fmt.Sprintf("一次最多登记%d件，请分批提交", maxHandOvers)}}
	}
	err = s.inTx(ctx, func(tx *sqlx.Tx) error {
		results, err = s.handOverAll(ctx, tx, waybillNos, at, by)
		return err
	})
	return results, err
}

func (s *Service) handOverAll(ctx context.Context, tx *sqlx.Tx, waybillNos []string, at time.Time, by string) ([]HandOverResult, error) {
	now := s.clock.Now()
	at, err := pastTime("at", at, now)
	if err != nil {
		return nil, err
	}
	rows, err := lockByWaybill(ctx, tx, waybillNos)
	if err != nil {
		return nil, err
	}
	stopped, err := beingReaddressed(ctx, tx, idsOf(rows))
	if err != nil {
		return nil, err
	}
	mismatched, err := packStoppedOf(ctx, tx, idsOf(rows))
	if err != nil {
		return nil, err
	}
	results := make([]HandOverResult, len(waybillNos))
	var record []*deliveryRow
	var entries []audit.Entry
	seen := map[uuid.UUID]bool{}
	for i, no := range waybillNos {
		results[i] = HandOverResult{WaybillNo: no, Outcome: HandOverUnknown}
		row := rows[normaliseNo(no)]
		if row == nil {
			continue
		}
		results[i].DeliveryID, results[i].Outcome = row.ID, handOver(row, stopped[row.ID], mismatched[row.ID], at)
		if results[i].Outcome != HandOverRecorded {
			continue
		}
		if seen[row.ID] {
			results[i].Outcome = HandOverAlready
			continue
		}
		seen[row.ID] = true
		record = append(record, row)
		entries = append(entries, audit.Entry{At: now, Actor: by, Action: "handover", Object: row.ID.String(),
			Detail: map[string]string{"from": string(row.Status), "reason": defaultHandOverReason}})
	}
	if err := recordHandOvers(ctx, tx, record, at, now); err != nil {
		return nil, err
	}
	return results, audit.Append(ctx, tx, entries...)
}

// afterAcceptance marks a hand-over that was recorded when EMS had the envelope already.
const afterAcceptance = "after_acceptance"

func recordHandOvers(ctx context.Context, tx *sqlx.Tx, rows []*deliveryRow, at, now time.Time) error {
	ids, events := make([]uuid.UUID, len(rows)), make([]NewEvent, len(rows))
	for i, row := range rows {
		data := EventData{WaybillNo: row.WaybillNo.String, HandedOverAt: at.In(beijing).Format(time.RFC3339)}
		if row.Status != Ordered {
			data.Outcome = afterAcceptance
		}
		ids[i], events[i] = row.ID, NewEvent{row.ID, EventHandedOver, now, data}
	}
	if err := saveHandOvers(ctx, tx, ids, at); err != nil {
		return err
	}
	return AppendEvents(ctx, tx, events)
}

// pastTime gives the time that a person wrote down for what has happened; zero is now.
func pastTime(field string, at, now time.Time) (time.Time, error) {
	if at.IsZero() {
		return now, nil
	}
	if at.After(now.Add(clockSkew)) {
		return at, Faults{{field, "future", "时间晚于现在，请核对时间与时区"}}
	}
	return at, nil
}

func idsOf(rows map[string]*deliveryRow) []uuid.UUID {
	ids := make([]uuid.UUID, 0, len(rows))
	for _, r := range rows {
		ids = append(ids, r.ID)
	}
	return ids
}
