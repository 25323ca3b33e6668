package tracking

import (
	"context"
	"fmt"
	"time"

	"emsd/courier"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// readStallClocks reads the clocks, those that say more before those that say less about the same delivery.
func readStallClocks(ctx context.Context, q sqlx.QueryerContext) ([]stallClock, error) {
	rows, err := q.QueryxContext(ctx, `
		SELECT clock, statuses, starts, working_hours, next_action
		FROM stall_clocks
		ORDER BY starts <> 'handed_over', clock`)
	if err != nil {
		return nil, fmt.Errorf("read the clocks: %w", err)
	}
	defer rows.Close()
	var clocks []stallClock
	for rows.Next() {
		var c stallClock
		var statuses pq.StringArray
		var hours int
		if err := rows.Scan(&c.name, &statuses, &c.starts, &hours, &c.next); err != nil {
			return nil, fmt.Errorf("read the clocks: %w", err)
		}
		c.limit = time.Duration(hours) * time.Hour
		for _, s := range statuses {
			c.statuses = append(c.statuses, courier.Status(s))
		}
		clocks = append(clocks, c)
	}
	return clocks, rows.Err()
}

// readStationHours reads every office hours that some station keeps.
func readStationHours(ctx context.Context, q sqlx.QueryerContext) ([]string, error) {
	var hours []string
	if err := sqlx.SelectContext(ctx, q, &hours, `SELECT DISTINCT hours FROM stations ORDER BY hours`); err != nil {
		return nil, fmt.Errorf("read the hours of the stations: %w", err)
	}
	return hours, nil
}

// began gives what a clock runs from, and the bound that lets an index find it. That of scans starts anew with the status,
// so that a delivery which is ordered again does not stand still since its former waybill's last scan.
var began = map[string]struct{ at, bound string }{
	"handed_over": {`d.handed_over_at`, `d.handed_over_at <= $2`},
	"status":      {`d.status_since`, `d.status_since <= $2`},
	"scan":        {`greatest(d.tracked_at, d.status_since)`, `greatest(d.tracked_at, d.status_since) <= $2`},
	"held_until": {`coalesce((d.held_until + 1)::timestamp AT TIME ZONE 'Asia/Shanghai', d.status_since + interval '7 days')`,
		`coalesce((d.held_until + 1)::timestamp AT TIME ZONE 'Asia/Shanghai', d.status_since + interval '7 days') <= $2`},
	"shelf": {`(r.retain_until + 1)::timestamp AT TIME ZONE 'Asia/Shanghai'`,
		`(r.retain_until + 1)::timestamp AT TIME ZONE 'Asia/Shanghai' <= $2 AND r.picked_up_at IS NULL AND r.redispatched_as IS NULL AND r.disposed_at IS NULL`},
}

// lockStandstills finds deliveries whose clock began at last or before and for which no case was opened since. A case that
// a clerk has closed counts: the same standstill does not come back. Deliveries that somebody else has locked are passed
// over: they are being moved, or told already.
func lockStandstills(ctx context.Context, tx *sqlx.Tx, c stallClock, hours string, last time.Time, limit int) ([]standstill, error) {
	from, ok := began[c.starts]
	if !ok {
		return nil, fmt.Errorf("a clock cannot run from %q", c.starts)
	}
	statuses := make(pq.StringArray, len(c.statuses))
	for i, s := range c.statuses {
		statuses[i] = string(s)
	}
	tables, where := `deliveries d`, ``
	if c.starts == "shelf" {
		tables += ` JOIN returns r ON r.delivery_id = d.id`
	}
	args := []any{statuses, last, limit}
	if hours != "" {
		args = append(args, hours)
		where = ` AND d.station_code IN (SELECT code FROM stations WHERE hours = $4)`
	}
	// The planner takes a third of all for due, and would read the table until a chunk of them is found. Hardly any are.
	if _, err := tx.ExecContext(ctx, `SET LOCAL enable_seqscan = off`); err != nil {
		return nil, err
	}
	rows, err := tx.QueryContext(ctx, `
		SELECT d.id, d.status, `+from.at+`
		FROM `+tables+`
		WHERE d.status = ANY($1::text[]) AND `+from.bound+where+` AND NOT EXISTS (
			SELECT 1 FROM cases c WHERE c.delivery_id = d.id AND c.kind = 'stalled' AND (c.closed_at IS NULL OR c.opened_at >= `+from.at+`))
		LIMIT $3
		FOR NO KEY UPDATE OF d SKIP LOCKED`, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []standstill
	for rows.Next() {
		var s standstill
		if err := rows.Scan(&s.delivery, &s.status, &s.began); err != nil {
			return nil, err
		}
		found = append(found, s)
	}
	return found, rows.Err()
}
