package console

import (
	"time"

	"emsd/courier"
	"emsd/courier/staff"
	"emsd/courier/vault"

	"github.com/google/uuid"
)

// deliveryActions change one delivery. Each form carries a reason and the box "sure", which is the confirmation that works
// without script.
func (c *Console) deliveryActions() []page {
	on := func(name string, action staff.Action, notice string, do func(v *visit, id uuid.UUID, reason string) error) page {
		return at("POST /console/deliveries/{id}/"+name, action, func(v *visit) error { return c.act(v, notice, do) })
	}
	return []page{
		on("pay", staff.Pay, "paid", c.pay), on("refund", staff.Refund, "refunded", c.refund),
		on("cancel", staff.Cancel, "cancelled", c.cancel), on("retry", staff.Retry, "retried", c.retry),
		on("address", staff.Address, "address", c.changeAddress), on("handover", staff.HandOver, "handed_over", c.handOver),
		on("not-received", staff.NotReceived, "not_received", c.notReceived), on("intervene", staff.Intervene, "intervened", c.intervene),
		on("interventions/{intervention}", staff.Intervene, "intervention_closed", c.closeIntervention),
		on("redispatch", staff.Redispatch, "redispatched", c.redispatch), on("ask", staff.AskEMS, "asked", c.askEMS),
		on("propose", staff.Propose, "proposed", c.propose),
		at("POST /console/proposals/{id}/confirm", staff.Confirm, c.decideProposal("confirmed")),
		at("POST /console/proposals/{id}/reject", staff.Confirm, c.decideProposal("rejected")),
		at("POST /console/proposals/{id}/withdraw", staff.Propose, c.decideProposal("withdrawn")),
	}
}

// act does one thing to one delivery, confirmed and with a reason.
func (c *Console) act(v *visit, notice string, do func(v *visit, id uuid.UUID, reason string) error) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	if v.form("sure") == "" {
		return courier.Faults{{Field: "sure", Code: "required", Detail: "请勾选“我已核对”后再提交"}}
	}
	reason, err := v.reason()
	if err != nil {
		return err
	}
	if err := do(v, id, reason); err != nil {
		return err
	}
	return v.redirect(deliveryPath(id), notice)
}

func (c *Console) cancel(v *visit, id uuid.UUID, reason string) error {
	_, err := c.Service.Cancel(v.Context(), id, reason, v.User().Actor())
	return err
}

func (c *Console) retry(v *visit, id uuid.UUID, reason string) error {
	_, err := c.Service.Retry(v.Context(), id, reason, v.User().Actor())
	return err
}

func (c *Console) handOver(v *visit, id uuid.UUID, reason string) error {
	_, err := c.Service.HandOver(v.Context(), id, time.Time{}, reason, v.User().Actor())
	return err
}

func (c *Console) notReceived(v *visit, id uuid.UUID, reason string) error {
	_, err := c.Service.ReportNotReceived(v.Context(), id, "clerk", reason, v.User().Actor())
	return err
}

// place reads a new address.
func (v *visit) place() courier.Recipient {
	return courier.Recipient{Province: v.form("province"), City: v.form("city"), County: v.form("county"), Address: vault.Conceal(v.form("address"))}
}

func (c *Console) changeAddress(v *visit, id uuid.UUID, reason string) error {
	_, err := c.Service.ChangeAddress(v.Context(), id, v.place(), reason, v.User().Actor())
	return err
}

func (c *Console) intervene(v *visit, id uuid.UUID, reason string) error {
	_, err := c.Service.Intervene(v.Context(), id, v.form("kind"), v.place(), reason, v.User().Actor())
	return err
}

func (c *Console) closeIntervention(v *visit, id uuid.UUID, reason string) error {
	which, err := uuid.Parse(v.r.PathValue("intervention"))
	if err != nil {
		return courier.ErrNotFound
	}
	_, err = c.Service.CloseIntervention(v.Context(), id, which, v.form("result"), reason, v.User().Actor())
	return err
}

func (c *Console) redispatch(v *visit, id uuid.UUID, reason string) error {
	r := courier.Redispatch{Consent: courier.Consent{Source: "counter", At: c.Clock.Now(), NoticeVersion: "1"}, PaymentMethod: v.form("payment_method"),
		PermitValid: v.form("permit_valid") != ""}
	if v.form("new_address") != "" {
		to := v.place()
		to.Phone = vault.Conceal(v.form("phone"))
		r.Recipient = &to
	}
	_, err := c.Service.Redispatch(v.Context(), id, r, reason, v.User().Actor())
	return err
}

// askEMS has the poll round ask about the envelope at its next turn, which it wakes.
func (c *Console) askEMS(v *visit, id uuid.UUID, reason string) error {
	d, err := c.Service.Get(v.Context(), id)
	if err != nil {
		return err
	}
	if d.WaybillNo == "" {
		return &courier.Conflict{Code: "no_waybill", Detail: "该寄递还没有运单号，无从查询"}
	}
	if err := c.Hints.Receive(v.Context(), d.WaybillNo, c.Clock.Now()); err != nil {
		return err
	}
	return c.Staff.Record(v.Context(), v.User(), "ask_ems", map[string]string{"reason": reason}, id.String())
}

func (c *Console) payment(v *visit, reason string) (courier.Payment, error) {
	p := courier.Payment{Method: v.form("method"), TransactionNo: v.form("transaction_no"), PaidAt: c.Clock.Now(), RecordedBy: v.User().Actor(), Reason: reason}
	fen, ok := fenOf(v.form("amount"))
	if !ok {
		return p, courier.Faults{{Field: "amount", Code: "format", Detail: "金额以元为单位，例如 12 或 12.50"}}
	}
	p.AmountFen = fen
	return p, nil
}

func (c *Console) pay(v *visit, id uuid.UUID, reason string) error {
	p, err := c.payment(v, reason)
	if err != nil {
		return err
	}
	_, err = c.Service.Pay(v.Context(), id, p)
	return err
}

func (c *Console) refund(v *visit, id uuid.UUID, reason string) error {
	p, err := c.payment(v, reason)
	if err != nil {
		return err
	}
	_, err = c.Service.Refund(v.Context(), id, p)
	return err
}

func (c *Console) propose(v *visit, id uuid.UUID, reason string) error {
	kind := v.form("kind")
	var payload map[string]string
	switch kind {
	case courier.ProposeLost:
	case courier.ProposeNotReceived:
		payload = map[string]string{"outcome": v.form("outcome")}
	default:
		return courier.Faults{{Field: "kind", Code: "unknown_value", Detail: "没有这一类须复核的事项"}}
	}
	_, err := c.Service.Propose(v.Context(), id, kind, payload, reason, v.User().Actor())
	return err
}

// decideProposal ends a proposal and leads to its delivery.
func (c *Console) decideProposal(state string) func(v *visit) error {
	return func(v *visit) error {
		id, err := v.id()
		if err != nil {
			return err
		}
		var p courier.Proposal
		switch by := v.User().Actor(); state {
		case "confirmed":
			p, err = c.Service.Confirm(v.Context(), id, v.form("why"), by)
		case "rejected":
			p, err = c.Service.Reject(v.Context(), id, v.form("why"), by)
		default:
			p, err = c.Service.Withdraw(v.Context(), id, by)
		}
		if err != nil {
			return err
		}
		return v.redirect(deliveryPath(p.DeliveryID), "proposal_"+state)
	}
}
