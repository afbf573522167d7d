"""Counts of deliveries. A frame adds to them when it gets its position."""

from datetime import datetime
from typing import Protocol

from helios.model.access import EventLimits
from helios.model.counts import MinuteCount, Totals


class MinuteReader(Protocol):
    """Reads the counts of each minute."""

    def minutes(self, since: datetime) -> list[MinuteCount]:
        """The counts from the minute ``since`` on, sorted by minute and source; empty minutes are left out."""


class CountReader(Protocol):
    """Reads the counts. Every method raises Retryable when the store can't be reached."""

    def minutes(self, since: datetime, limits: EventLimits = ...) -> list[MinuteCount]:
        """The same as in ``MinuteReader``, of the sources and types that the limits allow."""

    def totals(self, now: datetime, *, only_numbered: bool = False) -> Totals:
        """All counts, summed up.

        Args:
            now: the end of the last 24 hours.
            only_numbered: leave out the frames that have no position yet, so that the sums are those of a position of
                the stream.
        """

    def limited_totals(self, now: datetime, limits: EventLimits) -> Totals:
        """The counts that the limits allow, summed up to the latest position. The sources are those with counts."""
