package webhook

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// A target is an endpoint that may be sent to.
type target struct {
	ID       uuid.UUID `db:"id"`
	URL      string    `db:"url"`
	Ordered  bool      `db:"ordered"`
	Failures int       `db:"failures"` // in a row
	sealedKeys

	free int // rows that may be claimed
}

// readTargets lists the endpoints that are enabled and not held.
func readTargets(ctx context.Context, db *sqlx.DB, wall time.Time) ([]*target, error) {
	var targets []*target
	err := db.SelectContext(ctx, &targets, `
		SELECT id, url, ordered, failures, secret_sealed, old_secret_sealed, key_sealed, old_key_sealed, old_until
		FROM webhook_endpoints
		WHERE state = 'enabled' AND (hold_until IS NULL OR hold_until <= $1)
		ORDER BY id`, wall)
	if err != nil {
		return nil, fmt.Errorf("read the webhook endpoints that are enabled: %w", err)
	}
	return targets, nil
}

// A claimed row is a message that is to be sent to an endpoint now.
type claimed struct {
	Endpoint uuid.UUID `db:"endpoint_id"`
	N        int64     `db:"n"`
	Tries    int       `db:"tries"` // before this one
	Message  uuid.UUID `db:"id"`
	Type     string    `db:"type"`
	Body     string    `db:"body"`
}

// claimDue leases up to free due messages of each target, whose order does not matter. Rows that another daemon is claiming
// are passed over.
func claimDue(ctx context.Context, db *sqlx.DB, targets []*target, wall, lease time.Time) ([]claimed, error) {
	ids, free := make([]string, len(targets)), make([]int64, len(targets))
	for i, t := range targets {
		ids[i], free[i] = t.ID.String(), int64(t.free)
	}
	var rows []claimed
	err := db.SelectContext(ctx, &rows, `
		WITH due AS MATERIALIZED (
			SELECT o.endpoint_id, o.n
			FROM unnest($1::uuid[], $2::bigint[]) AS e(id, free) CROSS JOIN LATERAL (
				SELECT endpoint_id, n FROM webhook_outbox
				WHERE endpoint_id = e.id AND done_at IS NULL AND next_attempt_at <= $3 AND (lease_until IS NULL OR lease_until <= $3)
				ORDER BY next_attempt_at, n
				LIMIT e.free
				FOR UPDATE SKIP LOCKED
			) o
		), taken AS (
			UPDATE webhook_outbox o SET lease_until = $4, again = false FROM due WHERE o.endpoint_id = due.endpoint_id AND o.n = due.n
			RETURNING o.endpoint_id, o.n, o.tries
		)
		SELECT t.endpoint_id, t.n, t.tries, m.id, m.type, m.body FROM taken t JOIN webhook_messages m ON m.n = t.n
		ORDER BY t.endpoint_id, t.n`, pq.Array(ids), pq.Array(free), wall, lease)
	if err != nil {
		return nil, fmt.Errorf("claim webhooks: %w", err)
	}
	return rows, nil
}

// claimLines leases the first messages of each target that wants them in order, as far as they are due without a gap, if nothing
// else of the endpoint is on its way. The endpoint is locked, so that two daemons do not both find it idle; the line is looked at
// by a statement of its own, which sees what was committed while the lock was waited for.
func claimLines(ctx context.Context, tx *sqlx.Tx, targets []*target, wall, lease time.Time) ([]claimed, error) {
	ids, free := make([]string, len(targets)), map[string]int64{}
	for i, t := range targets {
		ids[i] = t.ID.String()
		free[ids[i]] = int64(t.free)
	}
	var locked []string
	err := tx.SelectContext(ctx, &locked, `
		SELECT id FROM webhook_endpoints WHERE id = ANY ($1::uuid[]) AND state = 'enabled' ORDER BY id FOR NO KEY UPDATE SKIP LOCKED`, pq.Array(ids))
	if err != nil || len(locked) == 0 {
		return nil, err
	}
	room := make([]int64, len(locked))
	for i, id := range locked {
		room[i] = free[id]
	}
	var rows []claimed
	err = tx.SelectContext(ctx, &rows, `
		WITH line AS MATERIALIZED (
			SELECT h.endpoint_id, h.n
			FROM unnest($1::uuid[], $4::bigint[]) AS e(id, free) CROSS JOIN LATERAL (
				SELECT endpoint_id, n, bool_and(next_attempt_at <= $2) OVER (ORDER BY n) AS due FROM (
					SELECT endpoint_id, n, next_attempt_at FROM webhook_outbox
					WHERE endpoint_id = e.id AND done_at IS NULL
					ORDER BY n
					LIMIT e.free
				) o
			) h
			WHERE h.due AND NOT EXISTS (
				SELECT 1 FROM webhook_outbox o WHERE o.endpoint_id = e.id AND o.done_at IS NULL AND o.lease_until > $2)
		), taken AS (
			UPDATE webhook_outbox o SET lease_until = $3, again = false FROM line h
			WHERE o.endpoint_id = h.endpoint_id AND o.n = h.n AND o.done_at IS NULL AND (o.lease_until IS NULL OR o.lease_until <= $2)
			RETURNING o.endpoint_id, o.n, o.tries
		)
		SELECT t.endpoint_id, t.n, t.tries, m.id, m.type, m.body FROM taken t JOIN webhook_messages m ON m.n = t.n
		ORDER BY t.endpoint_id, t.n`, pq.Array(locked), wall, lease, pq.Array(room))
	return rows, err
}

// A settling is what a try makes of its message.
type settling struct {
	job    *job
	result result
	done   bool
	failed bool
	next   time.Time // wall; with done of no meaning
}

// settle writes tries and what follows from each. A row that was claimed anew meanwhile, because this try outlived its lease,
// keeps what that claim makes of it. One that was asked for again meanwhile begins a new schedule, at once if this try came to
// an end.
func settle(ctx context.Context, tx *sqlx.Tx, settlings []settling, wall time.Time) error {
	if len(settlings) == 0 {
		return nil
	}
	n := len(settlings)
	endpoints, ns, leases, next := make([]string, n), make([]int64, n), make([]time.Time, n), make([]time.Time, n)
	done, failed, at, took, tries := make([]bool, n), make([]bool, n), make([]time.Time, n), make([]int64, n), make([]int64, n)
	outcomes, status, details := make([]string, n), make([]int64, n), make([]string, n)
	for i, s := range settlings {
		endpoints[i], ns[i], leases[i], next[i] = s.job.Endpoint.String(), s.job.N, s.job.lease, s.next
		done[i], failed[i], at[i], took[i] = s.done, s.failed, s.result.at, s.result.took.Milliseconds()
		outcomes[i], status[i], details[i], tries[i] = s.result.outcome, int64(s.result.status), s.result.detail, int64(s.job.Tries+1)
		if s.done {
			next[i] = wall
		}
	}
	_, err := tx.ExecContext(ctx, `
		WITH s AS MATERIALIZED (
			SELECT endpoint_id, n, lease, next, done, failed, at, took, outcome, status, detail, try
			FROM unnest($1::uuid[], $2::bigint[], $3::timestamptz[], $4::timestamptz[], $5::boolean[], $6::boolean[], $7::timestamptz[],
				$8::bigint[], $9::text[], $10::bigint[], $11::text[], $13::bigint[]) AS s(endpoint_id, n, lease, next, done, failed, at, took, outcome, status, detail, try)
		), held AS MATERIALIZED (
			SELECT o.endpoint_id, o.n FROM webhook_outbox o JOIN s ON s.endpoint_id = o.endpoint_id AND s.n = o.n
			ORDER BY o.endpoint_id, o.n FOR UPDATE OF o
		), settled AS (
			UPDATE webhook_outbox o
			SET tries = CASE WHEN o.again THEN 0 ELSE s.try END, lease_until = NULL, again = false,
				next_attempt_at = CASE WHEN s.done AND NOT o.again THEN o.next_attempt_at ELSE s.next END,
				done_at = CASE WHEN s.done AND NOT o.again THEN $12::timestamptz END, failed = s.failed AND NOT o.again
			FROM s JOIN held h ON h.endpoint_id = s.endpoint_id AND h.n = s.n
			WHERE o.endpoint_id = s.endpoint_id AND o.n = s.n AND o.lease_until = s.lease
			RETURNING o.endpoint_id, o.n
		)
		INSERT INTO webhook_attempts (endpoint_id, n, try, at, took_ms, outcome, status, detail)
		SELECT s.endpoint_id, s.n, s.try, s.at, s.took, s.outcome, nullif(s.status, 0), s.detail
		FROM settled d JOIN s ON s.endpoint_id = d.endpoint_id AND s.n = d.n
		ORDER BY s.at`,
		pq.Array(endpoints), pq.Array(ns), timeArray(leases), timeArray(next), pq.Array(done), pq.Array(failed), timeArray(at), pq.Array(took),
		pq.Array(outcomes), pq.Array(status), pq.Array(details), wall, pq.Array(tries))
	if err != nil {
		return fmt.Errorf("settle %d webhooks: %w", n, err)
	}
	return nil
}

// handBack frees rows that were claimed and not sent.
func handBack(ctx context.Context, tx *sqlx.Tx, jobs []*job) error {
	if len(jobs) == 0 {
		return nil
	}
	endpoints, ns, leases := make([]string, len(jobs)), make([]int64, len(jobs)), make([]time.Time, len(jobs))
	for i, j := range jobs {
		endpoints[i], ns[i], leases[i] = j.Endpoint.String(), j.N, j.lease
	}
	_, err := tx.ExecContext(ctx, `
		UPDATE webhook_outbox o SET lease_until = NULL, again = false
		FROM unnest($1::uuid[], $2::bigint[], $3::timestamptz[]) AS s(endpoint_id, n, lease)
		WHERE o.endpoint_id = s.endpoint_id AND o.n = s.n AND o.lease_until = s.lease`, pq.Array(endpoints), pq.Array(ns), timeArray(leases))
	if err != nil {
		return fmt.Errorf("hand %d webhooks back: %w", len(jobs), err)
	}
	return nil
}

// lockHealth reads how endpoints are doing and keeps it from changing, in their order so that no two wait for each other.
func lockHealth(ctx context.Context, tx *sqlx.Tx, ids []uuid.UUID) (map[uuid.UUID]endpointRow, error) {
	var rows []endpointRow
	err := tx.SelectContext(ctx, &rows, `
		SELECT `+endpointColumns+` FROM webhook_endpoints WHERE id = ANY ($1::uuid[]) ORDER BY id FOR NO KEY UPDATE`, uuidArray(ids))
	if err != nil {
		return nil, fmt.Errorf("lock %d webhook endpoints: %w", len(ids), err)
	}
	by := make(map[uuid.UUID]endpointRow, len(rows))
	for _, r := range rows {
		by[r.ID] = r
	}
	return by, nil
}

func saveHealth(ctx context.Context, tx *sqlx.Tx, ids []uuid.UUID, healths []Health) error {
	failures, since, hold := make([]int64, len(ids)), make([]time.Time, len(ids)), make([]time.Time, len(ids))
	for i, h := range healths {
		failures[i], since[i], hold[i] = int64(h.Failures), h.FailingSince, h.HoldUntil
	}
	_, err := tx.ExecContext(ctx, `
		UPDATE webhook_endpoints e SET failures = h.failures, failing_since = h.since, hold_until = h.hold
		FROM unnest($1::uuid[], $2::integer[], $3::timestamptz[], $4::timestamptz[]) AS h(id, failures, since, hold)
		WHERE e.id = h.id`, uuidArray(ids), pq.Array(failures), timeArray(since), timeArray(hold))
	if err != nil {
		return fmt.Errorf("write how %d webhook endpoints do: %w", len(ids), err)
	}
	return nil
}

// noteSuccess forgets failures, and writes when something was taken, to the minute: an endpoint that works costs no write. One
// that somebody is changing is left for the next success, so that nobody waits here with rows locked.
func noteSuccess(ctx context.Context, tx *sqlx.Tx, ids []uuid.UUID, wall time.Time) error {
	_, err := tx.ExecContext(ctx, `
		WITH due AS MATERIALIZED (
			SELECT id FROM webhook_endpoints
			WHERE id = ANY ($1::uuid[]) AND (failures > 0 OR hold_until IS NOT NULL OR last_success_at IS NULL OR last_success_at < $2::timestamptz - interval '1 minute')
			ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
		)
		UPDATE webhook_endpoints e SET failures = 0, failing_since = NULL, hold_until = NULL, last_success_at = $2 FROM due WHERE e.id = due.id`,
		uuidArray(ids), wall)
	return err
}

func uuidArray(ids []uuid.UUID) any {
	text := make([]string, len(ids))
	for i, id := range ids {
		text[i] = id.String()
	}
	return pq.Array(text)
}

// timeArray gives a timestamptz[] parameter, the zero time as NULL; pq.Array would send Go's own notation, which PostgreSQL
// cannot read.
func timeArray(times []time.Time) any {
	text := make([]*string, len(times))
	for i, t := range times {
		if !t.IsZero() {
			s := t.UTC().Format("2006-01-02 15:04:05.999999Z07:00")
			text[i] = &s
		}
	}
	return pq.Array(text)
}
