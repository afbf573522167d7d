"""Reading flow instances."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Protocol

from helios.model.flows import FlowFilter
from helios.model.paging import Page
from helios.reconciliation.record import FlowCount, FlowKey, FlowRecord, FlowSums


class FlowReader(Protocol):
    """What is known of stories, for those who ask. Every method raises Retryable when the store can't be reached."""

    def flows(self, where: FlowFilter, *, after: str | None, limit: int) -> Page[FlowRecord]:
        """Stories, newest ``opened_at`` first.

        Raises:
            Rejected: ``after`` is not a cursor that an earlier page gave.
        """

    def flow(self, key: FlowKey) -> FlowRecord | None:
        """One story, or None."""

    def flow_counts(self, flow: str | None, *, since: datetime, until: datetime, bucket: timedelta) -> list[FlowCount]:
        """The sums of stories that began from ``since`` to before ``until``, minutes taken together in buckets.

        The first bucket begins with the slot of ``since``; buckets of whole slots are read from few rows.
        """

    def flow_sums(self, flow: str | None, *, since: datetime, until: datetime, bucket: timedelta) -> FlowSums:
        """The same sums with the position of the stream, and with what only frames without a position tell.

        So the sums of that position are known, to which whoever follows the stream adds later frames.
        """

    def oldest_open(self, flows: Collection[str]) -> datetime | None:
        """When the story of these flows that has been open longest began; None when none is open."""
