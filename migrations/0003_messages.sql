-- +goose Up

-- Which number an attempt went to (the keyed hash of deliveries.phone_lookup), and when by business time: gateways that
-- do not know our id are asked by them. Attempts from before stay without.
ALTER TABLE message_attempts ADD COLUMN phone_lookup bytea, ADD COLUMN sent_at timestamptz;
-- abandoned: nobody can tell any more whether it was taken; absent: the gateway has proved that it was not.
ALTER TABLE message_attempts DROP CONSTRAINT message_attempts_state;
ALTER TABLE message_attempts ADD CONSTRAINT message_attempts_state CHECK (state IN
    ('sending', 'accepted', 'rejected', 'unsent', 'unknown', 'absent', 'abandoned', 'delivered', 'failed'));
-- One attempt in doubt per gateway, number and text: of two, nobody could tell which one a stranger's report is about.
CREATE UNIQUE INDEX i4_one_attempt_in_doubt ON message_attempts (gateway, phone_lookup, template) WHERE state IN ('sending', 'unknown');
CREATE INDEX message_attempts_number ON message_attempts (phone_lookup, sent_at);
CREATE INDEX message_attempts_provider ON message_attempts (gateway, provider_id) WHERE provider_id <> '';

-- What a receipt says that does not name our attempt: whose number (keyed hash), and when the gateway took the message.
ALTER TABLE message_receipts ADD COLUMN phone_lookup bytea, ADD COLUMN submitted_at timestamptz;

-- Numbers that want no messages. A row is never deleted: who lifted a refusal, and why, is kept with it.
CREATE TABLE do_not_send (
    id            uuid PRIMARY KEY,
    phone_lookup  bytea NOT NULL,           -- keyed hash; the number itself is not kept
    source        text NOT NULL CONSTRAINT do_not_send_source CHECK (source IN ('reply', 'wrong_person', 'clerk')),
    since         timestamptz NOT NULL,
    by            text NOT NULL CHECK (by <> ''),
    why           text NOT NULL CHECK (why <> ''),
    lifted_at     timestamptz,
    lifted_by     text NOT NULL DEFAULT '',
    lifted_why    text NOT NULL DEFAULT '',
    CONSTRAINT do_not_send_lifted CHECK ((lifted_at IS NULL) = (lifted_by = '') AND (lifted_at IS NULL) = (lifted_why = ''))
);
CREATE UNIQUE INDEX do_not_send_once ON do_not_send (phone_lookup) WHERE lifted_at IS NULL;

-- +goose Down
DROP TABLE do_not_send;
ALTER TABLE message_receipts DROP COLUMN phone_lookup, DROP COLUMN submitted_at;
DROP INDEX i4_one_attempt_in_doubt;
UPDATE message_attempts SET state = 'absent' WHERE state = 'abandoned';
ALTER TABLE message_attempts DROP CONSTRAINT message_attempts_state;
ALTER TABLE message_attempts ADD CONSTRAINT message_attempts_state CHECK (state IN
    ('sending', 'accepted', 'rejected', 'unsent', 'unknown', 'absent', 'delivered', 'failed'));
ALTER TABLE message_attempts DROP COLUMN phone_lookup, DROP COLUMN sent_at;
