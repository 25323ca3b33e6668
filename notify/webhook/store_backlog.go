package webhook

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// A Backlog is what waits for an endpoint.
type Backlog struct {
	Endpoint uuid.UUID     `db:"id"`
	Pending  int           `db:"pending"` // counted up to MaxPending
	Failed   int           `db:"failed"`  // no try left
	Disabled bool          `db:"disabled"`
	Oldest   time.Duration // since the oldest was queued; 0 when nothing waits
	Seconds  float64       `db:"seconds"`
}

// Backlogs tells what waits for each endpoint.
func Backlogs(ctx context.Context, db *sqlx.DB, wall time.Time) ([]Backlog, error) {
	var all []Backlog
	err := db.SelectContext(ctx, &all, `
		SELECT e.id, e.state = 'disabled' AS disabled,
			(SELECT count(*) FROM (SELECT 1 FROM webhook_outbox o WHERE o.endpoint_id = e.id AND o.done_at IS NULL LIMIT $2) p) AS pending,
			(SELECT count(*) FROM (SELECT 1 FROM webhook_outbox o WHERE o.endpoint_id = e.id AND o.failed LIMIT $2) f) AS failed,
			coalesce((SELECT extract(epoch FROM $1 - m.at) FROM webhook_outbox o JOIN webhook_messages m ON m.n = o.n
				WHERE o.endpoint_id = e.id AND o.done_at IS NULL ORDER BY o.n LIMIT 1), 0)::float8 AS seconds
		FROM webhook_endpoints e
		ORDER BY e.id`, wall, MaxPending)
	if err != nil {
		return nil, fmt.Errorf("read what waits for webhook endpoints: %w", err)
	}
	for i := range all {
		all[i].Oldest = time.Duration(max(all[i].Seconds, 0) * float64(time.Second))
	}
	return all, nil
}
