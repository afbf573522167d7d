"""The mark of an event that Helios itself has sent once more, in the words of each contract."""

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
"""EventBridge gives each event an id of its own, and has room for what its sender knows only among its resources."""

NO_TIME = ";untold"
"""Ends an Event Grid event's mark if it had no time of its own, which Event Grid's schema asks for."""

_WORD = EXTENSION.encode()


class Original(msgspec.Struct, frozen=True, kw_only=True):
    """What an event on EventBridge was before it was sent once more; JSON after RESOURCE."""

    job: int
    id: Id
    time: Time | None = None
    subject: Text | None = None


class _Message(msgspec.Struct, frozen=True):
    attributes: dict[str, str] = {}


class _Carrier(msgspec.Struct):
    """Every place in a body where a mark may stand."""

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
    """Whether a delivery is marked. Who may send may mark: it proves nothing of what the delivery says."""
    if ATTRIBUTE in delivery.headers:
        return True
    if _WORD not in delivery.body:
        return False
    return _is_marked(delivery.body) or any(map(_is_marked, _within(delivery.body)))


def original(text: bytes) -> Original | None:
    """What an EventBridge event was before; None for nearly all, which were not sent by Helios.

    Raises:
        Rejected: it is marked, but the mark can't be read.
    """
    if _WORD not in text or (carrier := _carried(text)) is None:
        return None
    found = next((one for one in carrier.resources if one.startswith(RESOURCE)), None)
    try:
        return None if found is None else _original.decode(found.removeprefix(RESOURCE))
    except UNREADABLE as error:
        raise Rejected(f"can't be read: {error}", field="resources") from error


def had_no_time(text: bytes) -> bool:
    """Whether an Event Grid event told of no time before Helios sent it once more."""
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
        or any(one.startswith(RESOURCE) for one in carrier.resources)
        or ATTRIBUTE in carrier.message.attributes
    )


def _within(body: bytes) -> Iterator[bytes]:
    """The Pub/Sub push that is a CloudEvent's data, and the event that SNS carries as text."""
    for decoder in (_cloudevent, _notification):
        with suppress(*UNREADABLE):
            yield decoder.decode(body).inner()
