package tracking

import (
	"context"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// The statements of a round without news. They must not depend on statistics: a young table has none, and a plan over
// the whole of it is a thousand times slower (performance.md, 3). The urgency stands in the text of a claim, for there is
// an index for each: one index over all would be wider, and every poll would pay for that.
const (
	claimHead = `
		SELECT delivery_id, waybill_no, stage, ordered_at, next_poll_at, changed_at, fingerprint, failures
		FROM waybills
		WHERE urgency = `
	claimTail = ` AND next_poll_at <= $1 AND (next_poll_at, delivery_id) > ($2, $3)
		ORDER BY next_poll_at, delivery_id
		LIMIT $4
		FOR UPDATE SKIP LOCKED`
	pollsSQL = `
		UPDATE waybills w SET next_poll_at = u.next, failures = u.failures, urgency = u.urgency
		FROM unnest($1::uuid[], $2::timestamptz[], $3::integer[], $4::smallint[]) AS u(id, next, failures, urgency)
		WHERE w.delivery_id = u.id`
)

var claimSQL = [urgencies]string{claimHead + "0" + claimTail, claimHead + "1" + claimTail, claimHead + "2" + claimTail, claimHead + "3" + claimTail}

// claimDue locks the next due waybills of an urgency behind a cursor and appends them to claimed. Rows that somebody else
// has locked are being asked about.
func claimDue(ctx context.Context, tx *sqlx.Tx, claimed []asked, urgency int, after cursor, now time.Time, limit int) ([]asked, error) {
	rows, err := tx.QueryContext(ctx, claimSQL[urgency], now, after.dueAt, after.id, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var a asked
		err := rows.Scan(&a.delivery, &a.no, &a.stage, &a.orderedAt, &a.dueAt, &a.changedAt, &a.fingerprint, &a.failures)
		if err != nil {
			return nil, err
		}
		claimed = append(claimed, a)
	}
	return claimed, rows.Err()
}

// writePolls is all that an answer without news costs: one statement for the chunk.
func writePolls(ctx context.Context, tx *sqlx.Tx, polls []poll) error {
	if len(polls) == 0 {
		return nil
	}
	ids, next := make([]string, len(polls)), make([]time.Time, len(polls))
	failures, urgency := make([]int64, len(polls)), make([]int64, len(polls))
	for i, p := range polls {
		ids[i], next[i], failures[i], urgency[i] = p.delivery.String(), p.next, int64(p.failures), int64(p.urgency)
	}
	_, err := tx.ExecContext(ctx, pollsSQL, pq.Array(ids), timeArray(next), pq.Array(failures), pq.Array(urgency))
	return err
}

// stopCancelled ends asking about deliveries that were cancelled since a time. Whoever cancels may not wait for a waybill
// that is being asked about, and an empty trace is quiet, so that the poll does not notice by itself.
func (p *Poller) stopCancelled(ctx context.Context, since time.Time) error {
	_, err := p.db.ExecContext(ctx, `
		UPDATE waybills SET next_poll_at = NULL, stage = 'cancelled'
		WHERE delivery_id IN (
			SELECT w.delivery_id
			FROM deliveries d JOIN waybills w ON w.delivery_id = d.id
			WHERE d.status = 'cancelled' AND d.updated_at >= $1 AND w.next_poll_at IS NOT NULL AND w.stage <> 'cancelled'
			FOR UPDATE OF w SKIP LOCKED)`, since)
	return err
}

// timeArray gives a timestamptz[] parameter in which the zero time is NULL.
func timeArray(times []time.Time) string {
	b := make([]byte, 0, 36*len(times)+2)
	b = append(b, '{')
	for i, t := range times {
		if i > 0 {
			b = append(b, ',')
		}
		if t.IsZero() {
			b = append(b, "NULL"...)
			continue
		}
		b = append(b, '"')
		b = t.UTC().AppendFormat(b, "2006-01-02 15:04:05.999999Z07:00")
		b = append(b, '"')
	}
	return string(append(b, '}'))
}
