package bench

import (
	"context"
	"fmt"
	"time"

	"emsd/courier"
	"emsd/migrations"
	"emsd/tracking"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// open connects as the daemon does. Every connection is made now, so that none is made while a run is measured.
func open(ctx context.Context, dsn string) (*sqlx.DB, error) {
	db, err := sqlx.Open("postgres", dsn)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	held := make([]*sqlx.Conn, conns/2)
	for i := range held {
		if held[i], err = db.Connx(ctx); err != nil {
			db.Close()
			return nil, fmt.Errorf("connect: %w", err)
		}
	}
	for _, c := range held {
		c.Close() // back into the pool
	}
	return db, nil
}

func walPosition(ctx context.Context, db *sqlx.DB) (at string, err error) {
	err = db.GetContext(ctx, &at, `SELECT pg_current_wal_insert_lsn()::text`)
	return at, err
}

func walSince(ctx context.Context, db *sqlx.DB, at string) (n int64, err error) {
	err = db.GetContext(ctx, &n, `SELECT (pg_current_wal_insert_lsn() - $1::pg_lsn)::bigint`, at)
	return n, err
}

// template is the database that every run's own is a copy of.
const template = "bench_template"

// makeTemplate makes a migrated database with the partitions of its business time and the floor's tables.
func makeTemplate(ctx context.Context, admin *sqlx.DB, dsn string, now time.Time) error {
	if _, err := admin.ExecContext(ctx, `CREATE DATABASE `+template); err != nil {
		return err
	}
	db, err := open(ctx, dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := migrations.Up(ctx, db.DB); err != nil {
		return err
	}
	if err := tracking.EnsurePartitions(ctx, db, now, 1); err != nil {
		return err
	}
	return makeFloorTables(ctx, db)
}

func createDatabase(ctx context.Context, admin *sqlx.DB, name string) error {
	_, err := admin.ExecContext(ctx, `CREATE DATABASE `+pq.QuoteIdentifier(name)+` TEMPLATE `+template)
	return err
}

func dropDatabase(ctx context.Context, admin *sqlx.DB, name string) error {
	_, err := admin.ExecContext(ctx, `DROP DATABASE IF EXISTS `+pq.QuoteIdentifier(name)+` WITH (FORCE)`)
	return err
}

// settle gives a run the state that a database in service has: statistics, hint bits, and a checkpoint behind it.
func settle(ctx context.Context, db *sqlx.DB) error {
	if _, err := db.ExecContext(ctx, `
		VACUUM (ANALYZE) stations, tariffs, policies, deliveries, waybills, scans, events, numbers, order_attempts, labels, floor_waybills,
			floor_orders, floor_outbox, floor_permits, messages, message_attempts, floor_messages, floor_attempts`); err != nil {
		return err
	}
	return checkpoint(ctx, db)
}

func checkpoint(ctx context.Context, db *sqlx.DB) error {
	_, err := db.ExecContext(ctx, `CHECKPOINT`)
	return err
}

// hold opens a snapshot that sees everything as it is now, as a dump or a forgotten session does.
func hold(ctx context.Context, db *sqlx.DB) (release func() error, err error) {
	tx, err := db.BeginTxx(ctx, nil)
	if err != nil {
		return nil, err
	}
	if _, err := tx.ExecContext(ctx, `SET TRANSACTION ISOLATION LEVEL REPEATABLE READ`); err != nil {
		return nil, err
	}
	var n int
	if err := tx.GetContext(ctx, &n, `SELECT count(*) FROM stations`); err != nil {
		return nil, err
	}
	return tx.Rollback, nil
}

const insertStation = `
	INSERT INTO stations (code, name, kind, sender_name, phone, province, city, county, address, created_at, updated_at)
	VALUES ('110105001', '示例派出所', 'police_station', $2, $3, $4, $5, $6, $7, $1, $1)
	ON CONFLICT DO NOTHING`

func seedStation(ctx context.Context, db *sqlx.DB, now time.Time) error {
	s := seedSender
	_, err := db.ExecContext(ctx, insertStation, now, s.Name, s.Mobile, s.Province, s.City, s.County, s.Address)
	return err
}

// newsEvery is one in how many of the waybills of seedPolls has news.
const newsEvery = 10

// fingerprints are what the product stores for the stub's two traces.
type fingerprints struct{ before, after int64 }

// seedPolls makes n waybills in transit that are due, each a little after the one before, with their deliveries. With
// news, one in ten knows the trace without its last scan, and has the scans before it.
func seedPolls(ctx context.Context, db *sqlx.DB, n int, now time.Time, prints fingerprints, news bool) error {
	if err := seedStation(ctx, db, now); err != nil {
		return err
	}
	before := prints.after
	if news {
		before = prints.before
	}
	if _, err := db.ExecContext(ctx, `
		INSERT INTO waybills (delivery_id, waybill_no, stage, urgency, ordered_at, next_poll_at, changed_at, fingerprint)
		SELECT ('01930000-0000-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid, '98' || lpad(i::text, 11, '0'), 'in_transit', 2,
			$2::timestamptz - interval '2 days', $2::timestamptz - interval '1 hour' + i * interval '100 microseconds',
			$2::timestamptz - interval '5 hours', CASE WHEN i % $5 = 0 THEN $3::bigint ELSE $4::bigint END
		FROM generate_series(1, $1::integer) AS i`, n, now, before, prints.after, newsEvery); err != nil {
		return fmt.Errorf("seed waybills: %w", err)
	}
	if !news {
		return nil // a poll without news never looks at the delivery
	}
	if err := seedTracked(ctx, db, n, now); err != nil {
		return fmt.Errorf("seed deliveries: %w", err)
	}
	for _, s := range journey[:len(journey)-1] {
		if err := seedScans(ctx, db, n, now, s); err != nil {
			return fmt.Errorf("seed scans: %w", err)
		}
	}
	return nil
}

// seedTracked makes the deliveries of waybills. Nothing of tracking unseals them.
func seedTracked(ctx context.Context, db *sqlx.DB, n int, now time.Time) error {
	_, err := db.ExecContext(ctx, `
		INSERT INTO deliveries (id, permit_no, application_no, business, route, ground, identity_changed, address_changed, station_code,
			station_class, consent_source, consent_at, approved_at, payment_method, name_sealed, phone_sealed, id_no_sealed, address_sealed,
			phone_lookup, id_no_lookup, content_lookup, province, city, county, status, status_since, order_no, waybill_no, number_mode,
			created_at, updated_at)
		SELECT id, 'A' || no, 'SQ' || no, 'exchange', 'online', 'residence', false, false, '110105001', 'police_station', 'platform', $2, $2,
			'collect', sealed, sealed, sealed, sealed, hash, hash, hash, '北京市', '北京市', '朝阳区', 'in_transit', $2, 'RP' || no, no, 'reserved', $2, $2
		FROM (SELECT ('01930000-0000-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid AS id, '98' || lpad(i::text, 11, '0') AS no,
				decode(md5(i::text), 'hex') AS hash, decode(repeat(md5(i::text), 2), 'hex') AS sealed
			FROM generate_series(1, $1::integer) AS i) AS x`, n, now)
	return err
}

func seedScans(ctx context.Context, db *sqlx.DB, n int, now time.Time, s step) error {
	_, err := db.ExecContext(ctx, `
		INSERT INTO scans (delivery_id, op_at, op_code, org_code, waybill_no, op_name, desc_sealed, org_name, province, city, seen_at)
		SELECT ('01930000-0000-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid, ($3 || '+08')::timestamptz, $4, $5, '98' || lpad(i::text, 11, '0'), $6,
			decode(repeat(md5(i::text), 4), 'hex'), $7, $8, $9, $2
		FROM generate_series($10::integer, $1::integer, $10::integer) AS i`, n, now, s.at, s.code, s.orgCode, s.name, s.org, s.province, s.city, newsEvery)
	return err
}

// forget makes one waybill look as if nothing were known of it, so that a poll shows what the product stores.
func forget(ctx context.Context, db *sqlx.DB) error {
	_, err := db.ExecContext(ctx, `UPDATE waybills SET fingerprint = 0, next_poll_at = ordered_at`)
	return err
}

func storedFingerprint(ctx context.Context, db *sqlx.DB) (n int64, err error) {
	err = db.GetContext(ctx, &n, `SELECT fingerprint FROM waybills WHERE fingerprint <> 0 ORDER BY delivery_id LIMIT 1`)
	return n, err
}

// polled is what a poll run left behind.
type polled struct {
	Later  int `db:"later"`  // waybills that are due again later, without failures
	Scans  int `db:"scans"`  // of the news
	Moved  int `db:"moved"`  // deliveries out for delivery that have counted one event
	Events int `db:"events"` // of that move
}

func readPolled(ctx context.Context, db *sqlx.DB, now time.Time, code string) (p polled, err error) {
	err = db.GetContext(ctx, &p, `
		SELECT (SELECT count(*) FROM waybills WHERE next_poll_at > $1 AND failures = 0) AS later,
			(SELECT count(*) FROM scans WHERE op_code = $2) AS scans,
			(SELECT count(*) FROM deliveries WHERE status = 'out_for_delivery' AND seq = 1) AS moved,
			(SELECT count(*) FROM events WHERE type = 'delivery.out_for_delivery' AND seq = 1) AS events`, now, code)
	return p, err
}

// approvedRows are the columns of deliveries to be ordered, one array each.
type approvedRows struct {
	ids, permits           []string
	names, phones, address [][]byte
}

func (r *approvedRows) add(id uuid.UUID, permit string, name, phone, address []byte) {
	r.ids, r.permits = append(r.ids, id.String()), append(r.permits, permit)
	r.names, r.phones, r.address = append(r.names, name), append(r.phones, phone), append(r.address, address)
}

// insertApproved makes paid deliveries that are due to be ordered, with their first event.
func insertApproved(ctx context.Context, db *sqlx.DB, r approvedRows, now, wall time.Time) error {
	_, err := db.ExecContext(ctx, `
		WITH x AS MATERIALIZED (
			SELECT id, permit, name, phone, address
			FROM unnest($1::uuid[], $2::text[], $3::bytea[], $4::bytea[], $5::bytea[]) AS x(id, permit, name, phone, address)
		), logged AS (
			INSERT INTO events (delivery_id, seq, type, at, data) SELECT id, 1, 'delivery.approved', $6, '{}' FROM x
		)
		INSERT INTO deliveries (id, permit_no, application_no, business, route, ground, identity_changed, address_changed, station_code,
			station_class, consent_source, consent_at, approved_at, payment_method, name_sealed, phone_sealed, id_no_sealed, address_sealed,
			phone_lookup, id_no_lookup, content_lookup, province, city, county, status, status_since, fee_fen, paid_fen, next_attempt_at, seq,
			created_at, updated_at)
		SELECT id, permit, 'SQ' || permit, 'exchange', 'online', 'residence', false, false, '110105001', 'police_station', 'platform', $6, $6,
			'prepaid', name, phone, phone, address, decode(md5(permit), 'hex'), decode(md5(permit || 'i'), 'hex'), decode(md5(permit || 'c'), 'hex'),
			'北京市', '北京市', '朝阳区', 'approved', $6, 1200, 1200, $7, 1, $6, $6
		FROM x`,
		pq.Array(r.ids), pq.Array(r.permits), pq.ByteaArray(r.names), pq.ByteaArray(r.phones), pq.ByteaArray(r.address), now, wall)
	return err
}

// seedNumbers fills the pool of reserved waybill numbers.
func seedNumbers(ctx context.Context, db *sqlx.DB, n int, now time.Time) error {
	_, err := db.ExecContext(ctx, `
		INSERT INTO numbers (waybill_no, product, state, reserved_at)
		SELECT '12' || lpad(i::text, 11, '0'), '1', 'free', $2 FROM generate_series(1, $1::integer) AS i`, n, now)
	return err
}

// ordered is what an order run left behind.
type ordered struct {
	Ordered   int `db:"ordered"`   // with a waybill number of the pool
	Confirmed int `db:"confirmed"` // attempts
	Attempts  int `db:"attempts"`
	Tracked   int `db:"tracked"`
	Events    int `db:"events"`
}

func readOrdered(ctx context.Context, db *sqlx.DB) (o ordered, err error) {
	err = db.GetContext(ctx, &o, `
		SELECT (SELECT count(*) FROM deliveries d JOIN numbers n ON n.waybill_no = d.waybill_no AND n.delivery_id = d.id
				WHERE d.status = $1 AND n.state = 'taken') AS ordered,
			(SELECT count(*) FROM order_attempts WHERE outcome = 'confirmed') AS confirmed,
			(SELECT count(*) FROM order_attempts) AS attempts,
			(SELECT count(*) FROM waybills) AS tracked,
			(SELECT count(*) FROM events WHERE type = 'delivery.ordered') AS events`, courier.Ordered)
	return o, err
}

// settings are those that speed depends on, as the server has them.
func settings(ctx context.Context, db *sqlx.DB) (version string, all []setting, err error) {
	if err := db.GetContext(ctx, &version, `SELECT current_setting('server_version')`); err != nil {
		return "", nil, err
	}
	err = db.SelectContext(ctx, &all, `
		SELECT name, current_setting(name) AS value FROM pg_settings
		WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes', 'wal_level', 'shared_buffers', 'max_wal_size', 'autovacuum',
			'jit', 'random_page_cost', 'wal_compression')
		ORDER BY name`)
	return version, all, err
}

type setting struct {
	Name  string `db:"name"`
	Value string `db:"value"`
}
