package notify

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"emsd/courier"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

type callRow struct {
	addresseeRow
	CaseID    uuid.UUID `db:"case_id"`
	PermitNo  string    `db:"permit_no"`
	WaybillNo string    `db:"waybill_no"`
	Language  string    `db:"language"`
	Milestone Milestone `db:"milestone"`
	Stopped   bool      `db:"stopped"`
}

// readCalls reads who is to be called about cases. The milestone is that of the last message that failed, else of the last
// that is not settled.
func readCalls(ctx context.Context, q sqlx.QueryerContext, cases []uuid.UUID) (map[uuid.UUID]callRow, error) {
	var rows []callRow
	err := sqlx.SelectContext(ctx, q, &rows, `
		SELECT c.id AS case_id, d.id, d.phone_lookup, d.name_sealed, d.phone_sealed, d.address_sealed, d.permit_no, coalesce(d.waybill_no, '') AS waybill_no,
			d.language, coalesce(m.milestone, '') AS milestone,
			EXISTS (SELECT FROM do_not_send s WHERE s.phone_lookup = d.phone_lookup AND s.lifted_at IS NULL) AS stopped
		FROM cases c JOIN deliveries d ON d.id = c.delivery_id
		LEFT JOIN LATERAL (
			SELECT milestone FROM messages WHERE delivery_id = d.id AND state IN ('failed', 'unknown', 'queued') ORDER BY state <> 'failed', updated_at DESC LIMIT 1
		) m ON true
		WHERE c.id = ANY ($1)`, pq.Array(cases))
	if err != nil {
		return nil, fmt.Errorf("read whom to call: %w", err)
	}
	byCase := make(map[uuid.UUID]callRow, len(rows))
	for _, r := range rows {
		byCase[r.CaseID] = r
	}
	return byCase, nil
}

func callTries(ctx context.Context, q sqlx.QueryerContext, cases []uuid.UUID) (map[uuid.UUID][]CallTry, error) {
	var rows []struct {
		CaseID  uuid.UUID `db:"case_id"`
		At      time.Time `db:"at"`
		By      string    `db:"by"`
		Outcome string    `db:"outcome"`
		Note    string    `db:"note"`
	}
	if err := sqlx.SelectContext(ctx, q, &rows, `SELECT case_id, at, by, outcome, note FROM call_tries WHERE case_id = ANY ($1) ORDER BY id`, pq.Array(cases)); err != nil {
		return nil, fmt.Errorf("read calls: %w", err)
	}
	tries := make(map[uuid.UUID][]CallTry)
	for _, r := range rows {
		tries[r.CaseID] = append(tries[r.CaseID], CallTry{r.At, r.By, r.Outcome, r.Note})
	}
	return tries, nil
}

// deliveryOfCall finds the delivery of a case of the list.
func deliveryOfCall(ctx context.Context, tx *sqlx.Tx, id uuid.UUID) (uuid.UUID, error) {
	var delivery uuid.UUID
	err := tx.GetContext(ctx, &delivery, `SELECT delivery_id FROM cases WHERE id = $1 AND kind = 'sms_failed'`, id)
	if errors.Is(err, sql.ErrNoRows) {
		return delivery, courier.ErrNotFound
	}
	return delivery, err
}

// lockCall keeps a call's case to this transaction, the delivery first, as every move does.
func lockCall(ctx context.Context, tx *sqlx.Tx, delivery, id uuid.UUID) error {
	if _, err := tx.ExecContext(ctx, `SELECT FROM deliveries WHERE id = $1 FOR NO KEY UPDATE`, delivery); err != nil {
		return err
	}
	var closed bool
	if err := tx.GetContext(ctx, &closed, `SELECT closed_at IS NOT NULL FROM cases WHERE id = $1 FOR UPDATE`, id); err != nil {
		return err
	}
	if closed {
		return &courier.Conflict{Code: "case_closed", Detail: "该事项已经办结，无需重复办理"}
	}
	return nil
}

func saveCallTry(ctx context.Context, tx *sqlx.Tx, id uuid.UUID, t CallTry) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO call_tries (case_id, at, by, outcome, note) VALUES ($1, $2, $3, $4, $5)`, id, t.At, t.By, t.Outcome, t.Note)
	return err
}

func unheardCalls(ctx context.Context, tx *sqlx.Tx, id uuid.UUID) (n int, err error) {
	err = tx.GetContext(ctx, &n, `SELECT count(*) FROM call_tries WHERE case_id = $1 AND outcome = 'no_answer'`, id)
	return n, err
}

// putOffCall moves a case; an empty action leaves what is to be done as it is.
func putOffCall(ctx context.Context, tx *sqlx.Tx, id uuid.UUID, due time.Time, action string) error {
	_, err := tx.ExecContext(ctx, `UPDATE cases SET due_at = $2, next_action = coalesce(nullif($3, ''), next_action) WHERE id = $1`, id, due, action)
	return err
}
