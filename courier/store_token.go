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

const tokenColumns = `id, name, scopes, created_at, expires_at, revoked_at, last_used_at, rotated_at, former_until`

type tokenRow struct {
	ID         uuid.UUID      `db:"id"`
	Name       string         `db:"name"`
	Scopes     pq.StringArray `db:"scopes"`
	CreatedAt  time.Time      `db:"created_at"`
	ExpiresAt  sql.NullTime   `db:"expires_at"`
	RevokedAt  sql.NullTime   `db:"revoked_at"`
	LastUsedAt sql.NullTime   `db:"last_used_at"`

	RotatedAt   sql.NullTime `db:"rotated_at"`
	FormerUntil sql.NullTime `db:"former_until"`
}

func (r tokenRow) token() Token {
	return Token{ID: r.ID, Name: r.Name, Scopes: r.Scopes, CreatedAt: r.CreatedAt, ExpiresAt: r.ExpiresAt.Time, RevokedAt: r.RevokedAt.Time,
		LastUsedAt: r.LastUsedAt.Time, RotatedAt: r.RotatedAt.Time, FormerUntil: r.FormerUntil.Time}
}

func insertToken(ctx context.Context, tx *sqlx.Tx, t Token, hash []byte) error {
	_, err := tx.ExecContext(ctx, `
		INSERT INTO tokens (id, name, hash, scopes, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)`,
		t.ID, t.Name, hash, pq.Array(t.Scopes), t.CreatedAt, sql.NullTime{Time: t.ExpiresAt, Valid: !t.ExpiresAt.IsZero()})
	if err != nil {
		return fmt.Errorf("create token: %w", err)
	}
	return nil
}

// findToken finds a token by the secret it has, or by the one before while both are good.
func findToken(ctx context.Context, db *sqlx.DB, hash []byte, now time.Time) (Token, error) {
	var r tokenRow
	err := db.GetContext(ctx, &r, `SELECT `+tokenColumns+` FROM tokens WHERE hash = $1 OR (former_hash = $1 AND former_until > $2)`, hash, now)
	if errors.Is(err, sql.ErrNoRows) {
		return Token{}, ErrNotFound
	}
	if err != nil {
		return Token{}, fmt.Errorf("find token: %w", err)
	}
	return r.token(), nil
}

func touchToken(ctx context.Context, db *sqlx.DB, id uuid.UUID, now time.Time) error {
	_, err := db.ExecContext(ctx, `UPDATE tokens SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)`, id, now)
	return err
}

func listTokens(ctx context.Context, db *sqlx.DB) ([]Token, error) {
	var rows []tokenRow
	if err := db.SelectContext(ctx, &rows, `SELECT `+tokenColumns+` FROM tokens ORDER BY created_at DESC, id`); err != nil {
		return nil, fmt.Errorf("list tokens: %w", err)
	}
	tokens := make([]Token, len(rows))
	for i, r := range rows {
		tokens[i] = r.token()
	}
	return tokens, nil
}

// rotateToken puts a new secret in the place of the one that a token has, which becomes the former one.
func rotateToken(ctx context.Context, tx *sqlx.Tx, id uuid.UUID, hash []byte, now, formerUntil time.Time) (Token, error) {
	var r tokenRow
	err := tx.GetContext(ctx, &r, `
		UPDATE tokens SET former_hash = hash, former_until = $3, hash = $2, rotated_at = $4
		WHERE id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $4)
		RETURNING `+tokenColumns, id, hash, formerUntil, now)
	if errors.Is(err, sql.ErrNoRows) {
		return Token{}, fmt.Errorf("rotate token %s: %w, or revoked or expired", id, ErrNotFound)
	}
	if err != nil {
		return Token{}, fmt.Errorf("rotate token %s: %w", id, err)
	}
	return r.token(), nil
}

func revokeToken(ctx context.Context, tx *sqlx.Tx, id uuid.UUID, now time.Time) error {
	res, err := tx.ExecContext(ctx, `UPDATE tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL`, id, now)
	if err != nil {
		return fmt.Errorf("revoke token %s: %w", id, err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, fmt.Errorf("revoke token %s: %w, or revoked already", id, ErrNotFound))
	}
	return nil
}

// lockKey holds a key until the transaction ends, and does not wait for another that holds it.
func lockKey(ctx context.Context, tx *sqlx.Tx, token uuid.UUID, key string) error {
	var free bool
	if err := tx.GetContext(ctx, &free, `SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))`, "idempotency "+token.String()+" "+key); err != nil {
		return fmt.Errorf("lock idempotency key: %w", err)
	}
	if !free {
		return inProgress
	}
	return nil
}

// storeKey writes the answer of a request whose key lockKey holds.
func storeKey(ctx context.Context, tx *sqlx.Tx, token uuid.UUID, key string, hash []byte, a StoredAnswer, wall time.Time) error {
	_, err := tx.ExecContext(ctx, `
		INSERT INTO idempotency_keys (token_id, key, request_hash, status, content_type, location, body, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`, token, key, hash, a.Status, a.ContentType, a.Location, a.Body, wall)
	if err != nil {
		return fmt.Errorf("store idempotent answer: %w", err)
	}
	return nil
}

// readKey gives what was asked under a key, and the answer.
func readKey(ctx context.Context, q sqlx.QueryerContext, token uuid.UUID, key string) ([]byte, *StoredAnswer, error) {
	var r struct {
		Hash        []byte `db:"request_hash"`
		Status      int    `db:"status"`
		ContentType string `db:"content_type"`
		Location    string `db:"location"`
		Body        []byte `db:"body"`
	}
	err := sqlx.GetContext(ctx, q, &r, `
		SELECT request_hash, status, content_type, location, body FROM idempotency_keys WHERE token_id = $1 AND key = $2`, token, key)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil, ErrNotFound
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read idempotency key: %w", err)
	}
	return r.Hash, &StoredAnswer{r.Status, r.ContentType, r.Location, r.Body}, nil
}

func purgeKeys(ctx context.Context, db *sqlx.DB, before time.Time) error {
	_, err := db.ExecContext(ctx, `DELETE FROM idempotency_keys WHERE created_at < $1`, before)
	return err
}
