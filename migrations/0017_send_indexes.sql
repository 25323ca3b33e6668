-- +goose Up

-- A message leaves for a gateway by two writes, an attempt by two. Each write that changes an index's key or predicate writes
-- all of the table's indexes; the columns below change only when an index must, so that the second write of a message
-- touches none of them (a heap-only update, for which pages keep room).
ALTER TABLE messages ADD COLUMN queued boolean GENERATED ALWAYS AS (state = 'queued') STORED;
ALTER TABLE messages SET (fillfactor = 70);
DROP INDEX messages_due;
CREATE INDEX messages_due ON messages (not_before, id) WHERE queued;

-- slot is nil for the attempt that may have reached the resident, of which a message has one at most (I-5), and the attempt's
-- own id for those that surely did not: one index says so and finds all attempts of a message.
ALTER TABLE message_attempts ADD COLUMN slot uuid GENERATED ALWAYS AS
    (CASE WHEN state IN ('sending', 'unknown', 'accepted', 'delivered') THEN '00000000-0000-0000-0000-000000000000'::uuid ELSE id END) STORED;
DROP INDEX i5_one_open_attempt;
DROP INDEX message_attempts_message;
CREATE UNIQUE INDEX i5_one_open_attempt ON message_attempts (message_id, slot);

-- +goose Down
DROP INDEX i5_one_open_attempt;
ALTER TABLE message_attempts DROP COLUMN slot;
CREATE UNIQUE INDEX i5_one_open_attempt ON message_attempts (message_id) WHERE state IN ('sending', 'unknown', 'accepted', 'delivered');
CREATE INDEX message_attempts_message ON message_attempts (message_id, started_at);
DROP INDEX messages_due;
ALTER TABLE messages DROP COLUMN queued;
ALTER TABLE messages RESET (fillfactor);
CREATE INDEX messages_due ON messages (not_before, id) WHERE state = 'queued';
