package tracking

import (
	"context"
	"database/sql"
	"fmt"

	"emsd/courier"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// A Reader reads what tracking has stored, for pages and the API.
type Reader struct{ db *sqlx.DB }

// NewReader returns a Reader.
func NewReader(db *sqlx.DB) *Reader { return &Reader{db} }

// Timeline reads what has happened to a delivery, oldest first, in our own words.
func (r *Reader) Timeline(ctx context.Context, delivery uuid.UUID) ([]Step, error) {
	var orderedAt sql.NullTime
	err := r.db.QueryRowxContext(ctx, `
		SELECT max(ordered_at) FROM waybills
		WHERE delivery_id = $1 AND ($2 = '' OR EXISTS (SELECT 1 FROM deliveries d WHERE d.id = $1 AND d.station_code = $2))`,
		delivery, courier.StationOf(ctx)).Scan(&orderedAt)
	if err != nil {
		return nil, fmt.Errorf("read when delivery %s was ordered: %w", delivery, err)
	}
	if !orderedAt.Valid {
		return nil, nil
	}
	scans, err := ScansOf(ctx, r.db, delivery)
	if err != nil {
		return nil, err
	}
	book, err := readRulebook(ctx, r.db, orderedAt.Time)
	if err != nil {
		return nil, err
	}
	return book.Steps(scans, orderedAt.Time), nil
}

// ScansOf reads all scans of a delivery in order, with their other tellings. The carrier's sentence is not read: it holds
// courier names and phones.
func ScansOf(ctx context.Context, q sqlx.QueryerContext, delivery uuid.UUID) ([]courier.Scan, error) {
	rows, err := q.QueryxContext(ctx, `
		SELECT waybill_no, op_at, op_code, op_name, org_code, org_name, province, city, deliver_code, attempt_code, said_class, said_until
		FROM scans
		WHERE delivery_id = $1
		UNION ALL
		SELECT s.waybill_no, r.op_at, r.op_code, r.op_name, r.org_code, s.org_name, s.province, s.city, r.deliver_code, r.attempt_code,
			r.said_class, r.said_until
		FROM retellings r JOIN scans s USING (delivery_id, op_at, op_code, org_code)
		WHERE r.delivery_id = $1
		ORDER BY 2`, delivery)
	if err != nil {
		return nil, fmt.Errorf("read the scans of delivery %s: %w", delivery, err)
	}
	defer rows.Close()
	var scans []courier.Scan
	for rows.Next() {
		s := courier.Scan{DeliveryID: delivery}
		var until sql.NullTime
		err := rows.Scan(&s.WaybillNo, &s.At, &s.Code, &s.Name, &s.OrgCode, &s.OrgName, &s.Province, &s.City, &s.DeliverCode, &s.AttemptCode,
			&s.SaidClass, &until)
		if err != nil {
			return nil, fmt.Errorf("read the scans of delivery %s: %w", delivery, err)
		}
		s.SaidUntil = dayOf(until)
		scans = append(scans, s)
	}
	return scans, rows.Err()
}
