package courier

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// claimReconciles leases deliveries in ordering whose time to be asked about has come. An attempt without an outcome
// belongs to a process that has died, or hangs beyond its lease: its outcome is unknown.
func (o *Orderer) claimReconciles(ctx context.Context, limit int, wall, until time.Time) (jobs []orderJob, err error) {
	err = InTx(ctx, o.db, func(tx *sqlx.Tx) error {
		err := tx.SelectContext(ctx, &jobs, `
			WITH due AS (
				SELECT id FROM deliveries
				WHERE status = 'ordering' AND reconcile_at <= $1
				ORDER BY reconcile_at, id
				LIMIT $2
				FOR NO KEY UPDATE SKIP LOCKED
			), claimed AS (
				UPDATE deliveries d SET reconcile_at = $3, reconciles = d.reconciles + 1
				FROM due
				WHERE d.id = due.id
				RETURNING `+jobColumns+`, d.cancel_requested_at IS NOT NULL AS cancel_requested
			), lost AS (
				UPDATE order_attempts a SET outcome = 'unknown', finished_at = $1, detail = '进程中断，未记录结果'
				FROM claimed c WHERE a.delivery_id = c.id AND a.outcome IS NULL AND a.call <> 'cancel'
			)
			SELECT c.id, c.attempts, c.reconciles, c.order_no, c.waybill_no, c.number_mode, c.payment_method, c.name_sealed, c.phone_sealed,
				c.address_sealed, c.id_no_sealed, c.id_checked, c.password_sealed, c.province, c.city, c.county, c.station_code,
				c.cancel_requested,
				EXISTS (SELECT 1 FROM unwanted_waybills u WHERE u.delivery_id = c.id AND u.cancelled_at IS NULL) AS unwanted,
				coalesce(last.outcome, 'unknown') AS last_outcome, coalesce(last.ret_code, '') AS last_ret_code,
				coalesce(last.detail, '') AS last_detail
			FROM claimed c LEFT JOIN LATERAL (
				SELECT a.outcome, a.ret_code, a.detail FROM order_attempts a
				WHERE a.delivery_id = c.id AND a.call <> 'cancel'
				ORDER BY a.started_at DESC LIMIT 1) last ON true
			ORDER BY c.id`, wall, limit, until)
		if err != nil {
			return err
		}
		return o.setSenders(ctx, tx, jobs)
	})
	return jobs, err
}

// claimAgain writes the intent to repeat orders, for those that are still held by the lease that ends at until, and
// gives them a new one that ends at again.
func (o *Orderer) claimAgain(ctx context.Context, jobs []orderJob, wall, until, again time.Time) ([]orderJob, error) {
	n := len(jobs)
	ids, attempts, reconciles := make([]string, n), make([]int, n), make([]int, n)
	byID := make(map[uuid.UUID]orderJob, n)
	for i, j := range jobs {
		ids[i], attempts[i], reconciles[i] = j.ID.String(), j.Attempts, j.Reconciles
		byID[j.ID] = j
	}
	var rows []struct {
		ID        uuid.UUID `db:"id"`
		AttemptID uuid.UUID `db:"attempt_id"`
	}
	err := InTx(ctx, o.db, func(tx *sqlx.Tx) error {
		return tx.SelectContext(ctx, &rows, `
			WITH r AS MATERIALIZED (
				SELECT id, attempts, reconciles, n FROM unnest($1::uuid[], $2::integer[], $3::integer[])
					WITH ORDINALITY AS r(id, attempts, reconciles, n)
			), locked AS MATERIALIZED (
				SELECT d.id, r.n FROM deliveries d JOIN r ON r.id = d.id
				WHERE d.status = 'ordering' AND d.attempts = r.attempts AND d.reconciles = r.reconciles
					AND d.reconcile_at > $4 AND d.cancel_requested_at IS NULL
				ORDER BY d.id FOR NO KEY UPDATE OF d
			), moved AS (
				UPDATE deliveries d SET attempts = d.attempts + 1, reconcile_at = $5
				FROM locked l WHERE d.id = l.id
				RETURNING d.id, d.order_no, d.waybill_no, ($6 || lpad(to_hex(l.n), 4, '0'))::uuid AS attempt_id
			), intents AS (
				INSERT INTO order_attempts (id, delivery_id, call, order_no, waybill_no, started_at)
				SELECT attempt_id, id, 'create_again', order_no, waybill_no, $4 FROM moved
			)
			SELECT id, attempt_id FROM moved ORDER BY id`,
			pq.Array(ids), pq.Array(attempts), pq.Array(reconciles), wall, again, idPrefix())
	})
	if err != nil {
		return nil, err
	}
	claimed := make([]orderJob, len(rows))
	for i, r := range rows {
		claimed[i] = byID[r.ID]
		claimed[i].AttemptID = r.AttemptID
		claimed[i].Attempts++
	}
	return claimed, nil
}
