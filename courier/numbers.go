package courier

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// numbersPerCall is the most that 020002 gives at once.
const numbersPerCall = 999

// NumberRound fills the pool of reserved waybill numbers when it is low. Replicas take turns, so that each sees what the
// others reserved.
func (o *Orderer) NumberRound(ctx context.Context) error {
	if o.opts.Numbers == NumbersAssigned {
		return nil
	}
	if err := o.refill(ctx, false); err != nil {
		return err
	}
	o.metrics.succeeded("numbers", o.clock.Wall())
	return nil
}

// refill reserves numbers up to RefillTo when fewer than LowWater are free. With need it waits for its turn and is
// content with the first answer: orders are waiting.
func (o *Orderer) refill(ctx context.Context, need bool) error {
	for low := o.opts.LowWater; ; low = o.opts.RefillTo {
		if err := ctx.Err(); err != nil {
			return err
		}
		got, err := o.reserve(ctx, low, need)
		if err != nil {
			return fmt.Errorf("reserve waybill numbers: %w", err)
		}
		if got == 0 || need {
			return nil
		}
	}
}

// reserve makes one call to 020002 and keeps what it gives. A crash in between wastes the numbers, which costs nothing.
// The transaction is open during the call only to hold the lock; it has no snapshot then.
func (o *Orderer) reserve(ctx context.Context, low int, need bool) (got int, err error) {
	err = InTx(ctx, o.db, func(tx *sqlx.Tx) error {
		turn, err := takeNumbersTurn(ctx, tx, need)
		if err != nil || !turn {
			return err
		}
		free, err := countFree(ctx, tx, o.opts.Product, o.opts.RefillTo)
		if err != nil {
			return err
		}
		o.metrics.free(free)
		if need {
			low = 1
		}
		if free >= low {
			return nil
		}
		call, cancel := context.WithTimeout(ctx, o.opts.Lease)
		defer cancel()
		numbers, err := o.carrier.ReserveNumbers(call, min(o.opts.RefillTo-free, numbersPerCall))
		if err != nil {
			return err
		}
		o.at(PointNumbersReserved)
		got, err = insertNumbers(ctx, tx, o.opts.Product, usable(numbers), o.clock.Now())
		if err == nil && got == 0 {
			return errors.New("EMS gave no number that is new")
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	if got > 0 {
		o.numbers.store(time.Time{}, uuid.Nil, "") // the new ones may lie before those last taken
	}
	return got, nil
}

// usable leaves out what cannot be a waybill number. The check digit is not looked at: not all series have one.
func usable(numbers []string) []string {
	var kept []string
	for _, n := range numbers {
		if len(n) >= 8 && len(n) <= 20 && alphanumeric(n) {
			kept = append(kept, n)
		}
	}
	return kept
}

func alphanumeric(s string) bool {
	for _, c := range s {
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}
