package courier

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"emsd/courier/vault"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// deliveryColumns are read with alias d; deliveryRow has a field for each.
const deliveryColumns = `d.id, d.permit_no, d.application_no, d.business, d.route, d.ground, d.identity_changed, d.address_changed, d.station_code,
	d.station_class, d.consent_source, d.consent_at, d.consent_notice, d.approved_at, d.payment_method, d.name_sealed, d.phone_sealed, d.id_no_sealed,
	d.address_sealed, d.content_lookup, d.province, d.city, d.county, d.status, d.status_since, d.rule, d.reason, d.zone, d.fee_fen, d.paid_fen,
	d.refund_due_fen, d.refunded_fen, d.order_no, d.waybill_no, d.reconcile_at, d.held_until, d.cancel_requested_at, d.supersedes, d.seq, d.handed_over_at,
	d.receiver, d.created_at, d.updated_at, d.language`

type deliveryRow struct {
	ID              uuid.UUID      `db:"id"`
	PermitNo        string         `db:"permit_no"`
	ApplicationNo   string         `db:"application_no"`
	Business        string         `db:"business"`
	Route           string         `db:"route"`
	Ground          string         `db:"ground"`
	IdentityChanged bool           `db:"identity_changed"`
	AddressChanged  bool           `db:"address_changed"`
	StationCode     string         `db:"station_code"`
	StationClass    string         `db:"station_class"`
	ConsentSource   sql.NullString `db:"consent_source"`
	ConsentAt       sql.NullTime   `db:"consent_at"`
	ConsentNotice   string         `db:"consent_notice"`
	ApprovedAt      time.Time      `db:"approved_at"`
	PaymentMethod   string         `db:"payment_method"`
	Name            []byte         `db:"name_sealed"`
	Phone           []byte         `db:"phone_sealed"`
	IDNo            []byte         `db:"id_no_sealed"`
	Address         []byte         `db:"address_sealed"`
	Content         []byte         `db:"content_lookup"`
	Province        string         `db:"province"`
	City            string         `db:"city"`
	County          string         `db:"county"`
	Status          Status         `db:"status"`
	StatusSince     time.Time      `db:"status_since"`
	Rule            sql.NullString `db:"rule"`
	Reason          sql.NullString `db:"reason"`
	Zone            string         `db:"zone"`
	FeeFen          int64          `db:"fee_fen"`
	PaidFen         int64          `db:"paid_fen"`
	RefundDueFen    int64          `db:"refund_due_fen"`
	RefundedFen     int64          `db:"refunded_fen"`
	OrderNo         sql.NullString `db:"order_no"`
	WaybillNo       sql.NullString `db:"waybill_no"`
	ReconcileAt     sql.NullTime   `db:"reconcile_at"`
	HeldUntil       sql.NullTime   `db:"held_until"`
	CancelRequested sql.NullTime   `db:"cancel_requested_at"`
	Supersedes      uuid.NullUUID  `db:"supersedes"`
	Seq             int            `db:"seq"`
	HandedOverAt    sql.NullTime   `db:"handed_over_at"`
	Receiver        string         `db:"receiver"`
	CreatedAt       time.Time      `db:"created_at"`
	UpdatedAt       time.Time      `db:"updated_at"`
	Language        string         `db:"language"`
	NextPollAt      sql.NullTime   `db:"next_poll_at"` // only where waybills are joined
}

// delivery gives all of a row but the sealed data.
func (r *deliveryRow) delivery() Delivery {
	return Delivery{
		ID: r.ID,
		Application: Application{
			PermitNo: r.PermitNo, ApplicationNo: r.ApplicationNo, Business: r.Business, Route: r.Route, Ground: r.Ground,
			IdentityChanged: r.IdentityChanged, AddressChanged: r.AddressChanged, StationCode: r.StationCode,
			Consent:    Consent{Source: r.ConsentSource.String, At: r.ConsentAt.Time, NoticeVersion: r.ConsentNotice},
			ApprovedAt: r.ApprovedAt, PaymentMethod: r.PaymentMethod,
			Recipient: Recipient{Province: r.Province, City: r.City, County: r.County, Language: r.Language},
		},
		StationClass: r.StationClass, Status: r.Status, StatusSince: r.StatusSince, Rule: r.Rule.String, Reason: r.Reason.String,
		Zone: r.Zone, FeeFen: r.FeeFen, PaidFen: r.PaidFen, RefundDueFen: r.RefundDueFen, RefundedFen: r.RefundedFen,
		OrderNo: r.OrderNo.String, WaybillNo: r.WaybillNo.String, HeldUntil: r.HeldUntil.Time, CancelRequestedAt: r.CancelRequested.Time,
		NextPollAt: r.NextPollAt.Time, Supersedes: r.Supersedes.UUID, Seq: r.Seq, CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt,
		HandedOverAt: r.HandedOverAt.Time, Receiver: r.Receiver,
	}
}

// unsealed gives a row with its recipient in the open. What retention has erased stays empty.
func (r *deliveryRow) unsealed(v *vault.Vault) (Delivery, error) {
	d := r.delivery()
	for _, c := range []struct {
		column string
		sealed []byte
		into   *vault.Secret
	}{
		{vault.ColumnName, r.Name, &d.Recipient.Name},
		{vault.ColumnPhone, r.Phone, &d.Recipient.Phone},
		{vault.ColumnIDNo, r.IDNo, &d.Recipient.IDNo},
		{vault.ColumnAddress, r.Address, &d.Recipient.Address},
	} {
		if len(c.sealed) == 0 {
			continue
		}
		var err error
		if *c.into, err = v.Unseal(c.column, r.ID, c.sealed); err != nil {
			return Delivery{}, err
		}
	}
	return d, nil
}

// readDeliveries reads deliveries by id, with what is known of polling.
func readDeliveries(ctx context.Context, q sqlx.QueryerContext, ids []uuid.UUID) (map[uuid.UUID]*deliveryRow, error) {
	var rows []deliveryRow
	err := sqlx.SelectContext(ctx, q, &rows, `
		SELECT `+deliveryColumns+`, w.next_poll_at
		FROM deliveries d LEFT JOIN waybills w ON w.delivery_id = d.id
		WHERE d.id = ANY($1::uuid[]) AND ($2 = '' OR d.station_code = $2)`, pq.Array(uuidTexts(ids)), StationOf(ctx))
	if err != nil {
		return nil, fmt.Errorf("read %d deliveries: %w", len(ids), err)
	}
	byID := make(map[uuid.UUID]*deliveryRow, len(rows))
	for i := range rows {
		byID[rows[i].ID] = &rows[i]
	}
	return byID, nil
}

// lockDeliveries reads deliveries and keeps them from changing until the transaction ends; in the order of their ids,
// as everybody does.
func lockDeliveries(ctx context.Context, tx *sqlx.Tx, ids []uuid.UUID) (map[uuid.UUID]*deliveryRow, error) {
	var rows []deliveryRow
	err := tx.SelectContext(ctx, &rows, `
		SELECT `+deliveryColumns+`
		FROM deliveries d
		WHERE d.id = ANY($1::uuid[]) AND ($2 = '' OR d.station_code = $2)
		ORDER BY d.id
		FOR NO KEY UPDATE`, pq.Array(uuidTexts(ids)), StationOf(ctx))
	if err != nil {
		return nil, fmt.Errorf("lock %d deliveries: %w", len(ids), err)
	}
	byID := make(map[uuid.UUID]*deliveryRow, len(rows))
	for i := range rows {
		byID[rows[i].ID] = &rows[i]
	}
	return byID, nil
}

// listDeliveries reads one page: by last change when the filter asks for changes, else by id, which is the order in
// which deliveries were made. Rows that come or change while somebody pages lie behind the cursor.
func listDeliveries(ctx context.Context, q sqlx.QueryerContext, f Filter, after pageMark) ([]deliveryRow, error) {
	order := `d.id`
	if f.byChange() {
		order = `d.updated_at, d.id`
	}
	var rows []deliveryRow
	err := sqlx.SelectContext(ctx, q, &rows, `
		SELECT `+deliveryColumns+`, w.next_poll_at
		FROM deliveries d LEFT JOIN waybills w ON w.delivery_id = d.id
		WHERE ($1 = '' OR d.status = $1) AND ($2 = '' OR d.permit_no = $2) AND ($3 = '' OR d.waybill_no = $3)
			AND (NOT $4 OR d.updated_at > $5) AND (NOT $6 OR `+after.condition(f)+`) AND ($10 = '' OR d.station_code = $10)
		ORDER BY `+order+`
		LIMIT $9`,
		string(f.Status), f.PermitNo, f.WaybillNo, f.byChange(), f.UpdatedAfter, after.set, after.at, after.id, f.Limit+1,
		StationOf(ctx))
	if err != nil {
		return nil, fmt.Errorf("list deliveries: %w", err)
	}
	return rows, nil
}

// condition names $7 and $8 in either order, so that both have a use and a type.
func (m pageMark) condition(f Filter) string {
	if f.byChange() {
		return `(d.updated_at, d.id) > ($7::timestamptz, $8::uuid)`
	}
	return `(d.id > $8::uuid AND $7::timestamptz IS NOT NULL)`
}

type paymentRow struct {
	ID            uuid.UUID `db:"id"`
	DeliveryID    uuid.UUID `db:"delivery_id"`
	Kind          string    `db:"kind"`
	TransactionNo string    `db:"transaction_no"`
	Method        string    `db:"method"`
	AmountFen     int64     `db:"amount_fen"`
	PaidAt        time.Time `db:"paid_at"`
	RecordedAt    time.Time `db:"recorded_at"`
	RecordedBy    string    `db:"recorded_by"`
}

func (r paymentRow) payment() Payment {
	return Payment{ID: r.ID, DeliveryID: r.DeliveryID, Kind: r.Kind, TransactionNo: r.TransactionNo, Method: r.Method, AmountFen: r.AmountFen,
		PaidAt: r.PaidAt, RecordedAt: r.RecordedAt, RecordedBy: r.RecordedBy}
}

const paymentColumns = `id, delivery_id, kind, transaction_no, method, amount_fen, paid_at, recorded_at, recorded_by`

func paymentsOf(ctx context.Context, q sqlx.QueryerContext, delivery uuid.UUID) ([]Payment, error) {
	var rows []paymentRow
	err := sqlx.SelectContext(ctx, q, &rows, `
		SELECT `+paymentColumns+` FROM payments WHERE delivery_id = $1 ORDER BY recorded_at, id`, delivery)
	if err != nil {
		return nil, fmt.Errorf("read the payments of %s: %w", delivery, err)
	}
	payments := make([]Payment, len(rows))
	for i, r := range rows {
		payments[i] = r.payment()
	}
	return payments, nil
}

const caseColumns = `id, delivery_id, coalesce(subject, '') AS subject, kind, opened_at, due_at, owner, next_action, detail, closed_at, outcome, closed_by, why`

type caseRow struct {
	ID         uuid.UUID      `db:"id"`
	DeliveryID uuid.NullUUID  `db:"delivery_id"`
	Subject    string         `db:"subject"`
	Kind       CaseKind       `db:"kind"`
	OpenedAt   time.Time      `db:"opened_at"`
	DueAt      time.Time      `db:"due_at"`
	Owner      string         `db:"owner"`
	NextAction string         `db:"next_action"`
	Detail     string         `db:"detail"`
	ClosedAt   sql.NullTime   `db:"closed_at"`
	Outcome    sql.NullString `db:"outcome"`
	ClosedBy   sql.NullString `db:"closed_by"`
	Why        sql.NullString `db:"why"`
}

func casesFrom(rows []caseRow) []Case {
	cases := make([]Case, len(rows))
	for i, r := range rows {
		cases[i] = Case{r.ID, r.DeliveryID.UUID, r.Subject, r.Kind, r.OpenedAt, r.DueAt, r.Owner, r.NextAction, r.Detail, r.ClosedAt.Time, r.Outcome.String,
			r.ClosedBy.String, r.Why.String}
	}
	return cases
}

func casesOf(ctx context.Context, q sqlx.QueryerContext, delivery uuid.UUID) ([]Case, error) {
	var rows []caseRow
	err := sqlx.SelectContext(ctx, q, &rows, `
		SELECT `+caseColumns+` FROM cases WHERE delivery_id = $1 ORDER BY opened_at, id`, delivery)
	if err != nil {
		return nil, fmt.Errorf("read the cases of %s: %w", delivery, err)
	}
	return casesFrom(rows), nil
}

// listCases reads open cases by their due time.
func listCases(ctx context.Context, q sqlx.QueryerContext, f CaseFilter, after pageMark) ([]Case, error) {
	var rows []caseRow
	err := sqlx.SelectContext(ctx, q, &rows, `
		SELECT `+caseColumns+`
		FROM cases
		WHERE closed_at IS NULL AND ($1 = '' OR kind = $1) AND (NOT $2 OR (due_at, id) > ($3::timestamptz, $4::uuid))
			AND ($6 = '' OR EXISTS (SELECT 1 FROM deliveries d WHERE d.id = cases.delivery_id AND d.station_code = $6))
		ORDER BY due_at, id
		LIMIT $5`, string(f.Kind), after.set, after.at, after.id, f.Limit+1, StationOf(ctx))
	if err != nil {
		return nil, fmt.Errorf("list cases: %w", err)
	}
	return casesFrom(rows), nil
}

func readCase(ctx context.Context, q sqlx.QueryerContext, id uuid.UUID) (Case, error) {
	var row caseRow
	err := sqlx.GetContext(ctx, q, &row, `SELECT `+caseColumns+` FROM cases WHERE id = $1`, id)
	if errors.Is(err, sql.ErrNoRows) {
		return Case{}, ErrNotFound
	}
	if err != nil {
		return Case{}, fmt.Errorf("read case %s: %w", id, err)
	}
	return casesFrom([]caseRow{row})[0], nil
}

// lockCase reads a case and its delivery, if it has one, and keeps both from changing: the delivery first, as every move does.
func lockCase(ctx context.Context, tx *sqlx.Tx, id uuid.UUID) (Case, map[uuid.UUID]*deliveryRow, error) {
	var delivery uuid.NullUUID
	err := tx.GetContext(ctx, &delivery, `SELECT delivery_id FROM cases WHERE id = $1`, id)
	if errors.Is(err, sql.ErrNoRows) {
		return Case{}, nil, ErrNotFound
	}
	if err != nil {
		return Case{}, nil, fmt.Errorf("find case %s: %w", id, err)
	}
	var rows map[uuid.UUID]*deliveryRow
	if delivery.Valid {
		if rows, err = lockDeliveries(ctx, tx, []uuid.UUID{delivery.UUID}); err != nil {
			return Case{}, nil, err
		}
	}
	if delivery.Valid && rows[delivery.UUID] == nil || !delivery.Valid && StationOf(ctx) != "" { // of another station, or of none
		return Case{}, nil, ErrNotFound
	}
	var row caseRow
	if err := tx.GetContext(ctx, &row, `SELECT `+caseColumns+` FROM cases WHERE id = $1 FOR UPDATE`, id); err != nil {
		return Case{}, nil, fmt.Errorf("lock case %s: %w", id, err)
	}
	return casesFrom([]caseRow{row})[0], rows, nil
}

type holderRow struct {
	Phone       []byte    `db:"phone_sealed"`
	Language    string    `db:"language"`
	Status      Status    `db:"status"`
	StatusSince time.Time `db:"status_since"`
}

func readHolder(ctx context.Context, db *sqlx.DB, id uuid.UUID) (holderRow, error) {
	var r holderRow
	err := db.GetContext(ctx, &r, `SELECT phone_sealed, language, status, status_since FROM deliveries WHERE id = $1`, id)
	if errors.Is(err, sql.ErrNoRows) {
		return r, ErrNotFound
	}
	return r, err
}
