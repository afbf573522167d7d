"""Copies events to the archive, checks it, and brings events back."""

import logging
import math
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path

from helios.errors import HeliosError, Rejected, Retryable
from helios.model.archive import ArchiveFile, Contents, FileFilter, Finding, LocalFile, RunResult, total
from helios.model.sources import Source
from helios.ports.archive import ArchiveFormat, ArchiveTurn, Manifest, ObjectStore
from helios.ports.leases import PATIENCE_SECONDS
from helios.ports.log import Partition, Progress

log = logging.getLogger("helios.archive")


FROM_LOG = (
    "All events of {since} to {until} were archived from the log, and Postgres has no place for them. Read them in the "
    "archive, as the API and the replays do, or with: helios query"
)


INCOMPLETE = (
    "does not have all the events that stay. Nothing was replaced. Repeat the command, or run: helios archive verify"
)


class ArchiveBusyError(HeliosError):
    """Another process changes the archive. The command can be repeated when that process has ended."""


@contextmanager
def own_turn(manifest: Manifest) -> Iterator[ArchiveTurn]:
    """Begin to change the archive. Until the end, no other process changes it, or drops a partition.

    Raises:
        ArchiveBusyError: another process does.
    """
    with manifest.turn(patience_seconds=PATIENCE_SECONDS) as turn:
        if turn is None:
            raise ArchiveBusyError("Another process changes the archive now. Repeat the command in a few minutes.")
        yield turn


class Archive:
    """The archive of one database."""

    def __init__(self, manifest: Manifest, objects: ObjectStore, files: ArchiveFormat) -> None:
        """Take the ports.

        Args:
            manifest: lists the files.
            objects: holds them.
            files: writes and reads them.
        """
        self.manifest = manifest
        self.objects = objects
        self.files = files

    def run(
        self, now: datetime, *, recheck: bool = False, patience_seconds: float = 0, seconds: float | None = None
    ) -> RunResult:
        """Copy the events of every day that is over, and read each file back.

        Each step can be interrupted. A file is listed before it is written, so that the next run finds and removes what
        an interrupted one has left; readers use it only after it was read back and compared. A day that was copied is
        compared with Postgres once more two days later, and events that were stored in between are added as another
        file: nothing is removed from the archive.

        Args:
            now: decides which days are over.
            recheck: compare all days in Postgres, also those that were copied.
            patience_seconds: how long to wait for another process that changes the archive.
            seconds: begin no further source of a day after this time. None: copy all.

        Raises:
            Retryable: Postgres or the archive can't be reached, or a file differs from what was written. The next run
                does the rest.
        """
        with self.manifest.turn(patience_seconds=patience_seconds) as turn:
            if turn is None:
                return RunResult(busy=True)
            removed = self.remove_unreadable(turn)
            days, written, copied = turn.pending_days(now, recheck=recheck), list[ArchiveFile](), 0
            until = time.monotonic() + seconds if seconds is not None else math.inf
            for day in days:
                if not self._copy_day(turn, day, now, written, until=until):
                    break
                turn.finish_day(day, now)
                copied += 1
            if copied == len(days):
                turn.succeed(now)
        result = RunResult(
            days=copied, files=len(written), rows=sum(file.contents.rows for file in written), removed=removed
        )
        if days or removed:
            log.info("archived", extra={"days": result.days, "files": result.files, "rows": result.rows})
        return result

    def verify(self, where: FileFilter) -> Iterator[tuple[ArchiveFile, Finding | None]]:
        """Read files in full, and compare each with the manifest.

        If a file is replaced before it is read, by a merge or an erasure, what replaced it is read too.

        Yields:
            Each file, and what is wrong with it: it is missing, its bytes have changed, or its rows have. A file that
            was replaced meanwhile is left out.

        Raises:
            Retryable: Postgres or the archive can't be reached.
        """
        with tempfile.TemporaryDirectory(prefix="helios-archive-") as folder:
            known: set[ArchiveFile] = set()
            replaced = True
            while replaced:  # a further round reads only files that were written during the last one
                replaced = False
                for file in [file for file in self.manifest.files(where) if file not in known]:
                    known.add(file)
                    reason = self._difference(file, Path(folder) / "file.parquet")
                    if reason and not self._is_listed(file):
                        replaced = True
                    else:
                        yield file, Finding(file.path, reason) if reason else None

    def unlisted(self) -> list[str]:
        """The files in the object store that the manifest does not list: no reader uses them.

        Raises:
            ArchiveBusyError: another process changes the archive.
            Retryable: Postgres or the archive can't be reached.
        """
        with self.own_turn() as turn:
            listed = {file.path for file in self.manifest.files(FileFilter())}
            return sorted(self.objects.paths() - listed - set(turn.unreadable()))

    def restore(self, since: date, until: date) -> tuple[str, int]:
        """Bring the events of some days back to Postgres, as a partition of their own.

        Those that were archived from the log are left out: every reader has them from the archive, wherever the others
        are, and would have them twice.

        Args:
            since: the first day.
            until: the last day.

        Returns:
            The name of the partition, and the number of its events.

        Raises:
            Rejected: the archive has no event of these days, or all of them from the log, or Postgres has some of the
                days.
            ArchiveBusyError: another process changes the archive.
            Retryable: Postgres or the archive can't be reached, or a file has changed. Nothing was restored.
        """
        with self.own_turn() as turn:
            listed = [file for file in self.manifest.files(FileFilter()) if since <= file.day <= until]
            if not listed:
                raise Rejected(f"The archive has no event of {since} to {until}", field="--since")
            files = [file for file in listed if not file.from_log]
            if not files:
                raise Rejected(FROM_LOG.format(since=since, until=until), field="--since")
            expected = total(file.contents for file in files)
            name = turn.restore(since, until + timedelta(days=1), self.files.rows(files), expected)
        return name, expected.rows

    def own_turn(self) -> AbstractContextManager[ArchiveTurn]:
        """As the function ``own_turn``."""
        return own_turn(self.manifest)

    def remove_unreadable(self, turn: ArchiveTurn) -> int:
        """Remove the files that an interrupted run has left, and those that were replaced; return their number."""
        paths = turn.unreadable()
        for path in paths:
            self.objects.delete(path)
        turn.forget(paths)
        return len(paths)

    def store(
        self,
        turn: ArchiveTurn,
        files: Sequence[LocalFile],
        *,
        replaced: Sequence[str] = (),
        read: Mapping[Partition, Progress] | None = None,
        now: datetime,
    ) -> None:
        """List files, write them, read them back, and make them readable in place of those that they replace.

        Args:
            turn: changes the manifest.
            files: the new files.
            replaced: the paths of the old ones.
            read: how far the log is read with the new files.
            now: the time.

        Raises:
            Retryable: a file differs from what was written, or the archive can't be reached. No new file is readable.
            ConflictError: as ``ArchiveTurn.complete``. No new file is readable.
        """
        turn.begin([file.entry for file in files])
        for file in files:
            self.objects.put(file.entry.path, file.location)
        for file in files:
            copy = file.location.with_suffix(".copy")
            if reason := self._difference(file.entry, copy):
                raise Retryable(f"Archive: {file.entry.path} {reason}. The next run writes it again.")
            copy.unlink()
        turn.complete(files, replaced=replaced, read=read, now=now)

    def _copy_day(
        self, turn: ArchiveTurn, day: date, now: datetime, written: list[ArchiveFile], *, until: float
    ) -> bool:
        """Copy a day, add its files to ``written``, and return whether no source is left when the time is over."""
        for source, hot in turn.hot_contents(day).items():
            if time.monotonic() > until:
                return False
            written += self._copy(turn, source, day, hot, now)
        return True

    def _copy(self, turn: ArchiveTurn, source: Source, day: date, hot: Contents, now: datetime) -> list[ArchiveFile]:
        """Copy the events of one source and day that are not in the archive yet."""
        known = turn.files(day, source)
        if total(file.contents for file in known) == hot:
            return []
        with tempfile.TemporaryDirectory(prefix="helios-archive-") as folder:
            files = self.files.write(source, day, known, Path(folder))
            self.store(turn, files, now=now)
        return [file.entry for file in files]

    def _is_listed(self, file: ArchiveFile) -> bool:
        """Whether the manifest still lists a file as readable."""
        until = file.last_received_at + timedelta(microseconds=1)
        return file in self.manifest.files(FileFilter(source=file.source, since=file.first_received_at, until=until))

    def _difference(self, file: ArchiveFile, copy: Path) -> str | None:
        """In what a file in the object store differs from the manifest; None if it does not."""
        sha256 = self.objects.fetch(file.path, copy)
        if sha256 is None:
            return "is missing"
        stored = self.files.contents(copy)
        if stored is None:
            return "can't be read: its bytes have changed"
        if stored.rows != file.contents.rows:
            return f"has {stored.rows} events instead of {file.contents.rows}"
        if stored != file.contents:
            return "has other events than those that were written"
        return None if sha256 == file.sha256 else "has the right events in other bytes"
