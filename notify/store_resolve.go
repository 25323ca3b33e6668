package notify

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// An openAttempt is an attempt whose outcome nobody knows.
type openAttempt struct {
	ID         uuid.UUID `db:"id"`
	Gateway    string    `db:"gateway"`
	SentOn     string    `db:"sent_on"`
	StartedAt  time.Time `db:"started_at"`
	Resolves   int       `db:"resolves"`
	DeliveryID uuid.UUID `db:"delivery_id"`
	Milestone  Milestone `db:"milestone"`
	Phone      []byte    `db:"phone_sealed"`
	SentAt     time.Time `db:"sent_at"` // business time

	Known pq.StringArray `db:"known"` // the gateway's ids of other attempts to the number since
	Alone bool           `db:"alone"` // no other attempt to the number is in doubt
}

// leftSending reads chunks of attempts whose sender has not written their outcome within its lease: it is gone, or took too long.
// Of their attempts it gives those that are still sending.
func leftSending(ctx context.Context, db *sqlx.DB, before time.Time) (chunks []int64, left []openAttempt, err error) {
	const most = 10
	if err := db.SelectContext(ctx, &chunks, `
		SELECT id FROM attempt_chunks WHERE NOT settled AND begun_at < $1 ORDER BY begun_at LIMIT $2`, before, most); err != nil || len(chunks) == 0 {
		return nil, nil, err
	}
	err = db.SelectContext(ctx, &left, `
		SELECT a.id, a.gateway, a.started_at, m.delivery_id, m.milestone
		FROM attempt_chunks c CROSS JOIN unnest(c.attempts) AS of(id) JOIN message_attempts a ON a.id = of.id JOIN messages m ON m.id = a.message_id
		WHERE c.id = ANY ($1) AND a.state = 'sending'`, pq.Array(chunks))
	return chunks, left, err
}

// claimUnknown takes up to limit unknown attempts that are due to be asked about; until then no other resolver takes
// them, whatever becomes of this one.
func claimUnknown(ctx context.Context, db *sqlx.DB, wall, until time.Time, limit int) ([]openAttempt, error) {
	var open []openAttempt
	err := db.SelectContext(ctx, &open, `
		WITH due AS (
			SELECT id FROM message_attempts
			WHERE state = 'unknown' AND resolve_at <= $1
			ORDER BY resolve_at, id
			LIMIT $2
			FOR UPDATE SKIP LOCKED
		), leased AS (
			UPDATE message_attempts a SET resolve_at = $3
			FROM due WHERE a.id = due.id
			RETURNING a.id, a.message_id, a.gateway, a.sent_on, a.started_at, a.resolves, a.phone_lookup, coalesce(a.sent_at, a.started_at) AS sent_at
		)
		SELECT l.id, l.gateway, l.sent_on, l.started_at, l.resolves, l.sent_at, m.delivery_id, m.milestone, d.phone_sealed,
			coalesce(o.known, '{}') || coalesce(t.known, '{}') AS known, coalesce(o.alone, false) AND coalesce(t.settled, true) AS alone
		FROM leased l JOIN messages m ON m.id = l.message_id JOIN deliveries d ON d.id = m.delivery_id
		LEFT JOIN LATERAL (
			SELECT array_agg(a.provider_id) FILTER (WHERE a.provider_id <> '') AS known,
				bool_and(a.id = l.id OR a.state NOT IN ('sending', 'unknown')) AS alone
			FROM message_attempts a
			WHERE a.phone_lookup = l.phone_lookup AND a.gateway = l.gateway AND a.sent_at >= l.sent_at - interval '1 day'
		) o ON true
		LEFT JOIN LATERAL ( -- messages to numbers of our own are nobody's lost one
			SELECT array_agg(t.provider_id) FILTER (WHERE t.provider_id <> '') AS known, bool_and(t.state NOT IN ('sending', 'unknown')) AS settled
			FROM sms_trials t
			WHERE t.phone_lookup = l.phone_lookup AND t.gateway = l.gateway
		) t ON true`, wall, limit, until)
	return open, err
}

// A question is an attempt that stays unknown, and when it is asked about again.
type question struct {
	attempt  uuid.UUID
	resolves int
	at       time.Time // wall
}

func askAgain(ctx context.Context, tx *sqlx.Tx, questions []question) error {
	if len(questions) == 0 {
		return nil
	}
	n := len(questions)
	ids, resolves, at := make([]string, n), make([]int64, n), make([]time.Time, n)
	for i, q := range questions {
		ids[i], resolves[i], at[i] = q.attempt.String(), int64(q.resolves), q.at
	}
	_, err := tx.ExecContext(ctx, `
		UPDATE message_attempts a SET resolves = q.resolves, resolve_at = q.at
		FROM unnest($1::uuid[], $2::integer[], $3::timestamptz[]) AS q(id, resolves, at)
		WHERE a.id = q.id AND a.state = 'unknown'`, pq.Array(ids), pq.Array(resolves), timeArray(at))
	return err
}
