package notify

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

func insertRefusal(ctx context.Context, tx *sqlx.Tx, lookup []byte, r Refusal) (bool, error) {
	done, err := tx.ExecContext(ctx, `
		INSERT INTO do_not_send (id, phone_lookup, source, since, by, why) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (phone_lookup) WHERE lifted_at IS NULL DO NOTHING`, r.ID, lookup, r.Source, r.Since, r.By, r.Why)
	if err != nil {
		return false, err
	}
	n, err := done.RowsAffected()
	return n == 1, err
}

// liftRefusal gives the entry that it ended, uuid.Nil when there is none.
func liftRefusal(ctx context.Context, tx *sqlx.Tx, lookup []byte, by, why string, now time.Time) (id uuid.UUID, err error) {
	err = tx.GetContext(ctx, &id, `
		UPDATE do_not_send SET lifted_at = $2, lifted_by = $3, lifted_why = $4
		WHERE phone_lookup = $1 AND lifted_at IS NULL RETURNING id`, lookup, now, by, why)
	if errors.Is(err, sql.ErrNoRows) {
		return uuid.Nil, nil
	}
	return id, err
}

func hasRefusal(ctx context.Context, q sqlx.QueryerContext, lookup []byte) (has bool, err error) {
	err = sqlx.GetContext(ctx, q, &has, `SELECT EXISTS (SELECT FROM do_not_send WHERE phone_lookup = $1 AND lifted_at IS NULL)`, lookup)
	return has, err
}

func listRefusals(ctx context.Context, q sqlx.QueryerContext) ([]Refusal, error) {
	var all []Refusal
	err := sqlx.SelectContext(ctx, q, &all, `SELECT id, source, since, by, why, lifted_at, lifted_by, lifted_why FROM do_not_send ORDER BY since, id`)
	return all, err
}
