-- +goose Up

-- What residents answered to a message. Whose number it is is known by its keyed hash only; the words are sealed.
CREATE TABLE message_replies (
    id            uuid PRIMARY KEY,
    gateway       text NOT NULL,
    same          bytea NOT NULL,           -- keyed hash of the gateway's sequence, else of number, time and words: a reply pushed again is the same
    phone_lookup  bytea NOT NULL,
    text_sealed   bytea NOT NULL,
    sent_at       timestamptz,              -- as the gateway says
    received_at   timestamptz NOT NULL,
    meaning       text NOT NULL DEFAULT '' CONSTRAINT message_replies_meaning CHECK (meaning IN ('', 'stop', 'wrong_person', 'in_doubt', 'other')),
    processed_at  timestamptz,
    CONSTRAINT message_replies_once UNIQUE (gateway, same),
    CONSTRAINT message_replies_read CHECK ((meaning = '') = (processed_at IS NULL))
);
CREATE INDEX message_replies_open ON message_replies (received_at, id) WHERE processed_at IS NULL;
CREATE INDEX message_replies_number ON message_replies (phone_lookup, received_at);

-- +goose Down
DROP TABLE message_replies;
