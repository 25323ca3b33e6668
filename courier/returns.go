package courier

import (
	"context"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"emsd/courier/audit"
	"emsd/courier/vault"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// retainDays is how long a returned envelope is kept for its holder. The notice of 2017 names no term; a month covers an
// absence of several weeks and keeps the shelf from filling.
const retainDays = 30

// maxShelf bounds the name of a place on the shelf.
const maxShelf = 20

// RuleReceived is the named rule by which an envelope in a clerk's hands is returned, whatever EMS's scans say (I-6).
const RuleReceived = "received_at_station"

// A Return is an envelope that came back to the issuing station.
type Return struct {
	DeliveryID     uuid.UUID
	ReceivedAt     time.Time
	ReceivedBy     string
	Shelf          string
	RetainUntil    time.Time // last day
	PickedUpAt     time.Time // zero until handed out at the counter
	PickedUpBy     string    // the clerk who handed it out
	PickedUpWho    string    // holder or agent
	IDDocument     string
	AgentName      vault.Secret // only where one return is read
	RedispatchedAs uuid.UUID    // the delivery that sends it out again
	DisposedAt     time.Time    // zero unless it was neither
	DisposedBy     string
	Disposal       string // sent_back or destroyed
	WaybillNo      string // of its delivery, in lists
	PermitNo       string
	StationCode    string
}

// OnShelf reports whether the envelope waits for a decision.
func (r Return) OnShelf() bool {
	return r.PickedUpAt.IsZero() && r.RedispatchedAs == uuid.Nil && r.DisposedAt.IsZero()
}

// ReceiveReturn records that an envelope came back, by the barcode on it, and puts it on a shelf. An envelope in hand is
// stronger than any scan: the delivery is returned, wherever EMS thinks it is. Receiving it twice is receiving it once.
func (s *Service) ReceiveReturn(ctx context.Context, waybillNo, shelf, by string) (View, error) {
	var id uuid.UUID
	err := s.inTx(ctx, func(tx *sqlx.Tx) error {
		row, err := s.rowOfBarcode(ctx, tx, waybillNo)
		if err != nil {
			return err
		}
		id = row.ID
		if shelf, err = s.checkShelf(row, shelf); err != nil {
			return err
		}
		if err := receivable(row); err != nil {
			return err
		}
		ret, err := lockReturn(ctx, tx, id)
		if err != nil {
			return err
		}
		if ret != nil && row.Status == Returned {
			return receivedBefore(ret, shelf)
		}
		if ret != nil && !ret.PickedUpAt.IsZero() {
			return ErrPickedUp
		}
		if ret != nil && !ret.DisposedAt.IsZero() {
			return errDisposed
		}
		return s.receive(ctx, tx, row, shelf, by)
	})
	if err != nil {
		return View{}, err
	}
	return s.Get(ctx, id)
}

// rowOfBarcode locks the delivery of a scanned waybill.
func (s *Service) rowOfBarcode(ctx context.Context, tx *sqlx.Tx, waybillNo string) (*deliveryRow, error) {
	no := normaliseNo(waybillNo)
	if no == "" {
		return nil, Faults{{"waybill_no", "required", "请扫描面单上的运单号"}}
	}
	rows, err := lockByWaybill(ctx, tx, []string{no})
	if err != nil {
		return nil, err
	}
	if row := rows[no]; row != nil {
		return row, nil
	}
	void, err := wasVoided(ctx, tx, no)
	if err != nil {
		return nil, err
	}
	if void {
		return nil, &Conflict{"waybill_void", "该运单号已作废，信封上不应再有这张面单：请核对信封内的居住证，按其现用运单号办理"}
	}
	return nil, ErrNotFound
}

// checkShelf takes a short name of a place; nothing in it may tell whose envelope lies there.
func (s *Service) checkShelf(row *deliveryRow, shelf string) (string, error) {
	shelf = oneLine(halfWidth(shelf))
	bad := func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-_/# .", r)
	}
	switch {
	case shelf == "":
		return "", Faults{{"shelf", "required", "请填写架位号，例如 A-12"}}
	case utf8.RuneCountInString(shelf) > maxShelf || strings.ContainsFunc(shelf, bad):
		return "", Faults{{"shelf", "format", "架位号最多20个字，只能由文字、数字和 - _ / # . 组成，例如 A-12"}}
	}
	d, err := row.unsealed(s.vault)
	if err != nil {
		return "", err
	}
	for _, secret := range []vault.Secret{d.Recipient.Name, d.Recipient.Phone, d.Recipient.IDNo} {
		if text := secret.Reveal(); text != "" && strings.Contains(shelf, text) {
			return "", Faults{{"shelf", "personal", "架位号不能包含收件人的姓名、电话或证件号"}}
		}
	}
	return shelf, nil
}

// receivable says why an envelope of this delivery cannot be at the counter.
func receivable(row *deliveryRow) error {
	switch row.Status {
	case Cancelled:
		return &Conflict{"cancelled_delivery", "该寄递已取消，这个信封不应在途：请核对信封内的居住证，确认其现用运单后按事项处理"}
	case Ordered:
		if row.HandedOverAt.Valid {
			return nil // EMS's courier brought it back before anything was scanned
		}
		return &Conflict{"not_handed_over", "该件尚未交寄，不是退件；如不再寄出，请取消该寄递"}
	}
	if !handedOn(row.Status) {
		return &Conflict{"not_ordered", "EMS 尚未确认该件的订单，不是退件，请核对面单"}
	}
	return nil
}

func receivedBefore(ret *Return, shelf string) error {
	if ret.Shelf != shelf {
		return &Conflict{"on_another_shelf", "该件已登记在架位 " + ret.Shelf + "；确需移动的，请办理移架"}
	}
	return nil
}

// receive writes everything that follows from an envelope at the counter.
func (s *Service) receive(ctx context.Context, tx *sqlx.Tx, row *deliveryRow, shelf, by string) error {
	now := s.clock.Now()
	if row.Status != Returned {
		move := Move{ID: row.ID, From: row.Status, To: Returned, At: now, Data: EventData{Rule: RuleReceived, WaybillNo: row.WaybillNo.String}}
		if _, err := ApplyMoves(ctx, tx, []Move{move}); err != nil {
			return err
		}
	}
	if err := stopAsking(ctx, tx, row.ID, Returned); err != nil {
		return err
	}
	successor, err := s.successor(ctx, tx, row)
	if err != nil {
		return err
	}
	ret := Return{DeliveryID: row.ID, ReceivedAt: now, ReceivedBy: by, Shelf: shelf, RetainUntil: retainUntil(now, s.opts.RetainDays), RedispatchedAs: successor}
	if err := saveReturn(ctx, tx, ret); err != nil {
		return err
	}
	events := []NewEvent{{row.ID, EventReturnReceived, now, EventData{WaybillNo: row.WaybillNo.String, RetainUntil: day(ret.RetainUntil)}}}
	if successor != uuid.Nil {
		events = append(events, NewEvent{row.ID, EventRedispatched, now, EventData{SupersededBy: successor.String()}})
	}
	if err := AppendEvents(ctx, tx, events); err != nil {
		return err
	}
	const why = "邮件已退回受理点并登记上架。"
	if err := endNonReceipts(ctx, tx, row.ID, OutcomeFound, by, why, now); err != nil {
		return err
	}
	if err := CloseCases(ctx, tx, closings(row.ID, "received", by, why, now, CaseStalled, CaseHeld, CaseDeliveredElsewhere, CaseNotReceived, CaseLost)); err != nil {
		return err
	}
	if err := s.shelfCase(ctx, tx, ret, by, now); err != nil {
		return err
	}
	return audit.Append(ctx, tx, audit.Entry{At: now, Actor: by, Action: "return.receive", Object: row.ID.String(),
		Detail: map[string]string{"from": string(row.Status), "shelf": shelf}})
}

// successor finds the delivery that sends the permit of this issue again, made before its envelope was received.
func (s *Service) successor(ctx context.Context, tx *sqlx.Tx, row *deliveryRow) (uuid.UUID, error) {
	all, err := deliveriesOfPermits(ctx, tx, []string{row.PermitNo})
	if err != nil {
		return uuid.Nil, err
	}
	for _, d := range all {
		if d.Supersedes.UUID == row.ID && d.Status != Refused && d.Status != Cancelled {
			return d.ID, nil
		}
	}
	return uuid.Nil, nil
}

// shelfCase tells the clerks what lies where and until when, or that nothing is left to decide.
func (s *Service) shelfCase(ctx context.Context, tx *sqlx.Tx, ret Return, by string, now time.Time) error {
	if !ret.OnShelf() {
		return CloseCases(ctx, tx, closings(ret.DeliveryID, "redispatched", by, "已重新寄递。", now, CaseReturned))
	}
	lost, err := declaredLost(ctx, tx, ret.DeliveryID)
	if err != nil {
		return err
	}
	return putCases(ctx, tx, []NewCase{shelfCase(ret, lost, now)})
}

func shelfCase(ret Return, lost bool, now time.Time) NewCase {
	next := "退件在架位 " + ret.Shelf + "，保管至 " + day(ret.RetainUntil) + "：联系申请人，商定重新寄递（须重新同意、另付寄递费）或带身份证件到所领取。"
	if lost {
		next = "退件在架位 " + ret.Shelf + "，保管至 " + day(ret.RetainUntil) + "：该证曾登记遗失，先在制证系统核实是否已作废；已作废的不得发放，按规定销毁。"
	}
	due := ret.RetainUntil // its morning: the last day to decide
	return NewCase{DeliveryID: ret.DeliveryID, Kind: CaseReturned, OpenedAt: now,
		DueAt: time.Date(due.Year(), due.Month(), due.Day(), 9, 0, 0, 0, beijing), NextAction: next}
}

// retainUntil is the last of some calendar days that an envelope is kept; the day on which it came is not counted.
func retainUntil(received time.Time, days int) time.Time {
	y, m, d := received.In(beijing).Date()
	return time.Date(y, m, d+days, 0, 0, 0, 0, time.UTC) // as PostgreSQL gives back a date
}

func day(t time.Time) string { return t.Format(time.DateOnly) }

func closings(id uuid.UUID, outcome, by, why string, now time.Time, kinds ...CaseKind) []CaseClosing {
	cs := make([]CaseClosing, len(kinds))
	for i, k := range kinds {
		cs[i] = CaseClosing{DeliveryID: id, Kind: k, At: now, Outcome: outcome, By: by, Why: why}
	}
	return cs
}

// ErrPickedUp says that the permit of an issue was handed out at the counter, so that nothing is left to send.
var ErrPickedUp = &Conflict{"permit_picked_up", "该居住证已在柜台领取，不能再办理"}

var (
	errRedispatched = &Conflict{"already_redispatched", "该退件已重新寄递；如需改变，请先取消新的寄递"}
	errNotReceived  = &Conflict{"not_received_at_station", "退件尚未在受理点登记：请先扫描信封上的运单号登记上架"}
	errDisposed     = &Conflict{"return_disposed", "该退件已交回制证部门或销毁，不能再办理"}
	errMaybeVoid    = &Conflict{"permit_may_be_void", "该证曾登记遗失，可能已作废：请先在制证系统核实；确认仍有效的，提交 permit_valid 为 true；已作废的不得发放"}
)

// onShelf says why a return cannot be decided on: where it is not, or what became of it.
func onShelf(row *deliveryRow, ret *Return) error {
	switch {
	case row.Status != Returned && (ret == nil || ret.OnShelf()):
		return &Conflict{"not_returned", "该寄递没有退回，不能办理"}
	case ret == nil:
		return errNotReceived
	case !ret.PickedUpAt.IsZero():
		return ErrPickedUp
	case ret.RedispatchedAs != uuid.Nil:
		return errRedispatched
	case !ret.DisposedAt.IsZero():
		return errDisposed
	}
	return nil
}

// MoveReturn puts a returned envelope on another shelf.
func (s *Service) MoveReturn(ctx context.Context, id uuid.UUID, shelf, by string) (View, error) {
	_, err := s.change(ctx, id, "return.move", "移架", by, func(tx *sqlx.Tx, row *deliveryRow, _ string, now time.Time) (bool, error) {
		shelf, err := s.checkShelf(row, shelf)
		if err != nil {
			return false, err
		}
		ret, err := lockReturn(ctx, tx, id)
		if err != nil {
			return false, err
		}
		if err := onShelf(row, ret); err != nil {
			return false, err
		}
		if ret.Shelf == shelf {
			return false, nil
		}
		ret.Shelf = shelf
		if err := saveReturn(ctx, tx, *ret); err != nil {
			return false, err
		}
		if err := AppendEvents(ctx, tx, []NewEvent{{id, EventReturnMoved, now, EventData{}}}); err != nil {
			return false, err
		}
		return true, s.shelfCase(ctx, tx, *ret, by, now)
	})
	if err != nil {
		return View{}, err
	}
	return s.Get(ctx, id)
}

// A ReturnFilter says which returns to list. Limit is 1 to 500, 100 when it is 0.
type ReturnFilter struct {
	OnShelf bool // only those that wait for a decision
	Overdue bool // only those whose last day is over
	Cursor  string
	Limit   int
}

// A ReturnPage is a part of the list; Next is the cursor of the page behind it.
type ReturnPage struct {
	Returns []Return
	Next    string
}

// Returns lists what lies where, first what may be kept the shortest.
func (s *Service) Returns(ctx context.Context, f ReturnFilter) (ReturnPage, error) {
	after, err := readCursor(f.Cursor, "retain")
	if err != nil {
		return ReturnPage{}, err
	}
	f.Limit = pageLimit(f.Limit)
	all, err := listReturns(ctx, s.q(), f, s.clock.Now().In(beijing), after)
	if err != nil {
		return ReturnPage{}, err
	}
	p := ReturnPage{Returns: all}
	if len(all) > f.Limit {
		p.Returns = all[:f.Limit]
		last := p.Returns[f.Limit-1]
		p.Next = pageMark{true, last.RetainUntil, last.DeliveryID}.cursor("retain")
	}
	return p, nil
}
