package courier

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

func saveStations(ctx context.Context, db sqlx.ExecerContext, stations []Station, now time.Time) error {
	cols := make([][]string, 11)
	for _, s := range stations {
		for i, v := range []string{s.Code, s.Name, s.Kind, s.OperatedBy, s.SenderName, s.Phone, s.Province, s.City, s.County, s.Address, s.Hours} {
			cols[i] = append(cols[i], v)
		}
	}
	args := []any{now}
	for _, c := range cols {
		args = append(args, pq.Array(c))
	}
	_, err := db.ExecContext(ctx, `
		INSERT INTO stations (code, name, kind, operated_by, sender_name, phone, province, city, county, address, hours, created_at, updated_at)
		SELECT code, name, kind, nullif(operated_by, ''), sender_name, phone, province, city, county, address,
			coalesce(nullif(hours, ''), '09:00-17:00'), $1, $1
		FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[],
			$12::text[])
			AS s(code, name, kind, operated_by, sender_name, phone, province, city, county, address, hours)
		ON CONFLICT (code) DO UPDATE SET name = excluded.name, kind = excluded.kind, operated_by = excluded.operated_by,
			sender_name = excluded.sender_name, phone = excluded.phone, province = excluded.province, city = excluded.city,
			county = excluded.county, address = excluded.address, hours = excluded.hours, updated_at = excluded.updated_at`, args...)
	if err != nil {
		return fmt.Errorf("save %d stations: %w", len(stations), err)
	}
	return nil
}

func saveTariffs(ctx context.Context, db sqlx.ExecerContext, tariffs []Tariff) error {
	n := len(tariffs)
	zones, provinces := make([]string, n), make([]string, n)
	from, to := make([]time.Time, n), make([]sql.NullString, n)
	firstG, firstFen, stepG, stepFen := make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n)
	for i, t := range tariffs {
		zones[i], provinces[i], from[i] = t.Zone, strings.Join(t.Provinces, " "), t.ValidFrom
		if !t.ValidTo.IsZero() {
			to[i] = sql.NullString{String: t.ValidTo.Format(time.RFC3339), Valid: true}
		}
		firstG[i], firstFen[i], stepG[i], stepFen[i] = int64(t.FirstWeightG), t.FirstFen, int64(t.StepWeightG), t.StepFen
	}
	_, err := db.ExecContext(ctx, `
		INSERT INTO tariffs (zone, provinces, valid_from, valid_to, first_weight_g, first_fen, step_weight_g, step_fen)
		SELECT zone, string_to_array(provinces, ' '), valid_from, valid_to, first_weight_g, first_fen, step_weight_g, step_fen
		FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::integer[], $6::bigint[], $7::integer[], $8::bigint[])
			AS t(zone, provinces, valid_from, valid_to, first_weight_g, first_fen, step_weight_g, step_fen)
		ON CONFLICT (zone, valid_from) DO UPDATE SET provinces = excluded.provinces, valid_to = excluded.valid_to,
			first_weight_g = excluded.first_weight_g, first_fen = excluded.first_fen,
			step_weight_g = excluded.step_weight_g, step_fen = excluded.step_fen`,
		pq.Array(zones), pq.Array(provinces), timeArray(from), pq.Array(to), pq.Array(firstG), pq.Array(firstFen), pq.Array(stepG), pq.Array(stepFen))
	if err != nil {
		return fmt.Errorf("save %d tariffs: %w", n, err)
	}
	return nil
}
