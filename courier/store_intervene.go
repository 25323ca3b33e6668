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
	err := s.db.SelectContext(ctx, &list, `
		SELECT `+interventionColumns+` FROM interventions WHERE delivery_id = $1 ORDER BY asked_at, id`, delivery)
	if err != nil {
		return nil, fmt.Errorf("read the interventions of delivery %s: %w", delivery, err)
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

// endInterventions ends interventions with their results, tells the feed and closes the cases that they opened.
func endInterventions(ctx context.Context, tx *sqlx.Tx, list []Intervention, by string, now time.Time) error {
	if len(list) == 0 {
		return nil
	}
	ids, states, details := make([]string, len(list)), make([]string, len(list)), make([]string, len(list))
	events, closings := make([]NewEvent, len(list)), make([]CaseClosing, len(list))
	for n, i := range list {
		ids[n], states[n], details[n] = i.ID.String(), i.State, i.Detail
		events[n] = NewEvent{i.DeliveryID, EventIntervened, now, EventData{WaybillNo: i.WaybillNo, Kind: i.Kind, Outcome: i.State}}
		closings[n] = CaseClosing{DeliveryID: i.DeliveryID, Kind: interveneCase(i.Kind), At: now, Outcome: "intervention_" + i.State, By: by,
			Why: interveneWords[i.Kind] + "：" + i.Detail}
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

// settleInterventions ends the open ones that scans have proved: the envelope is on its way back after a withdrawal, EMS
// has noted the new address, or it was delivered.
func settleInterventions(ctx context.Context, db *sqlx.DB, now time.Time) error {
	return InTx(ctx, db, func(tx *sqlx.Tx) error {
		var proved []Intervention
		err := tx.SelectContext(ctx, &proved, `
			SELECT i.id, i.delivery_id, i.kind, i.waybill_no, i.asked_at, i.asked_by, i.reason, i.state, i.detail, i.ret_code, i.province, i.city,
				i.county, coalesce(i.address_sealed, '') AS address_sealed
			FROM interventions i JOIN deliveries d ON d.id = i.delivery_id
			WHERE i.state IN ('by_phone', 'unknown', 'agreed') AND CASE i.kind
				WHEN 'withdraw' THEN d.status IN ('returning', 'returned')
				WHEN 'readdress' THEN EXISTS (SELECT 1 FROM scans s WHERE s.delivery_id = i.delivery_id AND s.op_code IN ('756', '802', '803') AND s.seen_at >= i.asked_at)
				ELSE d.status = 'delivered' END
			ORDER BY i.delivery_id
			LIMIT $1
			FOR UPDATE OF i SKIP LOCKED`, interveneChunk)
		if err != nil {
			return fmt.Errorf("read interventions that scans have proved: %w", err)
		}
		for n := range proved {
			proved[n].State, proved[n].Detail = InterventionDone, "物流轨迹已证实"
		}
		return endInterventions(ctx, tx, proved, "tracking", now)
	})
}

// claimInterventions takes what waits to be sent, committed as sending before the call (I-4). One that a dead process left
// behind may have been sent: it becomes unknown and is left to a clerk.
func claimInterventions(ctx context.Context, db *sqlx.DB, limit int, now, wall time.Time, lease time.Duration) (jobs []Intervention, err error) {
	var lost []Intervention
	err = InTx(ctx, db, func(tx *sqlx.Tx) error {
		err := tx.SelectContext(ctx, &lost, `
			UPDATE interventions SET state = 'unknown', finished_at = $1, detail = '提交时进程中断，结果不明'
			WHERE state = 'sending' AND started_at <= $2 RETURNING `+interventionColumns, wall, wall.Add(-lease))
		if err != nil {
			return err
		}
		cases := make([]NewCase, len(lost))
		for n, i := range lost {
			cases[n] = i.byPhone(now)
			cases[n].Detail = interveneWords[i.Kind] + "：提交时进程中断，结果不明，系统不会重复提交"
		}
		if err := OpenCases(ctx, tx, cases); err != nil {
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
