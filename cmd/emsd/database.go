package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
)

// sessionOptions hold for every connection of the daemon. random_page_cost: on a young table the planner otherwise
// takes UPDATE … FROM unnest for a hash over a sequential scan (3.2 s against 2.7 ms per batch). jit: of a table that grows the
// planner expects more rows than a chunk touches, and compiles for 20 ms what then runs for 2. The idle timeout is
// the lease of a poll round that keeps row locks while it asks: when its machine vanishes without a word, they are
// free after that long.
const sessionOptions = "-c random_page_cost=1.1 -c jit=off -c idle_in_transaction_session_timeout=120000 -c TimeZone=UTC"

// openDatabase connects and waits for the first answer.
func openDatabase(ctx context.Context, dsn string, pool int) (*sqlx.DB, error) {
	full, err := withSession(dsn)
	if err != nil {
		return nil, err
	}
	db, err := sqlx.Open("postgres", full)
	if err != nil {
		return nil, fmt.Errorf("EMSD_DATABASE_URL: not a connection string that can be read")
	}
	db.SetMaxOpenConns(pool)
	db.SetMaxIdleConns(pool)
	db.SetConnMaxIdleTime(5 * time.Minute)
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := db.PingContext(ctx); err != nil {
		db.Close()
		return nil, fmt.Errorf("database: %w", err)
	}
	return db, nil
}

// withSession adds the session options to a connection string of either form.
func withSession(dsn string) (string, error) {
	if !strings.HasPrefix(dsn, "postgres://") && !strings.HasPrefix(dsn, "postgresql://") {
		return dsn + " application_name=emsd options='" + sessionOptions + "'", nil
	}
	u, err := url.Parse(dsn)
	if err != nil {
		return "", fmt.Errorf("EMSD_DATABASE_URL: not a URL that can be read") // the text may hold the password
	}
	q := u.Query()
	q.Set("options", strings.TrimSpace(q.Get("options")+" "+sessionOptions))
	if q.Get("application_name") == "" {
		q.Set("application_name", "emsd")
	}
	u.RawQuery = q.Encode()
	return u.String(), nil
}
