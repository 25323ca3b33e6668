-- Tracking that can be trusted: tellings and raw answers as evidence, tables in which an operator or a clerk sets how scans
-- are read and how often EMS is asked, stalls, returns, readdressing, non-receipt, and the history that expectations come from.

-- +goose Up

-- A scan keeps what was read out of its text when it came; the text itself stays sealed.
ALTER TABLE scans
    ADD COLUMN text_print bigint NOT NULL DEFAULT 0,  -- keyed hash of what the scan tells beyond its identity; 0: stored before there was one
    ADD COLUMN said_class text NOT NULL DEFAULT '',   -- recipient class that the wording of a 704 names
    ADD COLUMN said_until date;                       -- last day of collection that the wording names

-- The same scan told again in other words: the scan stands, the second text is kept beside it (I-6).
CREATE TABLE retellings (
    delivery_id   uuid NOT NULL,
    op_at         timestamptz NOT NULL,
    op_code       text NOT NULL,
    org_code      text NOT NULL,
    text_print    bigint NOT NULL,
    op_name       text NOT NULL,
    desc_sealed   bytea NOT NULL,
    deliver_code  text NOT NULL DEFAULT '',
    attempt_code  text NOT NULL DEFAULT '',
    said_class    text NOT NULL DEFAULT '',
    said_until    date,
    seen_at       timestamptz NOT NULL,
    PRIMARY KEY (delivery_id, op_at, op_code, org_code, text_print)
) PARTITION BY RANGE (op_at);
CREATE TABLE retellings_default PARTITION OF retellings DEFAULT;

-- I-6: what EMS told is never changed. What was read out of the text (said_…) may be read again, and keys rotate.
-- +goose StatementBegin
CREATE FUNCTION scans_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'scans are append-only (I-6)' USING ERRCODE = 'check_violation', CONSTRAINT = 'i6_scans_are_append_only';
END $$;
-- +goose StatementEnd
CREATE TRIGGER i6_scans_are_append_only
    BEFORE UPDATE OF delivery_id, op_at, op_code, org_code, waybill_no, op_name, org_name, province, city, deliver_code, attempt_code, seen_at ON scans
    FOR EACH ROW EXECUTE FUNCTION scans_guard();
CREATE TRIGGER i6_retellings_are_append_only
    BEFORE UPDATE OF delivery_id, op_at, op_code, org_code, text_print, op_name, deliver_code, attempt_code, seen_at ON retellings
    FOR EACH ROW EXECUTE FUNCTION scans_guard();

-- EMS's answers as they came, each that told something new: deflated, then sealed.
CREATE TABLE raw_answers (
    delivery_id  uuid NOT NULL,
    asked_at     timestamptz NOT NULL,
    waybill_no   text NOT NULL,
    fingerprint  bigint NOT NULL,
    body_sealed  bytea NOT NULL,
    PRIMARY KEY (delivery_id, asked_at)
) PARTITION BY RANGE (asked_at);
CREATE TABLE raw_answers_default PARTITION OF raw_answers DEFAULT;

-- Codes that neither the built-in tables nor a decision know, until somebody decides what they mean. A code of who received
-- or why not stands behind its scan's code: 704/99, 705/99.
CREATE TABLE unknown_codes (
    code              text PRIMARY KEY,
    name              text NOT NULL,        -- EMS's own name of it, of the last example
    seen              bigint NOT NULL,      -- scans
    first_at          timestamptz NOT NULL, -- when seen first and last by us
    last_at           timestamptz NOT NULL,
    example_delivery  uuid NOT NULL,
    example_at        timestamptz NOT NULL  -- time of the example's scan
);

-- What a clerk decided a code means. The newest decision whose valid_from a scan has reached counts; nothing is overwritten.
CREATE TABLE code_decisions (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code        text NOT NULL CHECK (code <> ''),
    name        text NOT NULL DEFAULT '',
    meaning     text NOT NULL CHECK (meaning <> ''), -- group, recipient class or attempt status: see tracking.Decision
    sentence    text NOT NULL DEFAULT '',            -- what residents read
    valid_from  timestamptz NOT NULL,
    decided_at  timestamptz NOT NULL,
    decided_by  text NOT NULL CHECK (decided_by <> ''),
    reason      text NOT NULL CHECK (reason <> '')
);
CREATE INDEX code_decisions_code ON code_decisions (code, valid_from, id);

-- What a class of recipient means for a delivered envelope (I-7). A class without a row in force is a case.
CREATE TABLE recipient_policies (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    class       text NOT NULL CHECK (class <> ''),
    action      text NOT NULL CONSTRAINT recipient_policies_action CHECK (action IN ('fine', 'ask', 'case', 'case_unless_id')),
    due_hours   integer NOT NULL DEFAULT 8 CHECK (due_hours > 0), -- working hours until the case is due
    valid_from  timestamptz NOT NULL,
    valid_to    timestamptz,
    note        text NOT NULL DEFAULT '',
    CONSTRAINT recipient_policies_period CHECK (valid_to IS NULL OR valid_to > valid_from)
);
CREATE UNIQUE INDEX recipient_policies_once ON recipient_policies (class, valid_from);
INSERT INTO recipient_policies (class, action, due_hours, valid_from, note) VALUES
    ('self',              'fine',           8, '2017-07-10 00:00+08', 'in the holder''s own hands'),
    ('collected',         'fine',           8, '2017-07-10 00:00+08', '748: taken with the code that only the holder was sent'),
    ('unstated',          'ask',            8, '2017-07-10 00:00+08', 'EMS may leave the code out; the message asks to call if it did not arrive'),
    ('family',            'case_unless_id', 8, '2017-07-10 00:00+08', 'fine when EMS was told to check an identity document'),
    ('colleague',         'case_unless_id', 8, '2017-07-10 00:00+08', 'fine when EMS was told to check an identity document'),
    ('agent',             'case_unless_id', 8, '2017-07-10 00:00+08', 'another person, unnamed'),
    ('reception',         'case',           8, '2017-07-10 00:00+08', ''),
    ('office',            'case',           8, '2017-07-10 00:00+08', ''),
    ('property',          'case',           8, '2017-07-10 00:00+08', ''),
    ('village_committee', 'case',           8, '2017-07-10 00:00+08', ''),
    ('door',              'case',           4, '2017-07-10 00:00+08', 'anybody may take it'),
    ('meter_box',         'case',           4, '2017-07-10 00:00+08', 'anybody may take it'),
    ('letterbox',         'case',           4, '2017-07-10 00:00+08', ''),
    ('other',             'case',           4, '2017-07-10 00:00+08', '');

-- How long an envelope waits for collection when EMS does not say. The first day counts.
CREATE TABLE collection_terms (
    place    text PRIMARY KEY CONSTRAINT collection_terms_place CHECK (place IN ('locker', 'pickup_point', 'counter')),
    days     integer NOT NULL CHECK (days BETWEEN 1 AND 60),
    working  boolean NOT NULL -- count working days only
);
INSERT INTO collection_terms (place, days, working) VALUES ('locker', 3, false), ('pickup_point', 3, true), ('counter', 5, true);

-- When to ask EMS again. The row of a stage with the largest silent_hours that its silence has reached counts. Of the
-- envelopes that are due, those of the lowest urgency number are asked about first.
CREATE TABLE poll_plan (
    stage         text NOT NULL CONSTRAINT poll_plan_stage CHECK (stage IN
                      ('ordered', 'accepted', 'in_transit', 'out_for_delivery', 'attempt_failed', 'held', 'returning')),
    silent_hours  integer NOT NULL DEFAULT 0 CHECK (silent_hours >= 0), -- since the trace last changed
    day_seconds   integer NOT NULL CHECK (day_seconds BETWEEN 10 AND 86400),
    night_seconds integer NOT NULL CHECK (night_seconds BETWEEN 10 AND 86400),
    urgency       smallint NOT NULL CHECK (urgency BETWEEN 0 AND 3),
    PRIMARY KEY (stage, silent_hours)
);
INSERT INTO poll_plan (stage, silent_hours, day_seconds, night_seconds, urgency) VALUES
    ('ordered',            0,  3600, 14400, 3), ('ordered',           72, 14400, 14400, 3),
    ('ordered',          168, 21600, 21600, 3), ('ordered',          336, 43200, 43200, 3),
    ('accepted',           0,  1800,  7200, 2), ('accepted',          48,  7200, 14400, 2),
    ('accepted',         168, 21600, 21600, 3), ('accepted',         336, 43200, 43200, 3),
    ('in_transit',         0,  1800,  7200, 2), ('in_transit',        48,  7200, 14400, 2),
    ('in_transit',       168, 21600, 21600, 3), ('in_transit',       336, 43200, 43200, 3),
    ('out_for_delivery',   0,   600,  2400, 0), ('out_for_delivery',  24,  3600, 14400, 1),
    ('out_for_delivery', 168, 21600, 21600, 3), ('out_for_delivery', 336, 43200, 43200, 3),
    ('attempt_failed',     0,  1800,  7200, 1), ('attempt_failed',    48,  7200, 14400, 2),
    ('attempt_failed',   168, 21600, 21600, 3), ('attempt_failed',   336, 43200, 43200, 3),
    ('held',               0,  3600, 14400, 1), ('held',              48, 14400, 14400, 2),
    ('held',             168, 21600, 21600, 3), ('held',             336, 43200, 43200, 3),
    ('returning',          0,  7200, 14400, 3), ('returning',        168, 21600, 21600, 3),
    ('returning',        336, 43200, 43200, 3);

-- How long nothing may happen before a clerk is told, in working hours.
CREATE TABLE stall_clocks (
    clock          text PRIMARY KEY,
    statuses       text[] NOT NULL CHECK (cardinality(statuses) > 0),
    starts         text NOT NULL CONSTRAINT stall_clocks_starts CHECK (starts IN ('handed_over', 'status', 'scan', 'held_until', 'shelf')),
    working_hours  integer NOT NULL CHECK (working_hours >= 0),
    next_action    text NOT NULL CHECK (next_action <> '')
);
INSERT INTO stall_clocks (clock, statuses, starts, working_hours, next_action) VALUES
    ('not_accepted',   '{ordered}',                            'handed_over',  8, '邮件已交寄但邮政没有收寄记录：向揽收网点核实，必要时凭交接单查找。'),
    ('not_known',      '{ordered}',                            'scan',        40, '邮政一直没有该运单的收寄记录：核对邮件是否已经交寄；未交寄的尽快交寄，已交寄的向邮政查询。'),
    ('no_scan',        '{accepted,in_transit,attempt_failed}', 'scan',        24, '邮件途中长时间没有新的物流记录：向邮政（010-56421484）催查。'),
    ('no_result',      '{out_for_delivery}',                   'scan',        10, '已派送但没有投递结果：向投递网点核实邮件在谁手中。'),
    ('held_too_long',  '{held}',                               'held_until',   0, '领取期限已过，邮件仍未领取也未退回：联系申请人和网点，确认去向。'),
    ('returning_long', '{returning}',                          'status',      56, '退回途中时间过长：向邮政催查，确认邮件所在网点。'),
    ('shelf_over',     '{returned}',                           'shelf',        0, '退件保管期限已过：按规定移交制证部门处理，并登记结果。');

-- Poll state: how urgent a waybill is. One small index per urgency, each kept as narrow as the one it replaces.
ALTER TABLE waybills ADD COLUMN urgency smallint NOT NULL DEFAULT 3 CONSTRAINT waybills_urgency CHECK (urgency BETWEEN 0 AND 3);
UPDATE waybills SET urgency = CASE stage WHEN 'out_for_delivery' THEN 0 WHEN 'attempt_failed' THEN 1 WHEN 'held' THEN 1
    WHEN 'accepted' THEN 2 WHEN 'in_transit' THEN 2 ELSE 3 END;
DROP INDEX waybills_due;
CREATE INDEX waybills_due_0 ON waybills (next_poll_at, delivery_id) WHERE urgency = 0 AND next_poll_at IS NOT NULL;
CREATE INDEX waybills_due_1 ON waybills (next_poll_at, delivery_id) WHERE urgency = 1 AND next_poll_at IS NOT NULL;
CREATE INDEX waybills_due_2 ON waybills (next_poll_at, delivery_id) WHERE urgency = 2 AND next_poll_at IS NOT NULL;
CREATE INDEX waybills_due_3 ON waybills (next_poll_at, delivery_id) WHERE urgency = 3 AND next_poll_at IS NOT NULL;

-- Office hours, for clocks that wait for a station: "09:00-12:00,13:30-17:00". Saturdays and Sundays count only if worked (调休).
ALTER TABLE stations ADD COLUMN hours text NOT NULL DEFAULT '09:00-17:00';

-- Partial, for a column of a whole unique index is part of a row's key: to set it, an update waits for everybody who just
-- writes a message, a case or a payment of that delivery.
ALTER TABLE deliveries DROP CONSTRAINT i3_one_order_no, DROP CONSTRAINT i3_one_waybill_no;
CREATE UNIQUE INDEX i3_one_order_no ON deliveries (order_no) WHERE order_no IS NOT NULL;
CREATE UNIQUE INDEX i3_one_waybill_no ON deliveries (waybill_no) WHERE waybill_no IS NOT NULL;

ALTER TABLE deliveries
    ADD COLUMN tracked_at      timestamptz,             -- when the trace last grew
    ADD COLUMN handed_over_at  timestamptz,             -- to EMS's courier, as a clerk recorded it
    ADD COLUMN receiver        text NOT NULL DEFAULT '', -- class of who or what received it, as it stands now
    ADD COLUMN id_checked      boolean NOT NULL DEFAULT false, -- the order told EMS to check an identity document
    ADD COLUMN password_sealed bytea;                   -- six digits that the courier asks for (密码投递)
CREATE INDEX deliveries_stall ON deliveries (status, (greatest(tracked_at, status_since)), id)
    WHERE status IN ('ordered', 'accepted', 'in_transit', 'out_for_delivery', 'attempt_failed', 'held', 'returning');
CREATE INDEX deliveries_handed_over ON deliveries (handed_over_at, id) WHERE status = 'ordered' AND handed_over_at IS NOT NULL;

CREATE INDEX cases_delivery ON cases (delivery_id, opened_at);

-- What came back to the issuing station.
CREATE TABLE returns (
    delivery_id        uuid PRIMARY KEY REFERENCES deliveries,
    received_at        timestamptz NOT NULL,
    received_by        text NOT NULL CHECK (received_by <> ''),
    shelf              text NOT NULL CHECK (shelf <> ''),
    retain_until       date NOT NULL,
    picked_up_at       timestamptz,
    picked_up_by       text,                 -- the clerk who handed it out
    picked_up_who      text CONSTRAINT returns_who CHECK (picked_up_who IN ('holder', 'agent')),
    id_document        text CONSTRAINT returns_id_document CHECK (id_document IN ('resident_id', 'temporary_id', 'household_book', 'police_certificate', 'passport', 'travel_permit')),
    agent_name_sealed  bytea,
    redispatched_as    uuid REFERENCES deliveries,
    disposed_at        timestamptz,          -- kept to the end, or void
    disposed_by        text,
    disposal           text CONSTRAINT returns_disposal CHECK (disposal IN ('sent_back', 'destroyed')),
    CONSTRAINT returns_one_end CHECK (num_nonnulls(picked_up_at, redispatched_as, disposed_at) <= 1),
    CONSTRAINT returns_disposed CHECK ((disposed_at IS NULL) = (disposed_by IS NULL) AND (disposed_at IS NULL) = (disposal IS NULL)),
    CONSTRAINT returns_picked_up CHECK ((picked_up_at IS NULL) = (picked_up_by IS NULL)
        AND (picked_up_at IS NULL) = (picked_up_who IS NULL) AND (picked_up_at IS NULL) = (id_document IS NULL)),
    CONSTRAINT returns_agent CHECK (agent_name_sealed IS NULL OR picked_up_who = 'agent')
);
CREATE INDEX returns_on_shelf ON returns (retain_until, delivery_id)
    WHERE picked_up_at IS NULL AND redispatched_as IS NULL AND disposed_at IS NULL;
CREATE INDEX returns_redispatched ON returns (redispatched_as) WHERE redispatched_as IS NOT NULL;

-- A new address for an order that EMS has and nobody has handed over: the waybill is cancelled first, then the delivery is
-- ordered anew under another number (I-3).
CREATE TABLE readdressings (
    delivery_id     uuid PRIMARY KEY REFERENCES deliveries,
    asked_at        timestamptz NOT NULL,
    asked_by        text NOT NULL,
    reason          text NOT NULL,
    address_sealed  bytea NOT NULL,
    province        text NOT NULL,
    city            text NOT NULL,
    county          text NOT NULL,
    old_waybill_no  text NOT NULL,
    ended_at        timestamptz,
    outcome         text CONSTRAINT readdressings_outcome CHECK (outcome IN ('ordered_anew', 'refused', 'overtaken', 'cancelled')),
    CONSTRAINT readdressings_ended CHECK ((ended_at IS NULL) = (outcome IS NULL))
);

-- What EMS was asked to do with an envelope that it has (SPEC 5.27), or what a clerk arranged by telephone.
CREATE TABLE interventions (
    id              uuid PRIMARY KEY,
    delivery_id     uuid NOT NULL REFERENCES deliveries,
    kind            text NOT NULL CONSTRAINT interventions_kind CHECK (kind IN ('readdress', 'withdraw', 'urge', 'redeliver')),
    waybill_no      text NOT NULL,
    asked_at        timestamptz NOT NULL,
    asked_by        text NOT NULL,
    reason          text NOT NULL,
    province        text NOT NULL DEFAULT '',
    city            text NOT NULL DEFAULT '',
    county          text NOT NULL DEFAULT '',
    address_sealed  bytea,
    state           text NOT NULL CONSTRAINT interventions_state CHECK (state IN ('by_phone', 'sending', 'agreed', 'refused', 'unsent', 'unknown', 'done', 'failed')),
    started_at      timestamptz, -- wall; committed before the call (I-4)
    finished_at     timestamptz, -- wall
    ret_code        text NOT NULL DEFAULT '',
    detail          text NOT NULL DEFAULT '',
    serial_no       text NOT NULL DEFAULT '',
    closed_by       text,
    CONSTRAINT interventions_address CHECK ((kind = 'readdress') = (address_sealed IS NOT NULL))
);
CREATE INDEX interventions_delivery ON interventions (delivery_id, asked_at);
CREATE INDEX interventions_sending ON interventions (started_at) WHERE state = 'sending';
CREATE UNIQUE INDEX interventions_one_open ON interventions (delivery_id, kind) WHERE state IN ('by_phone', 'sending', 'unsent', 'unknown', 'agreed');

-- "I did not get it": what was said, what EMS said then, and how it ended.
CREATE TABLE non_receipts (
    id           uuid PRIMARY KEY,
    delivery_id  uuid NOT NULL REFERENCES deliveries,
    said_at      timestamptz NOT NULL,
    said_by      text NOT NULL CONSTRAINT non_receipts_by CHECK (said_by IN ('resident', 'clerk')),
    recorded_by  text NOT NULL,
    facts        jsonb NOT NULL, -- status, scans and receiver as EMS told them then; nothing personal
    ended_at     timestamptz,
    outcome      text CONSTRAINT non_receipts_outcome CHECK (outcome IN ('found', 'resent', 'lost')),
    ended_by     text,
    why          text,
    CONSTRAINT non_receipts_ended CHECK ((ended_at IS NULL) = (outcome IS NULL) AND (ended_at IS NULL) = (ended_by IS NULL))
);
CREATE UNIQUE INDEX non_receipts_one_open ON non_receipts (delivery_id) WHERE ended_at IS NULL;

-- How long envelopes took, one row each, written from the feed: what expectations and statistics are computed from.
CREATE TABLE journeys (
    delivery_id       uuid PRIMARY KEY,
    station_code      text NOT NULL,
    province          text NOT NULL,
    city              text NOT NULL,
    county            text NOT NULL,
    ordered_at        timestamptz NOT NULL,
    accepted_at       timestamptz,
    first_attempt_at  timestamptz,  -- 704, 705, 747 … whichever came first
    first_attempt_ok  boolean,      -- delivered at once, to somebody who may have it
    ended_at          timestamptz,
    outcome           text,         -- final status
    days              integer GENERATED ALWAYS AS (CASE WHEN outcome = 'delivered' AND ended_at >= accepted_at THEN
                          (ended_at AT TIME ZONE 'Asia/Shanghai')::date - (accepted_at AT TIME ZONE 'Asia/Shanghai')::date END) STORED,
    CONSTRAINT journeys_ended_with_outcome CHECK ((ended_at IS NULL) = (outcome IS NULL))
);
CREATE INDEX journeys_route ON journeys (station_code, province, city, county, ended_at) INCLUDE (days) WHERE outcome = 'delivered';
CREATE INDEX journeys_province ON journeys (province, ended_at) INCLUDE (days) WHERE outcome = 'delivered';
CREATE INDEX journeys_ended ON journeys (ended_at) WHERE ended_at IS NOT NULL;

-- Makes the partition of one month (Beijing); rows that already lie in the default partition move into it.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION ensure_month(parent text, month date) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    part  text := parent || '_' || to_char(month, 'YYYYMM');
    lower timestamptz := date_trunc('month', month::timestamp) AT TIME ZONE 'Asia/Shanghai';
    upper timestamptz := (date_trunc('month', month::timestamp) + interval '1 month') AT TIME ZONE 'Asia/Shanghai';
    key   text := CASE parent WHEN 'scans' THEN 'op_at' WHEN 'retellings' THEN 'op_at' WHEN 'raw_answers' THEN 'asked_at' WHEN 'events' THEN 'at' END;
BEGIN
    IF key IS NULL THEN
        RAISE EXCEPTION 'ensure_month: % is not partitioned by month', parent;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('ensure_month'), hashtext(part));
    IF to_regclass(part) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('LOCK TABLE %I IN SHARE ROW EXCLUSIVE MODE', parent || '_default');
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS)', part, parent);
    EXECUTE format('WITH moved AS (DELETE FROM %I WHERE %I >= %L AND %I < %L RETURNING *) INSERT INTO %I SELECT * FROM moved',
        parent || '_default', key, lower, key, upper, part);
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, part, lower, upper);
    RETURN true;
END $$;
-- +goose StatementEnd

-- Drops the monthly partitions that end before a month (Beijing), and with them their rows; gives how many.
-- +goose StatementBegin
CREATE FUNCTION drop_months(parent text, before date) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    part    text;
    dropped integer := 0;
BEGIN
    IF parent NOT IN ('scans', 'retellings', 'raw_answers', 'events') THEN
        RAISE EXCEPTION 'drop_months: % is not partitioned by month', parent;
    END IF;
    FOR part IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = parent::regclass AND c.relname ~ ('^' || parent || '_[0-9]{6}$')
            AND right(c.relname, 6) < to_char(before, 'YYYYMM')
        ORDER BY c.relname
    LOOP
        EXECUTE format('DROP TABLE %I', part);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END $$;
-- +goose StatementEnd

-- +goose Down
DROP FUNCTION drop_months(text, date);
DROP TABLE journeys, non_receipts, interventions, readdressings, returns;
DROP INDEX deliveries_stall, deliveries_handed_over, cases_delivery;
DROP INDEX i3_one_order_no, i3_one_waybill_no;
ALTER TABLE deliveries ADD CONSTRAINT i3_one_order_no UNIQUE (order_no), ADD CONSTRAINT i3_one_waybill_no UNIQUE (waybill_no);
ALTER TABLE deliveries DROP COLUMN tracked_at, DROP COLUMN handed_over_at, DROP COLUMN receiver, DROP COLUMN id_checked, DROP COLUMN password_sealed;
ALTER TABLE stations DROP COLUMN hours;
DROP INDEX waybills_due_0, waybills_due_1, waybills_due_2, waybills_due_3;
CREATE INDEX waybills_due ON waybills (next_poll_at, delivery_id) WHERE next_poll_at IS NOT NULL;
ALTER TABLE waybills DROP COLUMN urgency;
DROP TABLE stall_clocks, poll_plan, collection_terms, recipient_policies, code_decisions, unknown_codes, raw_answers;
DROP TRIGGER i6_scans_are_append_only ON scans;
DROP TABLE retellings;
DROP FUNCTION scans_guard();
ALTER TABLE scans DROP COLUMN text_print, DROP COLUMN said_class, DROP COLUMN said_until;
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION ensure_month(parent text, month date) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    part  text := parent || '_' || to_char(month, 'YYYYMM');
    lower timestamptz := date_trunc('month', month::timestamp) AT TIME ZONE 'Asia/Shanghai';
    upper timestamptz := (date_trunc('month', month::timestamp) + interval '1 month') AT TIME ZONE 'Asia/Shanghai';
    key   text := CASE parent WHEN 'scans' THEN 'op_at' WHEN 'events' THEN 'at' END;
BEGIN
    IF key IS NULL THEN
        RAISE EXCEPTION 'ensure_month: % is not partitioned by month', parent;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('ensure_month'), hashtext(part));
    IF to_regclass(part) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('LOCK TABLE %I IN SHARE ROW EXCLUSIVE MODE', parent || '_default');
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS)', part, parent);
    EXECUTE format('WITH moved AS (DELETE FROM %I WHERE %I >= %L AND %I < %L RETURNING *) INSERT INTO %I SELECT * FROM moved',
        parent || '_default', key, lower, key, upper, part);
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, part, lower, upper);
    RETURN true;
END $$;
-- +goose StatementEnd
