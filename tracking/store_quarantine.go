package tracking

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// quarantine counts the unknown codes of a chunk, in order of code as everybody does.
func quarantine(ctx context.Context, tx *sqlx.Tx, b *Rulebook, all []news, now time.Time) error {
	found := quarantined(b, all, now)
	if len(found) == 0 {
		return nil
	}
	var codes, names, examples []string
	var seen []int64
	var at []time.Time
	for _, code := range slices.Sorted(maps.Keys(found)) {
		u := found[code]
		codes, names, examples = append(codes, code), append(names, u.Name), append(examples, u.Example.String())
		seen, at = append(seen, u.Seen), append(at, u.ExampleAt)
	}
	_, err := tx.ExecContext(ctx, `
		INSERT INTO unknown_codes AS k (code, name, seen, first_at, last_at, example_delivery, example_at)
		SELECT code, name, seen, $6, $6, example, at
		FROM unnest($1::text[], $2::text[], $3::bigint[], $4::uuid[], $5::timestamptz[]) AS u(code, name, seen, example, at)
		ON CONFLICT (code) DO UPDATE SET seen = k.seen + excluded.seen, last_at = excluded.last_at, name = excluded.name,
			example_delivery = excluded.example_delivery, example_at = excluded.example_at`,
		pq.Array(codes), pq.Array(names), pq.Array(seen), pq.Array(examples), timeArray(at), now)
	return err
}

// UnknownCodes lists the codes that nobody has decided about, the most frequent first.
func UnknownCodes(ctx context.Context, q sqlx.QueryerContext) ([]UnknownCode, error) {
	rows, err := q.QueryxContext(ctx, `
		SELECT code, name, seen, first_at, last_at, example_delivery, example_at FROM unknown_codes ORDER BY seen DESC, code`)
	if err != nil {
		return nil, fmt.Errorf("read the unknown codes: %w", err)
	}
	defer rows.Close()
	var list []UnknownCode
	for rows.Next() {
		var u UnknownCode
		if err := rows.Scan(&u.Code, &u.Name, &u.Seen, &u.FirstAt, &u.LastAt, &u.Example, &u.ExampleAt); err != nil {
			return nil, fmt.Errorf("read the unknown codes: %w", err)
		}
		list = append(list, u)
	}
	return list, rows.Err()
}

// A RecordedDecision is a decision with who made it, when and why.
type RecordedDecision struct {
	ID int64
	Decision
	At         time.Time
	By, Reason string
	Applied    *Progress // to what was stored before; nil: at once, by an emsd that did so
}

// Decisions lists every decision about a code, the newest first.
func Decisions(ctx context.Context, q sqlx.QueryerContext) ([]RecordedDecision, error) {
	rows, err := q.QueryxContext(ctx, `
		SELECT d.id, d.code, d.name, d.meaning, d.sentence, d.valid_from, d.decided_at, d.decided_by, d.reason, f.decision_id IS NOT NULL, f.done_at,
			coalesce(f.looked, 0), coalesce(f.changed, 0), coalesce(f.kinds, '{}'), coalesce(f.bygone, 0), coalesce(f.skipped, 0)
		FROM code_decisions d LEFT JOIN decision_folds f ON f.decision_id = d.id
		ORDER BY d.id DESC`)
	if err != nil {
		return nil, fmt.Errorf("read the decisions about codes: %w", err)
	}
	defer rows.Close()
	var list []RecordedDecision
	for rows.Next() {
		var d RecordedDecision
		var f foldRow
		var folded bool
		var done sql.NullTime
		err := rows.Scan(&d.ID, &d.Code, &d.Name, &d.Meaning, &d.Sentence, &d.ValidFrom, &d.At, &d.By, &d.Reason, &folded, &done,
			&f.Looked, &f.Changed, &f.Kinds, &f.Bygone, &f.Skipped)
		if err == nil && folded {
			d.Applied = &Progress{DoneAt: done.Time}
			d.Applied.RefoldReport, err = f.report()
		}
		if err != nil {
			return nil, fmt.Errorf("read the decisions about codes: %w", err)
		}
		list = append(list, d)
	}
	return list, rows.Err()
}

// insertDecision writes a decision and takes the code out of quarantine, unless it counts for later scans only.
func insertDecision(ctx context.Context, tx *sqlx.Tx, d RecordedDecision) (id int64, err error) {
	err = tx.GetContext(ctx, &id, `
		WITH known AS (DELETE FROM unknown_codes WHERE code = $1 AND example_at >= $5)
		INSERT INTO code_decisions (code, name, meaning, sentence, valid_from, decided_at, decided_by, reason)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		RETURNING id`, d.Code, d.Name, d.Meaning, d.Sentence, d.ValidFrom, d.At, d.By, d.Reason)
	return id, err
}

// releaseKnown takes codes out of quarantine that the rules know by now, for example after a release.
func releaseKnown(ctx context.Context, tx *sqlx.Tx, b *Rulebook) error {
	list, err := UnknownCodes(ctx, tx)
	if err != nil {
		return err
	}
	var known []string
	for _, u := range list {
		if b.Knows(u.Code, u.ExampleAt) {
			known = append(known, u.Code)
		}
	}
	if len(known) == 0 {
		return nil
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM unknown_codes WHERE code = ANY($1::text[])`, pq.Array(known)); err != nil {
		return fmt.Errorf("release %d known codes: %w", len(known), err)
	}
	return nil
}

// rulesNow are the rules with every decision that was made before the deliveries of tx were locked. A decision is applied to
// what is stored at once: news read by older rules would take it back until the rules are read again.
func (p *Poller) rulesNow(ctx context.Context, tx *sqlx.Tx, now time.Time) (rules, error) {
	current := p.rules()
	var made int
	if err := tx.GetContext(ctx, &made, `SELECT count(*) FROM code_decisions`); err != nil {
		return rules{}, fmt.Errorf("count the decisions about codes: %w", err)
	}
	if made == current.book.made {
		return current, nil
	}
	book, err := readRulebook(ctx, tx, now)
	if err != nil {
		return rules{}, err
	}
	fresh := rules{book, current.plan}
	p.current.Store(&fresh)
	return fresh, nil
}
