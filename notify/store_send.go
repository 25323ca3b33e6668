package notify

import (
	"bytes"
	"cmp"
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
	ID         uuid.UUID
	DeliveryID uuid.UUID
	Milestone  Milestone
	Position   int64
	EventAt    time.Time
	NotBefore  time.Time
	Tries      int
	Status     courier.Status
	WaybillNo  string // of the delivery, else of the message's event
	DueFen     int64  // still to pay
	HeldUntil  string // yyyy-mm-dd or empty
	Phone      []byte // sealed
	Number     []byte // keyed hash of Phone
	Name       []byte // sealed
	Reason     string // of the last verdict, where the delivery has a password
	Password   []byte // sealed; empty: the delivery has none
	Language   string
	Free       bool // no other sender is about a message to the number

	vars      Vars // without WaybillNo
	told      []Told
	inFlight  bool            // another message of the delivery is at a gateway this moment
	past      map[string]past // by gateway
	rejected  int             // how often a gateway said no for now; not how often it asked us to wait
	sentToday int             // messages that may have reached the number
	doubts    []string        // what is in doubt at the number: gateway and template of each
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
func claimDue(ctx context.Context, tx queryer, after cursor, now, wall time.Time, limit int) ([]*sendJob, error) {
	rows, err := tx.QueryContext(ctx, `
		WITH m AS MATERIALIZED (
			SELECT id, delivery_id, milestone, position, event_at, vars, not_before, tries, reason
			FROM messages
			WHERE queued AND not_before <= $1 AND (next_attempt_at IS NULL OR next_attempt_at <= $2) AND (not_before, id) > ($3, $4)
			ORDER BY not_before, id
			LIMIT $5
			FOR UPDATE SKIP LOCKED
		)
		SELECT m.id, m.delivery_id, m.milestone, m.position, m.event_at, m.vars - 'waybill_no', m.not_before, m.tries,
			CASE WHEN d.password_sealed IS NULL THEN '' ELSE m.reason END, d.status, coalesce(nullif(d.waybill_no, ''), m.vars->>'waybill_no', ''),
			greatest(d.fee_fen - d.paid_fen, 0), coalesce(to_char(d.held_until, 'YYYY-MM-DD'), ''), d.phone_sealed, d.phone_lookup, d.name_sealed, d.password_sealed, d.language,
			pg_try_advisory_xact_lock(hashtext('message_cap'), hashtext(encode(d.phone_lookup, 'hex')))
		FROM m JOIN deliveries d ON d.id = m.delivery_id`, now, wall, after.notBefore, after.id, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	jobs := make([]*sendJob, 0, limit)
	for rows.Next() {
		j := new(sendJob)
		var vars sql.RawBytes
		if err := rows.Scan(&j.ID, &j.DeliveryID, &j.Milestone, &j.Position, &j.EventAt, &vars, &j.NotBefore, &j.Tries, &j.Reason, &j.Status, &j.WaybillNo,
			&j.DueFen, &j.HeldUntil, &j.Phone, &j.Number, &j.Name, &j.Password, &j.Language, &j.Free); err != nil {
			return nil, err
		}
		if string(vars) != "{}" { // as most are, without the number
			if err := json.Unmarshal(vars, &j.vars); err != nil {
				return nil, fmt.Errorf("read the variables of message %s: %w", j.ID, err)
			}
		}
		jobs = append(jobs, j)
	}
	slices.SortFunc(jobs, func(a, b *sendJob) int {
		return cmp.Or(a.NotBefore.Compare(b.NotBefore), bytes.Compare(a.ID[:], b.ID[:]))
	})
	return jobs, rows.Err()
}

// readSituation fills in what the residents of the jobs' deliveries have been told, or are being told, how many messages may
// have reached each job's number since a time, what is in doubt at it (byNumber: at gateways that do not know attempts by their id,
// too, of any age), and whether it wants none. What surely did not reach it does not count. The
// numbers are locked, so what another sender did about them is committed and seen.
func readSituation(ctx context.Context, tx queryer, jobs []*sendJob, since time.Time, byNumber bool) error {
	deliveries, numbers := make([]uuid.UUID, len(jobs)), make([][]byte, len(jobs))
	for i, j := range jobs {
		deliveries[i], numbers[i] = j.DeliveryID, j.Number
	}
	var rows []struct {
		N         int            `db:"n"`
		Milestone Milestone      `db:"milestone"` // of a message that was told; empty: of none
		Position  int64          `db:"position"`
		State     string         `db:"state"`
		Sent      int            `db:"sent"`
		OptedOut  bool           `db:"opted_out"`
		Doubts    pq.StringArray `db:"doubts"`
	}
	// OFFSET 0 keeps the planner at one look into the index per delivery and number: on a table that was never analyzed it
	// prefers to read all of it.
	err := tx.SelectContext(ctx, &rows, `
		WITH j AS MATERIALIZED (
			SELECT delivery_id, number, n - 1 AS n FROM unnest($1::uuid[], $2::bytea[]) WITH ORDINALITY AS j(delivery_id, number, n)
		)
		SELECT j.n, m.milestone, m.position, m.state, 0 AS sent, false AS opted_out, NULL::text[] AS doubts
		FROM j CROSS JOIN LATERAL (SELECT milestone, position, state FROM messages WHERE delivery_id = j.delivery_id OFFSET 0) m
		WHERE m.state IN ('sending', 'unknown', 'accepted', 'delivered')
		UNION ALL
		SELECT j.n, '', 0, '', count(*), false, array_agg(a.gateway || ' ' || a.template) FILTER (WHERE a.state IN ('sending', 'unknown'))
		FROM j CROSS JOIN LATERAL (SELECT gateway, template, state FROM message_attempts WHERE phone_lookup = j.number AND sent_at >= $3 OFFSET 0) a
		WHERE a.state IN ('sending', 'unknown', 'accepted', 'delivered', 'failed', 'abandoned')
		GROUP BY j.n
		UNION ALL
		SELECT j.n, '', 0, '', 0, false, ARRAY[a.gateway || ' ' || a.template]
		FROM j CROSS JOIN LATERAL (SELECT gateway, template FROM message_attempts WHERE doubted = j.number OFFSET 0) a
		WHERE $4
		UNION ALL
		SELECT j.n, '', 0, '', 0, true, NULL FROM j JOIN do_not_send r ON r.phone_lookup = j.number AND r.lifted_at IS NULL`,
		courier.UUIDs(deliveries), pq.ByteaArray(numbers), since, byNumber)
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
		j.doubts = append(j.doubts, r.Doubts...)
		j.optedOut = j.optedOut || r.OptedOut
	}
	return nil
}

// readPast fills in what became of each job's earlier attempts.
func readPast(ctx context.Context, tx queryer, jobs []*sendJob) error {
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

// insertAttempts writes the intent of every request (I-4) and returns their chunk; i5_one_open_attempt and i4_one_attempt_in_doubt
// refuse a second one. A sender that holds the numbers knows beforehand that they will not.
func insertAttempts(ctx context.Context, tx queryer, jobs []*sendJob, now, wall time.Time) (chunk int64, err error) {
	if len(jobs) == 0 {
		return 0, nil
	}
	n := len(jobs)
	ids, messages, numbers, which := make([]uuid.UUID, n), make([]uuid.UUID, n), make([][]byte, n), make([]int64, n)
	type route struct { // what most of a chunk have in common
		gateway Gateway
		text    Milestone
	}
	known := make(map[route]int64)
	var gateways, templates []string
	var byNumber []bool
	for i, j := range jobs {
		k, seen := known[route{j.gateway, j.text}]
		if !seen {
			k = int64(len(known)) + 1
			known[route{j.gateway, j.text}] = k
			gateways, templates, byNumber = append(gateways, j.gateway.Name()), append(templates, j.wording()), append(byNumber, !knowsAttempts(j.gateway))
		}
		ids[i], messages[i], numbers[i], which[i] = j.attempt, j.ID, j.Number, k
	}
	err = tx.GetContext(ctx, &chunk, `
		WITH intent AS (
			INSERT INTO message_attempts (id, message_id, gateway, template, phone_lookup, by_number, state, sent_on, started_at, sent_at)
			SELECT id, message_id, ($5::text[])[r], ($6::text[])[r], nullif(phone_lookup, ''), ($7::boolean[])[r], 'sending', $8, $9, $10
			FROM unnest($1::uuid[], $2::uuid[], $3::bytea[], $4::integer[]) AS a(id, message_id, phone_lookup, r)
		), told AS (
			UPDATE messages m
			SET state = 'sending', verdict = 'send', reason = '正在发送', tries = tries + 1, next_attempt_at = NULL, updated_at = $10
			FROM unnest($2::uuid[]) AS a(message_id)
			WHERE m.id = a.message_id
		)
		INSERT INTO attempt_chunks (begun_at, check_at, attempts) VALUES ($9, $11, $1::uuid[]) RETURNING id`,
		courier.UUIDs(ids), courier.UUIDs(messages), pq.ByteaArray(numbers), pq.Array(which), pq.Array(gateways), pq.Array(templates), pq.Array(byNumber),
		beijingDay(now), wall, now, now.Add(receiptsWithin))
	return chunk, err
}

// endChunks notes that the outcome of chunks of attempts is written.
func endChunks(ctx context.Context, tx queryer, chunks ...int64) error {
	_, err := tx.ExecContext(ctx, `UPDATE attempt_chunks SET settled = true WHERE id = ANY ($1)`, pq.Array(chunks))
	return err
}

// beijingDay is the day by which gateways book what they take, yyyyMMdd; business time, as a simulated gateway's clock is.
func beijingDay(t time.Time) string { return t.In(beijing).Format("20060102") }

// A settling is what became of an attempt and what that makes of its message.
type settling struct {
	attempt    uuid.UUID
	delivery   uuid.UUID // whose message it is
	milestone  Milestone
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
// meanwhile keeps what it has. Rows are written, and so locked, in the order in which the planner locks messages, or the two could
// wait for each other.
//
// The states that may be left travel as a column, or the optimizer reads the whole index of open attempts to find them.
func settle(ctx context.Context, tx queryer, from []string, settlings []settling, now, wall time.Time) (lost map[uuid.UUID]bool, err error) {
	if len(settlings) == 0 {
		return nil, nil
	}
	n := len(settlings)
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, k int) int {
		a, b := &settlings[i], &settlings[k]
		return cmp.Or(bytes.Compare(a.delivery[:], b.delivery[:]), strings.Compare(string(a.milestone), string(b.milestone)))
	})
	ids, providers, which := make([]uuid.UUID, n), make([]string, n), make([]int64, n)
	known := make(map[fate]int64)
	var states, classes, codes, messages, reasons []string
	var resolveAt, next []time.Time
	for at, i := range order {
		s := &settlings[i]
		f := fate{s.state, s.class, s.code, s.messageState, s.reason, s.resolveAt, s.next}
		k, seen := known[f]
		if !seen {
			k = int64(len(known)) + 1
			known[f] = k
			states, classes, codes = append(states, s.state), append(classes, s.class), append(codes, cut(s.code, 100))
			messages, reasons = append(messages, s.messageState), append(reasons, s.reason)
			resolveAt, next = append(resolveAt, s.resolveAt), append(next, s.next)
		}
		ids[at], providers[at], which[at] = s.attempt, cut(s.providerID, 200), k
	}
	var refused []uuid.UUID
	err = tx.SelectContext(ctx, &refused, `
		WITH s AS MATERIALIZED (
			SELECT id, provider_id, ($4::text[])[f] AS state, ($5::text[])[f] AS class, ($6::text[])[f] AS code, ($7::timestamptz[])[f] AS resolve_at,
				($8::text[])[f] AS message_state, ($9::text[])[f] AS reason, ($10::timestamptz[])[f] AS next_attempt_at, $11::text[] AS was
			FROM unnest($1::uuid[], $2::text[], $3::integer[]) AS s(id, provider_id, f)
		), taken AS (
			UPDATE message_attempts a
			SET state = s.state, class = s.class, code = s.code,
				provider_id = CASE WHEN s.provider_id <> '' THEN s.provider_id ELSE a.provider_id END,
				finished_at = coalesce(a.finished_at, $12), resolve_at = s.resolve_at
			FROM s
			WHERE a.id = s.id AND a.state = ANY (s.was)
			RETURNING a.id, a.message_id, s.message_state, s.reason, s.next_attempt_at
		), told AS (
			UPDATE messages m
			SET state = t.message_state, reason = t.reason, next_attempt_at = t.next_attempt_at, updated_at = $13
			FROM taken t
			WHERE m.id = t.message_id
		)
		SELECT id FROM s WHERE id NOT IN (SELECT id FROM taken)`,
		courier.UUIDs(ids), pq.Array(providers), pq.Array(which), pq.Array(states), pq.Array(classes), pq.Array(codes), optionalTimes(resolveAt),
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
	if len(s) <= n {
		return s
	}
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
