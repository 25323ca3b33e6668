package courier

import (
	"context"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"
)

// inTx is InTx for work that may meet others on the same rows: when PostgreSQL ends a transaction so that another can go
// on, it is done again from the start. f therefore keeps nothing from a run that failed.
func (s *Service) inTx(ctx context.Context, f func(tx *sqlx.Tx) error) error {
	const tries = 4
	for n := 1; ; n++ {
		err := InTx(ctx, s.db, f)
		if n == tries || pq.As(err, pqerror.TRDeadlockDetected, pqerror.TRSerializationFailure) == nil {
			return err
		}
	}
}
