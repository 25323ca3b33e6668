-- +goose Up

-- Each attempt is written twice, and each write writes all indexes. What a receipt names is found among the attempts to its number;
-- attempts that a lost sender left behind, among those in doubt.
DROP INDEX message_attempts_provider;
DROP INDEX message_attempts_sending;

-- +goose Down
CREATE INDEX message_attempts_sending ON message_attempts (started_at) WHERE state = 'sending';
CREATE INDEX message_attempts_provider ON message_attempts (gateway, provider_id) WHERE provider_id <> '';
