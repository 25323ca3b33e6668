package courier

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

func allPolicies(ctx context.Context, q sqlx.QueryerContext) ([]StoredPolicy, error) {
	var rows []struct {
		ID      int64        `db:"id"`
		Rule    string       `db:"rule"`
		Subject string       `db:"subject"`
		Value   string       `db:"value"`
		From    time.Time    `db:"valid_from"`
		To      sql.NullTime `db:"valid_to"`
		Note    string       `db:"note"`
	}
	err := sqlx.SelectContext(ctx, q, &rows, `
		SELECT id, rule, subject, value, valid_from, valid_to, note
		FROM policies
		ORDER BY rule, subject, value, valid_from`)
	if err != nil {
		return nil, fmt.Errorf("read every policy: %w", err)
	}
	policies := make([]StoredPolicy, len(rows))
	for i, r := range rows {
		policies[i] = StoredPolicy{r.ID, Policy{r.Rule, r.Subject, r.Value, r.From, r.To.Time, r.Note}}
	}
	return policies, nil
}

func insertPolicy(ctx context.Context, tx *sqlx.Tx, c PolicyChange) error {
	_, err := tx.ExecContext(ctx, `
		INSERT INTO policies (rule, subject, value, valid_from, valid_to, note) VALUES ($1, $2, $3, $4, $5, $6)`,
		c.Rule, c.Subject, c.Value, c.At, sql.NullTime{Time: c.Until, Valid: !c.Until.IsZero()}, c.Note)
	if err != nil {
		return fmt.Errorf("open %s %s: %w", c.Subject, c.Value, err)
	}
	return nil
}

// endPolicy ends a policy that has not ended before at.
func endPolicy(ctx context.Context, tx *sqlx.Tx, id int64, at time.Time) error {
	res, err := tx.ExecContext(ctx, `
		UPDATE policies SET valid_to = $2 WHERE id = $1 AND valid_from < $2 AND (valid_to IS NULL OR valid_to > $2)`, id, at)
	if err != nil {
		return fmt.Errorf("end policy %d: %w", id, err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, ErrStale)
	}
	return nil
}

// recentApplications reads what applications since a time were judged by, the newest first.
func recentApplications(ctx context.Context, db *sqlx.DB, since time.Time, limit int) ([]pastApplication, error) {
	var rows []struct {
		Business        string         `db:"business"`
		Route           string         `db:"route"`
		Ground          string         `db:"ground"`
		IdentityChanged bool           `db:"identity_changed"`
		AddressChanged  bool           `db:"address_changed"`
		Class           string         `db:"station_class"`
		ConsentSource   sql.NullString `db:"consent_source"`
		ConsentAt       sql.NullTime   `db:"consent_at"`
		PaymentMethod   string         `db:"payment_method"`
	}
	err := db.SelectContext(ctx, &rows, `
		SELECT business, route, ground, identity_changed, address_changed, station_class, consent_source, consent_at, payment_method
		FROM deliveries
		WHERE updated_at >= $1 AND created_at >= $1
		ORDER BY updated_at DESC, id DESC
		LIMIT $2`, since, limit)
	if err != nil {
		return nil, fmt.Errorf("read recent applications: %w", err)
	}
	past := make([]pastApplication, len(rows))
	for i, r := range rows {
		past[i] = pastApplication{Class: r.Class, Application: Application{Business: r.Business, Route: r.Route, Ground: r.Ground,
			IdentityChanged: r.IdentityChanged, AddressChanged: r.AddressChanged, PaymentMethod: r.PaymentMethod,
			Consent: Consent{Source: r.ConsentSource.String, At: r.ConsentAt.Time}}}
	}
	return past, nil
}

func allTariffs(ctx context.Context, q sqlx.QueryerContext) ([]Tariff, error) {
	return selectTariffs(ctx, q, `SELECT `+tariffColumns+` FROM tariffs ORDER BY zone, valid_from DESC`)
}

// sentByProvince counts the deliveries since a time that were not refused, by province.
func sentByProvince(ctx context.Context, db *sqlx.DB, since time.Time) (map[string]int, error) {
	var rows []struct {
		Province string `db:"province"`
		Sent     int    `db:"sent"`
	}
	err := db.SelectContext(ctx, &rows, `
		SELECT province, count(*) AS sent
		FROM deliveries
		WHERE updated_at >= $1 AND created_at >= $1 AND status <> 'refused'
		GROUP BY province`, since)
	if err != nil {
		return nil, fmt.Errorf("count deliveries by province: %w", err)
	}
	sent := make(map[string]int, len(rows))
	for _, r := range rows {
		sent[r.Province] = r.Sent
	}
	return sent, nil
}

func allStations(ctx context.Context, db *sqlx.DB) ([]Station, error) {
	return stationsWhere(ctx, db, ``)
}

func stationsWhere(ctx context.Context, db *sqlx.DB, where string, args ...any) ([]Station, error) {
	var rows []struct {
		Code       string `db:"code"`
		Name       string `db:"name"`
		Kind       string `db:"kind"`
		OperatedBy string `db:"operated_by"`
		SenderName string `db:"sender_name"`
		Phone      string `db:"phone"`
		Province   string `db:"province"`
		City       string `db:"city"`
		County     string `db:"county"`
		Address    string `db:"address"`
		Hours      string `db:"hours"`
	}
	err := db.SelectContext(ctx, &rows, `
		SELECT code, name, kind, coalesce(operated_by, '') AS operated_by, sender_name, phone, province, city, county, address, hours
		FROM stations `+where+` ORDER BY code`, args...)
	if err != nil {
		return nil, fmt.Errorf("read stations: %w", err)
	}
	stations := make([]Station, len(rows))
	for i, r := range rows {
		stations[i] = Station(r)
	}
	return stations, nil
}

const tariffColumns = `zone, provinces, valid_from, valid_to, first_weight_g, first_fen, step_weight_g, step_fen`

func selectTariffs(ctx context.Context, q sqlx.QueryerContext, query string, args ...any) ([]Tariff, error) {
	var rows []struct {
		Zone         string         `db:"zone"`
		Provinces    pq.StringArray `db:"provinces"`
		From         time.Time      `db:"valid_from"`
		To           sql.NullTime   `db:"valid_to"`
		FirstWeightG int            `db:"first_weight_g"`
		FirstFen     int64          `db:"first_fen"`
		StepWeightG  int            `db:"step_weight_g"`
		StepFen      int64          `db:"step_fen"`
	}
	if err := sqlx.SelectContext(ctx, q, &rows, query, args...); err != nil {
		return nil, fmt.Errorf("read tariffs: %w", err)
	}
	tariffs := make([]Tariff, len(rows))
	for i, r := range rows {
		tariffs[i] = Tariff{r.Zone, r.Provinces, r.From, r.To.Time, r.FirstWeightG, r.FirstFen, r.StepWeightG, r.StepFen}
	}
	return tariffs, nil
}

// stationByCode reads one station whole.
func stationByCode(ctx context.Context, db *sqlx.DB, code string) (Station, error) {
	all, err := stationsWhere(ctx, db, `WHERE code = $1`, code)
	if err == nil && len(all) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return Station{}, err
	}
	return all[0], nil
}
