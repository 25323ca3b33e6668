package tracking

import (
	"context"
	"fmt"
	"time"

	"emsd/courier"

	"github.com/jmoiron/sqlx"
)

// EnsurePartitions makes the partitions of every table kept by month, for the month of now in Beijing and the months after
// it. Each is a transaction of its own, so that no lock on one table waits for the other.
func EnsurePartitions(ctx context.Context, db *sqlx.DB, now time.Time, monthsAhead int) error {
	for _, table := range []string{"scans", "retellings", "raw_answers", "events"} {
		for i := range monthsAhead + 1 {
			month := monthOf(now, i)
			var made bool
			if err := changeMonths(ctx, db, &made, `SELECT ensure_month($1, $2::date)`, table, month); err != nil {
				return fmt.Errorf("make the partition of %s for %s: %w", table, month[:7], err)
			}
		}
	}
	return nil
}

// partitionWait bounds how long making or dropping a partition waits for its lock: whoever reads or writes the table waits
// behind it. While a dump holds the tables it gives up; the next round does it. It outlasts deadlock_timeout, 1 s unless
// set, after which PostgreSQL cancels an autovacuum that is in the way.
const partitionWait = 2 * time.Second

func changeMonths(ctx context.Context, db *sqlx.DB, result any, query, table, month string) error {
	return courier.InTx(ctx, db, func(tx *sqlx.Tx) error {
		if err := limitLocks(ctx, tx, partitionWait); err != nil {
			return err
		}
		return tx.GetContext(ctx, result, query, table, month)
	})
}

// monthOf is the first day of the month that lies some months after that of t in Beijing.
func monthOf(t time.Time, after int) string {
	y, m, _ := t.In(beijing).Date()
	return time.Date(y, m+time.Month(after), 1, 0, 0, 0, 0, time.UTC).Format(time.DateOnly)
}

// Keep says how long traces stay.
type Keep struct {
	AnswerDays  int // raw answers, at least; they go by whole months
	TraceMonths int // scans and their tellings
}

// DropMonths drops whole months of raw answers, scans and tellings that nobody needs any more: a partition is dropped, no
// row is deleted. The month in which the oldest delivery was ordered that EMS is still asked about, and every month after
// it, stays whatever its age. It tells how many partitions went.
func DropMonths(ctx context.Context, db *sqlx.DB, keep Keep, now time.Time) (dropped int, err error) {
	oldest := now
	if err := db.GetContext(ctx, &oldest, `
		SELECT coalesce(min(ordered_at), $1) - interval '1 day' FROM waybills WHERE next_poll_at IS NOT NULL`, now); err != nil {
		return 0, fmt.Errorf("read the oldest delivery that is followed: %w", err)
	}
	bound := func(t time.Time) string {
		if t.After(oldest) {
			t = oldest
		}
		return monthOf(t, 0)
	}
	traces := bound(now.AddDate(0, -keep.TraceMonths, 0))
	for _, d := range []struct{ table, before string }{
		{"raw_answers", bound(now.AddDate(0, 0, -keep.AnswerDays))}, {"retellings", traces}, {"scans", traces},
	} {
		var n int
		if err := changeMonths(ctx, db, &n, `SELECT drop_months($1, $2::date)`, d.table, d.before); err != nil {
			return dropped, fmt.Errorf("drop the months of %s before %s: %w", d.table, d.before[:7], err)
		}
		dropped += n
	}
	return dropped, nil
}
