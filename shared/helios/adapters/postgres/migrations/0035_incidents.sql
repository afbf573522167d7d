-- What frames that have a position have added to causes, until the next turn of the incidents. Rows are only added and
-- removed, so that no two transactions wait for each other.
CREATE TABLE incident_deltas (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    cause text NOT NULL,  -- the currency, a space, and the key of the cause
    slot timestamptz NOT NULL,
    number bigint NOT NULL,
    amount numeric NOT NULL
);

CREATE TABLE incidents (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key text NOT NULL,
    kind text NOT NULL,
    flow text,
    source text,
    title text NOT NULL,
    severity text NOT NULL,
    opened_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,
    resolved_at timestamptz,
    resolution text,
    acknowledged_by text,
    acknowledged_at timestamptz,
    snoozed_until timestamptz,
    assignee text
);
-- By the digest of the key: the names of many legs are longer than an index accepts.
CREATE UNIQUE INDEX incidents_open ON incidents (md5(key)) WHERE resolved_at IS NULL;
CREATE INDEX incidents_key ON incidents (md5(key), id);

-- What each incident counts, by the ten minutes in which the instances opened: a repaired instance is taken from the
-- incident that counted it.
CREATE TABLE incident_counts (
    incident_id bigint NOT NULL REFERENCES incidents ON DELETE CASCADE,
    slot timestamptz NOT NULL,
    currency text NOT NULL,
    number bigint NOT NULL,
    amount numeric NOT NULL,
    PRIMARY KEY (incident_id, slot, currency)
);

-- Causes are no sums of a period.
CREATE OR REPLACE VIEW waiting_flow_counts AS
SELECT minute, flow, what, value, instances, amount, seconds
FROM frames, json_to_recordset(flow_counts) AS count (
    minute timestamptz, flow text, what text, value text, instances bigint, amount numeric, seconds double precision
)
WHERE position IS NULL AND what <> 'cause';

-- Every role gives frames their positions and sweeps.
INSERT INTO role_grants
SELECT role, relation, privileges
FROM unnest(ARRAY['helios_aws', 'helios_gcp', 'helios_azure', 'helios_api']) AS role,
(VALUES
    ('incident_deltas', 'SELECT, INSERT, DELETE'),
    ('incidents', 'SELECT, INSERT, UPDATE'),
    ('incident_counts', 'SELECT, INSERT, UPDATE')
) AS incident (relation, privileges);

-- The state of the consumers counts the parked events.
INSERT INTO role_grants
SELECT role, 'parked', 'SELECT' FROM unnest(ARRAY['helios_aws', 'helios_gcp', 'helios_azure']) AS role
ON CONFLICT (role, relation) DO NOTHING;
