-- The versions of flows that the log says are in force. The recompute of a version begins once the job judges by it, and
-- once everything that it judged by earlier ones is stored here.
CREATE TABLE log_rules (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    generation bigint NOT NULL,
    published_at timestamptz NOT NULL
);

INSERT INTO role_grants VALUES
    ('helios_api', 'log_rules', 'SELECT, INSERT, UPDATE');

-- Every role sweeps: it counts balances up to log_progress, and recomputes.
INSERT INTO role_grants
SELECT role, relation, 'SELECT'
FROM unnest(ARRAY['helios_aws', 'helios_gcp', 'helios_azure']) AS role, unnest(ARRAY['log_progress', 'log_rules']) AS relation;
