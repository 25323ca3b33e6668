package webhook

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"emsd/courier"
	"emsd/courier/vault"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

const endpointColumns = `id, name, url, types, ordered, after_position, secret_sealed, old_secret_sealed, key_sealed, old_key_sealed, old_until,
	disabled_why, disabled_at, failures, failing_since, hold_until, last_success_at, created_at, created_by, updated_at, purged_position`

type endpointRow struct {
	ID      uuid.UUID      `db:"id"`
	Name    string         `db:"name"`
	URL     string         `db:"url"`
	Types   pq.StringArray `db:"types"`
	Ordered bool           `db:"ordered"`
	After   int64          `db:"after_position"`
	sealedKeys
	DisabledWhy   string       `db:"disabled_why"`
	DisabledAt    sql.NullTime `db:"disabled_at"`
	Failures      int          `db:"failures"`
	FailingSince  sql.NullTime `db:"failing_since"`
	HoldUntil     sql.NullTime `db:"hold_until"`
	LastSuccessAt sql.NullTime `db:"last_success_at"`
	CreatedAt     time.Time    `db:"created_at"`
	CreatedBy     string       `db:"created_by"`
	UpdatedAt     time.Time    `db:"updated_at"`
	Purged        int64        `db:"purged_position"`
	Pending       int          `db:"pending"`
	FailedCount   int          `db:"failed"`
	OldestAt      sql.NullTime `db:"oldest_at"`
}

func (r endpointRow) keys(v *vault.Vault) (keys, error) {
	return r.sealedKeys.open(v, r.ID)
}

func (r endpointRow) health() Health {
	return Health{r.Failures, r.FailingSince.Time, r.HoldUntil.Time}
}

func (r endpointRow) endpoint(k keys, wall time.Time) Endpoint {
	e := Endpoint{ID: r.ID, Name: r.Name, URL: r.URL, Types: r.Types, Ordered: r.Ordered, After: r.After, PublicKey: publicKey(k.seed),
		Disabled: r.DisabledWhy, DisabledAt: r.DisabledAt.Time, Health: r.health(), LastSuccessAt: r.LastSuccessAt.Time, Pending: r.Pending,
		Failed: r.FailedCount, OldestAt: r.OldestAt.Time, CreatedAt: r.CreatedAt, CreatedBy: r.CreatedBy, UpdatedAt: r.UpdatedAt, purged: r.Purged}
	if wall.Before(k.oldUntil) {
		e.OldUntil, e.OldPublicKey = k.oldUntil, publicKey(k.oldSeed)
	}
	return e
}

// readEndpoints reads one endpoint or all, with what waits for each.
func readEndpoints(ctx context.Context, q sqlx.QueryerContext, id *uuid.UUID) ([]endpointRow, error) {
	var rows []endpointRow
	err := sqlx.SelectContext(ctx, q, &rows, `
		SELECT `+endpointColumns+`,
			(SELECT count(*) FROM (SELECT 1 FROM webhook_outbox o WHERE o.endpoint_id = e.id AND o.done_at IS NULL LIMIT $2) p) AS pending,
			(SELECT count(*) FROM (SELECT 1 FROM webhook_outbox o WHERE o.endpoint_id = e.id AND o.failed LIMIT $2) f) AS failed,
			(SELECT m.at FROM webhook_outbox o JOIN webhook_messages m ON m.n = o.n
				WHERE o.endpoint_id = e.id AND o.done_at IS NULL ORDER BY o.n LIMIT 1) AS oldest_at
		FROM webhook_endpoints e
		WHERE $1::uuid IS NULL OR id = $1
		ORDER BY created_at, id`, id, MaxPending)
	if err != nil {
		return nil, fmt.Errorf("read webhook endpoints: %w", err)
	}
	return rows, nil
}

// lockEndpoint keeps an endpoint from changing. Whoever needs its queue, too, locks the endpoint first.
func lockEndpoint(ctx context.Context, tx *sqlx.Tx, id uuid.UUID) (endpointRow, error) {
	var row endpointRow
	err := tx.GetContext(ctx, &row, `SELECT `+endpointColumns+` FROM webhook_endpoints WHERE id = $1 FOR NO KEY UPDATE`, id)
	if errors.Is(err, sql.ErrNoRows) {
		return row, courier.ErrNotFound
	}
	if err != nil {
		return row, fmt.Errorf("lock webhook endpoint %s: %w", id, err)
	}
	return row, nil
}

func countEndpoints(ctx context.Context, tx *sqlx.Tx) (n int, err error) {
	err = tx.GetContext(ctx, &n, `SELECT count(*) FROM webhook_endpoints`)
	return n, err
}

func insertEndpoint(ctx context.Context, tx *sqlx.Tx, e Endpoint, k sealedKeys) error {
	_, err := tx.ExecContext(ctx, `
		INSERT INTO webhook_endpoints (id, name, url, types, ordered, after_position, secret_sealed, key_sealed, state, created_at, created_by, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'enabled', $9, $10, $9)`,
		e.ID, e.Name, e.URL, pq.Array(e.Types), e.Ordered, e.After, k.Secret, k.Seed, e.CreatedAt, e.CreatedBy)
	if err != nil {
		return fmt.Errorf("insert a webhook endpoint: %w", err)
	}
	return nil
}

func updateEndpoint(ctx context.Context, tx *sqlx.Tx, e Endpoint, k sealedKeys) error {
	_, err := tx.ExecContext(ctx, `
		UPDATE webhook_endpoints
		SET name = $2, url = $3, types = $4, ordered = $5, updated_at = $6, secret_sealed = $7, old_secret_sealed = $8, key_sealed = $9,
			old_key_sealed = $10, old_until = $11
		WHERE id = $1`, e.ID, e.Name, e.URL, pq.Array(e.Types), e.Ordered, e.UpdatedAt, k.Secret, k.OldSecret, k.Seed, k.OldSeed, k.OldUntil)
	if err != nil {
		return fmt.Errorf("update webhook endpoint %s: %w", e.ID, err)
	}
	return nil
}

// enableEndpoint lets an endpoint go on as if it had never failed: all that waits is due, with a new schedule.
func enableEndpoint(ctx context.Context, tx *sqlx.Tx, id uuid.UUID, now, wall time.Time) error {
	_, err := tx.ExecContext(ctx, `
		UPDATE webhook_endpoints
		SET state = 'enabled', disabled_why = '', disabled_at = NULL, failures = 0, failing_since = NULL, hold_until = NULL, updated_at = $2
		WHERE id = $1`, id, now)
	if err == nil {
		_, err = tx.ExecContext(ctx, `
			WITH waiting AS MATERIALIZED (
				SELECT n FROM webhook_outbox
				WHERE endpoint_id = $1 AND done_at IS NULL AND (next_attempt_at > $2 OR tries > 0)
				ORDER BY n FOR UPDATE
			)
			UPDATE webhook_outbox o SET next_attempt_at = $2, tries = 0 FROM waiting w WHERE o.endpoint_id = $1 AND o.n = w.n`, id, wall)
	}
	if err != nil {
		return fmt.Errorf("enable webhook endpoint %s: %w", id, err)
	}
	return nil
}

func disableEndpoint(ctx context.Context, tx *sqlx.Tx, id uuid.UUID, why string, wall time.Time) error {
	_, err := tx.ExecContext(ctx, `
		UPDATE webhook_endpoints SET state = 'disabled', disabled_why = $2, disabled_at = $3 WHERE id = $1 AND state = 'enabled'`, id, why, wall)
	if err != nil {
		return fmt.Errorf("disable webhook endpoint %s: %w", id, err)
	}
	return nil
}

// deleteEndpoint deletes an endpoint with its queue and tries, and tells how many messages waited.
func deleteEndpoint(ctx context.Context, tx *sqlx.Tx, id uuid.UUID) (pending int, err error) {
	err = tx.GetContext(ctx, &pending, `SELECT count(*) FROM webhook_outbox WHERE endpoint_id = $1 AND done_at IS NULL`, id)
	if err == nil {
		_, err = tx.ExecContext(ctx, `DELETE FROM webhook_endpoints WHERE id = $1`, id)
	}
	if err != nil {
		return 0, fmt.Errorf("delete webhook endpoint %s: %w", id, err)
	}
	return pending, nil
}

func listAttempts(ctx context.Context, q sqlx.QueryerContext, endpoint uuid.UUID, before int64, limit int) ([]Attempt, error) {
	var rows []struct {
		ID       int64          `db:"id"`
		Message  uuid.NullUUID  `db:"message"`
		Type     sql.NullString `db:"type"`
		Position sql.NullInt64  `db:"position"`
		Try      int            `db:"try"`
		At       time.Time      `db:"at"`
		TookMS   int            `db:"took_ms"`
		Outcome  string         `db:"outcome"`
		Status   sql.NullInt64  `db:"status"`
		Detail   string         `db:"detail"`
	}
	err := sqlx.SelectContext(ctx, q, &rows, `
		SELECT a.id, m.id AS message, m.type, m.position, a.try, a.at, a.took_ms, a.outcome, a.status, a.detail
		FROM webhook_attempts a LEFT JOIN webhook_messages m ON m.n = a.n
		WHERE a.endpoint_id = $1 AND ($2 = 0 OR a.id < $2)
		ORDER BY a.id DESC
		LIMIT $3`, endpoint, before, limit)
	if err != nil {
		return nil, fmt.Errorf("list the tries of webhook endpoint %s: %w", endpoint, err)
	}
	all := make([]Attempt, len(rows))
	for i, r := range rows {
		all[i] = Attempt{ID: r.ID, Type: r.Type.String, Position: r.Position.Int64, Try: r.Try, At: r.At,
			Took: time.Duration(r.TookMS) * time.Millisecond, Outcome: r.Outcome, Status: int(r.Status.Int64), Detail: r.Detail}
		if r.Message.Valid {
			all[i].MessageID = messageID(r.Message.UUID)
		}
	}
	return all, nil
}
