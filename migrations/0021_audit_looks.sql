-- +goose Up
-- An entry about many deliveries, such as a page of the API's list or an export, names them in its detail: here each of
-- them finds it.
CREATE INDEX audit_ids ON audit USING gin (string_to_array(detail ->> 'ids', ' ')) WHERE detail ? 'ids';

-- +goose Down
DROP INDEX audit_ids;
