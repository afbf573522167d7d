-- One row a story: all evidence of it, and what of its verdict is searched for.
CREATE TABLE flows (
    flow text NOT NULL,
    key text NOT NULL,
    status text NOT NULL,
    amount numeric,
    opened_at timestamptz NOT NULL,
    deadline timestamptz NOT NULL,
    settled_at timestamptz,
    updated_at timestamptz NOT NULL,
    match_seconds double precision,
    waiting boolean NOT NULL,
    clouds smallint NOT NULL,
    issues text[] NOT NULL,
    ledger json NOT NULL,
    PRIMARY KEY (flow, key)
) WITH (fillfactor = 70);  -- each leg writes its row again: room for that on the same page

-- What follows opened_at makes it a total order, for keyset pagination.
CREATE INDEX flows_opened ON flows (opened_at, flow, key);
-- Few stories have a problem or still wait: indexes of those alone stay small, and cost the others nothing.
CREATE INDEX flows_with_issues ON flows (opened_at, flow, key) WHERE issues <> '{}';
CREATE INDEX flows_waiting ON flows (deadline) WHERE waiting;

-- Stories summed up by the minute in which they began, written in the transaction that writes the stories.
CREATE TABLE flow_counts (
    minute timestamptz NOT NULL,
    flow text NOT NULL,
    what text NOT NULL,
    value text NOT NULL,
    stories bigint NOT NULL,
    amount numeric NOT NULL,
    seconds double precision NOT NULL,
    PRIMARY KEY (minute, flow, what, value)
) WITH (fillfactor = 50);  -- as event_counts: every batch updates rows of this minute
