package tracking

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"emsd/courier"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

func insertFold(ctx context.Context, tx *sqlx.Tx, w applying, until time.Time) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO decision_folds (decision_id, holder, lease_until) VALUES ($1, $2, $3)`, w.decision, w.holder, until)
	if err != nil {
		return fmt.Errorf("keep that decision %d is to be applied: %w", w.decision, err)
	}
	return nil
}

// foldRow is how far a decision is applied.
type foldRow struct {
	Looked  int    `db:"looked"`
	Changed int    `db:"changed"`
	Kinds   []byte `db:"kinds"`
	Bygone  int    `db:"bygone"`
	Skipped int    `db:"skipped"`
}

func (r foldRow) report() (RefoldReport, error) {
	report := RefoldReport{Looked: r.Looked, Changed: r.Changed, Bygone: r.Bygone, Skipped: r.Skipped}
	err := json.Unmarshal(r.Kinds, &report.Kinds)
	return report, err
}

// claimFold takes the oldest decision that waits for being applied.
func claimFold(ctx context.Context, on courier.Handle, holder uuid.UUID, wall, until time.Time) (w applying, found bool, err error) {
	var row struct {
		foldRow
		Decision int64         `db:"decision_id"`
		Code     string        `db:"code"`
		After    uuid.NullUUID `db:"after"`
	}
	err = on.InTx(ctx, func(tx *sqlx.Tx) error {
		return tx.GetContext(ctx, &row, `
			UPDATE decision_folds f SET holder = $1, lease_until = $3
			FROM code_decisions d
			WHERE d.id = f.decision_id AND f.decision_id = (
				SELECT decision_id FROM decision_folds WHERE done_at IS NULL AND lease_until <= $2 ORDER BY decision_id LIMIT 1 FOR UPDATE SKIP LOCKED)
			RETURNING f.decision_id, d.code, f.after, f.looked, f.changed, f.kinds, f.bygone, f.skipped`, holder, wall, until)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return w, false, nil
	}
	w = applying{decision: row.Decision, holder: holder, code: row.Code, after: row.After.UUID}
	if err == nil {
		w.report, err = row.report()
	}
	if err != nil {
		return w, false, fmt.Errorf("claim a decision to apply: %w", err)
	}
	return w, true, nil
}

// saveFold keeps how far the work has come, in the transaction of its chunk, unless another has taken it up.
func saveFold(ctx context.Context, tx *sqlx.Tx, w applying, after uuid.UUID, r RefoldReport, until time.Time) error {
	kinds, err := json.Marshal(r.Kinds)
	if err != nil {
		return err
	}
	return held(tx.ExecContext(ctx, `
		UPDATE decision_folds SET after = $3, looked = $4, changed = $5, kinds = coalesce(nullif($6::jsonb, 'null'), '{}'), bygone = $7, skipped = $8, lease_until = $9
		WHERE decision_id = $1 AND holder = $2`, w.decision, w.holder, after, r.Looked, r.Changed, kinds, r.Bygone, r.Skipped, until))
}

// endFold is after the last chunk: done, or another pass for what others held throughout.
func endFold(ctx context.Context, on courier.Handle, w applying, r RefoldReport, wall time.Time) error {
	return on.InTx(ctx, func(tx *sqlx.Tx) error {
		if r.Skipped > 0 {
			return held(tx.ExecContext(ctx, `
				UPDATE decision_folds SET after = NULL, looked = 0, bygone = 0, skipped = 0, lease_until = $3 WHERE decision_id = $1 AND holder = $2`,
				w.decision, w.holder, wall.Add(foldAgain)))
		}
		return held(tx.ExecContext(ctx, `UPDATE decision_folds SET skipped = 0, done_at = $3 WHERE decision_id = $1 AND holder = $2`, w.decision, w.holder, wall))
	})
}

// releaseFold lets whoever comes next go on with a decision.
func releaseFold(ctx context.Context, on courier.Handle, w applying, wall time.Time) error {
	return on.InTx(ctx, func(tx *sqlx.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE decision_folds SET lease_until = $3 WHERE decision_id = $1 AND holder = $2 AND done_at IS NULL`, w.decision, w.holder, wall)
		return err
	})
}

// held turns a row that is another's by now into errTakenUp.
func held(done sql.Result, err error) error {
	if err != nil {
		return fmt.Errorf("keep how far a decision is applied: %w", err)
	}
	if n, err := done.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, errTakenUp)
	}
	return nil
}
