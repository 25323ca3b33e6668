package courier

import (
	"context"
	"strings"

	"emsd/courier/audit"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// A CaseFilter says which open cases to list. Limit is 1 to 500, 100 when it is 0.
type CaseFilter struct {
	Kind   CaseKind
	Cursor string
	Limit  int
}

// A CasePage is a part of the worklist; Next is the cursor of the page behind it.
type CasePage struct {
	Cases []Case
	Next  string
}

// Cases lists the open cases, the most urgent first.
func (s *Service) Cases(ctx context.Context, f CaseFilter) (CasePage, error) {
	after, err := readCursor(f.Cursor, "due")
	if err != nil {
		return CasePage{}, err
	}
	f.Limit = pageLimit(f.Limit)
	cases, err := listCases(ctx, s.q(), f, after)
	if err != nil {
		return CasePage{}, err
	}
	p := CasePage{Cases: cases}
	if len(cases) > f.Limit {
		p.Cases = cases[:f.Limit]
		last := p.Cases[f.Limit-1]
		p.Next = pageMark{true, last.DueAt, last.ID}.cursor("due")
	}
	return p, nil
}

// Case reads one case, open or closed.
func (s *Service) Case(ctx context.Context, id uuid.UUID) (Case, error) {
	return readCase(ctx, s.q(), id)
}

// CloseCase ends a case with what came of it. It changes nothing else: what the case asked for is done by its own call.
func (s *Service) CloseCase(ctx context.Context, id uuid.UUID, outcome, by, why string) (Case, error) {
	var closed Case
	err := s.inTx(ctx, func(tx *sqlx.Tx) error {
		c, rows, err := lockCase(ctx, tx, id)
		if err != nil {
			return err
		}
		if !c.ClosedAt.IsZero() {
			return &Conflict{"case_closed", "该事项已经办结，无需重复办理"}
		}
		now := s.clock.Now()
		if outcome, err = s.scrub(rows[c.DeliveryID], "outcome", outcome); err != nil {
			return err
		}
		if why, err = s.scrub(rows[c.DeliveryID], "why", why); err != nil {
			return err
		}
		if c.Subject != "" {
			err = CloseSubjectCase(ctx, tx, SubjectClosing{Subject: c.Subject, Kind: c.Kind, At: now, Outcome: outcome, By: by, Why: why})
		} else {
			err = CloseCases(ctx, tx, []CaseClosing{{DeliveryID: c.DeliveryID, Kind: c.Kind, At: now, Outcome: outcome, By: by, Why: why}})
		}
		if err != nil {
			return err
		}
		c.ClosedAt, c.Outcome, c.ClosedBy, c.Why = now, outcome, by, why
		closed = c
		return audit.Append(ctx, tx, audit.Entry{At: now, Actor: by, Action: "case.close", Object: id.String(),
			Detail: map[string]string{"delivery": c.about(), "kind": string(c.Kind), "outcome": outcome, "why": why}})
	})
	return closed, err
}

// about names what a case is about: its delivery, or its subject.
func (c Case) about() string {
	if c.Subject != "" {
		return c.Subject
	}
	return c.DeliveryID.String()
}

// scrub takes out of a person's free text what it repeats of the recipient. A nil row is no delivery: then only long
// numbers go.
func (s *Service) scrub(row *deliveryRow, field, text string) (string, error) {
	var r Recipient
	if row != nil {
		d, err := row.unsealed(s.vault)
		if err != nil {
			return "", err
		}
		r = d.Recipient
	}
	return Scrub(r, field, text)
}

// Scrub takes out of a person's free text what it repeats of a recipient, for it is stored and shown in clear, and any
// long number.
func Scrub(r Recipient, field, text string) (string, error) {
	if text = oneLine(text); text == "" {
		return "", Faults{{field, "required", "请填写原因或处理结果"}}
	}
	if strings.ContainsFunc(text, unwritable) {
		return "", Faults{{field, "character", "含有表情、控制字符或乱码，请重新填写"}}
	}
	return withoutPerson(text, Order{Recipient: Party{Name: r.Name, Phone: r.Phone, Address: r.Address}}), nil
}
