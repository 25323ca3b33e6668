package bench

import (
	"context"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// makeFloorTables makes the floor's own tables, with what the work needs and no more.
func makeFloorTables(ctx context.Context, db *sqlx.DB) error {
	_, err := db.ExecContext(ctx, `
		CREATE TABLE floor_waybills (
			id            uuid PRIMARY KEY,
			waybill_no    text NOT NULL,
			next_poll_at  timestamptz,
			scans         bigint NOT NULL DEFAULT 0,
			polls         integer NOT NULL DEFAULT 0
		);
		CREATE INDEX floor_waybills_due ON floor_waybills (next_poll_at) WHERE next_poll_at IS NOT NULL;
		CREATE TABLE floor_orders (
			id          uuid PRIMARY KEY,
			due         bigint,
			state       text NOT NULL,
			order_no    text NOT NULL,
			waybill_no  text NOT NULL,
			recipient   bytea NOT NULL
		);
		CREATE INDEX floor_orders_due ON floor_orders (due) WHERE due IS NOT NULL;
		CREATE TABLE floor_permits (
			id              uuid PRIMARY KEY,
			permit_no       text NOT NULL UNIQUE,
			application_no  text NOT NULL,
			station_code    text NOT NULL,
			name            bytea NOT NULL,
			phone           bytea NOT NULL,
			id_no           bytea NOT NULL,
			address         bytea NOT NULL
		);
		CREATE TABLE floor_messages (
			id     uuid PRIMARY KEY,
			due    timestamptz,
			state  text NOT NULL,
			name   bytea NOT NULL,
			phone  bytea NOT NULL
		);
		CREATE INDEX floor_messages_due ON floor_messages (due) WHERE due IS NOT NULL;
		CREATE TABLE floor_attempts (
			id           uuid PRIMARY KEY,
			message_id   uuid NOT NULL,
			state        text NOT NULL,
			provider_id  text NOT NULL DEFAULT ''
		);
		CREATE INDEX floor_attempts_message ON floor_attempts (message_id);
		CREATE TABLE floor_outbox (
			id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
			order_id  uuid NOT NULL,
			body      jsonb NOT NULL
		)`)
	return err
}

func seedFloorPolls(ctx context.Context, db *sqlx.DB, n int, now time.Time) error {
	_, err := db.ExecContext(ctx, `
		INSERT INTO floor_waybills (id, waybill_no, next_poll_at)
		SELECT ('01930000-0000-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid, '98' || lpad(i::text, 11, '0'),
			$2::timestamptz - interval '1 hour' + i * interval '100 microseconds'
		FROM generate_series(1, $1::integer) AS i`, n, now)
	return err
}

func claimFloorPolls(ctx context.Context, tx *sqlx.Tx, now time.Time, limit int) ([]floorPoll, error) {
	rows, err := tx.QueryContext(ctx, `
		SELECT id, waybill_no FROM floor_waybills
		WHERE next_poll_at <= $1
		ORDER BY next_poll_at
		LIMIT $2
		FOR UPDATE SKIP LOCKED`, now, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	claimed := make([]floorPoll, 0, limit)
	for rows.Next() {
		var p floorPoll
		if err := rows.Scan(&p.id, &p.no); err != nil {
			return nil, err
		}
		claimed = append(claimed, p)
	}
	return claimed, rows.Err()
}

func writeFloorPolls(ctx context.Context, tx *sqlx.Tx, polls []floorPoll, next time.Time) error {
	ids, scans := make([]string, len(polls)), make([]int64, len(polls))
	for i, p := range polls {
		ids[i], scans[i] = p.id, p.scans
	}
	_, err := tx.ExecContext(ctx, `
		UPDATE floor_waybills w SET next_poll_at = $3, scans = u.scans, polls = w.polls + 1
		FROM unnest($1::uuid[], $2::bigint[]) AS u(id, scans)
		WHERE w.id = u.id`, pq.Array(ids), pq.Array(scans), next)
	return err
}

// countFloorPolls counts rows that were polled exactly once and found the whole trace.
func countFloorPolls(ctx context.Context, db *sqlx.DB, scans int) (n int, err error) {
	err = db.GetContext(ctx, &n, `SELECT count(*) FROM floor_waybills WHERE polls = 1 AND scans = $1`, scans)
	return n, err
}

func insertFloorOrders(ctx context.Context, db *sqlx.DB, ids, orderNos, waybillNos []string, recipients [][]byte, due []int64) error {
	_, err := db.ExecContext(ctx, `
		INSERT INTO floor_orders (id, due, state, order_no, waybill_no, recipient)
		SELECT id, due, 'approved', order_no, waybill_no, recipient
		FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::bytea[]) AS o(id, due, order_no, waybill_no, recipient)`,
		pq.Array(ids), pq.Array(due), pq.Array(orderNos), pq.Array(waybillNos), pq.ByteaArray(recipients))
	return err
}

// claimFloorOrders takes rows to ordering, which is the intent, and commits.
func claimFloorOrders(ctx context.Context, db *sqlx.DB, limit int) ([]floorOrder, error) {
	rows, err := db.QueryContext(ctx, `
		WITH d AS MATERIALIZED (SELECT id FROM floor_orders WHERE due IS NOT NULL ORDER BY due LIMIT $1 FOR UPDATE SKIP LOCKED)
		UPDATE floor_orders o SET state = 'ordering', due = NULL
		FROM d
		WHERE o.id = d.id
		RETURNING o.id, o.order_no, o.waybill_no, o.recipient`, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	claimed := make([]floorOrder, 0, limit)
	for rows.Next() {
		var o floorOrder
		if err := rows.Scan(&o.id, &o.orderNo, &o.waybillNo, &o.recipient); err != nil {
			return nil, err
		}
		claimed = append(claimed, o)
	}
	return claimed, rows.Err()
}

// settleFloorOrders writes outcomes and one outbox row for each, and commits.
func settleFloorOrders(ctx context.Context, db *sqlx.DB, orders []floorOrder) error {
	ids, numbers := make([]string, len(orders)), make([]string, len(orders))
	for i, o := range orders {
		ids[i], numbers[i] = o.id.String(), o.confirmed
	}
	_, err := db.ExecContext(ctx, `
		WITH r AS MATERIALIZED (
			SELECT id, waybill_no FROM unnest($1::uuid[], $2::text[]) AS r(id, waybill_no)
		), done AS (
			UPDATE floor_orders o SET state = 'ordered', waybill_no = r.waybill_no FROM r WHERE o.id = r.id AND o.state = 'ordering'
			RETURNING o.id, o.waybill_no
		)
		INSERT INTO floor_outbox (order_id, body) SELECT id, jsonb_build_object('waybill_no', waybill_no) FROM done`, pq.Array(ids), pq.Array(numbers))
	return err
}

// countFloorOrders counts rows that are ordered and have exactly one outbox row.
func countFloorOrders(ctx context.Context, db *sqlx.DB) (n int, err error) {
	err = db.GetContext(ctx, &n, `
		SELECT count(*)
		FROM floor_orders o JOIN (SELECT order_id, count(*) AS n FROM floor_outbox GROUP BY order_id) x ON x.order_id = o.id
		WHERE o.state = 'ordered' AND x.n = 1`)
	return n, err
}
