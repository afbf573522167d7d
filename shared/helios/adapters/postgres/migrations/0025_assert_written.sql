-- Fails the transaction when a statement has written fewer rows than it should: another writer has changed them. A small
-- batch asks for this instead of waiting for the number of rows, which would cost it a round trip.
CREATE FUNCTION assert_written(written bigint, expected bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF written <> expected THEN
        RAISE EXCEPTION 'another writer has changed % of % rows', expected - written, expected
            USING ERRCODE = 'serialization_failure';
    END IF;
END
$$;
