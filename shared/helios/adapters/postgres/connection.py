"""Connections to Postgres, and the translation of its errors."""

import logging
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

REFUSALS = {
    "22": "contains a value that the database can't represent",
    "23": "breaks a rule of the database",
    "54": "exceeds a limit of the database",
}
"""What the classes of SQLSTATE in PAYLOAD_ERRORS mean (PostgreSQL documentation, appendix A). The message of Postgres
names tables, columns and indexes, and quotes values: it goes to the log, and into no answer and no dead letter."""

log = logging.getLogger("helios.postgres")


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
def translate_errors(*, log_refusals: bool = True) -> Iterator[None]:
    """Translate the errors of psycopg into Rejected and Retryable.

    Args:
        log_refusals: whether to log the message of Postgres for a value that can't be stored.

    Raises:
        Rejected: a value can't be stored.
        Retryable: any other error.
    """
    try:
        yield
    except PAYLOAD_ERRORS as error:
        if log_refusals:
            log.warning("Postgres refused a value", extra={"error": _first_line(error)})
        raise Rejected(f"can't be stored: {_refusal(error)}", field="body") from error
    except (psycopg.Error, PoolTimeout) as error:
        raise Retryable(f"Postgres: {_first_line(error)}") from error


def _refusal(error: psycopg.Error) -> str:
    code = error.sqlstate or ""
    words = REFUSALS.get(code[:2], "the database refuses it")
    return f"{words} (SQLSTATE {code})" if code else words


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
