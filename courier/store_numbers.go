package courier

import (
	"context"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// numbersLock is the advisory lock of whoever reserves numbers.
const numbersLock = 0x656d73646e756d62 // "emsdnumb"

// takeNumbersTurn takes the lock for the transaction; without wait it reports false when another holds it.
func takeNumbersTurn(ctx context.Context, tx *sqlx.Tx, wait bool) (turn bool, err error) {
	if wait {
		_, err = tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(numbersLock))
		return true, err
	}
	err = tx.GetContext(ctx, &turn, `SELECT pg_try_advisory_xact_lock($1)`, int64(numbersLock))
	return turn, err
}

// countFree counts the free numbers of a product, but no further than enough.
func countFree(ctx context.Context, q sqlx.QueryerContext, product string, enough int) (n int, err error) {
	err = sqlx.GetContext(ctx, q, &n, `
		SELECT count(*) FROM (SELECT 1 FROM numbers WHERE state = 'free' AND product = $1 LIMIT $2) free`, product, enough)
	return n, err
}

func insertNumbers(ctx context.Context, tx *sqlx.Tx, product string, numbers []string, now time.Time) (int, error) {
	r, err := tx.ExecContext(ctx, `
		INSERT INTO numbers (waybill_no, product, state, reserved_at)
		SELECT n, $2, 'free', $3 FROM unnest($1::text[]) n ORDER BY n
		ON CONFLICT (waybill_no) DO NOTHING`, pq.Array(numbers), product, now)
	if err != nil {
		return 0, err
	}
	n, err := r.RowsAffected()
	return int(n), err
}
