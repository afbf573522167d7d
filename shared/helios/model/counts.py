"""Deliveries counted by minute, source, type and outcome."""

from datetime import datetime, timedelta

import msgspec

from helios.model.sources import Source

OTHER_TYPES = "*"
"""The type of a count that combines several types."""


class Count(msgspec.Struct, kw_only=True):
    """Deliveries of one type in one minute by outcome; ``received`` is their sum.

    Attributes:
        minute: the minute of ``received_at``, UTC.
        source: the cloud.
        type: the event type; empty if it could not be read, ``*`` for the rarest types of a message with too many.
        stored: new events.
        duplicate: deliveries of events that were already stored.
        contradictory: deliveries whose content differs from the stored event.
        rejected: deliveries that could not be read.
    """

    minute: datetime
    source: Source
    type: str
    stored: int = 0
    duplicate: int = 0
    contradictory: int = 0
    rejected: int = 0

    @property
    def received(self) -> int:
        """The number of deliveries."""
        return self.stored + self.duplicate + self.contradictory + self.rejected

    def add(self, other: "Count") -> None:
        """Add the deliveries of another count to this one."""
        self.stored += other.stored
        self.duplicate += other.duplicate
        self.contradictory += other.contradictory
        self.rejected += other.rejected


LAST_DAY = timedelta(hours=24)


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """The sums of all counts.

    Attributes:
        events_by_source: stored events by source, of every source that has sent one.
        stored: all stored events.
        duplicate: deliveries of events that were already stored.
        contradictory: deliveries whose content differs from the stored event.
        rejected: deliveries that could not be read.
        last_24h: events stored in the last 24 hours.
        position: the position of the stream at that moment.
    """

    events_by_source: dict[Source, int]
    stored: int
    duplicate: int
    contradictory: int
    rejected: int
    last_24h: int
    position: int


class MinuteCount(msgspec.Struct, frozen=True, kw_only=True):
    """The counts of one minute, all types of a cloud together; ``minute`` is the minute of ``received_at``, UTC."""

    minute: datetime
    source: Source
    stored: int
    duplicate: int
    contradictory: int
    rejected: int
