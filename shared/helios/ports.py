"""What the core asks of the world, as small promises; adapters keep them."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Literal, Protocol

import msgspec

from helios.event import Event, Key, Source, Status


class Seen(Protocol):
    """A fast, forgetful memory of stored keys. Only a hint: it may forget, it may be down, it may be wrong."""

    def recall(self, keys: Sequence[Key]) -> set[Key]:
        """Those of the keys that are remembered; none when the memory is down. Never raises."""

    def remember(self, keys: Collection[Key]) -> None:
        """Remember keys whose events are committed. Never raises."""


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """How many deliveries of one type had one outcome; ``type`` is empty when it could not be read."""

    source: Source
    type: str
    status: Status
    count: int


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery that could not become an event, kept with its reason.

    Attributes:
        source: the cloud whose way in it came through.
        way_in: which contract its body should have followed.
        status: ``rejected`` or ``contradictory``.
        reason: what is wrong, in a sentence.
        field: where, in the sender's spelling.
        body: the bytes as received, cut off at MAX_DEAD_LETTER_BYTES.
        headers: those that the contract reads.
        received_at: when Helios received it, UTC.
        fingerprint: the same delivery has the same one, so a poison message sent again is one letter.
    """

    source: Source
    way_in: str
    status: Literal["rejected", "contradictory"]
    reason: str
    field: str
    body: bytes
    headers: Mapping[str, str]
    received_at: datetime
    fingerprint: str


MAX_DEAD_LETTER_BYTES = 262_144
"""How much of a dead letter's body is kept: all of any message a cloud delivers in one piece."""


class EventSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the live feed: an event without its payload."""

    source: Source
    id: str
    type: str
    subject: str | None
    time: datetime
    received_at: datetime
    order_id: str | None
    customer_id: str | None
    amount: str | None


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """What one batch changed, for those who watch: counts are exact, events a sample of at most 100."""

    counts: list[Count]
    events: list[EventSummary]


MAX_FRAME_EVENTS = 100


class Transaction(Protocol):
    """One atomic write; leaving the block normally means that it is durable."""

    def insert(self, events: Sequence[Event]) -> set[Key]:
        """Store those that are new, and tell which. ``events`` are sorted by key and have no key twice."""

    def digests(self, keys: Collection[Key]) -> dict[Key, str]:
        """The content digest of every stored event among the keys."""

    def events(self, keys: Collection[Key]) -> dict[Key, Event]:
        """The stored events among the keys, whole."""

    def count(self, minute: datetime, counts: Sequence[Count]) -> None:
        """Add to the ledger of that minute."""

    def bury(self, letters: Sequence[DeadLetter]) -> None:
        """Keep dead letters; one whose fingerprint is known only raises that one's attempts."""

    def publish(self, frame: Frame) -> None:
        """Append a frame to the outbox."""


class EventStore(Protocol):
    """The one place that decides whether an event is new."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Begin a write.

        Raises:
            Retryable: the store can't be reached, or refused for a reason that will pass.
            Rejected: some value in the write can't be stored, whoever tries.
        """
