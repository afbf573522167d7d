"""Redaction: replaces the values of configured fields before an event is compared or stored."""

import base64
import binascii
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Raw

from helios.errors import UNREADABLE, Rejected
from helios.model.events import Delivery, Event
from helios.model.spellings import spelled_paths
from helios.normalise import normalise
from helios.normalise.beside import MESSAGE_HEADER
from helios.normalise.cloudevents import DEFINED, is_binary
from helios.normalise.declared import with_payload_fields
from helios.normalise.fields import replace_data
from helios.normalise.pubsub import is_unwrapped

REDACTED: Final = "[redacted]"

Change = Callable[[bytes], bytes]
"""Maps JSON text to JSON text; text without a match is returned unchanged."""

Notice = Callable[[bytes], str]
"""Maps a body to the text that replaces it."""

_anything = msgspec.json.Decoder(Raw)
_object = msgspec.json.Decoder(dict[str, Raw])
_array = msgspec.json.Decoder(list[Raw])
_string = msgspec.json.Decoder(str)


class Redaction:
    """Replaces the values of some fields in every payload; the bytes of all other values are unchanged."""

    def __init__(self, paths: Sequence[str], *, marker: str = REDACTED, withheld: Notice | None = None) -> None:
        """Take the paths of the fields: names joined by dots. A path through an array applies to each element.

        Args:
            paths: the paths. Each name in them is found in every spelling of ``spellings``.
            marker: replaces the values.
            withheld: returns the text in place of a body that can't be read; by default its size and digest.
        """
        paths = [spelled for path in paths for spelled in spelled_paths(path)]
        self._paths = [path.split(".") for path in paths]
        # As headers, attributes have names in lower case.
        self._names = frozenset(path.lower() for path in paths)
        self._text = marker
        self._marker = _encode(marker)
        self._notice = withheld or _not_stored

    def __call__(self, delivery: Delivery) -> Delivery:
        """The delivery with those values replaced. A delivery without a readable payload is returned unchanged."""
        body = self._walk(delivery, self.payload)
        headers = self.attributes(delivery.headers)
        if body == delivery.body and headers == delivery.headers:
            return delivery
        return msgspec.structs.replace(delivery, body=body, headers=headers)

    def read(self, delivery: Delivery) -> tuple[Delivery, Event]:
        """The delivery and its event without those values.

        The values are replaced in the payload that the event has, so that no wrapping hides them. The delivery keeps
        its other bytes if it yields the same event then, and is withheld otherwise.

        Raises:
            Rejected: the delivery carries no event.
        """
        original = normalise(delivery)
        data = self.payload(bytes(original.data))
        attributes = self.attributes(original.attributes)
        redacted = self(delivery)
        if data == bytes(original.data) and attributes == original.attributes and redacted is delivery:
            return delivery, original
        event = msgspec.structs.replace(replace_data(original, data), attributes=attributes)
        if delivery.declaration:
            event = with_payload_fields(event, delivery.declaration)
        try:
            again = normalise(redacted)
            same = bytes(again.data) == data and again.attributes == attributes
        except Rejected:
            same = False
        return redacted if same else self._withheld(delivery), event

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
        return self._withheld(delivery)

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
            case "webhook":
                path = delivery.declaration and delivery.declaration.data
                body = _at(delivery.body, path.split(".") if path else [], change)
                return self._extensions(body) if path else body
            case "eventgrid" | "cloudevents" if is_binary(delivery):
                return change(delivery.body)
            case "eventgrid" | "cloudevents":
                body = _in(_in(delivery.body, "data", change), "data_base64", _as_base64(change))
                return self._extensions(body)

    def payload(self, text: bytes) -> bytes:
        """The JSON text of a payload with those values replaced."""
        for path in self._paths:
            text = self._without(text, path)
            if len(path) > 1:  # attributes of Pub/Sub, which may be all of a payload, can have dots in their names
                text = _in(text, ".".join(path), lambda _: self._marker)
        return text

    def _eventbridge(self, text: bytes, change: Change) -> bytes:
        """An EventBridge event, bare or as the text in an Amazon SNS notification."""
        text = _in(text, "MessageAttributes", self._message_attributes)
        return _in(_in(text, "detail", change), "Message", _as_text(lambda inner: self._eventbridge(inner, change)))

    def _push(self, text: bytes, change: Change) -> bytes:
        """A push of Pub/Sub: the data, and the attributes, which are not nested."""

        def message(value: bytes) -> bytes:
            return _in(_in(value, "data", _as_base64(change)), "attributes", self._attributes)

        return _in(text, "message", message)

    def _attributes(self, text: bytes) -> bytes:
        for path in self._paths:
            text = _in(text, ".".join(path), lambda _: self._marker)
        return text

    def _message_attributes(self, text: bytes) -> bytes:
        """The attributes of an SNS message, each of which is an object with a Value."""
        for path in self._paths:
            text = _in(text, ".".join(path), lambda attribute: _in(attribute, "Value", lambda _: self._marker))
        return text

    def _extensions(self, text: bytes) -> bytes:
        """A CloudEvent in structured mode, whose extension attributes are beside its data."""
        for path in self._paths:
            if path[0] not in DEFINED and len(path) == 1:
                text = _in(text, path[0], lambda _: self._marker)
        return text

    def attributes(self, attributes: Mapping[str, str]) -> Mapping[str, str]:
        """Attributes, or headers that carry attributes, with the values of the named ones replaced."""
        return {name: self._text if self._is_named(name) else value for name, value in attributes.items()}

    def _is_named(self, name: str) -> bool:
        plain = name.lower().removeprefix("ce-").removeprefix(MESSAGE_HEADER).rstrip("_")
        return plain in self._names and plain not in DEFINED

    def _without(self, text: bytes, path: Sequence[str]) -> bytes:
        """The JSON text with the value at the path replaced."""
        if not path:
            return self._marker
        elements = _elements(text)
        if elements is None:
            return _in(text, path[0], lambda value: self._without(value, path[1:]))
        changed = [self._without(bytes(element), path) for element in elements]
        if changed == [bytes(element) for element in elements]:
            return text
        return _encode([Raw(element) for element in changed])

    def _withheld(self, delivery: Delivery) -> Delivery:
        return msgspec.structs.replace(delivery, body=self._notice(delivery.body).encode())


def _not_stored(body: bytes) -> str:
    """The size and the digest of a body, which identify it for its sender."""
    size, digest = len(body), hashlib.sha256(body).hexdigest()
    return f"Not stored: HELIOS_REDACT is set, and this body can't be read. {size} bytes, SHA-256 {digest}"


def _at(text: bytes, path: Sequence[str], change: Change) -> bytes:
    """The JSON text with the value at the path changed."""
    return _in(text, path[0], lambda value: _at(value, path[1:], change)) if path else change(text)


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
