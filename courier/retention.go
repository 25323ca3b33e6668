package courier

import (
	"context"
	"fmt"
	"time"

	"emsd/courier/audit"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// eraseChunk is how many deliveries one transaction of Erase takes.
const eraseChunk = 500

// Erase deletes what is kept of the recipient of each delivery that has been final since before a time and that nobody works on
// any more: no case is open, no money is owed back, no request to EMS is under way, and a returned envelope has left the shelf. It tells how many these were.
//
// Name, phone, ID number, address, delivery password, label, who picked the permit up and the hashes that find a person go; permit,
// application, waybill, money, consent, times, rule, events and the audit stay as proof (design.md, "Retention"). An audit entry
// says when, for each delivery.
func (s *Service) Erase(ctx context.Context, before time.Time) (erased int, err error) {
	var after eraseCursor
	for {
		var ids []uuid.UUID
		err := InTx(ctx, s.db, func(tx *sqlx.Tx) (err error) {
			if ids, after, err = claimErasable(ctx, tx, before, after, eraseChunk); err != nil || len(ids) == 0 {
				return err
			}
			now := s.clock.Now()
			if err := eraseDeliveries(ctx, tx, ids, now); err != nil {
				return err
			}
			entries := make([]audit.Entry, len(ids))
			for i, id := range ids {
				entries[i] = audit.Entry{At: now, Actor: "emsd", Action: "delivery.erase", Object: id.String()}
			}
			return audit.Queue(ctx, tx, entries...)
		})
		if err != nil {
			return erased, fmt.Errorf("erase what is sealed of deliveries that ended before %s: %w", before.Format(time.DateOnly), err)
		}
		if len(ids) == 0 {
			return erased, nil
		}
		erased += len(ids)
	}
}
