package migrations

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// lockID names the migration lock among the advisory locks of a database.
const lockID = 0x656d73646d696772 // "emsdmigr"

// lockEvery is how often a waiting process asks again. Migrating is rare and short, and goose's own locker, which
// asks every few seconds, would be felt at every start of a second replica.
const lockEvery = 100 * time.Millisecond

// locker is a session-level advisory lock. It asks again and again instead of waiting inside pg_advisory_lock,
// because a waiting statement holds a snapshot, and CREATE INDEX CONCURRENTLY in the other session would wait for it:
// a deadlock.
type locker struct{}

// SessionLock takes the lock on conn, or ends with ctx.
func (locker) SessionLock(ctx context.Context, conn *sql.Conn) error {
	tick := time.NewTicker(lockEvery)
	defer tick.Stop()
	for {
		var locked bool
		if err := conn.QueryRowContext(ctx, `SELECT pg_try_advisory_lock($1)`, int64(lockID)).Scan(&locked); err != nil {
			return fmt.Errorf("take the migration lock: %w", err)
		}
		if locked {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the migration lock, which another process holds: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// SessionUnlock gives the lock back; the end of the session would do so too.
func (locker) SessionUnlock(ctx context.Context, conn *sql.Conn) error {
	if _, err := conn.ExecContext(ctx, `SELECT pg_advisory_unlock($1)`, int64(lockID)); err != nil {
		return fmt.Errorf("release the migration lock: %w", err)
	}
	return nil
}
