"""Incidents in a dictionary, for a Helios in one process."""

from collections import Counter
from datetime import datetime

import msgspec

from helios.model.incidents import (
    SEVERITIES,
    Acknowledge,
    Assign,
    Attention,
    Incident,
    IncidentAction,
    IncidentFilter,
    Snooze,
    audit_entry,
)
from helios.model.paging import Page, decode_cursor, encode_cursor
from tests.fakes.store import MemoryStore


class MemoryIncidents:
    """Implements ``IncidentReader`` on incidents that a test adds."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.by_id: dict[int, Incident] = {}
        self.failing: dict[str, int] = {}

    def incidents(self, where: IncidentFilter, *, after: str | None, limit: int) -> Page[Incident]:
        """A page of incidents, the newest first."""
        before = decode_cursor(after, int) if after else None
        following = [
            incident
            for incident in sorted(self.by_id.values(), key=lambda incident: incident.id, reverse=True)
            if (before is None or incident.id < before) and _matches(incident, where)
        ]
        items = following[:limit]
        return Page(items=items, next_cursor=encode_cursor(items[-1].id) if len(following) > limit else None)

    def incident(self, id_: int) -> Incident | None:
        """The incident with this id, or None."""
        return self.by_id.get(id_)

    def attention(self, now: datetime) -> Attention:
        """The number of open incidents, and what a test says of notifications."""
        shown = IncidentFilter(state="open", snoozed=False, now=now)
        found = Counter(incident.severity for incident in self.by_id.values() if _matches(incident, shown))
        return Attention(incidents={severity: found[severity] for severity in SEVERITIES}, failing=self.failing)

    def act(self, id_: int, action: IncidentAction, *, actor: str, now: datetime) -> Incident | None:
        """Apply what a user does, with its entry in the audit log; None if no open incident has this id."""
        incident = self.by_id.get(id_)
        if incident is None or incident.resolved_at:
            return None
        match action:
            case Acknowledge(acknowledged=True):
                changes: dict[str, object] = {"acknowledged_by": actor, "acknowledged_at": now}
            case Acknowledge():
                changes = {"acknowledged_by": None, "acknowledged_at": None}
            case Snooze():
                changes = {"snoozed_until": action.until}
            case Assign():
                changes = {"assignee": action.assignee}
        self.by_id[id_] = incident = msgspec.structs.replace(incident, **changes)
        with self._store.transaction() as work:
            work.audit.add(audit_entry(incident, action, actor=actor, at=now))
        return incident


def _matches(incident: Incident, where: IncidentFilter) -> bool:
    snoozed = bool(where.now and incident.snoozed_until and incident.snoozed_until > where.now)
    return (
        (where.state is None or where.state == ("resolved" if incident.resolved_at else "open"))
        and (not where.kind or incident.cause.kind in where.kind)
        and where.flow in {None, incident.cause.flow}
        and where.source in {None, incident.cause.source}
        and where.snoozed in {None, snoozed}
        and where.limits.allows(incident.cause)
    )
