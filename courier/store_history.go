package courier

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

func attemptsOf(ctx context.Context, q sqlx.QueryerContext, delivery uuid.UUID) ([]Attempt, error) {
	var rows []struct {
		Attempt
		FinishedAt sql.NullTime `db:"finished_at"`
	}
	err := sqlx.SelectContext(ctx, q, &rows, `
		SELECT a.call, coalesce(a.waybill_no, '') AS waybill_no, a.started_at, a.finished_at, coalesce(a.outcome, '') AS outcome, a.ret_code, a.detail
		FROM order_attempts a JOIN deliveries d ON d.id = a.delivery_id
		WHERE a.delivery_id = $1 AND ($2 = '' OR d.station_code = $2)
		ORDER BY a.started_at, a.id`, delivery, StationOf(ctx))
	if err != nil {
		return nil, fmt.Errorf("read the order attempts of %s: %w", delivery, err)
	}
	list := make([]Attempt, len(rows))
	for i, r := range rows {
		list[i] = r.Attempt
		list[i].FinishedAt = r.FinishedAt.Time
	}
	return list, nil
}

func eventsOf(ctx context.Context, q sqlx.QueryerContext, delivery uuid.UUID) ([]Event, error) {
	var rows []struct {
		Seq      int             `db:"seq"`
		Type     EventType       `db:"type"`
		At       time.Time       `db:"at"`
		Data     json.RawMessage `db:"data"`
		Position sql.NullInt64   `db:"position"`
	}
	err := sqlx.SelectContext(ctx, q, &rows, `
		SELECT e.seq, e.type, e.at, e.data, e.position
		FROM events e JOIN deliveries d ON d.id = e.delivery_id
		WHERE e.delivery_id = $1 AND ($2 = '' OR d.station_code = $2)
		ORDER BY e.seq`, delivery, StationOf(ctx))
	if err != nil {
		return nil, fmt.Errorf("read the events of %s: %w", delivery, err)
	}
	list := make([]Event, len(rows))
	for i, r := range rows {
		list[i] = Event{DeliveryID: delivery, Seq: r.Seq, Position: r.Position.Int64, Type: r.Type, At: r.At, Data: r.Data}
	}
	return list, nil
}
