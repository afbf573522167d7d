"""Erasing events: the database, the files of the archive, and the messages in Kafka."""

from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol

from helios.model.archive import ArchiveFile, Contents, LocalFile
from helios.model.audit import AuditEntry
from helios.model.erasure import Outstanding, Selector
from helios.model.events import Event, Key
from helios.reconciliation.record import FlowKey


class ErasureStore(Protocol):
    """Erases from the database. Every method raises Retryable when it can't be reached."""

    def attach_partitions(self) -> None:
        """Make the tables partitions again whose drop has begun: what was detached is found by no other method."""

    def events(self, selector: Selector) -> list[Event]:
        """The events in the database that a selector finds."""

    def mark(self, events: Collection[Event]) -> None:
        """Mark the identities of events as erased: a delivery of one of them is a duplicate from then on."""

    def remove(
        self, selector: Selector, events: Collection[Event], instances: Collection[tuple[str, str]], *, dry_run: bool
    ) -> dict[str, int]:
        """Remove events and what was made of them, in one transaction, and return the number of rows by table.

        Args:
            selector: names the value, which other rows may mention.
            events: the events, in the database or in the archive.
            instances: the flow instances to which they belong.
            dry_run: count, and remove nothing.
        """

    def exclude_writers(self) -> None:
        """Return once no writer can commit any more what it has made of something that it read before."""

    def scan(self, selector: Selector) -> dict[str, int]:
        """The number of rows of each table that mention the value, of tables with one."""

    def record(self, entry: AuditEntry) -> None:
        """Add an entry to the audit log."""


class ErasureFiles(Protocol):
    """Erases from files of the archive. Every method raises Retryable when one can't be read."""

    def matching(self, file: ArchiveFile, selector: Selector) -> list[Event]:
        """The events of a file that a selector finds."""

    def matching_contents(self, file: ArchiveFile, selector: Selector) -> Contents:
        """What the events of a file that a selector finds contain: what ``rewrite`` has to leave out."""

    def scan(self, files: Sequence[ArchiveFile], selector: Selector) -> int:
        """The number of events in files that have the value as a whole word in any text, or that a selector finds."""

    def rewrite(self, file: ArchiveFile, selector: Selector, folder: Path) -> list[LocalFile]:
        """Write a file again, without the events that a selector finds; no file if nothing is left."""


class LogErasure(Protocol):
    """Erases from the log. Every method raises Retryable when it can't be reached."""

    def erase(self, events: Collection[Key], instances: Collection[FlowKey]) -> int:
        """Write tombstones for the records of flow instances, and return the number of instances.

        The job forgets the instances too, and takes no evidence from the events any more. Sending them again is safe.
        """

    def outstanding(self, now: datetime) -> list[Outstanding]:
        """The topics and the state that still have what was written until now, and when they have forgotten it."""

    def scan(self, selector: Selector) -> dict[str, int]:
        """The number of messages that mention the value, by topic with one. It reads all of the log."""


class Tombstones(Protocol):
    """Erases messages."""

    def erase(self, events: Sequence[Event]) -> int:
        """Send a message without a value for the key of each event, and return the number of keys.

        Raises:
            Retryable: some were not acknowledged. Sending them again is safe.
        """
