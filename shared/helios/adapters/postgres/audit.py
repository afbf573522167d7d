"""The audit log: its SQL, and the conversion of its rows."""

from typing import Any, LiteralString

import psycopg

from helios.adapters.postgres.query import Query, with_values
from helios.model.audit import Action, AuditEntry
from helios.model.paging import Page, decode_cursor, encode_cursor

ADD_AUDIT_ENTRY = "INSERT INTO audit_log (at, actor, action, subject, detail) VALUES (%s, %s, %s, %s, %s)"


class PostgresAuditWriter:
    """Implements ``AuditWriter`` on the connection of a unit of work."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def add(self, entry: AuditEntry) -> None:
        """Add an entry."""
        self._connection.execute(ADD_AUDIT_ENTRY, audit_columns(entry))


class PostgresAuditReader(Query):
    """Implements ``AuditReader`` on a pool of connections."""

    def audit_log(
        self, *, action: Action | None = None, subject: str | None = None, after: str | None = None, limit: int
    ) -> Page[AuditEntry]:
        """A page of entries, or of those about one action or subject; the newest first."""
        conditions = with_values([("action = %s", action), ("subject = %s", subject)])
        if after:
            conditions.append(("id < %s", [decode_cursor(after, int)]))
        select: LiteralString = "SELECT id, at, actor, action, subject, detail FROM audit_log"
        rows = self._page(select, conditions, "ORDER BY id DESC", limit)
        entries = [
            AuditEntry(at=at, actor=actor, action=action, subject=subject, detail=detail)
            for _, at, actor, action, subject, detail in rows[:limit]
        ]
        return Page(items=entries, next_cursor=encode_cursor(rows[limit - 1][0]) if len(rows) > limit else None)


def audit_columns(entry: AuditEntry) -> tuple[Any, ...]:
    """The parameters of ADD_AUDIT_ENTRY."""
    return (entry.at, entry.actor, entry.action, entry.subject, entry.detail)
