"""Deliveries that did not become events, with their reasons."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

import msgspec

from helios.model.events import Channel, Key, SourceOrUnknown

MAX_DEAD_LETTER_BYTES = 262_144
"""How much of a dead letter's body is kept: all of any message that EventBridge or Event Grid delivers."""


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery that did not become an event, kept with its reason.

    Attributes:
        fingerprint: 32 hex digits: the same delivery has the same one, so a poison message that is sent again
            stays one letter.
        source: the cloud whose way in it came through.
        channel: which contract its body should have followed.
        status: why it is here.
        reason: what is wrong, in a sentence.
        field: where, in the sender's spelling.
        body: the bytes as received, the first MAX_DEAD_LETTER_BYTES of them.
        headers: those that the contract reads.
        received_at: when Helios received it (last), UTC.
        attempts: how often it was delivered.
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
        since: received (last) at or after this.
        until: received (first) before this.
        replayed: whether it was taken in again with success.
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
    """A dead letter as it is kept.

    Attributes:
        id: ascending in the order of first arrival.
        first_received_at: when it first came, UTC.
        dead_letter: what came.
        replayed_as: what its replay became; None when it was not replayed with success.
        replayed_at: when, UTC.
        replayed_keys: the events that it became.
    """

    id: int
    first_received_at: datetime
    dead_letter: DeadLetter
    replayed_as: ReplayedAs | None = None
    replayed_at: datetime | None = None
    replayed_keys: list[Key] = []

    @property
    def subject(self) -> str:
        """What the audit log calls it."""
        return f"dead letter {self.id}"


class DeadLetterGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Dead letters with the same thing wrong with them.

    Attributes:
        count: how many letters, however often each was delivered.
        first: when the first of them came first, UTC.
        last: when one of them came last.
        example_id: the id of the newest.
    """

    source: SourceOrUnknown
    status: Literal["rejected", "contradictory"]
    field: str
    reason: str
    count: int
    first: datetime
    last: datetime
    example_id: int
