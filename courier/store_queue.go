package courier

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

type queueRow struct {
	deliveryRow
	StationName string         `db:"station_name"`
	Open        pq.StringArray `db:"open_cases"`
}

const queueColumns = deliveryColumns + `, s.name AS station_name,
	ARRAY(SELECT c.kind FROM cases c WHERE c.delivery_id = d.id AND c.closed_at IS NULL ORDER BY c.due_at) AS open_cases`

// listQueue reads one page, the newest first: by id, or by when it was made where the filter names days, for each has its
// index. Permits that come meanwhile lie before the first page.
func listQueue(ctx context.Context, q sqlx.QueryerContext, f QueueFilter, after pageMark) ([]queueRow, error) {
	order, behind := `d.id DESC`, `d.id < $8::uuid AND $7::timestamptz IS NOT NULL`
	if f.byDay() {
		order, behind = `d.created_at DESC, d.id DESC`, `(d.created_at, d.id) < ($7::timestamptz, $8::uuid)`
	}
	var rows []queueRow
	err := sqlx.SelectContext(ctx, q, &rows, `
		SELECT `+queueColumns+`
		FROM deliveries d JOIN stations s ON s.code = d.station_code
		WHERE ($1 = '' OR d.status = $1) AND ($2 = '' OR d.station_code = $2) AND ($3 = '' OR d.rule = $3)
			AND ($4::timestamptz IS NULL OR d.created_at >= $4) AND ($5::timestamptz IS NULL OR d.created_at < $5)
			AND (NOT $6 OR `+behind+`) AND ($9 = '' OR d.station_code = $9)
		ORDER BY `+order+`
		LIMIT $10`,
		string(f.Status), f.Station, f.Rule, nullTime(f.From), nullTime(f.Before), after.set, after.at, after.id, StationOf(ctx), f.Limit+1)
	if err != nil {
		return nil, fmt.Errorf("list the queue: %w", err)
	}
	return rows, nil
}

// findByNumber asks each index by itself: one OR over them would read the whole table.
func findByNumber(ctx context.Context, q sqlx.QueryerContext, number string, most int) ([]queueRow, error) {
	var rows []queueRow
	err := sqlx.SelectContext(ctx, q, &rows, `
		SELECT `+queueColumns+`
		FROM deliveries d JOIN stations s ON s.code = d.station_code
		WHERE d.id IN (
			SELECT id FROM deliveries WHERE permit_no = $1 UNION SELECT id FROM deliveries WHERE application_no = $1
			UNION SELECT id FROM deliveries WHERE waybill_no = $1 UNION SELECT id FROM deliveries WHERE order_no = $1
		) AND ($2 = '' OR d.station_code = $2)
		ORDER BY d.id DESC
		LIMIT $3`, number, StationOf(ctx), most)
	if err != nil {
		return nil, fmt.Errorf("find permits by number: %w", err)
	}
	return rows, nil
}

func findByPerson(ctx context.Context, q sqlx.QueryerContext, key PersonKey, hash []byte, most int) ([]queueRow, error) {
	column := map[PersonKey]string{ByPhone: `d.phone_lookup`, ByIDNo: `d.id_no_lookup`}[key]
	var rows []queueRow
	err := sqlx.SelectContext(ctx, q, &rows, `
		SELECT `+queueColumns+`
		FROM deliveries d JOIN stations s ON s.code = d.station_code
		WHERE `+column+` = $1 AND ($2 = '' OR d.station_code = $2)
		ORDER BY d.id DESC
		LIMIT $3`, hash, StationOf(ctx), most)
	if err != nil {
		return nil, fmt.Errorf("find permits of a person: %w", err)
	}
	return rows, nil
}

// nullTime is NULL for a time that does not matter.
func nullTime(t time.Time) sql.NullTime { return sql.NullTime{Time: t, Valid: !t.IsZero()} }
