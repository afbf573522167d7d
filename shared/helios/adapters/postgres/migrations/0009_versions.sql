-- Who writes a story again says which version he has read, and takes no lock to read it.
ALTER TABLE flows ADD version integer NOT NULL DEFAULT 1;
ALTER TABLE flows ALTER version DROP DEFAULT;
