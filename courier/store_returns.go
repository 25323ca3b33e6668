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

// returnColumns are read with alias r; returnRow has a field for each.
const returnColumns = `r.delivery_id, r.received_at, r.received_by, r.shelf, r.retain_until, r.picked_up_at, coalesce(r.picked_up_by, '') AS picked_up_by,
	coalesce(r.picked_up_who, '') AS picked_up_who, coalesce(r.id_document, '') AS id_document, r.agent_name_sealed, r.redispatched_as, r.disposed_at,
	coalesce(r.disposed_by, '') AS disposed_by, coalesce(r.disposal, '') AS disposal`

type returnRow struct {
	DeliveryID     uuid.UUID     `db:"delivery_id"`
	ReceivedAt     time.Time     `db:"received_at"`
	ReceivedBy     string        `db:"received_by"`
	Shelf          string        `db:"shelf"`
	RetainUntil    time.Time     `db:"retain_until"`
	PickedUpAt     sql.NullTime  `db:"picked_up_at"`
	PickedUpBy     string        `db:"picked_up_by"`
	PickedUpWho    string        `db:"picked_up_who"`
	IDDocument     string        `db:"id_document"`
	AgentName      []byte        `db:"agent_name_sealed"`
	RedispatchedAs uuid.NullUUID `db:"redispatched_as"`
	DisposedAt     sql.NullTime  `db:"disposed_at"`
	DisposedBy     string        `db:"disposed_by"`
	Disposal       string        `db:"disposal"`
	WaybillNo      string        `db:"waybill_no"` // only in lists, as the two below
	PermitNo       string        `db:"permit_no"`
	StationCode    string        `db:"station_code"`
}

func (r *returnRow) ret() Return {
	return Return{DeliveryID: r.DeliveryID, ReceivedAt: r.ReceivedAt, ReceivedBy: r.ReceivedBy, Shelf: r.Shelf, RetainUntil: r.RetainUntil,
		PickedUpAt: r.PickedUpAt.Time, PickedUpBy: r.PickedUpBy, PickedUpWho: r.PickedUpWho, IDDocument: r.IDDocument,
		RedispatchedAs: r.RedispatchedAs.UUID, DisposedAt: r.DisposedAt.Time, DisposedBy: r.DisposedBy, Disposal: r.Disposal, WaybillNo: r.WaybillNo, PermitNo: r.PermitNo, StationCode: r.StationCode}
}

// lockReturn reads the return of a locked delivery; nil when nothing was received.
func lockReturn(ctx context.Context, tx *sqlx.Tx, delivery uuid.UUID) (*Return, error) {
	var r returnRow
	err := tx.GetContext(ctx, &r, `SELECT `+returnColumns+` FROM returns r WHERE r.delivery_id = $1 FOR UPDATE`, delivery)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("lock the return of %s: %w", delivery, err)
	}
	ret := r.ret()
	return &ret, nil
}

// readReturn reads the return of a delivery with the agent's name in the open; nil when nothing was received.
func (s *Service) readReturn(ctx context.Context, delivery uuid.UUID) (*Return, error) {
	var r returnRow
	err := sqlx.GetContext(ctx, s.q(), &r, `SELECT `+returnColumns+` FROM returns r WHERE r.delivery_id = $1`, delivery)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the return of %s: %w", delivery, err)
	}
	ret := r.ret()
	if len(r.AgentName) > 0 {
		if ret.AgentName, err = s.vault.Unseal(vault.ColumnAgent, delivery, r.AgentName); err != nil {
			return nil, err
		}
	}
	return &ret, nil
}

// saveReturn writes when and where an envelope was received, and what sends it out again; nothing of a pick-up.
func saveReturn(ctx context.Context, tx *sqlx.Tx, r Return) error {
	_, err := tx.ExecContext(ctx, `
		INSERT INTO returns (delivery_id, received_at, received_by, shelf, retain_until, redispatched_as)
		VALUES ($1, $2, $3, $4, $5::date, $6)
		ON CONFLICT (delivery_id) DO UPDATE
		SET received_at = excluded.received_at, received_by = excluded.received_by, shelf = excluded.shelf, retain_until = excluded.retain_until,
			redispatched_as = excluded.redispatched_as`,
		r.DeliveryID, r.ReceivedAt, r.ReceivedBy, r.Shelf, day(r.RetainUntil), uuid.NullUUID{UUID: r.RedispatchedAs, Valid: r.RedispatchedAs != uuid.Nil})
	if err != nil {
		return fmt.Errorf("save the return of %s: %w", r.DeliveryID, err)
	}
	return nil
}

func savePickUp(ctx context.Context, tx *sqlx.Tx, r Return, agent []byte) error {
	_, err := tx.ExecContext(ctx, `
		UPDATE returns SET picked_up_at = $2, picked_up_by = $3, picked_up_who = $4, id_document = $5, agent_name_sealed = $6
		WHERE delivery_id = $1`, r.DeliveryID, r.PickedUpAt, r.PickedUpBy, r.PickedUpWho, r.IDDocument, agent)
	if err != nil {
		return fmt.Errorf("save the pick-up of %s: %w", r.DeliveryID, err)
	}
	return nil
}

func saveDisposal(ctx context.Context, tx *sqlx.Tx, r Return) error {
	_, err := tx.ExecContext(ctx, `
		UPDATE returns SET disposed_at = $2, disposed_by = $3, disposal = $4 WHERE delivery_id = $1`, r.DeliveryID, r.DisposedAt, r.DisposedBy, r.Disposal)
	if err != nil {
		return fmt.Errorf("save the disposal of %s: %w", r.DeliveryID, err)
	}
	return nil
}

func readPickedUp(ctx context.Context, q sqlx.QueryerContext, ids []uuid.UUID) (map[uuid.UUID]bool, error) {
	var picked []uuid.UUID
	err := sqlx.SelectContext(ctx, q, &picked, `
		SELECT delivery_id FROM returns WHERE delivery_id = ANY($1::uuid[]) AND picked_up_at IS NOT NULL`, pq.Array(uuidTexts(ids)))
	if err != nil {
		return nil, fmt.Errorf("read which of %d returns were picked up: %w", len(ids), err)
	}
	set := make(map[uuid.UUID]bool, len(picked))
	for _, id := range picked {
		set[id] = true
	}
	return set, nil
}

// listReturns reads one page by the last day of keeping.
func listReturns(ctx context.Context, q sqlx.QueryerContext, f ReturnFilter, today time.Time, after pageMark) ([]Return, error) {
	where := ""
	if f.OnShelf {
		where = `r.picked_up_at IS NULL AND r.redispatched_as IS NULL AND r.disposed_at IS NULL AND ` // as the partial index has it
	}
	var rows []returnRow
	err := sqlx.SelectContext(ctx, q, &rows, `
		SELECT `+returnColumns+`, coalesce(d.waybill_no, '') AS waybill_no, d.permit_no, d.station_code
		FROM returns r JOIN deliveries d ON d.id = r.delivery_id
		WHERE `+where+`(NOT $1 OR (r.retain_until, r.delivery_id) > ($2::date, $3::uuid)) AND ($5 = '' OR d.station_code = $5) AND (NOT $6 OR r.retain_until < $7::date)
		ORDER BY r.retain_until, r.delivery_id
		LIMIT $4`, after.set, day(after.at), after.id, f.Limit+1, StationOf(ctx), f.Overdue, day(today))
	if err != nil {
		return nil, fmt.Errorf("list returns: %w", err)
	}
	all := make([]Return, len(rows))
	for i := range rows {
		all[i] = rows[i].ret()
	}
	return all, nil
}

// wasVoided reports whether a number belonged to one of our deliveries and was cancelled.
func wasVoided(ctx context.Context, tx *sqlx.Tx, waybillNo string) (bool, error) {
	if !plainNumber(waybillNo) {
		return false, nil
	}
	var void bool
	err := tx.GetContext(ctx, &void, `
		SELECT EXISTS (SELECT 1 FROM unwanted_waybills WHERE waybill_no = $1) OR EXISTS (SELECT 1 FROM numbers WHERE waybill_no = $1 AND state = 'void')`, waybillNo)
	if err != nil {
		return false, fmt.Errorf("look for a cancelled waybill: %w", err)
	}
	return void, nil
}

// stopAsking ends asking EMS about an envelope that is settled. A waybill that is being asked about is passed over, for
// tracking locks it before the delivery; it is then asked about until its trace changes, which does no harm.
func stopAsking(ctx context.Context, tx *sqlx.Tx, delivery uuid.UUID, status Status) error {
	_, err := tx.ExecContext(ctx, `
		UPDATE waybills SET next_poll_at = NULL, stage = $2
		WHERE delivery_id IN (SELECT delivery_id FROM waybills WHERE delivery_id = $1 FOR UPDATE SKIP LOCKED)`, delivery, string(status))
	if err != nil {
		return fmt.Errorf("stop asking about delivery %s: %w", delivery, err)
	}
	return nil
}

// linkReturns notes that returns go out again as newer deliveries, pair by pair, and gives the old ids of those that
// lie on the shelf. What was not received yet is linked when its envelope arrives; what went back to the issuing office
// is sent from there.
func linkReturns(ctx context.Context, tx *sqlx.Tx, older, newer []uuid.UUID) (linked []uuid.UUID, err error) {
	err = tx.SelectContext(ctx, &linked, `
		UPDATE returns r SET redispatched_as = x.newer
		FROM unnest($1::uuid[], $2::uuid[]) AS x(older, newer)
		WHERE r.delivery_id = x.older AND r.picked_up_at IS NULL AND r.disposed_at IS NULL
		RETURNING r.delivery_id`, pq.Array(uuidTexts(older)), pq.Array(uuidTexts(newer)))
	if err != nil {
		return nil, fmt.Errorf("link %d returns to the deliveries that send them again: %w", len(older), err)
	}
	return linked, nil
}

// freeReturns puts returns back on the worklist whose new delivery has just been cancelled: their envelopes never left.
func freeReturns(ctx context.Context, tx *sqlx.Tx, moves []Move, moved []uuid.UUID) error {
	cancelled := map[uuid.UUID]time.Time{}
	for _, m := range moves {
		if m.To == Cancelled {
			cancelled[m.ID] = m.At
		}
	}
	var ids []uuid.UUID
	for _, id := range moved {
		if _, ok := cancelled[id]; ok {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	var freed []struct {
		returnRow
		Was uuid.UUID `db:"was"`
	}
	err := tx.SelectContext(ctx, &freed, `
		WITH f AS (SELECT r.delivery_id, r.redispatched_as AS was FROM returns r WHERE r.redispatched_as = ANY($1::uuid[]) FOR UPDATE)
		UPDATE returns r SET redispatched_as = NULL FROM f WHERE r.delivery_id = f.delivery_id
		RETURNING `+returnColumns+`, f.was`, pq.Array(uuidTexts(ids)))
	if err != nil {
		return fmt.Errorf("free the returns of %d cancelled deliveries: %w", len(ids), err)
	}
	olds := make([]uuid.UUID, len(freed))
	for i, f := range freed {
		olds[i] = f.DeliveryID
	}
	lost, err := declaredLostOf(ctx, tx, olds)
	if err != nil {
		return err
	}
	var events []NewEvent
	var cases []NewCase
	for _, f := range freed {
		at := cancelled[f.Was]
		events = append(events, NewEvent{f.DeliveryID, EventReturnAvailable, at, EventData{SupersededBy: f.Was.String(), RetainUntil: day(f.RetainUntil)}})
		cases = append(cases, shelfCase(f.ret(), lost[f.DeliveryID], at))
	}
	if err := AppendEvents(ctx, tx, events); err != nil {
		return err
	}
	return putCases(ctx, tx, cases)
}

// putCases opens each case, or tells the one of its kind that is open what to do now and until when.
func putCases(ctx context.Context, tx *sqlx.Tx, cases []NewCase) error {
	if len(cases) == 0 {
		return nil
	}
	if err := OpenCases(ctx, tx, cases); err != nil {
		return err
	}
	ids, kinds, actions := make([]string, len(cases)), make([]string, len(cases)), make([]string, len(cases))
	due := make([]time.Time, len(cases))
	for i, c := range cases {
		ids[i], kinds[i], actions[i], due[i] = c.DeliveryID.String(), string(c.Kind), c.NextAction, c.DueAt
	}
	_, err := tx.ExecContext(ctx, `
		UPDATE cases c SET due_at = x.due, next_action = x.action
		FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::text[]) AS x(delivery_id, kind, due, action)
		WHERE c.delivery_id = x.delivery_id AND c.kind = x.kind AND c.closed_at IS NULL`,
		pq.Array(ids), pq.Array(kinds), timeArray(due), pq.Array(actions))
	if err != nil {
		return fmt.Errorf("say what to do about %d cases: %w", len(cases), err)
	}
	return nil
}
