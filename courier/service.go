package courier

import (
	"context"

	"emsd/courier/vault"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"
)

// Options of a Service; zero values take the default given here.
type Options struct {
	PaymentMethods []string // allowed of prepaid and collect; both
	WeightG        int      // of an envelope, grams; 80
}

// A Service takes in permits and money, answers questions and carries out what people ask for. It calls nobody
// outside: rounds do that.
type Service struct {
	db    *sqlx.DB
	vault *vault.Vault
	clock Clock
	opts  Options
}

// New returns a Service; it starts nothing.
func New(db *sqlx.DB, v *vault.Vault, clock Clock, opts Options) *Service {
	if len(opts.PaymentMethods) == 0 {
		opts.PaymentMethods = []string{Prepaid, Collect}
	}
	if opts.WeightG == 0 {
		opts.WeightG = 80
	}
	return &Service{db, v, clock, opts}
}

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
