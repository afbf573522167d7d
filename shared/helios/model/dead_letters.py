"""Deliveries that did not become events, with their reasons."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

import msgspec

from helios.model.events import Channel, Key, SourceOrUnknown

MAX_DEAD_LETTER_BYTES = 262_144
"""Maximum bytes of a body that a dead letter stores: enough for every message of EventBridge and Event Grid."""


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
    """

    fingerprint: str
    source: SourceOrUnknown
    channel: Channel
    status: Literal["rejected", "contradictory"]
    reason: str
    field: str
    body: bytes
    headers: Mapping[str, str]
    received_at: datetime
    attempts: int


class DeadLetterFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which dead letters; None means any.

    Attributes:
        since: last received at or after this.
        until: first received before this.
        replayed: whether a replay succeeded.
    """

    source: str | None = None
    status: str | None = None
    field: str | None = None
    reason: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    replayed: bool | None = None


ReplayedAs = Literal["stored", "duplicate"]


class StoredDeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter as it is stored.

    Attributes:
        id: ascending in the order of first arrival.
        first_received_at: when Helios first received the delivery, UTC.
        dead_letter: the delivery and the reason.
        replayed_as: the status of its replay; None if no replay has succeeded.
        replayed_at: when it was replayed, UTC.
        replayed_keys: the events that the replay became.
    """

    id: int
    first_received_at: datetime
    dead_letter: DeadLetter
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

    source: SourceOrUnknown
    status: Literal["rejected", "contradictory"]
    field: str
    reason: str
    count: int
    first: datetime
    last: datetime
    example_id: int
