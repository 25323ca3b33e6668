package courier

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

func (o *Orderer) claimLabels(ctx context.Context, limit int, wall, until time.Time) (jobs []labelJob, err error) {
	err = o.db.SelectContext(ctx, &jobs, `
		WITH due AS (
			SELECT delivery_id FROM labels
			WHERE next_attempt_at <= $1
			ORDER BY next_attempt_at, delivery_id
			LIMIT $2
			FOR UPDATE SKIP LOCKED
		)
		UPDATE labels l SET next_attempt_at = $3
		FROM due WHERE l.delivery_id = due.delivery_id
		RETURNING l.delivery_id, l.waybill_no, l.failures`, wall, limit, until)
	return jobs, err
}

// writeLabels keeps the labels that came, and puts off the others.
func (o *Orderer) writeLabels(ctx context.Context, fetched []fetchedLabel, now, wall time.Time) error {
	var got []storedLabel
	var ids, numbers []string
	var waits []time.Time
	var cases []NewCase
	for _, f := range fetched {
		if f.sealed != nil {
			got = append(got, storedLabel{f.job.DeliveryID, f.job.WaybillNo, f.sealed})
			continue
		}
		ids, numbers, waits = append(ids, f.job.DeliveryID.String()), append(numbers, f.job.WaybillNo), append(waits, wall.Add(f.wait))
		if f.clerk {
			cases = append(cases, NewCase{DeliveryID: f.job.DeliveryID, Kind: CaseOrderUnknown, OpenedAt: now, DueAt: now.Add(o.opts.CaseWithin),
				NextAction: actAskEMS, Detail: "EMS 已确认下单，但一直查不到面单"})
		}
	}
	return InTx(ctx, o.db, func(tx *sqlx.Tx) error {
		if err := storeLabels(ctx, tx, got, now); err != nil {
			return err
		}
		if len(ids) > 0 {
			_, err := tx.ExecContext(ctx, `
				UPDATE labels l SET next_attempt_at = r.at, failures = l.failures + 1
				FROM unnest($1::uuid[], $2::text[], $3::timestamptz[]) AS r(id, waybill_no, at)
				WHERE l.delivery_id = r.id AND l.waybill_no = r.waybill_no AND l.next_attempt_at IS NOT NULL`,
				pq.Array(ids), pq.Array(numbers), timeArray(waits))
			if err != nil {
				return err
			}
		}
		return OpenCases(ctx, tx, cases)
	})
}

// A storedLabel is a sealed label of a delivery's waybill. It is kept for that waybill only: the delivery may have been
// ordered anew to another address while the label was fetched.
type storedLabel struct {
	id        uuid.UUID
	waybillNo string
	sealed    []byte
}

func labelsOf(settled []settledOrder) []storedLabel {
	var labels []storedLabel
	for _, s := range settled {
		if s.pdf != nil {
			labels = append(labels, storedLabel{s.job.ID, s.step.waybillNo, s.pdf})
		}
	}
	return labels
}

func storeLabels(ctx context.Context, tx *sqlx.Tx, labels []storedLabel, now time.Time) error {
	if len(labels) == 0 {
		return nil
	}
	ids, numbers, sealed := make([]string, len(labels)), make([]string, len(labels)), make([][]byte, len(labels))
	for i, l := range labels {
		ids[i], numbers[i], sealed[i] = l.id.String(), l.waybillNo, l.sealed
	}
	_, err := tx.ExecContext(ctx, `
		UPDATE labels l SET pdf_sealed = r.pdf, fetched_at = $3, next_attempt_at = NULL, failures = 0
		FROM unnest($1::uuid[], $2::text[], $4::bytea[]) AS r(id, waybill_no, pdf)
		WHERE l.delivery_id = r.id AND l.waybill_no = r.waybill_no AND l.pdf_sealed IS NULL`, pq.Array(ids), pq.Array(numbers), now, pq.ByteaArray(sealed))
	return err
}

func readLabel(ctx context.Context, db *sqlx.DB, id uuid.UUID) (waybillNo string, sealed []byte, err error) {
	var row struct {
		WaybillNo string `db:"waybill_no"`
		Sealed    []byte `db:"pdf_sealed"`
	}
	err = db.GetContext(ctx, &row, `
		SELECT waybill_no, pdf_sealed FROM labels
		WHERE delivery_id = $1 AND ($2 = '' OR EXISTS (SELECT 1 FROM deliveries d WHERE d.id = $1 AND d.station_code = $2))`, id, StationOf(ctx))
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil, ErrNotFound
	}
	return row.WaybillNo, row.Sealed, err
}
