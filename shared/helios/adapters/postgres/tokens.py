"""API tokens in Postgres."""

from datetime import datetime

import msgspec
from psycopg.rows import TupleRow

from helios.adapters.postgres.connection import Pool, translate_errors
from helios.adapters.postgres.parameters import to_json
from helios.model.access import Visibility
from helios.model.audit import token_created, token_revoked
from helios.model.tokens import COMMAND_LINE, Token

_COLUMNS = "name, scopes, created_at, expires_at, revoked_at, last_used_at, visibility::text"

# The token and its audit entry in one statement, so that neither exists without the other.
_ADD = """
WITH added AS (
    INSERT INTO tokens (digest, name, scopes, created_at, expires_at, visibility)
    VALUES (%(digest)s, %(name)s, %(scopes)s, %(created_at)s, %(expires_at)s, %(visibility)s::jsonb)
    ON CONFLICT (name) DO NOTHING RETURNING name
)
INSERT INTO audit_log (at, actor, action, subject, detail)
SELECT %(at)s, %(actor)s, %(action)s, %(subject)s, %(detail)s FROM added
"""

# Writes at most once a minute per token, so that frequent requests do not each cost a write.
_USE = f"""
WITH used AS (
    UPDATE tokens SET last_used_at = %(minute)s
    WHERE digest = %(digest)s AND (last_used_at IS NULL OR last_used_at < %(minute)s)
)
SELECT {_COLUMNS} FROM tokens WHERE digest = %(digest)s
"""  # noqa: S608 - only a constant is filled in

_LIST = f"SELECT {_COLUMNS} FROM tokens ORDER BY created_at, name"  # noqa: S608 - the same

_REVOKE = """
WITH revoked AS (
    UPDATE tokens SET revoked_at = %(now)s WHERE name = %(name)s AND revoked_at IS NULL RETURNING name
)
INSERT INTO audit_log (at, actor, action, subject, detail)
SELECT %(at)s, %(actor)s, %(action)s, %(subject)s, %(detail)s FROM revoked
"""


class PostgresTokens:
    """Implements ``Tokens`` on a pool of connections."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def add(self, digest: str, token: Token, *, actor: str = COMMAND_LINE) -> bool:
        """Store a new token; False if its name is taken, even by a revoked token."""
        parameters = {
            "digest": digest,
            "name": token.name,
            "scopes": list(token.scopes),
            "created_at": token.created_at,
            "expires_at": token.expires_at,
            "visibility": to_json(token.visibility),
        } | msgspec.structs.asdict(token_created(token, actor))
        with translate_errors(), self._pool.connection() as connection:
            return connection.execute(_ADD, parameters).rowcount == 1

    def use(self, digest: str, now: datetime) -> Token | None:
        """The token with this digest, valid or not, as it was before this call marks it as used."""
        with translate_errors(), self._pool.connection() as connection:
            parameters = {"digest": digest, "minute": now.replace(second=0, microsecond=0)}
            row = connection.execute(_USE, parameters).fetchone()
        return _token(row) if row else None

    def all(self) -> list[Token]:
        """Every token, also expired and revoked ones; the oldest first."""
        with translate_errors(), self._pool.connection() as connection:
            return [_token(row) for row in connection.execute(_LIST).fetchall()]

    def revoke(self, name: str, now: datetime, *, actor: str = COMMAND_LINE) -> bool:
        """Revoke a token; False if no token of this name is unrevoked."""
        parameters = {"name": name, "now": now} | msgspec.structs.asdict(token_revoked(name, actor, now))
        with translate_errors(), self._pool.connection() as connection:
            return connection.execute(_REVOKE, parameters).rowcount == 1


def _token(row: TupleRow) -> Token:
    name, scopes, created_at, expires_at, revoked_at, last_used_at, visibility = row
    return Token(
        name=name,
        scopes=tuple(scopes),
        created_at=created_at,
        expires_at=expires_at,
        revoked_at=revoked_at,
        last_used_at=last_used_at,
        visibility=msgspec.json.decode(visibility, type=Visibility),
    )
