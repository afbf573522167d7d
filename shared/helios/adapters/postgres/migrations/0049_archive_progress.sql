-- When the archive last succeeded: a day was copied and compared, a run came to its end, or the new events of the log were
-- archived. Before the first success it is the time of this migration, so that an archive that never runs is noticed too.
CREATE TABLE archive_progress (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    succeeded_at timestamptz NOT NULL
);
INSERT INTO archive_progress (succeeded_at) VALUES (now());

INSERT INTO role_grants VALUES ('helios_api', 'archive_progress', 'SELECT');
