-- The outbox: every transition of an incident, written with it.
CREATE TABLE notifications (
    key text PRIMARY KEY,
    incident_id bigint NOT NULL REFERENCES incidents ON DELETE CASCADE,
    at timestamptz NOT NULL,
    transition json NOT NULL,
    routed boolean NOT NULL DEFAULT false
);
CREATE INDEX notifications_unrouted ON notifications (at, key) WHERE NOT routed;
CREATE INDEX notifications_incident ON notifications (incident_id);

-- A message to one receiver, with one transition, or with many as a digest.
CREATE TABLE notification_messages (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    receiver text NOT NULL,
    id text NOT NULL,  -- the same at each attempt, so that the receiver can drop a repeat
    is_digest boolean NOT NULL,
    incident_ids bigint[] NOT NULL,
    created_at timestamptz NOT NULL,
    state text NOT NULL DEFAULT 'waiting',  -- or sent, or failed
    attempts integer NOT NULL DEFAULT 0,
    due_at timestamptz NOT NULL,  -- the next attempt; during an attempt, when another process may repeat it
    sent_at timestamptz,
    error text,
    UNIQUE (receiver, id)
);
CREATE INDEX notification_messages_waiting ON notification_messages (receiver, number) WHERE state = 'waiting';
CREATE INDEX notification_messages_created_at ON notification_messages (created_at);

-- Which receiver gets which transition, and in which message; NULL: it waits for a digest.
CREATE TABLE notification_deliveries (
    receiver text NOT NULL,
    key text NOT NULL REFERENCES notifications ON DELETE CASCADE,
    message bigint REFERENCES notification_messages ON DELETE CASCADE,
    PRIMARY KEY (receiver, key)
);
CREATE INDEX notification_deliveries_key ON notification_deliveries (key);
CREATE INDEX notification_deliveries_message ON notification_deliveries (message);
CREATE INDEX notification_deliveries_waiting ON notification_deliveries (receiver, key) WHERE message IS NULL;

INSERT INTO role_grants
SELECT role, relation, privileges
FROM unnest(ARRAY['helios_aws', 'helios_gcp', 'helios_azure', 'helios_api']) AS role,
(VALUES
    ('notifications', 'SELECT, INSERT, UPDATE (routed)'),
    ('notification_messages', 'SELECT, INSERT, UPDATE'),
    ('notification_deliveries', 'SELECT, INSERT, UPDATE')
) AS notification (relation, privileges);
