package courier

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"time"

	"emsd/courier/vault"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// readStations reads the stations of a batch by code.
func readStations(ctx context.Context, q sqlx.QueryerContext, codes []string) (map[string]Station, error) {
	var rows []struct {
		Code       string `db:"code"`
		Name       string `db:"name"`
		Kind       string `db:"kind"`
		OperatedBy string `db:"operated_by"`
	}
	for i, code := range codes {
		if !plainNumber(code) { // it cannot be a station's, and may hold what PostgreSQL does not take as text
			codes[i] = ""
		}
	}
	err := sqlx.SelectContext(ctx, q, &rows, `
		SELECT code, name, kind, coalesce(operated_by, '') AS operated_by FROM stations WHERE code = ANY($1)`, pq.Array(codes))
	if err != nil {
		return nil, fmt.Errorf("read stations: %w", err)
	}
	stations := make(map[string]Station, len(rows))
	for _, r := range rows {
		stations[r.Code] = Station{Code: r.Code, Name: r.Name, Kind: r.Kind, OperatedBy: r.OperatedBy}
	}
	return stations, nil
}

// readPolicies reads the policies in force.
func readPolicies(ctx context.Context, q sqlx.QueryerContext, now time.Time) ([]Policy, error) {
	var rows []struct {
		Rule    string       `db:"rule"`
		Subject string       `db:"subject"`
		Value   string       `db:"value"`
		From    time.Time    `db:"valid_from"`
		To      sql.NullTime `db:"valid_to"`
		Note    string       `db:"note"`
	}
	err := sqlx.SelectContext(ctx, q, &rows, `
		SELECT rule, subject, value, valid_from, valid_to, note
		FROM policies
		WHERE valid_from <= $1 AND (valid_to IS NULL OR valid_to > $1)
		ORDER BY rule, subject, value, valid_from`, now)
	if err != nil {
		return nil, fmt.Errorf("read policies: %w", err)
	}
	policies := make([]Policy, len(rows))
	for i, r := range rows {
		policies[i] = Policy{r.Rule, r.Subject, r.Value, r.From, r.To.Time, r.Note}
	}
	return policies, nil
}

// readTariffs reads the tariffs in force.
func readTariffs(ctx context.Context, q sqlx.QueryerContext, now time.Time) ([]Tariff, error) {
	return selectTariffs(ctx, q, `SELECT `+tariffColumns+` FROM tariffs WHERE valid_from <= $1 AND (valid_to IS NULL OR valid_to > $1)`, now)
}

// deliveriesOfPermits reads every delivery of some permits, the oldest first.
func deliveriesOfPermits(ctx context.Context, q sqlx.QueryerContext, permits []string) ([]deliveryRow, error) {
	var rows []deliveryRow
	err := sqlx.SelectContext(ctx, q, &rows, `
		SELECT `+deliveryColumns+` FROM deliveries d WHERE d.permit_no = ANY($1) ORDER BY d.created_at, d.id`, pq.Array(permits))
	if err != nil {
		return nil, fmt.Errorf("read the deliveries of %d permits: %w", len(permits), err)
	}
	return rows, nil
}

// insertDeliveries writes deliveries and the first event of each in one statement. It leaves out those that a unique
// index forbids, because another client wrote the like meanwhile, and returns those it wrote. In the order of permits,
// so that two batches wait for each other in one direction only.
func (b *batch) insertDeliveries(ctx context.Context, tx *sqlx.Tx, fresh []*candidate) (map[uuid.UUID]bool, error) {
	if len(fresh) == 0 {
		return nil, nil
	}
	var c deliveryArrays
	approved := false
	for _, f := range fresh {
		d := b.results[f.index].Delivery
		c.add(b.s.vault, d, f.content)
		approved = approved || d.Status == Approved
	}
	var ids []uuid.UUID
	err := tx.SelectContext(ctx, &ids, `
		WITH x AS MATERIALIZED (
			SELECT id, permit_no, application_no, business, route, ground, identity_changed, address_changed, station_code, station_class,
				consent_source, consent_at, consent_notice, approved_at, payment_method, name, phone, id_no, address, phone_lookup, id_no_lookup,
				content, province, city, county, status, rule, reason, zone, fee_fen, supersedes, data, language
			FROM unnest($3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::boolean[], $10::boolean[], $11::text[], $12::text[],
				$13::text[], $14::text[], $15::text[], $16::timestamptz[], $17::text[], $18::bytea[], $19::bytea[], $20::bytea[], $21::bytea[],
				$22::bytea[], $23::bytea[], $24::bytea[], $25::text[], $26::text[], $27::text[], $28::text[], $29::text[], $30::text[], $31::text[],
				$32::bigint[], $33::text[], $34::jsonb[], $35::text[])
				AS x(id, permit_no, application_no, business, route, ground, identity_changed, address_changed, station_code, station_class,
					consent_source, consent_at, consent_notice, approved_at, payment_method, name, phone, id_no, address, phone_lookup, id_no_lookup,
					content, province, city, county, status, rule, reason, zone, fee_fen, supersedes, data, language)
		), written AS (
			INSERT INTO deliveries (id, permit_no, application_no, business, route, ground, identity_changed, address_changed, station_code,
				station_class, consent_source, consent_at, consent_notice, approved_at, payment_method, name_sealed, phone_sealed, id_no_sealed,
				address_sealed, phone_lookup, id_no_lookup, content_lookup, province, city, county, status, status_since, rule, reason, zone,
				fee_fen, next_attempt_at, supersedes, seq, created_at, updated_at, language)
			SELECT id, permit_no, application_no, business, route, ground, identity_changed, address_changed, station_code,
				station_class, nullif(consent_source, ''), nullif(consent_at, '')::timestamptz, consent_notice, approved_at, payment_method, name, phone,
				id_no, address, phone_lookup, id_no_lookup, content, province, city, county, status, $1, nullif(rule, ''), nullif(reason, ''), zone,
				fee_fen, CASE WHEN status = 'approved' THEN $2::timestamptz END, nullif(supersedes, '')::uuid, 1, $1, $1, language
			FROM x
			ORDER BY permit_no, id
			ON CONFLICT DO NOTHING
			RETURNING id, status
		), logged AS (
			INSERT INTO events (delivery_id, seq, type, at, data)
			SELECT w.id, 1, 'delivery.' || w.status, $1, x.data FROM written w JOIN x ON x.id = w.id
		)
		SELECT id FROM written`, append([]any{b.now, b.wall}, c.args()...)...)
	if err != nil {
		return nil, fmt.Errorf("insert %d deliveries: %w", len(fresh), err)
	}
	written := make(map[uuid.UUID]bool, len(ids))
	for _, id := range ids {
		written[id] = true
	}
	if len(ids) == 0 {
		return written, nil
	}
	if approved {
		if err := Wake(ctx, tx, WakeOrders); err != nil {
			return nil, err
		}
	}
	return written, Wake(ctx, tx, WakeEvents)
}

// deliveryArrays are the columns of new deliveries, one array each.
type deliveryArrays struct {
	texts [22][]string
	flags [2][]bool
	bytes [7]pq.ByteaArray
	times []time.Time
	fees  []int64
}

func (c *deliveryArrays) add(v *vault.Vault, d Delivery, content []byte) {
	superseded := ""
	if d.Supersedes != uuid.Nil {
		superseded = d.Supersedes.String()
	}
	r, data := d.Recipient, EventData{Rule: d.Rule, FeeFen: d.FeeFen, Supersedes: superseded}
	for i, s := range []string{d.ID.String(), d.PermitNo, d.ApplicationNo, d.Business, d.Route, d.Ground, d.StationCode, d.StationClass,
		d.Consent.Source, instant(d.Consent.At), d.Consent.NoticeVersion, d.PaymentMethod, r.Province, r.City, r.County, string(d.Status), d.Rule,
		d.Reason, d.Zone, superseded, encodeData(data), cmp.Or(r.Language, InChinese)} {
		c.texts[i] = append(c.texts[i], s)
	}
	for i, f := range []bool{d.IdentityChanged, d.AddressChanged} {
		c.flags[i] = append(c.flags[i], f)
	}
	for i, s := range [][]byte{
		v.Seal(vault.ColumnName, d.ID, r.Name.Reveal()), v.Seal(vault.ColumnPhone, d.ID, r.Phone.Reveal()),
		v.Seal(vault.ColumnIDNo, d.ID, r.IDNo.Reveal()), v.Seal(vault.ColumnAddress, d.ID, r.Address.Reveal()),
		v.Lookup(vault.ColumnPhone, r.Phone.Reveal()), v.Lookup(vault.ColumnIDNo, r.IDNo.Reveal()), content} {
		c.bytes[i] = append(c.bytes[i], s)
	}
	c.times = append(c.times, d.ApprovedAt)
	c.fees = append(c.fees, d.FeeFen)
}

// args gives the arrays in the order of the statement.
func (c *deliveryArrays) args() []any {
	t, b := func(i int) any { return pq.Array(c.texts[i]) }, func(i int) any { return c.bytes[i] }
	return []any{t(0), t(1), t(2), t(3), t(4), t(5), pq.Array(c.flags[0]), pq.Array(c.flags[1]), t(6), t(7),
		t(8), t(9), t(10), timeArray(c.times), t(11), b(0), b(1), b(2), b(3),
		b(4), b(5), b(6), t(12), t(13), t(14), t(15), t(16), t(17), t(18),
		pq.Array(c.fees), t(19), t(20), t(21)}
}
