package courier

import (
	"cmp"
	"context"
	"strings"
	"time"

	"emsd/courier/audit"
	"emsd/courier/vault"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// Who may take a permit at the counter, and the documents that prove it (schema, returns).
var (
	pickers     = []string{"holder", "agent"}
	idDocuments = []string{"resident_id", "temporary_id", "household_book", "police_certificate", "passport", "travel_permit"}
)

// A PickUp is a permit handed out at the counter: to whom, and which document was seen.
type PickUp struct {
	Who         string
	IDDocument  string
	AgentName   vault.Secret
	At          time.Time // zero: now
	Reason      string    // may be empty
	PermitValid bool      // the clerk has made sure that a permit once declared lost was not voided
}

func (p *PickUp) check(now time.Time) Faults {
	var c checker
	c.oneOf("who", p.Who, pickers)
	c.oneOf("id_document", p.IDDocument, idDocuments)
	p.AgentName = vault.Conceal(normaliseName(p.AgentName.Reveal()))
	switch name := p.AgentName.Reveal(); {
	case p.Who == "agent":
		c.name("agent_name", name)
	case name != "":
		c.add("agent_name", "unexpected", "本人领取时不填代领人姓名")
	}
	var err error
	if p.At, err = pastTime("at", p.At, now); err != nil {
		c.add("at", "future", "领取时间晚于现在，请核对时间与时区")
	}
	return c.faults
}

// PickUp records that a returned permit was handed out at the counter. The issue is done with it: it is not sent again.
// The same pick-up twice is one.
func (s *Service) PickUp(ctx context.Context, id uuid.UUID, p PickUp, by string) (View, error) {
	if faults := p.check(s.clock.Now()); len(faults) > 0 {
		return View{}, faults
	}
	reason := cmp.Or(oneLine(p.Reason), "到受理点领取")
	if name := p.AgentName.Reveal(); name != "" {
		reason = strings.ReplaceAll(reason, name, "…")
	}
	_, err := s.change(ctx, id, "return.pick_up", reason, by, func(tx *sqlx.Tx, row *deliveryRow, reason string, now time.Time) (bool, error) {
		ret, err := lockReturn(ctx, tx, id)
		if err != nil {
			return false, err
		}
		if ret != nil && !ret.PickedUpAt.IsZero() && ret.PickedUpWho == p.Who && ret.IDDocument == p.IDDocument {
			return false, nil
		}
		if err := onShelf(row, ret); err != nil {
			return false, err
		}
		if p.At.Before(ret.ReceivedAt.Add(-clockSkew)) {
			return false, Faults{{"at", "before_return", "领取时间早于退件登记时间，请核对"}}
		}
		if err := stillValid(ctx, tx, id, p.PermitValid); err != nil {
			return false, err
		}
		if err := s.pickUp(ctx, tx, *ret, p, reason, by, now); err != nil {
			return false, err
		}
		// Audited here with more than change knows: who took it, on which document.
		return false, audit.Append(ctx, tx, audit.Entry{At: now, Actor: by, Action: "return.pick_up", Object: id.String(),
			Detail: map[string]string{"from": string(row.Status), "reason": reason, "who": p.Who, "id_document": p.IDDocument}})
	})
	if err != nil {
		return View{}, err
	}
	return s.Get(ctx, id)
}

// stillValid asks for a clerk's word about a permit that was declared lost, since its voiding may be under way.
func stillValid(ctx context.Context, tx *sqlx.Tx, id uuid.UUID, confirmed bool) error {
	if confirmed {
		return nil
	}
	lost, err := declaredLost(ctx, tx, id)
	if err == nil && lost {
		err = errMaybeVoid
	}
	return err
}

func (s *Service) pickUp(ctx context.Context, tx *sqlx.Tx, ret Return, p PickUp, reason, by string, now time.Time) error {
	ret.PickedUpAt, ret.PickedUpBy, ret.PickedUpWho, ret.IDDocument = p.At, by, p.Who, p.IDDocument
	var agent []byte
	if !p.AgentName.IsZero() && p.Who == "agent" {
		agent = s.vault.Seal(vault.ColumnAgent, ret.DeliveryID, p.AgentName.Reveal())
	}
	if err := savePickUp(ctx, tx, ret, agent); err != nil {
		return err
	}
	if err := AppendEvents(ctx, tx, []NewEvent{{ret.DeliveryID, EventPickedUp, now, EventData{Who: p.Who}}}); err != nil {
		return err
	}
	return CloseCases(ctx, tx, closings(ret.DeliveryID, "picked_up", by, reason, now, CaseReturned, CaseStalled, CaseAddress, CaseSMSFailed))
}

// What becomes of an envelope that nobody wants any more.
const (
	SentBack  = "sent_back" // to the issuing office, when its time on the shelf is over
	Destroyed = "destroyed" // its permit was voided after it had been declared lost
)

// Dispose ends the keeping of a returned envelope: back to the issuing office after its last day, or destroyed when the
// permit in it was declared lost and voided. The same twice is one.
func (s *Service) Dispose(ctx context.Context, id uuid.UUID, how, reason, by string) (View, error) {
	var c checker
	c.oneOf("how", how, []string{SentBack, Destroyed})
	if len(c.faults) > 0 {
		return View{}, c.faults
	}
	_, err := s.change(ctx, id, "return."+how, reason, by, func(tx *sqlx.Tx, row *deliveryRow, reason string, now time.Time) (bool, error) {
		ret, err := lockReturn(ctx, tx, id)
		if err != nil || ret != nil && ret.Disposal == how {
			return false, err
		}
		if err := onShelf(row, ret); err != nil {
			return false, err
		}
		lost, err := declaredLost(ctx, tx, id)
		if err != nil {
			return false, err
		}
		if err := disposable(*ret, how, lost, now); err != nil {
			return false, err
		}
		ret.DisposedAt, ret.DisposedBy, ret.Disposal = now, by, how
		if err := saveDisposal(ctx, tx, *ret); err != nil {
			return false, err
		}
		if err := AppendEvents(ctx, tx, []NewEvent{{id, EventReturnDisposed, now, EventData{Outcome: how}}}); err != nil {
			return false, err
		}
		return true, CloseCases(ctx, tx, closings(id, how, by, reason, now, CaseReturned, CaseStalled, CaseAddress, CaseSMSFailed))
	})
	if err != nil {
		return View{}, err
	}
	return s.Get(ctx, id)
}

// disposable says why an envelope must be kept.
func disposable(ret Return, how string, lost bool, now time.Time) error {
	switch {
	case how == Destroyed && !lost:
		return &Conflict{"permit_not_void", "该证没有登记过遗失，不能销毁；保管期满的，交回制证部门"}
	case how == SentBack && !lost && day(now.In(beijing)) <= day(ret.RetainUntil):
		return &Conflict{"still_kept", "保管期至 " + day(ret.RetainUntil) + "，期满前须为申请人保留"}
	}
	return nil
}
