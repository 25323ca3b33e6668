package notify

import (
	"context"
	"fmt"
	"time"

	"emsd/courier"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

type replyRow struct {
	ID         uuid.UUID `db:"id"`
	Gateway    string    `db:"gateway"`
	Same       []byte    `db:"same"`
	Number     []byte    `db:"phone_lookup"`
	Text       []byte    `db:"text_sealed"`
	SentAt     time.Time `db:"-"`
	ReceivedAt time.Time `db:"received_at"`
	Meaning    Meaning   `db:"meaning"`
}

func appendReplies(ctx context.Context, db *sqlx.DB, gateway string, rows []replyRow, at time.Time) error {
	err := courier.InTx(ctx, db, func(tx *sqlx.Tx) error {
		n, err := insertReplies(ctx, tx, gateway, rows, at)
		if err != nil || n == 0 {
			return err
		}
		return courier.Wake(ctx, tx, courier.WakeMessages)
	})
	if err != nil {
		return fmt.Errorf("append %d replies: %w", len(rows), err)
	}
	return nil
}

// insertReplies tells how many are new.
func insertReplies(ctx context.Context, tx *sqlx.Tx, gateway string, rows []replyRow, at time.Time) (int64, error) {
	n := len(rows)
	ids, same, numbers, texts, sent := make([]string, n), make([][]byte, n), make([][]byte, n), make([][]byte, n), make([]time.Time, n)
	for i, r := range rows {
		ids[i], same[i], numbers[i], texts[i], sent[i] = r.ID.String(), r.Same, r.Number, r.Text, r.SentAt
	}
	res, err := tx.ExecContext(ctx, `
		INSERT INTO message_replies (id, gateway, same, phone_lookup, text_sealed, sent_at, received_at)
		SELECT id, $1, same, phone_lookup, text_sealed, sent_at, $2
		FROM unnest($3::uuid[], $4::bytea[], $5::bytea[], $6::bytea[], $7::timestamptz[]) AS r(id, same, phone_lookup, text_sealed, sent_at)
		ORDER BY same
		ON CONFLICT (gateway, same) DO NOTHING`,
		gateway, at, pq.Array(ids), pq.ByteaArray(same), pq.ByteaArray(numbers), pq.ByteaArray(texts), optionalTimes(sent))
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// dropReplies deletes up to limit replies that were received before a time and are worked through, and tells how many.
func dropReplies(ctx context.Context, db *sqlx.DB, before time.Time, limit int64) (int64, error) {
	res, err := db.ExecContext(ctx, `
		DELETE FROM message_replies WHERE id IN (
			SELECT id FROM message_replies WHERE processed_at IS NOT NULL AND received_at < $1 ORDER BY received_at LIMIT $2 FOR UPDATE SKIP LOCKED)`, before, limit)
	if err != nil {
		return 0, fmt.Errorf("drop the replies from before %s: %w", before.Format(time.DateOnly), err)
	}
	return res.RowsAffected()
}

// claimReplies locks up to limit replies that nobody has read, the oldest first.
func claimReplies(ctx context.Context, tx *sqlx.Tx, limit int) ([]replyRow, error) {
	// One daemon at a time: two chunks that stop the same numbers would wait for each other.
	if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock(hashtext('message_replies'))`); err != nil {
		return nil, err
	}
	var open []replyRow
	err := tx.SelectContext(ctx, &open, `
		SELECT id, gateway, same, phone_lookup, text_sealed, received_at, meaning FROM message_replies
		WHERE processed_at IS NULL ORDER BY received_at, id LIMIT $1 FOR UPDATE`, limit)
	return open, err
}

func markReplies(ctx context.Context, tx *sqlx.Tx, open []replyRow, now time.Time) error {
	ids, meanings := make([]string, len(open)), make([]string, len(open))
	for i, o := range open {
		ids[i], meanings[i] = o.ID.String(), string(o.Meaning)
	}
	_, err := tx.ExecContext(ctx, `
		UPDATE message_replies r SET meaning = o.meaning, processed_at = $1
		FROM unnest($2::uuid[], $3::text[]) AS o(id, meaning) WHERE r.id = o.id`, now, pq.Array(ids), pq.Array(meanings))
	return err
}

// liveDeliveries lists the deliveries of numbers that are not at their end.
func liveDeliveries(ctx context.Context, tx *sqlx.Tx, numbers [][]byte) (map[string][]uuid.UUID, error) {
	if len(numbers) == 0 {
		return nil, nil
	}
	var live []string
	for _, s := range courier.Statuses {
		if s.Live() {
			live = append(live, string(s))
		}
	}
	var rows []struct {
		ID     uuid.UUID `db:"id"`
		Number []byte    `db:"phone_lookup"`
	}
	err := tx.SelectContext(ctx, &rows, `
		SELECT id, phone_lookup FROM deliveries WHERE phone_lookup = ANY ($1) AND status = ANY ($2) ORDER BY id`, pq.ByteaArray(numbers), pq.Array(live))
	of := make(map[string][]uuid.UUID)
	for _, r := range rows {
		of[string(r.Number)] = append(of[string(r.Number)], r.ID)
	}
	return of, err
}

func repliesOf(ctx context.Context, db *sqlx.DB, delivery uuid.UUID) ([]replyRow, error) {
	var rows []replyRow
	err := db.SelectContext(ctx, &rows, `
		SELECT r.id, r.text_sealed, r.received_at, r.meaning FROM deliveries d JOIN message_replies r ON r.phone_lookup = d.phone_lookup
		WHERE d.id = $1 ORDER BY r.received_at, r.id`, delivery)
	return rows, err
}
