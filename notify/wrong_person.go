package notify

import (
	"context"
	"fmt"
	"time"

	"emsd/courier"
	"emsd/courier/audit"
	"emsd/courier/vault"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// WrongPerson records that whoever has a delivery's number is not the recipient: the number gets no more messages, and
// clerks are asked about every live delivery of it. A number that was stopped before stays so, and who reports it again
// changes nothing but opens what is closed by now.
func (r *Refusals) WrongPerson(ctx context.Context, delivery uuid.UUID, why, by string, now time.Time) error {
	if by == "" {
		return fmt.Errorf("wrong person: who says so is wanted")
	}
	return r.on.InTx(ctx, func(tx *sqlx.Tx) error {
		who, err := readAddressee(ctx, tx, r.vault, delivery)
		if err != nil {
			return err
		}
		reason, err := courier.Scrub(who.Recipient, "reason", why)
		if err != nil {
			return err
		}
		entries, err := stopWrongPerson(ctx, tx, who, reason, by, now)
		if err != nil {
			return err
		}
		return audit.Append(ctx, tx, entries...) // last, for others wait for it
	})
}

// stopWrongPerson does so within a transaction and gives what is to be audited; why holds no personal data.
func stopWrongPerson(ctx context.Context, tx *sqlx.Tx, who addressee, why, by string, now time.Time) ([]audit.Entry, error) {
	entries, err := stopNumber(ctx, tx, who, Refusal{Source: "wrong_person", Since: now, By: by, Why: why})
	if err != nil {
		return nil, err
	}
	live, err := liveDeliveries(ctx, tx, [][]byte{who.Number})
	if err != nil {
		return nil, err
	}
	var cases []courier.NewCase
	for _, id := range live[string(who.Number)] {
		cases = append(cases, wrongPersonCase(id, "该手机号不是收件人本人的，已停止向其发送短信："+why, now, caseWithin))
	}
	return entries, courier.OpenCases(ctx, tx, cases)
}

// stopNumber keeps a refusal of a delivery's number; one that is stopped already is left as it is, and nothing is to be audited.
func stopNumber(ctx context.Context, tx *sqlx.Tx, who addressee, why Refusal) ([]audit.Entry, error) {
	why.ID = uuid.Must(uuid.NewV7())
	added, err := insertRefusal(ctx, tx, who.Number, why)
	if err != nil || !added {
		return nil, err
	}
	return []audit.Entry{why.entry("delivery", who.ID)}, nil
}

// entry is what the audit chain keeps of a refusal, and which reply or delivery it came from.
func (r Refusal) entry(from string, id uuid.UUID) audit.Entry {
	return audit.Entry{At: r.Since, Actor: r.By, Action: "do_not_send.add", Object: r.ID.String(),
		Detail: map[string]string{"source": r.Source, "why": r.Why, from: id.String()}}
}

// wrongPersonCase asks a clerk to find out where an envelope really goes.
func wrongPersonCase(delivery uuid.UUID, detail string, now time.Time, within time.Duration) courier.NewCase {
	return courier.NewCase{DeliveryID: delivery, Kind: courier.CaseAddress, OpenedAt: now, DueAt: now.Add(within), Detail: detail,
		NextAction: "证件正在寄往留错手机号的收件人：核对申请资料中的联系方式，必要时联系 EMS（" + hotline + "）暂缓投递"}
}

// An addressee is the recipient of a delivery, with the keyed hash of the number.
type addressee struct {
	ID        uuid.UUID
	Number    []byte
	Recipient courier.Recipient
}

func (r addresseeRow) open(v *vault.Vault) (addressee, error) {
	who := addressee{ID: r.ID, Number: r.Number}
	for _, c := range []struct {
		column string
		sealed []byte
		into   *vault.Secret
	}{
		{vault.ColumnName, r.Name, &who.Recipient.Name}, {vault.ColumnPhone, r.Phone, &who.Recipient.Phone}, {vault.ColumnAddress, r.Address, &who.Recipient.Address},
	} {
		if len(c.sealed) == 0 {
			continue // purged
		}
		var err error
		if *c.into, err = v.Unseal(c.column, r.ID, c.sealed); err != nil {
			return addressee{}, fmt.Errorf("read the recipient of %s: %w", r.ID, err)
		}
	}
	return who, nil
}
