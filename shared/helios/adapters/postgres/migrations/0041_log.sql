-- What the projector has read of the log, where another engine judges: its offsets are written with what follows from the
-- messages, in one transaction, so that each message has its effect once.
CREATE TABLE log_offsets (
    topic text NOT NULL,
    partition integer NOT NULL,
    next_offset bigint NOT NULL,  -- the first message that was not read
    PRIMARY KEY (topic, partition)
);

-- The counts of the log are those of all deliveries so far. What a message adds is its difference from the row here.
CREATE TABLE log_counts (
    minute timestamptz NOT NULL,
    source text NOT NULL,
    type text NOT NULL,
    stored bigint NOT NULL,
    duplicate bigint NOT NULL,
    contradictory bigint NOT NULL,
    rejected bigint NOT NULL,
    PRIMARY KEY (minute, source, type)
);

INSERT INTO role_grants VALUES
    ('helios_api', 'log_offsets', 'SELECT, INSERT, UPDATE'),
    ('helios_api', 'log_counts', 'SELECT, INSERT, UPDATE');
