"""The roles of the database: creates them with their passwords, and closes the database to one of them.

The migration 0018 defines the privileges of each role, and ``migrate`` grants them.
"""

from collections.abc import Mapping
from typing import Final

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from helios.adapters.postgres.connection import connect
from helios.errors import ConfigurationError, Retryable

MIGRATE: Final = "helios_migrate"
"""The role that owns the tables."""

ROLES: Final = (MIGRATE, "helios_api", "helios_aws", "helios_gcp", "helios_azure")

SESSION: Final = {
    "statement_timeout": "10s",
    "idle_in_transaction_session_timeout": "10s",
    "timezone": "UTC",
}
"""What a session of each role but the owner of the tables begins with. A process sets it for its own sessions too
(``connection.open_pool``), and can't behind a pooler. The times are the default of HELIOS_DATABASE_TIMEOUT_SECONDS."""

_TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s"


def create_roles(admin_url: str, passwords: Mapping[str, str]) -> list[str]:
    """Create the missing roles, set the passwords of all, and return the names of those that stay closed.

    A role that ``close_role`` closed stays closed, with its new password.

    Args:
        admin_url: the URL of a user that may create roles, and that owns the database.
        passwords: the password of each role in ``ROLES``.

    Raises:
        Retryable: the database can't be reached, or refused a statement.
    """
    closed = []
    try:
        with _connect(admin_url) as connection, connection.transaction():
            database = sql.Identifier(connection.info.dbname)
            # What every user has unless it is taken away.
            connection.execute(sql.SQL("REVOKE CONNECT, TEMPORARY ON DATABASE {} FROM PUBLIC").format(database))
            for name in ROLES:
                role = sql.Identifier(name)
                row = connection.execute("SELECT rolcanlogin FROM pg_roles WHERE rolname = %s", [name]).fetchone()
                if row is None:
                    connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
                elif not row[0]:
                    closed.append(name)
                # Encrypted here, so that no log of the server has the password.
                encrypted = connection.pgconn.encrypt_password(
                    passwords[name].encode(), name.encode(), b"scram-sha-256"
                )
                secret = sql.Literal(encrypted.decode())
                connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(role, secret))
                connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, role))
                for parameter, value in SESSION.items() if name != MIGRATE else ():
                    setting = sql.SQL("ALTER ROLE {} SET {} = {}")
                    connection.execute(setting.format(role, sql.Identifier(parameter), sql.Literal(value)))
            migrate = sql.Identifier(MIGRATE)
            connection.execute(sql.SQL("GRANT CREATE, TEMPORARY ON DATABASE {} TO {}").format(database, migrate))
            connection.execute(sql.SQL("GRANT USAGE, CREATE ON SCHEMA public TO {}").format(migrate))
    except psycopg.Error as error:
        raise Retryable(f"the roles were not created: Postgres: {' '.join(str(error).split())}") from error
    return closed


def close_role(admin_url: str, name: str) -> None:
    """Let this role no longer connect, and end its connections. The others stay as they are.

    Raises:
        Retryable: the database can't be reached, or refused a statement.
    """
    _alter(admin_url, name, can_login=False)


def open_role(admin_url: str, name: str) -> None:
    """Let a closed role connect again.

    Raises:
        Retryable: the database can't be reached, or refused a statement.
    """
    _alter(admin_url, name, can_login=True)


def _alter(admin_url: str, name: str, *, can_login: bool) -> None:
    if name not in ROLES:
        raise ConfigurationError(f"{name} is no role of Helios: {', '.join(ROLES)}")
    option = sql.SQL("LOGIN" if can_login else "NOLOGIN")
    try:
        with _connect(admin_url) as connection:
            connection.execute(sql.SQL("ALTER ROLE {} {}").format(sql.Identifier(name), option))
            if not can_login:
                connection.execute(_TERMINATE, [name])
    except psycopg.Error as error:
        raise Retryable(f"{name} was not changed: Postgres: {' '.join(str(error).split())}") from error


def _connect(url: str) -> psycopg.Connection:
    return connect(url, name="helios-roles", autocommit=True)


def password_of(url: str) -> str:
    """The password in a URL of the database.

    Raises:
        ConfigurationError: the URL has none.
    """
    password = conninfo_to_dict(url).get("password")
    if not password:
        raise ConfigurationError("the URL of the role has no password")
    return str(password)
