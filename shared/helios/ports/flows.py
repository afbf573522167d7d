"""Flow instances: writing them, and reading them."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from helios.model.flows import Due, FlowFilter
from helios.model.paging import Page
from helios.ports.pending import Pending
from helios.reconciliation.record import FlowCount, FlowKey, FlowRecord, FlowSums


class FlowWriter(Protocol):
    """The flow instances, within a unit of work."""

    def find(self, keys: Collection[FlowKey]) -> Pending[dict[FlowKey, FlowRecord]]:
        """Begin to read instances, without a lock; the result has those that are stored."""

    def overdue(self, due: Sequence[Due], *, limit: int) -> list[FlowRecord]:
        """Lock and return instances that still wait although they are due, the first opened first.

        An instance that another unit of work has locked is left to that one.
        """

    def write(self, records: Sequence[FlowRecord]) -> Pending[set[FlowKey]]:
        """Begin to write instances, each only if the stored version is the one before; the result is those refused.

        All of these instances are locked from then on, so that a refused one can be read again and then written with
        certainty. Call it in the order of the keys, and before any other lock on instances, to rule out deadlocks.
        """

    def write_all(self, records: Sequence[FlowRecord]) -> None:
        """Begin to write instances, and wait for no answer.

        If the stored version of one is not the one before, the unit of work raises ConflictError at its end or earlier.
        """


class FlowReader(Protocol):
    """Reads flow instances. Every method raises Retryable when the store can't be reached."""

    def flows(self, where: FlowFilter, *, after: str | None, limit: int) -> Page[FlowRecord]:
        """A page of instances, the newest ``opened_at`` first.

        Raises:
            Rejected: ``after`` is not a cursor of an earlier page.
        """

    def flow(self, key: FlowKey) -> FlowRecord | None:
        """The instance with this flow and key, or None."""

    def flow_counts(
        self, flows: Collection[str] | None, *, since: datetime, until: datetime, bucket: timedelta
    ) -> list[FlowCount]:
        """The sums of instances that opened from ``since`` to before ``until``, by buckets of minutes.

        Of these flows; None: of all. The first bucket begins with the slot of ``since``; buckets of whole slots are
        read from few rows.
        """

    def flow_sums(
        self, flows: Collection[str] | None, *, since: datetime, until: datetime, bucket: timedelta
    ) -> FlowSums:
        """The sums at the latest position of the stream, to which a reader can add the frames after it exactly once."""

    def count(self, flow: str, *, since: datetime, until: datetime, problems: bool) -> int:
        """The number of instances that opened from ``since`` to before ``until``.

        Args:
            flow: the flow.
            since: the beginning of the period.
            until: its end.
            problems: count only those that are mismatched or incomplete.
        """

    def sample(
        self, flow: str, *, since: datetime, until: datetime, problems: bool, among: int, limit: int
    ) -> list[FlowKey]:
        """A random sample of about ``limit`` of the instances that ``count`` counts, in random order.

        Each of these instances is in it with the same probability. Instances that are stored together may be in it
        together.

        Args:
            flow: the flow.
            since: the beginning of the period.
            until: its end.
            problems: take only those that are mismatched or incomplete.
            among: how many there are, by ``count``.
            limit: the most instances in the sample.
        """

    def oldest_open(self, flows: Collection[str]) -> datetime | None:
        """When the oldest open instance of these flows was opened; None when none is open."""
