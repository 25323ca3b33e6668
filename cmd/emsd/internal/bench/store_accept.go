package bench

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// seedIntake makes what taking in needs: a station and a tariff.
func seedIntake(ctx context.Context, db *sqlx.DB, now time.Time) error {
	if err := seedStation(ctx, db, now); err != nil {
		return err
	}
	_, err := db.ExecContext(ctx, `
		INSERT INTO tariffs (zone, provinces, valid_from, first_weight_g, first_fen, step_weight_g, step_fen)
		VALUES ('同城', ARRAY['北京市'], $1, 500, 1200, 500, 200)`, now.AddDate(-1, 0, 0))
	return err
}

// countAccepted counts permits that wait for their payment with exactly one event.
func countAccepted(ctx context.Context, db *sqlx.DB) (n int, err error) {
	err = db.GetContext(ctx, &n, `
		SELECT count(DISTINCT d.permit_no)
		FROM deliveries d JOIN (SELECT delivery_id, count(*) AS n FROM events GROUP BY delivery_id) e ON e.delivery_id = d.id
		WHERE d.status = 'awaiting_payment' AND e.n = 1 AND (SELECT count(*) FROM deliveries) = (SELECT count(DISTINCT permit_no) FROM deliveries)`)
	return n, err
}

// orderedAmong gives those deliveries that are ordered.
func orderedAmong(ctx context.Context, db *sqlx.DB, ids []string) (done []uuid.UUID, err error) {
	err = db.SelectContext(ctx, &done, `SELECT id FROM deliveries WHERE id = ANY($1::uuid[]) AND status = 'ordered'`, pq.Array(ids))
	return done, err
}

// floorPermits are the columns of permits that come in, one array each.
type floorPermits struct {
	ids, permits, applications, stations []string
	names, phones, idNos, addresses      [][]byte
}

func (f *floorPermits) add(id, permit, application, station string, name, phone, idNo, address []byte) {
	f.ids, f.permits, f.applications, f.stations = append(f.ids, id), append(f.permits, permit), append(f.applications, application), append(f.stations, station)
	f.names, f.phones, f.idNos, f.addresses = append(f.names, name), append(f.phones, phone), append(f.idNos, idNo), append(f.addresses, address)
}

func insertFloorPermits(ctx context.Context, db *sqlx.DB, f floorPermits) error {
	if len(f.ids) == 0 {
		return nil
	}
	_, err := db.ExecContext(ctx, `
		INSERT INTO floor_permits (id, permit_no, application_no, station_code, name, phone, id_no, address)
		SELECT id, permit, application, station, name, phone, id_no, address
		FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::bytea[], $7::bytea[], $8::bytea[])
			AS p(id, permit, application, station, name, phone, id_no, address)`,
		pq.Array(f.ids), pq.Array(f.permits), pq.Array(f.applications), pq.Array(f.stations), pq.ByteaArray(f.names), pq.ByteaArray(f.phones),
		pq.ByteaArray(f.idNos), pq.ByteaArray(f.addresses))
	return err
}

func countFloorPermits(ctx context.Context, db *sqlx.DB) (n int, err error) {
	err = db.GetContext(ctx, &n, `SELECT count(*) FROM floor_permits`)
	return n, err
}

// unpayFloorOrders makes the floor's orders wait for their money and lists them.
func unpayFloorOrders(ctx context.Context, db *sqlx.DB) (ids []string, err error) {
	err = db.SelectContext(ctx, &ids, `UPDATE floor_orders SET due = NULL, state = 'unpaid' RETURNING id`)
	return ids, err
}

func payFloorOrder(ctx context.Context, db *sqlx.DB, id string) error {
	_, err := db.ExecContext(ctx, `UPDATE floor_orders SET state = 'approved', due = 1 WHERE id = $1`, id)
	return err
}
