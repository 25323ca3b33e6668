package notify

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

func messagesOf(ctx context.Context, q sqlx.QueryerContext, delivery uuid.UUID) ([]MessageState, error) {
	var list []MessageState
	err := sqlx.SelectContext(ctx, q, &list, `
		SELECT m.id, m.milestone, m.event_at, m.created_at, m.updated_at, m.not_before, m.state, m.verdict, m.reason,
			coalesce(a.gateway, '') AS gateway, coalesce(a.state, '') AS attempt_state, a.sent_at, a.receipt_at, a.no_receipt_at,
			(SELECT count(*) FROM message_attempts a WHERE a.message_id = m.id) AS tries
		FROM messages m
		LEFT JOIN LATERAL (
			SELECT gateway, state, sent_at, receipt_at, no_receipt_at FROM message_attempts WHERE message_id = m.id ORDER BY started_at DESC, id DESC LIMIT 1
		) a ON true
		WHERE m.delivery_id = $1
		ORDER BY m.created_at, m.id`, delivery)
	if err != nil {
		return nil, fmt.Errorf("read the messages of %s: %w", delivery, err)
	}
	return list, nil
}
