"""Versions of flows of a store in which nobody has saved any."""

from collections.abc import Sequence
from datetime import datetime

from helios.errors import Retryable
from helios.model.flow_versions import FlowVersion, InForce
from helios.model.paging import Page


class MemoryFlowVersions:
    """Implements the reading half of ``FlowVersions``. Tests that write use Postgres."""

    def in_force(self) -> InForce:
        """No version is in force."""
        return InForce(generation=0, texts={})

    def current(self) -> Sequence[FlowVersion]:
        """There is no version."""
        return []

    def versions(self, flow: str, *, after: str | None, limit: int) -> Page[FlowVersion]:
        """There is no version."""
        return Page(items=[], next_cursor=None)

    def version(self, flow: str, number: int) -> FlowVersion | None:
        """There is no version."""
        return None

    def save(self, flow: str, text: str, *, based_on: int | None, actor: str, now: datetime) -> FlowVersion:
        """Refuse every draft."""
        raise Retryable("this store is read only")

    def mark_previewed(self, flow: str, number: int, *, actor: str, now: datetime) -> FlowVersion | None:
        """There is no version."""
        return None

    def withdraw(self, flow: str, number: int, *, actor: str, now: datetime) -> FlowVersion | None:
        """There is no version."""
        return None

    def approve(self, flow: str, number: int, *, actor: str, now: datetime) -> FlowVersion | None:
        """There is no version."""
        return None
