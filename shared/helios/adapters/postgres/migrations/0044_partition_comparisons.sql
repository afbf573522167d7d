-- Retention drops a partition that the archive has in full. The comparison of its events with the archive, which reads all
-- of them, is a step of its own. It leaves a row here, and the drop only checks that the row still holds.
CREATE TABLE partition_comparisons (
    name text PRIMARY KEY,
    relation oid NOT NULL,  -- in a database restored from a dump it is another: nothing was compared there
    days date[] NOT NULL,  -- of received_at, UTC, of its events
    manifest text NOT NULL,  -- a digest of the archive's files of these days
    changes bigint NOT NULL,  -- the rows of partition_changes that the comparison saw
    compared_at timestamptz NOT NULL DEFAULT now()
);

-- The transactions that changed a partition since its first comparison. A writer adds a row of its own, and so never waits
-- for another writer or for the comparison.
CREATE TABLE partition_changes (
    relation oid NOT NULL,
    xact xid8 NOT NULL,
    PRIMARY KEY (relation, xact)
);

-- The trigger of a partition that is compared, and of no other: storing the events of today does not call it. The writer's
-- role has no privileges on the table.
CREATE FUNCTION note_partition_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    INSERT INTO public.partition_changes VALUES (TG_RELID, pg_current_xact_id()) ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;
REVOKE EXECUTE ON FUNCTION note_partition_change() FROM PUBLIC;
