package courier

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

const proposalColumns = `p.id, p.delivery_id, p.kind, p.payload, p.reason, p.proposed_at, p.proposed_by, p.state, p.decided_at,
	coalesce(p.decided_by, '') AS decided_by, p.why`

type proposalRow struct {
	ID         uuid.UUID       `db:"id"`
	DeliveryID uuid.UUID       `db:"delivery_id"`
	Kind       string          `db:"kind"`
	Payload    json.RawMessage `db:"payload"`
	Reason     string          `db:"reason"`
	ProposedAt time.Time       `db:"proposed_at"`
	ProposedBy string          `db:"proposed_by"`
	State      string          `db:"state"`
	DecidedAt  sql.NullTime    `db:"decided_at"`
	DecidedBy  string          `db:"decided_by"`
	Why        string          `db:"why"`
}

func (r proposalRow) proposal() (Proposal, error) {
	p := Proposal{ID: r.ID, DeliveryID: r.DeliveryID, Kind: r.Kind, Reason: r.Reason, ProposedAt: r.ProposedAt, ProposedBy: r.ProposedBy, State: r.State,
		DecidedAt: r.DecidedAt.Time, DecidedBy: r.DecidedBy, Why: r.Why}
	if err := json.Unmarshal(r.Payload, &p.Payload); err != nil {
		return p, fmt.Errorf("read proposal %s: %w", r.ID, err)
	}
	return p, nil
}

func readProposals(ctx context.Context, q sqlx.QueryerContext, query string, args ...any) ([]Proposal, error) {
	var rows []proposalRow
	if err := sqlx.SelectContext(ctx, q, &rows, query, args...); err != nil {
		return nil, fmt.Errorf("read proposals: %w", err)
	}
	list := make([]Proposal, len(rows))
	for i, r := range rows {
		var err error
		if list[i], err = r.proposal(); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func proposalsOf(ctx context.Context, q sqlx.QueryerContext, delivery uuid.UUID) ([]Proposal, error) {
	return readProposals(ctx, q, `
		SELECT `+proposalColumns+` FROM proposals p JOIN deliveries d ON d.id = p.delivery_id
		WHERE p.delivery_id = $1 AND ($2 = '' OR d.station_code = $2)
		ORDER BY p.proposed_at, p.id`, delivery, StationOf(ctx))
}

func openProposals(ctx context.Context, q sqlx.QueryerContext, limit int) ([]Proposal, error) {
	return readProposals(ctx, q, `
		SELECT `+proposalColumns+` FROM proposals p JOIN deliveries d ON d.id = p.delivery_id
		WHERE p.state = 'open' AND ($1 = '' OR d.station_code = $1)
		ORDER BY p.proposed_at, p.id
		LIMIT $2`, StationOf(ctx), limit)
}

// openProposal finds the open one of a kind; nil when there is none. The delivery is locked, so none comes meanwhile.
func openProposal(ctx context.Context, tx *sqlx.Tx, delivery uuid.UUID, kind string) (*Proposal, error) {
	list, err := readProposals(ctx, tx, `
		SELECT `+proposalColumns+` FROM proposals p WHERE p.delivery_id = $1 AND p.kind = $2 AND p.state = 'open'`, delivery, kind)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return &list[0], nil
}

func findProposal(ctx context.Context, tx *sqlx.Tx, id uuid.UUID, lock bool) (Proposal, error) {
	query := `SELECT ` + proposalColumns + ` FROM proposals p WHERE p.id = $1`
	if lock {
		query += ` FOR UPDATE`
	}
	var row proposalRow
	err := tx.GetContext(ctx, &row, query, id)
	if errors.Is(err, sql.ErrNoRows) {
		return Proposal{}, ErrNotFound
	}
	if err != nil {
		return Proposal{}, fmt.Errorf("read proposal %s: %w", id, err)
	}
	return row.proposal()
}

func insertProposal(ctx context.Context, tx *sqlx.Tx, p Proposal) error {
	payload, err := json.Marshal(p.Payload)
	if err != nil {
		return err
	}
	if p.Payload == nil {
		payload = []byte("{}")
	}
	_, err = tx.ExecContext(ctx, `
		INSERT INTO proposals (id, delivery_id, kind, payload, reason, proposed_at, proposed_by, state)
		VALUES ($1, $2, $3, $4, $5, $6, $7, 'open')`, p.ID, p.DeliveryID, p.Kind, string(payload), p.Reason, p.ProposedAt, p.ProposedBy)
	if err != nil {
		return fmt.Errorf("write a proposal for delivery %s: %w", p.DeliveryID, err)
	}
	return nil
}

func saveProposal(ctx context.Context, tx *sqlx.Tx, p Proposal) error {
	_, err := tx.ExecContext(ctx, `UPDATE proposals SET state = $2, decided_at = $3, decided_by = $4, why = $5 WHERE id = $1`,
		p.ID, p.State, p.DecidedAt, p.DecidedBy, p.Why)
	if err != nil {
		return fmt.Errorf("decide proposal %s: %w", p.ID, err)
	}
	return nil
}
