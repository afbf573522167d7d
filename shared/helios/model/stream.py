"""The stream: frames, their positions, and the consumers that follow them."""

import math
from datetime import datetime
from decimal import Decimal

import msgspec

from helios.model.counts import Count
from helios.model.events import Event, Key
from helios.model.flows import FlowStatus, IssueKind
from helios.model.sources import Source

MAX_FRAME_EVENTS = 100
"""Maximum number of events that a frame shows; its counts are exact all the same."""

MAX_FRAME_FLOWS = 50
"""Maximum number of flow instances that a frame shows: more would exceed a message, and be slow to store."""


class EventSummary(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One line of the live feed: an event without its payload."""

    source: Source
    producer: str
    id: str
    type: str
    subject: str | None
    time: datetime
    received_at: datetime
    order_id: str | None
    customer_id: str | None
    amount: Decimal | None


class FlowChange(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The change of a flow instance by a batch or a sweep.

    Attributes:
        status: the verdict now.
        previous: the verdict before; None for a new instance.
        issues: the kinds of the issues now.
    """

    flow: str
    key: str
    status: FlowStatus
    previous: FlowStatus | None
    issues: list[IssueKind]
    amount: Decimal | None
    opened_at: datetime


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """What one batch changed. Counts are exact; events and flows are limited to MAX_FRAME_EVENTS and MAX_FRAME_FLOWS.

    Attributes:
        counts: deliveries by outcome.
        events: the last events that were stored.
        flows: the last flow instances whose verdict or issues changed.
        flow_statuses: by flow, how many more or fewer instances have each verdict than before.
        replay: the replay job that sends these events again; the frame then has no counts and no changes.
    """

    counts: list[Count]
    events: list[EventSummary]
    flows: list[FlowChange] = []
    flow_statuses: dict[str, dict[FlowStatus, int]] = {}
    replay: int | None = None


class StreamFrame(Frame, frozen=True, kw_only=True):
    """A frame with its position in the stream.

    Attributes:
        position: one more than the position of the previous frame.
        published_at: when its batch was stored, UTC.
    """

    position: int
    published_at: datetime


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="hello"):
    """The first message of a WebSocket, and one after each reset of the stream.

    Attributes:
        position: the latest position. Below the client's own, the stream was reset: the client starts from here.
    """

    position: int


class NewFrames(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="frames"):
    """New frames.

    Attributes:
        frames: in the order of their positions. A relay that was restarted sends some again.
    """

    frames: list[StreamFrame]


class Reached(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="position"):
    """The stream has frames that exceed a message, or that this client's token may not see whole.

    Attributes:
        position: the latest position; ``/api/v1/frames`` has the frames up to it.
    """

    position: int


class Pong(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="pong"):
    """The answer to a ``Ping``.

    Attributes:
        position: the latest position.
    """

    position: int


class Ping(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="ping"):
    """A client's question whether the connection still works."""


Message = Hello | NewFrames | Reached | Pong
"""What a WebSocket sends to its client."""


class StreamEvents(msgspec.Struct, frozen=True, kw_only=True):
    """The events that one batch stored.

    Attributes:
        position: the position of its frame.
        events: every event that the batch stored, in no particular order; empty if all were duplicates.
    """

    position: int
    events: list[Event]


class Parked(msgspec.Struct, frozen=True, kw_only=True):
    """An event that the target of a consumer refused permanently.

    Attributes:
        key: the key of the event.
        reason: the reason that the target gave.
    """

    key: Key
    reason: str


class Consumer(msgspec.Struct, frozen=True, kw_only=True):
    """The progress of one consumer of the stream.

    Attributes:
        name: the name under which its offset is stored.
        behind: the number of frames that it has not processed.
        waiting_since: when the oldest of these frames that is still stored was published; None when there is none.
        seen_at: when it last held its offset; None: never.
        parked: the number of events that its target refused permanently.
    """

    name: str
    behind: int
    waiting_since: datetime | None
    seen_at: datetime | None
    parked: int

    def wait_seconds(self, now: datetime) -> float:
        """Seconds for which the oldest unprocessed frame has waited."""
        return max(0.0, (now - self.waiting_since).total_seconds()) if self.waiting_since else 0.0

    def silent_seconds(self, now: datetime) -> float:
        """Seconds since the consumer last held its offset."""
        return max(0.0, (now - self.seen_at).total_seconds()) if self.seen_at else math.inf


class StreamWindow(msgspec.Struct, frozen=True, kw_only=True):
    """The part of the stream that is still stored.

    Attributes:
        oldest: the first position that is still stored; None when there is none.
        position: the latest position.
    """

    oldest: int | None
    position: int
