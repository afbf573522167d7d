-- The latest position given to a frame. A row of its own, because frames are removed after a while, and its lock
-- makes those who number frames take turns.
CREATE TABLE stream (position bigint NOT NULL);
INSERT INTO stream VALUES (0);

-- How far each consumer of the stream has come.
CREATE TABLE consumers (
    name text PRIMARY KEY,
    position bigint NOT NULL
);
