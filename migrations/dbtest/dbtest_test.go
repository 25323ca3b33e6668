package dbtest_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"emsd/migrations"
	"emsd/migrations/dbtest"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// childEnv makes this binary open one database on the server it is given: see TestManyBinariesMakeOneTemplate.
const childEnv = "EMSD_DBTEST_CHILD"

func TestMain(m *testing.M) { dbtest.Main(m) }

func count(t *testing.T, db *sqlx.DB, query string, args ...any) int {
	t.Helper()
	var n int
	if err := db.GetContext(t.Context(), &n, query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

func TestADatabaseIsMigratedAndPinned(t *testing.T) {
	t.Parallel()
	db := dbtest.Open(t)
	if err := migrations.Check(t.Context(), db.DB); err != nil {
		t.Error(err)
	}
	var cost string
	if err := db.GetContext(t.Context(), &cost, "SHOW random_page_cost"); err != nil || cost != "1.1" {
		t.Errorf("random_page_cost = %q, %v, want 1.1 as in the daemon", cost, err)
	}
}

// Everything that leaks between schemas of one database: rows, the exchange schema, advisory locks, notifications.
func TestTestsDoNotMeet(t *testing.T) {
	t.Parallel()
	dsn := dbtest.DSN(t)
	a, b := open(t, dsn), dbtest.Open(t)

	if _, err := a.ExecContext(t.Context(), `INSERT INTO inbox.approved_permits (permit_no) VALUES ('A1')`); err != nil {
		t.Fatal(err)
	}
	if n := count(t, b, `SELECT count(*) FROM inbox.approved_permits`); n != 0 {
		t.Errorf("%d rows of another test, want 0", n)
	}
	for _, db := range []*sqlx.DB{a, b} {
		conn, err := db.Connx(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		var locked bool
		if err := conn.GetContext(t.Context(), &locked, `SELECT pg_try_advisory_lock(1)`); err != nil || !locked {
			t.Errorf("advisory lock = %v, %v, want it free in each database", locked, err)
		}
	}
	listener := pq.NewListener(dsn, time.Second, time.Second, nil)
	defer listener.Close()
	if err := listener.Listen("news"); err != nil {
		t.Fatal(err)
	}
	for db, news := range map[*sqlx.DB]string{b: "foreign", a: "own"} {
		if _, err := db.ExecContext(t.Context(), `SELECT pg_notify('news', $1)`, news); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case n := <-listener.Notify:
		if n == nil || n.Extra != "own" {
			t.Errorf("first news = %+v, want our own", n)
		}
	case <-time.After(10 * time.Second):
		t.Error("no news within 10 s")
	}
}

func open(t *testing.T, dsn string) *sqlx.DB {
	t.Helper()
	db, err := sqlx.Connect("postgres", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func TestADatabaseIsDroppedWithItsSessions(t *testing.T) {
	t.Parallel()
	var left *sqlx.DB
	var name string
	if !t.Run("a test that forgets to close", func(t *testing.T) {
		db, err := sqlx.Connect("postgres", dbtest.DSN(t))
		if err != nil {
			t.Fatal(err)
		}
		left = db
		if err := db.GetContext(t.Context(), &name, `SELECT current_database()`); err != nil {
			t.Fatal(err)
		}
	}) {
		return
	}
	defer left.Close()
	db := dbtest.Open(t)
	if n := count(t, db, `SELECT count(*) FROM pg_database WHERE datname = $1`, name); n != 0 {
		t.Errorf("database %s is still there", name)
	}
}

func TestManyBinariesMakeOneTemplate(t *testing.T) {
	t.Parallel()
	if os.Getenv(childEnv) != "" {
		dbtest.Open(t)
		return
	}
	pg, dsn := dbtest.Private(t, nil)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			child := exec.CommandContext(ctx, os.Args[0], "-test.run=^"+t.Name()+"$")
			child.Env = append(os.Environ(), childEnv+"=1", dbtest.URLEnv+"="+pg.DSN("postgres"))
			if out, err := child.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	wg.Wait()
	db := open(t, dsn)
	var names []string
	if err := db.SelectContext(t.Context(), &names, `SELECT datname FROM pg_database WHERE datname LIKE 'emsd%'`); err != nil {
		t.Fatal(err)
	}
	if want := "emsd_template_" + migrations.Fingerprint(); len(names) != 1 || names[0] != want {
		t.Errorf("databases left: %s, want only %s", strings.Join(names, " "), want)
	}
}

func TestPrivateSurvivesACrash(t *testing.T) {
	t.Parallel()
	pg, dsn := dbtest.Private(t, map[string]string{"max_connections": "31"})
	if err := pg.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := pg.StartAgain(t.Context()); err != nil {
		t.Fatal(err)
	}
	db := open(t, dsn)
	if err := migrations.Check(t.Context(), db.DB); err != nil {
		t.Error(err)
	}
	if n := count(t, db, `SELECT current_setting('max_connections')::int`); n != 31 {
		t.Errorf("max_connections = %d, want 31 as asked", n)
	}
}

// BenchmarkDatabase is what each test pays: a database made, one session opened, the database dropped.
func BenchmarkDatabase(b *testing.B) {
	for b.Loop() {
		if err := dbtest.Once(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
