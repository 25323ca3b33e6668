package notify

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"emsd/courier"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// A sendJob is a queued message that this transaction holds, with what its verdict and its text depend on.
type sendJob struct {
	ID         uuid.UUID      `db:"id"`
	DeliveryID uuid.UUID      `db:"delivery_id"`
	Milestone  Milestone      `db:"milestone"`
	Position   int64          `db:"position"`
	EventAt    time.Time      `db:"event_at"`
	RawVars    []byte         `db:"vars"`
	NotBefore  time.Time      `db:"not_before"`
	Tries      int            `db:"tries"`
	Status     courier.Status `db:"status"`
	WaybillNo  string         `db:"waybill_no"`
	FeeFen     int64          `db:"fee_fen"`
	PaidFen    int64          `db:"paid_fen"`
	HeldUntil  string         `db:"held_until"` // yyyy-mm-dd or empty
	Phone      []byte         `db:"phone_sealed"`
	Number     []byte         `db:"phone_lookup"` // keyed hash of Phone
	Name       []byte         `db:"name_sealed"`
	Reason     string         `db:"reason"`          // of the last verdict
	Password   []byte         `db:"password_sealed"` // empty: the delivery has none
	Language   string         `db:"language"`
	Free       bool           `db:"free"` // no other sender is about a message to the number

	vars      Vars
	told      []Told
	inFlight  bool            // another message of the delivery is at a gateway this moment
	past      map[string]past // by gateway
	rejected  int             // how often a gateway said no for now; not how often it asked us to wait
	sentToday int             // messages that may have reached the number
	optedOut  bool

	// Of a message that is to be sent.
	attempt uuid.UUID
	gateway Gateway
	text    Milestone // name of the text
}

// A past is what became of a message's earlier attempts at one gateway.
type past struct {
	unsent       int // it could not leave
	refused      int // for account, signature or template
	unregistered int // the number's carrier does not know our signature there
}

// A cursor is the last message that a round has claimed. Claims start behind it, so that the rows which the round has
// already dealt with are not walked over again, dead or alive.
type cursor struct {
	notBefore time.Time
	id        uuid.UUID
}

// claimDue locks up to limit messages that are due, and their numbers until the transaction ends, so that senders beside each
// other see what the other gave to a number. Messages that another sender holds are left to it; those to a number that another
// one is about are not free, and wait for the next round: nobody waits for anybody.
func claimDue(ctx context.Context, tx *sqlx.Tx, after cursor, now, wall time.Time, limit int) ([]*sendJob, error) {
	var jobs []*sendJob
	err := tx.SelectContext(ctx, &jobs, `
		WITH due AS MATERIALIZED (
			SELECT m.id, m.delivery_id, m.milestone, m.position, m.event_at, m.vars, m.not_before, m.tries, m.reason,
				d.status, coalesce(d.waybill_no, '') AS waybill_no, d.fee_fen, d.paid_fen,
				coalesce(to_char(d.held_until, 'YYYY-MM-DD'), '') AS held_until, d.phone_sealed, d.phone_lookup, d.name_sealed,
				coalesce(d.password_sealed, '') AS password_sealed, d.language
			FROM messages m JOIN deliveries d ON d.id = m.delivery_id
			WHERE m.queued AND m.not_before <= $1 AND (m.next_attempt_at IS NULL OR m.next_attempt_at <= $2)
				AND (m.not_before, m.id) > ($3, $4)
			ORDER BY m.not_before, m.id
			LIMIT $5
			FOR UPDATE OF m SKIP LOCKED
		)
		SELECT id, delivery_id, milestone, position, event_at, vars, not_before, tries, reason, status, waybill_no, fee_fen, paid_fen, held_until,
			phone_sealed, phone_lookup, name_sealed, password_sealed, language,
			pg_try_advisory_xact_lock(hashtext('message_cap'), hashtext(encode(phone_lookup, 'hex'))) AS free
		FROM due
		ORDER BY not_before, id`, now, wall, after.notBefore, after.id, limit)
	if err != nil {
		return nil, err
	}
	for _, j := range jobs {
		if err := json.Unmarshal(j.RawVars, &j.vars); err != nil {
			return nil, fmt.Errorf("read the variables of message %s: %w", j.ID, err)
		}
	}
	return jobs, nil
}

// readSituation fills in what the residents of the jobs' deliveries have been told, or are being told, how many messages may
// have reached each job's number since a time, and whether it wants none. What surely did not reach it does not count. The
// numbers are locked, so what another sender did about them is committed and seen.
func readSituation(ctx context.Context, tx *sqlx.Tx, jobs []*sendJob, since time.Time) error {
	deliveries, numbers := make([]string, len(jobs)), make([][]byte, len(jobs))
	for i, j := range jobs {
		deliveries[i], numbers[i] = j.DeliveryID.String(), j.Number
	}
	var rows []struct {
		N         int       `db:"n"`
		Milestone Milestone `db:"milestone"` // of a message that was told; empty: of none
		Position  int64     `db:"position"`
		State     string    `db:"state"`
		Sent      int       `db:"sent"`
		OptedOut  bool      `db:"opted_out"`
	}
	// OFFSET 0 keeps the planner at one look into the index per delivery and number: on a table that was never analyzed it
	// prefers to read all of it.
	err := tx.SelectContext(ctx, &rows, `
		WITH j AS MATERIALIZED (
			SELECT delivery_id, number, n - 1 AS n FROM unnest($1::uuid[], $2::bytea[]) WITH ORDINALITY AS j(delivery_id, number, n)
		)
		SELECT j.n, m.milestone, m.position, m.state, 0 AS sent, false AS opted_out
		FROM j CROSS JOIN LATERAL (SELECT milestone, position, state FROM messages WHERE delivery_id = j.delivery_id OFFSET 0) m
		WHERE m.state IN ('sending', 'unknown', 'accepted', 'delivered')
		UNION ALL
		SELECT j.n, '', 0, '', count(*), false
		FROM j CROSS JOIN LATERAL (SELECT state FROM message_attempts WHERE phone_lookup = j.number AND sent_at >= $3 OFFSET 0) a
		WHERE a.state IN ('sending', 'unknown', 'accepted', 'delivered', 'failed', 'abandoned')
		GROUP BY j.n
		UNION ALL
		SELECT j.n, '', 0, '', 0, true FROM j JOIN do_not_send r ON r.phone_lookup = j.number AND r.lifted_at IS NULL`,
		pq.Array(deliveries), pq.ByteaArray(numbers), since)
	if err != nil {
		return err
	}
	for _, r := range rows {
		j := jobs[r.N]
		if r.Milestone != "" {
			j.told = append(j.told, Told{Milestone: r.Milestone, Position: r.Position})
			j.inFlight = j.inFlight || r.State == sending
		}
		j.sentToday += r.Sent
		j.optedOut = j.optedOut || r.OptedOut
	}
	return nil
}

// readPast fills in what became of each job's earlier attempts.
func readPast(ctx context.Context, tx *sqlx.Tx, jobs []*sendJob) error {
	byID := make(map[uuid.UUID]*sendJob)
	var ids []string
	for _, j := range jobs {
		if j.Tries > 0 {
			byID[j.ID] = j
			ids = append(ids, j.ID.String())
		}
	}
	if len(ids) == 0 {
		return nil
	}
	var rows []struct {
		MessageID    uuid.UUID `db:"message_id"`
		Gateway      string    `db:"gateway"`
		Unsent       int       `db:"unsent"`
		Rejected     int       `db:"rejected"`
		Refused      int       `db:"refused"`
		Unregistered int       `db:"unregistered"`
	}
	err := tx.SelectContext(ctx, &rows, `
		SELECT a.message_id, a.gateway, count(*) FILTER (WHERE a.state = 'unsent' AND a.code <> 'not_begun') AS unsent,
			count(*) FILTER (WHERE a.state = 'rejected' AND a.class IN ('transient', 'unregistered')) AS rejected,
			count(*) FILTER (WHERE a.state = 'rejected' AND a.class = 'configuration') AS refused,
			count(*) FILTER (WHERE a.state = 'rejected' AND a.class = 'unregistered') AS unregistered
		FROM unnest($1::uuid[]) AS m(id)
		CROSS JOIN LATERAL (SELECT message_id, gateway, state, class, code FROM message_attempts WHERE message_id = m.id OFFSET 0) a
		GROUP BY a.message_id, a.gateway`, pq.Array(ids))
	if err != nil {
		return err
	}
	for _, r := range rows {
		j := byID[r.MessageID]
		if j.past == nil {
			j.past = make(map[string]past)
		}
		j.past[r.Gateway] = past{r.Unsent, r.Refused, r.Unregistered}
		j.rejected += r.Rejected
	}
	return nil
}

// A parking is a message that is not sent now: suppressed for good, or queued for later.
type parking struct {
	id        uuid.UUID
	milestone Milestone
	state     string
	verdict   Action
	reason    string
	notBefore time.Time // zero: as it is
	next      time.Time // wall; zero: none
}

func park(ctx context.Context, tx *sqlx.Tx, parkings []parking, now time.Time) error {
	if len(parkings) == 0 {
		return nil
	}
	n := len(parkings)
	ids, states, verdicts, reasons := make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	notBefore, next := make([]time.Time, n), make([]time.Time, n)
	for i, p := range parkings {
		ids[i], states[i], verdicts[i], reasons[i] = p.id.String(), p.state, string(p.verdict), p.reason
		notBefore[i], next[i] = p.notBefore, p.next
	}
	_, err := tx.ExecContext(ctx, `
		UPDATE messages m
		SET state = p.state, verdict = p.verdict, reason = p.reason, not_before = coalesce(p.not_before, m.not_before),
			next_attempt_at = p.next_attempt_at, updated_at = $7
		FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[])
			AS p(id, state, verdict, reason, not_before, next_attempt_at)
		WHERE m.id = p.id`,
		pq.Array(ids), pq.Array(states), pq.Array(verdicts), pq.Array(reasons), optionalTimes(notBefore), optionalTimes(next), now)
	return err
}

// insertAttempts writes the intent of every request (I-4); i5_one_open_attempt refuses a second one. Jobs whose number
// has an attempt in doubt with the same text at the same gateway come back: they wait. Numbers are inserted in their order,
// or two senders could wait for each other.
func insertAttempts(ctx context.Context, tx *sqlx.Tx, jobs []*sendJob, now, wall time.Time) (begun, waiting []*sendJob, err error) {
	if len(jobs) == 0 {
		return nil, nil, nil
	}
	n := len(jobs)
	ids, messages, gateways, templates := make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	numbers := make([][]byte, n)
	for i, j := range jobs {
		numbers[i] = j.Number
		ids[i], messages[i], gateways[i] = j.attempt.String(), j.ID.String(), j.gateway.Name()
		templates[i] = fmt.Sprintf("%s/%d", j.text, TextVersion(j.text))
	}
	var refused []uuid.UUID
	err = tx.SelectContext(ctx, &refused, `
		WITH a AS MATERIALIZED (
			SELECT id, message_id, gateway, template, phone_lookup
			FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $8::bytea[]) AS a(id, message_id, gateway, template, phone_lookup)
		), intent AS (
			INSERT INTO message_attempts (id, message_id, gateway, template, phone_lookup, state, sent_on, started_at, sent_at)
			SELECT id, message_id, gateway, template, nullif(phone_lookup, ''), 'sending', $5, $6, $7 FROM a
			ORDER BY phone_lookup, gateway, template, id
			ON CONFLICT (gateway, phone_lookup, template) WHERE state IN ('sending', 'unknown') DO NOTHING
			RETURNING id, message_id
		), told AS (
			UPDATE messages m
			SET state = 'sending', verdict = 'send', reason = '正在发送', tries = tries + 1, next_attempt_at = NULL, updated_at = $7
			FROM intent i WHERE m.id = i.message_id
		)
		SELECT id FROM a WHERE id NOT IN (SELECT id FROM intent)`,
		pq.Array(ids), pq.Array(messages), pq.Array(gateways), pq.Array(templates), beijingDay(now), wall, now, pq.ByteaArray(numbers))
	if err != nil {
		return nil, nil, err
	}
	for _, j := range jobs {
		if slices.Contains(refused, j.attempt) {
			waiting = append(waiting, j)
		} else {
			begun = append(begun, j)
		}
	}
	return begun, waiting, nil
}

// beijingDay is the day by which gateways book what they take, yyyyMMdd; business time, as a simulated gateway's clock is.
func beijingDay(t time.Time) string { return t.In(beijing).Format("20060102") }

// A settling is what became of an attempt and what that makes of its message.
type settling struct {
	attempt    uuid.UUID
	state      string // of the attempt
	class      string
	code       string
	providerID string
	resolveAt  time.Time // wall; zero: nothing to ask

	messageState string
	reason       string
	next         time.Time // wall; zero: none
}

// A fate is what settlings of a chunk have in common; most have all of it, so that it is written once for many.
type fate struct {
	state, class, code   string
	messageState, reason string
	resolveAt, next      time.Time
}

// settle writes outcomes and returns the attempts that did not take theirs: one that a receipt or another process has settled
// meanwhile keeps what it has. Messages are locked in the planner's order, or the two could wait for each other.
//
// The states that may be left travel as a column, or the optimizer reads the whole index of open attempts to find them.
func settle(ctx context.Context, tx *sqlx.Tx, from []string, settlings []settling, now, wall time.Time) (lost map[uuid.UUID]bool, err error) {
	if len(settlings) == 0 {
		return nil, nil
	}
	n := len(settlings)
	ids, providers, which := make([]string, n), make([]string, n), make([]int64, n)
	known := make(map[fate]int64)
	var states, classes, codes, messages, reasons []string
	var resolveAt, next []time.Time
	for i, s := range settlings {
		f := fate{s.state, s.class, s.code, s.messageState, s.reason, s.resolveAt, s.next}
		k, seen := known[f]
		if !seen {
			k = int64(len(known)) + 1
			known[f] = k
			states, classes, codes = append(states, s.state), append(classes, s.class), append(codes, cut(s.code, 100))
			messages, reasons = append(messages, s.messageState), append(reasons, s.reason)
			resolveAt, next = append(resolveAt, s.resolveAt), append(next, s.next)
		}
		ids[i], providers[i], which[i] = s.attempt.String(), cut(s.providerID, 200), k
	}
	var refused []uuid.UUID
	err = tx.SelectContext(ctx, &refused, `
		WITH s AS MATERIALIZED (
			SELECT id, provider_id, ($4::text[])[f] AS state, ($5::text[])[f] AS class, ($6::text[])[f] AS code, ($7::timestamptz[])[f] AS resolve_at,
				($8::text[])[f] AS message_state, ($9::text[])[f] AS reason, ($10::timestamptz[])[f] AS next_attempt_at, $11::text[] AS was
			FROM unnest($1::uuid[], $2::text[], $3::integer[]) AS s(id, provider_id, f)
		), held AS MATERIALIZED (
			SELECT a.id
			FROM s JOIN message_attempts a ON a.id = s.id JOIN messages m ON m.id = a.message_id
			WHERE a.state = ANY (s.was)
			ORDER BY m.delivery_id, m.milestone
			FOR UPDATE OF m
		), taken AS (
			UPDATE message_attempts a
			SET state = s.state, class = s.class, code = s.code,
				provider_id = CASE WHEN s.provider_id <> '' THEN s.provider_id ELSE a.provider_id END,
				finished_at = coalesce(a.finished_at, $12), resolve_at = s.resolve_at
			FROM s JOIN held h ON h.id = s.id
			WHERE a.id = s.id AND a.state = ANY (s.was)
			RETURNING a.id, a.message_id, s.message_state, s.reason, s.next_attempt_at
		), told AS (
			UPDATE messages m
			SET state = t.message_state, reason = t.reason, next_attempt_at = t.next_attempt_at, updated_at = $13
			FROM taken t
			WHERE m.id = t.message_id
		)
		SELECT id FROM s WHERE id NOT IN (SELECT id FROM taken)`,
		pq.Array(ids), pq.Array(providers), pq.Array(which), pq.Array(states), pq.Array(classes), pq.Array(codes), optionalTimes(resolveAt),
		pq.Array(messages), pq.Array(reasons), optionalTimes(next), pq.Array(from), wall, now)
	if err != nil {
		return nil, err
	}
	lost = make(map[uuid.UUID]bool, len(refused))
	for _, id := range refused {
		lost[id] = true
	}
	return lost, nil
}

// cut makes a foreign word fit for a column: valid, without NUL, no longer than is worth keeping.
func cut(s string, n int) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "?"), "\x00", "?")
	runes := []rune(s)
	if len(runes) <= n {
		return s
	}
	return string(runes[:n])
}

// oldestDue tells since when the longest waiting message has been due, by business time.
func oldestDue(ctx context.Context, db *sqlx.DB, now, wall time.Time) (time.Time, error) {
	var at time.Time
	err := db.GetContext(ctx, &at, `
		SELECT not_before FROM messages
		WHERE queued AND not_before <= $1 AND (next_attempt_at IS NULL OR next_attempt_at <= $2)
		ORDER BY not_before, id
		LIMIT 1`, now, wall)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	}
	return at, err
}
