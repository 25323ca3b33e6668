-- +goose Up

-- Who gets webhooks. Times are wall: leases, retries and the overlap of secrets are technical.
CREATE TABLE webhook_endpoints (
    id                 uuid PRIMARY KEY,
    name               text NOT NULL CHECK (name <> ''),
    url                text NOT NULL,
    types              text[] NOT NULL,       -- event types, or groups such as delivery.*; none: all
    ordered            boolean NOT NULL,      -- one at a time, in the order of the feed; the head of the line is waited for
    after_position     bigint NOT NULL,       -- of the feed: what is behind it is sent
    secret_sealed      bytea NOT NULL,        -- v1: HMAC-SHA256
    old_secret_sealed  bytea,                 -- signs beside it until old_until
    key_sealed         bytea,                 -- v1a: seed of the Ed25519 key; NULL: not wanted
    old_key_sealed     bytea,
    old_until          timestamptz,
    state              text NOT NULL CONSTRAINT webhook_endpoints_state CHECK (state IN ('enabled', 'disabled')),
    disabled_why       text NOT NULL DEFAULT '' CONSTRAINT webhook_endpoints_why CHECK (disabled_why IN ('', 'operator', 'gone', 'failing')),
    disabled_at        timestamptz,
    failures           integer NOT NULL DEFAULT 0, -- in a row
    failing_since      timestamptz,
    hold_until         timestamptz,           -- nothing is sent before
    last_success_at    timestamptz,           -- to the minute
    created_at         timestamptz NOT NULL,
    created_by         text NOT NULL,
    updated_at         timestamptz NOT NULL,
    CONSTRAINT webhook_endpoints_disabled CHECK ((state = 'disabled') = (disabled_at IS NOT NULL) AND (state = 'disabled') = (disabled_why <> '')),
    CONSTRAINT webhook_endpoints_failing CHECK ((failures = 0) = (failing_since IS NULL)),
    CONSTRAINT webhook_endpoints_overlap CHECK ((old_until IS NOT NULL) = (old_secret_sealed IS NOT NULL) AND (old_key_sealed IS NULL OR old_until IS NOT NULL))
);

-- One row per event that somebody wants: id and body are the same for every endpoint and every try. n grows with position.
CREATE TABLE webhook_messages (
    n         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id        uuid NOT NULL CONSTRAINT webhook_messages_id UNIQUE,
    position  bigint CONSTRAINT webhook_messages_position UNIQUE, -- NULL: a test
    type      text NOT NULL,
    body      text NOT NULL,
    at        timestamptz NOT NULL            -- wall
);
CREATE INDEX webhook_messages_age ON webhook_messages (at);

-- One row per endpoint and message. done_at is set when it was taken, or when no try is left (failed).
CREATE TABLE webhook_outbox (
    endpoint_id      uuid NOT NULL REFERENCES webhook_endpoints ON DELETE CASCADE,
    n                bigint NOT NULL,         -- of webhook_messages; purged messages leave no row here
    next_attempt_at  timestamptz NOT NULL,
    lease_until      timestamptz,             -- somebody is sending it until then
    tries            integer NOT NULL DEFAULT 0, -- of the present schedule; a replay begins a new one
    failed           boolean NOT NULL DEFAULT false,
    done_at          timestamptz,
    PRIMARY KEY (endpoint_id, n),
    CONSTRAINT webhook_outbox_failed CHECK (NOT failed OR done_at IS NOT NULL)
) WITH (fillfactor = 70);                     -- a row is claimed and settled, the first in its own page
CREATE INDEX webhook_outbox_due ON webhook_outbox (endpoint_id, next_attempt_at, n) WHERE done_at IS NULL;
CREATE INDEX webhook_outbox_head ON webhook_outbox (endpoint_id, n) WHERE done_at IS NULL;
CREATE INDEX webhook_outbox_failures ON webhook_outbox (endpoint_id, n) WHERE failed;

-- Every try.
CREATE TABLE webhook_attempts (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    endpoint_id  uuid NOT NULL REFERENCES webhook_endpoints ON DELETE CASCADE,
    n            bigint NOT NULL,
    try          integer NOT NULL,
    at           timestamptz NOT NULL,        -- wall
    took_ms      integer NOT NULL,
    outcome      text NOT NULL CONSTRAINT webhook_attempts_outcome CHECK (outcome IN
                     ('delivered', 'refused', 'gone', 'redirect', 'timeout', 'unreachable', 'forbidden', 'unreadable')),
    status       integer,                     -- of the answer, if there was one
    detail       text NOT NULL DEFAULT ''
);
CREATE INDEX webhook_attempts_endpoint ON webhook_attempts (endpoint_id, id);
CREATE INDEX webhook_attempts_age ON webhook_attempts (at);

-- A case about an endpoint belongs to no delivery: subject names it, and there is no event for it.
ALTER TABLE cases ALTER COLUMN delivery_id DROP NOT NULL;
ALTER TABLE cases ADD COLUMN subject text;
ALTER TABLE cases DROP CONSTRAINT cases_kind;
ALTER TABLE cases ADD CONSTRAINT cases_kind CHECK (kind IN
    ('order_refused', 'order_unknown', 'address', 'unpaid', 'stalled', 'unknown_code', 'delivered_elsewhere',
     'not_received', 'held', 'returned', 'sms_failed', 'fee_difference', 'lost', 'webhook_disabled'));
ALTER TABLE cases ADD CONSTRAINT cases_of_a_delivery_or_a_subject CHECK
    ((kind = 'webhook_disabled') = (delivery_id IS NULL) AND (delivery_id IS NULL) = (subject IS NOT NULL));
CREATE UNIQUE INDEX cases_one_open_subject ON cases (subject, kind) WHERE closed_at IS NULL AND subject IS NOT NULL;

-- +goose Down
DELETE FROM cases WHERE kind = 'webhook_disabled';
DROP INDEX cases_one_open_subject;
ALTER TABLE cases DROP CONSTRAINT cases_of_a_delivery_or_a_subject;
ALTER TABLE cases DROP CONSTRAINT cases_kind;
ALTER TABLE cases ADD CONSTRAINT cases_kind CHECK (kind IN
    ('order_refused', 'order_unknown', 'address', 'unpaid', 'stalled', 'unknown_code', 'delivered_elsewhere',
     'not_received', 'held', 'returned', 'sms_failed', 'fee_difference', 'lost'));
ALTER TABLE cases DROP COLUMN subject;
ALTER TABLE cases ALTER COLUMN delivery_id SET NOT NULL;
DELETE FROM feed_readers WHERE name = 'webhook';
DROP TABLE webhook_attempts, webhook_outbox, webhook_messages, webhook_endpoints;
