// Package dbtest gives each test a migrated PostgreSQL database of its own, empty but for what the migrations put in.
//
// It is a database and not a schema in a shared one, because the exchange schema inbox, advisory locks and NOTIFY
// channels are things of a whole database: tests that shared one would take each other's locks and wake each other's
// listeners. Roles belong to the whole server; a test must not depend on their being absent.
//
// The server is the one that EMSD_TEST_DATABASE_URL names (scripts/test.sh starts one for a whole run), else a private
// one that lives as long as the test binary. It is for tests only and fails them when no server can be had: a test
// that is skipped proves nothing.
package dbtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"emsd/migrations"
	"emsd/migrations/privatepg"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// URLEnv names the environment variable with the address of a running server, as a superuser sees it.
const URLEnv = "EMSD_TEST_DATABASE_URL"

// maxConns is what one test may open. With 200 on the server and a handful of tests at a time that is plenty.
const maxConns = 20

// timeout bounds each piece of work on the server, so that a lock gone wrong fails one test and not the run.
const timeout = 2 * time.Minute

// Open is a pool on a database that only this test uses. It is closed, and the database dropped, when the test ends.
func Open(t testing.TB) *sqlx.DB {
	t.Helper()
	return connect(t, DSN(t))
}

// DSN is the address of a database that only this test uses, for tests that start daemons or open pools of their own.
// Sessions left open at the end of the test are cut off.
func DSN(t testing.TB) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), timeout)
	defer cancel()
	s, err := running(ctx)
	if err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	name := "emsd_test_" + strings.ToLower(rand.Text()[:16])
	if err := s.clone(ctx, name); err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		if err := s.drop(ctx, name); err != nil {
			t.Errorf("dbtest: %v", err)
		}
	})
	return s.dsn(name)
}

// Private is a server for one test alone, with the address of a migrated database on it: for tests that kill or restart
// PostgreSQL. It takes about a second; where Open will do, use that.
func Private(t testing.TB, settings map[string]string) (*privatepg.Server, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), timeout)
	defer cancel()
	pg, err := privatepg.Start(ctx, privatepg.Options{InMemory: true, Settings: settings})
	if err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	t.Cleanup(func() {
		if err := pg.Stop(); err != nil {
			t.Errorf("dbtest: %v", err)
		}
	})
	dsn := pinned(pg.DSN("postgres"), "postgres")
	if err := migrate(ctx, dsn); err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	return pg, dsn
}

// Main runs the tests of a package and stops its server in order: func TestMain(m *testing.M) { dbtest.Main(m) }.
// It is a courtesy: without it the server ends with the test binary all the same, a moment later.
func Main(m *testing.M, after ...func() error) {
	code := m.Run()
	for _, end := range append(after, stop) {
		if err := end(); err != nil {
			fmt.Fprintln(os.Stderr, "dbtest:", err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

// server is where this test binary has its databases.
type server struct {
	admin    *sqlx.DB
	dsn      func(dbname string) string
	template string
	own      *privatepg.Server // nil when EMSD_TEST_DATABASE_URL names it
}

var shared struct {
	sync.Mutex
	server *server
	err    error // a server that did not start once is not tried again by every test
}

func running(ctx context.Context) (*server, error) {
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil && shared.err == nil {
		shared.server, shared.err = begin(ctx)
	}
	return shared.server, shared.err
}

func stop() error {
	shared.Lock()
	defer shared.Unlock()
	s := shared.server
	shared.server, shared.err = nil, nil
	if s == nil {
		return nil
	}
	return s.close()
}

func begin(ctx context.Context) (*server, error) {
	s := &server{template: "emsd_template_" + migrations.Fingerprint()}
	address := os.Getenv(URLEnv)
	if address == "" {
		pg, err := privatepg.Start(ctx, privatepg.Options{InMemory: true})
		if err != nil {
			return nil, err
		}
		s.own, address = pg, pg.DSN("postgres")
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New(URLEnv + " is not a URL") // not err: it would quote the password
	}
	s.dsn = func(dbname string) string { return pinned(u.String(), dbname) }
	s.admin, err = sqlx.Open("postgres", u.String())
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	s.admin.SetMaxOpenConns(4)
	if err := s.makeTemplate(ctx); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *server) close() error {
	var err error
	if s.admin != nil {
		err = s.admin.Close()
	}
	if s.own != nil {
		err = errors.Join(err, s.own.Stop())
	}
	return err
}

// pinned is the address of another database on the same server, with the planner settings that the daemon pins for
// its sessions: tests meet the plans of production, on tables that were never analyzed.
func pinned(address, dbname string) string {
	u, err := url.Parse(address)
	if err != nil {
		panic(err) // begin has parsed it before
	}
	u.Path = "/" + dbname
	q := u.Query()
	q.Set("options", "-c random_page_cost=1.1 -c jit=off")
	u.RawQuery = strings.ReplaceAll(q.Encode(), "+", "%20")
	return u.String()
}

// makeTemplate migrates one database, which all others are copied from. Many test binaries ask for it at once.
func (s *server) makeTemplate(ctx context.Context) error {
	conn, err := s.admin.Connx(ctx)
	if err != nil {
		return fmt.Errorf("connect to the test server: %w", err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, `SELECT pg_advisory_lock(hashtext($1))`, s.template); err != nil {
		return fmt.Errorf("lock %s: %w", s.template, err)
	}
	defer conn.ExecContext(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock(hashtext($1))`, s.template)
	var finished bool
	err = conn.GetContext(ctx, &finished, `
		SELECT EXISTS (
			SELECT 1
			FROM pg_database
			WHERE datname = $1 AND datistemplate)`, s.template)
	if err != nil || finished {
		return err
	}
	// What is there now was left by a binary that was killed while it migrated.
	for _, statement := range []string{
		`DROP DATABASE IF EXISTS ` + pq.QuoteIdentifier(s.template) + ` WITH (FORCE)`,
		`CREATE DATABASE ` + pq.QuoteIdentifier(s.template) + ` TEMPLATE template0`,
	} {
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("make %s: %w", s.template, err)
		}
	}
	if err := migrate(ctx, s.dsn(s.template)); err != nil {
		return err
	}
	// No connections: one open session would keep CREATE DATABASE from copying.
	_, err = conn.ExecContext(ctx, `ALTER DATABASE `+pq.QuoteIdentifier(s.template)+` WITH IS_TEMPLATE true ALLOW_CONNECTIONS false`)
	if err != nil {
		return fmt.Errorf("make %s: %w", s.template, err)
	}
	return nil
}

func migrate(ctx context.Context, dsn string) error {
	db, err := sqlx.Open("postgres", dsn)
	if err != nil {
		return err
	}
	return errors.Join(migrations.Up(ctx, db.DB), db.Close())
}

// clone copies the template by way of the log, PostgreSQL's own choice since 15. STRATEGY file_copy is no faster in
// memory (19 ms against 19), and on a disk its checkpoints hold up every other test.
func (s *server) clone(ctx context.Context, name string) error {
	statement := `CREATE DATABASE ` + pq.QuoteIdentifier(name) + ` TEMPLATE ` + pq.QuoteIdentifier(s.template)
	if _, err := s.admin.ExecContext(ctx, statement); err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	return nil
}

func (s *server) drop(ctx context.Context, name string) error {
	if _, err := s.admin.ExecContext(ctx, `DROP DATABASE IF EXISTS `+pq.QuoteIdentifier(name)+` WITH (FORCE)`); err != nil {
		return fmt.Errorf("drop %s: %w", name, err)
	}
	return nil
}

func connect(t testing.TB, dsn string) *sqlx.DB {
	t.Helper()
	db, err := sqlx.Open("postgres", dsn)
	if err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	db.SetMaxOpenConns(maxConns)
	db.SetMaxIdleConns(maxConns)
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("dbtest: close the pool: %v", err)
		}
	})
	return db
}
