-- +goose Up

-- Guesses of the digits that open a resident's page, within a window: by token, and by address. Keyed hashes.
CREATE TABLE resident_tries (
    key    bytea PRIMARY KEY,
    since  timestamptz NOT NULL, -- wall
    until  timestamptz NOT NULL, -- wall: the window's end
    tries  integer NOT NULL
);
CREATE INDEX resident_tries_age ON resident_tries (until);

-- +goose Down
DROP TABLE resident_tries;
