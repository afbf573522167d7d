"""The audit log: the SQL, and a row as an AuditEntry."""

from typing import Any, LiteralString

import psycopg

from helios.adapters.postgres.query import Query, given
from helios.model.audit import Action, AuditEntry
from helios.model.paging import Page, decode_cursor, encode_cursor

ADD_AUDIT_ENTRY = "INSERT INTO audit_log (at, actor, action, subject, detail) VALUES (%s, %s, %s, %s, %s)"


class PostgresAuditWriter:
    """Implements ``AuditWriter`` on the connection of a unit of work."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def add(self, line: AuditEntry) -> None:
        """Add a line to the audit log."""
        self._connection.execute(ADD_AUDIT_ENTRY, audit_columns(line))


class PostgresAuditReader(Query):
    """Implements ``AuditReader`` on a pool of connections."""

    def audit_log(
        self, *, action: Action | None = None, subject: str | None = None, after: str | None = None, limit: int
    ) -> Page[AuditEntry]:
        """The audit log, or what it says of one action or subject; the newest line first."""
        conditions = given([("action = %s", action), ("subject = %s", subject)])
        if after:
            conditions.append(("id < %s", [decode_cursor(after, int)]))
        select: LiteralString = "SELECT id, at, actor, action, subject, detail FROM audit_log"
        rows = self._page(select, conditions, "ORDER BY id DESC", limit)
        lines = [
            AuditEntry(at=at, actor=actor, action=done, subject=subject, detail=detail)
            for _, at, actor, done, subject, detail in rows[:limit]
        ]
        return Page(items=lines, next_cursor=encode_cursor(rows[limit - 1][0]) if len(rows) > limit else None)


def audit_columns(line: AuditEntry) -> tuple[Any, ...]:
    """A line as ADD_AUDITED takes it."""
    return (line.at, line.actor, line.action, line.subject, line.detail)
