"""The audit log: adding to it, and reading it."""

from typing import Protocol

from helios.model.audit import Action, AuditEntry
from helios.model.paging import Page


class AuditWriter(Protocol):
    """The audit log, within a unit of work."""

    def add(self, entry: AuditEntry) -> None:
        """Add an entry."""


class AuditReader(Protocol):
    """Reads the audit log. Every method raises Retryable when the store can't be reached."""

    def audit_log(
        self, *, action: Action | None = None, subject: str | None = None, after: str | None = None, limit: int
    ) -> Page[AuditEntry]:
        """A page of entries, or of those about one action or subject; the newest first.

        Raises:
            Rejected: ``after`` is not a cursor of an earlier page.
        """
