"""Topics, subscriptions and unacknowledged messages on disk, so that the end of the process loses nothing.

Pub/Sub is durable, so its emulator is too: a publish is answered after its messages are written down, and what was
not acknowledged when the process ended, even by kill -9, is delivered by the next one. Nothing is flushed to the disk
itself: a power cut may lose messages, which a machine for development can bear.
"""

import errno
import logging
from collections.abc import Iterable, Iterator
from io import FileIO
from pathlib import Path

import msgspec

from local.pubsub.subscription import Message

log = logging.getLogger("helios.local.pubsub")

COMPACT_RECORDS = 50_000
"""A journal is rewritten when it has so many records more than there is to tell."""


class TopicMade(msgspec.Struct, tag="topic", array_like=True):
    """A topic as it is now (a ``google.pubsub.v1.Topic`` on the wire)."""

    name: str
    wire: bytes


class TopicGone(msgspec.Struct, tag="no-topic", array_like=True):
    """A topic was deleted."""

    name: str


class SubscriptionMade(msgspec.Struct, tag="subscription", array_like=True):
    """A subscription as it is now (a ``google.pubsub.v1.Subscription`` on the wire)."""

    name: str
    wire: bytes


class SubscriptionGone(msgspec.Struct, tag="no-subscription", array_like=True):
    """A subscription was deleted."""

    name: str


class Owed(msgspec.Struct, tag="owed", array_like=True):
    """A subscription owes its subscriber a message."""

    subscription: str
    message: Message


class Settled(msgspec.Struct, tag="settled", array_like=True):
    """It was acknowledged, or given up."""

    subscription: str
    message_id: str


class Numbered(msgspec.Struct, tag="numbered", array_like=True):
    """Message ids up to this one have been given."""

    last: int


Record = TopicMade | TopicGone | SubscriptionMade | SubscriptionGone | Owed | Settled | Numbered

_decoder = msgspec.json.Decoder(Record)
_encoder = msgspec.json.Encoder()


class Recovered(msgspec.Struct, frozen=True):
    """What a journal amounts to; topics and subscriptions on the wire, by name."""

    last_id: int
    topics: dict[str, bytes]
    subscriptions: dict[str, bytes]
    owed: dict[str, dict[str, Message]]


def recover(written: Iterable[Record]) -> Recovered:
    """Apply the records of a journal, one after the other."""
    last_id = 0
    topics: dict[str, bytes] = {}
    subscriptions: dict[str, bytes] = {}
    owed: dict[str, dict[str, Message]] = {}
    for record in written:
        match record:
            case TopicMade(name, wire):
                topics[name] = wire
            case TopicGone(name):
                topics.pop(name, None)
            case SubscriptionMade(name, wire):
                subscriptions[name] = wire
            case SubscriptionGone(name):
                subscriptions.pop(name, None)
                owed.pop(name, None)
            case Owed(name, message):
                owed.setdefault(name, {})[message.id] = message
            case Settled(name, message_id):
                owed.get(name, {}).pop(message_id, None)
            case Numbered(last):
                last_id = last
    return Recovered(last_id, topics, subscriptions, owed)


class Journal:
    """An append-only file of records, a line each."""

    def __init__(self, path: Path) -> None:
        """Name the file; ``replay`` reads it, and must come before the first ``write``."""
        self._path = path
        self._records = 0
        self._file: FileIO | None = None
        self.unreadable = 0
        """How many lines ``replay`` left out."""

    def replay(self) -> Iterator[Record]:
        """What an earlier process wrote, in order; a last line that was cut off by its end is left out, and logged."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            for line in file:
                try:
                    yield _decoder.decode(line)
                except msgspec.MsgspecError as error:
                    self.unreadable += 1
                    log.warning("journal line left out", extra={"error": str(error), "bytes": len(line)})

    def rewrite(self, records: Iterator[Record]) -> None:
        """Begin the file anew with these records, and stay open for more."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        file = FileIO(fresh, "a")
        try:
            self._append(file, records)
        except OSError:
            file.close()  # the one in use is still whole
            raise
        fresh.replace(self._path)
        self.close()
        self._file = file
        self._records = 0

    def write(self, *records: Record) -> None:
        """Append; what is written survives the process."""
        if self._file is None:
            raise ValueError("the journal is not open: rewrite comes first")
        if records:
            self._append(self._file, records)
            self._records += len(records)

    def _append(self, file: FileIO, records: Iterable[Record]) -> None:
        content = b"".join(_encoder.encode(record) + b"\n" for record in records)
        end = file.tell()
        if file.write(content) != len(content):
            file.truncate(end)  # half a line would spoil the next one
            raise OSError(errno.ENOSPC, "the disk is full", str(self._path))

    @property
    def grown(self) -> bool:
        """Whether it is time to rewrite it."""
        return self._records > COMPACT_RECORDS

    def close(self) -> None:
        """Close the file."""
        if self._file:
            self._file.close()
            self._file = None
