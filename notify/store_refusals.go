package notify

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
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

// readRefusals marks the jobs whose number wants no messages.
func readRefusals(ctx context.Context, tx *sqlx.Tx, jobs []*sendJob) error {
	var stopped [][]byte
	err := tx.SelectContext(ctx, &stopped, `SELECT phone_lookup FROM do_not_send WHERE phone_lookup = ANY ($1) AND lifted_at IS NULL`, pq.ByteaArray(numbersOf(jobs)))
	if err != nil {
		return err
	}
	set := make(map[string]bool, len(stopped))
	for _, number := range stopped {
		set[string(number)] = true
	}
	for _, j := range jobs {
		j.optedOut = set[string(j.Number)]
	}
	return nil
}

// numbersOf lists the jobs' numbers, each once and in order.
func numbersOf(jobs []*sendJob) [][]byte {
	numbers := make([][]byte, len(jobs))
	for i, j := range jobs {
		numbers[i] = j.Number
	}
	slices.SortFunc(numbers, slices.Compare[[]byte])
	return slices.CompactFunc(numbers, slices.Equal[[]byte])
}

// sentToday locks the jobs' numbers until the transaction ends, in their order so that no two senders wait for each other,
// and counts the messages that may have reached each since a time. What surely did not does not count.
func sentToday(ctx context.Context, tx *sqlx.Tx, jobs []*sendJob, since time.Time) (map[string]int, error) {
	numbers := numbersOf(jobs)
	_, err := tx.ExecContext(ctx, `
		SELECT pg_advisory_xact_lock(hashtext('message_cap'), key)
		FROM (SELECT DISTINCT hashtext(encode(number, 'hex')) AS key FROM unnest($1::bytea[]) AS n(number) ORDER BY key OFFSET 0) k`, pq.ByteaArray(numbers))
	if err != nil {
		return nil, err
	}
	// A statement of its own: it sees what was committed while this one waited. OFFSET 0 keeps the planner at one look into
	// the index per number, as in readTold.
	var rows []struct {
		Number []byte `db:"phone_lookup"`
		Sent   int    `db:"sent"`
	}
	err = tx.SelectContext(ctx, &rows, `
		SELECT n.number AS phone_lookup, count(*) AS sent
		FROM unnest($1::bytea[]) AS n(number)
		CROSS JOIN LATERAL (SELECT state FROM message_attempts WHERE phone_lookup = n.number AND sent_at >= $2 OFFSET 0) a
		WHERE a.state IN ('sending', 'unknown', 'accepted', 'delivered', 'failed', 'abandoned')
		GROUP BY n.number`, pq.ByteaArray(numbers), since)
	if err != nil {
		return nil, err
	}
	sent := make(map[string]int, len(rows))
	for _, r := range rows {
		sent[string(r.Number)] = r.Sent
	}
	return sent, nil
}
