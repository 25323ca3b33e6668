package tracking

import (
	"context"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
)

// EnsurePartitions makes the partitions of scans and events for the month of now in Beijing and the months after it. Each
// is a transaction of its own, so that no lock on one table waits for the other.
func EnsurePartitions(ctx context.Context, db *sqlx.DB, now time.Time, monthsAhead int) error {
	y, m, _ := now.In(beijing).Date()
	for _, table := range []string{"scans", "events"} {
		for i := range monthsAhead + 1 {
			month := time.Date(y, m+time.Month(i), 1, 0, 0, 0, 0, time.UTC).Format(time.DateOnly)
			if _, err := db.ExecContext(ctx, `SELECT ensure_month($1, $2::date)`, table, month); err != nil {
				return fmt.Errorf("make the partition of %s for %s: %w", table, month[:7], err)
			}
		}
	}
	return nil
}
