package tracking

import (
	"context"
	"time"

	"emsd/courier"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// tallier is the Tallier's name in feed_readers; its row there makes talliers take turns.
const tallier = "tallies"

// tally takes in up to limit events of the feed and moves on in it, in one transaction.
func tally(ctx context.Context, db *sqlx.DB, limit int) (read int, err error) {
	err = courier.InTx(ctx, db, func(tx *sqlx.Tx) error {
		position, err := lockReader(ctx, tx, tallier)
		if err != nil {
			return err
		}
		events, err := courier.ReadFeed(ctx, tx, position, limit)
		if err != nil || len(events) == 0 {
			return err
		}
		if _, err := tx.ExecContext(ctx, recount, pq.Array(texts(moved(events)))); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM tallies WHERE n = 0`); err != nil {
			return err
		}
		read = len(events)
		_, err = tx.ExecContext(ctx, `UPDATE feed_readers SET position = $2 WHERE name = $1`, tallier, events[read-1].Position)
		return err
	})
	return read, err
}

// recount moves deliveries from the count in which they were last to the one in which they stand.
const recount = `
	WITH stand AS MATERIALIZED (
		SELECT d.id, d.station_code, d.status, (d.status_since AT TIME ZONE 'Asia/Shanghai')::date AS day,
			(d.created_at AT TIME ZONE 'Asia/Shanghai')::date AS made, t.status AS old_status, t.day AS old_day
		FROM deliveries d LEFT JOIN tallied t ON t.delivery_id = d.id
		WHERE d.id = ANY($1::uuid[]) AND (t.status, t.day) IS DISTINCT FROM (d.status, (d.status_since AT TIME ZONE 'Asia/Shanghai')::date)
	), kept AS (
		INSERT INTO tallied AS t (delivery_id, station_code, status, day)
		SELECT id, station_code, status, day FROM stand
		ON CONFLICT (delivery_id) DO UPDATE SET status = excluded.status, day = excluded.day
	)
	INSERT INTO tallies AS t (status, day, station_code, n)
	SELECT status, day, station_code, sum(n) FROM (
		SELECT status, day, station_code, 1 AS n FROM stand
		UNION ALL SELECT old_status, old_day, station_code, -1 FROM stand WHERE old_status IS NOT NULL
		UNION ALL SELECT 'taken_in', made, station_code, 1 FROM stand WHERE old_status IS NULL
	) AS change
	GROUP BY 1, 2, 3
	HAVING sum(n) <> 0
	ORDER BY 1, 2, 3
	ON CONFLICT (status, day, station_code) DO UPDATE SET n = t.n + excluded.n`

// A tallyRow is a count of one status and day.
type tallyRow struct {
	Status courier.Status `db:"status"`
	Day    time.Time      `db:"day"`
	N      int            `db:"n"`
}

// liveStatuses are those whose tallies are few: a day on which nobody stands any more has no row.
var liveStatuses = func() []string {
	var list []string
	for _, s := range courier.Statuses {
		if s.Live() {
			list = append(list, string(s))
		}
	}
	return list
}()

func readStanding(ctx context.Context, q sqlx.QueryerContext) ([]tallyRow, error) {
	return readTallies(ctx, q, `status = ANY($1) AND $2::date IS NOT NULL`, liveStatuses, time.Unix(0, 0))
}

func readDays(ctx context.Context, q sqlx.QueryerContext, from time.Time) ([]tallyRow, error) {
	return readTallies(ctx, q, `status = ANY($1) AND day >= $2::date`, []string{string(takenIn), string(courier.Delivered), string(courier.Returned), string(courier.Refused)}, from)
}

func readTallies(ctx context.Context, q sqlx.QueryerContext, where string, statuses []string, from time.Time) ([]tallyRow, error) {
	rows, err := q.QueryxContext(ctx, `
		SELECT status, day, sum(n) AS n FROM tallies
		WHERE `+where+` AND ($3 = '' OR station_code = $3)
		GROUP BY 1, 2`, pq.Array(statuses), from.Format(time.DateOnly), courier.StationOf(ctx))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []tallyRow
	for rows.Next() {
		var r tallyRow
		if err := rows.Scan(&r.Status, &r.Day, &r.N); err != nil {
			return nil, err
		}
		// A date has no zone in PostgreSQL; here a day begins in Beijing.
		r.Day = time.Date(r.Day.Year(), r.Day.Month(), r.Day.Day(), 0, 0, 0, 0, beijing)
		list = append(list, r)
	}
	return list, rows.Err()
}
