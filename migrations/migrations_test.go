package migrations

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"emsd/migrations/privatepg"
)

// server is not dbtest's, which imports this package.
var server *privatepg.Server

func TestMain(m *testing.M) {
	var err error
	if server, err = privatepg.Start(context.Background(), privatepg.Options{InMemory: true}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := server.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// database is an empty one, named for the test, also when the test runs a second time.
func database(t *testing.T) *sql.DB {
	t.Helper()
	return fresh(t, strings.ToLower(t.Name()))
}

func fresh(t *testing.T, name string) *sql.DB {
	t.Helper()
	admin := open(t, "postgres")
	for _, statement := range []string{"DROP DATABASE IF EXISTS " + name + " WITH (FORCE)", "CREATE DATABASE " + name} {
		if _, err := admin.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	return open(t, name)
}

func open(t *testing.T, name string) *sql.DB {
	t.Helper()
	db, err := sql.Open("postgres", server.DSN(name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func file(up, down string) *fstest.MapFile {
	return &fstest.MapFile{Data: []byte("-- +goose Up\n" + up + ";\n-- +goose Down\n" + down + ";\n")}
}

var (
	first = fstest.MapFS{
		"0001_a.sql": file("CREATE TABLE a (n int)", "DROP TABLE a"),
	}
	second = fstest.MapFS{
		"0001_a.sql": first["0001_a.sql"],
		"0002_b.sql": file("CREATE TABLE b (n int)", "DROP TABLE b"),
	}
)

func tables(t *testing.T, db *sql.DB) string {
	t.Helper()
	var names sql.NullString
	err := db.QueryRowContext(t.Context(), `
		SELECT string_agg(tablename, ' ' ORDER BY tablename)
		FROM pg_tables
		WHERE schemaname NOT IN ('pg_catalog', 'information_schema') AND tablename <> 'goose_db_version'`).Scan(&names)
	if err != nil {
		t.Fatal(err)
	}
	return names.String
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestDownThenUpEndsWhereItBegan(t *testing.T) {
	t.Parallel()
	ctx, db := t.Context(), database(t)
	must(t, up(ctx, db, second))
	if got := tables(t, db); got != "a b" {
		t.Errorf("tables after up = %q, want a b", got)
	}
	must(t, down(ctx, db, second, 1))
	if got := tables(t, db); got != "a" {
		t.Errorf("tables after one step down = %q, want a", got)
	}
	must(t, up(ctx, db, second))
	must(t, down(ctx, db, second, 2))
	if got := tables(t, db); got != "" {
		t.Errorf("tables after two steps down = %q, want none", got)
	}
	if err := down(ctx, db, second, 1); err == nil || !strings.Contains(err.Error(), "no migration is applied") {
		t.Errorf("down at the bottom = %v, want it refused", err)
	}
	must(t, up(ctx, db, second))
	must(t, check(ctx, db, second))
}

func TestStatusTellsWhatIsMissing(t *testing.T) {
	t.Parallel()
	ctx, db := t.Context(), database(t)
	must(t, up(ctx, db, first))
	states, err := status(ctx, db, second)
	must(t, err)
	if len(states) != 2 || states[0].Name != "0001_a.sql" || states[0].AppliedAt.IsZero() ||
		states[1].Version != 2 || !states[1].AppliedAt.IsZero() {
		t.Errorf("status = %+v, want the first applied and the second not", states)
	}
}

func TestCheckNamesTheRemedy(t *testing.T) {
	t.Parallel()
	ctx, db := t.Context(), database(t)
	err := check(ctx, db, first)
	if !errors.Is(err, ErrOlderSchema) || !strings.Contains(err.Error(), "run emsd migrate up") {
		t.Errorf("check of an empty database = %v, want ErrOlderSchema with the command", err)
	}
	if v, err := Version(ctx, db); v != 0 || err != nil {
		t.Errorf("version of an empty database = %d, %v, want 0", v, err)
	}
	var made bool
	must(t, db.QueryRowContext(ctx, `SELECT to_regclass('goose_db_version') IS NOT NULL`).Scan(&made))
	if made {
		t.Error("check made a table")
	}
	must(t, up(ctx, db, first))
	must(t, check(ctx, db, first))
	if err := check(ctx, db, second); !errors.Is(err, ErrOlderSchema) || !strings.Contains(err.Error(), "0002_b.sql") {
		t.Errorf("check with a migration missing = %v, want ErrOlderSchema that names it", err)
	}
}

func TestANewerSchemaIsLeftAlone(t *testing.T) {
	t.Parallel()
	ctx, db := t.Context(), database(t)
	must(t, up(ctx, db, second))
	for name, err := range map[string]error{
		"check": check(ctx, db, first),
		"up":    up(ctx, db, first),
		"down":  down(ctx, db, first, 1),
	} {
		if !errors.Is(err, ErrNewerSchema) || !strings.Contains(err.Error(), "database at 2, binary at 1") {
			t.Errorf("%s by an older binary = %v, want ErrNewerSchema with both versions", name, err)
		}
	}
	if got := tables(t, db); got != "a b" {
		t.Errorf("tables = %q, want a b as before", got)
	}
}

func TestAFailedMigrationLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	ctx, db := t.Context(), database(t)
	broken := fstest.MapFS{
		"0001_a.sql": first["0001_a.sql"],
		"0002_b.sql": file("CREATE TABLE b (n int); CREATE TABLE a (n int)", "DROP TABLE b"),
	}
	if err := up(ctx, db, broken); err == nil || !strings.Contains(err.Error(), "already exists") {
		t.Fatalf("up = %v, want the database's own words", err)
	}
	if got := tables(t, db); got != "a" {
		t.Errorf("tables = %q, want a: the second file is one transaction", got)
	}
	if v, err := Version(ctx, db); v != 1 || err != nil {
		t.Errorf("version = %d, %v, want 1", v, err)
	}
	must(t, up(ctx, db, second)) // the lock was given back
}

func TestManyMigrateAtOnceAndOneDoesIt(t *testing.T) {
	t.Parallel()
	db := database(t)
	// The pause makes the others meet the lock; a second run of the file would fail at CREATE TABLE.
	slow := fstest.MapFS{"0001_a.sql": file("CREATE TABLE a (n int); SELECT pg_sleep(0.3); CREATE INDEX ON a (n)", "DROP TABLE a")}
	var wg sync.WaitGroup
	for range 5 {
		own := open(t, strings.ToLower(t.Name()))
		own.SetMaxOpenConns(1) // a pool of one must not deadlock on the lock
		wg.Go(func() {
			if err := up(t.Context(), own, slow); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := tables(t, db); got != "a" {
		t.Errorf("tables = %q, want a", got)
	}
	var rows int
	must(t, db.QueryRowContext(t.Context(), `SELECT count(*) FROM goose_db_version WHERE version_id = 1`).Scan(&rows))
	if rows != 1 {
		t.Errorf("the migration is recorded %d times, want once", rows)
	}
}

func TestWaitingForTheLockEndsWithTheContext(t *testing.T) {
	t.Parallel()
	db := database(t)
	conn, err := db.Conn(t.Context())
	must(t, err)
	defer conn.Close()
	must(t, locker{}.SessionLock(t.Context(), conn))
	ctx, cancel := context.WithTimeout(t.Context(), 3*lockEvery)
	defer cancel()
	if err := up(ctx, db, first); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("up while another holds the lock = %v, want deadline exceeded", err)
	}
	must(t, locker{}.SessionUnlock(t.Context(), conn))
	must(t, up(t.Context(), db, first))
}

func TestTheRealSchemaGoesUpDownAndUpAgain(t *testing.T) {
	t.Parallel()
	ctx, db := t.Context(), database(t)
	must(t, Up(ctx, db))
	must(t, Check(ctx, db))
	made := tables(t, db)
	states, err := Status(ctx, db)
	must(t, err)
	if v, err := Version(ctx, db); v != Latest() || err != nil {
		t.Errorf("version = %d, %v, want %d", v, err, Latest())
	}
	must(t, Down(ctx, db, len(states)))
	if left := tables(t, db); left != "" {
		t.Errorf("down leaves the tables %s", left)
	}
	for what, query := range map[string]string{
		"functions": `SELECT count(*) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname IN ('public', 'inbox')`,
		"schemas":   `SELECT count(*) FROM pg_namespace WHERE nspname = 'inbox'`,
	} {
		var left int
		must(t, db.QueryRowContext(ctx, query).Scan(&left))
		if left != 0 {
			t.Errorf("down leaves %d %s", left, what)
		}
	}
	must(t, Up(ctx, db))
	if again := tables(t, db); again != made {
		t.Errorf("tables after up, down and up:\n%s\nwant\n%s", again, made)
	}
}

// Goose refuses two files of one number too, but only at run time and in its own words.
func TestFilesAreNumberedWithoutGapsOrTwins(t *testing.T) {
	t.Parallel()
	entries, err := files.ReadDir(".")
	must(t, err)
	numbered := regexp.MustCompile(`^([0-9]{4})_[a-z0-9_]+\.sql$`)
	for i, e := range entries {
		match := numbered.FindStringSubmatch(path.Base(e.Name()))
		if match == nil {
			t.Errorf("%s: want a name like 0001_init.sql", e.Name())
			continue
		}
		if want := fmt.Sprintf("%04d", i+1); match[1] != want {
			t.Errorf("%s: want the number %s", e.Name(), want)
		}
	}
	if got := Fingerprint(); len(got) != 12 || got != Fingerprint() {
		t.Errorf("fingerprint %q is not 12 stable digits", got)
	}
}

// A role is the server's, so two databases that migrate at once meet in it.
func TestTwoDatabasesOfOneServerMigrateAtOnce(t *testing.T) {
	t.Parallel()
	var wg sync.WaitGroup
	for i := range 3 {
		db := fresh(t, fmt.Sprintf("at_once_%d", i))
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := Up(ctx, db); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
