"""Records on disk, so that the end of an emulator's process loses nothing that it has acknowledged.

Pub/Sub and Event Grid are durable, so their emulators are too: what was not settled when the process ended, even by
kill -9, is delivered by the next one. Nothing is flushed to the disk itself: a power cut may lose records, which a
machine for development can bear.
"""

import errno
import logging
from collections.abc import Iterable, Iterator
from io import FileIO
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

log = logging.getLogger("helios.local")

Record = TypeVar("Record", bound=msgspec.Struct)

_COMPACT_BYTES = 4 * 1_048_576
"""Smaller files are left alone."""
_COMPACT_RATIO = 4
"""A larger one is rewritten when it is this many times what it was when it was new."""

_encode = msgspec.json.Encoder().encode


class Journal(Generic[Record]):
    """An append-only file of records, a line of JSON each.

    Attributes:
        unreadable: how many lines ``replay`` left out: what they said is lost.
    """

    def __init__(self, path: Path, decoder: msgspec.json.Decoder[Record]) -> None:
        """Name the file; ``replay`` reads it, and ``rewrite`` must come before the first ``write``."""
        self._path = path
        self._decoder = decoder
        self._file: FileIO | None = None
        self._size = self._size_at_first = 0
        self.unreadable = 0

    @property
    def outgrown(self) -> bool:
        """Whether it is time to rewrite it: most of it tells what is over."""
        return self._size > max(_COMPACT_BYTES, _COMPACT_RATIO * self._size_at_first)

    def replay(self) -> Iterator[Record]:
        """What an earlier process wrote, in order; a last line that was cut off by its end is left out, and logged."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            for line in file:
                try:
                    yield self._decoder.decode(line)
                except msgspec.MsgspecError as error:
                    self.unreadable += 1
                    facts = {"journal": self._path.name, "error": str(error), "bytes": len(line)}
                    log.error("journal line left out: what it said is lost", extra=facts)

    def rewrite(self, records: Iterable[Record]) -> None:
        """Begin the file anew with these records, and stay open for more."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        file = FileIO(fresh, "a")
        try:
            size = self._append(file, records)
        except OSError:
            file.close()  # the one in use is still whole
            raise
        fresh.replace(self._path)
        self.close()
        self._file = file
        self._size = self._size_at_first = size

    def write(self, *records: Record) -> None:
        """Append; what is written survives the process."""
        if self._file is None:
            raise ValueError("the journal is not open: rewrite comes first")
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
            file.truncate(end)  # half a line would spoil the next one
            raise OSError(errno.ENOSPC, "the disk is full", str(self._path))
        return end + len(content)
