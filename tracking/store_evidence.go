package tracking

import (
	"context"
	"fmt"
	"time"

	"emsd/courier/vault"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// keepAnswers stores the answers of a chunk that told something new.
func (p *Poller) keepAnswers(ctx context.Context, tx *sqlx.Tx, changed []*asked, now time.Time) error {
	if !p.opts.KeepAnswers {
		return nil
	}
	kept, sealed, tooLong := sealAnswers(p.vault, changed)
	if tooLong > 0 {
		p.log.WarnContext(ctx, "answers of EMS are too long to be kept as they came; their scans are kept", "count", tooLong)
	}
	if len(kept) == 0 {
		return nil
	}
	ids, numbers, prints := make([]string, len(kept)), make([]string, len(kept)), make([]int64, len(kept))
	for i, a := range kept {
		ids[i], numbers[i], prints[i] = a.delivery.String(), a.no, a.trace.Fingerprint
	}
	_, err := tx.ExecContext(ctx, `
		INSERT INTO raw_answers (delivery_id, asked_at, waybill_no, fingerprint, body_sealed)
		SELECT id, $5, no, print, sealed FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bytea[]) AS a(id, no, print, sealed)
		ON CONFLICT DO NOTHING`, pq.Array(ids), pq.Array(numbers), pq.Array(prints), pq.ByteaArray(sealed), now)
	return err
}

// ReadAnswers reads EMS's answers about a delivery as they came, oldest first. They hold personal data: whoever reads them
// says why, and that is audited by the caller.
func ReadAnswers(ctx context.Context, q sqlx.QueryerContext, v *vault.Vault, delivery uuid.UUID) ([]Answer, error) {
	rows, err := q.QueryxContext(ctx, `
		SELECT asked_at, fingerprint, body_sealed FROM raw_answers WHERE delivery_id = $1 ORDER BY asked_at`, delivery)
	if err != nil {
		return nil, fmt.Errorf("read the answers about delivery %s: %w", delivery, err)
	}
	defer rows.Close()
	var list []Answer
	for rows.Next() {
		var a Answer
		var sealed []byte
		if err := rows.Scan(&a.AskedAt, &a.Fingerprint, &sealed); err != nil {
			return nil, fmt.Errorf("read the answers about delivery %s: %w", delivery, err)
		}
		if a.Body, err = openAnswer(v, delivery, sealed); err != nil {
			return nil, fmt.Errorf("open an answer about delivery %s: %w", delivery, err)
		}
		list = append(list, a)
	}
	return list, rows.Err()
}
