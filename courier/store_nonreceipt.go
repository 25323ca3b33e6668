package courier

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

const nonReceiptColumns = `id, delivery_id, said_at, said_by, recorded_by, facts, ended_at, coalesce(outcome, '') AS outcome,
	coalesce(ended_by, '') AS ended_by, coalesce(why, '') AS why`

type nonReceiptRow struct {
	ID         uuid.UUID       `db:"id"`
	DeliveryID uuid.UUID       `db:"delivery_id"`
	SaidAt     time.Time       `db:"said_at"`
	SaidBy     string          `db:"said_by"`
	RecordedBy string          `db:"recorded_by"`
	Facts      json.RawMessage `db:"facts"`
	EndedAt    sql.NullTime    `db:"ended_at"`
	Outcome    string          `db:"outcome"`
	EndedBy    string          `db:"ended_by"`
	Why        string          `db:"why"`
}

func (r *nonReceiptRow) report() (NonReceipt, error) {
	n := NonReceipt{ID: r.ID, DeliveryID: r.DeliveryID, SaidAt: r.SaidAt, SaidBy: r.SaidBy, RecordedBy: r.RecordedBy, EndedAt: r.EndedAt.Time,
		Outcome: r.Outcome, EndedBy: r.EndedBy, Why: r.Why}
	if err := json.Unmarshal(r.Facts, &n.Facts); err != nil {
		return n, fmt.Errorf("read the facts of report %s: %w", r.ID, err)
	}
	return n, nil
}

// lockNonReceipt reads the open report of a locked delivery; nil when there is none.
func lockNonReceipt(ctx context.Context, tx *sqlx.Tx, delivery uuid.UUID) (*NonReceipt, error) {
	var r nonReceiptRow
	err := tx.GetContext(ctx, &r, `
		SELECT `+nonReceiptColumns+` FROM non_receipts WHERE delivery_id = $1 AND ended_at IS NULL FOR UPDATE`, delivery)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the report of %s: %w", delivery, err)
	}
	n, err := r.report()
	return &n, err
}

// nonReceiptsOf reads every report about a delivery, the oldest first.
func nonReceiptsOf(ctx context.Context, q sqlx.QueryerContext, delivery uuid.UUID) ([]NonReceipt, error) {
	var rows []nonReceiptRow
	err := sqlx.SelectContext(ctx, q, &rows, `
		SELECT `+nonReceiptColumns+` FROM non_receipts WHERE delivery_id = $1 ORDER BY said_at, id`, delivery)
	if err != nil {
		return nil, fmt.Errorf("read the reports of %s: %w", delivery, err)
	}
	all := make([]NonReceipt, len(rows))
	for i := range rows {
		if all[i], err = rows[i].report(); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// lastOutcome is how the last report about a delivery ended; empty when there was none.
func lastOutcome(ctx context.Context, tx *sqlx.Tx, delivery uuid.UUID) (string, error) {
	var outcome string
	err := tx.GetContext(ctx, &outcome, `
		SELECT outcome FROM non_receipts WHERE delivery_id = $1 AND ended_at IS NOT NULL ORDER BY ended_at DESC, id DESC LIMIT 1`, delivery)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the last report of %s: %w", delivery, err)
	}
	return outcome, nil
}

func insertNonReceipt(ctx context.Context, tx *sqlx.Tx, n NonReceipt) error {
	facts, err := json.Marshal(n.Facts)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `
		INSERT INTO non_receipts (id, delivery_id, said_at, said_by, recorded_by, facts) VALUES ($1, $2, $3, $4, $5, $6::jsonb)`,
		n.ID, n.DeliveryID, n.SaidAt, n.SaidBy, n.RecordedBy, string(facts))
	if err != nil {
		return fmt.Errorf("record that %s did not arrive: %w", n.DeliveryID, err)
	}
	return nil
}

// endNonReceipts ends the open report of a delivery, if there is one, with its event.
func endNonReceipts(ctx context.Context, tx *sqlx.Tx, delivery uuid.UUID, outcome, by, why string, now time.Time) error {
	res, err := tx.ExecContext(ctx, `
		UPDATE non_receipts SET ended_at = $2, outcome = $3, ended_by = $4, why = $5 WHERE delivery_id = $1 AND ended_at IS NULL`,
		delivery, now, outcome, by, why)
	if err != nil {
		return fmt.Errorf("end the report of %s: %w", delivery, err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return err
	}
	return AppendEvents(ctx, tx, []NewEvent{{delivery, EventNotReceivedEnded, now, EventData{Outcome: outcome}}})
}

// factsOf collects what is known of an envelope. The carrier's sentences stay sealed.
func factsOf(ctx context.Context, tx *sqlx.Tx, row *deliveryRow) (Facts, error) {
	f := Facts{Status: row.Status, Since: row.StatusSince.UTC(), Receiver: row.Receiver, WaybillNo: row.WaybillNo.String, Scans: []FactsScan{}}
	var scans []struct {
		At   time.Time `db:"op_at"`
		Code string    `db:"op_code"`
		Org  string    `db:"org_name"`
	}
	err := tx.SelectContext(ctx, &scans, `
		SELECT op_at, op_code, org_name FROM (
			SELECT op_at, op_code, org_code, org_name FROM scans WHERE delivery_id = $1 AND waybill_no = $2 ORDER BY op_at DESC, op_code DESC, org_code DESC LIMIT $3
		) AS last ORDER BY op_at, op_code, org_code`, row.ID, row.WaybillNo.String, factScans)
	if err != nil {
		return f, fmt.Errorf("read the last scans of %s: %w", row.ID, err)
	}
	for _, s := range scans {
		f.Scans = append(f.Scans, FactsScan{s.At.UTC(), s.Code, s.Org})
	}
	return f, nil
}

// askAnew leaves the poll round a hint: it asks EMS at once, about a final delivery too.
func askAnew(ctx context.Context, tx *sqlx.Tx, waybillNo string, now time.Time) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO push_hints (waybill_no, received_at) VALUES ($1, $2)`, waybillNo, now)
	if err != nil {
		return fmt.Errorf("have EMS asked anew: %w", err)
	}
	return Wake(ctx, tx, WakePolls)
}

// lossConfirmed reports whether permit.lost was told for the loss that a lost delivery stands at, and not only for an
// earlier one after which it turned up.
func lossConfirmed(ctx context.Context, tx *sqlx.Tx, delivery uuid.UUID) (bool, error) {
	var last string
	err := tx.GetContext(ctx, &last, `
		SELECT type FROM events WHERE delivery_id = $1 AND type IN ($2, $3) ORDER BY seq DESC LIMIT 1`,
		delivery, string(EventPermitLost), string(StatusEvent(Lost)))
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return false, fmt.Errorf("read whether the loss of %s was declared: %w", delivery, err)
	}
	return last == string(EventPermitLost), nil
}

// declaredLost reports whether a person has ever declared the permit lost: whether permit.lost was told.
func declaredLost(ctx context.Context, tx *sqlx.Tx, delivery uuid.UUID) (bool, error) {
	lost, err := declaredLostOf(ctx, tx, []uuid.UUID{delivery})
	return lost[delivery], err
}

func declaredLostOf(ctx context.Context, tx *sqlx.Tx, deliveries []uuid.UUID) (map[uuid.UUID]bool, error) {
	var told []uuid.UUID
	err := tx.SelectContext(ctx, &told, `
		SELECT DISTINCT delivery_id FROM events WHERE delivery_id = ANY($1::uuid[]) AND type = $2`,
		pq.Array(uuidTexts(deliveries)), string(EventPermitLost))
	if err != nil {
		return nil, fmt.Errorf("read which of %d permits were declared lost: %w", len(deliveries), err)
	}
	set := make(map[uuid.UUID]bool, len(told))
	for _, id := range told {
		set[id] = true
	}
	return set, nil
}
