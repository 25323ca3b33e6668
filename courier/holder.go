package courier

import (
	"context"
	"time"

	"emsd/courier/vault"

	"github.com/google/uuid"
)

// A Holder is who may open the page of a delivery: the phone whose digits open it, and what decides whether it is open.
type Holder struct {
	Phone       vault.Secret
	Language    string
	Status      Status
	StatusSince time.Time
}

// HolderOf reads a delivery's holder with one statement and one unsealing, whatever else the delivery has.
func (s *Service) HolderOf(ctx context.Context, id uuid.UUID) (Holder, error) {
	row, err := readHolder(ctx, s.db, id)
	if err != nil {
		return Holder{}, err
	}
	if len(row.Phone) == 0 {
		return Holder{}, ErrNotFound // erased: nobody can open the page any more
	}
	phone, err := s.vault.Unseal(vault.ColumnPhone, id, row.Phone)
	return Holder{phone, row.Language, row.Status, row.StatusSince}, err
}
