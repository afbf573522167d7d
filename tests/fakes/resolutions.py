"""Resolutions of a store in which nobody has worked on any flow instance."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from helios.errors import Retryable
from helios.model.flows import FlowFilter, Resolution
from helios.model.paging import Page
from helios.model.resolutions import ResolutionAction, ResolutionRequest, Workload
from helios.reconciliation.record import FlowKey


class MemoryResolutions:
    """Implements the reading half of ``Resolutions``. Tests that write use Postgres."""

    def apply(
        self, request: ResolutionRequest, where: FlowFilter | Collection[FlowKey], *, actor: str, now: datetime
    ) -> ResolutionAction:
        """Refuse every step."""
        raise Retryable("this store is read only")

    def undo(self, number: int, *, actor: str, now: datetime) -> ResolutionAction | None:
        """There is no action."""
        return None

    def actions(self, *, instance: FlowKey | None, after: str | None, limit: int) -> Page[ResolutionAction]:
        """There is no action."""
        return Page(items=[], next_cursor=None)

    def resolutions(self, keys: Collection[FlowKey]) -> Mapping[FlowKey, Resolution]:
        """Nobody has resolved anything."""
        return {}

    def workload(self, targets: Mapping[str, int | None], *, now: datetime) -> Sequence[Workload]:
        """There is no work."""
        return []
