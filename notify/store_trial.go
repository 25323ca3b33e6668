package notify

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// insertTrial writes the intent of a trial and gives its id; uuid.Nil when the number had its self-test of this month, or
// may have had it. One that surely was not taken begins anew in its row, an hour later at the earliest: a round is woken
// often while connections break.
func insertTrial(ctx context.Context, tx *sqlx.Tx, kind string, j Trial, lookup []byte, now, wall time.Time, by string) (id uuid.UUID, err error) {
	err = tx.GetContext(ctx, &id, `
		INSERT INTO sms_trials AS t (id, kind, gateway, template, phone_lookup, month, by, state, started_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, 'sending', $8)
		ON CONFLICT (gateway, phone_lookup, month) WHERE kind = 'self_test' DO UPDATE
			SET id = excluded.id, template = excluded.template, state = 'sending', class = '', code = '', provider_id = '',
				started_at = excluded.started_at, finished_at = NULL
			WHERE t.state IN ('rejected', 'unsent') AND t.started_at <= excluded.started_at - interval '1 hour'
		RETURNING id`, j.ID, kind, j.Gateway, j.Template, lookup, monthOf(now), by, wall)
	if errors.Is(err, sql.ErrNoRows) {
		return uuid.Nil, nil
	}
	return id, err
}

func endTrial(ctx context.Context, db *sqlx.DB, j Trial, providerID string, wall time.Time) error {
	_, err := db.ExecContext(ctx, `
		UPDATE sms_trials SET state = $2, class = $3, code = $4, provider_id = $5, finished_at = $6
		WHERE id = $1 AND state = 'sending'`, j.ID, j.State, j.Class, cut(j.Code, 100), cut(providerID, 200), wall)
	return err
}

func readTrials(ctx context.Context, db *sqlx.DB, kind, month string, lookups [][]byte) ([]Trial, error) {
	var trials []Trial
	err := db.SelectContext(ctx, &trials, `
		SELECT id, gateway, template, state, class, code FROM sms_trials
		WHERE kind = $1 AND month = $2 AND phone_lookup = ANY ($3)
		ORDER BY gateway, started_at, id`, kind, month, pq.ByteaArray(lookups))
	return trials, err
}

// A trialCount is how many trials of a kind ended so at a gateway, ever.
type trialCount struct {
	Kind    string `db:"kind"`
	Gateway string `db:"gateway"`
	State   string `db:"state"`
	Count   int    `db:"count"`
}

func countTrials(ctx context.Context, db *sqlx.DB) ([]trialCount, error) {
	var counts []trialCount
	err := db.SelectContext(ctx, &counts, `SELECT kind, gateway, state, count(*) AS count FROM sms_trials GROUP BY kind, gateway, state`)
	return counts, err
}

// reportTrials notes what receipts say: that a trial was taken after all, and why it did not arrive.
func reportTrials(ctx context.Context, tx *sqlx.Tx, receipts []openReceipt) error {
	if len(receipts) == 0 {
		return nil
	}
	n := len(receipts)
	ids, classes, codes := make([]string, n), make([]string, n), make([]string, n)
	for i, r := range receipts {
		ids[i], classes[i], codes[i] = r.TrialID.String(), r.TrialClass, r.Code
	}
	_, err := tx.ExecContext(ctx, `
		UPDATE sms_trials t SET state = 'accepted', class = x.class, code = x.code
		FROM (SELECT DISTINCT ON (id) id, class, code FROM unnest($1::uuid[], $2::text[], $3::text[]) AS x(id, class, code) ORDER BY id, class DESC) x
		WHERE t.id = x.id AND t.state IN ('sending', 'unknown', 'accepted') AND t.class IN ('', 'unknown')`, pq.Array(ids), pq.Array(classes), pq.Array(codes))
	return err
}
