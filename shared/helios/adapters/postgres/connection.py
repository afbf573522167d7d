"""Connections to Postgres, and what its errors mean to Helios."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

from helios.errors import Rejected, Retryable

Pool = ConnectionPool[psycopg.Connection]

WAIT_SECONDS = 2
"""How long a caller waits for a connection before it hears that there is none."""

KEEPALIVES = {"keepalives_idle": 60, "keepalives_interval": 10, "keepalives_count": 3}
"""Between clouds lie NAT gateways, which forget a connection that was idle for minutes and may tell neither side: it is
said in time that it is in use, and noticed within 90 s that it is gone."""

PAYLOAD_ERRORS = (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.ProgramLimitExceeded)
"""Errors that a value causes, whoever writes it, whenever."""


def open_pool(database_url: str, *, connections: int, timeout_seconds: int) -> Pool:
    """A pool that opens its connections when they are first needed, and replaces those that broke.

    Args:
        database_url: a ``postgresql://`` URL.
        connections: most connections open at once.
        timeout_seconds: longest time for a statement, or for a new connection to be made.
    """
    return ConnectionPool(
        database_url,
        min_size=0,
        max_size=connections,
        timeout=WAIT_SECONDS,
        # Give up at once: the next caller tries again, where the pool would wait longer each time it fails.
        reconnect_timeout=0,
        # A connection that the server closed meanwhile costs a round trip to find out, not a failed batch.
        check=ConnectionPool.check_connection,
        kwargs={
            "connect_timeout": timeout_seconds,
            "application_name": "helios",
            **KEEPALIVES,
            # What was sent and not acknowledged by then went nowhere. Without it Linux tries for a quarter of an hour.
            "tcp_user_timeout": 1000 * timeout_seconds,
            "options": f"-c statement_timeout={timeout_seconds}s -c timezone=UTC"
            f" -c idle_in_transaction_session_timeout={timeout_seconds}s",
        },
        open=True,
        name="helios",
    )


@contextmanager
def translated() -> Iterator[None]:
    """Give psycopg's errors the names that the core knows.

    Raises:
        Rejected: a value is at fault.
        Retryable: anything else is.
    """
    try:
        yield
    except PAYLOAD_ERRORS as error:
        raise Rejected(f"can't be stored: {_first_line(error)}", field="body") from error
    except (psycopg.Error, PoolTimeout) as error:
        raise Retryable(f"Postgres: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
