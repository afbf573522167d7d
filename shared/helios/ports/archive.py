"""The archive: its manifest, the object store, and the files."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import date, datetime
from pathlib import Path
from typing import Protocol

from helios.model.archive import ArchiveFile, Contents, FileFilter, LocalFile
from helios.model.events import Event, Key
from helios.model.sources import Source
from helios.ports.log import Partition, Progress


class ObjectStore(Protocol):
    """Files under one URL. Every method raises Retryable when the store can't be reached."""

    def put(self, path: str, file: Path) -> None:
        """Store a file. A reader sees all of it or nothing."""

    def fetch(self, path: str, target: Path) -> str | None:
        """Copy a file to this machine, and return its SHA-256 in hex; None if it does not exist."""

    def delete(self, path: str) -> None:
        """Remove a file, if it exists."""

    def paths(self) -> set[str]:
        """Every file of the archive."""


class ArchiveFormat(Protocol):
    """Writes and reads files of events."""

    def write(self, source: Source, day: date, known: Sequence[ArchiveFile], folder: Path) -> list[LocalFile]:
        """Write the events in Postgres of one source and day that are in none of the known files.

        Args:
            source: the source of the events.
            day: the UTC day on which they were received.
            known: the files of that day.
            folder: an empty folder for the new files.

        Returns:
            The new files, without any if all events are known.

        Raises:
            Retryable: Postgres or the archive can't be read.
        """

    def write_events(
        self, source: Source, day: date, events: Sequence[Event], name: str, folder: Path
    ) -> list[LocalFile]:
        """Write events of the log, which were received from one source on one UTC day.

        Args:
            source: their source.
            day: their day.
            events: the events.
            name: the beginning of the names of the files. The same events of the log have the same name.
            folder: an empty folder for the new files.
        """

    def merge(self, files: Sequence[ArchiveFile], folder: Path) -> list[LocalFile]:
        """Write files of one source and day again as one, with each event once.

        Raises:
            Retryable: the archive can't be read.
        """

    def distinct_contents(self, files: Sequence[ArchiveFile]) -> Contents:
        """What the events of some files contain, each event once: what ``merge`` has to write.

        Raises:
            Retryable: the archive can't be read.
        """

    def contents(self, file: Path) -> Contents | None:
        """What a file on this machine contains; None if it is not a readable file of events."""

    def rows(self, files: Sequence[ArchiveFile]) -> Iterator[tuple[object, ...]]:
        """The events of some files, as text or None in the order of the columns of ``hot_events``.

        Raises:
            Retryable: the archive can't be read.
        """


class ArchiveTurn(Protocol):
    """Changes the manifest. One process has the turn at a time. Every method raises Retryable as the store does."""

    def pending_days(self, now: datetime, *, recheck: bool = False) -> list[date]:
        """The days in Postgres that are over and are still to be compared with the archive, the oldest first.

        Args:
            now: decides which days are over.
            recheck: also the days that have been compared.
        """

    def hot_contents(self, day: date) -> dict[Source, Contents]:
        """What Postgres has of one day, by source."""

    def files(self, day: date, source: Source) -> list[ArchiveFile]:
        """The verified files of one day and source whose events come from Postgres."""

    def mergeable(self, *, bytes_below: int, over_before: date, number: int) -> list[ArchiveFile]:
        """The small files of the log of one source and day, if there are several; otherwise none.

        Args:
            bytes_below: a file of fewer bytes is small.
            over_before: two files of an earlier day are merged.
            number: as many of a later day are merged.
        """

    def known(self, keys: Collection[Key]) -> set[Key]:
        """The identities among these that Postgres has stored, or that were erased."""

    def begin(self, files: Sequence[ArchiveFile]) -> None:
        """List files that are about to be written. A run that finds them unverified removes them."""

    def complete(
        self,
        files: Sequence[LocalFile],
        *,
        replaced: Sequence[str] = (),
        read: Mapping[Partition, Progress] | None = None,
        now: datetime,
    ) -> None:
        """Make files readable, and those that they replace unreadable, in one transaction.

        Args:
            files: the new files.
            replaced: the paths of the old ones.
            read: how far the log is read with the new files.
            now: the time.

        Raises:
            ConflictError: an offset is not where ``read`` begins. Nothing was changed.
        """

    def finish_day(self, day: date, now: datetime) -> None:
        """Record that a day has been compared with the archive, which is a success too."""

    def succeed(self, now: datetime) -> None:
        """Record that the archive has all that it can have now."""

    def unreadable(self) -> list[str]:
        """The files that are listed, but not readable: an interrupted run or an erasure has left them."""

    def forget(self, paths: Sequence[str]) -> None:
        """Remove unreadable files from the manifest, after they were removed from the object store."""

    def restore(self, since: date, until: date, rows: Iterable[Sequence[object]], expected: Contents) -> str:
        """Make a partition for the days from ``since`` to before ``until``, and fill it, in one transaction.

        Args:
            since: the first day.
            until: the day after the last one.
            rows: the events of the archive, as ``ArchiveFormat.rows`` gives them.
            expected: what they have to contain.

        Returns:
            The name of the partition.

        Raises:
            Rejected: Postgres has some of these days.
            Retryable: the events differ from ``expected``, or the store can't be reached. Nothing was restored.
        """


class Manifest(Protocol):
    """The list of the archive's files. Every method raises Retryable when the store can't be reached."""

    def turn(self, *, patience_seconds: float = 0) -> AbstractContextManager[ArchiveTurn | None]:
        """Begin to change the archive; None if another process does.

        Args:
            patience_seconds: how long to wait for another process.
        """

    def files(self, where: FileFilter) -> list[ArchiveFile]:
        """The readable files, by day, source and path."""

    def partitions(self) -> frozenset[tuple[int, str]]:
        """The partitions of Postgres. If they are equal twice, none was dropped, restored or attached in between."""
