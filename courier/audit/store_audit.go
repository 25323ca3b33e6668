package audit

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// chainLock makes writers take turns: the chain has one end.
const chainLock = 0x61756469 // "audi"

// Append writes entries at the end of the chain; they are there when tx commits. It holds a lock until then, so it is
// the last thing a transaction does: everybody else who appends waits for its end, and one who holds the lock and then
// waits for a row can deadlock with one who holds the row and waits for the lock.
//
// In a transaction that is REPEATABLE READ or stricter the end of the chain may be out of date; then the entry's number
// is taken, and the insert fails rather than fork the chain.
func Append(ctx context.Context, tx *sqlx.Tx, entries ...Entry) error {
	if len(entries) == 0 {
		return nil
	}
	for _, e := range entries {
		if err := e.check(); err != nil {
			return err
		}
	}
	last, err := lockEnd(ctx, tx)
	if err != nil {
		return fmt.Errorf("append to the audit chain: %w", err)
	}
	if err := insert(ctx, tx, last, entries); err != nil {
		return fmt.Errorf("append to the audit chain: %w", err)
	}
	return nil
}

// lockEnd takes two statements on purpose: the second one's snapshot must be younger than the lock.
func lockEnd(ctx context.Context, tx *sqlx.Tx) (link, error) {
	if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(chainLock)); err != nil {
		return link{}, err
	}
	var end struct {
		ID   int64  `db:"id"`
		Hash []byte `db:"hash"`
	}
	err := tx.GetContext(ctx, &end, `SELECT id, hash FROM audit ORDER BY id DESC LIMIT 1`)
	if errors.Is(err, sql.ErrNoRows) {
		return link{hash: genesis}, nil
	}
	return link{id: end.ID, hash: end.Hash}, err
}

func insert(ctx context.Context, tx *sqlx.Tx, last link, entries []Entry) error {
	var ids []int64
	var at []time.Time
	var actor, action, object, detail []string
	var prev, hash [][]byte
	for _, e := range entries {
		e.At = e.At.Truncate(time.Microsecond)
		if e.Detail == nil {
			e.Detail = map[string]string{}
		}
		text, err := encode(e.Detail)
		if err != nil {
			return err
		}
		l := link{id: last.id + 1, Entry: e, prev: last.hash}
		l.hash = l.sum()
		last = l
		ids, at = append(ids, l.id), append(at, e.At)
		actor, action, object = append(actor, e.Actor), append(action, e.Action), append(object, e.Object)
		detail = append(detail, string(text))
		prev, hash = append(prev, l.prev), append(hash, l.hash)
	}
	_, err := tx.ExecContext(ctx, `
		INSERT INTO audit (id, at, actor, action, object, detail, prev_hash, hash)
		SELECT id, at, actor, action, object, detail, prev_hash, hash
		FROM unnest($1::bigint[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::jsonb[], $7::bytea[], $8::bytea[])
			AS e(id, at, actor, action, object, detail, prev_hash, hash)`,
		pq.Array(ids), pq.Array(at), pq.Array(actor), pq.Array(action), pq.Array(object), pq.Array(detail), pq.Array(prev), pq.Array(hash))
	return err
}

// Verify checks the chain in the database, and that the entries noted in anchors stand in it.
func Verify(ctx context.Context, db sqlx.QueryerContext, anchors ...Anchor) (Report, error) {
	v := newVerifier(anchors)
	err := each(ctx, db, func(r record) error {
		v.next(r)
		return nil
	})
	if err != nil {
		return v.report, err
	}
	return v.end(), nil
}

// Export writes the chain as JSON lines, to be kept or checked elsewhere. What is malformed is written as it is.
func Export(ctx context.Context, db sqlx.QueryerContext, w io.Writer) error {
	out := bufio.NewWriter(w)
	err := each(ctx, db, func(r record) error {
		line, err := r.line()
		if err != nil {
			return fmt.Errorf("write entry %d: %w", r.ID, err)
		}
		_, err = out.Write(append(line, '\n'))
		return err
	})
	if err != nil {
		return err
	}
	return out.Flush()
}

// page is how many entries a statement reads: a long one would hold back vacuum for the whole database.
const page = 1000

type row struct {
	ID     int64  `db:"id"`
	Micros string `db:"micros"`
	Actor  string `db:"actor"`
	Action string `db:"action"`
	Object string `db:"object"`
	Detail string `db:"detail"`
	Prev   []byte `db:"prev_hash"`
	Hash   []byte `db:"hash"`
}

func (r row) record() record {
	at := r.Micros
	if n, err := strconv.ParseInt(r.Micros, 10, 64); err == nil {
		at = time.UnixMicro(n).UTC().Format(stamp)
	}
	return record{
		ID: r.ID, At: at, Actor: r.Actor, Action: r.Action, Object: r.Object, Detail: []byte(r.Detail),
		Prev: hex.EncodeToString(r.Prev), Hash: hex.EncodeToString(r.Hash),
	}
}

func each(ctx context.Context, db sqlx.QueryerContext, f func(record) error) error {
	for after := int64(math.MinInt64); ; {
		var rows []row
		// The time as a number: it depends on no session's zone, and infinity, which only a forger writes, is read too.
		err := sqlx.SelectContext(ctx, db, &rows, `
			SELECT id, trunc(EXTRACT(EPOCH FROM at) * 1000000)::text AS micros, actor, action, object, detail::text AS detail, prev_hash, hash
			FROM audit
			WHERE id > $1
			ORDER BY id
			LIMIT $2`, after, page)
		if err != nil {
			return fmt.Errorf("read the audit chain: %w", err)
		}
		for _, r := range rows {
			after = r.ID
			if err := f(r.record()); err != nil {
				return err
			}
		}
		if len(rows) < page {
			return nil
		}
	}
}

// A Filter narrows a listing. Empty texts match everything.
type Filter struct {
	Actor  string
	Action string // begins so: "policy." matches every action on policies
	Object string // or one of the objects that About named
	Before int64  // entries with a smaller number; 0: from the newest
	Limit  int
}

// A Listed entry has its number in the chain.
type Listed struct {
	ID int64
	Entry
}

// List gives entries, the newest first. It does not check the chain: Verify does.
func List(ctx context.Context, db sqlx.QueryerContext, f Filter) ([]Listed, error) {
	if f.Before <= 0 {
		f.Before = math.MaxInt64
	}
	var rows []struct {
		ID     int64     `db:"id"`
		At     time.Time `db:"at"`
		Actor  string    `db:"actor"`
		Action string    `db:"action"`
		Object string    `db:"object"`
		Detail []byte    `db:"detail"`
	}
	from, args := `audit`, []any{f.Before, f.Actor, f.Action, f.Limit}
	if f.Object != "" {
		// Apart, so that each side uses its index: of an OR with a LIMIT the planner reads the chain backwards.
		from = `(
			SELECT id FROM audit WHERE object = $5
			UNION
			SELECT id FROM audit WHERE detail ? 'ids' AND string_to_array(detail ->> 'ids', ' ') @> ARRAY[$6::text]
		) AS about JOIN audit USING (id)`
		args = append(args, f.Object, withoutDashes(f.Object))
	}
	err := sqlx.SelectContext(ctx, db, &rows, `
		SELECT id, at, actor, action, object, detail
		FROM `+from+`
		WHERE id < $1 AND ($2 = '' OR actor = $2) AND ($3 = '' OR starts_with(action, $3))
		ORDER BY id DESC
		LIMIT $4`, args...)
	if err != nil {
		return nil, fmt.Errorf("list the audit chain: %w", err)
	}
	listed := make([]Listed, len(rows))
	for i, r := range rows {
		listed[i] = Listed{r.ID, Entry{At: r.At, Actor: r.Actor, Action: r.Action, Object: r.Object}}
		if err := json.Unmarshal(r.Detail, &listed[i].Detail); err != nil {
			listed[i].Detail = map[string]string{"detail": "not readable: see emsd verify-audit"}
		}
	}
	return listed, nil
}
