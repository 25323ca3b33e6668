-- +goose Up
-- Who did it, and to what: the console lists entries by either.
CREATE INDEX audit_actor ON audit (actor, id);
CREATE INDEX audit_object ON audit (object, id);

-- +goose Down
DROP INDEX audit_actor, audit_object;
