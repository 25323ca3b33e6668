package notify

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"emsd/courier"
	"emsd/courier/vault"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

type addresseeRow struct {
	ID      uuid.UUID `db:"id"`
	Number  []byte    `db:"phone_lookup"`
	Name    []byte    `db:"name_sealed"`
	Phone   []byte    `db:"phone_sealed"`
	Address []byte    `db:"address_sealed"`
}

// readAddressee reads who a delivery goes to; who works for one station reads that station's only.
func readAddressee(ctx context.Context, tx *sqlx.Tx, v *vault.Vault, delivery uuid.UUID) (addressee, error) {
	var row addresseeRow
	err := tx.GetContext(ctx, &row, `
		SELECT id, phone_lookup, name_sealed, phone_sealed, address_sealed FROM deliveries
		WHERE id = $1 AND ($2 = '' OR station_code = $2)`, delivery, courier.StationOf(ctx))
	if errors.Is(err, sql.ErrNoRows) {
		return addressee{}, courier.ErrNotFound
	}
	if err != nil {
		return addressee{}, fmt.Errorf("read the recipient of %s: %w", delivery, err)
	}
	return row.open(v)
}
