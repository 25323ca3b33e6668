package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jmoiron/sqlx"
)

// replicaLock is an advisory lock that every daemon holds in shared mode for as long as it lives: the holders are the
// live replicas, and a daemon that dies is not counted from the moment its connection ends.
const replicaLock = 0x656d7364 // "emsd"

// countReplicas keeps the lock and tells the number of live daemons whenever it changes, so that together they keep
// the account's rate. While the database is away the last number stands.
func countReplicas(ctx context.Context, db *sqlx.DB, every time.Duration, changed func(n int), log *slog.Logger) {
	last := 0
	for ctx.Err() == nil {
		err := holdAndCount(ctx, db, every, func(n int) {
			if n != last {
				last = n
				changed(n)
			}
		})
		if err != nil && ctx.Err() == nil {
			log.Warn("counting the replicas stopped, trying again", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(every):
		}
	}
}

func holdAndCount(ctx context.Context, db *sqlx.DB, every time.Duration, tell func(int)) error {
	conn, err := db.Connx(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, `SELECT pg_advisory_lock_shared($1)`, int64(replicaLock)); err != nil {
		return fmt.Errorf("hold the replica lock: %w", err)
	}
	// The connection goes back to the pool when this returns; without the unlock it would count for ever.
	defer conn.ExecContext(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock_shared($1)`, int64(replicaLock))
	for {
		var n int
		err := conn.GetContext(ctx, &n, `
			SELECT count(*) FROM pg_locks
			WHERE locktype = 'advisory' AND objid = $1 AND classid = 0 AND granted
				AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`, int64(replicaLock))
		if err != nil {
			return fmt.Errorf("count the replicas: %w", err)
		}
		tell(max(n, 1))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(every):
		}
	}
}
