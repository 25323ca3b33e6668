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

// A Redispatch is what the applicant wants done with a returned permit: a choice made anew, for the first consent was to
// the first delivery. Name and ID number stay the holder's.
type Redispatch struct {
	Consent       Consent
	PaymentMethod string
	Recipient     *Recipient // a whole new address, and a phone unless the old one stands; nil: as before
	PermitValid   bool       // the clerk has made sure that a permit once declared lost was not voided
}

// Redispatch sends a returned permit again: a new delivery with its own fee, payment, consent, order and waybill, judged
// by the rules of today, that supersedes the old one. Its envelope must lie on the shelf. The result is that of Accept:
// asking again with the same words answers the delivery that was made.
func (s *Service) Redispatch(ctx context.Context, id uuid.UUID, r Redispatch, reason, by string) (Result, error) {
	var res Result
	err := s.inTx(ctx, func(tx *sqlx.Tx) error {
		rows, err := lockDeliveries(ctx, tx, []uuid.UUID{id})
		if err != nil {
			return err
		}
		row := rows[id]
		if row == nil {
			return ErrNotFound
		}
		text, err := s.scrub(row, "reason", reason)
		if err != nil {
			return err
		}
		if p := r.Recipient; p != nil {
			text = withoutPerson(text, Order{Recipient: Party{Phone: normaliseRecipient(*p).Phone, Address: p.Address}})
		}
		if res, err = s.redispatch(ctx, tx, row, r, by); err != nil || res.Outcome != Created {
			return err
		}
		return audit.Append(ctx, tx, audit.Entry{At: s.clock.Now(), Actor: by, Action: "redispatch", Object: id.String(),
			Detail: map[string]string{"from": string(row.Status), "reason": text, "as": res.Delivery.ID.String()}})
	})
	return res, err
}

func (s *Service) redispatch(ctx context.Context, tx *sqlx.Tx, row *deliveryRow, r Redispatch, by string) (Result, error) {
	ret, err := lockReturn(ctx, tx, row.ID)
	if err != nil {
		return Result{}, err
	}
	blocked := onShelf(row, ret)
	if blocked != nil && blocked != errRedispatched {
		return Result{}, blocked
	}
	if err := stillValid(ctx, tx, row.ID, r.PermitValid); err != nil {
		return Result{}, err
	}
	app, err := s.again(row, r)
	if err != nil {
		return Result{}, err
	}
	results, err := s.acceptIn(ctx, tx, []Intake{{Application: app}}, by)
	if err != nil {
		return Result{}, err
	}
	res := results[0]
	switch {
	case res.Outcome == Faulty:
		return Result{}, res.Faults
	case res.Outcome == Existing && res.Delivery.Status == Cancelled:
		return Result{}, &Conflict{"consent_used", "按这份同意建立的重新寄递已取消；请取得申请人新的同意后再办理"}
	case blocked != nil && res.Outcome != Existing: // nothing of it is kept
		return Result{}, blocked
	case res.Outcome == LivePermit:
		return Result{}, &LiveDelivery{res.Delivery.ID}
	}
	return res, nil
}

// again makes the application of a returned permit anew.
func (s *Service) again(row *deliveryRow, r Redispatch) (Application, error) {
	old, err := row.unsealed(s.vault)
	if err != nil {
		return Application{}, err
	}
	if old.Recipient.Name.IsZero() || old.Recipient.IDNo.IsZero() {
		return Application{}, &Conflict{"data_erased", "该寄递的个人资料已按保存期限删除，请由制证系统重新提交"}
	}
	app := old.Application
	app.Consent, app.PaymentMethod = r.Consent, strings.TrimSpace(r.PaymentMethod)
	var faults Faults
	switch {
	case r.Consent.At.IsZero() || r.Consent.Source == "":
		faults = Faults{{"consent", "required", "重新寄递须有申请人在退回之后的同意（来源与时间）"}}
	case r.Consent.At.Before(row.StatusSince.Truncate(time.Second)): // other systems write whole seconds
		faults = Faults{{"consent.at", "before_return", "同意时间须晚于退回时间：对上一次寄递的同意不能用于重新寄递"}}
	}
	if r.Recipient != nil {
		faults = append(faults, newPlace(&app, *r.Recipient)...)
	}
	if len(faults) > 0 {
		return Application{}, faults
	}
	return app, nil
}

// newPlace takes another address and phone, and nobody else's name: the permit is the holder's.
func newPlace(app *Application, to Recipient) Faults {
	var faults Faults
	for field, secret := range map[string]vault.Secret{"recipient.name": to.Name, "recipient.id_no": to.IDNo} {
		if !secret.IsZero() {
			faults = append(faults, Fault{field, "fixed", "收件人只能是持证人本人，不能更改"})
		}
	}
	r := &app.Recipient
	r.Province, r.City, r.County, r.Address = to.Province, to.City, to.County, to.Address
	if !to.Phone.IsZero() {
		r.Phone = to.Phone
	}
	return inOrder(faults)
}

// sendAgain links returns with the new deliveries that send their envelopes again, however those came in.
func (b *batch) sendAgain(ctx context.Context, tx *sqlx.Tx, fresh []*candidate, written map[uuid.UUID]bool) error {
	newer := map[uuid.UUID]uuid.UUID{}
	var olds, news []uuid.UUID
	for _, c := range fresh {
		d := b.results[c.index].Delivery
		if written[d.ID] && d.Supersedes != uuid.Nil {
			newer[d.Supersedes] = d.ID
			olds, news = append(olds, d.Supersedes), append(news, d.ID)
		}
	}
	if len(olds) == 0 {
		return nil
	}
	linked, err := linkReturns(ctx, tx, olds, news)
	if err != nil {
		return err
	}
	var events []NewEvent
	var closed []CaseClosing
	for _, old := range linked {
		events = append(events, NewEvent{old, EventRedispatched, b.now, EventData{SupersededBy: newer[old].String()}})
		closed = append(closed, closings(old, "redispatched", "emsd", "已重新寄递。", b.now, CaseReturned, CaseStalled, CaseAddress, CaseSMSFailed)...)
	}
	if err := AppendEvents(ctx, tx, events); err != nil {
		return err
	}
	return CloseCases(ctx, tx, closed)
}
