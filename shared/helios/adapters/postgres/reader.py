"""The readers of every topic in one object, on one pool of connections."""

from helios.adapters.postgres.audit import PostgresAuditReader
from helios.adapters.postgres.counts import PostgresCountReader
from helios.adapters.postgres.dead_letters import PostgresDeadLetterReader
from helios.adapters.postgres.events import PostgresEventReader
from helios.adapters.postgres.flows import PostgresFlowReader


class PostgresReader(
    PostgresEventReader, PostgresCountReader, PostgresDeadLetterReader, PostgresAuditReader, PostgresFlowReader
):
    """Implements ``Reader``."""

    def probe(self) -> None:
        """Return if Postgres answers a query now.

        Raises:
            Retryable: Postgres does not answer.
        """
        self._all("SELECT 1", [])
