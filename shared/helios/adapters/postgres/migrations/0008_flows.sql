-- Evidence as arrays instead of objects, and as text, because nothing in the database looks into it: a batch reads and
-- writes all evidence of each story that it tells of.
CREATE FUNCTION pg_temp.evidence(ledger json) RETURNS text LANGUAGE sql AS $$
    SELECT json_build_array(
        (SELECT coalesce(json_agg(json_build_array(
            piece -> 'leg', piece -> 'source', piece -> 'id', piece -> 'content', piece -> 'time',
            piece -> 'received_at', piece -> 'fields', piece -> 'deliveries'
        ) ORDER BY place), '[]') FROM json_array_elements(ledger -> 'pieces') WITH ORDINALITY AS given (piece, place)),
        coalesce(ledger -> 'others', '{}')
    )::text
$$;
-- What is written from now on: a story is written again twice, longer each time.
ALTER TABLE flows SET (fillfactor = 40);
ALTER TABLE flows ALTER ledger TYPE text USING pg_temp.evidence(ledger);

-- The sums by ten minutes, written with those by the minute: a day is read from a tenth of the rows.
CREATE TABLE flow_slots (
    slot timestamptz NOT NULL,
    flow text NOT NULL,
    what text NOT NULL,
    value text NOT NULL,
    stories bigint NOT NULL,
    amount numeric NOT NULL,
    seconds double precision NOT NULL,
    PRIMARY KEY (slot, flow, what, value)
) WITH (fillfactor = 50);  -- as flow_counts

-- Batches that are being written now are counted before the sums below are taken, later ones wait until they are.
LOCK TABLE flow_counts IN SHARE ROW EXCLUSIVE MODE;
INSERT INTO flow_slots
SELECT date_bin('10 minutes', minute, 'epoch'), flow, what, value, sum(stories), sum(amount), sum(seconds)
FROM flow_counts GROUP BY 1, 2, 3, 4;

-- Whoever empties the sums by the minute empties these.
CREATE FUNCTION empty_flow_slots() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM flow_slots;  -- not TRUNCATE, which fails where one statement empties both
    RETURN NULL;
END
$$;
CREATE TRIGGER empty_flow_slots AFTER TRUNCATE ON flow_counts EXECUTE FUNCTION empty_flow_slots();
