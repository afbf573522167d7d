-- What became of a dead letter that was replayed: the status of its event, and when.
ALTER TABLE dead_letters ADD replayed_as text, ADD replayed_at timestamptz;

-- Who did what to what; rows are only ever added.
CREATE TABLE audit_log (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    who text NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    detail text NOT NULL
);
