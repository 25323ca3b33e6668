package bench

import (
	"context"
	"time"

	"emsd/courier"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// moveOut takes every seeded delivery to a status on the way, with a waybill number.
func moveOut(ctx context.Context, db *sqlx.DB, to courier.Status, now time.Time) error {
	_, err := db.ExecContext(ctx, `
		WITH n AS (SELECT id, row_number() OVER (ORDER BY id) AS i FROM deliveries)
		UPDATE deliveries d
		SET status = $1, status_since = $2, next_attempt_at = NULL, number_mode = 'reserved', order_no = 'RP' || n.i, waybill_no = '12' || lpad(n.i::text, 11, '0'),
			phone_lookup = decode(md5(n.i::text), 'hex')
		FROM n WHERE n.id = d.id`, string(to), now)
	return err
}

// insertQueued queues one message for each delivery; ids rise with time, as the planner's do.
func insertQueued(ctx context.Context, db *sqlx.DB, now time.Time) error {
	_, err := db.ExecContext(ctx, `
		INSERT INTO messages (id, delivery_id, milestone, position, event_at, vars, state, verdict, reason, not_before, created_at, updated_at)
		SELECT ('01930000-0000-7000-8000-' || lpad(to_hex(row_number() OVER (ORDER BY id)), 12, '0'))::uuid, id, 'out_for_delivery', row_number() OVER (ORDER BY id), $1::timestamptz, jsonb_build_object('waybill_no', waybill_no), 'queued', 'send', '等待发送',
			$1::timestamptz - interval '1 hour' + row_number() OVER (ORDER BY id) * interval '100 microseconds', $1, $1
		FROM deliveries`, now)
	return err
}

// countSent counts messages that a gateway has taken, each with exactly one attempt.
func countSent(ctx context.Context, db *sqlx.DB) (n int, err error) {
	err = db.GetContext(ctx, &n, `
		SELECT count(*) FROM messages m
		WHERE m.state = 'accepted' AND (SELECT count(*) FROM message_attempts a WHERE a.message_id = m.id AND a.state = 'accepted' AND a.provider_id <> '') = 1`)
	return n, err
}

func inTransit(ctx context.Context, db *sqlx.DB) (found []trackedDelivery, err error) {
	err = db.SelectContext(ctx, &found, `SELECT id, waybill_no FROM deliveries WHERE status = 'in_transit' ORDER BY id`)
	return found, err
}

// seedFeed makes published events, one per delivery, as the publisher leaves them.
func seedFeed(ctx context.Context, db *sqlx.DB, n int, now time.Time) error {
	_, err := db.ExecContext(ctx, `
		WITH e AS (
			INSERT INTO events (delivery_id, seq, type, at, data, position)
			SELECT ('01930000-0000-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid, 1, 'delivery.out_for_delivery', $2,
				jsonb_build_object('from', 'in_transit', 'waybill_no', '98' || lpad(i::text, 11, '0'), 'scan_at', '2026-11-24T09:03:19+08:00', 'scan_code', '702'), i
			FROM generate_series(1, $1::integer) AS i
		)
		UPDATE feed_head SET position = $1`, n, now)
	return err
}

func insertFloorMessages(ctx context.Context, db *sqlx.DB, ids []string, names, phones [][]byte) error {
	_, err := db.ExecContext(ctx, `
		INSERT INTO floor_messages (id, due, state, name, phone)
		SELECT id, now(), 'queued', name, phone FROM unnest($1::uuid[], $2::bytea[], $3::bytea[]) AS m(id, name, phone)`,
		pq.Array(ids), pq.ByteaArray(names), pq.ByteaArray(phones))
	return err
}

// claimFloorMessages takes rows to sending with an attempt each, which is the intent, and commits.
func claimFloorMessages(ctx context.Context, db *sqlx.DB, limit int) ([]floorText, error) {
	rows, err := db.QueryContext(ctx, `
		WITH d AS MATERIALIZED (
			SELECT id FROM floor_messages WHERE due IS NOT NULL ORDER BY due LIMIT $1 FOR UPDATE SKIP LOCKED
		), m AS (
			UPDATE floor_messages m SET state = 'sending', due = NULL FROM d WHERE m.id = d.id RETURNING m.id, m.name, m.phone
		), a AS (
			INSERT INTO floor_attempts (id, message_id, state) SELECT gen_random_uuid(), id, 'sending' FROM m RETURNING id, message_id
		)
		SELECT m.id, a.id, m.name, m.phone FROM m JOIN a ON a.message_id = m.id`, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	claimed := make([]floorText, 0, limit)
	for rows.Next() {
		var m floorText
		if err := rows.Scan(&m.id, &m.attempt, &m.name, &m.phone); err != nil {
			return nil, err
		}
		claimed = append(claimed, m)
	}
	return claimed, rows.Err()
}

// settleFloorMessages writes outcomes of messages and attempts, and commits.
func settleFloorMessages(ctx context.Context, db *sqlx.DB, rows []floorText) error {
	attempts, bizIDs := make([]string, len(rows)), make([]string, len(rows))
	for i, r := range rows {
		attempts[i], bizIDs[i] = r.attempt.String(), r.bizID
	}
	_, err := db.ExecContext(ctx, `
		WITH r AS MATERIALIZED (
			SELECT id, biz_id FROM unnest($1::uuid[], $2::text[]) AS r(id, biz_id)
		), a AS (
			UPDATE floor_attempts a SET state = 'accepted', provider_id = r.biz_id FROM r WHERE a.id = r.id RETURNING a.message_id
		)
		UPDATE floor_messages m SET state = 'accepted' FROM a WHERE m.id = a.message_id`, pq.Array(attempts), pq.Array(bizIDs))
	return err
}

func countFloorSent(ctx context.Context, db *sqlx.DB) (n int, err error) {
	err = db.GetContext(ctx, &n, `
		SELECT count(*) FROM floor_messages m
		WHERE m.state = 'accepted' AND (SELECT count(*) FROM floor_attempts a WHERE a.message_id = m.id AND a.state = 'accepted') = 1`)
	return n, err
}
