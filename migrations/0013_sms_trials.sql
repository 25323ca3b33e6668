-- +goose Up

-- Messages to numbers of our own: the monthly one that keeps a signature's registration alive, and those by which an operator
-- tries a gateway. The row is committed before the request; residents' messages are none of these.
CREATE TABLE sms_trials (
    id            uuid PRIMARY KEY,         -- travels as OutId
    kind          text NOT NULL CONSTRAINT sms_trials_kind CHECK (kind IN ('self_test', 'test_send')),
    gateway       text NOT NULL,
    template      text NOT NULL,            -- name and version of the text
    phone_lookup  bytea NOT NULL,           -- keyed hash; the number itself is not kept
    month         date NOT NULL,            -- first day of the month of Beijing
    by            text NOT NULL CHECK (by <> ''),
    state         text NOT NULL CONSTRAINT sms_trials_state CHECK (state IN ('sending', 'accepted', 'rejected', 'unsent', 'unknown')),
    class         text NOT NULL DEFAULT '',
    code          text NOT NULL DEFAULT '',
    provider_id   text NOT NULL DEFAULT '',
    started_at    timestamptz NOT NULL,
    finished_at   timestamptz
);
-- Whatever crashes, no number gets two a month from one gateway. What surely was not taken may be tried again in its row.
CREATE UNIQUE INDEX sms_trials_monthly ON sms_trials (gateway, phone_lookup, month) WHERE kind = 'self_test';
CREATE INDEX sms_trials_count ON sms_trials (kind, gateway, state);

-- +goose Down
DROP TABLE sms_trials;
