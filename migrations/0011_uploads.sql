-- +goose Up

-- Files that clerks upload: checked first, loaded when they say so, and deleted some days later. The file and its bad
-- rows are sealed, for they hold people; so is the name, which may.
CREATE TABLE uploads (
    id            uuid PRIMARY KEY,
    uploaded_by   text NOT NULL CHECK (uploaded_by <> ''),
    uploaded_at   timestamptz NOT NULL,
    station_code  text NOT NULL DEFAULT '',  -- the only one whose permits may be loaded; empty: all
    kinds         text[] NOT NULL,           -- what it may hold
    name_sealed   bytea NOT NULL,
    file_sealed   bytea,                     -- NULL once loaded or discarded
    state         text NOT NULL CONSTRAINT uploads_state CHECK (state IN ('checking', 'checked', 'loading', 'loaded', 'broken', 'discarded')),
    lease_until   timestamptz,               -- wall: who works on it has it until then
    tries         integer NOT NULL DEFAULT 0, -- how often work on it was begun
    kind          text NOT NULL DEFAULT '',
    headings      text[] NOT NULL DEFAULT '{}',
    read          bigint NOT NULL DEFAULT 0, -- of total, in the file's own measure
    total         bigint NOT NULL DEFAULT 0,
    rows          integer NOT NULL DEFAULT 0,
    created       integer NOT NULL DEFAULT 0,
    existing      integer NOT NULL DEFAULT 0,
    refused       integer NOT NULL DEFAULT 0,
    payments      integer NOT NULL DEFAULT 0,
    bad           integer NOT NULL DEFAULT 0,
    fault         text NOT NULL DEFAULT '',  -- why the file as a whole cannot be read, for a clerk
    finished_at   timestamptz,
    CONSTRAINT uploads_file_while_needed CHECK ((file_sealed IS NOT NULL) = (state IN ('checking', 'checked', 'loading')))
);
CREATE INDEX uploads_work ON uploads (uploaded_at, id) WHERE state IN ('checking', 'loading');
CREATE INDEX uploads_by ON uploads (uploaded_by, uploaded_at DESC);
CREATE INDEX uploads_age ON uploads (uploaded_at);

CREATE TABLE upload_rows (
    upload_id   uuid NOT NULL REFERENCES uploads ON DELETE CASCADE,
    number      integer NOT NULL, -- as the clerk's program shows it
    row_sealed  bytea NOT NULL,   -- its cells, and what is wrong with them
    PRIMARY KEY (upload_id, number)
);

-- +goose Down
DROP TABLE upload_rows, uploads;
