package courier

import (
	"context"
	"maps"
	"slices"
	"time"

	"emsd/courier/vault"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// An orderJob is a delivery in ordering that this process holds by a lease.
type orderJob struct {
	ID            uuid.UUID `db:"id"`
	AttemptID     uuid.UUID `db:"attempt_id"`
	Attempts      int       `db:"attempts"`
	Reconciles    int       `db:"reconciles"`
	OrderNo       string    `db:"order_no"`
	WaybillNo     string    `db:"waybill_no"` // empty: EMS assigns one
	NumberMode    string    `db:"number_mode"`
	PaymentMethod string    `db:"payment_method"`
	Name          []byte    `db:"name_sealed"`
	Phone         []byte    `db:"phone_sealed"`
	Address       []byte    `db:"address_sealed"`
	IDNo          []byte    `db:"id_no_sealed"`
	IDChecked     bool      `db:"id_checked"`      // EMS is told the ID number
	Password      []byte    `db:"password_sealed"` // empty: none
	Province      string    `db:"province"`
	City          string    `db:"city"`
	County        string    `db:"county"`
	StationCode   string    `db:"station_code"`
	Sender        Party     `db:"-"`

	// Of the reconcile round only.
	CancelRequested bool   `db:"cancel_requested"`
	Unwanted        bool   `db:"unwanted"` // another waybill was made for it and is not cancelled yet
	LastOutcome     string `db:"last_outcome"`
	LastRetCode     string `db:"last_ret_code"`
	LastDetail      string `db:"last_detail"`
}

// jobColumns are the columns of an orderJob that both rounds read, from deliveries d.
const jobColumns = `d.id, d.attempts, d.reconciles, d.order_no, coalesce(d.waybill_no, '') AS waybill_no, d.number_mode,
	d.payment_method, d.name_sealed, d.phone_sealed, d.address_sealed, d.id_no_sealed, d.id_checked,
	coalesce(d.password_sealed, '') AS password_sealed, d.province, d.city, d.county, d.station_code`

// claimOrders takes up to limit due deliveries to ordering: number, order number, intent (I-4) and event in one
// statement and one commit. short counts due deliveries that got no number because the pool is empty.
func (o *Orderer) claimOrders(ctx context.Context, limit int, now, wall, until time.Time) (jobs []orderJob, short int, err error) {
	at, id, _ := o.cursor.load()
	jobs, short, err = o.claimFrom(ctx, at, id, limit, now, wall, until)
	if err == nil && len(jobs) == 0 && short == 0 && !at.IsZero() {
		jobs, short, err = o.claimFrom(ctx, time.Time{}, uuid.Nil, limit, now, wall, until)
	}
	return jobs, short, err
}

func (o *Orderer) claimFrom(ctx context.Context, after time.Time, afterID uuid.UUID, limit int, now, wall, until time.Time) (jobs []orderJob, short int, err error) {
	var last cursor
	_, _, number := o.numbers.load()
	err = InTx(ctx, o.db, func(tx *sqlx.Tx) error {
		rows, err := tx.QueryxContext(ctx, `
			WITH due AS (
				SELECT id, waybill_no, next_attempt_at
				FROM deliveries
				WHERE status = 'approved' AND cancel_requested_at IS NULL
					AND next_attempt_at <= $1 AND (next_attempt_at, id) > ($2, $3)
				ORDER BY next_attempt_at, id
				LIMIT $4
				FOR NO KEY UPDATE SKIP LOCKED
			), ranked AS (
				SELECT id, waybill_no, next_attempt_at, row_number() OVER (ORDER BY next_attempt_at, id) AS n,
					CASE WHEN waybill_no IS NULL THEN row_number() OVER (PARTITION BY waybill_no IS NULL ORDER BY next_attempt_at, id) END AS need
				FROM due
			), free AS (
				SELECT waybill_no FROM numbers
				WHERE state = 'free' AND product = $5 AND waybill_no > $6 AND $7 = 'reserved'
				ORDER BY waybill_no
				LIMIT (SELECT count(need) FROM ranked)
				FOR UPDATE SKIP LOCKED
			), given AS MATERIALIZED (
				SELECT array_agg(waybill_no) AS numbers FROM free
			), picked AS MATERIALIZED (
				-- A number by its place in an array: a join of two CTEs of unknown size is planned as a nested loop.
				SELECT r.id, r.next_attempt_at, r.n, coalesce(r.waybill_no, g.numbers[r.need]) AS waybill_no,
					g.numbers[r.need] AS fresh
				FROM ranked r CROSS JOIN given g
			), taken AS (
				UPDATE numbers SET state = 'taken', delivery_id = p.id
				FROM picked p WHERE numbers.waybill_no = p.fresh
			), moved AS (
				UPDATE deliveries d
				SET status = 'ordering', status_since = $8, updated_at = greatest(d.updated_at, $8), seq = d.seq + 1,
					attempts = d.attempts + 1, reconciles = 0, next_attempt_at = NULL, reconcile_at = $9,
					order_no = coalesce(d.order_no, 'RP' || replace(d.id::text, '-', '')), waybill_no = p.waybill_no,
					number_mode = CASE WHEN p.waybill_no IS NULL THEN 'assigned' ELSE 'reserved' END, id_checked = $11
				FROM picked p
				WHERE d.id = p.id AND (p.waybill_no IS NOT NULL OR $7 = 'assigned')
				RETURNING `+jobColumns+`, d.seq, p.n, p.next_attempt_at AS due_at, p.fresh,
					($10 || lpad(to_hex(p.n), 4, '0'))::uuid AS attempt_id
			), intents AS (
				INSERT INTO order_attempts (id, delivery_id, call, order_no, waybill_no, started_at)
				SELECT attempt_id, id, 'create', order_no, nullif(waybill_no, ''), $1 FROM moved
			), logged AS (
				INSERT INTO events (delivery_id, seq, type, at, data)
				SELECT id, seq, 'delivery.ordering', $8, CASE WHEN waybill_no = '' THEN '{"from":"approved"}'::jsonb
					ELSE jsonb_build_object('from', 'approved', 'waybill_no', waybill_no) END FROM moved
			)
			SELECT id, attempt_id, attempts, reconciles, order_no, waybill_no, number_mode, payment_method, name_sealed, phone_sealed,
				address_sealed, id_no_sealed, id_checked, password_sealed, province, city, county, station_code, due_at, coalesce(fresh, '') AS fresh, (SELECT count(*) FROM due) AS due_count
			FROM moved`,
			wall, after, afterID, limit, o.opts.Product, number, o.opts.Numbers, now, until, idPrefix(), o.opts.RecipientID)
		if err != nil {
			return err
		}
		defer rows.Close()
		due := 0
		for rows.Next() {
			var c struct {
				orderJob
				DueAt time.Time `db:"due_at"`
				Fresh string    `db:"fresh"`
				Due   int       `db:"due_count"`
			}
			if err := rows.StructScan(&c); err != nil {
				return err
			}
			jobs, due = append(jobs, c.orderJob), c.Due
			last.advance(c.DueAt, c.ID, c.Fresh)
		}
		if err := rows.Err(); err != nil {
			return err
		}
		if len(jobs) == 0 && o.opts.Numbers == NumbersReserved {
			due, err = countDue(ctx, tx, after, afterID, limit, wall)
		}
		if err != nil {
			return err
		}
		short = due - len(jobs)
		if err := o.setPasswords(ctx, tx, jobs); err != nil {
			return err
		}
		o.at(PointOrderClaimed)
		return o.setSenders(ctx, tx, jobs)
	})
	if err != nil {
		return nil, 0, err
	}
	if short == 0 && len(jobs) > 0 {
		o.cursor.store(last.at, last.id, "")
	}
	o.numbers.store(time.Time{}, uuid.Nil, last.no) // empty when none was left after it: the next claim starts over
	return jobs, short, nil
}

// setPasswords gives each job that has none a delivery password, in the commit of its intent: a repeated order must tell
// EMS the same.
func (o *Orderer) setPasswords(ctx context.Context, tx *sqlx.Tx, jobs []orderJob) error {
	if !o.opts.Password {
		return nil
	}
	var ids []string
	var sealed pq.ByteaArray
	for i := range jobs {
		j := &jobs[i]
		if len(j.Password) > 0 {
			continue
		}
		password, err := newPassword()
		if err != nil {
			return err
		}
		j.Password = o.vault.Seal(vault.ColumnPassword, j.ID, password.Reveal())
		ids, sealed = append(ids, j.ID.String()), append(sealed, j.Password)
	}
	if len(ids) == 0 {
		return nil
	}
	_, err := tx.ExecContext(ctx, `
		UPDATE deliveries d SET password_sealed = p.sealed FROM unnest($1::uuid[], $2::bytea[]) AS p(id, sealed) WHERE d.id = p.id`,
		pq.Array(ids), sealed)
	return err
}

// setSenders gives each job its sender: the station that handled the application, when its record is complete, for the
// envelope returns there; else the default.
func (o *Orderer) setSenders(ctx context.Context, tx *sqlx.Tx, jobs []orderJob) error {
	if len(jobs) == 0 {
		return nil
	}
	codes := map[string]Party{}
	for _, j := range jobs {
		codes[j.StationCode] = o.opts.Sender
	}
	var rows []struct {
		Code     string `db:"code"`
		Name     string `db:"sender_name"`
		Phone    string `db:"phone"`
		Province string `db:"province"`
		City     string `db:"city"`
		County   string `db:"county"`
		Address  string `db:"address"`
	}
	err := tx.SelectContext(ctx, &rows, `
		SELECT code, sender_name, phone, province, city, county, address FROM stations
		WHERE code = ANY($1) AND '' NOT IN (sender_name, phone, province, city, county, address)`, pq.Array(slices.Collect(maps.Keys(codes))))
	if err != nil {
		return err
	}
	for _, r := range rows {
		codes[r.Code] = Party{Name: vault.Conceal(r.Name), Phone: vault.Conceal(r.Phone), Province: r.Province, City: r.City,
			County: r.County, Address: vault.Conceal(r.Address)}
	}
	for i := range jobs {
		jobs[i].Sender = codes[jobs[i].StationCode]
	}
	return nil
}

// countDue counts the due deliveries that the claim before it locked but could give no number.
func countDue(ctx context.Context, tx *sqlx.Tx, after time.Time, afterID uuid.UUID, limit int, wall time.Time) (n int, err error) {
	err = tx.GetContext(ctx, &n, `
		SELECT count(*) FROM (
			SELECT 1 FROM deliveries
			WHERE status = 'approved' AND cancel_requested_at IS NULL AND next_attempt_at <= $1 AND (next_attempt_at, id) > ($2, $3)
			ORDER BY next_attempt_at, id
			LIMIT $4
			FOR NO KEY UPDATE SKIP LOCKED) due`, wall, after, afterID, limit)
	return n, err
}

// idPrefix is a time-ordered UUID less its last four digits, which number the rows of one statement: ids made in
// order keep the index's writes together.
func idPrefix() string { return uuid.Must(uuid.NewV7()).String()[:32] }

// A settledOrder is a job with EMS's answer and what follows from it.
type settledOrder struct {
	job   orderJob
	reply orderReply // outcome is empty when nothing was sent: the question of the reconcile round
	step  orderStep
	pdf   []byte // sealed label, when EMS gave it with the answer
}

// writeOutcomes records a chunk in one commit: attempts, ordered deliveries with their waybill, label and event, and
// whatever else came of them. Only what the claim still holds is changed: status, attempts and reconciles must be those
// of the job. A confirmation counts even then, for EMS holds the order whoever asked.
func (o *Orderer) writeOutcomes(ctx context.Context, settled []settledOrder, now, wall time.Time) error {
	slices.SortFunc(settled, func(a, b settledOrder) int { return slices.Compare(a.job.ID[:], b.job.ID[:]) })
	var ordered, others []settledOrder
	for _, s := range settled {
		if s.step.to == Ordered {
			ordered = append(ordered, s)
		} else {
			others = append(others, s)
		}
	}
	err := InTx(ctx, o.db, func(tx *sqlx.Tx) error {
		if err := o.writeOrdered(ctx, tx, ordered, now, wall); err != nil {
			return err
		}
		return o.writeOthers(ctx, tx, others, now, wall)
	})
	if err != nil {
		return err
	}
	// Told apart from the commit: a transaction that notifies holds a lock of the whole database while it is flushed.
	_, err = o.db.ExecContext(ctx, `SELECT pg_notify($1, '')`, WakeEvents)
	return err
}

func (o *Orderer) writeOrdered(ctx context.Context, tx *sqlx.Tx, ordered []settledOrder, now, wall time.Time) error {
	if len(ordered) == 0 {
		return nil
	}
	n := len(ordered)
	ids, attempts, outcomes, serials, numbers := make([]string, n), make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	for i, s := range ordered {
		ids[i], attempts[i], outcomes[i] = s.job.ID.String(), s.job.AttemptID.String(), s.reply.outcome
		serials[i], numbers[i] = s.reply.serialNo, s.step.waybillNo
	}
	var moved []uuid.UUID
	err := tx.SelectContext(ctx, &moved, `
		WITH r AS MATERIALIZED (
			SELECT id, attempt_id, outcome, serial_no, waybill_no
			FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[]) AS r(id, attempt_id, outcome, serial_no, waybill_no)
		), closed AS (
			UPDATE order_attempts a SET finished_at = $7, outcome = r.outcome, serial_no = r.serial_no, ret_code = '00000', detail = '',
				waybill_no = coalesce(a.waybill_no, r.waybill_no)
			FROM r WHERE a.id = r.attempt_id AND r.outcome <> '' AND (a.outcome IS NULL OR a.outcome = 'unknown')
		), moved AS (
			UPDATE deliveries d
			SET status = 'ordered', status_since = $6, updated_at = greatest(d.updated_at, $6), seq = d.seq + 1,
				waybill_no = r.waybill_no, reconcile_at = NULL, reconciles = 0,
				cancel_attempt_at = CASE WHEN d.cancel_requested_at IS NOT NULL THEN $7::timestamptz END
			FROM r
			-- The empty string keeps the planner from an index on status, whose dead entries pile up; the key is right.
			WHERE d.id = r.id AND d.status || '' = 'ordering' AND (d.waybill_no = r.waybill_no OR d.waybill_no IS NULL
				AND NOT EXISTS (SELECT 1 FROM deliveries other WHERE other.waybill_no = r.waybill_no))
			RETURNING d.id, d.seq, d.waybill_no
		), tracked AS (
			INSERT INTO waybills (delivery_id, waybill_no, stage, ordered_at, next_poll_at, changed_at)
			SELECT id, waybill_no, 'ordered', $6, $8::timestamptz, $6 FROM moved
			ON CONFLICT (delivery_id) DO NOTHING
		), labelled AS (
			INSERT INTO labels (delivery_id, waybill_no, next_attempt_at)
			SELECT id, waybill_no, $7 FROM moved
			ON CONFLICT (delivery_id) DO NOTHING
		), logged AS (
			INSERT INTO events (delivery_id, seq, type, at, data)
			SELECT id, seq, 'delivery.ordered', $6, jsonb_build_object('from', 'ordering', 'waybill_no', waybill_no) FROM moved
		)
		SELECT id FROM moved`,
		pq.Array(ids), pq.Array(attempts), pq.Array(outcomes), pq.Array(serials), pq.Array(numbers), now, wall, now.Add(o.opts.FirstPoll))
	if err != nil {
		return err
	}
	if err := storeLabels(ctx, tx, labelsOf(ordered), now); err != nil {
		return err
	}
	if err := closeOrderCases(ctx, tx, repeatedIDs(ordered), now); err != nil {
		return err
	}
	if len(moved) == n {
		return nil
	}
	return o.writeLate(ctx, tx, ordered, moved, now, wall)
}

// writeLate deals with confirmations that found their delivery elsewhere: ordered already is well, but a waybill of a
// cancelled delivery, or a number that is another delivery's, must not stay.
func (o *Orderer) writeLate(ctx context.Context, tx *sqlx.Tx, ordered []settledOrder, moved []uuid.UUID, now, wall time.Time) error {
	late := map[uuid.UUID]settledOrder{}
	for _, s := range ordered {
		if !slices.Contains(moved, s.job.ID) {
			late[s.job.ID] = s
		}
	}
	var rows []struct {
		ID        uuid.UUID `db:"id"`
		Status    Status    `db:"status"`
		WaybillNo string    `db:"waybill_no"`
	}
	err := tx.SelectContext(ctx, &rows, `
		SELECT id, status, coalesce(waybill_no, '') AS waybill_no FROM deliveries WHERE id = ANY($1::uuid[]) ORDER BY id`,
		pq.Array(uuidTexts(slices.Collect(maps.Keys(late)))))
	if err != nil {
		return err
	}
	var unwanted, odd []settledOrder
	for _, r := range rows {
		s := late[r.ID]
		s.step = orderStep{unwanted: s.step.waybillNo, caseKind: CaseOrderUnknown, action: actVoidWaybill,
			detail: "EMS 确认了已不需要的运单 " + s.step.waybillNo}
		switch {
		case r.Status == Cancelled && s.reply.outcome != "":
			unwanted = append(unwanted, s)
		case r.Status == Ordering: // assigned mode: EMS named a number that another delivery has
			s.step = orderStep{clerk: true, caseKind: CaseOrderUnknown, action: actAskEMS, detail: "EMS 分配的运单号已属于另一件寄递"}
			odd = append(odd, s)
		case r.WaybillNo != s.step.unwanted:
			unwanted = append(unwanted, s)
		}
	}
	if err := insertUnwanted(ctx, tx, unwanted, wall); err != nil {
		return err
	}
	if err := OpenCases(ctx, tx, o.casesOf(unwanted, now)); err != nil {
		return err
	}
	return o.writeOthers(ctx, tx, odd, now, wall)
}

// writeOthers records what did not end in an ordered delivery.
func (o *Orderer) writeOthers(ctx context.Context, tx *sqlx.Tx, others []settledOrder, now, wall time.Time) error {
	if len(others) == 0 {
		return nil
	}
	if err := closeAttempts(ctx, tx, others, wall); err != nil {
		return err
	}
	if err := insertUnwanted(ctx, tx, others, wall); err != nil {
		return err
	}
	keep, err := o.stillHeld(ctx, tx, others, wall)
	if err != nil {
		return err
	}
	var moves []Move
	var cancelled []uuid.UUID
	for _, s := range keep {
		switch s.step.to {
		case Approved:
			moves = append(moves, Move{ID: s.job.ID, From: Ordering, To: Approved, At: now})
		case Cancelled:
			cancelled = append(cancelled, s.job.ID)
		}
	}
	if _, err := ApplyMoves(ctx, tx, moves); err != nil {
		return err
	}
	if err := o.cancelAt(ctx, tx, Ordering, cancelled, now); err != nil {
		return err
	}
	for _, s := range others { // a second waybill is a case whoever holds the delivery now
		if s.step.unwanted != "" && !slices.ContainsFunc(keep, func(k settledOrder) bool { return k.job.ID == s.job.ID }) {
			keep = append(keep, s)
		}
	}
	return OpenCases(ctx, tx, o.casesOf(keep, now))
}

// stillHeld writes the waits of what the claims still hold and returns it. A delivery whose cancellation was asked for
// meanwhile does not go back to approved: it is asked about, and then cancelled.
func (o *Orderer) stillHeld(ctx context.Context, tx *sqlx.Tx, others []settledOrder, wall time.Time) ([]settledOrder, error) {
	n := len(others)
	ids, attempts, reconciles := make([]string, n), make([]int, n), make([]int, n)
	to, again, waits := make([]string, n), make([]bool, n), make([]time.Time, n)
	byID := make(map[uuid.UUID]settledOrder, n)
	for i, s := range others {
		ids[i], attempts[i], reconciles[i] = s.job.ID.String(), s.job.Attempts, s.job.Reconciles
		to[i], again[i], waits[i] = string(s.step.to), s.step.to == "" && !s.step.clerk, wall.Add(s.step.wait)
		byID[s.job.ID] = s
	}
	var rows []struct {
		ID   uuid.UUID `db:"id"`
		Back bool      `db:"back"`
	}
	err := tx.SelectContext(ctx, &rows, `
		WITH r AS MATERIALIZED (
			SELECT id, attempts, reconciles, to_status, again, wait_until
			FROM unnest($1::uuid[], $2::integer[], $3::integer[], $4::text[], $5::boolean[], $6::timestamptz[])
				AS r(id, attempts, reconciles, to_status, again, wait_until)
		), locked AS MATERIALIZED (
			SELECT d.id, r.to_status, r.again, r.wait_until, r.to_status = 'approved' AND d.cancel_requested_at IS NULL AS back,
				r.to_status = 'approved' AND d.cancel_requested_at IS NOT NULL AS stop
			FROM deliveries d JOIN r ON r.id = d.id
			WHERE d.status = 'ordering' AND d.attempts = r.attempts AND d.reconciles = r.reconciles
			ORDER BY d.id FOR NO KEY UPDATE OF d
		)
		UPDATE deliveries d
		SET next_attempt_at = CASE WHEN l.back THEN l.wait_until END,
			reconcile_at = CASE WHEN l.stop THEN $7::timestamptz WHEN l.again THEN l.wait_until END
		FROM locked l WHERE d.id = l.id
		RETURNING d.id, l.to_status <> 'approved' OR l.back AS back`,
		pq.Array(ids), pq.Array(attempts), pq.Array(reconciles), pq.Array(to), pq.Array(again), timeArray(waits), wall)
	if err != nil {
		return nil, err
	}
	keep := make([]settledOrder, 0, len(rows))
	for _, r := range rows {
		s := byID[r.ID]
		if !r.Back {
			s.step.to = ""
		}
		keep = append(keep, s)
	}
	return keep, nil
}

func (o *Orderer) casesOf(settled []settledOrder, now time.Time) []NewCase {
	var cases []NewCase
	for _, s := range settled {
		if s.step.caseKind != "" {
			cases = append(cases, NewCase{DeliveryID: s.job.ID, Kind: s.step.caseKind, OpenedAt: now, DueAt: now.Add(o.opts.CaseWithin),
				NextAction: s.step.action, Detail: s.step.detail})
		}
	}
	return cases
}

// closeAttempts writes the outcome of attempts; one that was taken for lost may still get its own.
func closeAttempts(ctx context.Context, tx *sqlx.Tx, settled []settledOrder, wall time.Time) error {
	var ids, outcomes, codes, details, serials []string
	for _, s := range settled {
		if s.reply.outcome != "" {
			ids, outcomes = append(ids, s.job.AttemptID.String()), append(outcomes, s.reply.outcome)
			codes, details, serials = append(codes, s.reply.retCode), append(details, s.reply.detail), append(serials, s.reply.serialNo)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	_, err := tx.ExecContext(ctx, `
		UPDATE order_attempts a
		SET finished_at = $6, outcome = r.outcome, ret_code = r.ret_code, detail = r.detail, serial_no = r.serial_no
		FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[]) AS r(id, outcome, ret_code, detail, serial_no)
		WHERE a.id = r.id AND (a.outcome IS NULL OR a.outcome = 'unknown')`,
		pq.Array(ids), pq.Array(outcomes), pq.Array(codes), pq.Array(details), pq.Array(serials), wall)
	return err
}

// insertUnwanted keeps the waybills that must be cancelled. One that belongs to another delivery of ours is left to the
// clerk: cancelling it would stop somebody else's envelope. One that EMS names again is cancelled again.
func insertUnwanted(ctx context.Context, tx *sqlx.Tx, settled []settledOrder, wall time.Time) error {
	var numbers, deliveries, orders []string
	for _, s := range settled {
		if s.step.unwanted != "" && !slices.Contains(numbers, s.step.unwanted) {
			numbers, deliveries, orders = append(numbers, s.step.unwanted), append(deliveries, s.job.ID.String()), append(orders, s.job.OrderNo)
		}
	}
	if len(numbers) == 0 {
		return nil
	}
	_, err := tx.ExecContext(ctx, `
		WITH r AS MATERIALIZED (
			SELECT waybill_no, delivery_id, order_no FROM unnest($1::text[], $2::uuid[], $3::text[]) AS r(waybill_no, delivery_id, order_no)
		), void AS (
			UPDATE numbers SET state = 'void' FROM r WHERE numbers.waybill_no = r.waybill_no AND numbers.state = 'free'
		)
		INSERT INTO unwanted_waybills (waybill_no, delivery_id, order_no, found_at, cancel_at)
		SELECT waybill_no, delivery_id, order_no, $4, $4 FROM r
		WHERE NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.waybill_no = r.waybill_no AND d.id <> r.delivery_id)
		ON CONFLICT (waybill_no) DO UPDATE SET cancel_at = excluded.cancel_at, cancelled_at = NULL`,
		pq.Array(numbers), pq.Array(deliveries), pq.Array(orders), wall)
	if err != nil {
		return err
	}
	return Wake(ctx, tx, WakeOrders) // before EMS collects an envelope under it, when it cannot be cancelled any more
}

// closeOrderCases closes the cases of ordering of deliveries that came through, unless a second waybill of theirs is
// still to be cancelled.
func closeOrderCases(ctx context.Context, tx *sqlx.Tx, ids []uuid.UUID, now time.Time) error {
	if len(ids) == 0 {
		return nil
	}
	var settled []uuid.UUID
	err := tx.SelectContext(ctx, &settled, `
		SELECT DISTINCT c.delivery_id FROM cases c
		WHERE c.delivery_id = ANY($1::uuid[]) AND c.closed_at IS NULL AND c.kind IN ('order_refused', 'order_unknown')
			AND NOT EXISTS (SELECT 1 FROM unwanted_waybills u WHERE u.delivery_id = c.delivery_id AND u.cancelled_at IS NULL)
		ORDER BY c.delivery_id`, pq.Array(uuidTexts(ids)))
	if err != nil {
		return err
	}
	var closings []CaseClosing
	for _, id := range settled {
		for _, kind := range []CaseKind{CaseOrderRefused, CaseOrderUnknown} {
			closings = append(closings, CaseClosing{DeliveryID: id, Kind: kind, At: now, Outcome: "resolved", By: "emsd", Why: "EMS 已确认本件运单"})
		}
	}
	return CloseCases(ctx, tx, closings)
}

// repeatedIDs are the deliveries that did not come through at the first try, so that a case may be open for them.
func repeatedIDs(settled []settledOrder) []uuid.UUID {
	var ids []uuid.UUID
	for _, s := range settled {
		if s.job.Attempts > 1 || s.job.Reconciles > 0 {
			ids = append(ids, s.job.ID)
		}
	}
	return ids
}

func uuidTexts(ids []uuid.UUID) []string {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = id.String()
	}
	return texts
}
