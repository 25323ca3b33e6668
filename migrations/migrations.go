// Package migrations holds the schema of emsd as numbered SQL files and brings a database to it, forward and back.
//
// It is not a place for data or for queries: those stand with their packages, in files named store*.go. A file is
// never edited once it is merged; a change is a new file with the next number.
//
// The lock that keeps two migrating daemons apart belongs to a session, so migrate through a direct connection, not
// through a pooler that hands out connections per transaction.
package migrations

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"time"

	_ "github.com/lib/pq" // the driver that every caller's *sql.DB uses
	"github.com/pressly/goose/v3"
)

//go:embed *.sql
var files embed.FS

// ErrNewerSchema says that a newer emsd has migrated the database. An older binary must not touch it: it does not
// know what the columns now mean.
var ErrNewerSchema = errors.New("the schema is newer than this emsd")

// ErrOlderSchema says that migrations are missing in the database.
var ErrOlderSchema = errors.New("the schema is older than this emsd: run emsd migrate up")

// State is one migration and when it was applied; AppliedAt is zero when it was not.
type State struct {
	Version   int64
	Name      string
	AppliedAt time.Time
}

// Up applies what is missing. Any number of processes may call it at once: one migrates, the others wait for it.
func Up(ctx context.Context, db *sql.DB) error { return up(ctx, db, files) }

// Down takes back the last steps migrations, newest first, and with them the data that they hold.
func Down(ctx context.Context, db *sql.DB, steps int) error { return down(ctx, db, files, steps) }

// Status lists the migrations that this binary knows, in order.
func Status(ctx context.Context, db *sql.DB) ([]State, error) { return status(ctx, db, files) }

// Check reports whether the schema is exactly the one this binary was built for: nil, ErrOlderSchema or
// ErrNewerSchema. It changes nothing and takes no lock.
func Check(ctx context.Context, db *sql.DB) error { return check(ctx, db, files) }

// Version is the number of the newest migration applied to the database, 0 when there is none.
func Version(ctx context.Context, db *sql.DB) (int64, error) {
	have, err := applied(ctx, db)
	if err != nil || len(have) == 0 {
		return 0, err
	}
	return slices.Max(have), nil
}

// Latest is the number of the newest migration in this binary.
func Latest() int64 {
	p, err := provider(new(sql.DB), files)
	if err != nil {
		panic(err) // the embedded files are wrong; every test of this package would have shown it
	}
	return latest(p)
}

// Fingerprint is a short hash over the names and contents of all migrations: equal fingerprints give equal schemas.
func Fingerprint() string {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		panic(err) // only a malformed pattern
	}
	h := sha256.New()
	for _, name := range names {
		text, err := files.ReadFile(name)
		if err != nil {
			panic(err) // the name comes from the same file system
		}
		fmt.Fprintf(h, "%s %d\n%s", name, len(text), text)
	}
	return hex.EncodeToString(h.Sum(nil)[:6])
}

func provider(db *sql.DB, fsys fs.FS) (*goose.Provider, error) {
	p, err := goose.NewProvider(goose.DialectPostgres, db, fsys,
		goose.WithSessionLocker(locker{}),
		goose.WithLogger(goose.NopLogger()),
		goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return nil, fmt.Errorf("read the migrations: %w", err)
	}
	return p, nil
}

func latest(p *goose.Provider) int64 {
	sources := p.ListSources()
	return sources[len(sources)-1].Version
}

// up looks for a newer schema before and after, because a newer binary may have held the lock while this one waited.
func up(ctx context.Context, db *sql.DB, fsys fs.FS) error {
	if err := check(ctx, db, fsys); err != nil && !errors.Is(err, ErrOlderSchema) {
		return fmt.Errorf("migrate up: %w", err)
	}
	p, err := provider(db, fsys)
	if err != nil {
		return err
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate up: %w", err)
	}
	if err := check(ctx, db, fsys); err != nil {
		return fmt.Errorf("migrate up: %w", err)
	}
	return nil
}

func down(ctx context.Context, db *sql.DB, fsys fs.FS, steps int) error {
	p, err := provider(db, fsys)
	if err != nil {
		return err
	}
	for range steps {
		if err := check(ctx, db, fsys); errors.Is(err, ErrNewerSchema) {
			return fmt.Errorf("migrate down: %w", err)
		}
		switch _, err := p.Down(ctx); {
		case errors.Is(err, goose.ErrNoNextVersion):
			return errors.New("migrate down: no migration is applied")
		case err != nil:
			return fmt.Errorf("migrate down: %w", err)
		}
	}
	return nil
}

func status(ctx context.Context, db *sql.DB, fsys fs.FS) ([]State, error) {
	p, err := provider(db, fsys)
	if err != nil {
		return nil, err
	}
	rows, err := p.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the state of the migrations: %w", err)
	}
	states := make([]State, len(rows))
	for i, row := range rows {
		states[i] = State{Version: row.Source.Version, Name: path.Base(row.Source.Path), AppliedAt: row.AppliedAt}
	}
	return states, nil
}

func check(ctx context.Context, db *sql.DB, fsys fs.FS) error {
	p, err := provider(db, fsys)
	if err != nil {
		return err
	}
	have, err := applied(ctx, db)
	if err != nil {
		return err
	}
	newest := latest(p)
	if len(have) > 0 && slices.Max(have) > newest {
		return fmt.Errorf("%w: database at %d, binary at %d", ErrNewerSchema, slices.Max(have), newest)
	}
	for _, source := range p.ListSources() {
		if !slices.Contains(have, source.Version) {
			return fmt.Errorf("%w (%s is missing)", ErrOlderSchema, path.Base(source.Path))
		}
	}
	return nil
}

// applied reads goose's table itself, for goose would create the table just to look at it.
func applied(ctx context.Context, db *sql.DB) ([]int64, error) {
	var known bool
	err := db.QueryRowContext(ctx, `SELECT to_regclass($1) IS NOT NULL`, goose.DefaultTablename).Scan(&known)
	if err != nil {
		return nil, fmt.Errorf("look for the table of migrations: %w", err)
	}
	if !known {
		return nil, nil
	}
	rows, err := db.QueryContext(ctx, `
		SELECT version_id
		FROM goose_db_version
		WHERE is_applied AND version_id > 0`)
	if err != nil {
		return nil, fmt.Errorf("read the applied migrations: %w", err)
	}
	defer rows.Close()
	var have []int64
	for rows.Next() {
		var version int64
		if err := rows.Scan(&version); err != nil {
			return nil, fmt.Errorf("read the applied migrations: %w", err)
		}
		have = append(have, version)
	}
	return have, rows.Err()
}
