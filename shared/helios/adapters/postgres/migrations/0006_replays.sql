-- Sending again what is stored: one row a job, whose cursor moves with every step, so that another process goes on
-- where one was killed.
CREATE TABLE replays (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    request json NOT NULL,
    state text NOT NULL,
    requested_by text NOT NULL,
    requested_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    total bigint NOT NULL,
    sent bigint NOT NULL DEFAULT 0,
    refused bigint NOT NULL DEFAULT 0,
    cursor text,
    error text
);
CREATE INDEX replays_running ON replays (id) WHERE state = 'running';

-- What became of a dead letter that was replayed: the status of its event, and when.
ALTER TABLE dead_letters ADD replayed_as text, ADD replayed_at timestamptz;
CREATE INDEX dead_letters_waiting ON dead_letters (id) WHERE replayed_at IS NULL AND status = 'rejected';

-- Who did what to what; rows are only ever added.
CREATE TABLE audit_log (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    who text NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    detail text NOT NULL
);
