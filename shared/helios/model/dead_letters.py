"""Deliveries that did not become events, with their reasons."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Literal

import msgspec

from helios.model.access import EventLimits
from helios.model.events import Channel, Delivery, Key
from helios.model.sources import Source

MAX_DEAD_LETTER_BYTES = 15 * 1024 * 1024
"""Maximum bytes of a body that a dead letter stores: the largest body that any cloud sends, so that each can be fixed
and replayed."""


LISTED_BODY_BYTES = 65_536
"""Maximum bytes of a body in a list of dead letters: a page of whole bodies would not fit into memory."""


BEYOND_HORIZON = (
    "is older than the identity horizon, or more than a day in the future: the event may have been stored before. "
    "Accept it in a replay to store it."
)
"""The reason of a dead letter whose event may be one whose identity retention has removed."""


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery that did not become an event, with the reason.

    Attributes:
        fingerprint: 32 hex digits, equal for equal deliveries: a poison message that is sent again stays one dead
            letter.
        source: the cloud that uses the channel.
        channel: the channel through which the delivery arrived.
        status: whether the delivery was rejected or contradictory.
        reason: what is wrong, in a sentence.
        field: the field at fault, in the sender's spelling.
        body: the first MAX_DEAD_LETTER_BYTES bytes of the body as received.
        headers: the headers that the channel reads.
        received_at: when Helios last received the delivery, UTC.
        attempts: the number of deliveries.
        event_type: the type of the event, as far as it can be read.
        event_time: when the event happened, UTC, as far as that can be read: otherwise, when it arrived.
    """

    fingerprint: str
    source: Source
    channel: Channel
    status: Literal["rejected", "contradictory"]
    reason: str
    field: str
    body: bytes
    headers: Mapping[str, str]
    received_at: datetime
    attempts: int
    event_type: str | None = None
    event_time: datetime | None = None


def fingerprint_of(delivery: Delivery) -> str:
    """32 hex digits: equal for deliveries with the same channel, declared source, headers and body."""
    head = msgspec.json.encode([delivery.entry_point, sorted(delivery.headers.items())])
    return hashlib.blake2b(head + delivery.body, digest_size=16).hexdigest()


class DeadLetterFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which dead letters; None means any.

    Attributes:
        since: last received at or after this.
        until: first received before this.
        replayed: whether a replay succeeded.
        mentions: the body has this value as a whole word, also in Base64.
        limits: what the caller may see. Of a dead letter only the source is known.
    """

    source: str | None = None
    status: str | None = None
    field: str | None = None
    reason: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    replayed: bool | None = None
    mentions: str | None = None
    limits: EventLimits = EventLimits()


ReplayedAs = Literal["stored", "duplicate", "accepted"]
"""``accepted``: the replay is in the log, where another engine decides between the other two."""


class StoredDeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter as it is stored.

    Attributes:
        id: ascending in the order of first arrival.
        first_received_at: when Helios first received the delivery, UTC.
        dead_letter: the delivery and the reason; in a list with the first LISTED_BODY_BYTES of its body.
        body_bytes: the size of the stored body.
        replayed_as: the status of its replay; None if no replay has succeeded.
        replayed_at: when it was replayed, UTC.
        replayed_keys: the events that the replay became.
    """

    id: int
    first_received_at: datetime
    dead_letter: DeadLetter
    body_bytes: int
    replayed_as: ReplayedAs | None = None
    replayed_at: datetime | None = None
    replayed_keys: list[Key] = []

    @property
    def subject(self) -> str:
        """The subject of the dead letter in the audit log."""
        return f"dead letter {self.id}"


class DeadLetterGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Dead letters with the same source, status, field and reason.

    Attributes:
        count: the number of dead letters, however often each was delivered.
        first: the earliest first arrival, UTC.
        last: the latest arrival, UTC.
        example_id: the id of the newest dead letter.
    """

    source: Source
    status: Literal["rejected", "contradictory"]
    field: str
    reason: str
    count: int
    first: datetime
    last: datetime
    example_id: int
