-- +goose Up

-- A message that is asked for again while it is on its way goes out once more when that try is over.
ALTER TABLE webhook_outbox ADD COLUMN again boolean NOT NULL DEFAULT false;

-- Of the feed: what was sent up to it may be gone, so that a replay cannot reach back behind it.
ALTER TABLE webhook_endpoints ADD COLUMN purged_position bigint NOT NULL DEFAULT 0;

-- Replies are dropped by age, once they were worked through.
CREATE INDEX message_replies_age ON message_replies (received_at) WHERE processed_at IS NOT NULL;

-- +goose Down
DROP INDEX message_replies_age;
ALTER TABLE webhook_endpoints DROP COLUMN purged_position;
ALTER TABLE webhook_outbox DROP COLUMN again;
