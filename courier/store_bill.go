package courier

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// lockBills makes importers take turns, and finds the bill that is this one: the same content, or the same number.
func lockBills(ctx context.Context, tx *sqlx.Tx, content []byte, billNo string) (id uuid.UUID, err error) {
	if _, err := tx.ExecContext(ctx, `LOCK TABLE bills IN SHARE ROW EXCLUSIVE MODE`); err != nil {
		return uuid.Nil, fmt.Errorf("lock the bills: %w", err)
	}
	err = tx.GetContext(ctx, &id, `SELECT id FROM bills WHERE content = $1 OR bill_no <> '' AND bill_no = $2 LIMIT 1`, content, billNo)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return uuid.Nil, fmt.Errorf("look for the same bill: %w", err)
	}
	return id, nil
}

func hasBill(ctx context.Context, q sqlx.QueryerContext, billNo string) (has bool, err error) {
	err = sqlx.GetContext(ctx, q, &has, `SELECT EXISTS (SELECT 1 FROM bills WHERE bill_no = $1)`, billNo)
	if err != nil {
		return false, fmt.Errorf("look for a bill: %w", err)
	}
	return has, nil
}

// hasMonth tells whether EMS has been asked for a month's bill with success.
func hasMonth(ctx context.Context, q sqlx.QueryerContext, month time.Time) (has bool, err error) {
	err = sqlx.GetContext(ctx, q, &has, `SELECT EXISTS (SELECT 1 FROM bills WHERE month = $1::date AND source = 'interface')`, day(month))
	if err != nil {
		return false, fmt.Errorf("look for a month's bill: %w", err)
	}
	return has, nil
}

// billFacts tells what is known of waybills: that a delivery has them now, or had them before they were cancelled.
func billFacts(ctx context.Context, tx *sqlx.Tx, numbers []string) (map[string]billFact, error) {
	var rows []billFact
	err := tx.SelectContext(ctx, &rows, `
		WITH n AS (SELECT DISTINCT waybill_no FROM unnest($1::text[]) AS n(waybill_no)),
		now AS (
			SELECT n.waybill_no, d.id AS delivery_id, d.status = 'cancelled' AS void, d.payment_method = 'collect' AS collect,
				coalesce(d.postage_fen, d.fee_fen) AS fen, coalesce(d.postage_weight_g, 0) AS weight_g
			FROM n JOIN deliveries d ON d.waybill_no = n.waybill_no
		), before AS (
			SELECT waybill_no, delivery_id FROM unwanted_waybills WHERE waybill_no = ANY($1)
			UNION
			SELECT waybill_no, delivery_id FROM order_attempts WHERE waybill_no = ANY($1)
			UNION
			SELECT waybill_no, delivery_id FROM numbers WHERE waybill_no = ANY($1) AND delivery_id IS NOT NULL
		)
		SELECT waybill_no, delivery_id, void, collect, fen, weight_g FROM now
		UNION ALL
		SELECT DISTINCT ON (b.waybill_no) b.waybill_no, d.id, true, false, 0, 0
		FROM before b JOIN deliveries d ON d.id = b.delivery_id
		WHERE NOT EXISTS (SELECT 1 FROM now WHERE now.waybill_no = b.waybill_no)`, pq.Array(numbers))
	if err != nil {
		return nil, fmt.Errorf("read what is known of %d waybills: %w", len(numbers), err)
	}
	facts := make(map[string]billFact, len(rows))
	for _, r := range rows {
		facts[r.WaybillNo] = r
	}
	return facts, nil
}

// billCharges reads what earlier bills charged for waybills.
func billCharges(ctx context.Context, tx *sqlx.Tx, numbers []string) (map[string][]billCharge, error) {
	var rows []billCharge
	err := tx.SelectContext(ctx, &rows, `
		SELECT l.waybill_no, b.month, l.fen
		FROM bill_lines l JOIN bills b ON b.id = l.bill_id
		WHERE l.waybill_no = ANY($1) AND l.result NOT IN ('missing', 'known')`, pq.Array(numbers))
	if err != nil {
		return nil, fmt.Errorf("read earlier charges for %d waybills: %w", len(numbers), err)
	}
	charges := map[string][]billCharge{}
	for _, r := range rows {
		charges[r.WaybillNo] = append(charges[r.WaybillNo], r)
	}
	return charges, nil
}

// missingFromBill finds what EMS accepted on the account in a month and charged on no bill, this one included. An
// envelope is missed once.
func missingFromBill(ctx context.Context, tx *sqlx.Tx, month time.Time, numbers []string) ([]BillEntry, error) {
	from := time.Date(month.Year(), month.Month(), 1, 0, 0, 0, 0, beijing)
	var rows []struct {
		WaybillNo string    `db:"waybill_no"`
		ID        uuid.UUID `db:"id"`
		Accepted  time.Time `db:"accepted_at"`
		Fen       int64     `db:"fen"`
		WeightG   int       `db:"weight_g"`
	}
	err := tx.SelectContext(ctx, &rows, `
		SELECT d.waybill_no, d.id, j.accepted_at, coalesce(d.postage_fen, d.fee_fen) AS fen, coalesce(d.postage_weight_g, 0) AS weight_g
		FROM journeys j JOIN deliveries d ON d.id = j.delivery_id
		WHERE j.accepted_at >= $1 AND j.accepted_at < $2 AND d.payment_method = 'prepaid' AND d.status <> 'cancelled' AND d.waybill_no IS NOT NULL
			AND d.waybill_no <> ALL($3) AND NOT EXISTS (SELECT 1 FROM bill_lines l WHERE l.waybill_no = d.waybill_no)
		ORDER BY j.accepted_at, d.id`, from, from.AddDate(0, 1, 0), pq.Array(numbers))
	if err != nil {
		return nil, fmt.Errorf("find what is missing from a bill: %w", err)
	}
	missing := make([]BillEntry, len(rows))
	for i, r := range rows {
		y, m, d := r.Accepted.In(beijing).Date()
		missing[i] = BillEntry{WaybillNo: r.WaybillNo, PostedOn: time.Date(y, m, d, 0, 0, 0, 0, time.UTC), Result: BillMissing, Delivery: r.ID,
			OurFen: r.Fen, OurWeight: r.WeightG}
	}
	return missing, nil
}

func insertBill(ctx context.Context, tx *sqlx.Tx, id uuid.UUID, content []byte, in NewBill, now time.Time, by string) error {
	var total int64
	for _, l := range in.Lines {
		total += l.Fen
	}
	_, err := tx.ExecContext(ctx, `
		INSERT INTO bills (id, month, source, bill_no, content, total_fen, stated_fen, bad_rows, imported_at, imported_by)
		VALUES ($1, $2::date, $3, $4, $5, $6, nullif($7::bigint, 0), $8, $9, $10)`,
		id, day(in.Month), in.Source, in.BillNo, content, total, in.StatedFen, in.BadRows, now, by)
	if err != nil {
		return fmt.Errorf("store a bill: %w", err)
	}
	return nil
}

func insertBillLines(ctx context.Context, tx *sqlx.Tx, id uuid.UUID, entries []BillEntry) error {
	size := len(entries)
	ns, rows, weights, ourWeights := make([]int64, size), make([]int64, size), make([]int64, size), make([]int64, size)
	fen, ourFen := make([]int64, size), make([]int64, size)
	numbers, days, results, deliveries := make([]string, size), make([]string, size), make([]string, size), make([]string, size)
	for i, e := range entries {
		ns[i], rows[i], weights[i], ourWeights[i], fen[i], ourFen[i] = int64(e.N), int64(e.Row), int64(e.WeightG), int64(e.OurWeight), e.Fen, e.OurFen
		numbers[i], results[i] = e.WaybillNo, string(e.Result)
		if !e.PostedOn.IsZero() {
			days[i] = day(e.PostedOn)
		}
		if e.Delivery != uuid.Nil {
			deliveries[i] = e.Delivery.String()
		}
	}
	_, err := tx.ExecContext(ctx, `
		INSERT INTO bill_lines (bill_id, n, row, waybill_no, posted_on, weight_g, fen, result, delivery_id, our_fen, our_weight_g)
		SELECT $1, n, nullif(row, 0), waybill_no, nullif(posted, '')::date, nullif(weight, 0), fen, result, nullif(delivery, '')::uuid,
			CASE WHEN delivery <> '' THEN our_fen END, nullif(our_weight, 0)
		FROM unnest($2::integer[], $3::integer[], $4::text[], $5::text[], $6::integer[], $7::bigint[], $8::text[], $9::text[], $10::bigint[], $11::integer[])
			AS l(n, row, waybill_no, posted, weight, fen, result, delivery, our_fen, our_weight)`,
		id, pq.Array(ns), pq.Array(rows), pq.Array(numbers), pq.Array(days), pq.Array(weights), pq.Array(fen), pq.Array(results), pq.Array(deliveries),
		pq.Array(ourFen), pq.Array(ourWeights))
	if err != nil {
		return fmt.Errorf("store %d lines of a bill: %w", size, err)
	}
	return nil
}

// settleMissing settles the lines of earlier bills that said that something is missing which this bill charges, and gives
// the deliveries about whose charge nothing is left to settle.
func settleMissing(ctx context.Context, tx *sqlx.Tx, id uuid.UUID, now time.Time) (deliveries []uuid.UUID, err error) {
	err = tx.SelectContext(ctx, &deliveries, `
		WITH came AS (
			UPDATE bill_lines l SET settled_at = $2, settled_by = 'emsd', note = '已列入后来的账单'
			FROM bill_lines new
			WHERE new.bill_id = $1 AND new.result <> 'missing' AND l.waybill_no = new.waybill_no AND l.bill_id <> $1 AND l.result = 'missing'
				AND l.settled_at IS NULL
			RETURNING l.bill_id, l.n, l.delivery_id
		)
		SELECT DISTINCT c.delivery_id FROM came c
		WHERE NOT EXISTS (
			SELECT 1 FROM bill_lines o
			WHERE o.delivery_id = c.delivery_id AND o.result NOT IN ('matched', 'known', 'missing') AND o.settled_at IS NULL)`, id, now)
	if err != nil {
		return nil, fmt.Errorf("settle what was missing: %w", err)
	}
	return deliveries, nil
}

// linkBillCases notes the case of each difference about a delivery.
func linkBillCases(ctx context.Context, tx *sqlx.Tx, id uuid.UUID) error {
	_, err := tx.ExecContext(ctx, `
		UPDATE bill_lines l SET case_id = c.id
		FROM cases c
		WHERE l.bill_id = $1 AND l.result NOT IN ('matched', 'known') AND c.delivery_id = l.delivery_id AND c.kind = 'fee_difference' AND c.closed_at IS NULL`, id)
	if err != nil {
		return fmt.Errorf("link the lines of a bill to their cases: %w", err)
	}
	return nil
}

// openLine tells, of bill_lines l with cases c, whether somebody has to look at it.
const openLine = `(l.result NOT IN ('matched', 'known') AND l.settled_at IS NULL AND (c.id IS NULL OR c.closed_at IS NULL))`

// readBills reads one bill, or the last ones when id is zero.
func readBills(ctx context.Context, q sqlx.QueryerContext, id uuid.UUID, limit int) ([]Bill, error) {
	var rows []struct {
		ID         uuid.UUID     `db:"id"`
		Month      time.Time     `db:"month"`
		Source     string        `db:"source"`
		BillNo     string        `db:"bill_no"`
		TotalFen   int64         `db:"total_fen"`
		StatedFen  sql.NullInt64 `db:"stated_fen"`
		BadRows    int           `db:"bad_rows"`
		ImportedAt time.Time     `db:"imported_at"`
		ImportedBy string        `db:"imported_by"`
	}
	err := sqlx.SelectContext(ctx, q, &rows, `
		SELECT id, month, source, bill_no, total_fen, stated_fen, bad_rows, imported_at, imported_by
		FROM bills
		WHERE ($1 = '00000000-0000-0000-0000-000000000000'::uuid OR id = $1)
		ORDER BY month DESC, imported_at DESC
		LIMIT $2`, id, limit)
	if err != nil {
		return nil, fmt.Errorf("read bills: %w", err)
	}
	bills, ids := make([]Bill, len(rows)), make([]string, len(rows))
	for i, r := range rows {
		bills[i] = Bill{ID: r.ID, Month: r.Month, Source: r.Source, BillNo: r.BillNo, TotalFen: r.TotalFen, StatedFen: r.StatedFen.Int64, BadRows: r.BadRows,
			ImportedAt: r.ImportedAt, ImportedBy: r.ImportedBy, Sums: map[BillResult]BillSum{}}
		ids[i] = r.ID.String()
	}
	return bills, addBillSums(ctx, q, bills, ids)
}

func addBillSums(ctx context.Context, q sqlx.QueryerContext, bills []Bill, ids []string) error {
	var sums []struct {
		ID     uuid.UUID  `db:"bill_id"`
		Result BillResult `db:"result"`
		Lines  int        `db:"lines"`
		Fen    int64      `db:"fen"`
		Open   int        `db:"open"`
	}
	err := sqlx.SelectContext(ctx, q, &sums, `
		SELECT l.bill_id, l.result, count(*) AS lines, sum(CASE WHEN l.result = 'missing' THEN l.our_fen ELSE l.fen END)::bigint AS fen,
			count(*) FILTER (WHERE `+openLine+`) AS open
		FROM bill_lines l LEFT JOIN cases c ON c.id = l.case_id
		WHERE l.bill_id = ANY($1::uuid[])
		GROUP BY l.bill_id, l.result`, pq.Array(ids))
	if err != nil {
		return fmt.Errorf("sum up %d bills: %w", len(bills), err)
	}
	for _, s := range sums {
		i := slices.IndexFunc(bills, func(b Bill) bool { return b.ID == s.ID })
		bills[i].Sums[s.Result] = BillSum{s.Lines, s.Fen}
		bills[i].Open += s.Open
	}
	return nil
}

func readBillLines(ctx context.Context, q sqlx.QueryerContext, id uuid.UUID, results []BillResult, after, limit int) ([]BillEntry, error) {
	wanted := make([]string, len(results))
	for i, r := range results {
		wanted[i] = string(r)
	}
	var rows []struct {
		N         int            `db:"n"`
		Row       sql.NullInt64  `db:"row"`
		WaybillNo string         `db:"waybill_no"`
		PostedOn  sql.NullTime   `db:"posted_on"`
		WeightG   sql.NullInt64  `db:"weight_g"`
		Fen       int64          `db:"fen"`
		Result    BillResult     `db:"result"`
		Delivery  uuid.NullUUID  `db:"delivery_id"`
		OurFen    sql.NullInt64  `db:"our_fen"`
		OurWeight sql.NullInt64  `db:"our_weight_g"`
		Case      uuid.NullUUID  `db:"case_id"`
		CaseOpen  bool           `db:"case_open"`
		SettledAt sql.NullTime   `db:"settled_at"`
		SettledBy sql.NullString `db:"settled_by"`
		Note      sql.NullString `db:"note"`
	}
	err := sqlx.SelectContext(ctx, q, &rows, `
		SELECT l.n, l.row, l.waybill_no, l.posted_on, l.weight_g, l.fen, l.result, l.delivery_id, l.our_fen, l.our_weight_g, l.case_id,
			c.id IS NOT NULL AND c.closed_at IS NULL AS case_open, l.settled_at, l.settled_by, l.note
		FROM bill_lines l LEFT JOIN cases c ON c.id = l.case_id
		WHERE l.bill_id = $1 AND (cardinality($2::text[]) = 0 OR l.result = ANY($2)) AND l.n > $3
		ORDER BY l.n
		LIMIT $4`, id, pq.Array(wanted), after, limit)
	if err != nil {
		return nil, fmt.Errorf("read the lines of bill %s: %w", id, err)
	}
	entries := make([]BillEntry, len(rows))
	for i, r := range rows {
		entries[i] = BillEntry{N: r.N, Row: int(r.Row.Int64), WaybillNo: r.WaybillNo, PostedOn: r.PostedOn.Time, WeightG: int(r.WeightG.Int64), Fen: r.Fen,
			Result: r.Result, Delivery: r.Delivery.UUID, OurFen: r.OurFen.Int64, OurWeight: int(r.OurWeight.Int64), Case: r.Case.UUID, CaseOpen: r.CaseOpen,
			SettledAt: r.SettledAt.Time, SettledBy: r.SettledBy.String, Note: r.Note.String}
	}
	return entries, nil
}

func saveBillSettled(ctx context.Context, tx *sqlx.Tx, id uuid.UUID, n int, note string, now time.Time, by string) (bool, error) {
	res, err := tx.ExecContext(ctx, `
		UPDATE bill_lines SET settled_at = $3, settled_by = $4, note = $5
		WHERE bill_id = $1 AND n = $2 AND case_id IS NULL AND settled_at IS NULL AND result NOT IN ('matched', 'known')`, id, n, now, by, note)
	if err != nil {
		return false, fmt.Errorf("settle a line of bill %s: %w", id, err)
	}
	count, err := res.RowsAffected()
	return count > 0, err
}
