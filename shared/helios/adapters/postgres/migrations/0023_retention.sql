-- Partitions that retention removes, from just before they are detached until they are dropped: a crash in between leaves
-- a table that is no partition any more.
CREATE TABLE detached_partitions (
    name text PRIMARY KEY,
    since timestamptz,  -- NULL: from the beginning
    until timestamptz NOT NULL
);

CREATE INDEX dead_letters_last_received_at ON dead_letters (last_received_at);
CREATE INDEX audit_log_at ON audit_log USING brin (at);
