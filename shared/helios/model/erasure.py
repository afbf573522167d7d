"""Erasing what Helios stores about one customer or another value, and the receipt for it."""

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final

import msgspec

from helios.errors import ConfigurationError

COLUMNS: Final = ("customer_id", "order_id")
"""The fields of an event by which its events are found with an index; any other field is a path of the payload."""

OUTSIDE: Final = (
    "backups of the database, and its write-ahead log until it is recycled",
    "versions and copies of the archive's files, if the bucket keeps them",
    "messages in Kafka until the topic is compacted (cleanup.policy=compact), and in the systems that read it",
    "checkpoints and savepoints of the job of Flink, until they are removed",
    "what was replayed to webhooks and topics, queues and dead letters of the clouds, and logs of other systems",
)
"""Where the value may still be, and Helios can't erase it."""

_NUMBER = re.compile(r"\s*[+-]?[0-9]+")
"""What Postgres takes for the index of an array; DuckDB takes only those without a sign or leading zeros."""
_INDEX = re.compile(r"0|[1-9][0-9]*")

_PLAIN = re.compile(r"[A-Za-z0-9 ._:@-]+")
"""Characters that no encoder of JSON escapes, as some do with & and +."""
_SHORT: Final = {"\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t"}
_DOUBLED: Final = ('"', "\\")
_UNIT = re.compile("[0-9a-f]{4}")
_HEX = re.compile("[a-f]")
_NUMBERED = re.compile(r"(?<=\\u)[0-9a-f]{4}")

ESCAPE: Final = r"\\+(?:[bfnrt]|u[0-9A-Fa-f]{4})"
"""An escaped character of JSON, as a regular expression: a word can begin after it."""

BASE64_CHARACTERS: Final = 3
"""The shortest text of which Base64 has a part of its own at every offset."""

_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{12,}={0,2}")


class Selector(msgspec.Struct, frozen=True):
    """Which events are erased: those with this value in this field.

    Attributes:
        field: ``customer_id``, ``order_id``, or a path of the payload such as ``customer.email``.
        value: the exact value, as text.
    """

    field: str
    value: str

    @property
    def is_column(self) -> bool:
        """Whether the field is a column, and not a path of the payload."""
        return self.field in COLUMNS

    def digest(self, secret: str) -> str:
        """The value as a keyed digest: it names the erasure without the value."""
        return hmac.new(secret.encode(), f"{self.field}={self.value}".encode(), hashlib.sha256).hexdigest()


class Outstanding(msgspec.Struct, frozen=True, kw_only=True):
    """A place that Helios can't erase from at once, and that forgets later.

    Attributes:
        place: a topic, or the state of the job.
        until: when it has forgotten at last, UTC; None: nothing says when.
    """

    place: str
    until: datetime | None


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What was erased, and where the value is still found.

    Attributes:
        field: the field whose value was erased.
        subject: the keyed digest of the value.
        at: when the erasure ended, UTC.
        actor: the user who requested it.
        removed: the number of removed rows and messages, by place.
        left: the number of rows in which a scan found the value afterwards, by place. Empty: none.
        outside: where the value may still be, out of Helios' reach.
        outstanding: with the engine of Flink, the places of the log, which ``helios erase --verify`` scans; otherwise
            absent, as in a receipt of an earlier version.
        signature: HMAC-SHA256 with HELIOS_ERASURE_SECRET over the other fields.
    """

    field: str
    subject: str
    at: datetime
    actor: str
    removed: dict[str, int]
    left: dict[str, int]
    outside: tuple[str, ...] = OUTSIDE
    outstanding: tuple[Outstanding, ...] | msgspec.UnsetType = msgspec.UNSET
    signature: str = ""

    def signed(self, secret: str) -> "Receipt":
        """The receipt with its signature."""
        return msgspec.structs.replace(self, signature=self._signature(secret))

    def is_authentic(self, secret: str) -> bool:
        """Whether the signature is that of this receipt."""
        return hmac.compare_digest(self.signature, self._signature(secret))

    def overdue(self, left: Mapping[str, int], now: datetime) -> dict[str, int]:
        """What of the value is left in places that should have forgotten it.

        Args:
            left: the number of rows and messages in which a scan has found it, by place.
            now: the time of the scan.
        """
        outstanding = () if self.outstanding is msgspec.UNSET else self.outstanding
        waiting = {each.place for each in outstanding if each.until is None or now < each.until}
        return {place: number for place, number in left.items() if place not in waiting}

    def _signature(self, secret: str) -> str:
        fields = msgspec.json.encode(msgspec.structs.replace(self, signature=""), order="sorted")
        return hmac.new(secret.encode(), fields, hashlib.sha256).hexdigest()


def selector(field: str, value: str) -> Selector:
    """The selector of a field and a value.

    Raises:
        ConfigurationError: one of them is empty, or a number in the path is no plain index of an array.
    """
    if not value or not all(field.split(".")):
        raise ConfigurationError("A field and a value are required, such as: --field customer.email=ada@example.com")
    if any(_NUMBER.fullmatch(part) and not _INDEX.fullmatch(part) for part in field.split(".")):
        raise ConfigurationError("A number in a path has no sign and no leading zero, such as: items.0.email")
    return Selector(field, value)


def spelled(value: str) -> str:
    """The regular expression of a value as JSON may have it, also within a string of JSON, or in a row of Postgres.

    Encoders escape different characters (RFC 8259, "Strings"), and a string within a string doubles the backslashes.
    The expression means the same in Python, in Postgres and in DuckDB.
    """
    return "".join(map(_spelled, value))


def _spelled(character: str) -> str:
    if _PLAIN.fullmatch(character):
        return re.escape(character)
    # The text of a row doubles quotation marks (PostgreSQL documentation, "Composite Type Input and Output Syntax").
    itself = rf"\\*{re.escape(character)}{'+' if character in _DOUBLED else ''}"
    short = [rf"\\+{_SHORT[character]}"] if character in _SHORT else []
    in_either_case = [_HEX.sub(lambda digit: f"[{digit[0]}{digit[0].upper()}]", unit) for unit in _units(character)]
    numbers = "".join(rf"\\+u{unit}" for unit in in_either_case)
    return f"(?:{'|'.join([itself, *short, numbers])})"


def mentions(content: bytes, value: str) -> bool:
    """Whether a body has the value as a whole word, also within a part that is encoded in Base64."""
    pattern = re.compile(rf"(?:^|[^\w-]|{ESCAPE})".encode() + spelled(value).encode() + rb"(?![\w-])")
    return bool(pattern.search(content)) or any(
        pattern.search(decoded) for part in _BASE64.findall(content) if (decoded := _decoded(part))
    )


def needles(value: str) -> list[bytes]:
    """Texts of which a body has at least one wherever it ``mentions`` a value: a part of it, as it is and in Base64.

    They narrow a search before ``mentions`` confirms it. The part has no character that JSON may escape. If there is
    none of at least BASE64_CHARACTERS, these are the whole value as common encoders write it. In Base64 a text looks
    different at each of three offsets; the characters that it shares with its neighbours are left out.
    """
    plain = max(_PLAIN.findall(value), key=len, default="")
    texts = [plain] if len(plain) >= BASE64_CHARACTERS else _spellings(value)
    words = [text.encode() for text in texts]
    encoded = [
        base64.b64encode(bytes(offset) + word)[(offset * 8 + 5) // 6 : (offset + len(word)) * 8 // 6]
        for word in words
        for offset in range(3)
    ]
    # The URL-safe alphabet differs in two characters, which are rarely part of an id.
    safe = [text.replace(b"+", b"-").replace(b"/", b"_") for text in encoded]
    return list(dict.fromkeys([*words, *(text for text in (*encoded, *safe) if text)]))


def _spellings(value: str) -> list[str]:
    """A value as it is, as Python and JavaScript escape it, as PHP, as .NET and as Java."""
    texts = [value, json.dumps(value, ensure_ascii=False)[1:-1], json.dumps(value)[1:-1]]
    texts += [text.replace("/", "\\/") for text in texts]
    texts.append(
        "".join(each if _PLAIN.fullmatch(each) else "".join(f"\\u{unit}" for unit in _units(each)) for each in value)
    )
    return list(dict.fromkeys([*texts, *(_NUMBERED.sub(lambda unit: unit[0].upper(), text) for text in texts)]))


def _units(character: str) -> list[str]:
    """The UTF-16 units of a character, 4 hex digits each."""
    return _UNIT.findall(character.encode("utf-16-be").hex())


def _decoded(part: bytes) -> bytes | None:
    try:
        padded = part.rstrip(b"=") + b"=" * (-len(part.rstrip(b"=")) % 4)
        return base64.b64decode(padded, altchars=b"-_" if b"-" in part or b"_" in part else None, validate=True)
    except binascii.Error:
        return None
