"""Resolutions of flow instances: changing them, undoing a change, and reading them."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from helios.model.flows import FlowFilter, Resolution
from helios.model.paging import Page
from helios.model.resolutions import ResolutionAction, ResolutionRequest, Workload
from helios.reconciliation.record import FlowKey


class Resolutions(Protocol):
    """The resolutions. Every method raises Retryable when the store can't be reached."""

    def apply(
        self, request: ResolutionRequest, where: FlowFilter | Collection[FlowKey], *, actor: str, now: datetime
    ) -> ResolutionAction:
        """Take a step for all of these instances, with its entry in the audit log, in one transaction.

        Raises:
            Rejected: no instance, or more than MAX_INSTANCES, match, or one that is named does not exist.
        """

    def undo(self, number: int, *, actor: str, now: datetime) -> ResolutionAction | None:
        """Restore what an action has changed, where no later action has changed it again; None: no such action.

        Raises:
            Rejected: the action was undone before, or is an undo itself.
        """

    def actions(self, *, instance: FlowKey | None, after: str | None, limit: int) -> Page[ResolutionAction]:
        """A page of actions, or of those on one instance, the newest first.

        Raises:
            Rejected: ``after`` is not a cursor of an earlier page.
        """

    def resolutions(self, keys: Collection[FlowKey]) -> Mapping[FlowKey, Resolution]:
        """The resolutions of these instances; an instance on which nobody has worked is left out."""

    def workload(self, targets: Mapping[str, int | None], *, now: datetime) -> Sequence[Workload]:
        """The unresolved problems by flow, age and assignee.

        Args:
            targets: the flows, each with the seconds within which its problems should be resolved, or None.
            now: the end of the ages.
        """
