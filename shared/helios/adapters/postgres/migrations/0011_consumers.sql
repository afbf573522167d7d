-- When each consumer of the stream last had its turn: whether it lives, also while nothing arrives.
ALTER TABLE consumers ADD COLUMN seen_at timestamptz NOT NULL DEFAULT now();

-- Events that a consumer was refused for good, and why. The events themselves are where they were.
CREATE TABLE parked (
    consumer text NOT NULL,
    source text NOT NULL,
    id text NOT NULL,
    reason text NOT NULL,
    parked_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, source, id)
);
