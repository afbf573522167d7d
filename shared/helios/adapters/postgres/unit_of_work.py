"""Writes each batch in one transaction, in pipeline mode: no statement waits for an answer that is not needed yet."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime

import psycopg

from helios.adapters.postgres.audit import PostgresAuditWriter
from helios.adapters.postgres.connection import Pool, translate_errors
from helios.adapters.postgres.counts import PostgresCountWriter
from helios.adapters.postgres.dead_letters import PostgresDeadLetterWriter
from helios.adapters.postgres.events import PostgresEventWriter
from helios.adapters.postgres.flows import PostgresFlowWriter
from helios.adapters.postgres.stream import REMOVE_FRAMES, PostgresStreamWriter


class PostgresStore:
    """Implements ``EventStore`` on a pool of connections."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @contextmanager
    def transaction(self) -> Iterator["PostgresUnitOfWork"]:
        """Begin a unit of work. It is durable when the block ends without an error."""
        with (
            translate_errors(),
            self._pool.connection() as connection,
            connection.pipeline() as pipeline,
            connection.transaction(),
        ):
            yield PostgresUnitOfWork(connection, pipeline)

    def remove_frames(self, *, before: datetime, at_last: datetime, limit: int) -> int:
        """Remove old frames that every consumer has passed, and very old ones in any case; return their number."""
        with translate_errors(), self._pool.connection() as connection:
            parameters = {"before": before, "at_last": at_last, "limit": limit}
            return connection.execute(REMOVE_FRAMES, parameters).rowcount


class PostgresUnitOfWork:
    """Implements ``UnitOfWork`` on one connection."""

    def __init__(self, connection: psycopg.Connection, pipeline: psycopg.Pipeline) -> None:
        self.events = PostgresEventWriter(connection)
        self.counts = PostgresCountWriter(connection)
        self.dead_letters = PostgresDeadLetterWriter(connection)
        self.flows = PostgresFlowWriter(connection, pipeline)
        self.stream = PostgresStreamWriter(connection)
        self.audit = PostgresAuditWriter(connection)
        self._connection = connection
        self._pipeline = pipeline

    def sync(self) -> None:
        """Wait for the answers to every statement that has begun, so that reading them waits for no later one.

        psycopg reads an answer together with the answers to all statements sent since.
        """
        self._pipeline.sync()

    @contextmanager
    def trial(self) -> Iterator[None]:
        """A block whose writes are undone at its end: a savepoint, which costs less than a transaction.

        The message of a refusal is not logged: the transaction that failed before has logged the first one.
        """
        with translate_errors(log_refusals=False), self._connection.transaction(force_rollback=True):
            try:
                yield
                self._pipeline.sync()
            except BaseException:
                # Postgres skips every statement after an error, also the ROLLBACK TO, until the next sync. The sync
                # raises an error for the skipped statements: the first error is the one that counts.
                with suppress(psycopg.Error):
                    self._pipeline.sync()
                raise
