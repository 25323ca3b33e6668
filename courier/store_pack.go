package courier

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// readPackState finds a permit and the label scanned with it, wherever they were handled, and locks both.
func readPackState(ctx context.Context, tx *sqlx.Tx, permitNo, waybillNo string) (p packState, err error) {
	if !plainNumber(permitNo) {
		return p, nil
	}
	sane := waybillNo
	if !plainNumber(sane) {
		sane = "" // no such number can be stored
	}
	var found struct {
		Permit uuid.NullUUID `db:"permit"`
		Label  uuid.NullUUID `db:"label"`
	}
	// Of several deliveries of a permit, the one that is under way; else the last one.
	err = tx.GetContext(ctx, &found, `
		SELECT (SELECT id FROM deliveries WHERE permit_no = $1
				ORDER BY status NOT IN ('refused', 'cancelled', 'returned', 'lost', 'delivered') DESC, status <> 'refused' DESC, created_at DESC
				LIMIT 1) AS permit,
			(SELECT id FROM deliveries WHERE waybill_no = $2) AS label`, permitNo, sane)
	if err != nil {
		return p, fmt.Errorf("find a permit and a waybill: %w", err)
	}
	if !found.Permit.Valid {
		return p, nil
	}
	// Locked without regard to the station: a stop must hold both envelopes.
	var rows []deliveryRow
	err = tx.SelectContext(ctx, &rows, `
		SELECT `+deliveryColumns+` FROM deliveries d WHERE d.id = ANY($1::uuid[]) ORDER BY d.id FOR NO KEY UPDATE`,
		pq.Array([]string{found.Permit.UUID.String(), cmpID(found.Label, found.Permit).String()}))
	if err != nil {
		return p, fmt.Errorf("lock a permit and a waybill: %w", err)
	}
	for i := range rows {
		if rows[i].ID == found.Permit.UUID {
			p.permit = &rows[i]
		}
		if sane != "" && rows[i].WaybillNo.String == sane { // as it stands now
			p.label = &rows[i]
		}
	}
	station := StationOf(ctx)
	p.foreign = station != "" && p.permit.StationCode != station
	if p.label == nil {
		p.void, err = wasOurs(ctx, tx, waybillNo)
		return p, err
	}
	readdressed, err := beingReaddressed(ctx, tx, []uuid.UUID{p.permit.ID})
	if err != nil {
		return p, err
	}
	p.readdressed = readdressed[p.permit.ID]
	if p.stopped, err = packStopped(ctx, tx, p.permit.ID); err != nil {
		return p, err
	}
	p.packed, err = packingOf(ctx, tx, p.permit.ID)
	return p, err
}

func cmpID(a, b uuid.NullUUID) uuid.UUID {
	if a.Valid {
		return a.UUID
	}
	return b.UUID
}

// wasOurs reports whether a number that no delivery has stood on one of our labels before.
func wasOurs(ctx context.Context, tx *sqlx.Tx, waybillNo string) (bool, error) {
	void, err := wasVoided(ctx, tx, waybillNo)
	if err != nil || void || !plainNumber(waybillNo) {
		return void, err
	}
	err = tx.GetContext(ctx, &void, `SELECT EXISTS (SELECT 1 FROM label_prints WHERE waybill_no = $1)`, waybillNo)
	if err != nil {
		return false, fmt.Errorf("look for an old label: %w", err)
	}
	return void, nil
}

func packStopped(ctx context.Context, tx *sqlx.Tx, id uuid.UUID) (bool, error) {
	stopped, err := packStoppedOf(ctx, tx, []uuid.UUID{id})
	return stopped[id], err
}

// packStoppedOf tells which envelopes a pack check has stopped.
func packStoppedOf(ctx context.Context, tx *sqlx.Tx, ids []uuid.UUID) (map[uuid.UUID]bool, error) {
	var open []uuid.UUID
	err := tx.SelectContext(ctx, &open, `
		SELECT delivery_id FROM pack_stops WHERE delivery_id = ANY($1::uuid[]) AND settled_at IS NULL`, pq.Array(uuidTexts(ids)))
	if err != nil {
		return nil, fmt.Errorf("read which of %d envelopes are stopped: %w", len(ids), err)
	}
	set := make(map[uuid.UUID]bool, len(open))
	for _, id := range open {
		set[id] = true
	}
	return set, nil
}

func packingOf(ctx context.Context, tx *sqlx.Tx, id uuid.UUID) (*packing, error) {
	var p packing
	err := tx.GetContext(ctx, &p, `SELECT delivery_id, waybill_no, packed_at, packed_by FROM packings WHERE delivery_id = $1`, id)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the packing of %s: %w", id, err)
	}
	return &p, nil
}

func savePacking(ctx context.Context, tx *sqlx.Tx, p packing) error {
	_, err := tx.ExecContext(ctx, `
		INSERT INTO packings (delivery_id, waybill_no, packed_at, packed_by) VALUES ($1, $2, $3, $4)
		ON CONFLICT (delivery_id) DO UPDATE SET waybill_no = excluded.waybill_no, packed_at = excluded.packed_at, packed_by = excluded.packed_by`,
		p.DeliveryID, p.WaybillNo, p.PackedAt, p.PackedBy)
	if err != nil {
		return fmt.Errorf("record the packing of %s: %w", p.DeliveryID, err)
	}
	return nil
}

// insertPackStops stops envelopes that are not stopped yet, and gives their deliveries.
func insertPackStops(ctx context.Context, tx *sqlx.Tx, ids []uuid.UUID, found PackCheck, by string, now time.Time) (stopped []uuid.UUID, err error) {
	stops := make([]string, len(ids))
	for i := range stops {
		stops[i] = uuid.Must(uuid.NewV7()).String()
	}
	err = tx.SelectContext(ctx, &stopped, `
		WITH gone AS (DELETE FROM packings WHERE delivery_id = ANY($2::uuid[]))
		INSERT INTO pack_stops (id, delivery_id, permit_no, waybill_no, stopped_at, stopped_by)
		SELECT id, delivery_id, $3, $4, $5, $6 FROM unnest($1::uuid[], $2::uuid[]) AS x(id, delivery_id)
		ON CONFLICT (delivery_id) WHERE settled_at IS NULL DO NOTHING
		RETURNING delivery_id`, pq.Array(stops), pq.Array(uuidTexts(ids)), found.PermitNo, found.WaybillNo, now, by)
	if err != nil {
		return nil, fmt.Errorf("stop %d envelopes: %w", len(ids), err)
	}
	return stopped, nil
}

func savePackSettled(ctx context.Context, tx *sqlx.Tx, id uuid.UUID, settledBy, confirmedBy string, now time.Time) (bool, error) {
	res, err := tx.ExecContext(ctx, `
		UPDATE pack_stops SET settled_at = $2, settled_by = $3, confirmed_by = $4 WHERE delivery_id = $1 AND settled_at IS NULL`,
		id, now, settledBy, confirmedBy)
	if err != nil {
		return false, fmt.Errorf("settle the pack check of %s: %w", id, err)
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

func listPackStops(ctx context.Context, q sqlx.QueryerContext) (stops []PackStop, err error) {
	err = sqlx.SelectContext(ctx, q, &stops, `
		SELECT p.delivery_id, p.permit_no, p.waybill_no, p.stopped_at, p.stopped_by, d.permit_no AS own_permit, coalesce(d.waybill_no, '') AS own_waybill,
			d.station_code
		FROM pack_stops p JOIN deliveries d ON d.id = p.delivery_id
		WHERE p.settled_at IS NULL AND ($1 = '' OR d.station_code = $1)
		ORDER BY p.stopped_at, p.id
		LIMIT 500`, StationOf(ctx))
	if err != nil {
		return nil, fmt.Errorf("list stopped envelopes: %w", err)
	}
	return stops, nil
}
