"""Connections to Postgres, and the translation of its errors."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

from helios.errors import Rejected, Retryable

Pool = ConnectionPool[psycopg.Connection]

WAIT_SECONDS = 2
"""How long a caller waits for a free connection before the pool raises an error."""

KEEPALIVES = {"keepalives_idle": 60, "keepalives_interval": 10, "keepalives_count": 3}
"""A NAT gateway between clouds drops a connection that was idle for minutes, and may notify neither side. Keepalives
keep the connection in use, and detect within 90 s that it is lost."""

PAYLOAD_ERRORS = (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.ProgramLimitExceeded)
"""Errors that a value causes on every attempt to write it."""


def open_pool(database_url: str, *, connections: int, timeout_seconds: int) -> Pool:
    """A pool that opens connections on demand and replaces broken ones.

    Args:
        database_url: a ``postgresql://`` URL.
        connections: the most open connections.
        timeout_seconds: the longest time for a statement, and for opening a connection.
    """
    return ConnectionPool(
        database_url,
        min_size=0,
        max_size=connections,
        timeout=WAIT_SECONDS,
        # Do not retry in the pool, which would wait longer after each failure: the next caller tries again.
        reconnect_timeout=0,
        # If the server has closed a connection, the check costs a round trip, and no batch fails.
        check=ConnectionPool.check_connection,
        kwargs={
            "connect_timeout": timeout_seconds,
            "application_name": "helios",
            **KEEPALIVES,
            # Gives up data that is not acknowledged by then. Without it, Linux retries for a quarter of an hour.
            "tcp_user_timeout": 1000 * timeout_seconds,
            "options": f"-c statement_timeout={timeout_seconds}s -c timezone=UTC"
            f" -c idle_in_transaction_session_timeout={timeout_seconds}s",
        },
        open=True,
        name="helios",
    )


@contextmanager
def translate_errors() -> Iterator[None]:
    """Translate the errors of psycopg into Rejected and Retryable.

    Raises:
        Rejected: a value can't be stored.
        Retryable: any other error.
    """
    try:
        yield
    except PAYLOAD_ERRORS as error:
        raise Rejected(f"can't be stored: {_first_line(error)}", field="body") from error
    except (psycopg.Error, PoolTimeout) as error:
        raise Retryable(f"Postgres: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
