-- A frame is stored without a position, and gets one a moment later. The index of the positions kept an entry of the first
-- version until the next vacuum, and Postgres chose that index to find the frames without a position: it read every frame
-- since the last vacuum, again and again. Now only frames_waiting has them, and its scans forget dead entries.
ALTER TABLE frames DROP CONSTRAINT frames_position_key;
CREATE UNIQUE INDEX frames_position ON frames (position) WHERE position IS NOT NULL;
