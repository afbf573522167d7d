-- Work that one process at a time does: the periodic work of the API servers, the replay jobs, the archive. An advisory
-- lock of a session does not exist behind a pooler in transaction mode, and a holder that hangs would hold it without end.
CREATE TABLE leases (
    name text PRIMARY KEY,
    token bigint NOT NULL,  -- grows with each holder: what an earlier one still writes is refused
    holder text NOT NULL,   -- host and process id, for an operator who looks
    expires_at timestamptz NOT NULL
);

INSERT INTO role_grants
SELECT role, 'leases', 'SELECT, INSERT, UPDATE' FROM unnest(ARRAY['helios_aws', 'helios_api']) AS role;
