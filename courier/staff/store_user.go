package staff

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"emsd/courier"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"
)

const userColumns = `u.id, u.name, u.full_name, u.role, u.station_code, u.password_hash, u.must_change, u.totp_sealed, u.totp_since, u.totp_step,
	u.created_at, u.disabled_at, u.last_sign_in_at`

// A userRow is a user with what signs this person in.
type userRow struct {
	User
	hash string
	totp []byte
	step int64
}

type scanner interface{ Scan(dest ...any) error }

func scanUser(row scanner, more ...any) (userRow, error) {
	var u userRow
	var station sql.NullString
	var since, disabled, last sql.NullTime
	err := row.Scan(append([]any{&u.ID, &u.Name, &u.FullName, &u.Role, &station, &u.hash, &u.MustChange, &u.totp, &since, &u.step,
		&u.CreatedAt, &disabled, &last}, more...)...)
	if errors.Is(err, sql.ErrNoRows) {
		return userRow{}, courier.ErrNotFound
	}
	u.Station, u.SecondFactor, u.DisabledAt, u.LastSignInAt = station.String, since.Valid, disabled.Time, last.Time
	return u, err
}

func insertUser(ctx context.Context, tx *sqlx.Tx, u User, hash string) error {
	_, err := tx.ExecContext(ctx, `
		INSERT INTO users (id, name, full_name, role, station_code, password_hash, password_set_at, must_change, created_at)
		VALUES ($1, $2, $3, $4, nullif($5, ''), $6, $7, $8, $7)`,
		u.ID, u.Name, u.FullName, string(u.Role), u.Station, hash, u.CreatedAt, u.MustChange)
	switch {
	case pq.As(err, pqerror.UniqueViolation) != nil:
		return courier.Faults{{Field: "name", Code: "taken", Detail: "该登录名已被使用，请换一个"}}
	case pq.As(err, pqerror.ForeignKeyViolation) != nil:
		return courier.Faults{{Field: "station", Code: "unknown_value", Detail: "没有这个受理点编码，请核对"}}
	case err != nil:
		return fmt.Errorf("store user %s: %w", u.ID, err)
	}
	return nil
}

func findUser(ctx context.Context, q sqlx.QueryerContext, name string) (userRow, error) {
	return scanUser(q.QueryRowxContext(ctx, `SELECT `+userColumns+` FROM users u WHERE u.name = $1`, name))
}

func userByID(ctx context.Context, q sqlx.QueryerContext, id uuid.UUID) (userRow, error) {
	return scanUser(q.QueryRowxContext(ctx, `SELECT `+userColumns+` FROM users u WHERE u.id = $1`, id))
}

func lockUser(ctx context.Context, tx *sqlx.Tx, id uuid.UUID) (userRow, error) {
	return scanUser(tx.QueryRowxContext(ctx, `SELECT `+userColumns+` FROM users u WHERE u.id = $1 FOR UPDATE`, id))
}

func listUsers(ctx context.Context, q sqlx.QueryerContext) ([]User, error) {
	rows, err := q.QueryxContext(ctx, `SELECT `+userColumns+` FROM users u ORDER BY u.name`)
	if err != nil {
		return nil, fmt.Errorf("list users: %w", err)
	}
	defer rows.Close()
	var users []User
	for rows.Next() {
		u, err := scanUser(rows)
		if err != nil {
			return nil, fmt.Errorf("list users: %w", err)
		}
		users = append(users, u.User)
	}
	return users, rows.Err()
}

func savePassword(ctx context.Context, tx *sqlx.Tx, id uuid.UUID, hash string, mustChange bool, now time.Time) error {
	_, err := tx.ExecContext(ctx, `UPDATE users SET password_hash = $2, must_change = $3, password_set_at = $4 WHERE id = $1`, id, hash, mustChange, now)
	return err
}

func disableUser(ctx context.Context, tx *sqlx.Tx, id uuid.UUID, now time.Time) error {
	_, err := tx.ExecContext(ctx, `UPDATE users SET disabled_at = coalesce(disabled_at, $2) WHERE id = $1`, id, now)
	return err
}

func enableUser(ctx context.Context, tx *sqlx.Tx, id uuid.UUID) error {
	_, err := tx.ExecContext(ctx, `UPDATE users SET disabled_at = NULL WHERE id = $1`, id)
	return err
}

func saveSignIn(ctx context.Context, tx *sqlx.Tx, id uuid.UUID, now time.Time) error {
	_, err := tx.ExecContext(ctx, `UPDATE users SET last_sign_in_at = $2 WHERE id = $1`, id, now)
	return err
}

func saveTOTP(ctx context.Context, tx *sqlx.Tx, id uuid.UUID, sealed []byte) error {
	_, err := tx.ExecContext(ctx, `UPDATE users SET totp_sealed = $2, totp_since = NULL, totp_step = 0 WHERE id = $1`, id, sealed)
	return err
}

func confirmTOTP(ctx context.Context, tx *sqlx.Tx, id uuid.UUID, step int64, now time.Time) error {
	_, err := tx.ExecContext(ctx, `UPDATE users SET totp_since = $2, totp_step = $3 WHERE id = $1`, id, now, step)
	return err
}

func saveStep(ctx context.Context, tx *sqlx.Tx, id uuid.UUID, step int64) error {
	_, err := tx.ExecContext(ctx, `UPDATE users SET totp_step = $2 WHERE id = $1`, id, step)
	return err
}

func clearTOTP(ctx context.Context, tx *sqlx.Tx, id uuid.UUID) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM recovery_codes WHERE user_id = $1`, id); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `UPDATE users SET totp_sealed = NULL, totp_since = NULL, totp_step = 0 WHERE id = $1`, id)
	return err
}

func replaceRecoveryCodes(ctx context.Context, tx *sqlx.Tx, id uuid.UUID, hashes [][]byte) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM recovery_codes WHERE user_id = $1`, id); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO recovery_codes (user_id, hash) SELECT $1, h FROM unnest($2::bytea[]) AS h`, id, pq.Array(hashes))
	return err
}

func spendRecoveryCode(ctx context.Context, tx *sqlx.Tx, id uuid.UUID, hash []byte, now time.Time) (bool, error) {
	res, err := tx.ExecContext(ctx, `UPDATE recovery_codes SET used_at = $3 WHERE user_id = $1 AND hash = $2 AND used_at IS NULL`, id, hash, now)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n == 1, err
}
