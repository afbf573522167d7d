-- Attempts to bring back a missing leg of a flow instance. They are removed with their instance, by retention and by an
-- erasure.
CREATE TABLE recoveries (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    flow text NOT NULL,
    key text NOT NULL,
    leg text NOT NULL,
    actor text NOT NULL,
    is_automatic boolean NOT NULL,
    requested_at timestamptz NOT NULL,
    state text NOT NULL DEFAULT 'running'
        CHECK (state IN ('running', 'recovered', 'not_found', 'refused', 'failed')),
    finding text CHECK (finding IN ('never_reached_bus', 'not_delivered', 'refused', 'unknown')),
    found_in text,
    detail text NOT NULL DEFAULT '',
    searches json NOT NULL DEFAULT '[]',
    due_at timestamptz NOT NULL,
    ended_at timestamptz,
    FOREIGN KEY (flow, key) REFERENCES flow_instances ON DELETE CASCADE,
    CHECK ((state = 'running') = (ended_at IS NULL))
);
CREATE UNIQUE INDEX recoveries_running ON recoveries (flow, key, leg) WHERE state = 'running';
CREATE INDEX recoveries_due ON recoveries (due_at, id) WHERE state = 'running';
CREATE INDEX recoveries_instance ON recoveries (flow, key, id);
CREATE INDEX recoveries_automatic ON recoveries (flow, requested_at) WHERE is_automatic;

-- How the names begin of everything that a recovery creates in a cloud. Another database has another prefix, so that
-- neither removes what the other still needs.
CREATE TABLE recovery_prefix (
    prefix text NOT NULL DEFAULT 'helios-recovery-' || left(md5(gen_random_uuid()::text), 8) || '-',
    one boolean NOT NULL DEFAULT true PRIMARY KEY CHECK (one)
);
INSERT INTO recovery_prefix DEFAULT VALUES;

-- The API and the sweep on AWS run recoveries.
INSERT INTO role_grants VALUES
    ('helios_api', 'recoveries', 'SELECT, INSERT, UPDATE'),
    ('helios_api', 'recovery_prefix', 'SELECT'),
    ('helios_aws', 'recoveries', 'SELECT, INSERT, UPDATE'),
    ('helios_aws', 'recovery_prefix', 'SELECT');
