-- The people who use the console, how they sign in, what two of them must agree on.

-- +goose Up

CREATE TABLE users (
    id               uuid PRIMARY KEY,
    name             text NOT NULL CONSTRAINT users_name CHECK (name ~ '^[a-z0-9][a-z0-9._-]{1,31}$'), -- what is typed at sign-in
    full_name        text NOT NULL CHECK (full_name <> ''),
    role             text NOT NULL CONSTRAINT users_role CHECK (role IN ('counter', 'back_office', 'supervisor', 'administrator', 'auditor')),
    station_code     text REFERENCES stations,
    password_hash    text NOT NULL,            -- argon2id
    password_set_at  timestamptz NOT NULL,     -- wall
    must_change      boolean NOT NULL,         -- somebody else knows the password
    totp_sealed      bytea,                    -- secret of the second factor; sealed, for it must be read again
    totp_since       timestamptz,              -- wall: when it was confirmed with a code
    totp_step        bigint NOT NULL DEFAULT 0, -- the last time step that was used: a code serves once
    created_at       timestamptz NOT NULL,     -- wall
    disabled_at      timestamptz,              -- wall
    last_sign_in_at  timestamptz,              -- wall
    CONSTRAINT users_counter_has_station CHECK ((role = 'counter') = (station_code IS NOT NULL)),
    CONSTRAINT users_totp CHECK (totp_since IS NULL OR totp_sealed IS NOT NULL)
);
CREATE UNIQUE INDEX users_name_once ON users (name);

-- One-time codes for who has lost the second factor.
CREATE TABLE recovery_codes (
    user_id  uuid NOT NULL REFERENCES users,
    hash     bytea NOT NULL,
    used_at  timestamptz,                      -- wall
    PRIMARY KEY (user_id, hash)
);

-- Only the hash of a session's token is kept.
CREATE TABLE sessions (
    hash        bytea PRIMARY KEY,
    user_id     uuid NOT NULL REFERENCES users,
    stage       text NOT NULL CONSTRAINT sessions_stage CHECK (stage IN ('code', 'password', 'enrol', 'full')),
    created_at  timestamptz NOT NULL,          -- wall: of the password; later stages keep it
    seen_at     timestamptz NOT NULL           -- wall, to the minute
);
CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_age ON sessions (created_at);

-- Tries of a name, or from an address, within the present window; keyed hashes, for a name may be a password typed wrong.
CREATE TABLE sign_in_tries (
    key    bytea PRIMARY KEY,
    since  timestamptz NOT NULL,               -- wall
    tries  integer NOT NULL
);
CREATE INDEX sign_in_tries_age ON sign_in_tries (since);

-- Whose personal data a session shows in clear, and until when.
CREATE TABLE unmaskings (
    session_hash  bytea NOT NULL REFERENCES sessions ON DELETE CASCADE,
    delivery_id   uuid NOT NULL REFERENCES deliveries,
    until         timestamptz NOT NULL,        -- wall
    PRIMARY KEY (session_hash, delivery_id)
);

-- What one person proposes and another confirms.
CREATE TABLE proposals (
    id           uuid PRIMARY KEY,
    delivery_id  uuid NOT NULL REFERENCES deliveries,
    kind         text NOT NULL CHECK (kind <> ''),
    payload      jsonb NOT NULL,               -- strings by name; no personal data
    reason       text NOT NULL CHECK (reason <> ''),
    proposed_at  timestamptz NOT NULL,
    proposed_by  text NOT NULL CHECK (proposed_by <> ''),
    state        text NOT NULL CONSTRAINT proposals_state CHECK (state IN ('open', 'confirmed', 'rejected', 'withdrawn')),
    decided_at   timestamptz,
    decided_by   text,
    why          text NOT NULL DEFAULT '',
    CONSTRAINT proposals_decided CHECK ((state = 'open') = (decided_at IS NULL) AND (decided_at IS NULL) = (decided_by IS NULL)),
    CONSTRAINT proposals_two_persons CHECK (state NOT IN ('confirmed', 'rejected') OR decided_by <> proposed_by),
    CONSTRAINT proposals_own_withdrawal CHECK (state <> 'withdrawn' OR decided_by = proposed_by)
);
CREATE UNIQUE INDEX proposals_one_open ON proposals (delivery_id, kind) WHERE state = 'open';
CREATE INDEX proposals_open ON proposals (proposed_at, id) WHERE state = 'open';
CREATE INDEX proposals_delivery ON proposals (delivery_id, proposed_at);

-- +goose Down
DROP TABLE proposals, unmaskings, sign_in_tries, sessions, recovery_codes, users;
