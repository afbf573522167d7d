-- What producers say they have published, and the balance of that with what arrived.

-- One row is what one publisher declares about one type and minute. Ids are compared byte by byte, as in Python.
CREATE TABLE manifests (
    minute timestamptz NOT NULL,
    source text NOT NULL,
    type text NOT NULL,
    producer text NOT NULL,
    publisher text NOT NULL,
    advisory boolean NOT NULL,
    published bigint NOT NULL,
    repeated bigint NOT NULL,
    skew_seconds integer NOT NULL,
    revision integer NOT NULL,
    time timestamptz NOT NULL,
    id text COLLATE "C" NOT NULL,
    pending boolean NOT NULL DEFAULT true  -- not yet part of a balance
);
-- By the digest of the producer: it is longer than an index accepts.
CREATE UNIQUE INDEX manifests_identity ON manifests (minute, source, type, md5(producer), publisher, advisory);
CREATE INDEX manifests_pending ON manifests (minute) WHERE pending;

-- Written by one process at a time, never by ingest.
CREATE TABLE balances (
    minute timestamptz NOT NULL,
    source text NOT NULL,
    type text NOT NULL,
    published bigint,
    repeated bigint NOT NULL,
    advisory bigint,
    skew_seconds integer NOT NULL,
    due_at timestamptz NOT NULL,
    counted_until timestamptz NOT NULL,     -- events received before this are in the two counts below for good
    stored_before bigint NOT NULL DEFAULT 0,
    near_before bigint NOT NULL DEFAULT 0,
    stored bigint NOT NULL DEFAULT 0,       -- of the minute
    near bigint NOT NULL DEFAULT 0,         -- within skew_seconds before and after the minute
    duplicate bigint NOT NULL DEFAULT 0,
    rejected bigint NOT NULL DEFAULT 0,
    missing bigint NOT NULL DEFAULT 0,
    counted_at timestamptz,
    open boolean NOT NULL DEFAULT true,
    PRIMARY KEY (minute, source, type)
);
CREATE INDEX balances_open ON balances (counted_until) WHERE open;
CREATE INDEX balances_missing ON balances (minute) WHERE missing > 0;

-- Deliveries that repeated a stored event, by the minute of the event's own time. Rows are only added and removed, so
-- that no two transactions wait for each other.
CREATE TABLE event_repeats (
    minute timestamptz NOT NULL,
    source text NOT NULL,
    type text NOT NULL,
    number bigint NOT NULL
);
CREATE INDEX event_repeats_minute ON event_repeats (minute, source, type);

-- What is known of an event that became a dead letter.
ALTER TABLE dead_letters ADD event_type text, ADD event_time timestamptz;
CREATE INDEX dead_letters_event ON dead_letters (event_time, source, event_type) WHERE event_type IS NOT NULL;

-- Every role stores events and sweeps.
INSERT INTO role_grants
SELECT role, relation, privileges
FROM unnest(ARRAY['helios_aws', 'helios_gcp', 'helios_azure', 'helios_api']) AS role,
(VALUES
    ('manifests', 'SELECT, INSERT, UPDATE'),
    ('balances', 'SELECT, INSERT, UPDATE'),
    ('event_repeats', 'SELECT, INSERT, UPDATE, DELETE')  -- FOR UPDATE needs UPDATE
) AS balance (relation, privileges);
