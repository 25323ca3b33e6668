package courier

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

type workRow struct {
	caseRow
	PermitNo    string `db:"permit_no"`
	WaybillNo   string `db:"waybill_no"`
	StationCode string `db:"station_code"`
	Status      Status `db:"status"`
}

func workFrom(rows []workRow) []WorkItem {
	items := make([]WorkItem, len(rows))
	for i, r := range rows {
		items[i] = WorkItem{casesFrom([]caseRow{r.caseRow})[0], r.PermitNo, r.WaybillNo, r.StationCode, r.Status}
	}
	return items
}

// workSQL reads cases with their deliveries d; a person of one station sees that station's only.
const workSQL = `
	SELECT ` + caseColumns + `, coalesce(d.permit_no, '') AS permit_no, coalesce(d.waybill_no, '') AS waybill_no,
		coalesce(d.station_code, '') AS station_code, coalesce(d.status, '') AS status
	FROM cases LEFT JOIN LATERAL (SELECT permit_no, waybill_no, station_code, status FROM deliveries WHERE deliveries.id = cases.delivery_id) d ON true
	WHERE ($1 = '' OR d.station_code = $1)`

func listWork(ctx context.Context, q sqlx.QueryerContext, f WorkFilter, now time.Time, after pageMark) ([]WorkItem, error) {
	var rows []workRow
	err := sqlx.SelectContext(ctx, q, &rows, workSQL+`
		AND closed_at IS NULL AND ($2 = '' OR kind = $2) AND ($3 = '' OR owner = $3) AND (NOT $4 OR owner = '')
		AND (NOT $5 OR due_at < $6) AND ($7 = '' OR d.station_code = $7) AND ($8 OR delivery_id IS NOT NULL)
		AND (NOT $9 OR (due_at, id) > ($10::timestamptz, $11::uuid))
		ORDER BY due_at, id
		LIMIT $12`,
		StationOf(ctx), string(f.Kind), f.Owner, f.Unowned, f.Overdue, now, f.StationCode, f.Subjects, after.set, after.at, after.id, f.Limit+1)
	if err != nil {
		return nil, fmt.Errorf("list the worklist: %w", err)
	}
	return workFrom(rows), nil
}

func readWork(ctx context.Context, q sqlx.QueryerContext, id uuid.UUID) (WorkItem, error) {
	var row workRow
	err := sqlx.GetContext(ctx, q, &row, workSQL+` AND id = $2`, StationOf(ctx), id)
	if errors.Is(err, sql.ErrNoRows) {
		return WorkItem{}, ErrNotFound
	}
	if err != nil {
		return WorkItem{}, fmt.Errorf("read case %s: %w", id, err)
	}
	return workFrom([]workRow{row})[0], nil
}

func caseMoves(ctx context.Context, q sqlx.QueryerContext, id uuid.UUID) (moves []CaseMove, err error) {
	err = sqlx.SelectContext(ctx, q, &moves, `
		SELECT at, by, from_owner, to_owner, note FROM case_moves WHERE case_id = $1 ORDER BY id`, id)
	if err != nil {
		return nil, fmt.Errorf("read who had case %s: %w", id, err)
	}
	return moves, nil
}

func saveCaseMove(ctx context.Context, tx *sqlx.Tx, id uuid.UUID, m CaseMove) error {
	_, err := tx.ExecContext(ctx, `
		WITH moved AS (UPDATE cases SET owner = $5 WHERE id = $1)
		INSERT INTO case_moves (case_id, at, by, from_owner, to_owner, note) VALUES ($1, $2, $3, $4, $5, $6)`, id, m.At, m.By, m.From, m.To, m.Note)
	if err != nil {
		return fmt.Errorf("move case %s: %w", id, err)
	}
	return nil
}
