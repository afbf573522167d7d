-- As assert_written, for flow instances: those that another writer has changed are sent before the error, so that this
-- writer needs no round trip to read them. They are sent as a notice, since an error's detail would be in the server's log.
CREATE FUNCTION assert_instances(written bigint, expected bigint, flows json, keys json)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF written <> expected THEN
        RAISE NOTICE '%', (
            SELECT coalesce(
                json_agg(json_build_array(flow, key, status, opened_at, waiting, issues, version, details)), '[]'
            )
            FROM ROWS FROM (json_array_elements_text(flows), json_array_elements_text(keys)) AS refused (flow, key)
            JOIN flow_instances USING (flow, key)
            WHERE flow_instances.xmin <> pg_current_xact_id()::xid
        );
        PERFORM assert_written(written, expected);
    END IF;
END
$$;
