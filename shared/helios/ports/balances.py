"""Balances: what manifests declare, what arrived, and the turn of the process that compares the two."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Protocol

from helios.model.balances import Arrivals, Balance, BalanceFilter, Manifest, MissingChange, Repeats
from helios.model.paging import Page


class BalanceWriter(Protocol):
    """What manifests declare, within a unit of work."""

    def declare(self, manifests: Sequence[Manifest]) -> None:
        """Store what manifests declare. Of those with the same identity, the one with the greatest rank stays.

        The identities are distinct and sorted.
        """

    def repeat(self, repeats: Sequence[Repeats]) -> None:
        """Add deliveries that repeated a stored event."""

    def arrive(self, arrivals: Sequence[Arrivals]) -> None:
        """Add events that arrived, and that the store does not have."""


class BalanceTurn(Protocol):
    """One transaction of the only process that counts now."""

    def oldest(self, now: datetime) -> datetime | None:
        """The time of receipt up to which the events of every due balance are counted; None: none is due.

        A balance is due when its grace period is over, and every minute after that while events are missing.
        """

    def count(self, now: datetime, *, since: datetime, until: datetime, settled_before: datetime) -> None:
        """Count the events that were received in a period, for the due balances.

        Args:
            now: decides which balances are due; the same in all calls of a run.
            since: the beginning of the period; events that a balance has counted before are not counted again.
            until: its end.
            settled_before: later, no further event with an earlier time of receipt becomes visible. What is received
                from then on is counted again by the next turn.
        """

    def balance(self, now: datetime, *, at_last: datetime) -> list[MissingChange]:
        """Compare what was counted with what was declared, and return by how much the missing events changed.

        A due balance is closed if nothing is missing, or if its minute is before ``at_last``.
        """

    def report(self, changes: Sequence[MissingChange]) -> None:
        """Pass the changes on to the incidents."""

    def forget_repeats(self, *, before: datetime, after: datetime, limit: int) -> int:
        """Remove at most ``limit`` counts of repeated events of minutes outside a period; return how many."""

    def forget_arrivals(self, *, before: datetime, limit: int) -> int:
        """Remove at most ``limit`` counts of events that were received before a time; return how many."""


class BalanceStore(Protocol):
    """Opens balances, and gives turns. Every method raises Retryable when the store can't be reached."""

    def open(self, *, at_first: datetime, grace: timedelta, limit: int) -> int:
        """Open a balance for at most ``limit`` manifests that are new or were replaced, and return how many there were.

        Args:
            at_first: the balance of an earlier minute is never counted.
            grace: how long after its minute a balance is complete, and how much earlier an event may arrive.
            limit: the most manifests.
        """

    def turn(self) -> AbstractContextManager[BalanceTurn | None]:
        """The turn, which is stored when the block ends normally; None: another process has the turn."""


class BalanceReader(Protocol):
    """Reads balances. Every method raises Retryable when the store can't be reached."""

    def balances(self, where: BalanceFilter, *, after: str | None, limit: int) -> Page[Balance]:
        """A page of balances, the newest minute first.

        Raises:
            Rejected: ``after`` is not a cursor of an earlier page.
        """
