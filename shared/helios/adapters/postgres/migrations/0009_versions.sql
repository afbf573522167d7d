-- Who writes a story again says which version he has read, and takes no lock to read it.
ALTER TABLE flows ADD version integer NOT NULL DEFAULT 1;
ALTER TABLE flows ALTER version DROP DEFAULT;
-- Room for the second and the third leg of a story on the page of its first one: less of it, and a third of the stories
-- moved to another page at the third leg, which made the table larger instead of smaller.
ALTER TABLE flows SET (fillfactor = 30);
