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
	"github.com/lib/pq"
)

const interventionColumns = `id, delivery_id, kind, waybill_no, asked_at, asked_by, reason, state, detail, ret_code, province, city, county,
	coalesce(address_sealed, '') AS address_sealed`

// openIntervention finds the one of a kind that is open.
func openIntervention(ctx context.Context, tx *sqlx.Tx, delivery uuid.UUID, kind string) (i Intervention, found bool, err error) {
	err = tx.GetContext(ctx, &i, `
		SELECT `+interventionColumns+` FROM interventions
		WHERE delivery_id = $1 AND kind = $2 AND state IN ('by_phone', 'sending', 'unsent', 'unknown', 'agreed')`, delivery, kind)
	if errors.Is(err, sql.ErrNoRows) {
		return i, false, nil
	}
	if err != nil {
		return i, false, fmt.Errorf("read the open intervention of delivery %s: %w", delivery, err)
	}
	return i, true, nil
}

func lockIntervention(ctx context.Context, tx *sqlx.Tx, id uuid.UUID) (i Intervention, err error) {
	err = tx.GetContext(ctx, &i, `SELECT `+interventionColumns+` FROM interventions WHERE id = $1 FOR UPDATE`, id)
	if errors.Is(err, sql.ErrNoRows) {
		return i, ErrNotFound
	}
	if err != nil {
		return i, fmt.Errorf("read intervention %s: %w", id, err)
	}
	return i, nil
}

// InterventionsOf lists what was asked about a delivery, oldest first.
func (s *Service) InterventionsOf(ctx context.Context, delivery uuid.UUID) ([]Intervention, error) {
	var list []Intervention
	err := sqlx.SelectContext(ctx, s.q(), &list, `
		SELECT `+interventionColumns+` FROM interventions
		WHERE delivery_id = $1 AND ($2 = '' OR EXISTS (SELECT 1 FROM deliveries d WHERE d.id = $1 AND d.station_code = $2))
		ORDER BY asked_at, id`, delivery, StationOf(ctx))
	if err != nil {
		return nil, fmt.Errorf("read the interventions of delivery %s: %w", delivery, err)
	}
	for n := range list {
		i := &list[n]
		if len(i.Address) == 0 {
			continue
		}
		if i.To, err = s.vault.Unseal(vault.ColumnInterventionAddress, i.ID, i.Address); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func insertIntervention(ctx context.Context, tx *sqlx.Tx, i Intervention) error {
	var address any
	if i.Address != nil {
		address = i.Address
	}
	_, err := tx.ExecContext(ctx, `
		INSERT INTO interventions (id, delivery_id, kind, waybill_no, asked_at, asked_by, reason, province, city, county, address_sealed, state)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
		i.ID, i.DeliveryID, i.Kind, i.WaybillNo, i.AskedAt, i.AskedBy, i.Reason, i.Province, i.City, i.County, address, i.State)
	if err != nil {
		return fmt.Errorf("write an intervention for delivery %s: %w", i.DeliveryID, err)
	}
	return nil
}

// requeueIntervention lets one be sent once more.
func requeueIntervention(ctx context.Context, tx *sqlx.Tx, i Intervention) error {
	_, err := tx.ExecContext(ctx, `
		UPDATE interventions SET state = $2, asked_at = $3, asked_by = $4, detail = '', ret_code = '', started_at = NULL, finished_at = NULL
		WHERE id = $1`, i.ID, i.State, i.AskedAt, i.AskedBy)
	if err != nil {
		return fmt.Errorf("ask again for intervention %s: %w", i.ID, err)
	}
	return nil
}

// endInterventions ends interventions with their results and tells the feed. What was done closes its case; what failed
// leaves it to the clerk.
func endInterventions(ctx context.Context, tx *sqlx.Tx, list []Intervention, by string, now time.Time) error {
	if len(list) == 0 {
		return nil
	}
	ids, states, details := make([]string, len(list)), make([]string, len(list)), make([]string, len(list))
	events := make([]NewEvent, len(list))
	var closings []CaseClosing
	for n, i := range list {
		ids[n], states[n], details[n] = i.ID.String(), i.State, i.Detail
		events[n] = NewEvent{i.DeliveryID, EventIntervened, now, EventData{WaybillNo: i.WaybillNo, Kind: i.Kind, Outcome: i.State}}
		if i.State == InterventionDone {
			closings = append(closings, CaseClosing{DeliveryID: i.DeliveryID, Kind: interveneCase(i.Kind), At: now, Outcome: "intervention_" + i.State,
				By: by, Why: interveneWords[i.Kind] + "：" + i.Detail})
		}
	}
	_, err := tx.ExecContext(ctx, `
		UPDATE interventions i SET state = e.state, detail = e.detail, closed_by = $4
		FROM unnest($1::uuid[], $2::text[], $3::text[]) AS e(id, state, detail) WHERE i.id = e.id`,
		pq.Array(ids), pq.Array(states), pq.Array(details), by)
	if err != nil {
		return fmt.Errorf("end %d interventions: %w", len(list), err)
	}
	if err := AppendEvents(ctx, tx, events); err != nil {
		return err
	}
	return CloseCases(ctx, tx, closings)
}

// settleChunk bounds what one turn looks at, the newest first: few are open at a time.
const settleChunk = 500

// settleInterventions ends the open ones whose end scans have told: done where the envelope is on its way back after a
// withdrawal, EMS has noted the new address, or it was delivered after urging; failed where the journey ended otherwise.
func settleInterventions(ctx context.Context, db *sqlx.DB, now time.Time) error {
	return InTx(ctx, db, func(tx *sqlx.Tx) error {
		var ids []uuid.UUID
		err := tx.SelectContext(ctx, &ids, `
			SELECT i.delivery_id FROM interventions i JOIN deliveries d ON d.id = i.delivery_id
			WHERE i.state IN ('by_phone', 'unknown', 'agreed', 'unsent') AND (d.status IN ('delivered', 'returning', 'returned', 'lost') OR i.kind = 'readdress')
			ORDER BY i.asked_at DESC LIMIT $1`, settleChunk)
		if err != nil || len(ids) == 0 {
			return err
		}
		if _, err := lockDeliveries(ctx, tx, ids); err != nil {
			return err
		}
		var proved []Intervention
		err = tx.SelectContext(ctx, &proved, `
			WITH told AS (
				SELECT i.id, CASE
					WHEN CASE i.kind
						WHEN 'withdraw' THEN d.status IN ('returning', 'returned')
						WHEN 'readdress' THEN EXISTS (SELECT 1 FROM scans s WHERE s.delivery_id = i.delivery_id
							AND s.waybill_no = i.waybill_no AND s.op_code IN ('756', '802', '803') AND s.seen_at >= i.asked_at)
						ELSE d.status = 'delivered' END THEN 'done'
					WHEN d.status IN ('delivered', 'returned', 'lost') THEN 'failed' END AS state
				FROM interventions i JOIN deliveries d ON d.id = i.delivery_id
				WHERE i.delivery_id = ANY($1::uuid[]) AND i.state IN ('by_phone', 'unknown', 'agreed', 'unsent')
			)
			SELECT i.id, i.delivery_id, i.kind, i.waybill_no, i.asked_at, i.asked_by, i.reason, told.state, i.detail, i.ret_code, i.province, i.city,
				i.county, coalesce(i.address_sealed, '') AS address_sealed
			FROM interventions i JOIN told ON told.id = i.id
			WHERE told.state IS NOT NULL AND i.state IN ('by_phone', 'unknown', 'agreed', 'unsent')
			ORDER BY i.delivery_id, i.id
			FOR UPDATE OF i`, pq.Array(uuidTexts(ids)))
		if err != nil {
			return fmt.Errorf("read interventions whose end scans have told: %w", err)
		}
		var cases []NewCase
		for n := range proved {
			i := &proved[n]
			i.Detail = "物流轨迹已证实"
			if i.State == InterventionFailed {
				i.Detail = "邮件已经到了别的结果"
				cases = i.missed(cases, now)
			}
		}
		if err := endInterventions(ctx, tx, proved, "tracking", now); err != nil {
			return err
		}
		return putCases(ctx, tx, cases)
	})
}

// claimInterventions takes what waits to be sent, committed as sending before the call (I-4). One that a dead process left
// behind may have been sent: it becomes unknown and is left to a clerk.
func claimInterventions(ctx context.Context, db *sqlx.DB, limit int, now, wall time.Time, lease time.Duration) (jobs []Intervention, err error) {
	var lost []Intervention
	err = InTx(ctx, db, func(tx *sqlx.Tx) error {
		err := tx.SelectContext(ctx, &lost, `
			SELECT `+interventionColumns+` FROM interventions WHERE state = 'sending' AND started_at <= $1 ORDER BY delivery_id, id`, wall.Add(-lease))
		if err != nil {
			return err
		}
		cases, ids := make([]NewCase, len(lost)), make([]uuid.UUID, len(lost))
		for n, i := range lost {
			cases[n], ids[n] = i.byPhone(now), i.ID
			cases[n].Detail = interveneWords[i.Kind] + "：提交时进程中断，结果不明，系统不会重复提交"
		}
		if err := putCases(ctx, tx, cases); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `
			UPDATE interventions SET state = 'unknown', finished_at = $1, detail = '提交时进程中断，结果不明'
			WHERE id = ANY($2::uuid[]) AND state = 'sending'`, wall, pq.Array(uuidTexts(ids)))
		if err != nil {
			return err
		}
		return tx.SelectContext(ctx, &jobs, `
			WITH due AS (
				SELECT id FROM interventions WHERE state = 'unsent' ORDER BY asked_at, id LIMIT $1 FOR UPDATE SKIP LOCKED
			)
			UPDATE interventions i SET state = 'sending', started_at = $2, finished_at = NULL FROM due WHERE i.id = due.id
			RETURNING i.id, i.delivery_id, i.kind, i.waybill_no, i.asked_at, i.asked_by, i.reason, i.state, i.detail, i.ret_code, i.province, i.city,
				i.county, coalesce(i.address_sealed, '') AS address_sealed`, limit, wall)
	})
	if err != nil {
		return nil, fmt.Errorf("claim interventions: %w", err)
	}
	return jobs, nil
}

func saveInterventions(ctx context.Context, tx *sqlx.Tx, jobs []Intervention, wall time.Time) error {
	ids, states, codes, details := make([]string, len(jobs)), make([]string, len(jobs)), make([]string, len(jobs)), make([]string, len(jobs))
	for n, i := range jobs {
		ids[n], states[n], codes[n], details[n] = i.ID.String(), i.State, i.RetCode, i.Detail
	}
	_, err := tx.ExecContext(ctx, `
		UPDATE interventions i SET state = j.state, ret_code = j.code, detail = j.detail, finished_at = $5
		FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[]) AS j(id, state, code, detail)
		WHERE i.id = j.id AND i.state = 'sending'`, pq.Array(ids), pq.Array(states), pq.Array(codes), pq.Array(details), wall)
	return err
}
