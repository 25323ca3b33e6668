package vault

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// keysLock makes daemons take turns in making keys.
const keysLock = 0x6b657973 // "keys"

// Open loads the data keys, and makes the first ones in a database that has none.
func Open(ctx context.Context, db *sqlx.DB, master MasterKey, now time.Time) (*Vault, error) {
	v := &Vault{load: func(ctx context.Context) (Keys, error) { return loadKeys(ctx, db, master) }}
	err := v.Refresh(ctx)
	if errors.Is(err, errNoKeys) {
		if err = firstKeys(ctx, db, master, now); err == nil {
			err = v.Refresh(ctx)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open the vault: %w", err)
	}
	return v, nil
}

// Refresh reads the keys again: another daemon may have made a new one.
func (v *Vault) Refresh(ctx context.Context) error {
	if v.load == nil {
		return nil
	}
	k, err := v.load(ctx)
	if err != nil {
		return err
	}
	return v.use(k)
}

var errNoKeys = errors.New("the database has no data keys")

func loadKeys(ctx context.Context, db *sqlx.DB, master MasterKey) (Keys, error) {
	var rows []struct {
		ID      uint32 `db:"id"`
		Purpose string `db:"purpose"`
		Wrapped []byte `db:"wrapped"`
		State   string `db:"state"`
	}
	if err := db.SelectContext(ctx, &rows, `SELECT id, purpose, wrapped, state FROM data_keys ORDER BY id`); err != nil {
		return Keys{}, err
	}
	if len(rows) == 0 {
		return Keys{}, errNoKeys
	}
	k := Keys{Seal: map[uint32][]byte{}}
	for _, r := range rows {
		key, err := master.unwrap(r.ID, r.Purpose, r.Wrapped)
		if err != nil {
			return Keys{}, err
		}
		switch {
		case r.Purpose == "seal":
			k.Seal[r.ID] = key
			if r.State == "active" {
				k.Active = r.ID
			}
		case r.State == "active":
			k.Lookup = key
		}
	}
	return k, nil
}

// firstKeys makes a key of each purpose unless another daemon has just done so.
func firstKeys(ctx context.Context, db *sqlx.DB, master MasterKey, now time.Time) error {
	return locked(ctx, db, func(tx *sqlx.Tx) error {
		var n int
		if err := tx.GetContext(ctx, &n, `SELECT count(*) FROM data_keys`); err != nil || n > 0 {
			return err
		}
		if _, err := insertKey(ctx, tx, master, "seal", keySize, now); err != nil {
			return err
		}
		_, err := insertKey(ctx, tx, master, "lookup", 32, now)
		return err
	})
}

func insertKey(ctx context.Context, tx *sqlx.Tx, master MasterKey, purpose string, size int, now time.Time) (uint32, error) {
	var id uint32
	if err := tx.GetContext(ctx, &id, `SELECT coalesce(max(id), 0) + 1 FROM data_keys`); err != nil {
		return 0, err
	}
	key := make([]byte, size)
	rand.Read(key)
	wrapped, err := master.wrap(id, purpose, key)
	if err != nil {
		return 0, err
	}
	_, err = tx.ExecContext(ctx, `
		INSERT INTO data_keys (id, purpose, wrapped, state, created_at) VALUES ($1, $2, $3, 'active', $4)`, id, purpose, wrapped, now)
	return id, err
}

// NewKey makes a new data key and seals with it from now on; other daemons follow with their next Refresh. Values
// under the older keys still open, and Reseal moves them.
func NewKey(ctx context.Context, db *sqlx.DB, master MasterKey, now time.Time) (uint32, error) {
	var id uint32
	err := locked(ctx, db, func(tx *sqlx.Tx) error {
		if _, err := tx.ExecContext(ctx, `UPDATE data_keys SET state = 'old' WHERE purpose = 'seal' AND state = 'active'`); err != nil {
			return err
		}
		var err error
		id, err = insertKey(ctx, tx, master, "seal", keySize, now)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("make a data key: %w", err)
	}
	return id, nil
}

// Rewrap puts every data key under another master key, in one transaction. Daemons need the new file at their restart.
func Rewrap(ctx context.Context, db *sqlx.DB, from, to MasterKey) error {
	return locked(ctx, db, func(tx *sqlx.Tx) error {
		var rows []struct {
			ID      uint32 `db:"id"`
			Purpose string `db:"purpose"`
			Wrapped []byte `db:"wrapped"`
		}
		if err := tx.SelectContext(ctx, &rows, `SELECT id, purpose, wrapped FROM data_keys ORDER BY id`); err != nil {
			return err
		}
		ids, wrapped := make([]int64, len(rows)), make([][]byte, len(rows))
		for i, r := range rows {
			key, err := from.unwrap(r.ID, r.Purpose, r.Wrapped)
			if err != nil {
				return err
			}
			if wrapped[i], err = to.wrap(r.ID, r.Purpose, key); err != nil {
				return err
			}
			ids[i] = int64(r.ID)
		}
		_, err := tx.ExecContext(ctx, `
			UPDATE data_keys k SET wrapped = n.wrapped
			FROM unnest($1::integer[], $2::bytea[]) AS n(id, wrapped)
			WHERE k.id = n.id`, pq.Array(ids), pq.Array(wrapped))
		return err
	})
}

func locked(ctx context.Context, db *sqlx.DB, f func(tx *sqlx.Tx) error) error {
	tx, err := db.BeginTxx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(keysLock)); err != nil {
		return err
	}
	if err := f(tx); err != nil {
		return err
	}
	return tx.Commit()
}
