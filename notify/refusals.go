package notify

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"emsd/courier"
	"emsd/courier/audit"
	"emsd/courier/vault"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// Refusals are the numbers that want no messages: the do-not-send list. Numbers go in and are compared; none comes out.
type Refusals struct {
	on    courier.Handle
	vault *vault.Vault
}

// NewRefusals returns the list.
func NewRefusals(db *sqlx.DB, v *vault.Vault) *Refusals { return &Refusals{courier.HandleOf(db), v} }

// On returns the list for work on another handle: as a part of the transaction that is open there.
func (r *Refusals) On(h courier.Handle) *Refusals { return &Refusals{h, r.vault} }

// refusalSources say how a refusal reached us.
var refusalSources = []string{"reply", "wrong_person", "clerk"}

// A Refusal is one entry, without its number.
type Refusal struct {
	ID     uuid.UUID `db:"id"`
	Source string    `db:"source"` // reply, wrong_person or clerk
	Since  time.Time `db:"since"`
	By     string    `db:"by"`
	Why    string    `db:"why"`

	LiftedAt  *time.Time `db:"lifted_at"`
	LiftedBy  string     `db:"lifted_by"`
	LiftedWhy string     `db:"lifted_why"`
}

// Add stops a number at once; false: it was stopped already. Messages that are at a gateway this moment still go.
func (r *Refusals) Add(ctx context.Context, phone vault.Secret, why Refusal) (added bool, err error) {
	lookup, err := r.lookup(phone)
	if err != nil {
		return false, err
	}
	switch {
	case !slices.Contains(refusalSources, why.Source):
		return false, fmt.Errorf("stop a number: source %q is none of %s", why.Source, strings.Join(refusalSources, ", "))
	case why.By == "" || why.Why == "":
		return false, fmt.Errorf("stop a number: who stops it and why is wanted")
	}
	why.ID = uuid.Must(uuid.NewV7())
	err = r.on.InTx(ctx, func(tx *sqlx.Tx) error {
		if added, err = insertRefusal(ctx, tx, lookup, why); err != nil || !added {
			return err
		}
		return audit.Append(ctx, tx, audit.Entry{At: why.Since, Actor: why.By, Action: "do_not_send.add", Object: why.ID.String(),
			Detail: map[string]string{"source": why.Source, "why": why.Why}})
	})
	if err != nil {
		return false, fmt.Errorf("stop a number: %w", err)
	}
	return added, nil
}

// Lift lets a number have messages again; false: it was not stopped.
func (r *Refusals) Lift(ctx context.Context, phone vault.Secret, by, why string, now time.Time) (lifted bool, err error) {
	lookup, err := r.lookup(phone)
	if err != nil {
		return false, err
	}
	if by == "" || why == "" {
		return false, fmt.Errorf("lift a refusal: who lifts it and why is wanted")
	}
	err = r.on.InTx(ctx, func(tx *sqlx.Tx) error {
		id, err := liftRefusal(ctx, tx, lookup, by, why, now)
		if lifted = id != uuid.Nil; err != nil || !lifted {
			return err
		}
		return audit.Append(ctx, tx, audit.Entry{At: now, Actor: by, Action: "do_not_send.lift", Object: id.String(), Detail: map[string]string{"why": why}})
	})
	if err != nil {
		return false, fmt.Errorf("lift a refusal: %w", err)
	}
	return lifted, nil
}

// Has reports whether a number is stopped.
func (r *Refusals) Has(ctx context.Context, phone vault.Secret) (bool, error) {
	lookup, err := r.lookup(phone)
	if err != nil {
		return false, err
	}
	return hasRefusal(ctx, r.on.Q(), lookup)
}

// All lists the entries, the lifted ones too, oldest first.
func (r *Refusals) All(ctx context.Context) ([]Refusal, error) { return listRefusals(ctx, r.on.Q()) }

// lookup is the keyed hash under which deliveries keep the number.
func (r *Refusals) lookup(phone vault.Secret) ([]byte, error) {
	digits, ok := MobileOf(phone.Reveal())
	if !ok {
		return nil, fmt.Errorf("a mainland mobile number of 11 digits is wanted")
	}
	return r.vault.Lookup(vault.ColumnPhone, digits), nil
}
