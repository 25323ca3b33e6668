package courier

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"
)

// A Handle is the database, or the transaction of it that work is to be a part of.
type Handle struct {
	db *sqlx.DB
	tx *sqlx.Tx // nil: none is open
}

// HandleOf returns a handle of the database.
func HandleOf(db *sqlx.DB) Handle { return Handle{db: db} }

// InTx is the function InTx for work that may meet others on the same rows: when PostgreSQL ends a transaction so that
// another can go on, it is done again from the start. f therefore keeps nothing from a run that failed. Where a
// transaction is open f is a part of it, which is undone alone when f fails.
func (h Handle) InTx(ctx context.Context, f func(tx *sqlx.Tx) error) error {
	if h.tx != nil {
		return part(ctx, h.tx, f)
	}
	const tries = 4
	for n := 1; ; n++ {
		err := InTx(ctx, h.db, f)
		if n == tries || pq.As(err, pqerror.TRDeadlockDetected, pqerror.TRSerializationFailure) == nil {
			return err
		}
	}
}

// Q is where questions are put: the open transaction, or the database.
func (h Handle) Q() sqlx.QueryerContext {
	if h.tx != nil {
		return h.tx
	}
	return h.db
}

// part runs f so that its failure undoes what it did and leaves the transaction usable.
func part(ctx context.Context, tx *sqlx.Tx, f func(tx *sqlx.Tx) error) error {
	if _, err := tx.ExecContext(ctx, `SAVEPOINT part`); err != nil {
		return err
	}
	if err := f(tx); err != nil {
		if _, undone := tx.ExecContext(context.WithoutCancel(ctx), `ROLLBACK TO SAVEPOINT part`); undone != nil {
			return fmt.Errorf("%w; undo it: %w", err, undone)
		}
		return err
	}
	_, err := tx.ExecContext(ctx, `RELEASE SAVEPOINT part`)
	return err
}

// Handle lets services of other packages be a part of the transaction of Together.
func (s *Service) Handle() Handle { return Handle{s.db, s.tx} }

func (s *Service) inTx(ctx context.Context, f func(tx *sqlx.Tx) error) error {
	return s.Handle().InTx(ctx, f)
}

func (s *Service) q() sqlx.QueryerContext { return s.Handle().Q() }

// Together runs f with a Service of which everything is one transaction: what it does, what it reads afterwards, and the
// answer that is stored under the request's key. f may run again from the start, as in Handle.InTx.
func (s *Service) Together(ctx context.Context, f func(*Service) error) error {
	return s.inTx(ctx, func(tx *sqlx.Tx) error {
		bound := *s
		bound.tx = tx
		return f(&bound)
	})
}

// LockVersion keeps a delivery from changing until the end of Together, and gives the number of its last event: with
// every change that somebody could overlook it grows (I-8).
func (s *Service) LockVersion(ctx context.Context, id uuid.UUID) (int, error) {
	rows, err := lockDeliveries(ctx, s.tx, []uuid.UUID{id})
	if err != nil {
		return 0, err
	}
	if rows[id] == nil {
		return 0, ErrNotFound
	}
	return rows[id].Seq, nil
}

// LockCase keeps a case from changing until the end of Together, and gives it as it stands.
func (s *Service) LockCase(ctx context.Context, id uuid.UUID) (Case, error) {
	c, _, err := lockCase(ctx, s.tx, id)
	return c, err
}
