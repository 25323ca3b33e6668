-- What the console's lists and counts read, so that a million deliveries do not make them slow.

-- +goose Up

-- The queue of a station, of a rule, and of some days.
CREATE INDEX deliveries_station_page ON deliveries (station_code, id);
CREATE INDEX deliveries_rule_page ON deliveries (rule, id) WHERE rule IS NOT NULL;
CREATE INDEX deliveries_made ON deliveries (created_at, id);

-- How each delivery was counted last, by a reader of the feed: what changed is taken from the old count and put to the new.
CREATE TABLE tallied (
    delivery_id   uuid PRIMARY KEY,
    station_code  text NOT NULL,
    status        text NOT NULL,
    day           date NOT NULL        -- since when it stands there, in Beijing
) WITH (fillfactor = 80);

-- How many deliveries of a station stand in a status since a day. The status taken_in counts all that were made on the day.
CREATE TABLE tallies (
    status        text NOT NULL,
    day           date NOT NULL,
    station_code  text NOT NULL,
    n             bigint NOT NULL,
    PRIMARY KEY (status, day, station_code)
);
CREATE INDEX tallies_empty ON tallies (status) WHERE n = 0;

INSERT INTO tallied (delivery_id, station_code, status, day)
SELECT id, station_code, status, (status_since AT TIME ZONE 'Asia/Shanghai')::date FROM deliveries;
INSERT INTO tallies (status, day, station_code, n)
SELECT status, day, station_code, count(*) FROM tallied GROUP BY 1, 2, 3
UNION ALL
SELECT 'taken_in', (created_at AT TIME ZONE 'Asia/Shanghai')::date, station_code, count(*) FROM deliveries GROUP BY 2, 3;
INSERT INTO feed_readers (name, position) SELECT 'tallies', position FROM feed_head;

-- +goose Down
DELETE FROM feed_readers WHERE name = 'tallies';
DROP TABLE tallies, tallied;
DROP INDEX deliveries_station_page, deliveries_rule_page, deliveries_made;
