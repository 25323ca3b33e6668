-- +goose Up

-- How far a decision about a code has been applied to the scans that were stored before it. A decision counts from its own
-- commit on; this is the work that follows. Decisions without a row were applied before there were any.
CREATE TABLE decision_folds (
    decision_id  bigint PRIMARY KEY REFERENCES code_decisions,
    after        uuid,                         -- the last delivery that was looked at, in their order; NULL: none yet
    looked       integer NOT NULL DEFAULT 0,
    changed      integer NOT NULL DEFAULT 0,
    kinds        jsonb NOT NULL DEFAULT '{}',  -- changes by kind
    bygone       integer NOT NULL DEFAULT 0,   -- left as they are: their scans are dropped
    skipped      integer NOT NULL DEFAULT 0,   -- in other hands; another pass follows
    holder       uuid NOT NULL,                -- who applies it, has it until
    lease_until  timestamptz NOT NULL,         -- (wall)
    done_at      timestamptz
);
CREATE INDEX decision_folds_open ON decision_folds (decision_id) WHERE done_at IS NULL;

-- A key is stored with its answer. Those without one were claimed before the work by an emsd that did so, and are dead.
DELETE FROM idempotency_keys WHERE status IS NULL;
ALTER TABLE idempotency_keys ALTER COLUMN status SET NOT NULL;

-- +goose Down
ALTER TABLE idempotency_keys ALTER COLUMN status DROP NOT NULL;
DROP TABLE decision_folds;
