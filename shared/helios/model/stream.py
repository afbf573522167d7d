"""The stream: frames, their positions, and the consumers that follow them."""

import math
from datetime import datetime
from decimal import Decimal

import msgspec

from helios.model.counts import Count
from helios.model.events import Event, Key, Source
from helios.model.flows import FlowStatus, IssueKind

MAX_FRAME_EVENTS = 100
"""How many events a frame shows; its counts are exact all the same."""

MAX_FRAME_FLOWS = 50
"""How many stories it shows: with more it would be longer than a message may be, and is dear to store."""


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

    def wait_seconds(self, now: datetime) -> float:
        """Seconds for which the oldest frame has waited."""
        return max(0.0, (now - self.waiting_since).total_seconds()) if self.waiting_since else 0.0

    def silent_seconds(self, now: datetime) -> float:
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
