"""Recoveries of missing legs: storing them, and the places in the clouds that may still hold the events."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from helios.model.events import Delivery
from helios.model.paging import Page
from helios.model.recoveries import PlaceSearch, Recovery, RecoveryRequest
from helios.model.sources import Source
from helios.reconciliation.declaration import Flow
from helios.reconciliation.leg import Leg
from helios.reconciliation.record import FlowKey, FlowRecord


class Recoveries(Protocol):
    """The recoveries. Every method raises Retryable when the store can't be reached."""

    def start(
        self, request: RecoveryRequest, *, actor: str, is_automatic: bool = False, now: datetime
    ) -> Recovery | None:
        """Store a running recovery and its audit log entry; None if one of this leg is running.

        Raises:
            Rejected: the flow instance is not stored.
        """

    def save(self, recovery: Recovery, *, due_at: datetime) -> None:
        """Store what a recovery has done so far, and its audit log entry if it has ended.

        Args:
            recovery: the recovery.
            due_at: when to work on it again.
        """

    def get(self, number: int) -> Recovery | None:
        """The recovery with this id, or None."""

    def page(self, *, instance: FlowKey | None, after: str | None, limit: int) -> Page[Recovery]:
        """A page of recoveries, or of those of one instance, the newest first.

        Raises:
            Rejected: ``after`` is not a cursor of an earlier page.
        """

    def due(self, now: datetime, *, limit: int) -> list[Recovery]:
        """The running recoveries to work on now, those that have waited longest first."""

    def running(self) -> list[Recovery]:
        """All running recoveries."""

    def automatic_since(self, flow: str, since: datetime) -> int:
        """How many recoveries the policy of a flow has started since then."""

    def untried(
        self, flow: str, *, opened_by: datetime, opened_after: datetime, before: FlowRecord | None, limit: int
    ) -> list[FlowRecord]:
        """Incomplete instances without any recovery, the last opened first.

        Args:
            flow: the flow.
            opened_by: only instances that opened at this time or earlier: their deadline has passed for long enough.
            opened_after: only instances that opened later.
            before: only instances that follow this one in the order; None: from the beginning.
            limit: the most instances.
        """

    def prefix(self) -> str:
        """How the names of everything begin that a recovery of this database creates in a cloud."""


class Taken(NamedTuple):
    """What became of deliveries that a place has offered.

    Attributes:
        matches: which of them are the wanted leg of the instance; the place may remove these.
        new: how many of them Helios had not stored before.
    """

    matches: list[bool]
    new: int


class Wanted(NamedTuple):
    """What a place is to bring back.

    Attributes:
        name: the name of everything that the place creates for it, unique to the recovery.
        flow: the flow.
        leg: the missing leg.
        key: the key of the instance.
        since: the time from which the event may have been published, UTC.
        until: the time up to which it may have been published, UTC.
        take: ingests those of these deliveries that are the wanted leg of the instance and are not stored yet.
    """

    name: str
    flow: Flow
    leg: Leg
    key: str
    since: datetime
    until: datetime
    take: Callable[[Sequence[Delivery]], Taken]


class Place(Protocol):
    """Where a cloud may still hold events that Helios did not store.

    Attributes:
        name: its name, for people.
        source: the cloud.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - above

    @property
    def source(self) -> Source: ...  # noqa: D102 - above

    def search(self, wanted: Wanted) -> PlaceSearch:
        """Look for the wanted events, bring them back, and leave the other events and consumers alone.

        Called again until the search is over, also by another process after this one has died: whatever it creates in
        the cloud has the wanted name.

        Raises:
            TargetUnavailable: the place can't be searched now.
            Rejected: it can't be searched at all, such as without a permission.
        """

    def drop_except(self, names: Collection[str], *, prefix: str) -> int:
        """Remove what searches have created, except under these names, and return how many things were removed.

        Args:
            names: the names of the running recoveries.
            prefix: how the names of all recoveries of this database begin.

        Raises:
            TargetUnavailable: the place does not answer.
            Rejected: it refuses.
        """


Places = Mapping[Source, Sequence[Place]]
"""The places of each cloud, in the order in which they are searched."""
