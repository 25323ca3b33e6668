package tracking

import (
	"context"
	"fmt"
	"time"

	"emsd/courier"

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
	for i, a := range changed {
		st, ok := standings[a.delivery]
		if !ok {
			return fmt.Errorf("waybill of delivery %s: %w", a.delivery, courier.ErrNotFound)
		}
		all[i] = digest(a, st, known[a.delivery], p.rules(), now)
	}
	if err := p.writeNews(ctx, tx, all, now); err != nil {
		return err
	}
	for i := range all {
		p.metrics.took(&all[i])
	}
	return nil
}

// readStandings locks the deliveries, in order of id as everybody does, and reads how they stand.
func readStandings(ctx context.Context, tx *sqlx.Tx, ids []string) (map[uuid.UUID]standing, error) {
	rows, err := tx.QueryContext(ctx, `
		SELECT id, status, status_since FROM deliveries WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE`, pq.Array(ids))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := make(map[uuid.UUID]standing, len(ids))
	for rows.Next() {
		var id uuid.UUID
		var st standing
		if err := rows.Scan(&id, &st.status, &st.since); err != nil {
			return nil, err
		}
		found[id] = st
	}
	return found, rows.Err()
}

// readKept reads the identity and the codes of the scans that are stored; sealed text stays sealed. The time bound lets
// PostgreSQL leave out the partitions of months before it.
func readKept(ctx context.Context, tx *sqlx.Tx, ids []string, from time.Time) (map[uuid.UUID][]kept, error) {
	rows, err := tx.QueryContext(ctx, `
		SELECT delivery_id, op_at, op_code, org_code, deliver_code, attempt_code, op_at > seen_at + $3 * interval '1 second'
		FROM scans
		WHERE delivery_id = ANY($1::uuid[]) AND op_at >= $2`, pq.Array(ids), from, ahead.Seconds())
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := map[uuid.UUID][]kept{}
	for rows.Next() {
		var k kept
		if err := rows.Scan(&k.DeliveryID, &k.At, &k.Code, &k.OrgCode, &k.DeliverCode, &k.AttemptCode, &k.ahead); err != nil {
			return nil, err
		}
		found[k.DeliveryID] = append(found[k.DeliveryID], k)
	}
	return found, rows.Err()
}

// writeNews writes what digest has decided: scans, moves, events, cases, and the state of the waybills.
func (p *Poller) writeNews(ctx context.Context, tx *sqlx.Tx, all []news, now time.Time) error {
	if err := p.insertScans(ctx, tx, all, now); err != nil {
		return fmt.Errorf("insert scans: %w", err)
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
	if err := writeHeldUntil(ctx, tx, all); err != nil {
		return fmt.Errorf("write the last days of collection: %w", err)
	}
	if err := writeWaybills(ctx, tx, all); err != nil {
		return fmt.Errorf("write the waybills: %w", err)
	}
	return nil
}

func (p *Poller) insertScans(ctx context.Context, tx *sqlx.Tx, all []news, now time.Time) error {
	n := 0
	for _, x := range all {
		n += len(x.fresh)
	}
	if n == 0 {
		return nil
	}
	column := func() []string { return make([]string, 0, n) }
	ids, codes, orgs, numbers, names := column(), column(), column(), column(), column()
	orgNames, provinces, cities, delivers, attempts := column(), column(), column(), column(), column()
	at, sealed := make([]time.Time, 0, n), make([][]byte, 0, n)
	for _, x := range all {
		id := x.delivery.String()
		for _, s := range x.fresh {
			ids, at, codes, orgs = append(ids, id), append(at, s.At), append(codes, s.Code), append(orgs, s.OrgCode)
			numbers, names, orgNames = append(numbers, x.no), append(names, s.Name), append(orgNames, s.OrgName)
			provinces, cities = append(provinces, s.Province), append(cities, s.City)
			delivers, attempts = append(delivers, s.DeliverCode), append(attempts, s.AttemptCode)
			sealed = append(sealed, p.vault.Seal("scans.desc", x.delivery, s.Desc.Reveal()))
		}
	}
	_, err := tx.ExecContext(ctx, `
		INSERT INTO scans (delivery_id, op_at, op_code, org_code, waybill_no, op_name, desc_sealed, org_name, province, city,
			deliver_code, attempt_code, seen_at)
		SELECT id, at, code, org, no, name, sealed, org_name, province, city, deliver, attempt, $13
		FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bytea[], $8::text[],
			$9::text[], $10::text[], $11::text[], $12::text[])
			AS s(id, at, code, org, no, name, sealed, org_name, province, city, deliver, attempt)
		ON CONFLICT DO NOTHING`,
		pq.Array(ids), timeArray(at), pq.Array(codes), pq.Array(orgs), pq.Array(numbers), pq.Array(names), pq.ByteaArray(sealed),
		pq.Array(orgNames), pq.Array(provinces), pq.Array(cities), pq.Array(delivers), pq.Array(attempts), now)
	return err
}

func writeHeldUntil(ctx context.Context, tx *sqlx.Tx, all []news) error {
	var ids, days []string
	for _, n := range all {
		if n.heldUntil != nil {
			ids, days = append(ids, n.delivery.String()), append(days, *n.heldUntil)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	_, err := tx.ExecContext(ctx, `
		UPDATE deliveries d SET held_until = nullif(u.day, '')::date
		FROM unnest($1::uuid[], $2::text[]) AS u(id, day)
		WHERE d.id = u.id AND d.held_until IS DISTINCT FROM nullif(u.day, '')::date`, pq.Array(ids), pq.Array(days))
	return err
}

func writeWaybills(ctx context.Context, tx *sqlx.Tx, all []news) error {
	ids, stages := make([]string, len(all)), make([]string, len(all))
	next, changed, prints := make([]time.Time, len(all)), make([]time.Time, len(all)), make([]int64, len(all))
	for i, n := range all {
		ids[i], stages[i], prints[i] = n.delivery.String(), string(n.status), n.fingerprint
		next[i], changed[i] = n.next, n.changedAt
	}
	_, err := tx.ExecContext(ctx, `
		UPDATE waybills w SET stage = u.stage, next_poll_at = u.next, changed_at = u.changed, fingerprint = u.fingerprint, failures = 0
		FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::bigint[])
			AS u(id, stage, next, changed, fingerprint)
		WHERE w.delivery_id = u.id`, pq.Array(ids), pq.Array(stages), timeArray(next), timeArray(changed), pq.Array(prints))
	return err
}
