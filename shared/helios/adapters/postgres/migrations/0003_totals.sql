-- The ledger summed up by source, so that reading the totals costs the same however old the ledger is: since
-- '-infinity' for all of it, and since each full hour for what arrived in that hour.
-- Written in the transaction that writes event_counts, which is why both always agree.
CREATE TABLE event_totals (
    since timestamptz NOT NULL,
    source text NOT NULL,
    stored bigint NOT NULL,
    duplicate bigint NOT NULL,
    contradictory bigint NOT NULL,
    rejected bigint NOT NULL,
    PRIMARY KEY (since, source)
) WITH (fillfactor = 50);  -- as event_counts: every batch updates the same rows

-- Batches that are being written now are counted before the sums below are taken, later ones wait until they are.
LOCK TABLE event_counts IN SHARE ROW EXCLUSIVE MODE;
INSERT INTO event_totals
SELECT bucket.since, source, sum(stored), sum(duplicate), sum(contradictory), sum(rejected)
FROM event_counts, LATERAL (VALUES ('-infinity'::timestamptz), (date_trunc('hour', minute, 'UTC'))) AS bucket (since)
GROUP BY bucket.since, source;

-- Whoever empties the ledger empties its sums.
CREATE FUNCTION empty_event_totals() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM event_totals;  -- not TRUNCATE, which fails where one statement empties both
    RETURN NULL;
END
$$;
CREATE TRIGGER empty_event_totals AFTER TRUNCATE ON event_counts EXECUTE FUNCTION empty_event_totals();
