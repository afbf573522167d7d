"""The mark of an event that Helios itself has replayed, in the form of each channel."""

from collections.abc import Iterator
from contextlib import suppress

import msgspec

from helios.errors import UNREADABLE, Rejected
from helios.model.events import Delivery
from helios.normalise.fields import Id, Text, Time

EXTENSION = "heliosreplay"
"""The CloudEvents extension attribute that names the job; ``ce-heliosreplay`` as a header or Pub/Sub attribute."""

ATTRIBUTE = f"ce-{EXTENSION}"

RESOURCE = f"{EXTENSION}:"
"""The prefix of the mark among an EventBridge event's resources. EventBridge gives each event a new id, and its
resources are the only place for the original attributes."""

NO_TIME = ";no-time"
"""The suffix of the mark of an Event Grid event without a time of its own: Event Grid's schema requires a time."""

_WORD = EXTENSION.encode()


class Original(msgspec.Struct, frozen=True, kw_only=True):
    """The original attributes of an event replayed to EventBridge; in the mark they are JSON after RESOURCE."""

    job: int
    id: Id
    time: Time | None = None
    subject: Text | None = None


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


def original(text: bytes) -> Original | None:
    """The original attributes of an EventBridge event that Helios has replayed; None for every other event.

    Raises:
        Rejected: the event has a mark that can't be read.
    """
    if _WORD not in text or (carrier := _carried(text)) is None:
        return None
    mark = next((resource for resource in carrier.resources if resource.startswith(RESOURCE)), None)
    try:
        return None if mark is None else _original.decode(mark.removeprefix(RESOURCE))
    except UNREADABLE as error:
        raise Rejected(f"contains an invalid replay mark: {error}", field="resources") from error


def had_no_time(text: bytes) -> bool:
    """Whether an Event Grid event had no time of its own before Helios replayed it."""
    return _WORD in text and (carrier := _carried(text)) is not None and carrier.dataVersion.endswith(NO_TIME)


def _carried(body: bytes) -> _Carrier | None:
    try:
        return _carrier.decode(body)
    except UNREADABLE:
        return None


def _is_marked(body: bytes) -> bool:
    carrier = _carried(body)
    return carrier is not None and (
        bool(carrier.heliosreplay)
        or carrier.dataVersion.startswith(RESOURCE)
        or any(resource.startswith(RESOURCE) for resource in carrier.resources)
        or ATTRIBUTE in carrier.message.attributes
    )


def _within(body: bytes) -> Iterator[bytes]:
    """The Pub/Sub push in the data of a CloudEvent, and the event in the message of an SNS notification."""
    for decoder in (_cloudevent, _notification):
        with suppress(*UNREADABLE):
            yield decoder.decode(body).inner()
