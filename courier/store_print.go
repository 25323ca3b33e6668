package courier

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// withdrawnSQL tells, of deliveries d, whether the waybill will not be used: it is being cancelled or readdressed.
const withdrawnSQL = `(d.cancel_requested_at IS NOT NULL OR EXISTS (SELECT 1 FROM readdressings x WHERE x.delivery_id = d.id AND x.ended_at IS NULL))`

// printJobs reads what is printed for some waybills, by number, each with its sender.
func (o *Orderer) printJobs(ctx context.Context, numbers []string, kind PrintKind) (map[string]*printJob, error) {
	var jobs []printJob
	err := InTx(ctx, o.db, func(tx *sqlx.Tx) error {
		err := tx.SelectContext(ctx, &jobs, `
			SELECT `+jobColumns+`, d.status, d.handed_over_at IS NOT NULL AS handed_over, `+withdrawnSQL+` AS withdrawn,
				(SELECT count(*) FROM label_prints p WHERE p.delivery_id = d.id AND p.waybill_no = d.waybill_no AND p.kind = $2) AS prints
			FROM deliveries d
			WHERE d.waybill_no = ANY($1) AND ($3 = '' OR d.station_code = $3)`, pq.Array(numbers), string(kind), StationOf(ctx))
		if err != nil {
			return fmt.Errorf("read %d envelopes to print: %w", len(numbers), err)
		}
		orders := make([]orderJob, len(jobs))
		for i := range jobs {
			orders[i] = jobs[i].orderJob
		}
		if err := o.setSenders(ctx, tx, orders); err != nil {
			return err
		}
		for i := range jobs {
			jobs[i].orderJob = orders[i]
		}
		return nil
	})
	byNumber := make(map[string]*printJob, len(jobs))
	for i := range jobs {
		byNumber[jobs[i].WaybillNo] = &jobs[i]
	}
	return byNumber, err
}

// savePrints counts a sheet for each delivery that still has the waybill it was drawn for, and gives the count of each.
func savePrints(ctx context.Context, tx *sqlx.Tx, kind PrintKind, ids []uuid.UUID, numbers []string, now time.Time, by, reason string) (map[uuid.UUID]int, error) {
	var rows []struct {
		ID  uuid.UUID `db:"delivery_id"`
		Nth int       `db:"nth"`
	}
	// The deliveries are locked first, so that two who print the same label count one after the other.
	locked, err := lockDeliveries(ctx, tx, ids)
	if err != nil {
		return nil, err
	}
	for i, id := range ids {
		if row := locked[id]; row == nil || row.WaybillNo.String != numbers[i] {
			return nil, nil
		}
	}
	err = tx.SelectContext(ctx, &rows, `
		INSERT INTO label_prints (delivery_id, waybill_no, kind, nth, printed_at, printed_by, reason)
		SELECT x.id, x.waybill_no, $3, n.before + 1, $4, $5, CASE WHEN n.before > 0 THEN coalesce(nullif($6, ''), '与另一人同时打印') ELSE $6 END
		FROM unnest($1::uuid[], $2::text[]) AS x(id, waybill_no),
			LATERAL (SELECT coalesce(max(nth), 0) AS before FROM label_prints p WHERE p.delivery_id = x.id AND p.waybill_no = x.waybill_no AND p.kind = $3) AS n
		RETURNING delivery_id, nth`, pq.Array(uuidTexts(ids)), pq.Array(numbers), string(kind), now, by, reason)
	if err != nil {
		return nil, fmt.Errorf("count %d sheets: %w", len(ids), err)
	}
	counts := make(map[uuid.UUID]int, len(rows))
	for _, r := range rows {
		counts[r.ID] = r.Nth
	}
	return counts, nil
}

func listToPack(ctx context.Context, q sqlx.QueryerContext, limit int) (list []ToPack, err error) {
	err = sqlx.SelectContext(ctx, q, &list, `
		SELECT d.id, d.permit_no, d.waybill_no, d.province, d.city, d.county, d.station_code, d.status_since,
			EXISTS (SELECT 1 FROM labels l WHERE l.delivery_id = d.id AND l.waybill_no = d.waybill_no AND l.pdf_sealed IS NOT NULL) AS ems_label,
			(SELECT count(*) FROM label_prints p WHERE p.delivery_id = d.id AND p.waybill_no = d.waybill_no AND p.kind <> 'address') AS printed,
			EXISTS (SELECT 1 FROM packings p WHERE p.delivery_id = d.id AND p.waybill_no = d.waybill_no) AS packed,
			EXISTS (SELECT 1 FROM pack_stops p WHERE p.delivery_id = d.id AND p.settled_at IS NULL) AS stopped,
			`+withdrawnSQL+` AS withdrawn,
			coalesce((SELECT m.number FROM manifest_items i JOIN manifests m ON m.id = i.manifest_id WHERE i.waybill_no = d.waybill_no), '') AS manifest
		FROM deliveries d
		WHERE d.status = 'ordered' AND d.handed_over_at IS NULL AND ($1 = '' OR d.station_code = $1)
		ORDER BY d.status_since, d.id
		LIMIT $2`, StationOf(ctx), limit)
	if err != nil {
		return nil, fmt.Errorf("list envelopes at the counter: %w", err)
	}
	return list, nil
}
