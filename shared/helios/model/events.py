"""Deliveries as they arrive, the events that they carry, and what becomes of each delivery."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Literal, get_args

import msgspec

from helios.model.access import EventLimits
from helios.model.sources import Source, SourceDeclaration, SourceName
from helios.model.traces import Trace

Channel = Literal["eventbridge", "pubsub", "eventgrid", "cloudevents", "webhook"]
"""The way by which a delivery arrives, which determines the format of its body."""

Key = tuple[Source, str, str]
"""An event's identity, ``(source, producer, id)``: two producers may use the same id for different events (CloudEvents
1.0, "id": producers must ensure that source and id are unique together)."""

MAX_ID_CHARS = 512
"""Maximum length of ``id``, ``order_id`` and ``customer_id``: with four bytes per character they still fit a btree
entry (2704 bytes)."""
MAX_NAME_CHARS = 256
"""Maximum length of ``type``."""
MAX_TEXT_CHARS = 2048
"""Maximum length of ``subject`` and ``producer``."""


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Why a delivery can't become an event; the fields are those of ``Rejected``.

    What lives as long as a delivery has this, and not the error itself: the traceback of an error refers to the frames
    of all its callers, and so to the whole batch.
    """

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
        declaration: the declared source that proved to have sent it; None for the channels of the clouds.
        traceparent: the trace context of the webhook's request (W3C Trace Context); empty if it has none. No signature
            covers it, so it is only a link of the batch's span, and no attribute of the event.
    """

    channel: Channel
    body: bytes
    received_at: datetime
    headers: Mapping[str, str] = {}
    fault: Fault | None = None
    declaration: SourceDeclaration | None = None
    traceparent: str = ""

    @property
    def entry_point(self) -> str:
        """The channel, and the declared source, as metrics name them."""
        return entry_point(self.channel, self.declaration)


def entry_point(channel: Channel, declaration: SourceDeclaration | None) -> str:
    """The name of an endpoint in metrics: ``pubsub``, or ``webhook/stripe`` for a declared source."""
    return f"webhook/{declaration.name}" if declaration else channel


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A fact that a source reported, with the attributes of CloudEvents 1.0 ("Context Attributes") and some of Helios.

    Attributes:
        source: the cloud in which it happened, or the declared source.
        producer: the producer within that source, for which ``id`` is unique: the ``source`` of a CloudEvent,
            EventBridge's source/account/region, the topic of Event Grid, the project of a Pub/Sub message.
        id: the id that the producer or the cloud assigned.
        type: the type in the sender's spelling: ``OrderPlaced``.
        subject: the subject, if the sender names one.
        time: when it happened in the cloud, not when Helios received it.
        received_at: when Helios received it.
        data: the JSON text of the payload, byte for byte as it was sent.
        attributes: what the sender or the cloud sent beside the payload, under its own names: Pub/Sub attributes,
            CloudEvents extensions, EventBridge resources. They are no part of the content.
        order_id: read from the payload.
        customer_id: read from the payload.
        amount: read from the payload; exact, never converted to a float.
        digest: 16 hex digits over type, subject, time and data: equal digests mean equal content.
        archived: true if the event was read from the archive, because Postgres no longer has it; otherwise absent.
        trace: the trace in which it was sent, read from its attributes by the API; absent if they name none.
    """

    source: Source
    producer: str
    id: str
    type: str
    subject: str | None = None
    time: datetime
    received_at: datetime
    data: msgspec.Raw
    attributes: Mapping[str, str] = {}
    order_id: str | None = None
    customer_id: str | None = None
    amount: Decimal | None = None
    digest: str
    archived: bool | msgspec.UnsetType = msgspec.UNSET
    trace: Trace | msgspec.UnsetType = msgspec.UNSET

    @property
    def key(self) -> Key:
        """The identity of the event: deliveries with the same key are deliveries of one event."""
        return (self.source, self.producer, self.id)


ERASED = "erased"
"""The digest of an event that was erased: every delivery of its identity is a duplicate, whatever its content."""

Status = Literal["stored", "duplicate", "contradictory", "rejected", "accepted"]
STATUSES: tuple[Status, ...] = get_args(Status)


class Outcome(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What became of one delivery.

    Attributes:
        status: ``stored``: new. ``duplicate``: already stored with the same content. ``contradictory``: already stored
            with different content; the delivery becomes a dead letter. ``rejected``: can't be read; the delivery
            becomes a dead letter. ``accepted``: in the log, where another engine decides between the first three.
        event: the event in the delivery; None if the delivery can't be read.
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
    """Which events; None means any. ``since`` and ``until`` limit ``received_at``: since <= received_at < until.

    An event has all of the ``attributes``, each with exactly this value.

    Attributes:
        limits: which events the caller may see.
    """

    source: SourceName | None = None
    type: str | None = None
    order_id: str | None = None
    attributes: Mapping[str, str] | None = None
    since: datetime | None = None
    until: datetime | None = None
    limits: EventLimits = EventLimits()
