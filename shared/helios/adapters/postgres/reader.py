"""The readers of every topic in one object, on one pool of connections."""

from datetime import datetime
from typing import cast

from helios.adapters.postgres.audit import PostgresAuditReader
from helios.adapters.postgres.counts import PostgresCountReader
from helios.adapters.postgres.dead_letters import PostgresDeadLetterReader
from helios.adapters.postgres.events import PostgresEventReader
from helios.adapters.postgres.flows import PostgresFlowReader
from helios.adapters.postgres.partitions import COUNT_AHEAD, MIN_AHEAD
from helios.adapters.postgres.write_probe import probe_writes
from helios.errors import Retryable


class PostgresReader(
    PostgresEventReader, PostgresCountReader, PostgresDeadLetterReader, PostgresAuditReader, PostgresFlowReader
):
    """Implements ``Reader``."""

    def probe(self) -> None:
        """Return if Postgres can store events, now and in the near future.

        Raises:
            Retryable: Postgres does not answer or can't write, or the sweep makes no partitions.
        """
        probe_writes(self._pool)
        ahead = self.partitions_ahead()
        if ahead < MIN_AHEAD:
            raise Retryable(f"{ahead} partitions of events are ahead, fewer than {MIN_AHEAD}: the sweep does not run.")

    def partitions_ahead(self) -> int:
        """The number of partitions of events beyond the current one.

        Raises:
            Retryable: Postgres does not answer.
        """
        ((ahead,),) = self._all(COUNT_AHEAD, [])
        return int(ahead)

    def archive_succeeded_at(self) -> datetime:
        """When the archive last succeeded; before its first success, when the database was prepared for it.

        Raises:
            Retryable: Postgres does not answer.
        """
        ((succeeded_at,),) = self._all("SELECT succeeded_at FROM archive_progress", [])
        return cast("datetime", succeeded_at)
