package vault

import (
	"context"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// What the tests see of the inside.
var TooOpen = tooOpen

func Wrap(m MasterKey, id uint32, purpose string, key []byte) []byte {
	return m.wrapKey(id, purpose, key)
}

func Unwrap(m MasterKey, id uint32, purpose string, wrapped []byte) ([]byte, error) {
	return m.unwrapKey(id, purpose, wrapped)
}

// WithLoader is a vault without keys that reads them by load.
func WithLoader(load func(context.Context) error) *Vault {
	v := &Vault{reread: load, rereads: newRereads()}
	v.ring.Store(&ring{})
	return v
}

// Replace is one compare-and-set of the rotator on a table whose key is one uuid.
func Replace(ctx context.Context, db *sqlx.DB, c Column, id uuid.UUID, was, sealed []byte) (int64, error) {
	tx, err := db.BeginTxx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback()
	n, err := c.replace(ctx, tx, []staleValue{{key: []string{id.String()}, id: id, was: was, sealed: sealed}})
	if err != nil {
		return 0, err
	}
	return n, tx.Commit()
}
