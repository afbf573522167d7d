"""Bearer tokens in Postgres."""

from datetime import datetime

from psycopg.rows import TupleRow

from helios.adapters.postgres.connection import Pool, translated
from helios.tokens import Token

_COLUMNS = "name, scopes, created_at, expires_at, revoked_at, last_used_at"

_ADD = """
INSERT INTO tokens (digest, name, scopes, created_at, expires_at) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (name) DO NOTHING
"""

# Written once a minute at most: who asks often costs no write each time.
_USE = f"""
WITH used AS (
    UPDATE tokens SET last_used_at = %(minute)s
    WHERE digest = %(digest)s AND (last_used_at IS NULL OR last_used_at < %(minute)s)
)
SELECT {_COLUMNS} FROM tokens WHERE digest = %(digest)s
"""  # noqa: S608 - only a constant of ours is filled in

_LIST = f"SELECT {_COLUMNS} FROM tokens ORDER BY created_at, name"  # noqa: S608 - the same

_REVOKE = "UPDATE tokens SET revoked_at = %s WHERE name = %s AND revoked_at IS NULL"


class PostgresTokens:
    """Keeps ``Tokens`` on a pool of connections."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def add(self, digest: str, token: Token) -> bool:
        """Keep a new token; False if its name is taken, though by one that was revoked."""
        with translated(), self._pool.connection() as connection:
            given = (digest, token.name, list(token.scopes), token.created_at, token.expires_at)
            return connection.execute(_ADD, given).rowcount == 1

    def use(self, digest: str, now: datetime) -> Token | None:
        """The token with this digest, valid or not, as it was before; it is marked as used."""
        with translated(), self._pool.connection() as connection:
            given = {"digest": digest, "minute": now.replace(second=0, microsecond=0)}
            row = connection.execute(_USE, given).fetchone()
        return _token(row) if row else None

    def all(self) -> list[Token]:
        """Every token that was ever made, the oldest first."""
        with translated(), self._pool.connection() as connection:
            return [_token(row) for row in connection.execute(_LIST).fetchall()]

    def revoke(self, name: str, now: datetime) -> bool:
        """Take a token back; False if there is none of this name that still opens anything."""
        with translated(), self._pool.connection() as connection:
            return connection.execute(_REVOKE, (now, name)).rowcount == 1


def _token(row: TupleRow) -> Token:
    name, scopes, created_at, expires_at, revoked_at, last_used_at = row
    return Token(
        name=name,
        scopes=tuple(scopes),
        created_at=created_at,
        expires_at=expires_at,
        revoked_at=revoked_at,
        last_used_at=last_used_at,
    )
