"""Fields that are not for us: their values are replaced before a delivery is read, compared or kept."""

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
"""Makes JSON text of JSON text; what it does not change it returns equal."""

_anything = msgspec.json.Decoder(Raw)
_object = msgspec.json.Decoder(dict[str, Raw])
_array = msgspec.json.Decoder(list[Raw])
_string = msgspec.json.Decoder(str)


class Redaction:
    """Replaces the values of some fields of every payload; every other value keeps its bytes."""

    def __init__(self, paths: Sequence[str]) -> None:
        """Take where the fields stand in a payload: names joined by dots; an array counts as each of its elements."""
        self._paths = [path.split(".") for path in paths]

    def __call__(self, delivery: Delivery) -> Delivery:
        """The same delivery without those values; where no payload can be found there is nothing to replace."""
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

    def kept(self, delivery: Delivery) -> Delivery:
        """What is kept of a delivery that could not be read.

        Nobody can tell what stands in one that was cut, or whose payload is not where its cloud has it, or is no JSON:
        of that one its size and its digest. Of any other all but those values.
        """
        found: list[bool] = []

        def look(text: bytes) -> bytes:
            found.append(_is_json(text))
            return text

        self._walk(delivery, look)
        if not delivery.fault and found and all(found):
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
        """As it is, or as the text that Amazon SNS carries."""
        return _in(_in(text, "detail", change), "Message", _as_text(lambda inner: self._eventbridge(inner, change)))

    def _push(self, text: bytes, change: Change) -> bytes:
        """A push of Pub/Sub: its data, and its attributes, which have no fields of their own."""

        def message(given: bytes) -> bytes:
            return _in(_in(given, "data", _as_base64(change)), "attributes", self._attributes)

        return _in(text, "message", message)

    def _attributes(self, text: bytes) -> bytes:
        for path in self._paths:
            text = _in(text, ".".join(path), lambda _: REDACTED)
        return text


def _withheld(delivery: Delivery) -> Delivery:
    """The delivery with its size and its digest in place of its body."""
    digest = hashlib.sha256(delivery.body).hexdigest()
    said = f"Withheld, as HELIOS_REDACT is set and this can't be read: {len(delivery.body)} bytes, SHA-256 {digest}"
    return msgspec.structs.replace(delivery, body=said.encode())


def _without(text: bytes, path: Sequence[str]) -> bytes:
    """The JSON text with the value at the path replaced."""
    if not path:
        return REDACTED
    elements = _elements(text)
    if elements is None:
        return _in(text, path[0], lambda value: _without(value, path[1:]))
    changed = [_without(bytes(element), path) for element in elements]
    return text if changed == [bytes(element) for element in elements] else _encode([Raw(one) for one in changed])


def _in(text: bytes, name: str, change: Change) -> bytes:
    """The JSON object with one member changed; other text as it is."""
    fields = _fields(text)
    if fields is None or name not in fields:
        return text
    before = bytes(fields[name])
    after = change(before)
    if after == before and not _repeats(text, fields):
        return text
    return _encode(fields | {name: Raw(after)})


def _repeats(text: bytes, fields: dict[str, Raw]) -> bool:
    """Whether a name stands in the object more than once: its last value is read, and only that was looked at."""
    return msgspec.json.format(text, indent=-1) != msgspec.json.format(_encode(fields), indent=-1)


def _as_text(change: Change) -> Change:
    """The change, for JSON within a JSON string."""

    def changed(value: bytes) -> bytes:
        inner = _text(value)
        after = inner if inner is None else change(inner.encode()).decode()
        return value if after == inner else _encode(after)

    return changed


def _as_base64(change: Change) -> Change:
    """The change, for JSON as base64 in a JSON string."""

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
