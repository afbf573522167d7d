-- One row per fact. The primary key is what makes Helios exact.
CREATE TABLE events (
    source text NOT NULL,
    id text NOT NULL,
    type text NOT NULL,
    subject text,
    time timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    origin text NOT NULL,
    -- json, not jsonb: it keeps the payload byte for byte, and takes any number that JSON can write.
    data json NOT NULL,
    order_id text,
    customer_id text,
    amount numeric,
    digest text NOT NULL,
    PRIMARY KEY (source, id)
);

-- The columns after received_at make it a total order, for keyset pagination.
CREATE INDEX events_received_at ON events (received_at, source, id);
CREATE INDEX events_order_id ON events (order_id) WHERE order_id IS NOT NULL;

-- The ledger: received = stored + duplicate + contradictory + rejected, of every minute, source and type.
CREATE TABLE event_counts (
    minute timestamptz NOT NULL,
    source text NOT NULL,
    type text NOT NULL,
    stored bigint NOT NULL DEFAULT 0,
    duplicate bigint NOT NULL DEFAULT 0,
    contradictory bigint NOT NULL DEFAULT 0,
    rejected bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (minute, source, type)
) WITH (fillfactor = 50);  -- every batch updates a row of this minute: room for it to stay on its page

CREATE TABLE dead_letters (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    fingerprint text NOT NULL UNIQUE,
    source text NOT NULL,
    way_in text NOT NULL,
    status text NOT NULL,
    reason text NOT NULL,
    field text NOT NULL,
    body bytea NOT NULL,
    headers json NOT NULL,
    first_received_at timestamptz NOT NULL,
    last_received_at timestamptz NOT NULL,
    attempts bigint NOT NULL
);

-- The outbox. The id only orders the rows that are there: refused inserts burn numbers and transactions commit
-- out of order, so a stream position is assigned by the one who drains.
CREATE TABLE frames (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    position bigint UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- What is shown: exact counts, and a sample of the events.
    body json NOT NULL,
    -- What was stored: [{"source", "id"}, ...] of every event of the batch, for those who must not miss one.
    keys json NOT NULL
);
CREATE INDEX frames_created_at ON frames (created_at);
CREATE INDEX frames_waiting ON frames (id) WHERE position IS NULL;
