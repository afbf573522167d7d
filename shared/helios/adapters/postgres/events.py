"""Events: the SQL, and the conversion of the rows."""

from collections.abc import Collection, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import psycopg
from msgspec import Raw

from helios.adapters.postgres.parameters import keys_as_json, to_json
from helios.adapters.postgres.query import Conditions, Query, with_values
from helios.model.events import Event, EventFilter, Key
from helios.model.paging import Page, decode_cursor, encode_cursor
from helios.ports.pending import Pending

EVENT_COLUMNS = (
    "source, id, type, subject, time, received_at, origin, data::text, order_id, customer_id, amount, digest"
)


# json_to_recordset makes SQL NULL of JSON null, which is the data of an event without data.
INSERT_EVENTS = """
INSERT INTO events
    (source, id, type, subject, time, received_at, origin, data, order_id, customer_id, amount, digest)
SELECT source, id, type, subject, time, received_at, origin, coalesce(data, 'null'::json), order_id, customer_id,
       amount, digest
FROM json_to_recordset(%s::json) AS input (
    source text, id text, type text, subject text, time timestamptz, received_at timestamptz, origin text,
    data json, order_id text, customer_id text, amount numeric, digest text
)
ON CONFLICT (source, id) DO NOTHING
RETURNING source, id
"""


SELECT_DIGESTS = """
SELECT source, id, digest
FROM json_to_recordset(%s::json) AS input (source text, id text)
JOIN events USING (source, id)
"""


SELECT_EVENTS = f"""
SELECT {EVENT_COLUMNS}
FROM json_to_recordset(%s::json) AS input (source text, id text)
JOIN events USING (source, id)
"""  # noqa: S608 - only a constant is filled in


SELECT_EVENT = f"SELECT {EVENT_COLUMNS} FROM events WHERE source = %s AND id = %s"  # noqa: S608 - only a constant is filled in


class PostgresEventWriter:
    """Implements ``EventWriter`` on the connection of a unit of work."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def insert(self, events: Sequence[Event]) -> Pending[set[Key]]:
        """Begin to store the events that are new; the result is their keys."""
        if not events:
            return Pending(set)
        inserted = self._connection.execute(INSERT_EVENTS, (to_json(events),))
        return Pending(lambda: set(inserted.fetchall()))

    def digests(self, keys: Collection[Key]) -> dict[Key, str]:
        """The content digest of each stored event among the keys."""
        if not keys:
            return {}
        rows = self._connection.execute(SELECT_DIGESTS, (keys_as_json(keys),)).fetchall()
        return {(source, id_): digest for source, id_, digest in rows}

    def get(self, keys: Collection[Key]) -> dict[Key, Event]:
        """The stored events among the keys."""
        if not keys:
            return {}
        rows = self._connection.execute(SELECT_EVENTS, (keys_as_json(keys),)).fetchall()
        events = [event_from_row(row) for row in rows]
        return {event.key: event for event in events}


class PostgresEventReader(Query):
    """Implements ``EventReader`` on a pool of connections."""

    def events(self, where: EventFilter, *, after: str | None, limit: int) -> Page[Event]:
        """A page of events, the newest ``received_at`` first."""
        conditions = event_conditions(where)
        if after:
            position = decode_cursor(after, tuple[datetime, str, str])
            conditions.append(("(received_at, source, id) < (%s, %s, %s)", list(position)))
        rows = self._page(
            f"SELECT {EVENT_COLUMNS} FROM events",  # noqa: S608 - only a constant is filled in
            conditions,
            "ORDER BY received_at DESC, source DESC, id DESC",
            limit,
        )
        events = [event_from_row(row) for row in rows[:limit]]
        more = len(rows) > limit
        last = (events[-1].received_at, *events[-1].key) if more else None
        return Page(items=events, next_cursor=encode_cursor(last) if last else None)

    def event(self, key: Key) -> Event | None:
        """The event with this identity, or None."""
        rows = self._all(SELECT_EVENT, list(key))
        return event_from_row(rows[0]) if rows else None


def event_conditions(where: EventFilter) -> list[Conditions]:
    """The SQL conditions of a filter on ``events``."""
    return with_values(
        [
            ("source = %s", where.source),
            ("type = %s", where.type),
            ("order_id = %s", where.order_id),
            ("received_at >= %s", where.since),
            ("received_at < %s", where.until),
        ]
    )


def event_from_row(row: tuple[Any, ...]) -> Event:
    """The Event in a row of EVENT_COLUMNS."""
    source, id_, type_, subject, time, received_at, origin, data, order_id, customer_id, amount, digest = row
    return Event(
        source=source,
        id=id_,
        type=type_,
        subject=subject,
        time=time,
        received_at=received_at,
        origin=origin,
        data=Raw(data),
        order_id=order_id,
        customer_id=customer_id,
        amount=amount if amount is None else Decimal(amount),
        digest=digest,
    )
