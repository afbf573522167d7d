"""Erases what Helios stores about one value, and scans for what is left of it."""

import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from msgspec import UNSET

from helios.errors import ConfigurationError, Retryable
from helios.model.archive import ArchiveFile, FileFilter, IndexedField, total
from helios.model.audit import AuditEntry
from helios.model.erasure import Receipt, Selector
from helios.model.events import Event
from helios.ports.archive import ArchiveTurn, Manifest
from helios.ports.erasure import ErasureFiles, ErasureStore, LogErasure, Tombstones
from helios.reconciliation.evidence import EvidenceExtractor
from helios.services.archive import INCOMPLETE, Archive, own_turn

ARCHIVE_REQUIRED = (
    "HELIOS_ARCHIVE_URL is not set, and the archive has {number} files, which may have the value. Set it as "
    "for helios archive run. Nothing was erased."
)


class Eraser:
    """Erases in all places of one Helios.

    Every step can be repeated, and none is needed by a later one: an erasure that was interrupted is complete when the
    same command has run again. Identities are marked before anything is removed. Messages and records of the log are
    erased before the events that name them, since a repeated erasure does not find a removed event.
    """

    def __init__(
        self,
        store: ErasureStore,
        extractor: EvidenceExtractor,
        manifest: Manifest,
        *,
        archive: Archive | None = None,
        files: ErasureFiles | None = None,
        tombstones: Tombstones | None = None,
        log: LogErasure | None = None,
    ) -> None:
        """Take the ports.

        Args:
            store: the database.
            extractor: knows to which flow instances an event belongs.
            manifest: no other process changes the archive or drops a partition meanwhile.
            archive: the archive; None: there is none.
            files: its files; None: there is no archive.
            tombstones: Kafka; None: there is no sink.
            log: the log; None: Postgres judges.
        """
        self._store = store
        self._extractor = extractor
        self._manifest = manifest
        self._archive = archive
        self._files = files
        self._tombstones = tombstones
        self._log = log

    def preview(self, selector: Selector) -> dict[str, int]:
        """The number of rows that an erasure would remove, by place.

        Raises:
            ConfigurationError: there are files of the archive, and no archive was given.
            Retryable: the database or the archive can't be reached.
        """
        self._require_archive()
        hot = self._store.events(selector)
        counts = self._store.remove(selector, hot, self._instances(hot), dry_run=True)
        counts["archive"] = sum(map(len, self._archived(selector).values()))
        return {place: number for place, number in sorted(counts.items()) if number}

    def erase(self, selector: Selector, *, actor: str, secret: str, clock: Callable[[], datetime]) -> Receipt:
        """Erase, scan for what is left, and return the signed receipt. It is in the audit log, without the value.

        Args:
            selector: the value.
            actor: the user who requests it.
            secret: signs the receipt.
            clock: the time.

        Raises:
            ConfigurationError: as ``preview``. Nothing was erased.
            ArchiveBusyError: another process changes the archive, or drops a partition. Nothing was erased.
            Retryable: the database, the archive or Kafka can't be reached. The same command does the rest.
        """
        with self._turn() as turn:
            self._require_archive()
            hot = self._store.events(selector)
            archived = self._archived(selector)
            found = [*hot, *(event for events in archived.values() for event in events)]
            events = list({event.key: event for event in found}.values())  # an archived event may be hot as well
            self._store.mark(events)
            keys = self._tombstones.erase(events) if self._tombstones and events else 0
            instances = self._instances(events)
            records = self._log.erase([event.key for event in events], instances) if self._log else 0
            removed = self._remove(selector, events, instances)
            for file in archived:
                self._rewrite(turn, file, selector, clock())
        removed |= {"kafka": keys, "log": records, "archive": sum(map(len, archived.values()))}
        receipt = Receipt(
            field=selector.field,
            subject=selector.digest(secret),
            at=clock(),
            actor=actor,
            removed={place: number for place, number in sorted(removed.items()) if number},
            left=self._left(selector),
            outstanding=tuple(self._log.outstanding(clock())) if self._log else UNSET,
        ).signed(secret)
        self._store.record(_entry(receipt))
        return receipt

    def scan(self, selector: Selector) -> dict[str, int]:
        """The number of rows and messages in which the value is found, by place. It reads all of the log.

        Raises:
            ConfigurationError: as ``preview``.
            Retryable: the database, the archive or the log can't be reached.
        """
        self._require_archive()
        return self._left(selector) | (self._log.scan(selector) if self._log else {})

    def _remove(
        self, selector: Selector, events: Collection[Event], instances: Collection[tuple[str, str]]
    ) -> dict[str, int]:
        """Remove twice: a writer that has read an instance before may store it again after the first time.

        With a log no writer reads instances. The job gets the tombstones of those that it stores.
        """
        removed = self._store.remove(selector, events, instances, dry_run=False)
        if self._log:
            return removed
        self._store.exclude_writers()
        again = self._store.remove(selector, events, instances, dry_run=False)
        return {place: number + again[place] for place, number in removed.items()}

    def _require_archive(self) -> None:
        if self._archive is None and (files := self._manifest.files(FileFilter())):
            raise ConfigurationError(ARCHIVE_REQUIRED.format(number=len(files)))

    @contextmanager
    def _turn(self) -> Iterator[ArchiveTurn]:
        """Begin to change the archive and the partitions, without what an interrupted run has left in them."""
        with own_turn(self._manifest) as turn:
            self._store.attach_partitions()
            if self._archive:
                self._archive.remove_unreadable(turn)
            yield turn

    def _archived(self, selector: Selector) -> dict[ArchiveFile, list[Event]]:
        """The files of the archive that have the value, each with the events that have it."""
        if self._archive is None or self._files is None:
            return {}
        files = self._archive.manifest.files(_file_filter(selector))
        return {file: events for file in files if (events := self._files.matching(file, selector))}

    def _rewrite(self, turn: ArchiveTurn, file: ArchiveFile, selector: Selector, now: datetime) -> None:
        """Replace a file by one without the value, and remove it.

        Raises:
            Retryable: the new file and what it leaves out are not what the old one contains. The old one stays.
        """
        if self._archive is None or self._files is None:
            return
        with tempfile.TemporaryDirectory(prefix="helios-archive-") as folder:
            files = self._files.rewrite(file, selector, Path(folder))
            written = total(new.entry.contents for new in files)
            if written + self._files.matching_contents(file, selector) != file.contents:
                raise Retryable(f"Archive: what was written in place of {file.path} {INCOMPLETE}")
            self._archive.store(turn, files, replaced=[file.path], now=now)
        self._archive.remove_unreadable(turn)

    def _instances(self, events: Iterable[Event]) -> set[tuple[str, str]]:
        return {(keyed.flow.name, keyed.key) for event in events for keyed in self._extractor.extract(event)}

    def _left(self, selector: Selector) -> dict[str, int]:
        left = self._store.scan(selector)
        if self._archive and self._files:
            files = self._archive.manifest.files(FileFilter())  # the index has only the values of two columns
            if number := self._files.scan(files, selector):
                left["archive"] = number
        return left


def _file_filter(selector: Selector) -> FileFilter:
    """The files that may have the value: those that the index names, or all if the field is a path of the payload."""
    field: IndexedField | None = None
    if selector.field == "customer_id":
        field = "customer_id"
    elif selector.field == "order_id":
        field = "order_id"
    return FileFilter(field=field, value=selector.value) if field else FileFilter()


def _entry(receipt: Receipt) -> AuditEntry:
    removed = ", ".join(f"{place} {number}" for place, number in receipt.removed.items()) or "nothing"
    left = ", ".join(f"{place} {number}" for place, number in receipt.left.items()) or "nothing"
    return AuditEntry(
        at=receipt.at,
        actor=receipt.actor,
        action="erased",
        subject=f"{receipt.field} {receipt.subject[:16]}",
        detail=f"removed: {removed}; found afterwards: {left}",
    )
