package intake

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
)

const uploadColumns = `id, uploaded_by, uploaded_at, station_code, kinds, name_sealed, state, kind, headings, read, total, rows, created, existing,
	refused, payments, bad, fault, finished_at`

type uploadRow struct {
	ID         uuid.UUID      `db:"id"`
	By         string         `db:"uploaded_by"`
	At         time.Time      `db:"uploaded_at"`
	Station    string         `db:"station_code"`
	Kinds      pq.StringArray `db:"kinds"`
	NameSealed []byte         `db:"name_sealed"`
	FileSealed []byte         `db:"file_sealed"` // of a claimed one
	Tries      int            `db:"tries"`       // the same
	State      string         `db:"state"`
	Kind       string         `db:"kind"`
	Headings   pq.StringArray `db:"headings"`
	Read       int64          `db:"read"`
	Total      int64          `db:"total"`
	Rows       int            `db:"rows"`
	Created    int            `db:"created"`
	Existing   int            `db:"existing"`
	Refused    int            `db:"refused"`
	Payments   int            `db:"payments"`
	Bad        int            `db:"bad"`
	Fault      string         `db:"fault"`
	FinishedAt sql.NullTime   `db:"finished_at"`
}

func insertUpload(ctx context.Context, tx *sqlx.Tx, id uuid.UUID, by Uploader, now time.Time, name, file []byte) error {
	kinds := make([]string, len(by.Kinds))
	for i, k := range by.Kinds {
		kinds[i] = string(k)
	}
	_, err := tx.ExecContext(ctx, `
		INSERT INTO uploads (id, uploaded_by, uploaded_at, station_code, kinds, name_sealed, file_sealed, state)
		VALUES ($1, $2, $3, $4, $5, $6, $7, 'checking')`, id, by.Name, now, by.Station, pq.Array(kinds), name, file)
	if err != nil {
		return fmt.Errorf("keep an upload: %w", err)
	}
	return nil
}

func readUpload(ctx context.Context, db *sqlx.DB, id uuid.UUID) (uploadRow, error) {
	var r uploadRow
	err := db.GetContext(ctx, &r, `SELECT `+uploadColumns+` FROM uploads WHERE id = $1`, id)
	if errors.Is(err, sql.ErrNoRows) {
		return r, courier.ErrNotFound
	}
	return r, err
}

// recentUploads lists the newest first; by is empty for everybody's.
func recentUploads(ctx context.Context, db *sqlx.DB, by string, limit int) ([]uploadRow, error) {
	var rows []uploadRow
	err := db.SelectContext(ctx, &rows, `
		SELECT `+uploadColumns+` FROM uploads
		WHERE $1 = '' OR uploaded_by = $1
		ORDER BY uploaded_at DESC, id DESC
		LIMIT $2`, by, limit)
	return rows, err
}

// claimUpload takes one that waits, or whose process let its lease run out.
func claimUpload(ctx context.Context, db *sqlx.DB, wall, until time.Time) (uploadRow, error) {
	var r uploadRow
	err := db.GetContext(ctx, &r, `
		UPDATE uploads SET lease_until = $2, tries = tries + 1
		WHERE id = (
			SELECT id FROM uploads
			WHERE state IN ('checking', 'loading') AND (lease_until IS NULL OR lease_until < $1)
			ORDER BY uploaded_at, id
			LIMIT 1
			FOR UPDATE SKIP LOCKED)
		RETURNING file_sealed, tries, `+uploadColumns, wall, until)
	if errors.Is(err, sql.ErrNoRows) {
		return r, courier.ErrNotFound
	}
	return r, err
}

func moveUpload(ctx context.Context, tx *sqlx.Tx, id uuid.UUID, by, from, to string, now time.Time) (bool, error) {
	res, err := tx.ExecContext(ctx, `
		UPDATE uploads
		SET state = $4, lease_until = NULL, tries = 0, file_sealed = CASE WHEN $4 = 'discarded' THEN NULL ELSE file_sealed END,
			finished_at = CASE WHEN $4 = 'discarded' THEN CAST($5 AS timestamptz) END
		WHERE id = $1 AND uploaded_by = $2 AND state = $3`, id, by, from, to, now)
	if err != nil {
		return false, fmt.Errorf("move upload %s to %s: %w", id, to, err)
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

func progressUpload(ctx context.Context, tx *sqlx.Tx, id uuid.UUID, read, total int64, s Summary, until time.Time) error {
	_, err := tx.ExecContext(ctx, `
		UPDATE uploads
		SET read = $2, total = $3, kind = $4, rows = $5, created = $6, existing = $7, refused = $8, payments = $9, bad = $10, lease_until = $11
		WHERE id = $1`, id, read, total, string(s.Kind), s.Rows, s.Created, s.Existing, s.Refused, s.Payments, s.Bad, until)
	return err
}

// finishUpload drops the file once it is of no more use.
func finishUpload(ctx context.Context, db *sqlx.DB, id uuid.UUID, from, to, fault string, headings []string, now time.Time) error {
	_, err := db.ExecContext(ctx, `
		UPDATE uploads
		SET state = $3, fault = $4, headings = coalesce(CAST($5 AS text[]), '{}'), lease_until = NULL, finished_at = $6,
			file_sealed = CASE WHEN $3 = 'checked' THEN file_sealed END
		WHERE id = $1 AND state = $2`, id, from, to, fault, pq.Array(headings), now)
	if err != nil {
		return fmt.Errorf("finish upload %s: %w", id, err)
	}
	return nil
}

func insertUploadRows(ctx context.Context, tx *sqlx.Tx, id uuid.UUID, numbers []int64, sealed [][]byte) error {
	if len(numbers) == 0 {
		return nil
	}
	_, err := tx.ExecContext(ctx, `
		INSERT INTO upload_rows (upload_id, number, row_sealed)
		SELECT $1, number, row_sealed FROM unnest($2::integer[], $3::bytea[]) AS r(number, row_sealed)
		ON CONFLICT (upload_id, number) DO UPDATE SET row_sealed = excluded.row_sealed`, id, pq.Array(numbers), pq.ByteaArray(sealed))
	if err != nil {
		return fmt.Errorf("keep %d bad rows: %w", len(numbers), err)
	}
	return nil
}

func readUploadRows(ctx context.Context, db *sqlx.DB, id uuid.UUID, after, limit int) ([][]byte, error) {
	var sealed [][]byte
	err := db.SelectContext(ctx, &sealed, `
		SELECT row_sealed FROM upload_rows WHERE upload_id = $1 AND number > $2 ORDER BY number LIMIT $3`, id, after, limit)
	return sealed, err
}

func dropUploadRows(ctx context.Context, db *sqlx.DB, id uuid.UUID) error {
	_, err := db.ExecContext(ctx, `DELETE FROM upload_rows WHERE upload_id = $1`, id)
	return err
}

func purgeUploads(ctx context.Context, db *sqlx.DB, before time.Time) error {
	_, err := db.ExecContext(ctx, `DELETE FROM uploads WHERE uploaded_at < $1`, before)
	return err
}
