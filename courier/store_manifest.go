package courier

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"emsd/courier/vault"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// manifestColumns are read with alias m, joined to stations s; manifestRow has a field for each.
const manifestColumns = `m.id, m.station_code, s.name AS station, m.day, m.number, m.opened_at, m.opened_by,
	coalesce(m.count, (SELECT count(*) FROM manifest_items i WHERE i.manifest_id = m.id)) AS count, m.courier_sealed, m.closed_at,
	coalesce(m.closed_by, '') AS closed_by`

type manifestRow struct {
	ID          uuid.UUID    `db:"id"`
	StationCode string       `db:"station_code"`
	Station     string       `db:"station"`
	Day         time.Time    `db:"day"`
	Number      string       `db:"number"`
	OpenedAt    time.Time    `db:"opened_at"`
	OpenedBy    string       `db:"opened_by"`
	Count       int          `db:"count"`
	Courier     []byte       `db:"courier_sealed"`
	ClosedAt    sql.NullTime `db:"closed_at"`
	ClosedBy    string       `db:"closed_by"`
}

func (r *manifestRow) manifest(v *vault.Vault) (m Manifest, err error) {
	m = Manifest{ID: r.ID, StationCode: r.StationCode, Station: r.Station, Day: r.Day, Number: r.Number, OpenedAt: r.OpenedAt, OpenedBy: r.OpenedBy,
		Count: r.Count, ClosedAt: r.ClosedAt.Time, ClosedBy: r.ClosedBy}
	if len(r.Courier) > 0 {
		m.Courier, err = v.Unseal(vault.ColumnCourier, r.ID, r.Courier)
	}
	return m, err
}

func readManifest(ctx context.Context, q sqlx.QueryerContext, id uuid.UUID) (*manifestRow, error) {
	return oneManifest(ctx, q, id, ``)
}

// lockManifest keeps a manifest and what stands on it from changing until the transaction ends.
func lockManifest(ctx context.Context, tx *sqlx.Tx, id uuid.UUID) (*manifestRow, error) {
	return oneManifest(ctx, tx, id, `FOR UPDATE OF m`)
}

func oneManifest(ctx context.Context, q sqlx.QueryerContext, id uuid.UUID, lock string) (*manifestRow, error) {
	var r manifestRow
	err := sqlx.GetContext(ctx, q, &r, `
		SELECT `+manifestColumns+`
		FROM manifests m JOIN stations s ON s.code = m.station_code
		WHERE m.id = $1 AND ($2 = '' OR m.station_code = $2) `+lock, id, StationOf(ctx))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read manifest %s: %w", id, err)
	}
	return &r, nil
}

func listManifests(ctx context.Context, q sqlx.QueryerContext, limit int) (rows []manifestRow, err error) {
	err = sqlx.SelectContext(ctx, q, &rows, `
		SELECT `+manifestColumns+`
		FROM manifests m JOIN stations s ON s.code = m.station_code
		WHERE ($1 = '' OR m.station_code = $1)
		ORDER BY m.opened_at DESC, m.id
		LIMIT $2`, StationOf(ctx), limit)
	if err != nil {
		return nil, fmt.Errorf("list manifests: %w", err)
	}
	return rows, nil
}

func manifestItems(ctx context.Context, q sqlx.QueryerContext, id uuid.UUID) (items []ManifestItem, err error) {
	err = sqlx.SelectContext(ctx, q, &items, `
		SELECT i.delivery_id, i.waybill_no, coalesce(d.order_no, '') AS order_no, d.province, d.city, d.county, d.payment_method, i.added_at, i.added_by
		FROM manifest_items i JOIN deliveries d ON d.id = i.delivery_id
		WHERE i.manifest_id = $1
		ORDER BY i.added_at, i.delivery_id`, id)
	if err != nil {
		return nil, fmt.Errorf("read the envelopes of manifest %s: %w", id, err)
	}
	return items, nil
}

// lockStation makes those who open manifests of a station take turns.
func lockStation(ctx context.Context, tx *sqlx.Tx, code string) error {
	var one int
	err := tx.GetContext(ctx, &one, `SELECT 1 FROM stations WHERE code = $1 FOR NO KEY UPDATE`, code)
	if errors.Is(err, sql.ErrNoRows) {
		return Faults{{"station_code", "unknown_value", "没有这个受理点编码，请核对"}}
	}
	if err != nil {
		return fmt.Errorf("lock station %s: %w", code, err)
	}
	return nil
}

// emptyManifest finds an open one of the day that nothing stands on.
func emptyManifest(ctx context.Context, tx *sqlx.Tx, station, day string) (id uuid.UUID, err error) {
	err = tx.GetContext(ctx, &id, `
		SELECT m.id FROM manifests m
		WHERE m.station_code = $1 AND m.day = $2::date AND m.closed_at IS NULL
			AND NOT EXISTS (SELECT 1 FROM manifest_items i WHERE i.manifest_id = m.id)
		ORDER BY m.nth
		LIMIT 1`, station, day)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return uuid.Nil, fmt.Errorf("find an empty manifest of station %s: %w", station, err)
	}
	return id, nil
}

func insertManifest(ctx context.Context, tx *sqlx.Tx, id uuid.UUID, station string, now time.Time, by string) (number string, err error) {
	local := now.In(beijing)
	err = tx.GetContext(ctx, &number, `
		INSERT INTO manifests (id, station_code, day, nth, number, opened_at, opened_by)
		SELECT $1, $2, $3::date, n, $2 || '-' || $4 || '-' || lpad(n::text, greatest(2, length(n::text)), '0'), $5, $6
		FROM (SELECT coalesce(max(nth), 0) + 1 AS n FROM manifests WHERE station_code = $2 AND day = $3::date) AS next
		RETURNING number`, id, station, day(local), local.Format("20060102"), now, by)
	if err != nil {
		return "", fmt.Errorf("open a manifest of station %s: %w", station, err)
	}
	return number, nil
}

// manifestOf tells which manifest a waybill stands on.
func manifestOf(ctx context.Context, tx *sqlx.Tx, waybillNo string) (uuid.UUID, string, error) {
	var on struct {
		ID     uuid.UUID `db:"id"`
		Number string    `db:"number"`
	}
	err := tx.GetContext(ctx, &on, `
		SELECT m.id, m.number FROM manifest_items i JOIN manifests m ON m.id = i.manifest_id WHERE i.waybill_no = $1`, waybillNo)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return uuid.Nil, "", fmt.Errorf("find the manifest of a waybill: %w", err)
	}
	return on.ID, on.Number, nil
}

func insertManifestItem(ctx context.Context, tx *sqlx.Tx, id uuid.UUID, row *deliveryRow, now time.Time, by string) error {
	_, err := tx.ExecContext(ctx, `
		INSERT INTO manifest_items (manifest_id, delivery_id, waybill_no, added_at, added_by) VALUES ($1, $2, $3, $4, $5)`,
		id, row.ID, row.WaybillNo.String, now, by)
	if err != nil {
		return fmt.Errorf("put delivery %s on manifest %s: %w", row.ID, id, err)
	}
	return nil
}

func deleteManifestItem(ctx context.Context, tx *sqlx.Tx, id, delivery uuid.UUID) (bool, error) {
	res, err := tx.ExecContext(ctx, `DELETE FROM manifest_items WHERE manifest_id = $1 AND delivery_id = $2`, id, delivery)
	if err != nil {
		return false, fmt.Errorf("take delivery %s off manifest %s: %w", delivery, id, err)
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

func closeManifest(ctx context.Context, tx *sqlx.Tx, id uuid.UUID, count int, courier []byte, now time.Time, by string) error {
	_, err := tx.ExecContext(ctx, `
		UPDATE manifests SET count = $2, courier_sealed = $3, closed_at = $4, closed_by = $5 WHERE id = $1`, id, count, courier, now, by)
	if err != nil {
		return fmt.Errorf("close manifest %s: %w", id, err)
	}
	return nil
}
