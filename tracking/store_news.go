package tracking

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"emsd/courier"
	"emsd/courier/vault"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// takeNews takes in changed traces, all with one set of statements. When that fails they are tried one by one, so that
// one which cannot be stored holds up nobody else; those come back as broken.
func (p *Poller) takeNews(ctx context.Context, tx *sqlx.Tx, changed []*asked, now time.Time) (broken []*asked, err error) {
	if len(changed) == 0 {
		return nil, nil
	}
	err = p.tryNews(ctx, tx, changed, now)
	if err == nil {
		return nil, nil
	}
	for i := range changed {
		if len(changed) > 1 {
			if err = p.tryNews(ctx, tx, changed[i:i+1], now); err == nil {
				continue
			}
		}
		p.log.ErrorContext(ctx, "news of a waybill cannot be stored, asked again later", "delivery", changed[i].delivery, "err", err)
		broken = append(broken, changed[i])
	}
	return broken, ctx.Err()
}

// tryNews leaves the transaction as it was when it fails.
func (p *Poller) tryNews(ctx context.Context, tx *sqlx.Tx, changed []*asked, now time.Time) error {
	if _, err := tx.ExecContext(ctx, `SAVEPOINT news`); err != nil {
		return err
	}
	err := p.storeNews(ctx, tx, changed, now)
	if err == nil {
		_, err = tx.ExecContext(ctx, `RELEASE SAVEPOINT news`)
		return err
	}
	if _, back := tx.ExecContext(ctx, `ROLLBACK TO SAVEPOINT news`); back != nil {
		return fmt.Errorf("%w; and roll back: %w", err, back)
	}
	return err
}

func (p *Poller) storeNews(ctx context.Context, tx *sqlx.Tx, changed []*asked, now time.Time) error {
	ids := make([]string, len(changed))
	from := changed[0].orderedAt
	for i, a := range changed {
		ids[i] = a.delivery.String()
		if a.orderedAt.Before(from) {
			from = a.orderedAt
		}
		for _, s := range a.trace.Scans {
			if s.At.Before(from) {
				from = s.At
			}
		}
	}
	standings, err := readStandings(ctx, tx, ids)
	if err != nil {
		return fmt.Errorf("read %d deliveries: %w", len(ids), err)
	}
	known, err := readKept(ctx, tx, ids, from)
	if err != nil {
		return fmt.Errorf("read scans of %d deliveries: %w", len(ids), err)
	}
	all := make([]news, len(changed))
	rules, err := p.rulesNow(ctx, tx, now)
	if err != nil {
		return err
	}
	hash := func(s *courier.Scan) int64 { return textPrint(p.vault, s) }
	for i, a := range changed {
		st, ok := standings[a.delivery]
		if !ok {
			return fmt.Errorf("waybill of delivery %s: %w", a.delivery, courier.ErrNotFound)
		}
		all[i] = digest(a, st, known[a.delivery], rules, hash, now)
	}
	if err := p.keepAnswers(ctx, tx, changed, now); err != nil {
		return fmt.Errorf("keep the answers: %w", err)
	}
	if err := quarantine(ctx, tx, rules.book, all, now); err != nil {
		return fmt.Errorf("count unknown codes: %w", err)
	}
	if err := writeNews(ctx, tx, p.vault, all, now); err != nil {
		return err
	}
	missing := 0
	for i := range all {
		p.metrics.took(&all[i])
		missing = max(missing, all[i].missingYear)
	}
	if missing != 0 {
		p.log.ErrorContext(ctx, "the calendar lacks a year: plain days and hours count instead of working time", "year", missing)
	}
	return nil
}

// readStandings locks the deliveries, in order of id as everybody does, and reads how they stand.
func readStandings(ctx context.Context, tx *sqlx.Tx, ids []string) (map[uuid.UUID]standing, error) {
	rows, err := tx.QueryContext(ctx, `
		SELECT id, status, status_since, id_checked,
			status = 'returned' AND EXISTS (SELECT 1 FROM returns r WHERE r.delivery_id = deliveries.id)
		FROM deliveries WHERE id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE`, pq.Array(ids))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := make(map[uuid.UUID]standing, len(ids))
	for rows.Next() {
		var id uuid.UUID
		var st standing
		if err := rows.Scan(&id, &st.status, &st.since, &st.idChecked, &st.atStation); err != nil {
			return nil, err
		}
		found[id] = st
	}
	return found, rows.Err()
}

// readKept reads what the rules need of the scans that are stored, and of their other tellings; sealed text stays sealed.
// The time bound lets PostgreSQL leave out the partitions of months before it.
func readKept(ctx context.Context, q sqlx.QueryerContext, ids []string, from time.Time) (map[uuid.UUID][]kept, error) {
	rows, err := q.QueryxContext(ctx, `
		SELECT delivery_id, op_at, op_code, org_code, deliver_code, attempt_code, said_class, said_until, text_print,
			op_at > seen_at + $3 * interval '1 second', false
		FROM scans
		WHERE delivery_id = ANY($1::uuid[]) AND op_at >= $2
		UNION ALL
		SELECT delivery_id, op_at, op_code, org_code, deliver_code, attempt_code, said_class, said_until, text_print,
			op_at > seen_at + $3 * interval '1 second', true
		FROM retellings
		WHERE delivery_id = ANY($1::uuid[]) AND op_at >= $2`, pq.Array(ids), from, ahead.Seconds())
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := map[uuid.UUID][]kept{}
	for rows.Next() {
		var k kept
		var until sql.NullTime
		err := rows.Scan(&k.DeliveryID, &k.At, &k.Code, &k.OrgCode, &k.DeliverCode, &k.AttemptCode, &k.SaidClass, &until, &k.print, &k.ahead, &k.retold)
		if err != nil {
			return nil, err
		}
		k.SaidUntil = dayOf(until)
		found[k.DeliveryID] = append(found[k.DeliveryID], k)
	}
	return found, rows.Err()
}

// dayOf makes a date of PostgreSQL, which comes without a zone, a midnight in Beijing.
func dayOf(d sql.NullTime) time.Time {
	if !d.Valid {
		return time.Time{}
	}
	y, m, day := d.Time.Date()
	return time.Date(y, m, day, 0, 0, 0, 0, beijing)
}

// writeNews writes what digest has decided: scans, moves, events, cases, and the state of the waybills.
func writeNews(ctx context.Context, tx *sqlx.Tx, v *vault.Vault, all []news, now time.Time) error {
	if err := insertScans(ctx, tx, v, all, now); err != nil {
		return fmt.Errorf("insert scans: %w", err)
	}
	if err := insertRetellings(ctx, tx, v, all, now); err != nil {
		return fmt.Errorf("insert retellings: %w", err)
	}
	var moves []courier.Move
	var events []courier.NewEvent
	var open []courier.NewCase
	var closed []courier.CaseClosing
	for _, n := range all {
		if n.move != nil {
			moves = append(moves, *n.move)
		}
		if n.event != nil {
			events = append(events, *n.event)
		}
		open, closed = append(open, n.open...), append(closed, n.closed...)
	}
	moved, err := courier.ApplyMoves(ctx, tx, moves)
	if err != nil {
		return err
	}
	if len(moved) != len(moves) {
		return fmt.Errorf("apply moves: %d of %d: %w", len(moved), len(moves), courier.ErrStale)
	}
	if err := courier.AppendEvents(ctx, tx, events); err != nil {
		return err
	}
	if err := courier.CloseCases(ctx, tx, closed); err != nil {
		return err
	}
	if err := courier.OpenCases(ctx, tx, open); err != nil {
		return err
	}
	if err := writeDeliveries(ctx, tx, all); err != nil {
		return fmt.Errorf("write the deliveries: %w", err)
	}
	if err := writeWaybills(ctx, tx, all); err != nil {
		return fmt.Errorf("write the waybills: %w", err)
	}
	return nil
}

// insertScans stores what is new. A scan and its other tellings go into two tables, so that each scan stands once.
func insertScans(ctx context.Context, tx *sqlx.Tx, v *vault.Vault, all []news, now time.Time) error {
	c := newColumns(all, func(n *news) []telling { return n.fresh })
	if len(c.ids) == 0 {
		return nil
	}
	c.seal(v, vault.ColumnScan)
	_, err := tx.ExecContext(ctx, `
		INSERT INTO scans (delivery_id, op_at, op_code, org_code, waybill_no, op_name, desc_sealed, org_name, province, city,
			deliver_code, attempt_code, said_class, said_until, text_print, seen_at)
		SELECT id, at, code, org, no, name, sealed, org_name, province, city, deliver, attempt, class, until, print, $16
		FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bytea[], $8::text[],
			$9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::date[], $15::bigint[])
			AS s(id, at, code, org, no, name, sealed, org_name, province, city, deliver, attempt, class, until, print)
		ON CONFLICT DO NOTHING`,
		pq.Array(c.ids), timeArray(c.at), pq.Array(c.codes), pq.Array(c.orgs), pq.Array(c.numbers), pq.Array(c.names), pq.ByteaArray(c.sealed),
		pq.Array(c.orgNames), pq.Array(c.provinces), pq.Array(c.cities), pq.Array(c.delivers), pq.Array(c.attempts), pq.Array(c.classes),
		pq.Array(c.untils), pq.Array(c.prints), now)
	return err
}

func insertRetellings(ctx context.Context, tx *sqlx.Tx, v *vault.Vault, all []news, now time.Time) error {
	c := newColumns(all, func(n *news) []telling { return n.retold })
	if len(c.ids) == 0 {
		return nil
	}
	c.seal(v, vault.ColumnRetelling)
	_, err := tx.ExecContext(ctx, `
		INSERT INTO retellings (delivery_id, op_at, op_code, org_code, text_print, op_name, desc_sealed, deliver_code, attempt_code,
			said_class, said_until, seen_at)
		SELECT id, at, code, org, print, name, sealed, deliver, attempt, class, until, $12
		FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::bytea[], $8::text[], $9::text[],
			$10::text[], $11::date[]) AS s(id, at, code, org, print, name, sealed, deliver, attempt, class, until)
		ON CONFLICT DO NOTHING`,
		pq.Array(c.ids), timeArray(c.at), pq.Array(c.codes), pq.Array(c.orgs), pq.Array(c.prints), pq.Array(c.names), pq.ByteaArray(c.sealed),
		pq.Array(c.delivers), pq.Array(c.attempts), pq.Array(c.classes), pq.Array(c.untils), now)
	return err
}

// columns are tellings as arrays, one value of each a row.
type columns struct {
	rows                                                 []uuid.UUID
	texts                                                []vault.Secret
	ids, codes, orgs, numbers, names, delivers, attempts []string
	orgNames, provinces, cities, classes                 []string
	untils                                               []*string
	at                                                   []time.Time
	prints                                               []int64
	sealed                                               [][]byte
}

func newColumns(all []news, of func(*news) []telling) *columns {
	c := &columns{}
	for i := range all {
		n, list := &all[i], of(&all[i])
		id := n.delivery.String()
		for j := range list {
			s := &list[j]
			c.rows, c.texts, c.ids = append(c.rows, n.delivery), append(c.texts, s.Desc), append(c.ids, id)
			c.at, c.codes, c.orgs, c.numbers = append(c.at, s.At), append(c.codes, s.Code), append(c.orgs, s.OrgCode), append(c.numbers, n.no)
			c.names, c.orgNames = append(c.names, s.Name), append(c.orgNames, s.OrgName)
			c.provinces, c.cities = append(c.provinces, s.Province), append(c.cities, s.City)
			c.delivers, c.attempts = append(c.delivers, s.DeliverCode), append(c.attempts, s.AttemptCode)
			c.classes, c.untils, c.prints = append(c.classes, s.SaidClass), append(c.untils, day(s.SaidUntil)), append(c.prints, s.print)
		}
	}
	return c
}

func (c *columns) seal(v *vault.Vault, column string) {
	c.sealed = make([][]byte, 0, len(c.texts))
	for i, text := range c.texts {
		c.sealed = append(c.sealed, v.Seal(column, c.rows[i], text.Reveal()))
	}
}

// writeDeliveries writes who received the envelope, or how long it waits, where that has changed. When the trace grew is
// written with its event: a second update of the row would cost as much again as all the rest of the news.
func writeDeliveries(ctx context.Context, tx *sqlx.Tx, all []news) error {
	var ids []string
	var receivers, days []*string
	for i := range all {
		if n := &all[i]; n.receiver != nil || n.heldUntil != nil {
			ids, receivers, days = append(ids, n.delivery.String()), append(receivers, n.receiver), append(days, n.heldUntil)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	_, err := tx.ExecContext(ctx, `
		UPDATE deliveries d
		SET receiver = coalesce(u.receiver, d.receiver),
			held_until = CASE WHEN u.day IS NULL THEN d.held_until ELSE nullif(u.day, '')::date END
		FROM unnest($1::uuid[], $2::text[], $3::text[]) AS u(id, receiver, day)
		WHERE d.id = u.id AND (coalesce(u.receiver, d.receiver) <> d.receiver
			OR u.day IS NOT NULL AND d.held_until IS DISTINCT FROM nullif(u.day, '')::date)`,
		pq.Array(ids), pq.Array(receivers), pq.Array(days))
	return err
}

func writeWaybills(ctx context.Context, tx *sqlx.Tx, all []news) error {
	ids, stages := make([]string, len(all)), make([]string, len(all))
	next, changed := make([]time.Time, len(all)), make([]time.Time, len(all))
	prints, urgency := make([]int64, len(all)), make([]int64, len(all))
	for i, n := range all {
		ids[i], stages[i], prints[i] = n.delivery.String(), string(n.status), n.fingerprint
		next[i], changed[i], urgency[i] = n.next, n.changedAt, int64(n.urgency)
	}
	_, err := tx.ExecContext(ctx, `
		UPDATE waybills w SET stage = u.stage, next_poll_at = u.next, changed_at = u.changed, fingerprint = u.fingerprint, failures = 0,
			urgency = u.urgency
		FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::bigint[], $6::smallint[])
			AS u(id, stage, next, changed, fingerprint, urgency)
		WHERE w.delivery_id = u.id`, pq.Array(ids), pq.Array(stages), timeArray(next), timeArray(changed), pq.Array(prints), pq.Array(urgency))
	return err
}
