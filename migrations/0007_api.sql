-- What the API needs beside the first schema.

-- +goose Up

-- A token's secret is changed while its user still has the old one: both open it until former_until.
ALTER TABLE tokens
    ADD COLUMN former_hash  bytea CONSTRAINT tokens_former_hash UNIQUE,
    ADD COLUMN former_until timestamptz,
    ADD COLUMN rotated_at   timestamptz,
    ADD CONSTRAINT tokens_former CHECK ((former_hash IS NULL) = (former_until IS NULL));

-- Entries on their way into the audit chain: written in the transaction of what they tell, without waiting for each other.
CREATE TABLE audit_queue (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      timestamptz NOT NULL,
    actor   text NOT NULL,
    action  text NOT NULL,
    object  text NOT NULL,
    detail  jsonb NOT NULL
);

-- +goose Down
DROP TABLE audit_queue;
ALTER TABLE tokens DROP COLUMN former_hash, DROP COLUMN former_until, DROP COLUMN rotated_at;
