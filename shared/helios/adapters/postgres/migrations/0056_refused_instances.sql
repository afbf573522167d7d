-- The instances that another writer has changed are found by the index, each alone. A join, planned while the table was
-- empty, read all of it for each refusal, until Postgres analysed the table and the writer's session planned again.
CREATE OR REPLACE FUNCTION assert_instances(written bigint, expected bigint, flows json, keys json)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF written <> expected THEN
        RAISE NOTICE '%', (
            SELECT coalesce(
                json_agg(json_build_array(flow, key, status, opened_at, waiting, issues, version, details)), '[]'
            )
            FROM ROWS FROM (json_array_elements_text(flows), json_array_elements_text(keys)) AS refused (flow, key)
            CROSS JOIN LATERAL (
                SELECT status, opened_at, waiting, issues, version, details, xmin FROM flow_instances AS stored
                WHERE stored.flow = refused.flow AND stored.key = refused.key
                LIMIT 1  -- so that Postgres makes no join of it
            ) AS stored
            WHERE stored.xmin <> pg_current_xact_id()::xid
        );
        PERFORM assert_written(written, expected);
    END IF;
END
$$;
