"""The facts Helios deals in: a delivery as it arrived, and the event it carried."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Literal, get_args

import msgspec

Source = Literal["aws", "gcp", "azure"]
SOURCES: tuple[Source, ...] = get_args(Source)

Channel = Literal["eventbridge", "pubsub", "eventgrid", "cloudevents"]
"""The sender's contract: which words a delivery is written in."""

SourceOrUnknown = Source | Literal["unknown"]
"""Whom the ledger counts for: a CloudEvent that can't be read may come from any cloud."""

Key = tuple[Source, str]
"""An event's identity, ``(source, id)``: two clouds may use the same id for different events."""

MAX_ID_CHARS = 512
"""Longest ``id``, ``order_id`` and ``customer_id``: four bytes a character still fit a btree entry (2704 bytes)."""
MAX_NAME_CHARS = 256
"""Longest ``type``."""
MAX_TEXT_CHARS = 2048
"""Longest ``subject`` and ``origin``."""


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Why an edge could not take a delivery as it came; the words of ``Rejected``."""

    reason: str
    field: str
    status: int


class Delivery(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One event as one cloud handed it over, not yet understood.

    A request that carries several events is several deliveries: see ``normalise.split``.

    Attributes:
        channel: which contract the body follows.
        body: the bytes as received.
        headers: lower-case names; only those that the contract reads.
        received_at: when Helios got hold of it, UTC.
        fault: set when the edge already knows that it can't be read: too large, say.
    """

    channel: Channel
    body: bytes
    received_at: datetime
    headers: Mapping[str, str] = {}
    fault: Fault | None = None


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What happened, in CloudEvents' words (CloudEvents 1.0, "Context Attributes") and ours.

    Attributes:
        source: the cloud it happened on.
        id: the sender's id, unique within the source.
        type: as the sender spells it: ``OrderPlaced``.
        subject: what it is about, if the sender says.
        time: when it happened *there*, never when we heard of it.
        received_at: when Helios received it.
        origin: where on that cloud: EventBridge source/account/region, Pub/Sub topic, Event Grid topic.
        data: the payload's JSON text, byte for byte as it was sent.
        order_id: taken from the payload.
        customer_id: taken from the payload.
        amount: taken from the payload; exact, never through a float.
        digest: 16 hex digits over type, subject, time and data: equal digests mean equal content.
    """

    source: Source
    id: str
    type: str
    subject: str | None = None
    time: datetime
    received_at: datetime
    origin: str
    data: msgspec.Raw
    order_id: str | None = None
    customer_id: str | None = None
    amount: Decimal | None = None
    digest: str

    @property
    def key(self) -> Key:
        """The identity by which deliveries of one fact are recognised."""
        return (self.source, self.id)


Status = Literal["stored", "duplicate", "contradictory", "rejected"]
STATUSES: tuple[Status, ...] = get_args(Status)


class Outcome(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What became of one delivery.

    Attributes:
        status: ``stored``: new. ``duplicate``: already stored, same content. ``contradictory``: already stored
            with other content, and kept as a dead letter. ``rejected``: not understood, kept as a dead letter.
        event: what the delivery said; None when rejected.
        reason: why it is contradictory or rejected.
        field: where the reason lies, in the sender's spelling.
        http_status: the status a webhook answers a rejection with.
    """

    status: Status
    event: Event | None = None
    reason: str | None = None
    field: str | None = None
    http_status: int = 400


class EventFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which events; None means any. ``since`` and ``until`` bound ``received_at``: since <= it < until."""

    source: Source | None = None
    type: str | None = None
    order_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
