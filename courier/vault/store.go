package vault

import (
	"context"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/emmansun/gmsm/sm4"
	"github.com/jmoiron/sqlx"
)

// Purposes of data keys, and how long a key of each is.
const (
	purposeSeal   = "seal"
	purposeLookup = "lookup"
	sealSize      = sm4.BlockSize
	lookupSize    = 32
)

// keysLock is the advisory lock under which data_keys changes.
const keysLock = 0x656d7364_7661756c // "emsdvaul"

// dataKey is a row of data_keys.
type dataKey struct {
	ID      uint32 `db:"id"`
	Purpose string `db:"purpose"`
	Wrapped []byte `db:"wrapped"`
	State   string `db:"state"`
}

// Open reads the data keys. If there is no active one of a purpose it makes the first; two daemons that start on an
// empty database at once end up with the same keys. A master key that is not the one the keys were wrapped under is
// ErrOtherMaster.
func Open(ctx context.Context, db *sqlx.DB, master MasterKey, now time.Time) (*Vault, error) {
	if master.IsZero() {
		return nil, errors.New("open vault: no master key was read")
	}
	if err := makeFirstKeys(ctx, db, master, now); err != nil {
		return nil, fmt.Errorf("open vault: %w", err)
	}
	v := &Vault{db: db, master: master, rereads: newRereads()}
	v.reread = v.Refresh
	v.ring.Store(&ring{})
	if err := v.Refresh(ctx); err != nil {
		return nil, fmt.Errorf("open vault: %w", err)
	}
	return v, nil
}

// Refresh reads data_keys again, so that Seal uses the key that is active now. A scheduled round calls it; how often
// bounds how long a daemon may still seal under the key before (Rotator.Settle).
//
// Keys this process already holds stay usable even if their rows no longer open: after a change of the master key
// (Rewrap) a running daemon goes on until it is restarted with the new file.
func (v *Vault) Refresh(ctx context.Context) error {
	if v.db == nil {
		return nil
	}
	v.refreshing.Lock()
	defer v.refreshing.Unlock()
	rows, err := readKeys(ctx, v.db)
	if err != nil {
		return err
	}
	next, err := v.open(rows)
	if err != nil {
		return err
	}
	v.ring.Store(next)
	return nil
}

// open makes a ring of rows, taking from the present one what does not need unwrapping again.
func (v *Vault) open(rows []dataKey) (*ring, error) {
	had := v.ring.Load()
	r := &ring{keys: make(map[uint32]cipher.AEAD)}
	for _, row := range rows {
		switch key, known := had.keys[row.ID]; {
		case row.Purpose == purposeSeal && known:
			r.keys[row.ID] = key
		case row.Purpose == purposeSeal:
			raw, err := row.unwrap(v.master, sealSize)
			if err != nil {
				return nil, err
			}
			r.keys[row.ID] = newAEAD(raw)
		case row.State == "active" && had.lookup != nil && had.id == row.ID:
			r.lookup, r.id = had.lookup, had.id
		case row.State == "active":
			raw, err := row.unwrap(v.master, lookupSize)
			if err != nil {
				return nil, err
			}
			r.lookup, r.id = newMACKey(raw), row.ID
		}
		if row.Purpose == purposeSeal && row.State == "active" {
			r.active = row.ID
		}
	}
	if r.active == 0 || r.lookup == nil {
		return nil, errors.New("data_keys: there is no active key of a purpose")
	}
	return r, nil
}

func (k dataKey) unwrap(master MasterKey, size int) ([]byte, error) {
	raw, err := master.unwrapKey(k.ID, k.Purpose, k.Wrapped)
	if err == nil && len(raw) != size {
		err = fmt.Errorf("holds %d bytes, want %d", len(raw), size)
	}
	if err != nil {
		return nil, fmt.Errorf("data key %d (%s): %w", k.ID, k.Purpose, err)
	}
	return raw, nil
}

func readKeys(ctx context.Context, db sqlx.QueryerContext) ([]dataKey, error) {
	var rows []dataKey
	err := sqlx.SelectContext(ctx, db, &rows, `
		SELECT id, purpose, wrapped, state
		FROM data_keys
		ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("read data_keys: %w", err)
	}
	return rows, nil
}

func hasActive(rows []dataKey, purpose string) bool {
	for _, row := range rows {
		if row.Purpose == purpose && row.State == "active" {
			return true
		}
	}
	return false
}

func makeFirstKeys(ctx context.Context, db *sqlx.DB, master MasterKey, now time.Time) error {
	rows, err := readKeys(ctx, db)
	if err != nil {
		return err
	}
	if hasActive(rows, purposeSeal) && hasActive(rows, purposeLookup) {
		return nil
	}
	return changeKeys(ctx, db, func(tx *sqlx.Tx, rows []dataKey) error {
		if !hasActive(rows, purposeSeal) {
			if _, err := addKey(ctx, tx, master, purposeSeal, sealSize, now); err != nil {
				return err
			}
		}
		if hasActive(rows, purposeLookup) {
			return nil
		}
		// A second look-up key would make every row so far unfindable.
		for _, row := range rows {
			if row.Purpose == purposeLookup {
				return errors.New("data_keys: the look-up key is no longer active; nothing can replace it")
			}
		}
		_, err := addKey(ctx, tx, master, purposeLookup, lookupSize, now)
		return err
	})
}

// changeKeys runs change under the lock of data_keys, with the rows as they stand once the lock is held.
func changeKeys(ctx context.Context, db *sqlx.DB, change func(*sqlx.Tx, []dataKey) error) error {
	tx, err := db.BeginTxx(ctx, nil)
	if err != nil {
		return fmt.Errorf("change data_keys: %w", err)
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(keysLock)); err != nil {
		return fmt.Errorf("lock data_keys: %w", err)
	}
	rows, err := readKeys(ctx, tx)
	if err != nil {
		return err
	}
	if err := change(tx, rows); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("change data_keys: %w", err)
	}
	return nil
}

// addKey makes a new active key. The caller holds the lock and has seen to it that no other is active.
func addKey(ctx context.Context, tx *sqlx.Tx, master MasterKey, purpose string, size int, now time.Time) (uint32, error) {
	var id uint32
	if err := tx.GetContext(ctx, &id, `SELECT COALESCE(max(id), 0) + 1 FROM data_keys`); err != nil {
		return 0, fmt.Errorf("number a data key: %w", err)
	}
	key := make([]byte, size)
	_, _ = rand.Read(key) // never fails: it ends the process instead
	_, err := tx.ExecContext(ctx, `
		INSERT INTO data_keys (id, purpose, wrapped, state, created_at)
		VALUES ($1, $2, $3, 'active', $4)`,
		id, purpose, master.wrapKey(id, purpose, key), now)
	if err != nil {
		return 0, fmt.Errorf("store data key %d: %w", id, err)
	}
	return id, nil
}

// Rotate makes a new active data key and gives its id. Values sealed before stay readable; a Rotator re-seals them.
// Other daemons take up the new key at their next Refresh.
func (v *Vault) Rotate(ctx context.Context, now time.Time) (uint32, error) {
	if v.db == nil {
		return 0, errors.New("rotate: this vault lives on given keys and has no database")
	}
	var id uint32
	err := changeKeys(ctx, v.db, func(tx *sqlx.Tx, rows []dataKey) error {
		// A new key under a master that the others are not wrapped under would lock out every daemon.
		for _, row := range rows {
			if _, err := v.master.unwrapKey(row.ID, row.Purpose, row.Wrapped); err != nil {
				return fmt.Errorf("data key %d (%s): %w", row.ID, row.Purpose, err)
			}
		}
		_, err := tx.ExecContext(ctx, `UPDATE data_keys SET state = 'old' WHERE purpose = $1 AND state = 'active'`, purposeSeal)
		if err != nil {
			return fmt.Errorf("take the active data key out of use: %w", err)
		}
		id, err = addKey(ctx, tx, v.master, purposeSeal, sealSize, now)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("rotate: %w", err)
	}
	if err := v.Refresh(ctx); err != nil {
		return 0, fmt.Errorf("rotate: %w", err)
	}
	return id, nil
}

// Rewrap wraps every data key under another master key, all or none, and gives how many it changed. Keys that are
// already under the new one stay, so it may be run twice. Sealed values do not change. Daemons that are running go on;
// they need the new file when they are started next.
func Rewrap(ctx context.Context, db *sqlx.DB, old, new MasterKey) (int, error) {
	if old.IsZero() || new.IsZero() {
		return 0, errors.New("rewrap data keys: a master key was not read")
	}
	changed := 0
	err := changeKeys(ctx, db, func(tx *sqlx.Tx, rows []dataKey) error {
		for _, row := range rows {
			if _, err := new.unwrapKey(row.ID, row.Purpose, row.Wrapped); err == nil {
				continue
			}
			raw, err := old.unwrapKey(row.ID, row.Purpose, row.Wrapped)
			if err != nil {
				return fmt.Errorf("data key %d (%s): %w", row.ID, row.Purpose, err)
			}
			_, err = tx.ExecContext(ctx, `UPDATE data_keys SET wrapped = $2 WHERE id = $1`,
				row.ID, new.wrapKey(row.ID, row.Purpose, raw))
			if err != nil {
				return fmt.Errorf("store data key %d: %w", row.ID, err)
			}
			changed++
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("rewrap data keys: %w", err)
	}
	return changed, nil
}
