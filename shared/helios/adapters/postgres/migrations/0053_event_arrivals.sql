-- How many events of the log arrived that are stored in the archive only, for the balances: by the second of their
-- receipt and of their own time. Rows are only added and removed, so that no two projectors wait for each other.
CREATE TABLE event_arrivals (
    received_at timestamptz NOT NULL,
    time timestamptz NOT NULL,
    source text NOT NULL,
    type text NOT NULL,
    producer text NOT NULL,
    number bigint NOT NULL
);
CREATE INDEX event_arrivals_received_at ON event_arrivals (received_at);

-- The projector adds, and every role sweeps.
INSERT INTO role_grants VALUES
    ('helios_aws', 'event_arrivals', 'SELECT, UPDATE, DELETE'),  -- FOR UPDATE needs UPDATE
    ('helios_gcp', 'event_arrivals', 'SELECT, UPDATE, DELETE'),
    ('helios_azure', 'event_arrivals', 'SELECT, UPDATE, DELETE'),
    ('helios_api', 'event_arrivals', 'SELECT, INSERT, UPDATE, DELETE');
