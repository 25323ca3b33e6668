package main

import (
	"context"
	"fmt"
	"strings"

	"emsd/courier"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// demoDelivery is what the demo's checks look at.
type demoDelivery struct {
	ID            uuid.UUID      `db:"id"`
	PermitNo      string         `db:"permit_no"`
	ApplicationNo string         `db:"application_no"`
	Status        courier.Status `db:"status"`
	Rule          string         `db:"rule"`
	PaymentMethod string         `db:"payment_method"`
	OrderNo       string         `db:"order_no"`
	WaybillNo     string         `db:"waybill_no"`
	FeeFen        int64          `db:"fee_fen"`
	PaidFen       int64          `db:"paid_fen"`
	RefundDueFen  int64          `db:"refund_due_fen"`
	Cases         string         `db:"cases"`
	Messages      string         `db:"messages"` // milestone:state
}

func (d demoDelivery) openCases() []string { return strings.Fields(d.Cases) }

func demoDeliveries(ctx context.Context, db *sqlx.DB) ([]demoDelivery, error) {
	var rows []demoDelivery
	err := db.SelectContext(ctx, &rows, `
		SELECT id, permit_no, application_no, status, coalesce(rule, '') AS rule, payment_method, coalesce(order_no, '') AS order_no,
			coalesce(waybill_no, '') AS waybill_no, fee_fen, paid_fen, refund_due_fen,
			coalesce((SELECT string_agg(kind, ' ') FROM cases c WHERE c.delivery_id = d.id AND c.closed_at IS NULL), '') AS cases,
			coalesce((SELECT string_agg(milestone || ':' || state, ' ') FROM messages m WHERE m.delivery_id = d.id), '') AS messages
		FROM deliveries d ORDER BY id`)
	return rows, err
}

// demoMessage joins an attempt to what it was to tell.
type demoMessage struct {
	AttemptID  string `db:"attempt_id"`
	Number     []byte `db:"phone_lookup"`
	DeliveryID string `db:"delivery_id"`
	Milestone  string `db:"milestone"`
}

func demoMessages(ctx context.Context, db *sqlx.DB) ([]demoMessage, error) {
	var rows []demoMessage
	err := db.SelectContext(ctx, &rows, `
		SELECT a.id::text AS attempt_id, a.phone_lookup, m.delivery_id::text AS delivery_id, m.milestone
		FROM message_attempts a JOIN messages m ON m.id = a.message_id`)
	return rows, err
}

// openWork is what has not come to rest yet.
type openWork struct {
	Deliveries int `db:"deliveries"`
	Messages   int `db:"messages"`
	Events     int `db:"events"`
	Unwanted   int `db:"unwanted"`
	Webhooks   int `db:"webhooks"`
}

func (o openWork) none() bool { return o == openWork{} }

func (o openWork) String() string {
	return fmt.Sprintf("%d deliveries, %d messages, %d events, %d waybills to cancel, %d webhooks", o.Deliveries, o.Messages, o.Events, o.Unwanted, o.Webhooks)
}

// demoCounts counts deliveries by status, and the work that is still open. At rest is what is final, waits for money
// or a clerk, or has stalled before or after EMS accepted it, which a clerk was told.
func demoCounts(ctx context.Context, db *sqlx.DB) (map[courier.Status]int, openWork, error) {
	var rows []struct {
		Status courier.Status `db:"status"`
		N      int            `db:"n"`
	}
	var open openWork
	counts := map[courier.Status]int{}
	if err := db.SelectContext(ctx, &rows, `SELECT status, count(*) AS n FROM deliveries GROUP BY status`); err != nil {
		return counts, open, err
	}
	for _, r := range rows {
		counts[r.Status] = r.N
	}
	err := db.GetContext(ctx, &open, `
		SELECT (SELECT count(*) FROM deliveries d
			WHERE d.cancel_attempt_at IS NOT NULL OR d.status = 'approved' OR d.status = 'ordering' AND d.reconcile_at IS NOT NULL
				OR d.status IN ('in_transit', 'out_for_delivery', 'attempt_failed', 'held', 'returning')
				OR d.status IN ('ordered', 'accepted')
					AND NOT EXISTS (SELECT 1 FROM cases c WHERE c.delivery_id = d.id AND c.kind = 'stalled' AND c.closed_at IS NULL)) AS deliveries,
			(SELECT count(*) FROM messages WHERE state IN ('queued', 'sending', 'unknown')) AS messages,
			(SELECT count(*) FROM events WHERE position IS NULL) AS events,
			(SELECT count(*) FROM unwanted_waybills WHERE cancel_at IS NOT NULL) AS unwanted,
			(SELECT count(*) FROM webhook_outbox WHERE done_at IS NULL)
				+ (SELECT h.position - r.position FROM feed_head h, feed_readers r WHERE r.name = 'webhook') AS webhooks`)
	return counts, open, err
}

// busiestStation is the station with most deliveries: a counter clerk of it has something to look at.
func busiestStation(ctx context.Context, db *sqlx.DB) (code string, err error) {
	err = db.GetContext(ctx, &code, `SELECT station_code FROM deliveries GROUP BY station_code ORDER BY count(*) DESC, station_code LIMIT 1`)
	return code, err
}
