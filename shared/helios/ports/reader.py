"""Reading every topic through one object."""

from datetime import datetime
from typing import Protocol

from helios.ports.audit import AuditReader
from helios.ports.counts import CountReader
from helios.ports.dead_letters import DeadLetterReader
from helios.ports.events import EventReader


class Reader(EventReader, CountReader, DeadLetterReader, AuditReader, Protocol):
    """Reads the store. A caller asks for the part that it needs."""

    def probe(self) -> None:
        """Return if the store answers now.

        Raises:
            Retryable: the store does not answer.
        """

    def partitions_ahead(self) -> int:
        """The number of partitions that are ready for the events of the future.

        Raises:
            Retryable: the store does not answer.
        """

    def archive_succeeded_at(self) -> datetime:
        """When any process last archived with success; before the first time, when the store was prepared for it.

        Raises:
            Retryable: the store does not answer.
        """
