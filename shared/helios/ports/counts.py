"""Counts of deliveries: adding to them, and reading them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from helios.model.counts import Count, MinuteCount, Totals


class MinuteReader(Protocol):
    """Reads the counts of each minute."""

    def minutes(self, since: datetime) -> list[MinuteCount]:
        """The counts from the minute ``since`` on, sorted by minute and source; empty minutes are left out."""


class CountWriter(MinuteReader, Protocol):
    """The counts, within a unit of work."""

    def add(self, counts: Sequence[Count]) -> None:
        """Add to the counts of each minute and to their sums."""


class CountReader(MinuteReader, Protocol):
    """Reads the counts. Every method raises Retryable when the store can't be reached."""

    def totals(self, now: datetime, *, only_numbered: bool = False) -> Totals:
        """All counts, summed up.

        Args:
            now: the end of the last 24 hours.
            only_numbered: leave out the frames that have no position yet, so that the sums are those of a position of
                the stream.
        """
