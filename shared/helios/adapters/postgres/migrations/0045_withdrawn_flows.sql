-- A version in force can be withdrawn. Its flow then has no rules, and its instances stay as they are.
ALTER TABLE flow_versions
    DROP CONSTRAINT flow_versions_state_check,
    ADD CONSTRAINT flow_versions_state_check
        CHECK (state IN ('draft', 'in_force', 'superseded', 'replaced', 'withdrawn')),
    ADD withdrawn_at timestamptz,
    ADD withdrawn_by text,
    ADD CHECK ((withdrawn_at IS NULL) = (withdrawn_by IS NULL)),
    ADD CHECK ((withdrawn_at IS NULL) = (state <> 'withdrawn'));
