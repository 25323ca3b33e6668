package courier

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"emsd/courier/audit"
	"emsd/courier/vault"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// What EMS may be asked to do with an envelope that it has (SPEC 5.27).
const (
	InterveneReaddress = "readdress" // another address; scans 802 or 803 follow
	InterveneWithdraw  = "withdraw"  // back to the station; scans 801, 013 or a return follow
	InterveneUrge      = "urge"      // deliver it at last
	InterveneRedeliver = "redeliver" // deliver it again
)

// States of an intervention. Those up to agreed are open.
const (
	InterventionByPhone = "by_phone" // a clerk telephones, and records what came of it
	InterventionUnsent  = "unsent"   // waits to be sent; nothing has left
	InterventionSending = "sending"  // committed before the call (I-4)
	InterventionUnknown = "unknown"  // may have been taken; never repeated by itself
	InterventionAgreed  = "agreed"   // EMS said yes; scans will tell
	InterventionRefused = "refused"
	InterventionDone    = "done"
	InterventionFailed  = "failed"
)

// interveneAt lists the statuses in which each makes sense.
var interveneAt = map[string][]Status{
	InterveneReaddress: {Accepted, InTransit, OutForDelivery, AttemptFailed, Held},
	InterveneWithdraw:  {Accepted, InTransit, OutForDelivery, AttemptFailed, Held},
	InterveneUrge:      {Accepted, InTransit, OutForDelivery, AttemptFailed, Held, Returning},
	InterveneRedeliver: {AttemptFailed, Held},
}

// interveneCase says under which kind of case a clerk finds an intervention.
func interveneCase(kind string) CaseKind {
	if kind == InterveneReaddress {
		return CaseAddress
	}
	return CaseStalled
}

var interveneWords = map[string]string{
	InterveneReaddress: "在途改址", InterveneWithdraw: "撤回邮件", InterveneUrge: "催促投递", InterveneRedeliver: "再次投递",
}

// interveneWithin is how long a clerk has for an intervention by telephone: the envelope is on its way.
const interveneWithin = 2 * time.Hour

// unsentFor is how long an intervention may wait for EMS before a clerk telephones: the envelope goes on meanwhile.
const unsentFor = time.Hour

// An Intervention is one request about an envelope that EMS has. The new address stays sealed.
type Intervention struct {
	ID         uuid.UUID `db:"id"`
	DeliveryID uuid.UUID `db:"delivery_id"`
	Kind       string    `db:"kind"`
	WaybillNo  string    `db:"waybill_no"`
	AskedAt    time.Time `db:"asked_at"`
	AskedBy    string    `db:"asked_by"`
	Reason     string    `db:"reason"`
	State      string    `db:"state"`
	Detail     string    `db:"detail"`
	RetCode    string    `db:"ret_code"`
	Province   string    `db:"province"`
	City       string    `db:"city"`
	County     string    `db:"county"`
	Address    []byte    `db:"address_sealed"`

	To vault.Secret `db:"-"` // the new address in the open; only where the interventions of one delivery are read
}

// Intervene asks EMS, or a clerk who telephones, to do something with an envelope that EMS has. to is the new address of
// a readdressing. The same request while one is open is that one.
func (s *Service) Intervene(ctx context.Context, id uuid.UUID, kind string, to Recipient, reason, by string) (Intervention, error) {
	statuses, ok := interveneAt[kind]
	if !ok {
		return Intervention{}, Faults{{"kind", "unknown_value", "应为 readdress（改址）、withdraw（撤回）、urge（催投）或 redeliver（再投）"}}
	}
	if kind == InterveneReaddress {
		to = normaliseRecipient(to)
		if faults := CheckDestination(to); len(faults) > 0 {
			return Intervention{}, faults
		}
	}
	var made Intervention
	reason = withoutPerson(reason, Order{Recipient: Party{Address: to.Address}})
	_, err := s.change(ctx, id, "intervene."+kind, reason, by, func(tx *sqlx.Tx, row *deliveryRow, reason string, now time.Time) (bool, error) {
		onHand := row.Status == Ordered && row.HandedOverAt.Valid && kind != InterveneRedeliver // EMS has it, and has not scanned it yet
		if !onHand && !slices.Contains(statuses, row.Status) {
			return false, &Conflict{"intervention_not_possible", "邮件当前状态不能办理" + interveneWords[kind]}
		}
		open, found, err := openIntervention(ctx, tx, id, kind)
		if err != nil {
			return false, err
		}
		if found {
			made, err = s.askedBefore(ctx, tx, open, to, by, now)
			return made.State != open.State, err
		}
		made = Intervention{ID: uuid.Must(uuid.NewV7()), DeliveryID: id, Kind: kind, WaybillNo: row.WaybillNo.String, AskedAt: now, AskedBy: by, Reason: reason,
			State: InterventionByPhone}
		if kind == InterveneReaddress {
			made.Province, made.City, made.County = to.Province, to.City, to.County
			made.Address = s.vault.Seal(vault.ColumnInterventionAddress, made.ID, to.Address.Reveal())
		}
		if s.opts.Interventions {
			made.State = InterventionUnsent
		}
		if err := insertIntervention(ctx, tx, made); err != nil {
			return false, err
		}
		if err := AppendEvents(ctx, tx, []NewEvent{{id, EventIntervene, now, EventData{WaybillNo: made.WaybillNo, Kind: kind}}}); err != nil {
			return false, err
		}
		if s.opts.Interventions {
			return true, Wake(ctx, tx, WakeOrders)
		}
		return true, putCases(ctx, tx, []NewCase{made.byPhone(now)})
	})
	return made, err
}

// urgeAgain is after how long EMS may be urged once more.
const urgeAgain = 24 * time.Hour

// askedBefore is for a request of a kind that is open already. Urging is repeated where nobody knows whether EMS heard it, and
// the next day: said twice it does no harm. Nothing else is ever repeated.
func (s *Service) askedBefore(ctx context.Context, tx *sqlx.Tx, open Intervention, to Recipient, by string, now time.Time) (Intervention, error) {
	if open.Kind == InterveneReaddress {
		was, err := s.vault.Unseal(vault.ColumnInterventionAddress, open.ID, open.Address)
		if err != nil {
			return open, err
		}
		if !sameDestination(Recipient{Province: open.Province, City: open.City, County: open.County, Address: was}, to) {
			return open, &Conflict{"intervention_pending", "正在按另一个新地址办理改址：请先登记其结果，再办理新的改址"}
		}
	}
	silent := open.State == InterventionUnknown || open.State == InterventionAgreed && !now.Before(open.AskedAt.Add(urgeAgain))
	if open.Kind != InterveneUrge || !silent || !s.opts.Interventions {
		return open, nil
	}
	open.State, open.AskedAt, open.AskedBy, open.Detail, open.RetCode = InterventionUnsent, now, by, "", ""
	if err := requeueIntervention(ctx, tx, open); err != nil {
		return open, err
	}
	if err := AppendEvents(ctx, tx, []NewEvent{{open.DeliveryID, EventIntervene, now, EventData{WaybillNo: open.WaybillNo, Kind: open.Kind}}}); err != nil {
		return open, err
	}
	return open, Wake(ctx, tx, WakeOrders)
}

// Open reports whether it is not known yet what came of it.
func (i Intervention) Open() bool {
	switch i.State {
	case InterventionRefused, InterventionDone, InterventionFailed:
		return false
	}
	return true
}

// byPhone tells a clerk what to do and how to record it.
func (i Intervention) byPhone(now time.Time) NewCase {
	next := "请致电 EMS（010-56421484），报运单号 " + i.WaybillNo + "，要求" + interveneWords[i.Kind] + "；办理后登记结果（interventions/close）。"
	if i.Kind == InterveneReaddress {
		next += "新地址见该寄递的干预记录，改址须由寄件方提出。"
	}
	return NewCase{DeliveryID: i.DeliveryID, Kind: interveneCase(i.Kind), OpenedAt: now, DueAt: now.Add(interveneWithin), NextAction: next,
		Detail: interveneWords[i.Kind]}
}

// missed adds a case for an envelope that went on to its old address, or was not brought back.
func (i Intervention) missed(cases []NewCase, now time.Time) []NewCase {
	if i.Kind != InterveneReaddress && i.Kind != InterveneWithdraw {
		return cases
	}
	return append(cases, NewCase{DeliveryID: i.DeliveryID, Kind: interveneCase(i.Kind), OpenedAt: now, DueAt: now.Add(interveneWithin),
		NextAction: interveneWords[i.Kind] + "没有办成，邮件已按原地址处理：请联系申请人和投递网点（010-56421484），核实邮件在谁手中。",
		Detail:     interveneWords[i.Kind] + "未成"})
}

// CloseIntervention records what came of one: done or failed.
func (s *Service) CloseIntervention(ctx context.Context, delivery, id uuid.UUID, result, reason, by string) (Intervention, error) {
	if result != InterventionDone && result != InterventionFailed {
		return Intervention{}, Faults{{"result", "unknown_value", "应为 done（已办成）或 failed（未办成）"}}
	}
	var closed Intervention
	err := s.inTx(ctx, func(tx *sqlx.Tx) error {
		rows, err := lockDeliveries(ctx, tx, []uuid.UUID{delivery})
		if err != nil {
			return err
		}
		row := rows[delivery]
		if row == nil {
			return ErrNotFound
		}
		if closed, err = lockIntervention(ctx, tx, id); err != nil {
			return err
		}
		switch {
		case closed.DeliveryID != delivery:
			return ErrNotFound
		case closed.State == result:
			return nil
		case closed.State == InterventionDone || closed.State == InterventionFailed:
			return &Conflict{"intervention_closed", "该干预已经登记为另一结果"}
		case closed.State == InterventionSending:
			return &Conflict{"intervention_in_flight", "正在向 EMS 提交，请稍候再登记结果"}
		}
		if reason, err = s.scrub(row, "reason", reason); err != nil {
			return err
		}
		if closed.Kind == InterveneReaddress {
			to, err := s.vault.Unseal(vault.ColumnInterventionAddress, closed.ID, closed.Address)
			if err != nil {
				return err
			}
			reason = withoutPerson(reason, Order{Recipient: Party{Address: to}})
		}
		now := s.clock.Now()
		closed.State, closed.Detail = result, reason
		if err := endInterventions(ctx, tx, []Intervention{closed}, by, now); err != nil {
			return err
		}
		return audit.Append(ctx, tx, audit.Entry{At: now, Actor: by, Action: "intervene.close", Object: delivery.String(),
			Detail: map[string]string{"intervention": id.String(), "kind": closed.Kind, "result": result, "reason": reason}})
	})
	return closed, err
}

// An Intervener carries interventions to EMS.
type Intervener interface {
	// Intervene asks once. Its failures are *CarrierError.
	Intervene(ctx context.Context, kind, waybillNo string, to Party) error
}

// Interventions is the round that sends what was asked for, and sees by the scans what came of it.
type Interventions struct {
	db      *sqlx.DB
	vault   *vault.Vault
	carrier Intervener // nil: a clerk telephones
	clock   Clock
	lease   time.Duration
	log     *slog.Logger
}

// NewInterventions returns the round; it starts nothing. A call takes less than the lease.
func NewInterventions(db *sqlx.DB, v *vault.Vault, c Intervener, clock Clock, lease time.Duration, log *slog.Logger) *Interventions {
	return &Interventions{db, v, c, clock, lease, log}
}

// interveneChunk bounds one transaction; these are few.
const interveneChunk = 50

// Round sends each intervention once and ends those that scans have settled.
func (r *Interventions) Round(ctx context.Context) error {
	if err := settleInterventions(ctx, r.db, r.clock.Now()); err != nil {
		return err
	}
	for r.carrier != nil {
		wall := r.clock.Wall()
		jobs, err := claimInterventions(ctx, r.db, interveneChunk, r.clock.Now(), wall, r.lease)
		if err != nil || len(jobs) == 0 {
			return err
		}
		for i := range jobs {
			r.send(ctx, &jobs[i], wall.Add(r.lease))
		}
		if err := r.record(context.WithoutCancel(ctx), jobs); err != nil {
			return err
		}
		if ctx.Err() != nil || slices.ContainsFunc(jobs, func(j Intervention) bool { return j.State == InterventionUnsent }) {
			return ctx.Err() // EMS is out of reach: the next turn tries again
		}
	}
	return nil
}

// send makes the one call of an intervention and writes down in it what it came to. A call that could outlive the lease is
// not begun: another replica would take it for lost.
func (r *Interventions) send(ctx context.Context, i *Intervention, until time.Time) {
	to := Party{Province: i.Province, City: i.City, County: i.County}
	if i.Kind == InterveneReaddress {
		address, err := r.vault.Unseal(vault.ColumnInterventionAddress, i.ID, i.Address)
		if err != nil {
			i.State, i.Detail = InterventionRefused, "新地址无法解密，请管理员检查密钥"
			return
		}
		to.Address = address
	}
	left := until.Sub(r.clock.Wall())
	if ctx.Err() != nil || left < r.lease/4 {
		i.State = InterventionUnsent
		return
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), left)
	defer cancel()
	err := r.carrier.Intervene(bounded, i.Kind, i.WaybillNo, to)
	i.State = InterventionAgreed
	if err == nil {
		return
	}
	i.State, i.Detail = InterventionUnknown, "没有明确答复"
	if ce, ok := errors.AsType[*CarrierError](err); ok {
		i.RetCode, i.Detail = ce.RetCode, withoutPerson(ce.Message, Order{Recipient: to})
		switch ce.Kind {
		case RefusedByCarrier:
			i.State = InterventionRefused
		case Unsent:
			i.State = InterventionUnsent
		}
	}
	r.log.WarnContext(ctx, "an intervention did not go through", "delivery", i.DeliveryID, "kind", i.Kind, "state", i.State, "code", i.RetCode)
}

// record writes what the calls came to, and calls a clerk where EMS did not agree.
func (r *Interventions) record(ctx context.Context, jobs []Intervention) error {
	now := r.clock.Now()
	var cases []NewCase
	for _, i := range jobs {
		c := i.byPhone(now)
		switch i.State {
		case InterventionRefused:
			c.Detail = interveneWords[i.Kind] + "：EMS 不同意，" + withCode(i.RetCode, i.Detail)
		case InterventionUnknown:
			c.Detail = interveneWords[i.Kind] + "：提交后没有明确答复，系统不会重复提交；请以后续轨迹或电话核实为准"
		case InterventionUnsent:
			if now.Before(i.AskedAt.Add(unsentFor)) {
				continue
			}
			c.Detail = interveneWords[i.Kind] + "：EMS 接口一直不通，尚未提交；系统会继续尝试"
		default:
			continue
		}
		cases = append(cases, c)
	}
	err := InTx(ctx, r.db, func(tx *sqlx.Tx) error {
		if err := putCases(ctx, tx, cases); err != nil { // first: it locks deliveries, as everybody does before interventions
			return err
		}
		return saveInterventions(ctx, tx, jobs, r.clock.Wall())
	})
	if err != nil {
		return fmt.Errorf("record %d interventions: %w", len(jobs), err)
	}
	return nil
}
