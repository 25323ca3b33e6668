package tracking

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"emsd/courier"
	"emsd/courier/vault"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// refoldWhere is the condition of a scope about waybills w, with its arguments after those given.
func refoldWhere(scope RefoldScope, args ...any) (where string, all []any) {
	where, all = `true`, args
	add := func(condition string, values ...any) {
		for _, v := range values {
			all = append(all, v)
			condition = strings.Replace(condition, "?", fmt.Sprintf("$%d", len(all)), 1)
		}
		where += ` AND ` + condition
	}
	if !scope.Since.IsZero() {
		add(`w.delivery_id IN (SELECT id FROM deliveries WHERE tracked_at >= ?)`, scope.Since)
	}
	if scope.Delivery != uuid.Nil {
		add(`w.delivery_id = ?`, scope.Delivery)
	}
	switch of, detail, split := strings.Cut(scope.Code, "/"); {
	case split && of == "704":
		add(`w.delivery_id IN (SELECT delivery_id FROM scans WHERE op_code = '704' AND deliver_code = ?
			UNION SELECT delivery_id FROM retellings WHERE op_code = '704' AND deliver_code = ?)`, detail, detail)
	case split:
		add(`w.delivery_id IN (SELECT delivery_id FROM scans WHERE op_code = ? AND attempt_code = ?
			UNION SELECT delivery_id FROM retellings WHERE op_code = ? AND attempt_code = ?)`, of, detail, of, detail)
	case scope.Code != "":
		add(`w.delivery_id IN (SELECT delivery_id FROM scans WHERE op_code = ?)`, scope.Code)
	}
	return where, all
}

// refoldPage reads the next deliveries of a scope in order of id.
func refoldPage(ctx context.Context, q sqlx.QueryerContext, scope RefoldScope, after uuid.UUID, limit int) ([]uuid.UUID, error) {
	where, args := refoldWhere(scope, after, limit)
	var ids []uuid.UUID
	err := sqlx.SelectContext(ctx, q, &ids, `
		SELECT w.delivery_id FROM waybills w WHERE w.delivery_id > $1 AND `+where+` ORDER BY w.delivery_id LIMIT $2`, args...)
	if err != nil {
		return nil, fmt.Errorf("read which deliveries to fold anew: %w", err)
	}
	return ids, nil
}

func refoldCount(ctx context.Context, q sqlx.QueryerContext, scope RefoldScope) (n int, err error) {
	where, args := refoldWhere(scope)
	if err := sqlx.GetContext(ctx, q, &n, `SELECT count(*) FROM waybills w WHERE `+where, args...); err != nil {
		return 0, fmt.Errorf("count the deliveries to fold anew: %w", err)
	}
	return n, nil
}

// lockStood locks waybills, then their deliveries, and reads how they stand. Those that somebody else has locked are left
// out, or waited for for a while. What brought the status is told by its last event.
func lockStood(ctx context.Context, tx *sqlx.Tx, ids []uuid.UUID, wait bool) (map[uuid.UUID]stood, error) {
	skip := `SKIP LOCKED`
	if wait {
		skip = ``
		if err := limitLocks(ctx, tx, refoldWait); err != nil {
			return nil, err
		}
	}
	var mine []string
	err := tx.SelectContext(ctx, &mine, `
		WITH w AS MATERIALIZED (
			SELECT delivery_id FROM waybills WHERE delivery_id = ANY($1::uuid[]) ORDER BY delivery_id FOR UPDATE `+skip+`
		)
		SELECT id FROM deliveries WHERE id IN (SELECT delivery_id FROM w) ORDER BY id FOR NO KEY UPDATE `+skip, pq.Array(texts(ids)))
	if err != nil {
		return nil, fmt.Errorf("lock the deliveries: %w", err)
	}
	// In a statement of its own: the first one does not see the events of whoever it has waited for.
	rows, err := tx.QueryContext(ctx, `
		SELECT w.delivery_id, w.waybill_no, w.stage, w.ordered_at, w.changed_at, w.fingerprint, w.failures,
			d.status, d.status_since, d.id_checked, d.receiver, d.held_until,
			d.status = 'returned' AND EXISTS (SELECT 1 FROM returns r WHERE r.delivery_id = d.id),
			coalesce(l.code, ''), CAST(l.at AS timestamptz),
			coalesce((SELECT string_agg(c.kind, ' ') FROM cases c WHERE c.delivery_id = d.id AND c.closed_at IS NULL), ''),
			coalesce((SELECT string_agg(c.kind, ' ') FROM cases c WHERE c.delivery_id = d.id AND c.closed_at IS NOT NULL), '')
		FROM waybills w JOIN deliveries d ON d.id = w.delivery_id
			LEFT JOIN LATERAL (SELECT e.data->>'scan_code' AS code, e.data->>'scan_at' AS at FROM events e
				WHERE e.delivery_id = d.id AND e.type = 'delivery.' || d.status AND e.at >= d.status_since - interval '1 day'
				ORDER BY e.seq DESC LIMIT 1) l ON true
		WHERE w.delivery_id = ANY($1::uuid[])`, pq.Array(mine))
	if err != nil {
		return nil, fmt.Errorf("read how deliveries stand: %w", err)
	}
	defer rows.Close()
	found := make(map[uuid.UUID]stood, len(ids))
	for rows.Next() {
		var s stood
		var until, causeAt sql.NullTime
		var open, had string
		err := rows.Scan(&s.delivery, &s.no, &s.stage, &s.orderedAt, &s.changedAt, &s.fingerprint, &s.failures,
			&s.status, &s.since, &s.idChecked, &s.receiver, &until, &s.atStation, &s.causeCode, &causeAt, &open, &had)
		if err != nil {
			return nil, fmt.Errorf("read how deliveries stand: %w", err)
		}
		s.byScan, s.causeAt, s.heldUntil = s.causeCode != "", causeAt.Time, dayOf(until)
		s.open, s.had = kinds(open), kinds(had)
		found[s.delivery] = s
	}
	return found, rows.Err()
}

// limitLocks makes the rest of a transaction give up when a lock is not to be had in time.
func limitLocks(ctx context.Context, tx *sqlx.Tx, wait time.Duration) error {
	_, err := tx.ExecContext(ctx, fmt.Sprintf(`SET LOCAL lock_timeout = %d`, wait.Milliseconds()))
	return err
}

func isLockTimeout(err error) bool {
	e, ok := errors.AsType[*pq.Error](err)
	return ok && e.Code == "55P03"
}

func kinds(text string) (list []courier.CaseKind) {
	for _, k := range strings.Fields(text) {
		list = append(list, courier.CaseKind(k))
	}
	return list
}

// readTexts opens the texts that say who received an envelope or until when it waits, and reads them as they are read
// today. Only what differs from what is stored comes back, and how many cannot be opened.
func (f *refoldJob) readTexts(ctx context.Context, tx *sqlx.Tx, ids []uuid.UUID, from time.Time) (changed readings, dark int, err error) {
	rows, err := tx.QueryContext(ctx, `
		SELECT delivery_id, op_at, op_code, org_code, text_print, desc_sealed, said_class, said_until, false
		FROM scans WHERE delivery_id = ANY($1::uuid[]) AND op_code = ANY($2::text[]) AND op_at >= $3
		UNION ALL
		SELECT delivery_id, op_at, op_code, org_code, text_print, desc_sealed, said_class, said_until, true
		FROM retellings WHERE delivery_id = ANY($1::uuid[]) AND op_code = ANY($2::text[]) AND op_at >= $3`,
		pq.Array(texts(ids)), pq.Array(toldCodes), from)
	if err != nil {
		return nil, 0, fmt.Errorf("read the texts of scans: %w", err)
	}
	defer rows.Close()
	changed = readings{}
	for rows.Next() {
		var k kept
		var sealed []byte
		var until sql.NullTime
		if err := rows.Scan(&k.DeliveryID, &k.At, &k.Code, &k.OrgCode, &k.print, &sealed, &k.SaidClass, &until, &k.retold); err != nil {
			return nil, 0, fmt.Errorf("read the texts of scans: %w", err)
		}
		column := vault.ColumnScan
		if k.retold {
			column = vault.ColumnRetelling
		}
		if k.Desc, err = f.vault.Unseal(column, k.DeliveryID, sealed); err != nil {
			dark++
			continue
		}
		k.SaidUntil = dayOf(until)
		now := readText(courier.Scan{At: k.At, Code: k.Code, Desc: k.Desc})
		if now.SaidClass != k.SaidClass || !now.SaidUntil.Equal(k.SaidUntil) {
			changed[keyOf(&k)] = reading{now.SaidClass, now.SaidUntil, k.retold}
		}
	}
	return changed, dark, rows.Err()
}

// toldCodes are the codes whose texts are read.
var toldCodes = func() []string {
	list := []string{"704", "705"}
	for code, c := range codes {
		if c.Group == Held && !slices.Contains(list, code) {
			list = append(list, code)
		}
	}
	slices.Sort(list)
	return list
}()

// write stores what texts say today.
func (s readings) write(ctx context.Context, tx *sqlx.Tx) error {
	for _, table := range []struct {
		name   string
		retold bool
	}{{"scans", false}, {"retellings", true}} {
		var ids, codes, orgs, classes []string
		var untils []*string
		var prints []int64
		var at []time.Time
		for k, now := range s {
			if now.retold == table.retold {
				ids, codes, orgs = append(ids, k.delivery.String()), append(codes, k.code), append(orgs, k.org)
				at, prints = append(at, time.UnixMicro(k.at)), append(prints, k.print)
				classes, untils = append(classes, now.class), append(untils, day(now.until))
			}
		}
		if len(ids) == 0 {
			continue
		}
		_, err := tx.ExecContext(ctx, `
			UPDATE `+table.name+` s SET said_class = u.class, said_until = u.until
			FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::date[])
				AS u(id, at, code, org, print, class, until)
			WHERE s.delivery_id = u.id AND s.op_at = u.at AND s.op_code = u.code AND s.org_code = u.org AND s.text_print = u.print`,
			pq.Array(ids), timeArray(at), pq.Array(codes), pq.Array(orgs), pq.Array(prints), pq.Array(classes), pq.Array(untils))
		if err != nil {
			return fmt.Errorf("store what the texts of %s say: %w", table.name, err)
		}
	}
	return nil
}
