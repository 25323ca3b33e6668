package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/jmoiron/sqlx"
)

// replicaLock is an advisory lock that every daemon holds in shared mode for as long as it lives: the holders are the
// live replicas, and a daemon that dies is not counted from the moment its connection ends.
const replicaLock = 0x656d7364 // "emsd"

const (
	// countEvery is how often a daemon counts the others.
	countEvery = 2 * time.Second

	// settleFor is how long a daemon that finds others waits for its part: by then they have counted it and taken less.
	settleFor = 2*countEvery + time.Second

	// uncounted is the part of the account's rate of a daemon that others do not know of: while it joins, and while it has
	// lost the database. Calls in flight then still come to an end.
	uncounted = 0.02
)

// A rateShare decides which part of the account's rate a daemon takes, so that all parts together are no more than the
// whole. It takes less at once and more only after settleFor: a daemon that is not counted any more may need that long to
// find it out. One that finds nobody when it starts takes all of it: whoever comes later counts two. One that lost the
// lock waits even then: when the database restarts, all lose it, and some find it out later than others.
type rateShare struct {
	since  time.Time // of the lock
	again  bool      // the lock was lost before
	counts []liveCount
	joined bool // the others have had the time to count this one
}

type liveCount struct {
	at   time.Time
	live int
}

func (s *rateShare) part(live int, now time.Time) float64 {
	live = max(live, 1)
	s.counts = slices.DeleteFunc(s.counts, func(c liveCount) bool { return now.Sub(c.at) >= settleFor })
	s.joined = s.joined || now.Sub(s.since) >= settleFor || !s.again && live == 1 && len(s.counts) == 0
	s.counts = append(s.counts, liveCount{now, live})
	if !s.joined {
		return uncounted
	}
	for _, c := range s.counts {
		live = max(live, c.live)
	}
	return 1 / float64(live)
}

// countReplicas keeps the lock and tells this daemon's part of the account's rate whenever it changes.
func countReplicas(ctx context.Context, db *sqlx.DB, take func(part float64), log *slog.Logger) {
	last := 0.0
	tell := func(part float64) {
		if part != last {
			last = part
			take(part)
		}
	}
	said := false // since it last counted: twice a second would be too often
	for again := false; ctx.Err() == nil; again = true {
		tell(uncounted)
		err := holdAndCount(ctx, db, again, func(part float64) { said = false; tell(part) })
		if err != nil && ctx.Err() == nil && !said {
			said = true
			log.Warn("counting the replicas stopped, trying again until it goes on", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(countEvery / 4):
		}
	}
}

func holdAndCount(ctx context.Context, db *sqlx.DB, again bool, tell func(part float64)) error {
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
	share := rateShare{since: time.Now(), again: again}
	for {
		n, err := liveReplicas(ctx, conn)
		if err != nil {
			return err
		}
		tell(share.part(n, time.Now()))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(countEvery):
		}
	}
}

// liveReplicas counts the holders of the lock. A count that takes long is worth nothing, as is its daemon's place among
// the others.
func liveReplicas(ctx context.Context, conn *sqlx.Conn) (n int, err error) {
	ctx, cancel := context.WithTimeout(ctx, countEvery)
	defer cancel()
	err = conn.GetContext(ctx, &n, `
		SELECT count(*) FROM pg_locks
		WHERE locktype = 'advisory' AND objid = $1 AND classid = 0 AND granted
			AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`, int64(replicaLock))
	if err != nil {
		return 0, fmt.Errorf("count the replicas: %w", err)
	}
	return n, nil
}
