-- The versions of the flows that people edit through the API. The text is what its author wrote, byte for byte.
CREATE TABLE flow_versions (
    flow text NOT NULL,
    version integer NOT NULL,
    state text NOT NULL CHECK (state IN ('draft', 'in_force', 'superseded', 'replaced')),
    text text NOT NULL,
    saved_at timestamptz NOT NULL,
    saved_by text NOT NULL,
    previewed_at timestamptz,
    previewed_by text,
    approved_at timestamptz,
    approved_by text,
    PRIMARY KEY (flow, version),
    CHECK ((previewed_at IS NULL) = (previewed_by IS NULL)),
    CHECK ((approved_at IS NULL) = (approved_by IS NULL)),
    CHECK ((approved_at IS NULL) = (state IN ('draft', 'replaced')))
);
CREATE UNIQUE INDEX flow_versions_in_force ON flow_versions (flow) WHERE state = 'in_force';
CREATE UNIQUE INDEX flow_versions_draft ON flow_versions (flow) WHERE state = 'draft';

-- How often the rules in force have changed. Every writer of verdicts names the number whose rules it used.
CREATE TABLE flow_generation (number bigint NOT NULL);
CREATE UNIQUE INDEX flow_generation_one ON flow_generation ((true));
INSERT INTO flow_generation VALUES (0);

-- The evaluation of the stored instances by a version that was approved, and how far it is.
CREATE TABLE flow_recomputes (
    flow text NOT NULL,
    version integer NOT NULL,
    cursor text,  -- of the next page of events; null: the first, or none when it has finished
    events bigint NOT NULL DEFAULT 0,
    instances bigint NOT NULL DEFAULT 0,
    started_at timestamptz NOT NULL,
    finished_at timestamptz,
    PRIMARY KEY (flow, version),
    FOREIGN KEY (flow, version) REFERENCES flow_versions
);
CREATE INDEX flow_recomputes_unfinished ON flow_recomputes (started_at) WHERE finished_at IS NULL;

-- Fails the transaction of a writer whose rules are no longer in force. The writer holds the lock until it has committed,
-- and an approval takes it alone: when an approval has committed, every batch by the earlier rules is visible, and no
-- further one can commit. VOLATILE, so that the query sees what was committed before the lock was granted.
CREATE FUNCTION assert_generation(expected bigint) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF expected IS NOT NULL THEN
        PERFORM pg_advisory_xact_lock_shared(4869532076);
        IF expected <> (SELECT number FROM flow_generation) THEN
            RAISE EXCEPTION 'the rules of generation % are no longer in force', expected USING ERRCODE = 'HE001';
        END IF;
    END IF;
    RETURN true;
END
$$;

-- Every role stores events and sweeps. Only the API changes the rules.
INSERT INTO role_grants
SELECT role, relation, privileges
FROM unnest(ARRAY['helios_aws', 'helios_gcp', 'helios_azure', 'helios_api']) AS role,
(VALUES
    ('flow_versions', 'SELECT'),
    ('flow_generation', 'SELECT'),
    ('flow_recomputes', 'SELECT, UPDATE')
) AS reading (relation, privileges);
UPDATE role_grants SET privileges = 'SELECT, INSERT, UPDATE'
WHERE role = 'helios_api' AND relation IN ('flow_versions', 'flow_recomputes');
UPDATE role_grants SET privileges = 'SELECT, UPDATE' WHERE role = 'helios_api' AND relation = 'flow_generation';
