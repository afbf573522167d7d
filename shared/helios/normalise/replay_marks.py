"""The mark of an event that Helios itself has replayed, in the form of each channel."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from helios.errors import UNREADABLE, Rejected
from helios.model.events import Delivery, Event
from helios.normalise.fields import Id, Text

EXTENSION = "heliosreplay"
"""The CloudEvents extension attribute that names the job; ``ce-heliosreplay`` as a header or Pub/Sub attribute."""

ATTRIBUTE = f"ce-{EXTENSION}"

PREFIX = f"{EXTENSION}:"
"""The prefix of the mark among an EventBridge event's resources, and in an Event Grid event's dataVersion. The original
attributes follow as JSON: EventBridge replaces the id, Event Grid the topic, and both schemas require a time."""

_WORD = EXTENSION.encode()


class Original(msgspec.Struct, frozen=True, kw_only=True):
    """The original attributes of an event replayed to EventBridge or Event Grid: what follows PREFIX in the mark."""

    job: int
    producer: Text
    id: Id
    time: Annotated[datetime, Meta(tz=True)] | None = None
    subject: Text | None = None
    attributes: dict[str, str] = {}


class _Message(msgspec.Struct, frozen=True):
    attributes: dict[str, str] = {}


class _Carrier(msgspec.Struct):
    """Every place in a body that can hold a mark."""

    heliosreplay: str = ""
    dataVersion: str = ""  # noqa: N815 - Microsoft's spelling
    resources: list[str] = []
    message: _Message = _Message()


class _CloudEvent(msgspec.Struct):
    data: msgspec.Raw

    def inner(self) -> bytes:
        return bytes(self.data)


class _Notification(msgspec.Struct):
    message: str = msgspec.field(name="Message")

    def inner(self) -> bytes:
        return self.message.encode()


_carrier = msgspec.json.Decoder(_Carrier)
_cloudevent = msgspec.json.Decoder(_CloudEvent)
_notification = msgspec.json.Decoder(_Notification)
_original = msgspec.json.Decoder(Original)


def is_replay(delivery: Delivery) -> bool:
    """Whether a delivery is marked as a replay. Every authorised sender can set the mark: it proves nothing else."""
    if ATTRIBUTE in delivery.headers:
        return True
    if _WORD not in delivery.body:
        return False
    return _is_marked(delivery.body) or any(map(_is_marked, _within(delivery.body)))


def mark(job: int, event: Event) -> str:
    """The mark of an event that a job replays to EventBridge or Event Grid."""
    time = None if event.time == event.received_at else event.time  # None: the sender never set it
    original = Original(
        job=job,
        producer=event.producer,
        id=event.id,
        time=time,
        subject=event.subject,
        attributes=dict(event.attributes),
    )
    return PREFIX + msgspec.json.encode(original).decode()


def original(text: bytes) -> Original | None:
    """The original attributes of an EventBridge or Event Grid event that Helios has replayed; None for any other event.

    Raises:
        Rejected: the event has a mark that can't be read.
    """
    if _WORD not in text or (carrier := _carried(text)) is None:
        return None
    marks = (text for text in [*carrier.resources, carrier.dataVersion] if text.startswith(PREFIX))
    if (found := next(marks, None)) is None:
        return None
    try:
        return _original.decode(found.removeprefix(PREFIX))
    except UNREADABLE as error:
        field = "dataVersion" if carrier.dataVersion == found else "resources"
        raise Rejected(f"contains an invalid replay mark: {error}", field=field) from error


def _carried(body: bytes) -> _Carrier | None:
    try:
        return _carrier.decode(body)
    except UNREADABLE:
        return None


def _is_marked(body: bytes) -> bool:
    carrier = _carried(body)
    return carrier is not None and (
        bool(carrier.heliosreplay)
        or any(text.startswith(PREFIX) for text in [*carrier.resources, carrier.dataVersion])
        or ATTRIBUTE in carrier.message.attributes
    )


def _within(body: bytes) -> Iterator[bytes]:
    """The Pub/Sub push in the data of a CloudEvent, and the event in the message of an SNS notification."""
    for decoder in (_cloudevent, _notification):
        with suppress(*UNREADABLE):
            yield decoder.decode(body).inner()
