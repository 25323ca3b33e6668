-- +goose Up

-- In which language the resident is told; Chinese unless the applicant chose otherwise.
ALTER TABLE deliveries ADD COLUMN language text NOT NULL DEFAULT 'zh' CONSTRAINT deliveries_language CHECK (language IN ('zh', 'en'));
ALTER TABLE inbox.approved_permits ADD COLUMN language text;
GRANT INSERT (language) ON inbox.approved_permits TO emsd_exchange;

-- +goose Down
ALTER TABLE inbox.approved_permits DROP COLUMN language;
ALTER TABLE deliveries DROP COLUMN language;
