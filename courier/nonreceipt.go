package courier

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// Outcomes of a report of non-receipt.
const (
	OutcomeFound  = "found"  // it has turned up; nothing moves
	OutcomeResent = "resent" // EMS delivers the same envelope again, under the same waybill; its scans tell the rest
	OutcomeLost   = "lost"   // declared lost: the permit is voided and issued anew
)

// RuleDeclaredLost is the named rule by which a person declares an envelope lost (I-6).
const RuleDeclaredLost = "declared_lost"

// notReceivedWithin is how long a clerk has for a report: the trail to whoever has the envelope grows cold within a day.
const notReceivedWithin = 4 * time.Hour

const notReceivedNext = "申请人称未收到：对照邮政的签收信息联系投递网点核实去向，再致电申请人；以找到、重新投递或登记遗失办结。"

// factScans is how many of the last scans a report keeps.
const factScans = 5

// A NonReceipt is somebody's word that an envelope did not arrive, and what EMS said at that time.
type NonReceipt struct {
	ID         uuid.UUID
	DeliveryID uuid.UUID
	SaidAt     time.Time
	SaidBy     string // resident or clerk
	RecordedBy string
	Facts      Facts
	EndedAt    time.Time // zero while open
	Outcome    string
	EndedBy    string
	Why        string
}

// Facts are what is known of an envelope when it is said to be missing. Nothing in them is personal.
type Facts struct {
	Status    Status      `json:"status"`
	Since     time.Time   `json:"since"`
	Receiver  string      `json:"receiver,omitempty"` // class of who or what received it
	WaybillNo string      `json:"waybill_no"`
	Scans     []FactsScan `json:"scans"` // the last ones, oldest first
}

// A FactsScan is one scan without the carrier's sentence.
type FactsScan struct {
	At      time.Time `json:"at"`
	Code    string    `json:"code"`
	OrgName string    `json:"org_name,omitempty"`
}

// ReportNotReceived records that an envelope did not arrive, opens case not_received, and has EMS asked anew. While a
// report is open another one is the same.
func (s *Service) ReportNotReceived(ctx context.Context, id uuid.UUID, saidBy, reason, by string) (View, error) {
	var c checker
	c.oneOf("said_by", saidBy, []string{"resident", "clerk"})
	if len(c.faults) > 0 {
		return View{}, c.faults
	}
	_, err := s.change(ctx, id, "not_received", reason, by, func(tx *sqlx.Tx, row *deliveryRow, reason string, now time.Time) (bool, error) {
		if err := missable(row); err != nil {
			return false, err
		}
		open, err := lockNonReceipt(ctx, tx, id)
		if err != nil || open != nil {
			return false, err
		}
		facts, err := factsOf(ctx, tx, row)
		if err != nil {
			return false, err
		}
		report := NonReceipt{ID: uuid.Must(uuid.NewV7()), DeliveryID: id, SaidAt: now, SaidBy: saidBy, RecordedBy: by, Facts: facts}
		if err := insertNonReceipt(ctx, tx, report); err != nil {
			return false, err
		}
		if err := AppendEvents(ctx, tx, []NewEvent{{id, EventNotReceived, now, EventData{Who: saidBy, Receiver: row.Receiver}}}); err != nil {
			return false, err
		}
		if err := putCases(ctx, tx, []NewCase{{DeliveryID: id, Kind: CaseNotReceived, OpenedAt: now, DueAt: now.Add(notReceivedWithin),
			NextAction: notReceivedNext, Detail: reason}}); err != nil {
			return false, err
		}
		return true, askAnew(ctx, tx, row.WaybillNo.String, now)
	})
	if err != nil {
		return View{}, err
	}
	return s.Get(ctx, id)
}

// missable says why an envelope cannot be missed: it is not with EMS, or where it is is known.
func missable(row *deliveryRow) error {
	switch row.Status {
	case Returned:
		return &Conflict{"already_returned", "邮件已退回受理点：请申请人到所领取，或重新寄递"}
	case Lost:
		return &Conflict{"already_lost", "邮件已登记遗失，请按“遗失”事项办理"}
	case Refused, Cancelled:
		return &Conflict{"already_finished", "该寄递已经结束，没有在途邮件"}
	}
	if row.Status == Ordered || !handedOn(row.Status) {
		return &Conflict{"not_accepted", "邮政尚未收寄该件，不能登记未收到"}
	}
	return nil
}

// EndNotReceived ends the open report: found and resent close it and move nothing, lost declares the envelope lost. The
// same end twice is one.
func (s *Service) EndNotReceived(ctx context.Context, id uuid.UUID, outcome, reason, by string) (View, error) {
	var c checker
	c.oneOf("outcome", outcome, []string{OutcomeFound, OutcomeResent, OutcomeLost})
	if len(c.faults) > 0 {
		return View{}, c.faults
	}
	_, err := s.change(ctx, id, "not_received."+outcome, reason, by, func(tx *sqlx.Tx, row *deliveryRow, reason string, now time.Time) (bool, error) {
		return s.endNotReceived(ctx, tx, row, outcome, reason, by, now)
	})
	if err != nil {
		return View{}, err
	}
	return s.Get(ctx, id)
}

func (s *Service) endNotReceived(ctx context.Context, tx *sqlx.Tx, row *deliveryRow, outcome, reason, by string, now time.Time) (bool, error) {
	open, err := lockNonReceipt(ctx, tx, row.ID)
	if err != nil {
		return false, err
	}
	if open == nil {
		return false, endedBefore(ctx, tx, row.ID, outcome)
	}
	if outcome == OutcomeLost {
		return true, s.declareLost(ctx, tx, row, reason, by, now)
	}
	if err := endNonReceipts(ctx, tx, row.ID, outcome, by, reason, now); err != nil {
		return false, err
	}
	return true, CloseCases(ctx, tx, closings(row.ID, outcome, by, reason, now, CaseNotReceived))
}

func endedBefore(ctx context.Context, tx *sqlx.Tx, id uuid.UUID, outcome string) error {
	last, err := lastOutcome(ctx, tx, id)
	if err == nil && last != outcome {
		err = &Conflict{"no_open_report", "该寄递没有未办结的“未收到”登记"}
	}
	return err
}

// DeclareLost gives up an envelope that is not to be found, or confirms that it is lost when EMS says so. Only where an
// open case says that something is wrong: nobody loses an envelope by a slip.
func (s *Service) DeclareLost(ctx context.Context, id uuid.UUID, reason, by string) (View, error) {
	_, err := s.change(ctx, id, "declare_lost", reason, by, func(tx *sqlx.Tx, row *deliveryRow, reason string, now time.Time) (bool, error) {
		if row.Status == Lost {
			if declared, err := lossConfirmed(ctx, tx, id); err != nil || declared {
				return false, err
			}
		}
		if err := missed(ctx, tx, id); err != nil {
			return false, err
		}
		return true, s.declareLost(ctx, tx, row, reason, by, now)
	})
	if err != nil {
		return View{}, err
	}
	return s.Get(ctx, id)
}

// missed says why nobody may declare an envelope lost: no open case says that something is wrong.
func missed(ctx context.Context, tx *sqlx.Tx, id uuid.UUID) error {
	for _, kind := range []CaseKind{CaseLost, CaseNotReceived, CaseStalled} {
		if open, err := hasOpenCase(ctx, tx, id, kind); err != nil || open {
			return err
		}
	}
	return &Conflict{"no_open_case", "该寄递没有“滞留”“未收到”或“遗失”的未办结事项，不能登记遗失；请先登记未收到并向邮政核实"}
}

// declareLost moves the delivery to lost, unless EMS was first, and tells the permit system to void and reissue. Every
// case about where the envelope is ends with it. EMS goes on being asked: what turns up is told.
func (s *Service) declareLost(ctx context.Context, tx *sqlx.Tx, row *deliveryRow, reason, by string, now time.Time) error {
	if err := losable(ctx, tx, row); err != nil {
		return err
	}
	if row.Status != Lost {
		move := Move{ID: row.ID, From: row.Status, To: Lost, At: now, Data: EventData{Rule: RuleDeclaredLost, WaybillNo: row.WaybillNo.String}}
		if _, err := ApplyMoves(ctx, tx, []Move{move}); err != nil {
			return err
		}
	}
	if err := AppendEvents(ctx, tx, []NewEvent{{row.ID, EventPermitLost, now, EventData{Rule: RuleDeclaredLost, WaybillNo: row.WaybillNo.String}}}); err != nil {
		return err
	}
	if err := endNonReceipts(ctx, tx, row.ID, OutcomeLost, by, reason, now); err != nil {
		return err
	}
	return CloseCases(ctx, tx, closings(row.ID, RuleDeclaredLost, by, reason, now,
		CaseNotReceived, CaseLost, CaseStalled, CaseDeliveredElsewhere, CaseHeld, CaseReturned, CaseAddress, CaseSMSFailed))
}

// losable says why an envelope cannot be lost: it never was with EMS, or it lies on our own shelf.
func losable(ctx context.Context, tx *sqlx.Tx, row *deliveryRow) error {
	switch {
	case row.Status == Cancelled || !handedOn(row.Status) && row.Status != Ordered:
		return &Conflict{"not_accepted", "该寄递没有在途邮件，不能登记遗失"}
	case row.Status == Ordered && !row.HandedOverAt.Valid:
		return &Conflict{"not_handed_over", "邮件尚未交寄，不能登记遗失；如不再寄出，请取消该寄递"}
	case row.Status != Returned:
		return nil
	}
	ret, err := lockReturn(ctx, tx, row.ID)
	if err == nil && ret != nil {
		err = &Conflict{"received_at_station", "退件已在受理点登记，不能登记遗失"}
	}
	return err
}
