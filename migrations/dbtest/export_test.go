package dbtest

import (
	"context"
	"errors"

	"github.com/jmoiron/sqlx"
)

// Once makes a database, opens one session on it and drops it, as one test does.
func Once(ctx context.Context) error {
	s, err := running(ctx)
	if err != nil {
		return err
	}
	const name = "emsd_test_bench"
	if err := s.clone(ctx, name); err != nil {
		return err
	}
	db, err := sqlx.ConnectContext(ctx, "postgres", s.dsn(name))
	if err != nil {
		return err
	}
	return errors.Join(db.Close(), s.drop(ctx, name))
}
