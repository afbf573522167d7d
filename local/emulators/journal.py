"""Records on disk, so that an emulator's process loses no acknowledged data when it ends.

Pub/Sub and Event Grid are durable, so their emulators are too: the next process delivers the messages that were pending
when the last one ended, even by kill -9. Records are not flushed to the disk itself: a power cut may lose some, which
is acceptable on a development machine.
"""

import errno
import logging
from collections.abc import Iterable, Iterator
from io import FileIO
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from helios.processes.private import private_opener

log = logging.getLogger("helios.local")

Record = TypeVar("Record", bound=msgspec.Struct)

_COMPACT_BYTES = 4 * 1_048_576
"""Smaller files are not rewritten."""
_COMPACT_RATIO = 4
"""A larger file is rewritten when it is this many times its size after the last rewrite."""

_encode = msgspec.json.Encoder().encode


class Journal(Generic[Record]):
    """An append-only file of records, one line of JSON each.

    Attributes:
        unreadable: how many lines ``replay`` skipped; their content is lost.
    """

    def __init__(self, path: Path, decoder: msgspec.json.Decoder[Record]) -> None:
        """Set the file; ``replay`` reads it, and ``rewrite`` must be called before the first ``write``."""
        self._path = path
        self._decoder = decoder
        self._file: FileIO | None = None
        self._size = self._size_at_first = 0
        self.unreadable = 0

    @property
    def outgrown(self) -> bool:
        """Whether the file should be rewritten, as most of its records are obsolete."""
        return self._size > max(_COMPACT_BYTES, _COMPACT_RATIO * self._size_at_first)

    def replay(self) -> Iterator[Record]:
        """The records of an earlier process, in order. Unreadable lines are logged and skipped."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            for line in file:
                try:
                    yield self._decoder.decode(line)
                except msgspec.MsgspecError as error:
                    self.unreadable += 1
                    facts = {"journal": self._path.name, "error": str(error), "bytes": len(line)}
                    log.error("journal line skipped; its content is lost", extra=facts)

    def rewrite(self, records: Iterable[Record]) -> None:
        """Replace the file by one with these records, and leave it open for more."""
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = self._path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        file = FileIO(fresh, "a", opener=private_opener)  # its records have the payloads
        try:
            size = self._append(file, records)
        except OSError:
            file.close()  # the current file is still complete
            raise
        fresh.replace(self._path)
        self.close()
        self._file = file
        self._size = self._size_at_first = size

    def write(self, *records: Record) -> None:
        """Append records; once this returns, they survive the process."""
        if self._file is None:
            raise ValueError("the journal is not open; call rewrite first")
        if records:
            self._size = self._append(self._file, records)

    def close(self) -> None:
        """Close the file."""
        if self._file:
            self._file.close()
            self._file = None

    def _append(self, file: FileIO, records: Iterable[Record]) -> int:
        content = b"".join(_encode(record) + b"\n" for record in records)
        end = file.tell()
        if file.write(content) != len(content):
            file.truncate(end)  # a partial line would corrupt the next one
            raise OSError(errno.ENOSPC, "the disk is full", str(self._path))
        return end + len(content)
