-- events becomes a partitioned table, by the time of receipt; the table so far becomes its first partition, as it is.
-- Functions of the previous version can't store events from here on: the clouds deliver them again to the new version.
-- This blocks writers for the time of a few changes of the catalogue, and of the frames that no consumer has read.
LOCK TABLE events, frames IN ACCESS EXCLUSIVE MODE;

DROP TRIGGER add_event_id ON events;
DROP FUNCTION add_event_id();
-- Those that arrived since 0016.
UPDATE events SET origin = producer_of(source, origin)
WHERE source = 'gcp' AND origin <> producer_of(source, origin)
    AND received_at > (SELECT applied_at - interval '1 hour' FROM schema_migrations WHERE name = '0016_event_ids_of_events.sql');
DROP FUNCTION producer_of(text, text);

ALTER TABLE events RENAME origin TO producer;
ALTER TABLE events ADD attributes jsonb NOT NULL DEFAULT '{}';

-- The frames that a consumer has still to read name the events that they stored by their new places.
UPDATE frames SET keys = (
    SELECT coalesce(json_agg(json_build_object(
        'received_at', events.received_at, 'source', events.source, 'producer', events.producer,
        'ids', json_build_array(events.id)
    )), '[]')
    FROM json_to_recordset(frames.keys) AS stored (source text, id text) JOIN events USING (source, id)
)
WHERE (position IS NULL OR position > (SELECT min(position) FROM consumers)) AND json_array_length(keys) > 0;

ALTER TABLE parked ADD producer text, ADD key uuid;
UPDATE parked SET producer = events.producer, key = event_key(events.source, events.producer, events.id)
FROM events WHERE events.source = parked.source AND events.id = parked.id;
DELETE FROM parked WHERE key IS NULL;
ALTER TABLE parked ALTER producer SET NOT NULL, DROP CONSTRAINT parked_pkey, ADD PRIMARY KEY (consumer, key);

UPDATE dead_letters SET replayed_keys = (
    SELECT json_agg(json_build_array(events.source, events.producer, events.id))
    FROM json_array_elements(replayed_keys) AS stored
    JOIN events ON events.source = stored ->> 0 AND events.id = stored ->> 1
)
WHERE json_array_length(replayed_keys) > 0;

ALTER TABLE events DROP CONSTRAINT events_pkey;
ALTER TABLE events RENAME TO events_until;
ALTER INDEX events_received_at RENAME TO events_until_received_at;
ALTER INDEX events_order_id RENAME TO events_until_order_id;

CREATE TABLE events (LIKE events_until INCLUDING DEFAULTS) PARTITION BY RANGE (received_at);
CREATE INDEX events_received_at ON events (received_at, source, id);
CREATE INDEX events_order_id ON events (order_id) WHERE order_id IS NOT NULL;

DO $$
DECLARE
    days timestamptz := (
        SELECT (regexp_match(pg_get_constraintdef(oid), '''(.*)'''))[1] FROM pg_constraint
        WHERE conrelid = 'events_until'::regclass AND conname = 'before_partitions'
    );
BEGIN
    EXECUTE format('ALTER TABLE events ATTACH PARTITION events_until FOR VALUES FROM (MINVALUE) TO (%L)', days);
END
$$;
ALTER TABLE events_until DROP CONSTRAINT before_partitions;
