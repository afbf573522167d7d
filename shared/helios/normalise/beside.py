"""What a sender or a cloud says beside the payload: the attributes of an event, within limits."""

from collections.abc import Collection, Mapping
from typing import Final

import msgspec

from helios.errors import UNREADABLE

MAX_ATTRIBUTES: Final = 100
"""Maximum number of attributes of an event: Pub/Sub, whose messages have the most, allows as many."""

MAX_ATTRIBUTES_BYTES: Final = 65_536
"""Maximum size of the names and values of an event's attributes: the size of an event that every intermediary forwards
(CloudEvents 1.0, "Size Limits")."""

OMITTED: Final = "heliosomitted"
"""The attribute that counts those beyond the limits."""

MESSAGE_HEADER: Final = "sqs-"
"""The prefix of what an Amazon SQS message says beside its body, among the headers of a delivery."""

_string = msgspec.json.Decoder(str)
_strings = msgspec.json.Decoder(list[str])


def attributes_of(*sources: Mapping[str, str]) -> dict[str, str]:
    """The attributes of several sources. A name that is there already gets an underscore; nothing is replaced.

    Attributes beyond the limits are left out and counted: an event is not refused for what is beside its payload.
    """
    attributes: dict[str, str] = {}
    if not any(sources):
        return attributes
    size = omitted = 0
    for source in sources:
        for name, value in source.items():
            free = name
            while attributes.get(free, value) != value:
                free += "_"
            size += len(free.encode()) + len(value.encode())
            if len(attributes) >= MAX_ATTRIBUTES or size > MAX_ATTRIBUTES_BYTES:
                omitted += 1
            else:
                attributes[free.replace("\0", "\ufffd")] = value.replace("\0", "\ufffd")
    return attributes | {OMITTED: str(omitted)} if omitted else attributes


def as_text(value: bytes | msgspec.Raw) -> str | None:
    """A JSON value as the text of an attribute: a string without its quotes; None for null."""
    raw = bytes(value)
    if raw[:1] == b'"':
        return _string.decode(raw)
    return None if raw == b"null" else raw.decode()


def as_texts(members: Mapping[str, msgspec.Raw], *, without: Collection[str]) -> dict[str, str]:
    """The members of a JSON object as attributes, without some of them and without those that are null."""
    texts = {name: as_text(members[name]) for name in members if name not in without}
    return {name: text for name, text in texts.items() if text is not None}


def of_message(headers: Mapping[str, str]) -> dict[str, str]:
    """What an Amazon SQS message says beside its body."""
    if not headers:
        return {}
    return {
        name.removeprefix(MESSAGE_HEADER): value for name, value in headers.items() if name.startswith(MESSAGE_HEADER)
    }


def listed(values: msgspec.Raw, *, without: str) -> str:
    """A JSON array of texts as one attribute: the only text, or the array; empty for an empty array.

    Args:
        values: the array; any other JSON is returned as it was sent.
        without: the beginning of texts to leave out.
    """
    try:
        texts = [text for text in _strings.decode(values) if not text.startswith(without)]
    except UNREADABLE:
        return bytes(values).decode()
    return texts[0] if len(texts) == 1 else msgspec.json.encode(texts).decode() if texts else ""
