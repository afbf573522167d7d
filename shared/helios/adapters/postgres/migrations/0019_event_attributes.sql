-- Finds events by an attribute. The index has only events with attributes: the others cost nothing when they are stored.
-- First the oldest partition, by far the largest: this blocks the writers of that partition for the time of reading it.
CREATE INDEX events_until_attributes ON events_until USING gin (attributes jsonb_path_ops) WHERE attributes <> '{}';

DO $$
DECLARE
    partition regclass;
BEGIN
    FOR partition IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'events'::regclass AND inhrelid <> 'events_until'::regclass
    LOOP
        EXECUTE format('CREATE INDEX ON %s USING gin (attributes jsonb_path_ops) WHERE attributes <> ''{}''', partition);
    END LOOP;
END
$$;

-- The indexes of the partitions become its parts.
CREATE INDEX events_attributes ON events USING gin (attributes jsonb_path_ops) WHERE attributes <> '{}';
