-- Roles of the database with the least rights: one for the functions of each cloud, one for the API and one for the
-- migrations. A deployment creates them (helios.adapters.postgres.roles); without them, as on a developer's machine, one
-- user owns all tables and nothing below grants anything.

-- The privileges of each role, which grant_roles() applies. A migration that adds a table adds its rows; those of later
-- migrations in a row below wait for theirs. Removing and archiving events is left to the owner of the tables.
CREATE TABLE role_grants (
    role text NOT NULL,
    relation text NOT NULL,
    privileges text NOT NULL,  -- as after GRANT
    PRIMARY KEY (role, relation)
);

-- Storing events, and the sweep. UPDATE (id), which an identity column refuses, is what SELECT ... FOR UPDATE needs.
INSERT INTO role_grants
SELECT role, relation, privileges
FROM unnest(ARRAY['helios_aws', 'helios_gcp', 'helios_azure', 'helios_api']) AS role,
(VALUES
    ('events', 'SELECT, INSERT'),
    ('event_ids', 'SELECT, INSERT'),
    ('event_counts', 'SELECT, INSERT, UPDATE'),
    ('event_totals', 'SELECT, INSERT, UPDATE'),
    ('flow_instances', 'SELECT, INSERT, UPDATE'),
    ('flow_counts', 'SELECT, INSERT, UPDATE'),
    ('flow_slots', 'SELECT, INSERT, UPDATE'),
    ('dead_letters', 'SELECT, INSERT, UPDATE (attempts, last_received_at)'),
    ('frames', 'SELECT, INSERT, UPDATE (id)'),
    ('consumers', 'SELECT'),
    ('stream', 'SELECT')
) AS storing (relation, privileges);
UPDATE role_grants SET privileges = privileges || ', DELETE' WHERE relation = 'frames' AND role <> 'helios_api';

-- Numbering the frames, which the relay and every reader of the stream do.
UPDATE role_grants SET privileges = privileges || ', UPDATE (position)'
WHERE role IN ('helios_aws', 'helios_api') AND relation IN ('frames', 'stream');

-- The relay and the replay jobs run on AWS.
UPDATE role_grants SET privileges = 'SELECT, INSERT, UPDATE' WHERE role = 'helios_aws' AND relation = 'consumers';
INSERT INTO role_grants VALUES
    ('helios_aws', 'replay_jobs', 'SELECT, UPDATE'),
    ('helios_aws', 'audit_log', 'INSERT');
UPDATE role_grants SET privileges = privileges || ', UPDATE (replayed_as, replayed_keys, replayed_at)'
WHERE role IN ('helios_aws', 'helios_api') AND relation = 'dead_letters';

-- The API, which reads everything. Tokens are created on the command line.
INSERT INTO role_grants VALUES
    ('helios_api', 'replay_jobs', 'SELECT, INSERT, UPDATE'),
    ('helios_api', 'audit_log', 'SELECT, INSERT'),
    ('helios_api', 'tokens', 'SELECT, UPDATE (last_used_at)'),
    ('helios_api', 'parked', 'SELECT'),
    ('helios_api', 'hot_events', 'SELECT'),
    ('helios_api', 'archive_files', 'SELECT'),
    ('helios_api', 'archive_days', 'SELECT'),
    ('helios_api', 'archive_index', 'SELECT'),
    ('helios_api', 'schema_migrations', 'SELECT');

-- The sweep makes the next partition, for which it would have to own the table.
CREATE FUNCTION add_event_partition(since timestamptz, until timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    name text := 'events_' || to_char(since AT TIME ZONE 'UTC', 'YYYYMMDD');
BEGIN
    EXECUTE format('CREATE TABLE public.%I (LIKE public.events INCLUDING DEFAULTS INCLUDING INDEXES)', name);
    -- ATTACH, unlike CREATE ... PARTITION OF, lets events be stored meanwhile.
    EXECUTE format('ALTER TABLE public.events ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)', name, since, until);
END
$$;
REVOKE EXECUTE ON FUNCTION add_event_partition(timestamptz, timestamptz) FROM PUBLIC;

-- Gives the roles that exist exactly the privileges above. `helios migrate` calls it each time, since a role may be
-- created after the tables.
CREATE FUNCTION grant_roles() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    granted record;
BEGIN
    FOR granted IN SELECT rolname FROM pg_roles WHERE rolname IN (SELECT role FROM role_grants) AND rolname <> current_user LOOP
        EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA public FROM %I', granted.rolname);
        EXECUTE format('GRANT USAGE ON SCHEMA public TO %I', granted.rolname);
        IF granted.rolname <> 'helios_api' THEN
            EXECUTE format('GRANT EXECUTE ON FUNCTION add_event_partition(timestamptz, timestamptz) TO %I', granted.rolname);
        END IF;
    END LOOP;
    FOR granted IN
        SELECT role_grants.* FROM role_grants JOIN pg_roles ON rolname = role
        WHERE rolname <> current_user AND to_regclass('public.' || relation) IS NOT NULL
    LOOP
        EXECUTE format('GRANT %s ON public.%I TO %I', granted.privileges, granted.relation, granted.role);
    END LOOP;
END
$$;
REVOKE EXECUTE ON FUNCTION grant_roles() FROM PUBLIC;
