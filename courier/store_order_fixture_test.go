package courier_test

import (
	"fmt"
	"testing"
	"time"

	"emsd/courier"
	"emsd/courier/vault"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// noon is the business time of the fixtures.
var noon = time.Date(2026, 11, 24, 4, 0, 0, 0, time.UTC)

// testVault has fixed keys, so that another process of a test opens what this one sealed.
func testVault(t testing.TB) *vault.Vault {
	t.Helper()
	return vault.New(vault.Keys{Seal: map[uint32][]byte{1: []byte("0123456789abcdef")}, Active: 1, Lookup: []byte("fedcba9876543210fedcba9876543210")})
}

// addApproved inserts n deliveries that are paid and due at wall; every third is collected from the recipient.
func addApproved(t testing.TB, db *sqlx.DB, v *vault.Vault, n int, wall time.Time) []uuid.UUID {
	t.Helper()
	_, err := db.Exec(`
		INSERT INTO stations (code, name, kind, sender_name, phone, province, city, county, address, created_at, updated_at)
		VALUES ('110105001', '示例派出所', 'police_station', '示例派出所户籍窗口', '01085000000', '北京市', '北京市', '朝阳区', '示例路9号', $1, $1),
			('110105002', '无地址派出所', 'police_station', '', '', '', '', '', '', $1, $1)
		ON CONFLICT DO NOTHING`, noon)
	if err != nil {
		t.Fatal(err)
	}
	ids := make([]uuid.UUID, n)
	texts, permits, methods, fees := make([]string, n), make([]string, n), make([]string, n), make([]int64, n)
	names, phones, addresses := make([][]byte, n), make([][]byte, n), make([][]byte, n)
	for i := range n {
		id := uuid.Must(uuid.NewV7())
		ids[i], texts[i], permits[i], methods[i], fees[i] = id, id.String(), "A"+id.String(), courier.Prepaid, 2000
		if i%3 == 2 {
			methods[i], fees[i] = courier.Collect, 0
		}
		names[i] = v.Seal("deliveries.name", id, "张三丰")
		phones[i] = v.Seal("deliveries.phone", id, fmt.Sprintf("138%08d", 10000+i*10))
		addresses[i] = v.Seal("deliveries.address", id, fmt.Sprintf("示例路%d号院2号楼301", i+1))
	}
	_, err = db.Exec(`
		INSERT INTO deliveries (id, permit_no, application_no, business, route, ground, identity_changed, address_changed, station_code,
			station_class, consent_source, consent_at, approved_at, payment_method, name_sealed, phone_sealed, id_no_sealed, address_sealed,
			phone_lookup, id_no_lookup, content_lookup, province, city, county, status, status_since, fee_fen, paid_fen, next_attempt_at, seq,
			created_at, updated_at)
		SELECT id, permit, 'SQ' || permit, 'exchange', 'online', 'residence', false, false, '110105001', 'police_station', 'platform', $8, $8,
			method, name, phone, '\x00', address, decode(md5(permit), 'hex'), decode(md5(permit), 'hex'), '\x00', '北京市', '北京市', '朝阳区', 'approved', $8, fee, fee, $9, 1, $8, $8
		FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[], $5::bytea[], $6::bytea[], $7::bigint[])
			AS x(id, permit, method, name, phone, address, fee)`,
		pq.Array(texts), pq.Array(permits), pq.Array(methods), pq.ByteaArray(names), pq.ByteaArray(phones), pq.ByteaArray(addresses), pq.Array(fees), noon, wall)
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Exec(`INSERT INTO events (delivery_id, seq, type, at, data) SELECT id, 1, 'delivery.approved', $2, '{}' FROM unnest($1::uuid[]) id`, pq.Array(texts), noon)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// An orderState is what the tests look at of a delivery.
type orderState struct {
	ID        uuid.UUID      `db:"id"`
	Status    courier.Status `db:"status"`
	OrderNo   string         `db:"order_no"`
	WaybillNo string         `db:"waybill_no"`
	Attempts  int            `db:"attempts"`
	Seq       int            `db:"seq"`
	RefundDue int64          `db:"refund_due_fen"`
	Paid      int64          `db:"paid_fen"`
	Waiting   bool           `db:"waiting"` // for a round, not for a clerk
	CancelDue bool           `db:"cancel_due"`
	Cancel    bool           `db:"cancel"`
	Events    string         `db:"events"`
	Cases     string         `db:"cases"` // open ones
	Label     bool           `db:"label"` // stored
	Tracked   bool           `db:"tracked"`
}

func orderStates(t testing.TB, db *sqlx.DB) map[uuid.UUID]orderState {
	t.Helper()
	var rows []orderState
	err := db.Select(&rows, `
		SELECT d.id, d.status, coalesce(d.order_no, '') AS order_no, coalesce(d.waybill_no, '') AS waybill_no, d.attempts, d.seq,
			d.refund_due_fen, d.paid_fen, d.cancel_attempt_at IS NOT NULL AS cancel_due, d.cancel_requested_at IS NOT NULL AS cancel,
			d.status = 'approved' OR d.status = 'ordering' AND d.reconcile_at IS NOT NULL AS waiting,
			(SELECT string_agg(type, ' ' ORDER BY seq) FROM events e WHERE e.delivery_id = d.id) AS events,
			coalesce((SELECT string_agg(kind, ' ' ORDER BY kind) FROM cases c WHERE c.delivery_id = d.id AND c.closed_at IS NULL), '') AS cases,
			EXISTS (SELECT 1 FROM labels l WHERE l.delivery_id = d.id AND l.pdf_sealed IS NOT NULL) AS label,
			EXISTS (SELECT 1 FROM waybills w WHERE w.delivery_id = d.id AND w.waybill_no = d.waybill_no AND w.next_poll_at IS NOT NULL) AS tracked
		FROM deliveries d`)
	if err != nil {
		t.Fatal(err)
	}
	states := make(map[uuid.UUID]orderState, len(rows))
	for _, r := range rows {
		states[r.ID] = r
	}
	return states
}

// orderWork counts what some round of ordering still has to do, now or later.
func orderWork(db *sqlx.DB) (n int, err error) {
	err = db.Get(&n, `
		SELECT (SELECT count(*) FROM deliveries WHERE status = 'approved' OR status = 'ordering' AND reconcile_at IS NOT NULL OR cancel_attempt_at IS NOT NULL)
			+ (SELECT count(*) FROM unwanted_waybills WHERE cancel_at IS NOT NULL)
			+ (SELECT count(*) FROM labels WHERE next_attempt_at IS NOT NULL)`)
	return n, err
}

// checkEventLog fails unless every delivery's events count from 1 to its seq without a gap (I-8).
func checkEventLog(t testing.TB, db *sqlx.DB) {
	t.Helper()
	var bad []uuid.UUID
	err := db.Select(&bad, `
		SELECT d.id FROM deliveries d LEFT JOIN (SELECT delivery_id, count(*) AS n, max(seq) AS last, min(seq) AS first FROM events GROUP BY 1) e
			ON e.delivery_id = d.id
		WHERE e.n IS DISTINCT FROM d.seq::bigint OR e.last <> d.seq OR e.first <> 1`)
	if err != nil {
		t.Fatal(err)
	}
	if len(bad) > 0 {
		t.Errorf("%d deliveries have gaps in their events, for example %s", len(bad), bad[0])
	}
}

// checkIntents fails when EMS got more orders or cancellations than were written down before (I-4).
func checkIntents(t testing.TB, db *sqlx.DB, creates, cancels int) {
	t.Helper()
	var row struct {
		Creates int `db:"creates"`
		Cancels int `db:"cancels"`
	}
	if err := db.Get(&row, `SELECT count(*) FILTER (WHERE call <> 'cancel') AS creates, count(*) FILTER (WHERE call = 'cancel') AS cancels FROM order_attempts`); err != nil {
		t.Fatal(err)
	}
	if creates > row.Creates || cancels > row.Cancels {
		t.Errorf("EMS was called for %d orders and %d cancellations; committed intents: %d and %d", creates, cancels, row.Creates, row.Cancels)
	}
}

func execSQL(t testing.TB, db *sqlx.DB, query string, args ...any) {
	t.Helper()
	if _, err := db.Exec(query, args...); err != nil {
		t.Fatal(err)
	}
}

func one[T any](t testing.TB, db *sqlx.DB, query string, args ...any) T {
	t.Helper()
	var v T
	if err := db.Get(&v, query, args...); err != nil {
		t.Fatal(err)
	}
	return v
}
