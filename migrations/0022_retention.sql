-- +goose Up

-- When what was sealed of the recipient was deleted, by business time; the row stays as proof of what was done.
ALTER TABLE deliveries ADD COLUMN erased_at timestamptz;
CREATE INDEX deliveries_to_erase ON deliveries (status_since, id)
    WHERE erased_at IS NULL AND status IN ('refused', 'cancelled', 'delivered', 'returned', 'lost');

-- +goose Down
DROP INDEX deliveries_to_erase;
ALTER TABLE deliveries DROP COLUMN erased_at;
