-- +goose Up

-- A clerk's telephone calls about a message that did not arrive; the case itself is in cases. Appended, never changed.
CREATE TABLE call_tries (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    case_id  uuid NOT NULL REFERENCES cases,
    at       timestamptz NOT NULL,
    by       text NOT NULL CHECK (by <> ''),
    outcome  text NOT NULL CONSTRAINT call_tries_outcome CHECK (outcome IN ('reached', 'no_answer', 'wrong_number', 'refused')),
    note     text NOT NULL DEFAULT ''        -- no personal data
);
CREATE INDEX call_tries_case ON call_tries (case_id, id);

-- When a message that its gateway had taken was without a final receipt for a day; one that comes later still counts.
ALTER TABLE message_attempts ADD COLUMN no_receipt_at timestamptz;
CREATE INDEX message_attempts_awaited ON message_attempts (sent_at) WHERE state = 'accepted' AND no_receipt_at IS NULL;

-- +goose Down
DROP INDEX message_attempts_awaited;
ALTER TABLE message_attempts DROP COLUMN no_receipt_at;
DROP TABLE call_tries;
