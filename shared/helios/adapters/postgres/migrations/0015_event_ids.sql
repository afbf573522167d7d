-- The identities of events, apart from the events themselves: (source, producer, id) instead of (source, id). event_ids
-- is narrow and stays whole when events are partitioned, so that a resend is recognised after its payload was dropped.

-- The key of an identity: 16 bytes of SHA-256 over a secret of this database and the identity. Without the secret, an
-- erased id can't be found by guessing. The lengths keep two identities apart whose texts are equal when joined.
DO $$
BEGIN
    EXECUTE format(
        $function$
        CREATE FUNCTION event_key(source text, producer text, id text) RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
        RETURN encode(substring(sha256(convert_to(
            %L || length(source) || ':' || source || length(producer) || ':' || producer || id, 'UTF8'
        )) FOR 16), 'hex')::uuid
        $function$,
        gen_random_uuid()::text || gen_random_uuid()::text
    );
END
$$;

CREATE TABLE event_ids (
    key uuid PRIMARY KEY,
    digest text NOT NULL,
    received_at timestamptz NOT NULL
);
-- Rows arrive in the order of received_at, so that a block range index finds the old ones, and costs almost nothing.
CREATE INDEX event_ids_received_at ON event_ids USING brin (received_at);

-- Until now a Pub/Sub message had the subscription or the topic as its origin, and the same message both.
CREATE FUNCTION producer_of(source text, origin text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN source = 'gcp' THEN regexp_replace(
    origin, '^(?://pubsub.googleapis.com/)?(projects/[^/]+)/(?:topics|subscriptions)/[^/]+$', '//pubsub.googleapis.com/\1'
) ELSE origin END;

-- Functions of the previous version store events until 0017: this trigger stores their identities.
CREATE FUNCTION add_event_id() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO event_ids (key, digest, received_at)
    VALUES (event_key(NEW.source, producer_of(NEW.source, NEW.origin), NEW.id), NEW.digest, NEW.received_at)
    ON CONFLICT (key) DO NOTHING;
    RETURN NULL;
END
$$;
CREATE TRIGGER add_event_id AFTER INSERT ON events FOR EACH ROW EXECUTE FUNCTION add_event_id();

-- What the first partition holds: everything until the day after tomorrow. Checked in 0016, while events are stored.
DO $$
BEGIN
    EXECUTE format(
        'ALTER TABLE events ADD CONSTRAINT before_partitions CHECK (received_at < %L) NOT VALID',
        date_trunc('day', now(), 'UTC') + interval '2 days'
    );
END
$$;
