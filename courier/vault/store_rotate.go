package vault

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"
)

// settle is how long after Rotate the old keys are kept in use when Rotator.Settle is not set.
const settle = 10 * time.Minute

// A Rotator re-seals every value that is not under the active data key, beside the daemons' work: in chunks, each a
// short transaction that also stores how far it came (key_rotations). It may be stopped at any moment and run again,
// and two may run at once: they take turns.
type Rotator struct {
	Vault   *Vault
	Columns []Column // nil: Columns
	Log     *slog.Logger

	// Settle is how long after Rotate the old keys may still be in use by a daemon that has not come to its Refresh.
	// Only then is it checked that no value is left under them. It must be longer than the interval of Refresh; zero
	// is ten minutes.
	Settle time.Duration

	// Progress, if set, is called after each chunk: for a progress bar, and for tests that stop half way.
	Progress func(column string, resealed int64)
}

// A Rotation says how far re-sealing has come.
type Rotation struct {
	Key        uint32 // the active key, under which everything is to be
	Resealed   int64  // values this round re-sealed
	Unreadable int    // values that do not open; they stay as they are and keep the old keys in use
	Retired    int    // keys this round retired: nothing is sealed under them any more
	Done       bool   // no key is old
	SettlesAt  time.Time
}

// Round goes on with the rotation until it is done, ctx ends or it has to wait for Settle (SettlesAt is then set). With
// no old key it does nothing. now is the clock that Rotate was given.
func (r *Rotator) Round(ctx context.Context, now time.Time) (Rotation, error) {
	if r.Vault.db == nil {
		return Rotation{}, errors.New("re-seal: this vault lives on given keys and has no database")
	}
	if err := r.Vault.Refresh(ctx); err != nil {
		return Rotation{}, fmt.Errorf("re-seal: %w", err)
	}
	made, old, err := r.keys(ctx)
	if err != nil {
		return Rotation{}, fmt.Errorf("re-seal: %w", err)
	}
	rot := Rotation{Key: r.Vault.ActiveKey(), Done: old == 0}
	if rot.Done {
		return rot, nil
	}
	if rot.Resealed, err = r.pass(ctx, rot.Key, now); err != nil {
		return rot, fmt.Errorf("re-seal under data key %d: %w", rot.Key, err)
	}
	if at := made.Add(r.settle()); now.Before(at) {
		rot.SettlesAt = at
		return rot, nil
	}
	clean, err := r.sweep(ctx, now, &rot)
	if err != nil {
		return rot, fmt.Errorf("check that all is under data key %d: %w", rot.Key, err)
	}
	if !clean {
		return rot, nil
	}
	if rot.Retired, err = r.retire(ctx, rot.Key, now); err != nil {
		return rot, err
	}
	rot.Done = true
	return rot, nil
}

func (r *Rotator) settle() time.Duration {
	if r.Settle > 0 {
		return r.Settle
	}
	return settle
}

func (r *Rotator) columns() []Column {
	if r.Columns != nil {
		return r.Columns
	}
	return Columns
}

// pass walks each column once, from where the last round stopped.
func (r *Rotator) pass(ctx context.Context, key uint32, now time.Time) (int64, error) {
	var total int64
	for _, c := range r.columns() {
		for done := false; !done; {
			var n int64
			var err error
			if n, done, err = r.chunk(ctx, key, c, now); err != nil {
				return total, fmt.Errorf("%s: %w", c.Name, err)
			}
			total += n
			if r.Progress != nil && n > 0 {
				r.Progress(c.Name, n)
			}
		}
	}
	return total, nil
}

// chunk tries again when PostgreSQL broke a deadlock with one of the daemons' rounds by giving up on us.
func (r *Rotator) chunk(ctx context.Context, key uint32, c Column, now time.Time) (n int64, done bool, err error) {
	if err := r.current(ctx, key); err != nil {
		return 0, false, err
	}
	for range 5 {
		n, done, err = r.reseal(ctx, key, c, now)
		if !isDeadlock(err) {
			break
		}
	}
	return n, done, err
}

var errOtherActive = errors.New("another data key became active; run again")

// current reads data_keys again: a round takes hours on a large database, in which this process must not miss the next
// rotation, neither for its own work nor for what else it seals.
func (r *Rotator) current(ctx context.Context, key uint32) error {
	if err := r.Vault.Refresh(ctx); err != nil {
		return err
	}
	if r.Vault.ActiveKey() != key {
		return errOtherActive
	}
	return nil
}

func isDeadlock(err error) bool {
	return err != nil && (pq.As(err, pqerror.TRDeadlockDetected) != nil || pq.As(err, pqerror.TRSerializationFailure) != nil)
}

// reseal is one transaction. It holds the column's row of key_rotations, so that two rotators take turns.
func (r *Rotator) reseal(ctx context.Context, key uint32, c Column, now time.Time) (n int64, done bool, err error) {
	tx, err := r.Vault.db.BeginTxx(ctx, nil)
	if err != nil {
		return 0, false, err
	}
	defer tx.Rollback()
	// The planner knows nothing of the chunk's size, and a table without statistics looks small to it: it would read the
	// table whole for every chunk.
	_, err = tx.ExecContext(ctx, `SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off`)
	if err != nil {
		return 0, false, fmt.Errorf("plan a chunk: %w", err)
	}
	after, done, err := position(ctx, tx, key, c)
	if err != nil || done {
		return 0, done, err
	}
	rows, last, read, err := c.stale(ctx, tx, key, after)
	if err != nil {
		return 0, false, err
	}
	var todo []staleValue
	for _, row := range rows {
		plain, err := r.Vault.UnsealBytes(c.Name, row.id, row.was)
		if err != nil {
			r.warn(ctx, err)
			continue
		}
		row.sealed = r.Vault.SealBytes(c.Name, row.id, plain)
		if id, _ := KeyID(row.sealed); id != key {
			return 0, false, errOtherActive
		}
		todo = append(todo, row)
	}
	if n, err = c.replace(ctx, tx, todo); err != nil {
		return 0, false, err
	}
	done = read < c.Chunk
	if err := advance(ctx, tx, key, c, last, n, done, now); err != nil {
		return 0, false, err
	}
	return n, done, tx.Commit()
}

func (r *Rotator) warn(ctx context.Context, err error) {
	e, ok := errors.AsType[*SealError](err)
	if !ok || r.Log == nil {
		return
	}
	r.Log.ErrorContext(ctx, "a sealed value does not open and stays under its key",
		"column", e.Column, "row", e.Row.String(), "reason", e.Reason)
}

// sweep looks whether anything is still under an old key, and sends what a daemon sealed so in the meantime through
// another pass; twice, for a daemon that keeps doing it never comes to its Refresh and needs a person. Values that do
// not open are counted: another pass would not mend them.
func (r *Rotator) sweep(ctx context.Context, now time.Time, rot *Rotation) (clean bool, err error) {
	for range 3 {
		again := false
		rot.Unreadable = 0
		for _, c := range r.columns() {
			opens, broken, err := r.left(ctx, rot.Key, c)
			if err != nil {
				return false, fmt.Errorf("%s: %w", c.Name, err)
			}
			rot.Unreadable += broken
			if !opens {
				continue
			}
			again = true
			if err := restart(ctx, r.Vault.db, rot.Key, c); err != nil {
				return false, fmt.Errorf("%s: %w", c.Name, err)
			}
		}
		if !again {
			return rot.Unreadable == 0, nil
		}
		n, err := r.pass(ctx, rot.Key, now)
		rot.Resealed += n
		if err != nil {
			return false, err
		}
	}
	return false, nil
}

// left reads a column to its end, in short statements lest a long one hold back vacuum.
func (r *Rotator) left(ctx context.Context, key uint32, c Column) (opens bool, broken int, err error) {
	after := ""
	for {
		if err := r.current(ctx, key); err != nil {
			return false, broken, err
		}
		rows, last, read, err := c.stale(ctx, r.Vault.db, key, after)
		if err != nil {
			return false, broken, err
		}
		for _, row := range rows {
			if _, err := r.Vault.UnsealBytes(c.Name, row.id, row.was); err == nil {
				return true, broken, nil
			}
			broken++
		}
		if read < c.Chunk {
			return false, broken, nil
		}
		after = last
	}
}

// keys tells when the active key was made, and how many old ones there are.
func (r *Rotator) keys(ctx context.Context) (made time.Time, old int, err error) {
	var row struct {
		Made time.Time `db:"made"`
		Old  int       `db:"old"`
	}
	err = r.Vault.db.GetContext(ctx, &row, `
		SELECT max(created_at) FILTER (WHERE state = 'active') AS made, count(*) FILTER (WHERE state = 'old') AS old
		FROM data_keys
		WHERE purpose = $1`, purposeSeal)
	if err != nil {
		return time.Time{}, 0, fmt.Errorf("read data_keys: %w", err)
	}
	return row.Made, row.Old, nil
}

// retire marks the old keys, if the key that everything was moved to is still the active one. They are kept: a backup
// that is restored is sealed under them.
func (r *Rotator) retire(ctx context.Context, key uint32, now time.Time) (int, error) {
	retired := 0
	err := changeKeys(ctx, r.Vault.db, func(tx *sqlx.Tx, rows []dataKey) error {
		for _, row := range rows {
			if row.Purpose == purposeSeal && row.State == "active" && row.ID != key {
				return errOtherActive
			}
		}
		res, err := tx.ExecContext(ctx, `
			UPDATE data_keys SET state = 'retired', retired_at = $2 WHERE purpose = $1 AND state = 'old'`, purposeSeal, now)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		retired = int(n)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("retire data keys: %w", err)
	}
	return retired, nil
}

// position locks the column's progress and reads it, making the row at the first chunk.
func position(ctx context.Context, tx *sqlx.Tx, key uint32, c Column) (after string, done bool, err error) {
	_, err = tx.ExecContext(ctx, `
		INSERT INTO key_rotations (key_id, column_name) VALUES ($1, $2) ON CONFLICT DO NOTHING`, key, c.Name)
	if err != nil {
		return "", false, fmt.Errorf("begin progress: %w", err)
	}
	var row struct {
		After string `db:"after"`
		Done  bool   `db:"done"`
	}
	err = tx.GetContext(ctx, &row, `
		SELECT after, done_at IS NOT NULL AS done
		FROM key_rotations
		WHERE key_id = $1 AND column_name = $2
		FOR UPDATE`, key, c.Name)
	if err != nil {
		return "", false, fmt.Errorf("read progress: %w", err)
	}
	return row.After, row.Done, nil
}

func advance(ctx context.Context, tx *sqlx.Tx, key uint32, c Column, last string, n int64, done bool, now time.Time) error {
	var doneAt *time.Time
	if done {
		doneAt = &now
	}
	_, err := tx.ExecContext(ctx, `
		UPDATE key_rotations
		SET after = $3, resealed = resealed + $4, done_at = $5
		WHERE key_id = $1 AND column_name = $2`, key, c.Name, last, n, doneAt)
	if err != nil {
		return fmt.Errorf("store progress: %w", err)
	}
	return nil
}

func restart(ctx context.Context, db *sqlx.DB, key uint32, c Column) error {
	_, err := db.ExecContext(ctx, `
		UPDATE key_rotations SET after = '', done_at = NULL WHERE key_id = $1 AND column_name = $2`, key, c.Name)
	if err != nil {
		return fmt.Errorf("begin again: %w", err)
	}
	return nil
}
