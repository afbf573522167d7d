"""The versions of flows: saving, approving and reading them, and the recompute that an approval starts."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol

from helios.model.flow_versions import FlowVersion, InForce, Recompute
from helios.model.paging import Page


class RulesReader(Protocol):
    """Reads the versions in force."""

    def in_force(self) -> InForce:
        """The versions in force, and their generation, of one moment.

        Raises:
            Retryable: the store can't be reached.
        """


class FlowVersions(RulesReader, Protocol):
    """The versions of flows. Every method raises Retryable when the store can't be reached."""

    def current(self) -> Sequence[FlowVersion]:
        """Of each flow: the version in force, the draft and the latest version; sorted by flow and version."""

    def versions(self, flow: str, *, after: str | None, limit: int) -> Page[FlowVersion]:
        """A page of the versions of a flow, the newest first.

        Raises:
            Rejected: ``after`` is not a cursor of an earlier page.
        """

    def version(self, flow: str, number: int) -> FlowVersion | None:
        """One version, or None."""

    def save(self, flow: str, text: str, *, based_on: int | None, actor: str, now: datetime) -> FlowVersion:
        """Save a draft, which replaces an earlier draft, with its entry in the audit log.

        Raises:
            Rejected: ``based_on`` is not the latest version.
        """

    def mark_previewed(self, flow: str, number: int, *, actor: str, now: datetime) -> FlowVersion | None:
        """Record that a version was previewed, with an entry in the audit log; None: there is no such version."""

    def approve(self, flow: str, number: int, *, actor: str, now: datetime) -> FlowVersion | None:
        """Put a draft in force in place of the version before, and start its recompute; None: no such version.

        When it returns, no unit of work by the earlier rules can commit any more, and all that did are visible.

        Raises:
            Rejected: the version is no draft, or was not previewed.
        """

    def withdraw(self, flow: str, number: int, *, actor: str, now: datetime) -> FlowVersion | None:
        """End a flow by withdrawing its version in force; None: no such version.

        Its instances stay as they are, and none of them waits any more. As after ``approve``, no unit of work by the
        earlier rules can commit when it returns.

        Raises:
            Rejected: the version is not in force.
        """


class Recomputes(Protocol):
    """How far the recomputes are. Every method raises Retryable when the store can't be reached."""

    def unfinished(self) -> Sequence[Recompute]:
        """The recomputes of versions in force that have not finished, the first started first."""

    def advance(self, recompute: Recompute, *, cursor: str | None, events: int, instances: int, now: datetime) -> bool:
        """Record that a page was evaluated; without a cursor for the next one, the recompute has finished.

        Returns:
            False: another process has evaluated the page already, and nothing was recorded.
        """

    def end_waiting(self, judged: Collection[str]) -> int:
        """Let no instance of a withdrawn flow wait, and return how many did.

        ``FlowVersions.withdraw`` does so, but another engine may have judged some of them before it knew of that.

        Args:
            judged: the flows that are judged nevertheless.
        """
