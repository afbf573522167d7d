"""Decides what a delivery is whose event may be known: new, a duplicate, or a contradiction. It is pure."""

import hashlib
from collections.abc import Mapping
from datetime import timedelta
from typing import TypeVar

import msgspec

from helios.errors import MAX_QUOTE_CHARS, UNREADABLE
from helios.model.dead_letters import BEYOND_HORIZON
from helios.model.events import Event, Outcome
from helios.model.retention import MAX_AHEAD
from helios.reconciliation.evidence import exact

T = TypeVar("T", str, bytes)

MAX_NAMES = 10
"""Maximum names of differing fields in the reason of a contradiction."""

MAX_KNOWN_FIELDS = 64
"""The most fields of a payload of which a ``KnownEvent`` has digests. A larger payload is compared as a whole."""


class KnownEvent(msgspec.Struct, frozen=True, array_like=True):
    """What has to be known of a stored event to recognise its duplicates without its payload: about 20 bytes a field.

    Attributes:
        digest: that of the event.
        fields: a digest of the value of each part of its content, whatever its spelling: 10.0 and 10.00 are equal.
    """

    digest: str
    fields: dict[str, str]


encode_known = msgspec.json.Encoder().encode
decode_known = msgspec.json.Decoder(KnownEvent).decode
"""A ``KnownEvent`` as JSON, and back."""


def known(event: Event) -> KnownEvent:
    """What has to be known of this event once it is stored."""
    return KnownEvent(event.digest, _digests(event))


def classify(event: Event, original: KnownEvent | None, *, horizon: timedelta | None = None) -> Outcome:
    """What becomes of the delivery of an event, of whose identity ``original`` was stored.

    Args:
        event: the event.
        original: what is known of the identity; None: nothing.
        horizon: how long identities are stored; None: forever.
    """
    if original is None:
        if is_beyond_horizon(event, horizon):
            return Outcome(status="rejected", event=event, reason=BEYOND_HORIZON, field="time")
        return Outcome(status="stored", event=event)
    if event.digest == original.digest:
        return Outcome(status="duplicate", event=event)
    return _outcome(event, original.fields, _digests(event))


def compare(event: Event, original: Event) -> Outcome:
    """A duplicate if only the spelling differs (10.0 and 10.00, the order of keys), otherwise a contradiction."""
    return _outcome(event, _content(original), _content(event))


def is_beyond_horizon(event: Event, horizon: timedelta | None) -> bool:
    """Whether the identity of the event may have been removed, as far as the event's own time tells."""
    if horizon is None:
        return False
    return not -MAX_AHEAD <= event.received_at - event.time <= horizon


def _outcome(event: Event, before: Mapping[str, T], after: Mapping[str, T]) -> Outcome:
    differing = [name for name in sorted(before.keys() | after.keys()) if before.get(name) != after.get(name)]
    if not differing:
        return Outcome(status="duplicate", event=event)
    # The names are keys of the payload: a sender may write thousands, and long ones.
    names = [name if len(name) <= MAX_QUOTE_CHARS else f"{name[:MAX_QUOTE_CHARS]}…" for name in differing]
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return Outcome(
        status="contradictory",
        event=event,
        reason=f"differs from the stored event of the same producer and id in {', '.join(names[:MAX_NAMES])}{more}",
        field=names[0],
    )


_canonical = msgspec.json.Encoder(order="sorted", decimal_format="number").encode


def _content(event: Event) -> dict[str, bytes]:
    """The parts of the content by name, each in the one spelling that equal values have."""
    # An event without a time has the time of its arrival, which is not part of its content.
    sent_time = event.time if event.time != event.received_at else None
    content = {"type": event.type, "subject": event.subject, "time": sent_time}
    parts = {name: _canonical(value) for name, value in content.items() if value is not None}
    try:
        data = exact.decode(event.data)
        if isinstance(data, dict):
            return parts | {f"data.{name}": _canonical(value) for name, value in data.items() if value is not None}
        return parts | {"data": _canonical(data)}
    except UNREADABLE:  # for example an integer of thousands of digits: only the spelling can be compared
        return parts | {"data": bytes(event.data)}


def _digests(event: Event) -> dict[str, str]:
    content = _content(event)
    if len(content) > MAX_KNOWN_FIELDS:
        own = {name: value for name, value in content.items() if not name.startswith("data.")}
        rest = {name: value.decode() for name, value in content.items() if name not in own}
        content = own | {"data": _canonical(rest)}
    return {name: hashlib.blake2b(value, digest_size=6).hexdigest() for name, value in content.items()}
