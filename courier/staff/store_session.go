package staff

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

func insertSession(ctx context.Context, tx *sqlx.Tx, hash []byte, user uuid.UUID, stage Stage, created, seen time.Time) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO sessions (hash, user_id, stage, created_at, seen_at) VALUES ($1, $2, $3, $4, $5)`,
		hash, user, string(stage), created, seen)
	return err
}

func findSession(ctx context.Context, q sqlx.QueryerContext, hash []byte) (Session, time.Time, error) {
	s := Session{hash: hash}
	var seen time.Time
	u, err := scanUser(q.QueryRowxContext(ctx, `
		SELECT `+userColumns+`, s.stage, s.created_at, s.seen_at
		FROM sessions s JOIN users u ON u.id = s.user_id
		WHERE s.hash = $1`, hash), &s.Stage, &s.CreatedAt, &seen)
	s.User = u.User
	return s, seen, err
}

func touchSession(ctx context.Context, db *sqlx.DB, hash []byte, now time.Time) error {
	_, err := db.ExecContext(ctx, `UPDATE sessions SET seen_at = $2 WHERE hash = $1`, hash, now)
	return err
}

func deleteSession(ctx context.Context, tx *sqlx.Tx, hash []byte) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM sessions WHERE hash = $1`, hash)
	return err
}

func endSessions(ctx context.Context, tx *sqlx.Tx, user uuid.UUID) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM sessions WHERE user_id = $1`, user)
	return err
}

// purgeSessions also forgets the unmaskings of the sessions, which hang on them.
func purgeSessions(ctx context.Context, db *sqlx.DB, made, seen, tried time.Time) error {
	if _, err := db.ExecContext(ctx, `DELETE FROM sessions WHERE created_at <= $1 OR seen_at <= $2`, made, seen); err != nil {
		return fmt.Errorf("forget old sessions: %w", err)
	}
	if _, err := db.ExecContext(ctx, `DELETE FROM sign_in_tries WHERE since <= $1`, tried); err != nil {
		return fmt.Errorf("forget old tries: %w", err)
	}
	return nil
}

// countTry adds one to the tries of the window, or begins a new window when the last one is over.
func countTry(ctx context.Context, db *sqlx.DB, key []byte, now, over time.Time) (tries int, since time.Time, err error) {
	err = db.QueryRowxContext(ctx, `
		INSERT INTO sign_in_tries AS t (key, since, tries) VALUES ($1, $2, 1)
		ON CONFLICT (key) DO UPDATE SET since = CASE WHEN t.since <= $3 THEN $2 ELSE t.since END,
			tries = CASE WHEN t.since <= $3 THEN 1 ELSE t.tries + 1 END
		RETURNING tries, since`, key, now, over).Scan(&tries, &since)
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("count a try to sign in: %w", err)
	}
	return tries, since, nil
}

func uncountTry(ctx context.Context, tx *sqlx.Tx, key []byte) error {
	_, err := tx.ExecContext(ctx, `UPDATE sign_in_tries SET tries = greatest(tries - 1, 0) WHERE key = $1`, key)
	return err
}

func forgetTries(ctx context.Context, tx *sqlx.Tx, key []byte) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM sign_in_tries WHERE key = $1`, key)
	return err
}

func saveUnmasking(ctx context.Context, tx *sqlx.Tx, session []byte, delivery uuid.UUID, until time.Time) error {
	_, err := tx.ExecContext(ctx, `
		INSERT INTO unmaskings (session_hash, delivery_id, until) VALUES ($1, $2, $3)
		ON CONFLICT (session_hash, delivery_id) DO UPDATE SET until = excluded.until`, session, delivery, until)
	return err
}

func deleteUnmasking(ctx context.Context, db *sqlx.DB, session []byte, delivery uuid.UUID) error {
	_, err := db.ExecContext(ctx, `DELETE FROM unmaskings WHERE session_hash = $1 AND delivery_id = $2`, session, delivery)
	return err
}

func unmaskedUntil(ctx context.Context, q sqlx.QueryerContext, session []byte, delivery uuid.UUID) (time.Time, error) {
	var until time.Time
	err := sqlx.GetContext(ctx, q, &until, `SELECT until FROM unmaskings WHERE session_hash = $1 AND delivery_id = $2`, session, delivery)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	}
	return until, err
}
