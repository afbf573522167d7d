-- The identities of the stored events. No statement here blocks a writer: it takes as long as it takes to read the table.
ALTER TABLE events VALIDATE CONSTRAINT before_partitions;

INSERT INTO event_ids (key, digest, received_at)
SELECT event_key(source, producer_of(source, origin), id), digest, received_at FROM events
ON CONFLICT (key) DO NOTHING;

-- Rewrites the events of Pub/Sub only.
UPDATE events SET origin = producer_of(source, origin)
WHERE source = 'gcp' AND origin <> producer_of(source, origin);
