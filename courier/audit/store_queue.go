package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// Queue writes entries in the transaction of what they tell and leaves it to Chain to put them into the chain. Nobody
// waits for anybody: it is for what happens many times a second, where Append would let one commit at a time. An entry
// is as durable as its deed; until Chain has run, within moments, it is not yet hashed.
func Queue(ctx context.Context, tx sqlx.ExecerContext, entries ...Entry) error {
	if len(entries) == 0 {
		return nil
	}
	var at []time.Time
	var actor, action, object, detail []string
	for _, e := range entries {
		if err := e.check(); err != nil {
			return err
		}
		if e.Detail == nil {
			e.Detail = map[string]string{}
		}
		text, err := encode(e.Detail)
		if err != nil {
			return err
		}
		at, actor, action = append(at, e.At), append(actor, e.Actor), append(action, e.Action)
		object, detail = append(object, e.Object), append(detail, string(text))
	}
	_, err := tx.ExecContext(ctx, `
		INSERT INTO audit_queue (at, actor, action, object, detail)
		SELECT at, actor, action, object, detail
		FROM unnest($1::timestamptz[], $2::text[], $3::text[], $4::text[], $5::jsonb[]) AS e(at, actor, action, object, detail)`,
		pq.Array(at), pq.Array(actor), pq.Array(action), pq.Array(object), pq.Array(detail))
	if err != nil {
		return fmt.Errorf("queue %d audit entries: %w", len(entries), err)
	}
	return nil
}

// chainPage is how many queued entries one transaction puts into the chain.
const chainPage = 500

// Chain puts every queued entry into the chain, in the order in which they were queued.
func Chain(ctx context.Context, db *sqlx.DB) error {
	for {
		n, err := chainOnce(ctx, db)
		if err != nil || n < chainPage {
			return err
		}
	}
}

func chainOnce(ctx context.Context, db *sqlx.DB) (int, error) {
	tx, err := db.BeginTxx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback() // after a commit it does nothing
	// First the end of the chain, then the queue: of two daemons the one that read later must not write first.
	if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(chainLock)); err != nil {
		return 0, fmt.Errorf("take the end of the audit chain: %w", err)
	}
	entries, err := unqueue(ctx, tx)
	if err != nil || len(entries) == 0 {
		return 0, err
	}
	if err := Append(ctx, tx, entries...); err != nil {
		return 0, err
	}
	return len(entries), tx.Commit()
}

// unqueue takes a page off the queue.
func unqueue(ctx context.Context, tx *sqlx.Tx) ([]Entry, error) {
	var rows []struct {
		ID     int64     `db:"id"`
		At     time.Time `db:"at"`
		Actor  string    `db:"actor"`
		Action string    `db:"action"`
		Object string    `db:"object"`
		Detail string    `db:"detail"`
	}
	err := tx.SelectContext(ctx, &rows, `
		WITH page AS (
			SELECT id FROM audit_queue ORDER BY id LIMIT $1 FOR UPDATE
		), taken AS (
			DELETE FROM audit_queue q USING page WHERE q.id = page.id
			RETURNING q.id, q.at, q.actor, q.action, q.object, q.detail::text AS detail
		)
		SELECT id, at, actor, action, object, detail FROM taken ORDER BY id`, chainPage)
	if err != nil {
		return nil, fmt.Errorf("read the audit queue: %w", err)
	}
	entries := make([]Entry, len(rows))
	for i, r := range rows {
		entries[i] = Entry{At: r.At, Actor: r.Actor, Action: r.Action, Object: r.Object}
		if err := json.Unmarshal([]byte(r.Detail), &entries[i].Detail); err != nil {
			return nil, fmt.Errorf("queued audit entry %d: %w", r.ID, err)
		}
	}
	return entries, nil
}
