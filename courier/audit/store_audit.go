package audit

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/jmoiron/sqlx"
)

// chainLock makes writers take turns: the chain has one end.
const chainLock = 0x61756469 // "audi"

// Append writes an entry at the end of the chain when tx commits. It takes a lock until then: append last.
func Append(ctx context.Context, tx *sqlx.Tx, e Entry) error {
	if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(chainLock)); err != nil {
		return fmt.Errorf("append to the audit chain: %w", err)
	}
	var last struct {
		ID   int64  `db:"id"`
		Hash []byte `db:"hash"`
	}
	err := tx.GetContext(ctx, &last, `SELECT id, hash FROM audit ORDER BY id DESC LIMIT 1`)
	if errors.Is(err, sql.ErrNoRows) {
		last.Hash, err = genesis, nil
	}
	if err != nil {
		return fmt.Errorf("append to the audit chain: %w", err)
	}
	if e.Detail == nil {
		e.Detail = map[string]string{}
	}
	detail, err := json.Marshal(e.Detail)
	if err != nil {
		return err
	}
	e.At = e.At.Truncate(time.Microsecond)
	l := Link{ID: last.ID + 1, Entry: e, Prev: last.Hash}
	_, err = tx.ExecContext(ctx, `
		INSERT INTO audit (id, at, actor, action, object, detail, prev_hash, hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		l.ID, l.At, l.Actor, l.Action, l.Object, string(detail), l.Prev, l.hash())
	if err != nil {
		return fmt.Errorf("append to the audit chain: %w", err)
	}
	return nil
}

// Verify checks the chain in the database.
func Verify(ctx context.Context, db *sqlx.DB) (Report, error) {
	var v verifier
	err := each(ctx, db, func(l Link) error {
		v.next(l)
		return nil
	})
	return v.report, err
}

// Export writes the chain as JSON lines, to be kept or checked elsewhere.
func Export(ctx context.Context, db *sqlx.DB, w io.Writer) error {
	enc := json.NewEncoder(w)
	return each(ctx, db, func(l Link) error { return enc.Encode(l) })
}

func each(ctx context.Context, db *sqlx.DB, f func(Link) error) error {
	rows, err := db.QueryxContext(ctx, `SELECT id, at, actor, action, object, detail, prev_hash, hash FROM audit ORDER BY id`)
	if err != nil {
		return fmt.Errorf("read the audit chain: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var l Link
		var detail []byte
		if err := rows.Scan(&l.ID, &l.At, &l.Actor, &l.Action, &l.Object, &detail, &l.Prev, &l.Hash); err != nil {
			return fmt.Errorf("read the audit chain: %w", err)
		}
		if err := json.Unmarshal(detail, &l.Detail); err != nil {
			return fmt.Errorf("read the audit chain: detail of entry %d: %w", l.ID, err)
		}
		if err := f(l); err != nil {
			return err
		}
	}
	return rows.Err()
}
