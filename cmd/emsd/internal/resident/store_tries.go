package resident

import (
	"context"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// Tries counts guesses, for all replicas together.
type Tries struct{ db *sqlx.DB }

// NewTries returns Tries.
func NewTries(db *sqlx.DB) *Tries { return &Tries{db} }

// count adds one to each key and gives what each has now; a window that is over begins anew. Keys come in one order, so
// that two requests do not wait for each other.
func (t *Tries) count(ctx context.Context, keys [][]byte, windows []time.Duration, now time.Time) ([]int, error) {
	seconds := make([]float64, len(windows))
	for i, w := range windows {
		seconds[i] = w.Seconds()
	}
	var rows []struct {
		Key   []byte `db:"key"`
		Tries int    `db:"tries"`
	}
	err := t.db.SelectContext(ctx, &rows, `
		INSERT INTO resident_tries AS t (key, since, until, tries)
		SELECT key, $3::timestamptz, $3::timestamptz + seconds * interval '1 second', 1 FROM unnest($1::bytea[], $2::float8[]) AS k(key, seconds)
		ORDER BY key
		ON CONFLICT (key) DO UPDATE SET
			since = CASE WHEN t.until <= $3 THEN excluded.since ELSE t.since END,
			until = CASE WHEN t.until <= $3 THEN excluded.until ELSE t.until END,
			tries = CASE WHEN t.until <= $3 THEN 1 ELSE t.tries + 1 END
		RETURNING key, tries`, pq.ByteaArray(keys), pq.Array(seconds), now)
	if err != nil {
		return nil, fmt.Errorf("count a try: %w", err)
	}
	counts := make(map[string]int, len(rows))
	for _, r := range rows {
		counts[string(r.Key)] = r.Tries
	}
	tries := make([]int, len(keys))
	for i, k := range keys {
		tries[i] = counts[string(k)]
	}
	return tries, nil
}

// forgive takes the try of who gave the right digits off again.
func (t *Tries) forgive(ctx context.Context, keys [][]byte) error {
	_, err := t.db.ExecContext(ctx, `UPDATE resident_tries SET tries = greatest(tries - 1, 0) WHERE key = ANY ($1)`, pq.ByteaArray(keys))
	return err
}

// Purge forgets windows that are over.
func (t *Tries) Purge(ctx context.Context, now time.Time) error {
	_, err := t.db.ExecContext(ctx, `DELETE FROM resident_tries WHERE until <= $1`, now)
	return err
}
