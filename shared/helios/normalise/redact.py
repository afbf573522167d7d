"""Redaction: replaces the values of configured fields before an event is compared or stored."""

import base64
import binascii
import hashlib
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from msgspec import Raw

from helios.errors import UNREADABLE, Rejected
from helios.model.events import Delivery, Event
from helios.normalise import normalise
from helios.normalise.cloudevents import is_binary
from helios.normalise.fields import replace_data
from helios.normalise.pubsub import is_unwrapped

REDACTED: Final = b'"[redacted]"'

Change = Callable[[bytes], bytes]
"""Maps JSON text to JSON text; text without a match is returned unchanged."""

_anything = msgspec.json.Decoder(Raw)
_object = msgspec.json.Decoder(dict[str, Raw])
_array = msgspec.json.Decoder(list[Raw])
_string = msgspec.json.Decoder(str)


class Redaction:
    """Replaces the values of some fields in every payload; the bytes of all other values are unchanged."""

    def __init__(self, paths: Sequence[str]) -> None:
        """Take the paths of the fields: names joined by dots. A path through an array applies to each element."""
        self._paths = [path.split(".") for path in paths]

    def __call__(self, delivery: Delivery) -> Delivery:
        """The delivery with those values replaced. A delivery without a readable payload is returned unchanged."""
        body = self._walk(delivery, self._payload)
        return delivery if body == delivery.body else msgspec.structs.replace(delivery, body=body)

    def read(self, delivery: Delivery) -> tuple[Delivery, Event]:
        """The delivery and its event without those values.

        The values are replaced in the payload that the event has, so that no wrapping hides them. The delivery keeps
        its other bytes if it yields the same event then, and is withheld otherwise.

        Raises:
            Rejected: the delivery carries no event.
        """
        original = normalise(delivery)
        data = self._payload(bytes(original.data))
        redacted = self(delivery)
        if data == bytes(original.data) and redacted is delivery:
            return delivery, original
        event = replace_data(original, data)
        try:
            same = bytes(normalise(redacted).data) == data
        except Rejected:
            same = False
        return redacted if same else _withheld(delivery), event

    def for_dead_letter(self, delivery: Delivery) -> Delivery:
        """The form in which a delivery that could not be read may be stored.

        If the payload is JSON and in its usual place, this is the delivery with those values replaced. Otherwise, or if
        the body was cut, its content is unknown: the body is replaced by its size and digest.
        """
        readable: list[bool] = []

        def check(text: bytes) -> bytes:
            readable.append(_is_json(text))
            return text

        self._walk(delivery, check)
        if not delivery.fault and readable and all(readable):
            return self(delivery)
        return _withheld(delivery)

    def _walk(self, delivery: Delivery, change: Change) -> bytes:
        """The body, with the change made to its payload."""
        match delivery.channel:
            case "eventbridge":
                return self._eventbridge(delivery.body, change)
            case "pubsub" if is_unwrapped(delivery):
                return change(delivery.body)
            case "pubsub":
                body = _in(self._push(delivery.body, change), "data", lambda text: self._push(text, change))
                return _in(body, "data_base64", _as_base64(lambda text: self._push(text, change)))
            case "eventgrid" | "cloudevents" if is_binary(delivery):
                return change(delivery.body)
            case "eventgrid" | "cloudevents":
                return _in(_in(delivery.body, "data", change), "data_base64", _as_base64(change))

    def _payload(self, text: bytes) -> bytes:
        for path in self._paths:
            text = _without(text, path)
            if len(path) > 1:  # attributes of Pub/Sub, which may be all of a payload, can have dots in their names
                text = _in(text, ".".join(path), lambda _: REDACTED)
        return text

    def _eventbridge(self, text: bytes, change: Change) -> bytes:
        """An EventBridge event, bare or as the text in an Amazon SNS notification."""
        return _in(_in(text, "detail", change), "Message", _as_text(lambda inner: self._eventbridge(inner, change)))

    def _push(self, text: bytes, change: Change) -> bytes:
        """A push of Pub/Sub: the data, and the attributes, which are not nested."""

        def message(value: bytes) -> bytes:
            return _in(_in(value, "data", _as_base64(change)), "attributes", self._attributes)

        return _in(text, "message", message)

    def _attributes(self, text: bytes) -> bytes:
        for path in self._paths:
            text = _in(text, ".".join(path), lambda _: REDACTED)
        return text


def _withheld(delivery: Delivery) -> Delivery:
    """The delivery with its size and its digest in place of its body."""
    size, digest = len(delivery.body), hashlib.sha256(delivery.body).hexdigest()
    notice = f"Not stored: HELIOS_REDACT is set, and this body can't be read. {size} bytes, SHA-256 {digest}"
    return msgspec.structs.replace(delivery, body=notice.encode())


def _without(text: bytes, path: Sequence[str]) -> bytes:
    """The JSON text with the value at the path replaced."""
    if not path:
        return REDACTED
    elements = _elements(text)
    if elements is None:
        return _in(text, path[0], lambda value: _without(value, path[1:]))
    changed = [_without(bytes(element), path) for element in elements]
    return (
        text if changed == [bytes(element) for element in elements] else _encode([Raw(element) for element in changed])
    )


def _in(text: bytes, name: str, change: Change) -> bytes:
    """The JSON object with one member changed; any other text is returned unchanged."""
    fields = _fields(text)
    if fields is None or name not in fields:
        return text
    before = bytes(fields[name])
    after = change(before)
    if after == before and not _repeats(text, fields):
        return text
    return _encode(fields | {name: Raw(after)})


def _repeats(text: bytes, fields: dict[str, Raw]) -> bool:
    """Whether the object has a name more than once: only the last value of a name has been changed."""
    return msgspec.json.format(text, indent=-1) != msgspec.json.format(_encode(fields), indent=-1)


def _as_text(change: Change) -> Change:
    """The change, applied to JSON text within a JSON string."""

    def changed(value: bytes) -> bytes:
        inner = _text(value)
        after = inner if inner is None else change(inner.encode()).decode()
        return value if after == inner else _encode(after)

    return changed


def _as_base64(change: Change) -> Change:
    """The change, applied to base64-encoded JSON text within a JSON string."""

    def changed(value: bytes) -> bytes:
        try:
            inner = base64.b64decode(_text(value) or "", validate=True)
        except (binascii.Error, ValueError):
            return value
        after = change(inner)
        return value if after == inner else _encode(base64.b64encode(after).decode())

    return changed


def _encode(value: object) -> bytes:
    return msgspec.json.encode(value)


def _is_json(text: bytes) -> bool:
    try:
        _anything.decode(text)
    except UNREADABLE:
        return False
    return True


def _fields(text: bytes) -> dict[str, Raw] | None:
    try:
        return _object.decode(text)
    except UNREADABLE:
        return None


def _elements(text: bytes) -> list[Raw] | None:
    try:
        return _array.decode(text)
    except UNREADABLE:
        return None


def _text(value: bytes) -> str | None:
    try:
        return _string.decode(value)
    except UNREADABLE:
        return None
