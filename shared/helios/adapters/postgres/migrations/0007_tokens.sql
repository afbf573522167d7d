-- Who may ask. A token itself is kept nowhere: whoever reads this table can use none of them.
CREATE TABLE tokens (
    digest text PRIMARY KEY,
    name text NOT NULL UNIQUE,
    scopes text[] NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz
);
