package tracking

import (
	"context"
	"fmt"
	"time"

	"emsd/courier"

	"github.com/jmoiron/sqlx"
)

// readPlan reads the table poll_plan.
func readPlan(ctx context.Context, q sqlx.QueryerContext) (*Plan, error) {
	rows, err := q.QueryxContext(ctx, `SELECT stage, silent_hours, day_seconds, night_seconds, urgency FROM poll_plan`)
	if err != nil {
		return nil, fmt.Errorf("read the poll plan: %w", err)
	}
	defer rows.Close()
	var list []planRow
	for rows.Next() {
		var r planRow
		var silent, day, night int64
		if err := rows.Scan(&r.stage, &silent, &day, &night, &r.urgency); err != nil {
			return nil, fmt.Errorf("read the poll plan: %w", err)
		}
		r.silent, r.day, r.night = time.Duration(silent)*time.Hour, time.Duration(day)*time.Second, time.Duration(night)*time.Second
		list = append(list, r)
	}
	return newPlan(list), rows.Err()
}

// A Backlog says how far behind the plan the polls of a stage are.
type Backlog struct {
	Stage  courier.Status
	Due    int           // waybills that are due; counted up to a bound
	Behind time.Duration // since when the longest waiting of them is due, in business time
}

// mostCounted bounds what counting the due waybills of a class may cost.
const mostCounted = 50_000

// Backlogs tells for every stage how far behind it is. Of a class with very many due waybills it counts the longest
// waiting ones only.
func Backlogs(ctx context.Context, q sqlx.QueryerContext, now time.Time) ([]Backlog, error) {
	rows, err := q.QueryxContext(ctx, `
		SELECT stage, count(*), extract(epoch FROM $1 - min(next_poll_at))::float8
		FROM (
			(SELECT stage, next_poll_at FROM waybills WHERE urgency = 0 AND next_poll_at <= $1 ORDER BY next_poll_at LIMIT $2)
			UNION ALL (SELECT stage, next_poll_at FROM waybills WHERE urgency = 1 AND next_poll_at <= $1 ORDER BY next_poll_at LIMIT $2)
			UNION ALL (SELECT stage, next_poll_at FROM waybills WHERE urgency = 2 AND next_poll_at <= $1 ORDER BY next_poll_at LIMIT $2)
			UNION ALL (SELECT stage, next_poll_at FROM waybills WHERE urgency = 3 AND next_poll_at <= $1 ORDER BY next_poll_at LIMIT $2)
		) due
		GROUP BY stage`, now, mostCounted)
	if err != nil {
		return nil, fmt.Errorf("read how far behind the polls are: %w", err)
	}
	defer rows.Close()
	found := map[courier.Status]Backlog{}
	for rows.Next() {
		var b Backlog
		var seconds float64
		if err := rows.Scan(&b.Stage, &b.Due, &seconds); err != nil {
			return nil, fmt.Errorf("read how far behind the polls are: %w", err)
		}
		b.Behind = time.Duration(seconds * float64(time.Second))
		found[b.Stage] = b
	}
	list := make([]Backlog, 0, len(askedStages))
	for _, stage := range askedStages {
		b := found[stage]
		b.Stage = stage
		list = append(list, b)
	}
	return list, rows.Err()
}
