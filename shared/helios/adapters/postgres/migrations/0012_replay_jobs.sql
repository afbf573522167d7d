-- Which events the replay of a dead letter became, as [source, id] pairs.
ALTER TABLE dead_letters ADD replayed_keys json;

-- What is sent where once more, and how far that has come.
CREATE TABLE replay_jobs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    what text NOT NULL,
    filter json NOT NULL,
    target json NOT NULL,
    per_second integer NOT NULL,
    who text NOT NULL,
    state text NOT NULL,
    created_at timestamptz NOT NULL,
    finished_at timestamptz,
    matching bigint NOT NULL,
    -- jsonb, which can be compared: who moves it says where it was.
    checkpoint jsonb,
    sent bigint NOT NULL DEFAULT 0,
    failed bigint NOT NULL DEFAULT 0,
    skipped bigint NOT NULL DEFAULT 0,
    last_error text
);
CREATE INDEX replay_jobs_running ON replay_jobs (id) WHERE state = 'running';

-- Lines of one action, and of one subject, are pages of their own.
CREATE INDEX audit_log_action ON audit_log (action, id);
CREATE INDEX audit_log_subject ON audit_log (subject, id);
