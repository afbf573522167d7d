-- Fails the transaction when an event of a batch is already stored. Another error than that of assert_written: the batch
-- then has a duplicate or a contradiction, and not only to read the flow instances again.
CREATE FUNCTION assert_new(stored bigint, expected bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF stored <> expected THEN
        RAISE EXCEPTION '% of % events are already stored', expected - stored, expected
            USING ERRCODE = 'unique_violation';
    END IF;
END
$$;
