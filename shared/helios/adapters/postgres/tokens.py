"""Bearer tokens in Postgres."""

from datetime import datetime

import msgspec
from psycopg.rows import TupleRow

from helios.adapters.postgres.connection import Pool, translated
from helios.model.audit import token_created, token_revoked
from helios.model.tokens import COMMAND_LINE, Token

_COLUMNS = "name, scopes, created_at, expires_at, revoked_at, last_used_at"

# With its line of the audit log, or not at all.
_ADD = """
WITH made AS (
    INSERT INTO tokens (digest, name, scopes, created_at, expires_at)
    VALUES (%(digest)s, %(name)s, %(scopes)s, %(created_at)s, %(expires_at)s)
    ON CONFLICT (name) DO NOTHING RETURNING name
)
INSERT INTO audit_log (at, actor, action, subject, detail)
SELECT %(at)s, %(actor)s, %(action)s, %(subject)s, %(detail)s FROM made
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

_REVOKE = """
WITH revoked AS (
    UPDATE tokens SET revoked_at = %(now)s WHERE name = %(name)s AND revoked_at IS NULL RETURNING name
)
INSERT INTO audit_log (at, actor, action, subject, detail)
SELECT %(at)s, %(actor)s, %(action)s, %(subject)s, %(detail)s FROM revoked
"""


class PostgresTokens:
    """Keeps ``Tokens`` on a pool of connections."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def add(self, digest: str, token: Token, *, actor: str = COMMAND_LINE) -> bool:
        """Keep a new token; False if its name is taken, though by one that was revoked."""
        given = {
            "digest": digest,
            "name": token.name,
            "scopes": list(token.scopes),
            "created_at": token.created_at,
            "expires_at": token.expires_at,
        } | msgspec.structs.asdict(token_created(token, actor))
        with translated(), self._pool.connection() as connection:
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

    def revoke(self, name: str, now: datetime, *, actor: str = COMMAND_LINE) -> bool:
        """Take a token back; False if there is none of this name that still opens anything."""
        given = {"name": name, "now": now} | msgspec.structs.asdict(token_revoked(name, actor, now))
        with translated(), self._pool.connection() as connection:
            return connection.execute(_REVOKE, given).rowcount == 1


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
