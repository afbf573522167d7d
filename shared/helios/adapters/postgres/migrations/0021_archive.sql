-- The manifest of the archive: which file holds which events. Readers use the files with verified_at and without
-- superseded_at, and no others, so that a crash at any point leaves nothing that is read twice or not at all.
CREATE TABLE archive_files (
    path text PRIMARY KEY,  -- below HELIOS_ARCHIVE_URL
    source text NOT NULL,
    day date NOT NULL,  -- of received_at, UTC
    rows bigint NOT NULL CHECK (rows > 0),
    bytes bigint NOT NULL,
    first_received_at timestamptz NOT NULL,
    last_received_at timestamptz NOT NULL,
    digest text NOT NULL,  -- over the hashes of its events
    sha256 text NOT NULL,  -- of the file
    created_at timestamptz NOT NULL DEFAULT now(),
    verified_at timestamptz,  -- NULL: the file is being written
    superseded_at timestamptz  -- NOT NULL: another file has replaced it, and it is to be removed
);
CREATE INDEX archive_files_day ON archive_files (day, source);

-- The days whose events have been compared with the archive.
CREATE TABLE archive_days (
    day date PRIMARY KEY,
    archived_at timestamptz NOT NULL
);

-- Which files hold an order or a customer: four bytes of each value's hash, in buckets, so that a lookup reads a few
-- hundred bytes of each file. A bucket is the first bits of the hash.
CREATE TABLE archive_index (
    field text NOT NULL,
    bits smallint NOT NULL,
    bucket integer NOT NULL,
    path text NOT NULL REFERENCES archive_files ON DELETE CASCADE,
    hashes bytea NOT NULL,
    PRIMARY KEY (field, bits, bucket, path)
);
CREATE INDEX archive_index_path ON archive_index (path);

-- Partitions that `helios archive restore` has brought back: retention leaves them alone.
CREATE TABLE restored_partitions (
    name text PRIMARY KEY,
    restored_at timestamptz NOT NULL DEFAULT now()
);

-- The events that are not only in the archive, with the types of the archive's columns.
CREATE VIEW hot_events AS
SELECT source, producer, id, type, subject, time, received_at, data::text AS data, attributes::text AS attributes,
       order_id, customer_id, amount::text AS amount, digest
FROM events;
