"""Migrates a database to the schema of this version: plain SQL files, forward only, each applied once."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import resources

import psycopg

from helios.adapters.postgres.connection import connect, lift_timeout
from helios.adapters.postgres.partitions import extend_on
from helios.errors import ConfigurationError, Retryable

LOCK = 4_869_532_071
"""The advisory lock that serializes deployments that migrate at the same time."""

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


def migrate(database_url: str, *, partition_days: int = 7) -> list[str]:
    """Apply the missing migrations, each in a transaction of its own, and return their names.

    Args:
        database_url: a ``postgresql://`` URL.
        partition_days: the width of the partitions that the database has from the beginning.

    Raises:
        ConfigurationError: the file of an applied migration has changed, or the database is newer than this code.
        Retryable: the database can't be reached, or a statement failed. The error names the migration; those before it
            are applied.
    """
    applied: list[str] = []
    failed = "no migration was applied"
    try:
        with connect(database_url, name="helios-migrate", autocommit=True) as connection:
            _check_history(connection)
            for name, sql in migrations():
                failed = f"{name} was not applied"
                if _apply(connection, name, sql):
                    applied.append(name)
            failed = "the roles got no privileges"
            _grant(connection)
            failed = "no partition was added"
            extend_on(connection, datetime.now(UTC), days=partition_days)
    except psycopg.Error as error:
        raise Retryable(f"{failed}: Postgres: {' '.join(str(error).split())}") from error
    return applied


def _check_history(connection: psycopg.Connection) -> None:
    """Create the table of applied migrations, and refuse a database that is newer than this code."""
    with _locked(connection):
        connection.execute(CREATE_HISTORY)
        if unknown := sorted(_applied(connection).keys() - {name for name, _ in migrations()}):
            raise ConfigurationError(
                f"the database has migrations that this version does not have: {', '.join(unknown)}"
            )


@contextmanager
def _locked(connection: psycopg.Connection) -> Iterator[None]:
    """A transaction that only one deployment at a time is in."""
    with connection.transaction():
        lift_timeout(connection)
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        yield


def _applied(connection: psycopg.Connection) -> dict[str, str]:
    """The checksums of the applied migrations, by name."""
    return dict(connection.execute("SELECT name, checksum FROM schema_migrations").fetchall())


def _apply(connection: psycopg.Connection, name: str, sql: str) -> bool:
    """Apply one migration, unless it is applied; whether it was."""
    with _locked(connection):
        if _is_applied(name, sql, _applied(connection)):
            return False
        connection.execute(sql.encode())
        connection.execute("INSERT INTO schema_migrations (name, checksum) VALUES (%s, %s)", (name, _checksum(sql)))
    return True


def _grant(connection: psycopg.Connection) -> None:
    """Give the roles of the database their privileges; a role may have been created after the tables."""
    with _locked(connection):
        connection.execute("SELECT grant_roles()")


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
