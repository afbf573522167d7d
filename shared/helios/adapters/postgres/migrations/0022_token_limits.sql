-- What a token lets its holder see; an empty object is everything. A column that an older process does not read would let
-- a limited token see everything there: stop the old API before you create the first limited token.
ALTER TABLE tokens ADD COLUMN visibility jsonb NOT NULL DEFAULT '{}';
