-- The schema of emsd. Business times are `timestamptz` given by the caller; columns marked "wall" hold the
-- technical clock (leases, retry waits). Constraints named i1_… to i5_… are the invariants of ARCHITECTURE.md.

-- +goose Up

-- Who handles an application. A booked window counts as the institution that runs it (R-17).
CREATE TABLE stations (
    code         text PRIMARY KEY,
    name         text NOT NULL CHECK (name <> ''),
    kind         text NOT NULL CONSTRAINT stations_kind CHECK (kind IN ('police_station', 'registration_station', 'booked_window')),
    operated_by  text CONSTRAINT stations_operated_by CHECK (operated_by IN ('police_station', 'registration_station')),
    sender_name  text NOT NULL DEFAULT '',
    phone        text NOT NULL DEFAULT '',
    province     text NOT NULL DEFAULT '',
    city         text NOT NULL DEFAULT '',
    county       text NOT NULL DEFAULT '',
    address      text NOT NULL DEFAULT '',
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL
);

-- What a rule allows, and from when until when (R-12). What no row in force names is refused.
CREATE TABLE policies (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rule        text NOT NULL CONSTRAINT policies_rule CHECK (rule ~ '^R-[0-2][0-9]$'),
    subject     text NOT NULL CONSTRAINT policies_subject CHECK (subject IN
                    ('route', 'business', 'payer', 'carrier', 'consent_source', 'online_ground', 'online_change', 'station')),
    value       text NOT NULL,
    valid_from  timestamptz NOT NULL,
    valid_to    timestamptz,
    note        text NOT NULL DEFAULT '',
    CONSTRAINT policies_period CHECK (valid_to IS NULL OR valid_to > valid_from)
);
CREATE UNIQUE INDEX policies_once ON policies (rule, subject, value, valid_from);

INSERT INTO policies (rule, subject, value, valid_from, note) VALUES
    ('R-08', 'route',          'police_station', '2017-07-10 00:00+08', 'notice of 10 July 2017'),
    ('R-08', 'route',          'online',         '2017-07-10 00:00+08', 'notice of 10 July 2017'),
    ('R-09', 'station',        'police_station', '2017-07-10 00:00+08', 'registration stations have no row: refused'),
    ('R-10', 'payer',          'applicant',      '2017-07-10 00:00+08', 'notice of 10 July 2017'),
    ('R-11', 'carrier',        'ems',            '2017-07-10 00:00+08', 'at present the only one'),
    ('R-13', 'consent_source', 'platform',       '2017-07-10 00:00+08', 'notice of 10 July 2017'),
    ('R-13', 'consent_source', 'counter',        '2017-07-10 00:00+08', 'notice of 10 July 2017'),
    ('R-15', 'online_ground',  'residence',      '2017-07-10 00:00+08', 'notice of 10 July 2017'),
    ('R-15', 'online_change',  'unchanged',      '2017-07-10 00:00+08', 'identity and address both unchanged'),
    ('R-20', 'business',       'exchange',       '2017-07-10 00:00+08', 'notice of 10 July 2017');

-- Postage by destination province; money is integer fen, weights are grams.
CREATE TABLE tariffs (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    zone            text NOT NULL,
    provinces       text[] NOT NULL CHECK (cardinality(provinces) > 0),
    valid_from      timestamptz NOT NULL,
    valid_to        timestamptz,
    first_weight_g  integer NOT NULL CHECK (first_weight_g > 0),
    first_fen       bigint  NOT NULL CHECK (first_fen >= 0),
    step_weight_g   integer NOT NULL CHECK (step_weight_g > 0),
    step_fen        bigint  NOT NULL CHECK (step_fen >= 0),
    CONSTRAINT tariffs_period CHECK (valid_to IS NULL OR valid_to > valid_from)
);
CREATE UNIQUE INDEX tariffs_once ON tariffs (zone, valid_from);

-- Keys that seal personal data, wrapped under the master key.
CREATE TABLE data_keys (
    id          integer PRIMARY KEY,
    purpose     text NOT NULL CONSTRAINT data_keys_purpose CHECK (purpose IN ('seal', 'lookup')),
    wrapped     bytea NOT NULL,
    state       text NOT NULL CONSTRAINT data_keys_state CHECK (state IN ('active', 'old', 'retired')),
    created_at  timestamptz NOT NULL,
    retired_at  timestamptz
);
CREATE UNIQUE INDEX data_keys_one_active ON data_keys (purpose) WHERE state = 'active';

CREATE TABLE key_rotations (
    key_id       integer NOT NULL REFERENCES data_keys,
    column_name  text NOT NULL,
    after        text NOT NULL DEFAULT '',
    resealed     bigint NOT NULL DEFAULT 0,
    done_at      timestamptz,
    PRIMARY KEY (key_id, column_name)
);

CREATE TABLE deliveries (
    id                uuid PRIMARY KEY,
    permit_no         text NOT NULL,
    application_no    text NOT NULL,
    business          text NOT NULL,
    route             text NOT NULL,
    ground            text NOT NULL,
    identity_changed  boolean NOT NULL,
    address_changed   boolean NOT NULL,
    station_code      text NOT NULL REFERENCES stations,
    station_class     text NOT NULL CONSTRAINT deliveries_station_class
                      CHECK (station_class IN ('police_station', 'registration_station', 'unclassified')),
    consent_source    text,
    consent_at        timestamptz,
    consent_notice    text NOT NULL DEFAULT '',
    approved_at       timestamptz NOT NULL,
    payment_method    text NOT NULL,

    -- Sealed: see courier/vault. The *_lookup columns are keyed hashes for search.
    name_sealed       bytea NOT NULL,
    phone_sealed      bytea NOT NULL,
    id_no_sealed      bytea NOT NULL,
    address_sealed    bytea NOT NULL,
    phone_lookup      bytea NOT NULL,
    id_no_lookup      bytea NOT NULL,
    content_lookup    bytea NOT NULL, -- keyed hash of all that was posted: the same permit posted again is recognised by it
    province          text NOT NULL,
    city              text NOT NULL,
    county            text NOT NULL,

    status            text NOT NULL CONSTRAINT deliveries_status CHECK (status IN
                          ('refused', 'awaiting_payment', 'approved', 'ordering', 'ordered', 'accepted', 'in_transit',
                           'out_for_delivery', 'attempt_failed', 'held', 'delivered', 'returning', 'returned', 'lost', 'cancelled')),
    status_since      timestamptz NOT NULL,
    rule              text,
    reason            text,
    zone              text NOT NULL DEFAULT '',
    fee_fen           bigint NOT NULL DEFAULT 0 CHECK (fee_fen >= 0),
    paid_fen          bigint NOT NULL DEFAULT 0 CHECK (paid_fen >= 0),
    refund_due_fen    bigint NOT NULL DEFAULT 0 CHECK (refund_due_fen >= 0),
    refunded_fen      bigint NOT NULL DEFAULT 0 CHECK (refunded_fen >= 0),
    order_no          text CONSTRAINT i3_one_order_no UNIQUE,
    waybill_no        text CONSTRAINT i3_one_waybill_no UNIQUE,
    number_mode       text CONSTRAINT deliveries_number_mode CHECK (number_mode IN ('reserved', 'assigned')),
    next_attempt_at   timestamptz,         -- wall: approved, when to order
    attempts          integer NOT NULL DEFAULT 0,
    reconcile_at      timestamptz,         -- wall: ordering, when to ask EMS what became of it; NULL waits for a clerk
    reconciles        integer NOT NULL DEFAULT 0,
    cancel_requested_at timestamptz,       -- business time of the request
    cancel_attempt_at timestamptz,         -- wall: when to send 020006 next
    cancel_reason     text,
    held_until        date,
    postage_fen       bigint CHECK (postage_fen >= 0), -- what EMS charged (050001); NULL until known
    postage_weight_g  integer,
    supersedes        uuid REFERENCES deliveries,
    seq               integer NOT NULL DEFAULT 0,
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,

    -- I-1: only an exchange, at a police station or online, with consent, leaves the table of refusals.
    CONSTRAINT i1_exchange_with_consent CHECK (status = 'refused' OR (
        business = 'exchange' AND route IN ('police_station', 'online') AND station_class = 'police_station'
        AND consent_source IS NOT NULL AND consent_at IS NOT NULL)),
    -- I-2: nothing is ordered before the payment rule is met.
    CONSTRAINT i2_paid_before_order CHECK (
        status IN ('refused', 'awaiting_payment', 'cancelled') OR payment_method = 'collect' OR paid_fen >= fee_fen),
    -- R-10: another payer's method can be recorded only as what was refused.
    CONSTRAINT deliveries_payment_method CHECK (status = 'refused' OR payment_method IN ('prepaid', 'collect')),
    CONSTRAINT refused_has_rule CHECK ((status = 'refused') = (rule IS NOT NULL AND reason IS NOT NULL)),
    CONSTRAINT waybill_from_ordering_on CHECK (
        waybill_no IS NOT NULL OR status IN ('refused', 'awaiting_payment', 'approved', 'cancelled')
        OR (status = 'ordering' AND number_mode = 'assigned')),
    CONSTRAINT order_no_from_ordering_on CHECK (
        order_no IS NOT NULL OR status IN ('refused', 'awaiting_payment', 'approved', 'cancelled')),
    CONSTRAINT approved_is_due CHECK (status <> 'approved' OR next_attempt_at IS NOT NULL),
    CONSTRAINT refunds_within_payments CHECK (refund_due_fen + refunded_fen <= paid_fen)
);
-- I-3: one live delivery per permit, and one live or delivered per permit issue (permit and application).
CREATE UNIQUE INDEX i3_one_live_delivery ON deliveries (permit_no)
    WHERE status NOT IN ('refused', 'cancelled', 'returned', 'lost', 'delivered');
CREATE UNIQUE INDEX i3_one_delivered_issue ON deliveries (permit_no, application_no)
    WHERE status NOT IN ('refused', 'cancelled', 'returned', 'lost');
-- The same application refused again by the same rule is the same refusal.
CREATE UNIQUE INDEX deliveries_refused_once ON deliveries (content_lookup, rule) WHERE status = 'refused';
CREATE INDEX deliveries_permit ON deliveries (permit_no, created_at);
CREATE INDEX deliveries_application ON deliveries (application_no);
CREATE INDEX deliveries_phone ON deliveries (phone_lookup);
CREATE INDEX deliveries_id_no ON deliveries (id_no_lookup);
CREATE INDEX deliveries_updated ON deliveries (updated_at, id);
CREATE INDEX deliveries_status_page ON deliveries (status, id);
CREATE INDEX deliveries_order_due ON deliveries (next_attempt_at, id) WHERE status = 'approved' AND cancel_requested_at IS NULL;
CREATE INDEX deliveries_reconcile_due ON deliveries (reconcile_at, id) WHERE status = 'ordering' AND reconcile_at IS NOT NULL;
CREATE INDEX deliveries_postage_due ON deliveries (id) WHERE postage_fen IS NULL AND payment_method = 'prepaid'
    AND status IN ('accepted', 'in_transit', 'out_for_delivery', 'attempt_failed', 'held', 'delivered', 'returning', 'returned');
CREATE INDEX deliveries_unpaid ON deliveries (status_since, id) WHERE status = 'awaiting_payment';
CREATE INDEX deliveries_cancel_due ON deliveries (cancel_attempt_at, id) WHERE cancel_attempt_at IS NOT NULL;

-- +goose StatementBegin
CREATE FUNCTION deliveries_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.status = 'refused' AND NEW.status <> 'refused' THEN
        RAISE EXCEPTION 'delivery %: a refused delivery is final (I-1, %)', OLD.id, OLD.rule
            USING ERRCODE = 'check_violation', CONSTRAINT = 'i1_refused_is_final';
    END IF;
    RAISE EXCEPTION 'delivery %: business, route, station and consent are facts of the application and never change (I-1)', OLD.id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'i1_facts_are_fixed';
END $$;
-- +goose StatementEnd
CREATE TRIGGER i1_refused_is_final BEFORE UPDATE OF status ON deliveries
    FOR EACH ROW WHEN (OLD.status = 'refused' AND NEW.status <> 'refused') EXECUTE FUNCTION deliveries_guard();
CREATE TRIGGER i1_facts_are_fixed
    BEFORE UPDATE OF business, route, station_code, station_class, consent_source, consent_at, permit_no, application_no ON deliveries
    FOR EACH ROW WHEN ((OLD.business, OLD.route, OLD.station_code, OLD.station_class, OLD.consent_source, OLD.consent_at, OLD.permit_no, OLD.application_no)
        IS DISTINCT FROM (NEW.business, NEW.route, NEW.station_code, NEW.station_class, NEW.consent_source, NEW.consent_at, NEW.permit_no, NEW.application_no))
    EXECUTE FUNCTION deliveries_guard();

-- Money that came in, and money that went back.
CREATE TABLE payments (
    id              uuid PRIMARY KEY,
    delivery_id     uuid NOT NULL REFERENCES deliveries,
    kind            text NOT NULL CONSTRAINT payments_kind CHECK (kind IN ('payment', 'refund')),
    transaction_no  text NOT NULL,
    method          text NOT NULL CONSTRAINT payments_method -- unstated: tables of permits have no column for it
                    CHECK (method IN ('wechat', 'alipay', 'unionpay', 'cash', 'unstated')),
    amount_fen      bigint NOT NULL CONSTRAINT payments_amount CHECK (amount_fen > 0),
    paid_at         timestamptz NOT NULL,
    recorded_at     timestamptz NOT NULL,
    recorded_by     text NOT NULL,
    CONSTRAINT payments_transaction_once UNIQUE (transaction_no)
);
CREATE INDEX payments_delivery ON payments (delivery_id);

-- The pool of waybill numbers reserved with 020002. A number that was used is never free again; that it serves one
-- delivery only is i3_one_waybill_no.
CREATE TABLE numbers (
    waybill_no   text PRIMARY KEY,
    product      text NOT NULL,
    state        text NOT NULL CONSTRAINT numbers_state CHECK (state IN ('free', 'taken', 'void')),
    delivery_id  uuid,
    reserved_at  timestamptz NOT NULL
);
CREATE INDEX numbers_free ON numbers (product, waybill_no) WHERE state = 'free';

-- Every call that could spend money, written and committed before its first byte (I-4).
CREATE TABLE order_attempts (
    id           uuid PRIMARY KEY,
    delivery_id  uuid NOT NULL,
    call         text NOT NULL CONSTRAINT order_attempts_call CHECK (call IN ('create', 'create_again', 'cancel')),
    order_no     text NOT NULL,
    waybill_no   text,
    started_at   timestamptz NOT NULL, -- wall
    finished_at  timestamptz,          -- wall
    outcome      text CONSTRAINT order_attempts_outcome CHECK (outcome IN ('confirmed', 'refused', 'unsent', 'unknown', 'anomaly')),
    ret_code     text NOT NULL DEFAULT '',
    detail       text NOT NULL DEFAULT '',
    serial_no    text NOT NULL DEFAULT '',
    CONSTRAINT order_attempts_finished CHECK ((finished_at IS NULL) = (outcome IS NULL))
) WITH (fillfactor = 45); -- every row is written twice, the second time in its own page
CREATE INDEX order_attempts_delivery ON order_attempts (delivery_id, started_at);

-- Waybills that EMS made and nobody wants: an answer named another number than the one ordered, or came after the
-- cancellation. Each is cancelled with 020006 until EMS agrees, or a clerk is told that it does not.
CREATE TABLE unwanted_waybills (
    waybill_no    text PRIMARY KEY,
    delivery_id   uuid NOT NULL REFERENCES deliveries,
    order_no      text NOT NULL,
    found_at      timestamptz NOT NULL, -- wall
    cancel_at     timestamptz,          -- wall: when to send 020006 next; NULL once cancelled or left to a clerk
    tries         integer NOT NULL DEFAULT 0,
    cancelled_at  timestamptz,          -- wall
    CONSTRAINT unwanted_cancelled_is_done CHECK (cancelled_at IS NULL OR cancel_at IS NULL)
);
CREATE INDEX unwanted_waybills_due ON unwanted_waybills (cancel_at, waybill_no) WHERE cancel_at IS NOT NULL;
CREATE INDEX unwanted_waybills_delivery ON unwanted_waybills (delivery_id);

-- The label of an ordered envelope: EMS's own PDF, sealed, for it shows name, phone and address.
CREATE TABLE labels (
    delivery_id      uuid PRIMARY KEY,
    waybill_no       text NOT NULL,
    next_attempt_at  timestamptz, -- wall; NULL once stored
    failures         integer NOT NULL DEFAULT 0,
    pdf_sealed       bytea,
    fetched_at       timestamptz,
    CONSTRAINT labels_stored_or_due CHECK ((pdf_sealed IS NULL) = (fetched_at IS NULL))
);
CREATE INDEX labels_due ON labels (next_attempt_at, delivery_id) WHERE next_attempt_at IS NOT NULL;

-- Poll state of an envelope, apart from the wide delivery row because every poll writes it. Every index here costs each
-- poll an entry, so there is none on waybill_no: one row per delivery, and i3_one_waybill_no of deliveries, keep it unique.
CREATE TABLE waybills (
    delivery_id   uuid PRIMARY KEY,
    waybill_no    text NOT NULL,
    stage         text NOT NULL,          -- status of the delivery as tracking last wrote it
    ordered_at    timestamptz NOT NULL,
    next_poll_at  timestamptz,            -- NULL in a final state
    changed_at    timestamptz NOT NULL,   -- when the trace last changed
    fingerprint   bigint NOT NULL DEFAULT 0,
    failures      integer NOT NULL DEFAULT 0
) WITH (fillfactor = 80);
CREATE INDEX waybills_due ON waybills (next_poll_at, delivery_id) WHERE next_poll_at IS NOT NULL;

-- What EMS pushed: only that there is news about a number; the query is the truth.
CREATE TABLE push_hints (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    waybill_no   text NOT NULL,
    received_at  timestamptz NOT NULL
);

-- Scans are append-only (I-6). Identity: waybill, op time, op code, organisation.
CREATE TABLE scans (
    delivery_id   uuid NOT NULL,
    op_at         timestamptz NOT NULL,
    op_code       text NOT NULL,
    org_code      text NOT NULL,
    waybill_no    text NOT NULL,
    op_name       text NOT NULL,
    desc_sealed   bytea NOT NULL,         -- the carrier's sentence holds courier names and phones
    org_name      text NOT NULL,
    province      text NOT NULL,
    city          text NOT NULL,
    deliver_code  text NOT NULL DEFAULT '',
    attempt_code  text NOT NULL DEFAULT '',
    seen_at       timestamptz NOT NULL,
    PRIMARY KEY (delivery_id, op_at, op_code, org_code)
) PARTITION BY RANGE (op_at);
CREATE TABLE scans_default PARTITION OF scans DEFAULT;

-- The log of every change (I-8). seq counts per delivery; position is given by the publisher, without gaps.
CREATE TABLE events (
    id           bigint GENERATED ALWAYS AS IDENTITY,
    delivery_id  uuid NOT NULL,
    seq          integer NOT NULL,
    type         text NOT NULL,
    at           timestamptz NOT NULL,
    data         jsonb NOT NULL,
    position     bigint,
    PRIMARY KEY (delivery_id, seq, at)
) PARTITION BY RANGE (at);
CREATE TABLE events_default PARTITION OF events DEFAULT;
CREATE INDEX events_unpublished ON events (id) WHERE position IS NULL;
CREATE INDEX events_position ON events (position) WHERE position IS NOT NULL;

-- One row: the last position given. Its row lock makes the publisher single.
CREATE TABLE feed_head (
    one       boolean PRIMARY KEY DEFAULT true CHECK (one),
    position  bigint NOT NULL
);
INSERT INTO feed_head (position) VALUES (0);

-- How far each reader inside the daemon has come in the feed.
CREATE TABLE feed_readers (
    name      text PRIMARY KEY,
    position  bigint NOT NULL
);

CREATE TABLE cases (
    id           uuid PRIMARY KEY,
    delivery_id  uuid NOT NULL REFERENCES deliveries,
    kind         text NOT NULL CONSTRAINT cases_kind CHECK (kind IN
                     ('order_refused', 'order_unknown', 'address', 'unpaid', 'stalled', 'unknown_code', 'delivered_elsewhere',
                      'not_received', 'held', 'returned', 'sms_failed', 'fee_difference', 'lost')),
    opened_at    timestamptz NOT NULL,
    due_at       timestamptz NOT NULL,
    owner        text NOT NULL DEFAULT '',
    next_action  text NOT NULL,
    detail       text NOT NULL DEFAULT '',
    closed_at    timestamptz,
    outcome      text,
    closed_by    text,
    why          text,
    CONSTRAINT cases_closed_with_outcome CHECK ((closed_at IS NULL) = (outcome IS NULL) AND (closed_at IS NULL) = (closed_by IS NULL))
);
CREATE UNIQUE INDEX cases_one_open ON cases (delivery_id, kind) WHERE closed_at IS NULL;
CREATE INDEX cases_due ON cases (due_at, id) WHERE closed_at IS NULL;

-- I-5: at most one message per delivery and milestone.
CREATE TABLE messages (
    id            uuid PRIMARY KEY,
    delivery_id   uuid NOT NULL REFERENCES deliveries,
    milestone     text NOT NULL CONSTRAINT messages_milestone CHECK (milestone IN
                      ('payment_due', 'handed_over', 'out_for_delivery', 'attempt_failed', 'held', 'delivered', 'returned', 'cancelled')),
    position      bigint NOT NULL,          -- of the event that caused it
    event_at      timestamptz NOT NULL,     -- when it happened, by the scan
    vars          jsonb NOT NULL,           -- no personal data
    state         text NOT NULL CONSTRAINT messages_state CHECK (state IN
                      ('queued', 'sending', 'unknown', 'accepted', 'delivered', 'failed', 'suppressed')),
    verdict       text NOT NULL,            -- send, hold, merge, too_late, …
    reason        text NOT NULL,
    not_before    timestamptz NOT NULL,     -- business time
    next_attempt_at timestamptz,            -- wall: when to try again after a technical failure
    tries         integer NOT NULL DEFAULT 0,
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    CONSTRAINT i5_one_message_per_milestone UNIQUE (delivery_id, milestone)
);
CREATE INDEX messages_due ON messages (not_before, id) WHERE state = 'queued';

-- I-4: an attempt is committed before its request; its id travels as OutId.
CREATE TABLE message_attempts (
    id            uuid PRIMARY KEY,
    message_id    uuid NOT NULL REFERENCES messages,
    gateway       text NOT NULL,
    template      text NOT NULL,
    state         text NOT NULL CONSTRAINT message_attempts_state CHECK (state IN
                      ('sending', 'accepted', 'rejected', 'unsent', 'unknown', 'absent', 'delivered', 'failed')),
    class         text NOT NULL DEFAULT '',
    code          text NOT NULL DEFAULT '',
    provider_id   text NOT NULL DEFAULT '',
    sent_on       text NOT NULL,            -- Beijing day yyyyMMdd of the start, for the gateway's query
    started_at    timestamptz NOT NULL,     -- wall
    finished_at   timestamptz,              -- wall
    resolve_at    timestamptz,              -- wall: when to ask the gateway about an unknown one
    resolves      integer NOT NULL DEFAULT 0,
    receipt_at    timestamptz
);
CREATE UNIQUE INDEX i5_one_open_attempt ON message_attempts (message_id) WHERE state IN ('sending', 'unknown', 'accepted', 'delivered');
CREATE INDEX message_attempts_message ON message_attempts (message_id, started_at);
CREATE INDEX message_attempts_sending ON message_attempts (started_at) WHERE state = 'sending';
CREATE INDEX message_attempts_resolve ON message_attempts (resolve_at, id) WHERE state = 'unknown' AND resolve_at IS NOT NULL;

-- Receipts as they came, without the number; joined to attempts by a round.
CREATE TABLE message_receipts (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gateway       text NOT NULL,
    attempt_id    uuid,                     -- NULL when the gateway's id is not one of ours
    provider_id   text NOT NULL,
    success       boolean NOT NULL,
    code          text NOT NULL,
    received_at   timestamptz NOT NULL,
    processed_at  timestamptz
);
CREATE INDEX message_receipts_open ON message_receipts (id) WHERE processed_at IS NULL;

-- API tokens: only the hash is kept.
CREATE TABLE tokens (
    id            uuid PRIMARY KEY,
    name          text NOT NULL CHECK (name <> ''),
    hash          bytea NOT NULL UNIQUE,
    scopes        text[] NOT NULL CONSTRAINT tokens_scopes CHECK (scopes <@ ARRAY['permits', 'payments', 'read', 'clerk', 'admin'] AND cardinality(scopes) > 0),
    created_at    timestamptz NOT NULL,
    expires_at    timestamptz,
    revoked_at    timestamptz,
    last_used_at  timestamptz
);

CREATE TABLE idempotency_keys (
    token_id      uuid NOT NULL REFERENCES tokens,
    key           text NOT NULL,
    request_hash  bytea NOT NULL,
    status        integer,                  -- NULL while the first request is in progress
    content_type  text NOT NULL DEFAULT '',
    location      text NOT NULL DEFAULT '',
    body          bytea,                    -- answers to POSTs are masked: nothing personal
    created_at    timestamptz NOT NULL,     -- wall
    PRIMARY KEY (token_id, key)
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);

-- Each entry hashes its predecessor: see courier/audit.
CREATE TABLE audit (
    id         bigint PRIMARY KEY,
    at         timestamptz NOT NULL,
    actor      text NOT NULL,
    action     text NOT NULL,
    object     text NOT NULL,
    detail     jsonb NOT NULL,
    prev_hash  bytea NOT NULL,
    hash       bytea NOT NULL
);

-- The exchange table for systems that reach only the database.
CREATE SCHEMA inbox;
CREATE TABLE inbox.approved_permits (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    permit_no         text, application_no text, business text, route text, ground text,
    identity_changed  text, address_changed text, station_code text,
    consent_source    text, consent_at text, approved_at text, payment_method text,
    transaction_no    text, paid_fen text,
    name              text, phone text, id_no text, province text, city text, county text, address text,
    inserted_by       text NOT NULL DEFAULT current_user,
    inserted_at       timestamptz NOT NULL DEFAULT now(),
    result            text,
    result_at         timestamptz,
    delivery_id       uuid
);
CREATE INDEX approved_permits_open ON inbox.approved_permits (id) WHERE result_at IS NULL;
ALTER TABLE inbox.approved_permits ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_rows_insert ON inbox.approved_permits FOR INSERT WITH CHECK (inserted_by = current_user AND result IS NULL AND result_at IS NULL);
CREATE POLICY own_rows_select ON inbox.approved_permits FOR SELECT USING (inserted_by = current_user);
-- +goose StatementBegin
CREATE FUNCTION inbox.announce() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NOTIFY emsd_inbox;
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER announce AFTER INSERT ON inbox.approved_permits FOR EACH STATEMENT EXECUTE FUNCTION inbox.announce();

-- Roles belong to the whole server, so another database may have made this one already, or be making it now.
-- +goose StatementBegin
DO $$
BEGIN
    CREATE ROLE emsd_exchange NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$;
-- +goose StatementEnd
GRANT USAGE ON SCHEMA inbox TO emsd_exchange;
GRANT SELECT ON inbox.approved_permits TO emsd_exchange;
GRANT INSERT (permit_no, application_no, business, route, ground, identity_changed, address_changed, station_code, consent_source,
    consent_at, approved_at, payment_method, transaction_no, paid_fen, name, phone, id_no, province, city, county, address)
    ON inbox.approved_permits TO emsd_exchange;

-- Makes the partition of one month (Beijing) of scans or events; rows that already lie in the default partition move into it.
-- +goose StatementBegin
CREATE FUNCTION ensure_month(parent text, month date) RETURNS boolean LANGUAGE plpgsql AS $$
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

-- +goose Down
DROP SCHEMA inbox CASCADE;
DROP TABLE audit, idempotency_keys, tokens, message_receipts, message_attempts, messages, cases, feed_readers, feed_head, events, scans,
    push_hints, waybills, labels, unwanted_waybills, order_attempts, numbers, payments, deliveries, key_rotations, data_keys, tariffs, policies, stations;
DROP FUNCTION deliveries_guard();
DROP FUNCTION ensure_month(text, date);
