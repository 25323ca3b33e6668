package courier

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// Channels that wake a round before its next tick. A lost wake-up costs a tick, never work.
const (
	WakeOrders   = "emsd_orders"
	WakeEvents   = "emsd_events"
	WakeMessages = "emsd_messages"
	WakePolls    = "emsd_polls"
	WakeInbox    = "emsd_inbox"
	WakeUploads  = "emsd_uploads" // a file waits to be checked or loaded
	WakeCodes    = "emsd_codes"   // a decision about a code waits to be applied

	WakePublished = "emsd_published" // the feed has grown
	WakeWebhooks  = "emsd_webhooks"
)

// Wake announces work on a channel when tx commits.
func Wake(ctx context.Context, tx *sqlx.Tx, channel string) error {
	_, err := tx.ExecContext(ctx, `SELECT pg_notify($1, '')`, channel)
	return err
}

// InTx runs f in a transaction and commits it unless f fails.
func InTx(ctx context.Context, db *sqlx.DB, f func(tx *sqlx.Tx) error) error {
	tx, err := db.BeginTxx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // after a commit it does nothing
	if err := f(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// ApplyMoves makes every move whose delivery still stands at From and appends its event; it returns the ids that
// moved. A delivery may stand in moves once. A move that the life-cycle forbids is an error and nothing is done.
func ApplyMoves(ctx context.Context, tx *sqlx.Tx, moves []Move) ([]uuid.UUID, error) {
	if len(moves) == 0 {
		return nil, nil
	}
	n := len(moves)
	ids, from, to, types := make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	at, data, grew := make([]time.Time, n), make([]string, n), make([]bool, n)
	for i, m := range moves {
		if !m.From.MayBecome(m.To, m.Data.Rule) {
			return nil, fmt.Errorf("move delivery %s: %s may not become %s", m.ID, m.From, m.To)
		}
		m.Data.From = m.From
		ids[i], from[i], to[i], types[i], at[i] = m.ID.String(), string(m.From), string(m.To), string(StatusEvent(m.To)), m.At
		data[i], grew[i] = encodeData(m.Data), m.Data.Grew
	}
	var moved []uuid.UUID
	// Ordered by id so that two rounds lock the same deliveries in the same order.
	err := tx.SelectContext(ctx, &moved, `
		WITH m AS MATERIALIZED (
			SELECT id, from_status, to_status, type, at, data, grew
			FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::jsonb[], $7::boolean[])
				AS m(id, from_status, to_status, type, at, data, grew)
		), locked AS MATERIALIZED (
			SELECT d.id FROM deliveries d JOIN m ON m.id = d.id AND m.from_status = d.status ORDER BY d.id FOR NO KEY UPDATE OF d
		), moved AS (
			UPDATE deliveries d
			SET status = m.to_status, status_since = m.at, seq = d.seq + 1, updated_at = greatest(d.updated_at, m.at),
				tracked_at = CASE WHEN m.grew THEN m.at ELSE d.tracked_at END
			FROM m JOIN locked l ON l.id = m.id
			WHERE d.id = m.id AND d.status = m.from_status
			RETURNING d.id, d.seq, m.type, m.at, m.data
		), logged AS (
			INSERT INTO events (delivery_id, seq, type, at, data)
			SELECT id, seq, type, at, data FROM moved
		)
		SELECT id FROM moved`,
		pq.Array(ids), pq.Array(from), pq.Array(to), pq.Array(types), timeArray(at), pq.Array(data), pq.Array(grew))
	if err != nil {
		return nil, fmt.Errorf("apply %d moves: %w", n, err)
	}
	if len(moved) == 0 {
		return nil, nil
	}
	if err := freeReturns(ctx, tx, moves, moved); err != nil {
		return nil, err
	}
	return moved, Wake(ctx, tx, WakeEvents)
}

// A NewEvent is an event before it has its place in the log of its delivery.
type NewEvent struct {
	DeliveryID uuid.UUID
	Type       EventType
	At         time.Time
	Data       EventData
}

// AppendEvents writes events that come with a change other than a move (I-8); those of one delivery keep their order.
func AppendEvents(ctx context.Context, tx *sqlx.Tx, events []NewEvent) error {
	if len(events) == 0 {
		return nil
	}
	n := len(events)
	ids, types, at, data, grew := make([]string, n), make([]string, n), make([]time.Time, n), make([]string, n), make([]bool, n)
	for i, e := range events {
		ids[i], types[i], at[i], data[i], grew[i] = e.DeliveryID.String(), string(e.Type), e.At, encodeData(e.Data), e.Data.Grew
	}
	var written int
	err := tx.GetContext(ctx, &written, `
		WITH e AS MATERIALIZED (
			SELECT id, type, at, data, grew, ord, row_number() OVER (PARTITION BY id ORDER BY ord) AS nth
			FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::jsonb[], $5::boolean[]) WITH ORDINALITY AS e(id, type, at, data, grew, ord)
		), n AS MATERIALIZED (
			SELECT id, count(*)::integer AS more, max(at) AS at, max(at) FILTER (WHERE grew) AS grew_at FROM e GROUP BY id
		), locked AS MATERIALIZED (
			SELECT d.id FROM deliveries d JOIN n ON n.id = d.id ORDER BY d.id FOR NO KEY UPDATE OF d
		), counted AS (
			UPDATE deliveries d
			SET seq = d.seq + n.more, updated_at = greatest(d.updated_at, n.at), tracked_at = coalesce(n.grew_at, d.tracked_at)
			FROM n JOIN locked l ON l.id = n.id
			WHERE d.id = n.id
			RETURNING d.id, d.seq - n.more AS before
		), logged AS (
			INSERT INTO events (delivery_id, seq, type, at, data)
			SELECT e.id, c.before + e.nth, e.type, e.at, e.data FROM e JOIN counted c ON c.id = e.id ORDER BY e.ord
			RETURNING 1
		)
		SELECT count(*) FROM logged`,
		pq.Array(ids), pq.Array(types), timeArray(at), pq.Array(data), pq.Array(grew))
	if err != nil {
		return fmt.Errorf("append %d events: %w", n, err)
	}
	if written != n {
		return fmt.Errorf("append %d events: %d belong to no delivery: %w", n, n-written, ErrNotFound)
	}
	return Wake(ctx, tx, WakeEvents)
}

// A NewCase is something that needs a person from now on. NextAction and Detail are plain Chinese without personal data.
type NewCase struct {
	DeliveryID uuid.UUID
	Kind       CaseKind
	OpenedAt   time.Time
	DueAt      time.Time
	NextAction string
	Detail     string
}

// OpenCases opens each case unless one of its kind is open for the delivery, with an event for each that is new.
func OpenCases(ctx context.Context, tx *sqlx.Tx, cases []NewCase) error {
	if len(cases) == 0 {
		return nil
	}
	n := len(cases)
	ids, deliveries, kinds := make([]string, n), make([]string, n), make([]string, n)
	opened, due := make([]time.Time, n), make([]time.Time, n)
	actions, details := make([]string, n), make([]string, n)
	for i, c := range cases {
		ids[i], deliveries[i], kinds[i] = uuid.Must(uuid.NewV7()).String(), c.DeliveryID.String(), string(c.Kind)
		opened[i], due[i], actions[i], details[i] = c.OpenedAt, c.DueAt, c.NextAction, c.Detail
	}
	var fresh []caseRef
	err := tx.SelectContext(ctx, &fresh, `
		INSERT INTO cases (id, delivery_id, kind, opened_at, due_at, next_action, detail)
		SELECT id, delivery_id, kind, opened_at, due_at, next_action, detail
		FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::text[], $7::text[])
			AS c(id, delivery_id, kind, opened_at, due_at, next_action, detail)
		ORDER BY delivery_id, kind
		ON CONFLICT (delivery_id, kind) WHERE closed_at IS NULL DO NOTHING
		RETURNING delivery_id, kind, opened_at AS at`,
		pq.Array(ids), pq.Array(deliveries), pq.Array(kinds), timeArray(opened), timeArray(due), pq.Array(actions), pq.Array(details))
	if err != nil {
		return fmt.Errorf("open %d cases: %w", n, err)
	}
	return appendCaseEvents(ctx, tx, EventCaseOpened, fresh)
}

// A CaseClosing ends the open case of a kind.
type CaseClosing struct {
	DeliveryID uuid.UUID
	Kind       CaseKind
	At         time.Time
	Outcome    string
	By         string
	Why        string
}

// CloseCases closes the cases that are open, with an event for each; one that is not open is left alone.
func CloseCases(ctx context.Context, tx *sqlx.Tx, closings []CaseClosing) error {
	if len(closings) == 0 {
		return nil
	}
	n := len(closings)
	deliveries, kinds, at := make([]string, n), make([]string, n), make([]time.Time, n)
	outcomes, by, why := make([]string, n), make([]string, n), make([]string, n)
	for i, c := range closings {
		deliveries[i], kinds[i], at[i] = c.DeliveryID.String(), string(c.Kind), c.At
		outcomes[i], by[i], why[i] = c.Outcome, c.By, c.Why
	}
	var closed []caseRef
	err := tx.SelectContext(ctx, &closed, `
		UPDATE cases c SET closed_at = x.at, outcome = x.outcome, closed_by = x.by, why = x.why
		FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::text[], $5::text[], $6::text[])
			AS x(delivery_id, kind, at, outcome, by, why)
		WHERE c.delivery_id = x.delivery_id AND c.kind = x.kind AND c.closed_at IS NULL
		RETURNING c.delivery_id, c.kind, c.closed_at AS at, c.outcome`,
		pq.Array(deliveries), pq.Array(kinds), timeArray(at), pq.Array(outcomes), pq.Array(by), pq.Array(why))
	if err != nil {
		return fmt.Errorf("close %d cases: %w", n, err)
	}
	return appendCaseEvents(ctx, tx, EventCaseClosed, closed)
}

type caseRef struct {
	DeliveryID uuid.UUID `db:"delivery_id"`
	Kind       CaseKind  `db:"kind"`
	At         time.Time `db:"at"`
	Outcome    string    `db:"outcome"`
}

func appendCaseEvents(ctx context.Context, tx *sqlx.Tx, typ EventType, refs []caseRef) error {
	slices.SortFunc(refs, func(a, b caseRef) int { return slices.Compare(a.DeliveryID[:], b.DeliveryID[:]) })
	events := make([]NewEvent, len(refs))
	for i, r := range refs {
		events[i] = NewEvent{DeliveryID: r.DeliveryID, Type: typ, At: r.At, Data: EventData{Case: r.Kind, Outcome: r.Outcome}}
	}
	return AppendEvents(ctx, tx, events)
}

func encodeData(d EventData) string {
	b, err := json.Marshal(d.inCodes())
	if err != nil { // strings and numbers only: cannot happen
		panic(err)
	}
	return string(b)
}

// timeArray gives a timestamptz[] parameter; pq.Array would send Go's own notation, which PostgreSQL cannot read.
func timeArray(times []time.Time) any {
	text := make([]string, len(times))
	for i, t := range times {
		text[i] = t.UTC().Format("2006-01-02 15:04:05.999999Z07:00")
	}
	return pq.Array(text)
}
