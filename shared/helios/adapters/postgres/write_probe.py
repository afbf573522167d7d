"""Checks that Postgres can store something now: a database that only answers queries is not healthy."""

from collections.abc import Callable
from typing import Final, TypeVar

import psycopg

from helios.adapters.postgres.connection import Pool, translate_errors
from helios.errors import Retryable

T = TypeVar("T")

_LITTLE_MEMORY: Final = "SET LOCAL work_mem = '64kB'"
_WRITE: Final = "SELECT pg_logical_emit_message(true, 'helios.health', '')"
"""Adds 80 bytes to the write-ahead log, which the commit flushes to disk; no table changes."""

_STATE: Final = """
SELECT
  current_setting('transaction_read_only')::boolean,
  -- The function's rows exceed work_mem, so that Postgres writes 1.3 MB to a temporary file: on a full disk that fails,
  -- as a table that has to grow does, while an update in place would succeed.
  (SELECT count(*) FROM unnest(array_fill(repeat('x', 8000), ARRAY[160]))),
  least(
    current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
      - coalesce(current_setting('reserved_connections', true)::int, 0)
      - (SELECT sum(numbackends) FROM pg_stat_database),
    (SELECT nullif(rolconnlimit, -1) - (SELECT count(*) FROM pg_stat_activity WHERE usename = current_user)
     FROM pg_roles WHERE rolname = current_user),
    (SELECT nullif(datconnlimit, -1) - numbackends
     FROM pg_database JOIN pg_stat_database USING (datname) WHERE datname = current_database())
  )
"""
"""Whether writes are refused, a row that needs disk space, and how many connections are left. The last is an estimate:
it counts processes of Postgres that use no connection."""


def probe_writes(pool: Pool) -> None:
    """Return if Postgres can store a batch now, from this process and from a new one.

    Raises:
        Retryable: it is down or read-only, its disk is full, or it accepts no new connection.
    """
    with translate_errors(), pool.connection() as connection:
        with connection.pipeline(), connection.transaction():  # to which SET LOCAL belongs
            connection.execute(_LITTLE_MEMORY)
            state = connection.execute(_STATE)
        read_only, _, free_connections = state.fetchone() or (True, 0, 0)
        if not read_only:
            connection.execute(_WRITE)
    if read_only:
        raise Retryable("Postgres: the database is read-only")
    if free_connections <= 0:
        with translate_errors():  # the estimate may be too low, so ask for one
            psycopg.connect(_value(pool.conninfo), **(_value(pool.kwargs) or {})).close()


def _value(option: T | Callable[[], T]) -> T:
    """An option of a pool, which may be a function that returns it."""
    return option() if callable(option) else option
