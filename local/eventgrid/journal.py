"""What one subscription still owes its endpoint, kept on disk, so that the end of the process loses nothing.

Event Grid is durable, so its emulator is too: an accepted event is written down before the publisher is answered, and
whatever is not settled when the process ends, even by kill -9, is delivered by the next one. Nothing is flushed to
the disk itself: a power cut may lose events, which a machine for development can bear.
"""

import errno
import os
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

_LENGTH = struct.Struct(">I")
_COMPACT_BYTES = 4 * 1_048_576
"""Smaller files are left alone."""
_COMPACT_RATIO = 4
"""A file is rewritten when it is this many times what is owed."""


class Owed(msgspec.Struct, frozen=True, array_like=True):
    """One accepted event.

    Attributes:
        number: its place in this journal; grows.
        published: when it was accepted, in seconds since the epoch.
        event: its JSON, in the topic's schema.
    """

    number: int
    published: float
    event: bytes


class _Added(msgspec.Struct, tag=True, array_like=True):
    owed: list[Owed]


class _Settled(msgspec.Struct, tag=True, array_like=True):
    numbers: list[int]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Added | _Settled).decode


class Journal:
    """The journal of one subscription.

    Attributes:
        owed: by number, what is accepted and not settled, oldest first.
        damaged_bytes: how much at the end of the file could not be read when it was opened: events lost.
    """

    def __init__(self, path: Path) -> None:
        """Open a journal, and recover what an earlier process left in it."""
        self._path = path
        self.owed: dict[int, Owed] = {}
        self.damaged_bytes = 0
        self._next = 0
        self._owed_bytes = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            self._recover(path.read_bytes())
        self._file, self._size = self._rewritten()

    def add(self, events: Iterable[bytes], published: float) -> list[Owed]:
        """Write down accepted events; once this returns, they survive the process."""
        added = [Owed(number, published, event) for number, event in enumerate(events, self._next)]
        self._append(_Added(added))
        self._note(added)
        return added

    def settle(self, numbers: Sequence[int]) -> None:
        """Write down that these are delivered or given up."""
        self._append(_Settled(list(numbers)))
        self._forget(numbers)
        if self._size > _COMPACT_BYTES and self._size > _COMPACT_RATIO * self._owed_bytes:
            outgrown = self._file
            self._file, self._size = self._rewritten()
            os.close(outgrown)

    def close(self) -> None:
        """Let go of the file; what is owed stays in it."""
        os.close(self._file)

    def _recover(self, content: bytes) -> None:
        position = 0
        while position < len(content):
            start = position + _LENGTH.size
            end = start + _LENGTH.unpack_from(content, position)[0] if start <= len(content) else len(content) + 1
            if end > len(content):
                break  # the process died in mid-write: that publish was never answered
            try:
                record = _decode(content[start:end])
            except msgspec.DecodeError:
                break
            if isinstance(record, _Added):
                self._note(record.owed)
            else:
                self._forget(record.numbers)
            position = end
        self.damaged_bytes = len(content) - position

    def _note(self, added: Sequence[Owed]) -> None:
        self.owed |= {one.number: one for one in added}
        self._owed_bytes += sum(len(one.event) for one in added)
        self._next = max(self._next, *(one.number + 1 for one in added)) if added else self._next

    def _forget(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            if gone := self.owed.pop(number, None):
                self._owed_bytes -= len(gone.event)

    def _append(self, record: _Added | _Settled) -> None:
        content = _framed(record)
        written = os.write(self._file, content)
        if written < len(content):
            os.ftruncate(self._file, self._size)  # half a record would hide every later one
            raise OSError(errno.ENOSPC, "the disk is full", str(self._path))
        self._size += written

    def _rewritten(self) -> tuple[int, int]:
        """Replace the file by one that holds only what is owed; the open file and its size."""
        fresh = self._path.with_suffix(".new")
        file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        size = os.write(file, _framed(_Added(list(self.owed.values()))))
        fresh.replace(self._path)
        return file, size


def _framed(record: _Added | _Settled) -> bytes:
    content = _encode(record)
    return _LENGTH.pack(len(content)) + content
