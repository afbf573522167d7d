"""Migrates a database to the schema of this version: plain SQL files, forward only, each applied once."""

import hashlib
from importlib import resources

import psycopg

from helios.errors import ConfigurationError, Retryable

LOCK = 4_869_532_071
"""The advisory lock that serializes deployments that migrate at the same time."""

CONNECT_SECONDS = 15
"""How long to try to connect. Without a limit, a firewall that drops packets would delay the error by minutes."""

CREATE_HISTORY = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    name text PRIMARY KEY,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""


def migrations() -> list[tuple[str, str]]:
    """The name and SQL of every migration, in the order of application."""
    folder = resources.files(__package__) / "migrations"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    return [(file.name, file.read_text(encoding="utf-8")) for file in files]


def migrate(database_url: str) -> list[str]:
    """Apply all missing migrations in one transaction, and return their names.

    Raises:
        ConfigurationError: the file of an applied migration has changed, or the database is newer than this code.
        Retryable: the database can't be reached, or a statement failed; nothing was applied.
    """
    try:
        with psycopg.connect(
            database_url, application_name="helios-migrate", connect_timeout=CONNECT_SECONDS
        ) as connection:
            return _apply(connection)
    except psycopg.Error as error:
        raise Retryable(f"no migration was applied: Postgres: {' '.join(str(error).split())}") from error


def _apply(connection: psycopg.Connection) -> list[str]:
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
    connection.execute(CREATE_HISTORY)
    rows = connection.execute("SELECT name, checksum FROM schema_migrations").fetchall()
    applied: dict[str, str] = dict(rows)
    known = migrations()
    if unknown := sorted(applied.keys() - {name for name, _ in known}):
        raise ConfigurationError(f"the database has migrations that this version does not have: {', '.join(unknown)}")
    missing = [(name, sql) for name, sql in known if not _is_applied(name, sql, applied)]
    for name, sql in missing:
        connection.execute(sql.encode())
        connection.execute("INSERT INTO schema_migrations (name, checksum) VALUES (%s, %s)", (name, _checksum(sql)))
    return [name for name, _ in missing]


def _is_applied(name: str, sql: str, applied: dict[str, str]) -> bool:
    if name not in applied:
        return False
    if applied[name] != _checksum(sql):
        raise ConfigurationError(
            f"{name} was changed after it was applied. Restore the file, and write a new migration."
        )
    return True


def _checksum(sql: str) -> str:
    return hashlib.sha256(sql.encode()).hexdigest()
