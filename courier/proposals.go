package courier

import (
	"cmp"
	"context"
	"time"

	"emsd/courier/audit"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// A Proposal is something that one person proposes and another confirms: an outcome that no scan tells, or a mismatch that
// somebody wants to go past. The database keeps the two persons apart. One of a kind is open per delivery.
type Proposal struct {
	ID         uuid.UUID
	DeliveryID uuid.UUID
	Kind       string
	Payload    map[string]string // what exactly is proposed; no personal data
	Reason     string
	ProposedAt time.Time
	ProposedBy string
	State      string // open, confirmed, rejected or withdrawn
	DecidedAt  time.Time
	DecidedBy  string
	Why        string
}

// States of a proposal.
const (
	ProposalOpen      = "open"
	ProposalConfirmed = "confirmed"
	ProposalRejected  = "rejected"
	ProposalWithdrawn = "withdrawn"
)

// Kinds of proposals. What is carried out when one is confirmed stands in proposalKinds.
const (
	ProposeLost         = "declare_lost"  // the envelope is given up
	ProposeNotReceived  = "not_received"  // a report of non-receipt ends; payload outcome: found or resent
	ProposePackMismatch = "pack_mismatch" // a permit was scanned with another's label; it was put right, and the envelope may be checked again
)

// A proposalKind is what a kind of proposal needs and does, both in the transaction that asks. check says why it cannot be
// proposed; carryOut does it. A kind without carryOut is a decision that others look at.
type proposalKind struct {
	check    func(s *Service, ctx context.Context, tx *sqlx.Tx, row *deliveryRow, p Proposal) error
	carryOut func(s *Service, ctx context.Context, tx *sqlx.Tx, row *deliveryRow, p Proposal, by string, now time.Time) error
}

var proposalKinds = map[string]proposalKind{
	ProposeLost: {
		check: func(s *Service, ctx context.Context, tx *sqlx.Tx, row *deliveryRow, p Proposal) error {
			if err := losable(ctx, tx, row); err != nil {
				return err
			}
			return missed(ctx, tx, row.ID)
		},
		carryOut: func(s *Service, ctx context.Context, tx *sqlx.Tx, row *deliveryRow, p Proposal, by string, now time.Time) error {
			return s.declareLost(ctx, tx, row, p.Reason, by, now)
		},
	},
	ProposeNotReceived: {
		check: func(s *Service, ctx context.Context, tx *sqlx.Tx, row *deliveryRow, p Proposal) error {
			var c checker
			c.oneOf("outcome", p.Payload["outcome"], []string{OutcomeFound, OutcomeResent})
			if len(c.faults) > 0 {
				return c.faults
			}
			open, err := lockNonReceipt(ctx, tx, row.ID)
			if err == nil && open == nil {
				err = &Conflict{"no_open_report", "该寄递没有未办结的“未收到”登记"}
			}
			return err
		},
		carryOut: func(s *Service, ctx context.Context, tx *sqlx.Tx, row *deliveryRow, p Proposal, by string, now time.Time) error {
			_, err := s.endNotReceived(ctx, tx, row, p.Payload["outcome"], p.Reason, by, now)
			return err
		},
	},
	ProposePackMismatch: {
		check: func(_ *Service, ctx context.Context, tx *sqlx.Tx, row *deliveryRow, _ Proposal) error {
			stopped, err := packStopped(ctx, tx, row.ID)
			if err == nil && !stopped {
				err = errNotStopped
			}
			return err
		},
		carryOut: func(_ *Service, ctx context.Context, tx *sqlx.Tx, row *deliveryRow, p Proposal, by string, now time.Time) error {
			return settlePackStop(ctx, tx, row, by, p.DecidedBy, now)
		},
	},
}

// Propose asks for a second person. The same proposal while one of the kind is open is that one.
func (s *Service) Propose(ctx context.Context, delivery uuid.UUID, kind string, payload map[string]string, reason, by string) (Proposal, error) {
	k, ok := proposalKinds[kind]
	if !ok {
		return Proposal{}, Faults{{"kind", "unknown_value", "没有这一类须复核的事项"}}
	}
	made := Proposal{ID: uuid.Must(uuid.NewV7()), DeliveryID: delivery, Kind: kind, Payload: payload, ProposedBy: by, State: ProposalOpen}
	_, err := s.change(ctx, delivery, "propose."+kind, reason, by, func(tx *sqlx.Tx, row *deliveryRow, reason string, now time.Time) (bool, error) {
		open, err := openProposal(ctx, tx, delivery, kind)
		if err != nil {
			return false, err
		}
		if open != nil {
			made = *open
			return false, nil
		}
		made.Reason, made.ProposedAt = reason, now
		if k.check != nil {
			if err := k.check(s, ctx, tx, row, made); err != nil {
				return false, err
			}
		}
		return true, insertProposal(ctx, tx, made)
	})
	if err != nil {
		return Proposal{}, err
	}
	return made, nil
}

// Confirm lets a proposal be carried out, in the transaction that confirms it; who proposed it cannot.
func (s *Service) Confirm(ctx context.Context, id uuid.UUID, why, by string) (Proposal, error) {
	return s.decide(ctx, id, ProposalConfirmed, cmp.Or(oneLine(why), "同意"), by)
}

// Reject ends a proposal with nothing done; who proposed it withdraws it instead.
func (s *Service) Reject(ctx context.Context, id uuid.UUID, why, by string) (Proposal, error) {
	return s.decide(ctx, id, ProposalRejected, why, by)
}

// Withdraw takes one's own proposal back.
func (s *Service) Withdraw(ctx context.Context, id uuid.UUID, by string) (Proposal, error) {
	return s.decide(ctx, id, ProposalWithdrawn, "提出人撤回", by)
}

func (s *Service) decide(ctx context.Context, id uuid.UUID, state, why, by string) (Proposal, error) {
	var p Proposal
	err := s.inTx(ctx, func(tx *sqlx.Tx) error {
		row, err := s.lockProposal(ctx, tx, id, &p)
		if err != nil {
			return err
		}
		if err := decidable(p, state, by); err != nil {
			return err
		}
		if why, err = s.scrub(row, "why", why); err != nil {
			return err
		}
		now := s.clock.Now()
		p.State, p.DecidedAt, p.DecidedBy, p.Why = state, now, by, why
		if carryOut := proposalKinds[p.Kind].carryOut; state == ProposalConfirmed && carryOut != nil {
			if err := carryOut(s, ctx, tx, row, p, p.ProposedBy, now); err != nil {
				return err
			}
		}
		if err := saveProposal(ctx, tx, p); err != nil {
			return err
		}
		return audit.Append(ctx, tx, audit.Entry{At: now, Actor: by, Action: "proposal." + state, Object: p.DeliveryID.String(),
			Detail: map[string]string{"proposal": p.ID.String(), "kind": p.Kind, "proposed_by": p.ProposedBy, "reason": p.Reason, "why": why}})
	})
	return p, err
}

// decidable says why somebody cannot end a proposal so.
func decidable(p Proposal, state, by string) error {
	switch {
	case p.State != ProposalOpen:
		return &Conflict{"proposal_closed", "该事项已经有人处理，请刷新查看结果"}
	case state == ProposalWithdrawn && by != p.ProposedBy:
		return &Conflict{"not_proposer", "只有提出人可以撤回"}
	case state != ProposalWithdrawn && by == p.ProposedBy:
		return &Conflict{"same_person", "提出人不能复核自己提出的事项，请由另一位复核主管办理"}
	}
	return nil
}

// lockProposal locks the delivery first, as everybody does, then the proposal.
func (s *Service) lockProposal(ctx context.Context, tx *sqlx.Tx, id uuid.UUID, p *Proposal) (*deliveryRow, error) {
	found, err := findProposal(ctx, tx, id, false)
	if err != nil {
		return nil, err
	}
	rows, err := lockDeliveries(ctx, tx, []uuid.UUID{found.DeliveryID})
	if err != nil {
		return nil, err
	}
	row := rows[found.DeliveryID]
	if row == nil {
		return nil, ErrNotFound
	}
	*p, err = findProposal(ctx, tx, id, true)
	return row, err
}

// ProposalsOf lists what was proposed about a delivery, oldest first.
func (s *Service) ProposalsOf(ctx context.Context, delivery uuid.UUID) ([]Proposal, error) {
	return proposalsOf(ctx, s.db, delivery)
}

// OpenProposals lists what waits for a second person, oldest first; at most limit.
func (s *Service) OpenProposals(ctx context.Context, limit int) ([]Proposal, error) {
	return openProposals(ctx, s.db, limit)
}
