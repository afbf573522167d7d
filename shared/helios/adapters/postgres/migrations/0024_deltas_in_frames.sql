-- A frame carries what its batch adds to the counts and to the sums of flow instances. The process that gives frames
-- their positions adds them up, so that no row is written by every batch, and concurrent batches wait for nothing.
ALTER TABLE frames
    ADD counts json NOT NULL DEFAULT '[]',
    ADD flow_counts json NOT NULL DEFAULT '[]';

-- The counts of the frames that have no position, with the columns of event_counts.
CREATE VIEW waiting_counts AS
SELECT minute, count.source, type, stored, duplicate, contradictory, rejected
FROM frames, json_to_recordset(counts) AS count (
    minute timestamptz, source text, type text,
    stored bigint, duplicate bigint, contradictory bigint, rejected bigint
)
WHERE position IS NULL;

-- The same for flow_counts.
CREATE VIEW waiting_flow_counts AS
SELECT minute, flow, what, value, instances, amount, seconds
FROM frames, json_to_recordset(flow_counts) AS count (
    minute timestamptz, flow text, what text, value text, instances bigint, amount numeric, seconds double precision
)
WHERE position IS NULL;
