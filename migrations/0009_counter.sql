-- The counter: what was put into which envelope, what was printed, what went with which courier; who has which case;
-- and EMS's monthly bills, line by line.

-- +goose Up

-- The permit of a delivery lies in the envelope with this label. Another label (a corrected address) makes it void.
CREATE TABLE packings (
    delivery_id  uuid PRIMARY KEY REFERENCES deliveries,
    waybill_no   text NOT NULL,
    packed_at    timestamptz NOT NULL,
    packed_by    text NOT NULL CHECK (packed_by <> '')
);

-- A permit was scanned with another permit's label: neither envelope leaves before two people have looked into it.
CREATE TABLE pack_stops (
    id            uuid PRIMARY KEY,
    delivery_id   uuid NOT NULL REFERENCES deliveries, -- whose envelope is stopped
    permit_no     text NOT NULL,                       -- what was scanned together
    waybill_no    text NOT NULL,
    stopped_at    timestamptz NOT NULL,
    stopped_by    text NOT NULL CHECK (stopped_by <> ''),
    settled_at    timestamptz,
    settled_by    text,                                -- who looked into it and said so
    confirmed_by  text,                                -- the second person
    CONSTRAINT pack_stops_settled CHECK ((settled_at IS NULL) = (settled_by IS NULL) AND (settled_at IS NULL) = (confirmed_by IS NULL)),
    CONSTRAINT pack_stops_two_persons CHECK (settled_by <> confirmed_by)
);
CREATE UNIQUE INDEX pack_stops_one_open ON pack_stops (delivery_id) WHERE settled_at IS NULL;

-- +goose StatementBegin
CREATE FUNCTION pack_stop_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM pack_stops WHERE delivery_id = NEW.id AND settled_at IS NULL) THEN
        RAISE EXCEPTION 'delivery %: its envelope is stopped by a pack check', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'pack_stop_holds';
    END IF;
    RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER pack_stop_holds BEFORE UPDATE OF handed_over_at ON deliveries
    FOR EACH ROW WHEN (NEW.handed_over_at IS NOT NULL AND OLD.handed_over_at IS NULL) EXECUTE FUNCTION pack_stop_guard();

-- Every sheet that was printed, and who asked for it.
CREATE TABLE label_prints (
    delivery_id  uuid NOT NULL REFERENCES deliveries,
    waybill_no   text NOT NULL,
    kind         text NOT NULL CONSTRAINT label_prints_kind CHECK (kind IN ('ems', 'own', 'address')),
    nth          integer NOT NULL CHECK (nth > 0),
    printed_at   timestamptz NOT NULL,
    printed_by   text NOT NULL CHECK (printed_by <> ''),
    reason       text NOT NULL DEFAULT '',
    PRIMARY KEY (delivery_id, waybill_no, kind, nth),
    CONSTRAINT label_prints_again_with_reason CHECK (nth = 1 OR reason <> '')
);

-- What one courier takes away at a time.
CREATE TABLE manifests (
    id              uuid PRIMARY KEY,
    station_code    text NOT NULL REFERENCES stations,
    day             date NOT NULL,                    -- Beijing
    nth             integer NOT NULL CHECK (nth > 0), -- of the station's day
    number          text NOT NULL CONSTRAINT manifests_number UNIQUE,
    opened_at       timestamptz NOT NULL,
    opened_by       text NOT NULL CHECK (opened_by <> ''),
    count           integer CHECK (count > 0),        -- of envelopes, on which both sides agreed
    courier_sealed  bytea,                            -- the courier's name as it was given
    closed_at       timestamptz,
    closed_by       text,
    CONSTRAINT manifests_once UNIQUE (station_code, day, nth),
    CONSTRAINT manifests_closed CHECK ((closed_at IS NULL) = (closed_by IS NULL) AND (closed_at IS NULL) = (count IS NULL)
        AND (closed_at IS NULL) = (courier_sealed IS NULL))
);
CREATE INDEX manifests_open ON manifests (station_code, opened_at) WHERE closed_at IS NULL;
CREATE INDEX manifests_list ON manifests (opened_at DESC, id);

CREATE TABLE manifest_items (
    manifest_id  uuid NOT NULL REFERENCES manifests,
    delivery_id  uuid NOT NULL REFERENCES deliveries,
    waybill_no   text NOT NULL,
    added_at     timestamptz NOT NULL,
    added_by     text NOT NULL CHECK (added_by <> ''),
    PRIMARY KEY (manifest_id, delivery_id),
    CONSTRAINT manifest_items_none_twice UNIQUE (waybill_no)
);

-- A closed manifest was signed: nothing of it changes any more but the key that its sealed name is under.
-- +goose StatementBegin
CREATE FUNCTION manifests_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    which uuid;
BEGIN
    IF TG_TABLE_NAME = 'manifests' THEN
        which := OLD.id;
        IF TG_OP = 'UPDATE' THEN
            IF (to_jsonb(OLD) - 'courier_sealed') = (to_jsonb(NEW) - 'courier_sealed') THEN
                RETURN NEW;
            END IF;
        END IF;
    ELSIF TG_OP = 'DELETE' THEN
        which := OLD.manifest_id;
    ELSE
        which := NEW.manifest_id;
    END IF;
    IF EXISTS (SELECT 1 FROM manifests WHERE id = which AND closed_at IS NOT NULL) THEN
        RAISE EXCEPTION 'manifest %: it is closed', which USING ERRCODE = 'check_violation', CONSTRAINT = 'manifests_closed_for_good';
    END IF;
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER manifests_closed_for_good BEFORE UPDATE OR DELETE ON manifests FOR EACH ROW EXECUTE FUNCTION manifests_guard();
CREATE TRIGGER manifest_items_closed_for_good BEFORE INSERT OR UPDATE OR DELETE ON manifest_items FOR EACH ROW EXECUTE FUNCTION manifests_guard();

-- Who had a case, and what was said when it changed hands.
CREATE TABLE case_moves (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    case_id     uuid NOT NULL REFERENCES cases,
    at          timestamptz NOT NULL,
    by          text NOT NULL CHECK (by <> ''),
    from_owner  text NOT NULL,
    to_owner    text NOT NULL,
    note        text NOT NULL DEFAULT '',
    CONSTRAINT case_moves_move CHECK (from_owner <> to_owner)
);
CREATE INDEX case_moves_case ON case_moves (case_id, id);
CREATE INDEX cases_owner ON cases (owner, due_at, id) WHERE closed_at IS NULL;

-- EMS's bills: asked for by interface (050002, 050006), or the table that EMS sends.
CREATE TABLE bills (
    id           uuid PRIMARY KEY,
    month        date NOT NULL CONSTRAINT bills_month CHECK (extract(day FROM month) = 1),
    source       text NOT NULL CONSTRAINT bills_source CHECK (source IN ('interface', 'file')),
    bill_no      text NOT NULL DEFAULT '',     -- as EMS numbers it; a file does not say
    content      bytea NOT NULL CONSTRAINT bills_once UNIQUE, -- hash of what it says: the same again changes nothing
    total_fen    bigint NOT NULL,              -- of its lines
    stated_fen   bigint,                       -- what EMS says that it comes to
    bad_rows     integer NOT NULL DEFAULT 0,   -- that could not be read
    imported_at  timestamptz NOT NULL,
    imported_by  text NOT NULL CHECK (imported_by <> '')
);
CREATE INDEX bills_list ON bills (month DESC, imported_at DESC);
CREATE UNIQUE INDEX bills_one_number ON bills (bill_no) WHERE bill_no <> '';

CREATE TABLE bill_lines (
    bill_id       uuid NOT NULL REFERENCES bills,
    n             integer NOT NULL,
    row           integer,                     -- of the table; NULL when EMS was asked, or did not say it
    waybill_no    text NOT NULL,
    posted_on     date,
    weight_g      integer,
    fen           bigint NOT NULL,
    result        text NOT NULL CONSTRAINT bill_lines_result CHECK (result IN
                      ('matched', 'known', 'unknown_waybill', 'amount_differs', 'weight_differs', 'cancelled', 'twice', 'collect', 'missing')),
    delivery_id   uuid REFERENCES deliveries,
    our_fen       bigint,                      -- what it was compared with
    our_weight_g  integer,
    case_id       uuid REFERENCES cases,
    settled_at    timestamptz,                 -- of a line without a case, or of what was missing and came with a later bill
    settled_by    text,
    note          text,
    PRIMARY KEY (bill_id, n),
    CONSTRAINT bill_lines_settled CHECK ((settled_at IS NULL) = (settled_by IS NULL) AND (settled_at IS NULL) = (note IS NULL))
);
CREATE INDEX bill_lines_waybill ON bill_lines (waybill_no);
CREATE INDEX bill_lines_open ON bill_lines (bill_id, n) WHERE result NOT IN ('matched', 'known');

-- +goose Down
DROP TABLE bill_lines, bills, case_moves, manifest_items, manifests, label_prints;
DROP FUNCTION manifests_guard();
DROP TRIGGER pack_stop_holds ON deliveries;
DROP TABLE pack_stops, packings;
DROP FUNCTION pack_stop_guard();
DROP INDEX cases_owner;
