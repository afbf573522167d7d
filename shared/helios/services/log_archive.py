"""Copies the events of the log to the archive, for a Helios whose Postgres stores none.

Files are named by partitions and offsets. The offsets move in the transaction that makes the files readable, so each
event of the log is in one readable file, however often the process is killed. What it had written before is listed and
unreadable, and the next run removes it.
"""

import hashlib
import logging
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

from helios.errors import DEFECTS, Retryable
from helios.messages import decode_event
from helios.model.archive import LocalFile, total
from helios.model.events import Event
from helios.model.sources import Source
from helios.ports.archive import ArchiveFormat, ArchiveTurn
from helios.ports.log import LogMessage, LogReader, Partition, Progress
from helios.services.archive import INCOMPLETE, Archive, ArchiveBusyError
from helios.services.offsets import progress_of

log = logging.getLogger("helios.archive")

MAX_BYTES: Final = 64_000_000
"""The messages in memory before files are written."""

READ_LIMIT: Final = 5_000
READ_SECONDS: Final = 0.5

SMALL_BYTES: Final = 16_000_000
"""A smaller file is merged with others of its source and day."""

MERGED_FILES: Final = 30
"""How many small files of a day that is not over are merged: a reader opens each file."""

GRACE: Final = timedelta(hours=1)
"""How long after the end of a day all its small files are merged."""

FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 15.0


class LogArchive:
    """Writes files of the events of the log."""

    def __init__(self, archive: Archive, files: ArchiveFormat, *, seconds: float) -> None:
        """Take the archive.

        Args:
            archive: lists and stores files.
            files: writes them.
            seconds: how long events wait in memory for further ones, at most.
        """
        self._archive = archive
        self._files = files
        self._seconds = seconds

    def follow(
        self,
        open_reader: Callable[[], LogReader],
        stopping: threading.Event,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Copy until ``stopping`` is set, and retry while the log, the store or the archive can't be reached.

        After a failure a new reader begins where the store says.
        """
        pause = FIRST_PAUSE_SECONDS
        while not stopping.is_set():
            try:
                with closing(open_reader()) as reader:
                    while not stopping.is_set():
                        self.copy(reader, stopping, clock)
                        pause = FIRST_PAUSE_SECONDS
            except (Retryable, ArchiveBusyError) as error:
                log.warning("retrying later", extra={"error": str(error), "pause_s": pause})
                stopping.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def copy(self, reader: LogReader, stopping: threading.Event, clock: Callable[[], datetime]) -> int:
        """Collect messages, archive them, and return the number of events.

        Raises:
            ConflictError: another process has read the same partition, or the projector has not begun to leave its
                events to the archive. Nothing was archived twice.
            Retryable: the log, the store or the archive can't be reached.
            ArchiveBusyError: another process changes the archive.
        """
        messages = self._collect(reader, stopping)
        events, now = _events(messages), clock()
        progress = progress_of(messages, reader.passed(), reader)
        with self._archive.own_turn() as turn, tempfile.TemporaryDirectory(prefix="helios-archive-") as folder:
            self._archive.remove_unreadable(turn)
            known = turn.known([event.key for event in events])
            files = self._write([event for event in events if event.key not in known], _name(progress), Path(folder))
            if progress:
                self._archive.store(turn, files, read=progress, now=now)
                reader.commit(progress)
                log.info("archived", extra={"files": len(files), "rows": len(events) - len(known)})
            self._merge(turn, Path(folder), now)
            turn.succeed(now)
        return len(events)

    def _collect(self, reader: LogReader, stopping: threading.Event) -> list[LogMessage]:
        """The next messages, each once: after a rebalance, a reader gives those again that are not archived."""
        messages: dict[tuple[str, int, int], LogMessage] = {}
        size, until = 0, time.monotonic() + self._seconds
        while size < MAX_BYTES and time.monotonic() < until and not stopping.is_set():
            for message in reader.read(limit=READ_LIMIT, seconds=READ_SECONDS):
                messages[message.topic, message.partition, message.offset] = message
                size += len(message.value or b"")
        return [messages[place] for place in sorted(messages)]

    def _write(self, events: Sequence[Event], name: str, folder: Path) -> list[LocalFile]:
        """Write a file for each source and UTC day of receipt."""
        parts: defaultdict[tuple[Source, date], list[Event]] = defaultdict(list)
        for event in events:
            parts[event.source, event.received_at.date()].append(event)
        files: list[LocalFile] = []
        for (source, day), part in sorted(parts.items(), key=lambda item: item[0]):
            own = folder / f"{source}-{day}"
            own.mkdir()
            files += self._files.write_events(source, day, part, name, own)
        return files

    def _merge(self, turn: ArchiveTurn, folder: Path, now: datetime) -> None:
        """Replace the small files of one source and day by one."""
        over_before = (now - GRACE).date()
        small = turn.mergeable(bytes_below=SMALL_BYTES, over_before=over_before, number=MERGED_FILES)
        if not small:
            return
        own = folder / "merged"
        own.mkdir()
        merged = self._files.merge(small, own)
        if total(file.entry.contents for file in merged) != self._files.distinct_contents(small):
            raise Retryable(f"Archive: the merged file of {small[0].source} {small[0].day} {INCOMPLETE}")
        self._archive.store(turn, merged, replaced=[file.path for file in small], now=now)
        self._archive.remove_unreadable(turn)
        log.info("merged", extra={"files": len(small), "day": str(small[0].day), "source": small[0].source})


def _events(messages: Sequence[LogMessage]) -> list[Event]:
    """The events in messages. The projector makes a dead letter of one that can't be read."""
    events: list[Event] = []
    for message in messages:
        if message.value is None:
            continue
        try:
            events.append(decode_event(message.value))
        except DEFECTS as error:
            place = {"topic": message.topic, "partition": message.partition, "offset": message.offset}
            log.warning("a message is no event", extra=place | {"error": str(error)})
    return events


def _name(progress: Mapping[Partition, Progress]) -> str:
    """The name of the files of these offsets, 32 hex digits: a run that reads them again writes the same files."""
    places = [f"{topic}/{number}/{since}-{until}" for (topic, number), (since, until) in sorted(progress.items())]
    return hashlib.sha256("\n".join(places).encode()).hexdigest()[:32]
