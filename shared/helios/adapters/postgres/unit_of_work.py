"""Writes each batch in one transaction, in pipeline mode: no statement waits for an answer that is not needed yet."""

from collections.abc import Iterator
from contextlib import contextmanager
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
        self._pipeline = pipeline

    def sync(self) -> None:
        """Wait for the answers to every statement that has begun, so that reading them waits for no later one.

        psycopg reads an answer together with the answers to all statements sent since.
        """
        self._pipeline.sync()
