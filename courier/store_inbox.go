package courier

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// inboxColumns are the columns of inbox.approved_permits that a stranger fills in: those of an import file.
var inboxColumns = func() []string {
	names := make([]string, len(Columns))
	for i, c := range Columns {
		names[i] = c.Name
	}
	return names
}()

// claimInbox locks unanswered rows, the oldest first.
func claimInbox(ctx context.Context, tx *sqlx.Tx, limit int) ([]inboxRow, error) {
	rows, err := tx.QueryxContext(ctx, `
		SELECT id, coalesce(`+strings.Join(inboxColumns, `, ''), coalesce(`)+`, '')
		FROM inbox.approved_permits
		WHERE result_at IS NULL
		ORDER BY id
		LIMIT $1
		FOR UPDATE SKIP LOCKED`, limit)
	if err != nil {
		return nil, fmt.Errorf("claim exchange rows: %w", err)
	}
	defer rows.Close()
	var claimed []inboxRow
	for rows.Next() {
		values := make([]string, len(inboxColumns))
		var r inboxRow
		into := []any{&r.id}
		for i := range values {
			into = append(into, &values[i])
		}
		if err := rows.Scan(into...); err != nil {
			return nil, fmt.Errorf("claim exchange rows: %w", err)
		}
		r.values = make(map[string]string, len(values))
		for i, name := range inboxColumns {
			r.values[name] = values[i]
		}
		claimed = append(claimed, r)
	}
	return claimed, rows.Err()
}

// answerInbox writes results and wipes personal data in the same rows.
func answerInbox(ctx context.Context, tx *sqlx.Tx, answers []inboxAnswer, now time.Time) error {
	n := len(answers)
	ids, results, deliveries := make([]int64, n), make([]string, n), make([]string, n)
	for i, a := range answers {
		ids[i], results[i] = a.id, a.result
		if a.delivery != uuid.Nil {
			deliveries[i] = a.delivery.String()
		}
	}
	_, err := tx.ExecContext(ctx, `
		UPDATE inbox.approved_permits p
		SET result = a.result, result_at = $4, delivery_id = nullif(a.delivery, '')::uuid, name = NULL, phone = NULL, id_no = NULL, address = NULL
		FROM unnest($1::bigint[], $2::text[], $3::text[]) AS a(id, result, delivery)
		WHERE p.id = a.id`, pq.Array(ids), pq.Array(results), pq.Array(deliveries), now)
	if err != nil {
		return fmt.Errorf("answer %d exchange rows: %w", n, err)
	}
	return nil
}

// unfit reports whether PostgreSQL refused data, rather than service: classes 22 and 23 of its codes.
func unfit(err error) bool {
	e, ok := errors.AsType[*pq.Error](err)
	return ok && (e.Code.Class() == "22" || e.Code.Class() == "23")
}
