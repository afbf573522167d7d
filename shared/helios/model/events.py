"""Deliveries as they arrive, the events that they carry, and what becomes of each delivery."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Literal, get_args

import msgspec

Source = Literal["aws", "gcp", "azure"]
SOURCES: tuple[Source, ...] = get_args(Source)

Channel = Literal["eventbridge", "pubsub", "eventgrid", "cloudevents"]
"""The way by which a delivery arrives, which determines the format of its body."""

SourceOrUnknown = Source | Literal["unknown"]
"""The source of a count: a CloudEvent that can't be read may come from any cloud."""

Key = tuple[Source, str]
"""An event's identity, ``(source, id)``: two clouds may use the same id for different events."""

MAX_ID_CHARS = 512
"""Maximum length of ``id``, ``order_id`` and ``customer_id``: with four bytes per character they still fit a btree
entry (2704 bytes)."""
MAX_NAME_CHARS = 256
"""Maximum length of ``type``."""
MAX_TEXT_CHARS = 2048
"""Maximum length of ``subject`` and ``origin``."""


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Why an entry point rejects a delivery before it is read; the fields are those of ``Rejected``."""

    reason: str
    field: str
    status: int


class Delivery(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One event as a cloud delivered it, before it is read.

    A request with several events is several deliveries: see ``normalise.split``.

    Attributes:
        channel: the channel, which determines the format of the body.
        body: the bytes as received.
        headers: the headers that the channel reads, with lower-case names.
        received_at: when Helios received it, UTC.
        fault: set if the entry point already knows that the delivery can't be read, for example if it is too large.
    """

    channel: Channel
    body: bytes
    received_at: datetime
    headers: Mapping[str, str] = {}
    fault: Fault | None = None


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A fact that a cloud reported, with the attributes of CloudEvents 1.0 ("Context Attributes") and some of Helios.

    Attributes:
        source: the cloud in which it happened.
        id: the sender's id, unique within the source.
        type: the type in the sender's spelling: ``OrderPlaced``.
        subject: the subject, if the sender names one.
        time: when it happened in the cloud, not when Helios received it.
        received_at: when Helios received it.
        origin: where in that cloud: EventBridge source/account/region, Pub/Sub topic, Event Grid topic.
        data: the JSON text of the payload, byte for byte as it was sent.
        order_id: read from the payload.
        customer_id: read from the payload.
        amount: read from the payload; exact, never converted to a float.
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
        """The identity of the event: deliveries with the same key are deliveries of one event."""
        return (self.source, self.id)


Status = Literal["stored", "duplicate", "contradictory", "rejected"]
STATUSES: tuple[Status, ...] = get_args(Status)


class Outcome(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What became of one delivery.

    Attributes:
        status: ``stored``: new. ``duplicate``: already stored with the same content. ``contradictory``: already stored
            with different content; the delivery becomes a dead letter. ``rejected``: can't be read; the delivery
            becomes a dead letter.
        event: the event in the delivery; None if it was rejected.
        reason: why the delivery is contradictory or rejected.
        field: the field at fault, in the sender's spelling.
        http_status: the status with which a webhook answers a rejection.
    """

    status: Status
    event: Event | None = None
    reason: str | None = None
    field: str | None = None
    http_status: int = 400


class EventFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which events; None means any. ``since`` and ``until`` limit ``received_at``: since <= received_at < until."""

    source: Source | None = None
    type: str | None = None
    order_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
