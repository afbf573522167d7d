-- Up to when the log is projected: every delivery that was appended before is stored here, judged. Balances count no
-- later, so that a projector or a job that is behind is no alarm.
CREATE TABLE log_progress (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    projected_until timestamptz NOT NULL
);

-- How far the archive has read the events of the log. It moves in the transaction that makes the files readable.
CREATE TABLE archive_offsets (
    topic text NOT NULL,
    partition integer NOT NULL,
    next_offset bigint NOT NULL,  -- the first message that is in no file
    PRIMARY KEY (topic, partition)
);

-- A file of the log has events that Postgres does not have, also of days that a partition covers.
ALTER TABLE archive_files ADD from_log boolean NOT NULL DEFAULT false;

INSERT INTO role_grants VALUES
    ('helios_api', 'log_progress', 'SELECT, INSERT, UPDATE'),
    ('helios_api', 'archive_offsets', 'SELECT, INSERT, UPDATE');
