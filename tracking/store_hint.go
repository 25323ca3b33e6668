package tracking

import (
	"context"
	"fmt"
	"time"

	"emsd/courier"

	"github.com/jmoiron/sqlx"
)

// Hints takes what EMS pushes. A push says only that there is news of a number: nothing authenticates it but the shared
// key, and its content is not believed (dossier 5). The query is the truth.
type Hints struct{ db *sqlx.DB }

// NewHints returns a taker of hints.
func NewHints(db *sqlx.DB) *Hints { return &Hints{db} }

// Receive keeps a hint and wakes the poll round. When it returns nil the hint is committed, and EMS may be answered.
func (h *Hints) Receive(ctx context.Context, waybillNo string, now time.Time) error {
	_, err := h.db.ExecContext(ctx, `
		WITH hint AS (INSERT INTO push_hints (waybill_no, received_at) VALUES ($1, $2) RETURNING 1)
		SELECT pg_notify($3, '') FROM hint`, clean(waybillNo), now, courier.WakePolls)
	if err != nil {
		return fmt.Errorf("keep a push hint: %w", err)
	}
	return nil
}

// hintChunk bounds one statement; a flood of pushes is taken in several.
const hintChunk = 5000

// takeHints makes hinted waybills due and urgent, those of final deliveries too: a push is how a withdrawn delivery becomes known.
// A waybill that is being asked about keeps its hint for the next time, for the answer on its way may be older than the
// push. Hints of numbers that are not ours are dropped.
func (p *Poller) takeHints(ctx context.Context, now time.Time) (known, strangers int, err error) {
	for {
		var k, s int
		err := p.db.QueryRowxContext(ctx, `
			WITH hint AS MATERIALIZED (
				SELECT id, waybill_no FROM push_hints ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED
			), free AS MATERIALIZED (
				SELECT w.delivery_id, d.waybill_no FROM deliveries d JOIN waybills w ON w.delivery_id = d.id
				WHERE d.waybill_no IN (SELECT waybill_no FROM hint)
				FOR UPDATE OF w SKIP LOCKED
			), due AS (
				UPDATE waybills w SET next_poll_at = least(w.next_poll_at, $1), urgency = 0
				FROM free f
				WHERE w.delivery_id = f.delivery_id AND (w.next_poll_at IS NULL OR w.next_poll_at > $1 OR w.urgency > 0)
			), taken AS (
				DELETE FROM push_hints h USING hint
				WHERE h.id = hint.id AND hint.waybill_no IN (SELECT waybill_no FROM free)
				RETURNING 1
			), dropped AS (
				DELETE FROM push_hints h USING hint
				WHERE h.id = hint.id AND NOT EXISTS (
					SELECT 1 FROM deliveries d JOIN waybills w ON w.delivery_id = d.id WHERE d.waybill_no = hint.waybill_no)
				RETURNING 1
			)
			SELECT (SELECT count(*) FROM taken), (SELECT count(*) FROM dropped)`, now, hintChunk).Scan(&k, &s)
		known, strangers = known+k, strangers+s
		if err != nil || k+s < hintChunk {
			return known, strangers, err
		}
	}
}
