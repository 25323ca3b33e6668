package courier

import (
	"emsd/courier/vault"

	"github.com/jmoiron/sqlx"
)

// Options of a Service; zero values take the default given here.
type Options struct {
	PaymentMethods []string // allowed of prepaid and collect; both
	WeightG        int      // of an envelope, grams; 80
	Interventions  bool     // EMS takes interventions by interface (SPEC 5.27); otherwise a clerk telephones
	RetainDays     int      // that a returned envelope is kept, calendar days; 30
}

// A Service takes in permits and money, answers questions and carries out what people ask for. It calls nobody
// outside: rounds do that.
type Service struct {
	db    *sqlx.DB
	tx    *sqlx.Tx // of Together; nil outside
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
	if opts.RetainDays == 0 {
		opts.RetainDays = retainDays
	}
	return &Service{db: db, vault: v, clock: clock, opts: opts}
}
