package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"emsd/courier"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// reader is this package's name in feed_readers.
const reader = "notify"

// planOnce turns up to limit events into messages and moves on in the feed, in one transaction. Its row in
// feed_readers makes planners take turns.
func planOnce(ctx context.Context, db *sqlx.DB, now time.Time, limit int) (read int, written []planned, err error) {
	err = courier.InTx(ctx, db, func(tx *sqlx.Tx) error {
		position, err := lockReader(ctx, tx)
		if err != nil {
			return err
		}
		events, err := courier.ReadFeed(ctx, tx, position, limit)
		if err != nil || len(events) == 0 {
			return err
		}
		plans, retold, err := planAll(events)
		if err != nil {
			return err
		}
		if written, err = insertMessages(ctx, tx, plans, now); err != nil {
			return err
		}
		changed, err := retell(ctx, tx, retold, now)
		if err != nil {
			return err
		}
		read = len(events)
		_, err = tx.ExecContext(ctx, `UPDATE feed_readers SET position = $2 WHERE name = $1`, reader, events[read-1].Position)
		if err != nil || len(written) == 0 && changed == 0 {
			return err
		}
		return courier.Wake(ctx, tx, courier.WakeMessages)
	})
	if err != nil {
		return 0, nil, fmt.Errorf("plan messages: %w", err)
	}
	return read, written, nil
}

func lockReader(ctx context.Context, tx *sqlx.Tx) (int64, error) {
	_, err := tx.ExecContext(ctx, `INSERT INTO feed_readers (name, position) VALUES ($1, 0) ON CONFLICT (name) DO NOTHING`, reader)
	if err != nil {
		return 0, err
	}
	var position int64
	err = tx.GetContext(ctx, &position, `SELECT position FROM feed_readers WHERE name = $1 FOR UPDATE`, reader)
	return position, err
}

// insertMessages writes messages and returns those that are new or renewed. A milestone that has its message keeps it
// (I-5); only one that was never given to a gateway takes up later news of the same kind, so that a second day at the
// door is told when the first was not.
func insertMessages(ctx context.Context, tx *sqlx.Tx, plans []planned, now time.Time) ([]planned, error) {
	if len(plans) == 0 {
		return nil, nil
	}
	n := len(plans)
	ids, deliveries, milestones, states := make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	verdicts, reasons, vars := make([]string, n), make([]string, n), make([]string, n)
	positions, eventAts := make([]int64, n), make([]time.Time, n)
	for i, p := range plans {
		text, err := json.Marshal(p.message.Vars)
		if err != nil {
			return nil, err
		}
		ids[i], deliveries[i], milestones[i] = uuid.Must(uuid.NewV7()).String(), p.delivery.String(), string(p.message.Milestone)
		states[i], verdicts[i], reasons[i] = p.state(), string(p.verdict.Action), p.verdict.Reason
		vars[i], positions[i], eventAts[i] = string(text), p.message.Position, p.message.EventAt
	}
	var fresh []int64
	err := tx.SelectContext(ctx, &fresh, `
		INSERT INTO messages (id, delivery_id, milestone, position, event_at, vars, state, verdict, reason, not_before, created_at, updated_at)
		SELECT id, delivery_id, milestone, position, event_at, vars, state, verdict, reason, $10, $10, $10
		FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::timestamptz[], $6::jsonb[], $7::text[], $8::text[], $9::text[])
			AS m(id, delivery_id, milestone, position, event_at, vars, state, verdict, reason)
		ORDER BY delivery_id, milestone
		ON CONFLICT (delivery_id, milestone) DO UPDATE
			SET position = excluded.position, event_at = excluded.event_at, vars = excluded.vars, state = excluded.state,
				verdict = excluded.verdict, reason = excluded.reason, not_before = excluded.not_before, updated_at = excluded.updated_at
			WHERE messages.state IN ('queued', 'suppressed') AND messages.tries = 0 AND messages.position < excluded.position
				AND excluded.state = 'queued'
		RETURNING position`,
		pq.Array(ids), pq.Array(deliveries), pq.Array(milestones), pq.Array(positions), timeArray(eventAts), pq.Array(vars),
		pq.Array(states), pq.Array(verdicts), pq.Array(reasons), now)
	if err != nil {
		return nil, fmt.Errorf("insert %d messages: %w", n, err)
	}
	slices.Sort(fresh)
	return slices.DeleteFunc(plans, func(p planned) bool {
		_, found := slices.BinarySearch(fresh, p.message.Position)
		return !found
	}), nil
}

// timeArray gives a timestamptz[] parameter; pq.Array would send Go's own notation, which PostgreSQL cannot read.
func timeArray(times []time.Time) any {
	text := make([]string, len(times))
	for i, t := range times {
		text[i] = t.UTC().Format("2006-01-02 15:04:05.999999Z07:00")
	}
	return pq.Array(text)
}

// optionalTimes is timeArray where the zero time is NULL.
func optionalTimes(times []time.Time) any {
	text := make([]*string, len(times))
	for i, t := range times {
		if !t.IsZero() {
			s := t.UTC().Format("2006-01-02 15:04:05.999999Z07:00")
			text[i] = &s
		}
	}
	return pq.Array(text)
}

// retell changes what messages say that have not left, and lets them be decided about at once. They are locked in the order
// in which they are inserted.
func retell(ctx context.Context, tx *sqlx.Tx, all []retelling, now time.Time) (changed int64, err error) {
	if len(all) == 0 {
		return 0, nil
	}
	n := len(all)
	deliveries, milestones, vars, positions, revives := make([]string, n), make([]string, n), make([]string, n), make([]int64, n), make([]bool, n)
	for i, r := range all {
		text, err := json.Marshal(r.vars)
		if err != nil {
			return 0, err
		}
		deliveries[i], milestones[i], vars[i], positions[i], revives[i] = r.delivery.String(), string(r.milestone), string(text), r.position, r.revives
	}
	done, err := tx.ExecContext(ctx, `
		WITH r AS MATERIALIZED (
			SELECT delivery_id, milestone, vars, position, revives
			FROM unnest($1::uuid[], $2::text[], $3::jsonb[], $4::bigint[], $5::boolean[]) AS r(delivery_id, milestone, vars, position, revives)
		), m AS (
			SELECT m.id FROM messages m
			WHERE m.delivery_id IN (SELECT delivery_id FROM r) AND (m.state = 'queued' OR m.state = 'suppressed' AND m.verdict IN ('not_in_hand', 'declined'))
			ORDER BY m.delivery_id, m.milestone
			FOR UPDATE
		), news AS (
			SELECT m.id, jsonb_object_agg(k.key, k.value) FILTER (WHERE k.key IS NOT NULL) AS vars, bool_or(r.revives) AS revives
			FROM m JOIN messages o ON o.id = m.id
			JOIN r ON r.delivery_id = o.delivery_id AND r.milestone IN ('', o.milestone) AND r.position > o.position
			LEFT JOIN LATERAL jsonb_each(r.vars) k ON true
			WHERE o.state = 'queued' OR r.revives
			GROUP BY m.id
		)
		UPDATE messages o
		SET vars = o.vars || coalesce(n.vars, '{}'), not_before = least(o.not_before, $6), updated_at = $6, state = 'queued',
			verdict = CASE o.state WHEN 'queued' THEN o.verdict ELSE 'send' END, reason = CASE o.state WHEN 'queued' THEN o.reason ELSE '等待发送' END
		FROM news n
		WHERE o.id = n.id`,
		pq.Array(deliveries), pq.Array(milestones), pq.Array(vars), pq.Array(positions), pq.Array(revives), now)
	if err != nil {
		return 0, fmt.Errorf("retell %d messages: %w", n, err)
	}
	return done.RowsAffected()
}
