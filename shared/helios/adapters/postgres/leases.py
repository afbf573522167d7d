"""Leases in Postgres: a row each, which its holder extends.

A row works behind a pooler in transaction mode, where no lock of a session does. All times are those of Postgres; the
holder measures only how long ago it last extended the lease.
"""

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg

from helios.adapters.postgres.connection import Pool, translate_errors
from helios.errors import Retryable
from helios.ports.leases import LEASE_SECONDS

RETRY_SECONDS: Final = 0.5
"""How often a patient process asks again for a lease that another one holds."""

EXTEND_SECONDS: Final = 3.0
"""How often the holder extends it: often enough for two failures in a row."""

# A process that does not get the lease only reads: ON CONFLICT alone would lock the row, and write that.
TAKE = """
INSERT INTO leases AS held (name, token, holder, expires_at)
SELECT %(name)s, 1, %(holder)s, now() + make_interval(secs => %(seconds)s)
WHERE NOT EXISTS (SELECT FROM leases WHERE name = %(name)s AND expires_at >= now())
ON CONFLICT (name) DO UPDATE
SET token = held.token + 1, holder = excluded.holder, expires_at = excluded.expires_at
WHERE held.expires_at < now()
RETURNING token
"""

EXTEND = """
UPDATE leases SET expires_at = now() + make_interval(secs => %s) WHERE name = %s AND token = %s
"""

GIVE_BACK = "UPDATE leases SET expires_at = '-infinity' WHERE name = %s AND token = %s"

IS_TAKEN = "SELECT EXISTS (SELECT FROM leases WHERE name = %s AND expires_at >= now())"

FENCE = "SELECT FROM leases WHERE name = %s AND token = %s FOR UPDATE"

log = logging.getLogger("helios.leases")


class PostgresLease:
    """Implements ``Lease``. A thread extends it."""

    def __init__(self, pool: Pool, name: str, token: int, taken_at: float) -> None:
        """Take the lease as it was taken.

        Args:
            pool: extends it.
            name: its name.
            token: what this holder was given.
            taken_at: when its request was sent, on the monotonic clock.
        """
        self._pool = pool
        self._name = name
        self._token = token
        self._extended_at = taken_at
        self._is_lost = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._extend_until_ended, name=f"lease-{name}", daemon=True)
        self._thread.start()

    @property
    def is_held(self) -> bool:
        """Whether no other process can have taken the lease since."""
        return not self._is_lost and time.monotonic() - self._extended_at < LEASE_SECONDS

    def fence(self, connection: psycopg.Connection) -> None:
        """Let a transaction commit only if no other process has taken the lease: the last statement of the transaction.

        Until the commit, which should follow at once, no process can take the lease.

        Raises:
            Retryable: another process has taken it.
        """
        if connection.execute(FENCE, (self._name, self._token)).fetchone() is None:
            raise Retryable(f"The lease {self._name!r} was lost: another process continues the work.")

    def give_back(self) -> None:
        """Let another process take it now. Without Postgres, it takes it when the lease is over."""
        self._ended.set()
        self._thread.join()
        try:
            with translate_errors(), self._pool.connection() as connection:
                connection.execute(GIVE_BACK, (self._name, self._token))
        except Retryable as error:
            log.warning("the lease was not given back", extra={"lease": self._name, "error": str(error)})

    def _extend_until_ended(self) -> None:
        while not self._is_lost and not self._ended.wait(EXTEND_SECONDS):
            try:
                self._extend()
            except Retryable as error:
                log.warning("the lease was not extended", extra={"lease": self._name, "error": str(error)})

    def _extend(self) -> None:
        sent_at = time.monotonic()
        with translate_errors(), self._pool.connection() as connection:
            extended = connection.execute(EXTEND, (LEASE_SECONDS, self._name, self._token)).rowcount
        if extended:
            self._extended_at = sent_at
        else:
            self._is_lost = True
            log.warning("the lease was lost", extra={"lease": self._name})


class PostgresLeases:
    """Implements ``Leases`` on a pool of connections, of which it uses one at a time and briefly."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @contextmanager
    def take(self, name: str, *, patience_seconds: float = 0) -> Iterator[PostgresLease | None]:
        """Hold a lease until the block ends; None if another process holds it."""
        until = time.monotonic() + patience_seconds
        while (lease := self._take(name)) is None and time.monotonic() < until:
            time.sleep(RETRY_SECONDS)
        try:
            yield lease
        finally:
            if lease:
                lease.give_back()

    def is_taken(self, name: str) -> bool:
        """Whether a process holds a lease now, or has died less than LEASE_SECONDS ago."""
        with translate_errors(), self._pool.connection() as connection:
            (is_taken,) = connection.execute(IS_TAKEN, (name,)).fetchone() or (False,)
        return bool(is_taken)

    def _take(self, name: str) -> PostgresLease | None:
        values = {"name": name, "holder": f"{socket.gethostname()}:{os.getpid()}", "seconds": LEASE_SECONDS}
        sent_at = time.monotonic()
        with translate_errors(), self._pool.connection() as connection:
            row = connection.execute(TAKE, values).fetchone()
        return PostgresLease(self._pool, name, row[0], sent_at) if row else None
