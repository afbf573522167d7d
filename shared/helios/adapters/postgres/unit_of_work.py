"""Writes each batch in one transaction, in pipeline mode: no statement waits for an answer that is not needed yet."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime

import psycopg

from helios.adapters.postgres.audit import PostgresAuditWriter
from helios.adapters.postgres.balances import PostgresBalanceWriter
from helios.adapters.postgres.connection import Pool, translate_errors
from helios.adapters.postgres.counts import PostgresMinuteReader
from helios.adapters.postgres.dead_letters import PostgresDeadLetterWriter
from helios.adapters.postgres.events import PostgresEventWriter
from helios.adapters.postgres.flows import PostgresFlowWriter, find_flows
from helios.adapters.postgres.log import PostgresLogWriter
from helios.adapters.postgres.new_batch import naming_instances, statement
from helios.adapters.postgres.partitions import extend
from helios.adapters.postgres.stream import REMOVE_FRAMES, PostgresStreamWriter
from helios.errors import AlreadyStored
from helios.ports.unit_of_work import NewBatch
from helios.reconciliation.record import FlowKey, FlowRecord


class PostgresStore:
    """Implements ``EventStore`` on a pool of connections."""

    def __init__(self, pool: Pool, *, partition_days: int = 7) -> None:
        self._pool = pool
        self._partition_days = partition_days

    @contextmanager
    def transaction(self) -> Iterator["PostgresUnitOfWork"]:
        """Begin a unit of work. It is durable when the block ends without an error.

        BEGIN and COMMIT are statements like the others, since the transactions of psycopg would wait for the answer to
        BEGIN, and to everything before COMMIT. After an error, Postgres skips the COMMIT.
        """
        with translate_errors(), self._pool.connection() as connection, connection.pipeline() as pipeline:
            connection.execute("BEGIN")
            yield PostgresUnitOfWork(connection, pipeline)
            connection.execute("COMMIT")

    def instances(self, keys: Collection[FlowKey]) -> dict[FlowKey, FlowRecord]:
        """The stored instances among the keys."""
        with translate_errors(), self._pool.connection() as connection:
            return find_flows(connection, keys).result()

    def store_new(self, batch: NewBatch) -> None:
        """Store a batch, or fail as a whole if an event or an instance is not as it was assumed."""
        query, values = statement(batch)
        # The attempt that follows a refusal logs it.
        with translate_errors(log_refusals=False):
            # Without the pool's context manager, which also commits: a single event would pay for that.
            connection = self._pool.getconn()
            try:
                with naming_instances(connection):
                    connection.execute(query, values)
            except psycopg.errors.UniqueViolation as error:  # of assert_new: no other statement can raise it
                raise AlreadyStored("an event of the batch is already stored") from error
            finally:
                self._pool.putconn(connection)

    def extend_partitions(self, now: datetime) -> int:
        """Make the partitions of the near future, and return the number of new ones."""
        return extend(self._pool, now, days=self._partition_days)

    def remove_frames(self, *, before: datetime, at_last: datetime, limit: int) -> int:
        """Remove old frames that every consumer has passed, and very old ones in any case; return their number."""
        with translate_errors(), self._pool.connection() as connection:
            parameters = {"before": before, "at_last": at_last, "limit": limit}
            return connection.execute(REMOVE_FRAMES, parameters).rowcount


class PostgresUnitOfWork:
    """Implements ``UnitOfWork`` on one connection."""

    def __init__(self, connection: psycopg.Connection, pipeline: psycopg.Pipeline) -> None:
        self.events = PostgresEventWriter(connection)
        self.counts = PostgresMinuteReader(connection)
        self.dead_letters = PostgresDeadLetterWriter(connection)
        self.flows = PostgresFlowWriter(connection, pipeline)
        self.balances = PostgresBalanceWriter(connection)
        self.stream = PostgresStreamWriter(connection)
        self.audit = PostgresAuditWriter(connection)
        self.log = PostgresLogWriter(connection)
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
        self._pipeline.sync()  # psycopg has to know that the transaction has begun
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
