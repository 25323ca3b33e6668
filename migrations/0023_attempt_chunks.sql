-- +goose Up

-- An attempt is written before its request and once more when its gateway has answered. The second write touches no index (a
-- heap-only update, for which pages keep room): nothing of what an index holds changes from 'sending' to 'accepted'.
--
-- by_number: the gateway may know the message by its number only; then two in doubt could not be told apart (i4).
ALTER TABLE message_attempts ADD COLUMN by_number boolean NOT NULL DEFAULT true;
ALTER TABLE message_attempts ADD COLUMN doubted bytea GENERATED ALWAYS AS
    (CASE WHEN by_number AND state IN ('sending', 'unknown') THEN phone_lookup END) STORED;
ALTER TABLE message_attempts SET (fillfactor = 45);
ALTER TABLE messages SET (fillfactor = 60);
DROP INDEX i4_one_attempt_in_doubt;
CREATE UNIQUE INDEX i4_one_attempt_in_doubt ON message_attempts (doubted, gateway, template) WHERE doubted IS NOT NULL;
DROP INDEX message_attempts_resolve;
CREATE INDEX message_attempts_resolve ON message_attempts (resolve_at, id) WHERE resolve_at IS NOT NULL;
DROP INDEX message_attempts_awaited;

-- An attempt is inserted by the statement that writes its message; to look each one up once more costs as much as an index. What
-- the foreign key was for is kept by the other side: messages stay.
ALTER TABLE message_attempts DROP CONSTRAINT message_attempts_message_id_fkey;
-- +goose StatementBegin
CREATE FUNCTION messages_stay() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'message % is kept: it is the proof of what was sent, and what may not be sent again (I-5)', OLD.id
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
-- +goose StatementEnd
CREATE TRIGGER messages_stay BEFORE DELETE ON messages FOR EACH ROW EXECUTE FUNCTION messages_stay();

-- The attempts that one transaction began, for those who look at them later: was their sender lost, did receipts come? One row
-- for hundreds of attempts, in place of two index entries for each.
CREATE TABLE attempt_chunks (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    begun_at  timestamptz NOT NULL,            -- wall
    settled   boolean NOT NULL DEFAULT false,  -- what came of them is written
    check_at  timestamptz NOT NULL,            -- business time: when receipts are missing; then the row goes
    attempts  uuid[] NOT NULL
);
ALTER TABLE attempt_chunks ALTER COLUMN attempts SET STORAGE EXTERNAL;
CREATE INDEX attempt_chunks_open ON attempt_chunks (begun_at) WHERE NOT settled;
CREATE INDEX attempt_chunks_check ON attempt_chunks (check_at);
INSERT INTO attempt_chunks (begun_at, check_at, attempts)
SELECT min(started_at), max(sent_at) + interval '1 day', array_agg(id)
FROM (
    SELECT id, started_at, coalesce(sent_at, started_at) AS sent_at, row_number() OVER (ORDER BY sent_at, id) / 500 AS n
    FROM message_attempts
    WHERE state IN ('sending', 'unknown') OR state = 'accepted' AND no_receipt_at IS NULL
) a
GROUP BY n;

-- +goose Down
DROP TABLE attempt_chunks;
DROP TRIGGER messages_stay ON messages;
DROP FUNCTION messages_stay;
ALTER TABLE message_attempts ADD CONSTRAINT message_attempts_message_id_fkey FOREIGN KEY (message_id) REFERENCES messages;
CREATE INDEX message_attempts_awaited ON message_attempts (sent_at) WHERE state = 'accepted' AND no_receipt_at IS NULL;
DROP INDEX message_attempts_resolve;
CREATE INDEX message_attempts_resolve ON message_attempts (resolve_at, id) WHERE state = 'unknown' AND resolve_at IS NOT NULL;
DROP INDEX i4_one_attempt_in_doubt;
ALTER TABLE message_attempts DROP COLUMN doubted, DROP COLUMN by_number;
ALTER TABLE message_attempts RESET (fillfactor);
ALTER TABLE messages SET (fillfactor = 70);
CREATE UNIQUE INDEX i4_one_attempt_in_doubt ON message_attempts (gateway, phone_lookup, template) WHERE state IN ('sending', 'unknown');
