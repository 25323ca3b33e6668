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
			coalesce((SELECT a.gateway FROM message_attempts a WHERE a.message_id = m.id ORDER BY a.started_at DESC LIMIT 1), '') AS gateway,
			(SELECT count(*) FROM message_attempts a WHERE a.message_id = m.id) AS tries
		FROM messages m
		WHERE m.delivery_id = $1
		ORDER BY m.created_at, m.id`, delivery)
	if err != nil {
		return nil, fmt.Errorf("read the messages of %s: %w", delivery, err)
	}
	return list, nil
}
