"""What a batch leaves behind besides its events: counts, dead letters, and a frame for those who watch."""

import math
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Literal

import msgspec

from helios.event import Event, Key, LedgerSource, Source, WayIn
from helios.reconcile.rows import FlowStatus, IssueKind

MAX_DEAD_LETTER_BYTES = 262_144
"""How much of a dead letter's body is kept: all of any message that EventBridge or Event Grid delivers."""

MAX_FRAME_EVENTS = 100
"""How many events a frame shows; its counts are exact all the same."""
MAX_FRAME_FLOWS = 50
"""How many stories it shows: with more it would be longer than a message may be, and is dear to store."""

OTHER_TYPES = "*"
"""The type of a count that stands for several."""


class Count(msgspec.Struct, kw_only=True):
    """Deliveries of one type in one minute by what became of them; ``received`` is their sum.

    Attributes:
        minute: of ``received_at``, UTC.
        source: the cloud.
        type: the event type; empty when it could not be read, ``*`` for the rarest of a message with too many.
        stored: new events.
        duplicate: deliveries of events already stored.
        contradictory: deliveries that gave a stored event other content.
        rejected: deliveries that could not be read.
    """

    minute: datetime
    source: LedgerSource
    type: str
    stored: int = 0
    duplicate: int = 0
    contradictory: int = 0
    rejected: int = 0

    @property
    def received(self) -> int:
        """How many deliveries there were."""
        return self.stored + self.duplicate + self.contradictory + self.rejected

    def add(self, other: "Count") -> None:
        """Count those of the other as well."""
        self.stored += other.stored
        self.duplicate += other.duplicate
        self.contradictory += other.contradictory
        self.rejected += other.rejected


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery that did not become an event, kept with its reason.

    Attributes:
        fingerprint: 32 hex digits: the same delivery has the same one, so a poison message that is sent again
            stays one letter.
        source: the cloud whose way in it came through.
        way_in: which contract its body should have followed.
        status: why it is here.
        reason: what is wrong, in a sentence.
        field: where, in the sender's spelling.
        body: the bytes as received, the first MAX_DEAD_LETTER_BYTES of them.
        headers: those that the contract reads.
        received_at: when Helios received it (last), UTC.
        attempts: how often it was delivered.
    """

    fingerprint: str
    source: LedgerSource
    way_in: WayIn
    status: Literal["rejected", "contradictory"]
    reason: str
    field: str
    body: bytes
    headers: Mapping[str, str]
    received_at: datetime
    attempts: int


class EventSummary(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One line of the live feed: an event without its payload."""

    source: Source
    id: str
    type: str
    subject: str | None
    time: datetime
    received_at: datetime
    order_id: str | None
    customer_id: str | None
    amount: Decimal | None


class FlowChange(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one batch or sweep changed about a story.

    Attributes:
        status: the verdict now.
        previous: the verdict before; None for a story that has just begun.
        issues: the kinds of what is wrong now.
    """

    flow: str
    key: str
    status: FlowStatus
    previous: FlowStatus | None
    issues: list[IssueKind]
    amount: Decimal | None
    opened_at: datetime


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """What one batch changed: counts are exact, events and flows at most MAX_FRAME_EVENTS and MAX_FRAME_FLOWS of many.

    Attributes:
        counts: deliveries, by what became of them.
        events: the last that were stored.
        flows: the last stories whose verdict or issues have changed.
        flow_statuses: by flow, how many more or fewer stories have each verdict than before.
        replay: the replay job that shows these events once more; nothing happened, and nothing is counted.
    """

    counts: list[Count]
    events: list[EventSummary]
    flows: list[FlowChange] = []
    flow_statuses: dict[str, dict[FlowStatus, int]] = {}
    replay: int | None = None


class StreamFrame(Frame, frozen=True, kw_only=True):
    """A frame in its place.

    Attributes:
        position: one more than that of the frame before.
        published_at: when its batch was stored, UTC.
    """

    position: int
    published_at: datetime


class StreamEvents(msgspec.Struct, frozen=True, kw_only=True):
    """What one batch stored.

    Attributes:
        position: that of its frame.
        events: every event it stored, in no particular order; empty if all were duplicates.
    """

    position: int
    events: list[Event]


class Parked(msgspec.Struct, frozen=True, kw_only=True):
    """An event that a consumer of the stream was refused for good.

    Attributes:
        key: the event's.
        reason: what is wrong, in the words of who refused it.
    """

    key: Key
    reason: str


class Consumer(msgspec.Struct, frozen=True, kw_only=True):
    """How one consumer of the stream gets on.

    Attributes:
        name: under which its place is kept.
        behind: how many frames it has not dealt with.
        waiting_since: when the oldest of them that is still kept was published; None when there is none.
        seen_at: when it last had its turn; None: never.
        parked: how many events it was refused for good.
    """

    name: str
    behind: int
    waiting_since: datetime | None
    seen_at: datetime | None
    parked: int

    def waits(self, now: datetime) -> float:
        """Seconds for which the oldest frame has waited."""
        return max(0.0, (now - self.waiting_since).total_seconds()) if self.waiting_since else 0.0

    def silent(self, now: datetime) -> float:
        """Seconds since it last had its turn."""
        return max(0.0, (now - self.seen_at).total_seconds()) if self.seen_at else math.inf


class StreamWindow(msgspec.Struct, frozen=True, kw_only=True):
    """Which part of the stream can be had.

    Attributes:
        oldest: the first position that is still kept; None when there is none.
        position: the latest position given.
    """

    oldest: int | None
    position: int
