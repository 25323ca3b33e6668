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

// chronicler is the Chronicler's name in feed_readers; its row there makes chroniclers take turns.
const chronicler = "journeys"

// chronicle takes in up to limit events of the feed and moves on in it, in one transaction.
func chronicle(ctx context.Context, db *sqlx.DB, book *Rulebook, limit int) (read int, err error) {
	err = courier.InTx(ctx, db, func(tx *sqlx.Tx) error {
		position, err := lockReader(ctx, tx, chronicler)
		if err != nil {
			return err
		}
		events, err := courier.ReadFeed(ctx, tx, position, limit)
		if err != nil || len(events) == 0 {
			return err
		}
		if err := writeJourneysOf(ctx, tx, book, travelled(events)); err != nil {
			return err
		}
		read = len(events)
		_, err = tx.ExecContext(ctx, `UPDATE feed_readers SET position = $2 WHERE name = $1`, chronicler, events[read-1].Position)
		return err
	})
	return read, err
}

func lockReader(ctx context.Context, tx *sqlx.Tx, name string) (position int64, err error) {
	_, err = tx.ExecContext(ctx, `INSERT INTO feed_readers (name, position) VALUES ($1, 0) ON CONFLICT (name) DO NOTHING`, name)
	if err == nil {
		err = tx.GetContext(ctx, &position, `SELECT position FROM feed_readers WHERE name = $1 FOR UPDATE`, name)
	}
	if err != nil {
		return 0, fmt.Errorf("lock the place of %s in the feed: %w", name, err)
	}
	return position, nil
}

// writeJourneysOf computes the journeys of deliveries as they stand now. Those that were never ordered have none.
func writeJourneysOf(ctx context.Context, tx *sqlx.Tx, book *Rulebook, ids []uuid.UUID) error {
	list, err := readTravellers(ctx, tx, ids)
	if err != nil || len(list) == 0 {
		return err
	}
	ordered, first := make([]string, len(list)), list[0].OrderedAt
	for i, t := range list {
		ordered[i] = t.id.String()
		if t.OrderedAt.Before(first) {
			first = t.OrderedAt
		}
	}
	known, err := readKept(ctx, tx, ordered, first.Add(-beforeOrder))
	if err != nil {
		return fmt.Errorf("read scans of %d deliveries: %w", len(list), err)
	}
	journeys := make([]journey, len(list))
	for i, t := range list {
		var scans []courier.Scan
		for _, k := range known[t.id] {
			if !k.ahead {
				scans = append(scans, k.Scan)
			}
		}
		journeys[i] = journeyOf(t, scans, book)
	}
	return upsertJourneys(ctx, tx, journeys)
}

func readTravellers(ctx context.Context, q sqlx.QueryerContext, ids []uuid.UUID) ([]traveller, error) {
	rows, err := q.QueryxContext(ctx, `
		SELECT d.id, d.station_code, d.province, d.city, d.county, d.status, d.status_since, d.id_checked, w.ordered_at
		FROM deliveries d JOIN waybills w ON w.delivery_id = d.id
		WHERE d.id = ANY($1::uuid[])
		ORDER BY d.id`, pq.Array(texts(ids)))
	if err != nil {
		return nil, fmt.Errorf("read %d deliveries: %w", len(ids), err)
	}
	defer rows.Close()
	var list []traveller
	for rows.Next() {
		var t traveller
		if err := rows.Scan(&t.id, &t.station, &t.province, &t.city, &t.county, &t.status, &t.since, &t.IDChecked, &t.OrderedAt); err != nil {
			return nil, fmt.Errorf("read %d deliveries: %w", len(ids), err)
		}
		list = append(list, t)
	}
	return list, rows.Err()
}

// upsertJourneys writes what differs from what is stored.
func upsertJourneys(ctx context.Context, tx *sqlx.Tx, list []journey) error {
	n := len(list)
	ids, stations, provinces, cities, counties := make([]string, n), make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	ordered, accepted, attempted, ended := make([]time.Time, n), make([]time.Time, n), make([]time.Time, n), make([]time.Time, n)
	ok, outcomes := make([]bool, n), make([]string, n)
	for i, j := range list {
		ids[i], stations[i], provinces[i], cities[i], counties[i] = j.id.String(), j.station, j.province, j.city, j.county
		ordered[i], accepted[i], attempted[i], ended[i] = j.OrderedAt, j.acceptedAt, j.firstAttemptAt, j.endedAt
		ok[i], outcomes[i] = j.firstAttemptOK, string(j.outcome)
	}
	_, err := tx.ExecContext(ctx, `
		INSERT INTO journeys AS old (delivery_id, station_code, province, city, county, ordered_at, accepted_at, first_attempt_at,
			first_attempt_ok, ended_at, outcome)
		SELECT id, station, province, city, county, ordered, accepted, attempted, CASE WHEN attempted IS NOT NULL THEN ok END, ended, nullif(outcome, '')
		FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::timestamptz[], $8::timestamptz[],
			$9::boolean[], $10::timestamptz[], $11::text[])
			AS j(id, station, province, city, county, ordered, accepted, attempted, ok, ended, outcome)
		ON CONFLICT (delivery_id) DO UPDATE
			SET province = excluded.province, city = excluded.city, county = excluded.county, ordered_at = excluded.ordered_at,
				accepted_at = excluded.accepted_at, first_attempt_at = excluded.first_attempt_at, first_attempt_ok = excluded.first_attempt_ok,
				ended_at = excluded.ended_at, outcome = excluded.outcome
			WHERE (old.province, old.city, old.county, old.ordered_at, old.accepted_at, old.first_attempt_at, old.first_attempt_ok, old.ended_at, old.outcome)
				IS DISTINCT FROM (excluded.province, excluded.city, excluded.county, excluded.ordered_at, excluded.accepted_at,
					excluded.first_attempt_at, excluded.first_attempt_ok, excluded.ended_at, excluded.outcome)`,
		pq.Array(ids), pq.Array(stations), pq.Array(provinces), pq.Array(cities), pq.Array(counties), timeArray(ordered), timeArray(accepted),
		timeArray(attempted), pq.Array(ok), timeArray(ended), pq.Array(outcomes))
	if err != nil {
		return fmt.Errorf("write %d journeys: %w", n, err)
	}
	return nil
}

// onRoute says which journeys are like a route.
var onRoute = map[Level]string{
	LevelCounty:   `station_code = $3 AND province = $4 AND city = $5 AND county = $6`,
	LevelCity:     `station_code = $3 AND province = $4 AND city = $5 AND $6::text IS NOT NULL`,
	LevelProvince: `station_code = $3 AND province = $4 AND $5::text IS NOT NULL AND $6::text IS NOT NULL`,
	LevelAny:      `province = $4 AND $3::text IS NOT NULL AND $5::text IS NOT NULL AND $6::text IS NOT NULL`,
}

// routeDays counts the days that the newest deliveries of a route took, at most most of them.
func routeDays(ctx context.Context, q sqlx.QueryerContext, level Level, r Route, from time.Time, most int) (dayCounts, error) {
	rows, err := q.QueryxContext(ctx, `
		SELECT days, count(*) FROM (
			SELECT days FROM journeys
			WHERE outcome = 'delivered' AND days IS NOT NULL AND ended_at >= $1 AND `+onRoute[level]+`
			ORDER BY ended_at DESC LIMIT $2
		) newest GROUP BY days ORDER BY days`, from, most, r.Station, r.Province, r.City, r.County)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var counts dayCounts
	for rows.Next() {
		var c dayCount
		if err := rows.Scan(&c.days, &c.n); err != nil {
			return nil, err
		}
		counts = append(counts, c)
	}
	return counts, rows.Err()
}

// readCells counts journeys that ended from a moment on and before another.
func readCells(ctx context.Context, q sqlx.QueryerContext, by Grouping, from, before time.Time) ([]cell, error) {
	keys := map[Grouping]string{ByStation: `station_code, '' AS province, '' AS city, '' AS county`, ByDistrict: `'' AS station_code, province, city, county`}[by]
	if keys == "" {
		return nil, fmt.Errorf("there is no grouping %q", by)
	}
	rows, err := q.QueryxContext(ctx, `
		SELECT c.station_code, coalesce(s.name, ''), c.province, c.city, c.county, c.outcome, c.ok IS NOT NULL, coalesce(c.ok, false), coalesce(c.days, -1), c.n
		FROM (
			SELECT `+keys+`, outcome, first_attempt_ok AS ok, days, count(*) AS n
			FROM journeys
			WHERE ended_at >= $1 AND ended_at < $2 AND ($3 = '' OR station_code = $3)
			GROUP BY 1, 2, 3, 4, 5, 6, 7
		) c LEFT JOIN stations s ON s.code = c.station_code`, from, before, courier.StationOf(ctx))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var cells []cell
	for rows.Next() {
		var c cell
		if err := rows.Scan(&c.station, &c.name, &c.province, &c.city, &c.county, &c.outcome, &c.tried, &c.atOnce, &c.days, &c.n); err != nil {
			return nil, err
		}
		cells = append(cells, c)
	}
	return cells, rows.Err()
}

// readAges counts live deliveries by status and by days in it. The condition is that of the index which keeps them one per
// permit, so that years of ended deliveries are not read.
func readAges(ctx context.Context, q sqlx.QueryerContext, now time.Time) (map[courier.Status][]int, error) {
	rows, err := q.QueryxContext(ctx, `
		SELECT status, width_bucket(status_since, $1::timestamptz[]) AS bucket, count(*)
		FROM deliveries
		WHERE status NOT IN ('refused', 'cancelled', 'returned', 'lost', 'delivered')
		GROUP BY 1, 2`, ageBounds(now))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	counts := map[courier.Status][]int{}
	for rows.Next() {
		var s courier.Status
		var bucket, n int
		if err := rows.Scan(&s, &bucket, &n); err != nil {
			return nil, err
		}
		if counts[s] == nil {
			counts[s] = make([]int, len(AgeBounds)+1)
		}
		counts[s][len(AgeBounds)-bucket] = n
	}
	return counts, rows.Err()
}

// ageBounds are the moments that part the buckets, the earliest first; a delivery exactly a day old is in the second.
func ageBounds(now time.Time) any {
	bounds := make([]time.Time, len(AgeBounds))
	for i, days := range AgeBounds {
		bounds[len(AgeBounds)-1-i] = now.AddDate(0, 0, -days).Add(time.Microsecond)
	}
	return timeArray(bounds)
}
