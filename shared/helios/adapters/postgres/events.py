"""Events: the SQL, and the conversion of the rows."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, LiteralString

import msgspec
import psycopg
from msgspec import Raw

from helios.adapters.postgres.parameters import keys_as_json, to_json
from helios.adapters.postgres.query import Conditions, Query, limit_conditions, with_values
from helios.model.events import Event, EventFilter, Key
from helios.model.paging import Page, decode_cursor, encode_cursor
from helios.ports.pending import Pending

EVENT_COLUMNS = """
events.source, events.producer, events.id, events.type, events.subject, events.time, events.received_at,
events.data::text, events.attributes::text, events.order_id, events.customer_id, events.amount, events.digest
"""


_TYPES = {
    "source": "text",
    "producer": "text",
    "id": "text",
    "type": "text",
    "subject": "text",
    "time": "timestamptz",
    "received_at": "timestamptz",
    "data": "json",
    "attributes": "jsonb",
    "order_id": "text",
    "customer_id": "text",
    "amount": "numeric",
    "digest": "text",
}


def _new_ids(rows: str) -> str:
    """The parts of a statement that insert the identities of these rows.

    event_ids decides what is new: a unique key over partitions can't exist. Of a conflicting insert only the key is
    rolled back, since an event is inserted for each key that is new.
    """
    return f"""
input AS MATERIALIZED ({rows}), new AS (
    INSERT INTO event_ids (key, digest, received_at) SELECT key, digest, received_at FROM input
    ON CONFLICT (key) DO NOTHING
    RETURNING key
)
"""  # noqa: S608 - only constants are filled in


# json_to_recordset makes SQL NULL of JSON null, which is the data of an event without data.
NEW_EVENT_IDS = _new_ids(f"""
    SELECT event_key(source, producer, id) AS key, * FROM json_to_recordset(%(events)s::json)
    AS input ({", ".join(f"{name} {type_}" for name, type_ in _TYPES.items())})
""")  # noqa: S608 - the same


# Of a single event, without the function scan; see ``values``.
NEW_EVENT_ID = _new_ids(f"""
    SELECT event_key(%(source)s, %(producer)s, %(id)s) AS key,
        {", ".join(f"%({name})s::{type_} AS {name}" for name, type_ in _TYPES.items())}
""")


INSERT_NEW_EVENTS: LiteralString = """
INSERT INTO events
    (source, producer, id, type, subject, time, received_at, data, attributes, order_id, customer_id, amount, digest)
SELECT source, producer, id, type, subject, time, received_at, coalesce(data, 'null'::json), attributes, order_id,
       customer_id, amount, digest
FROM input JOIN new USING (key)
"""

INSERT_EVENTS = f"WITH {NEW_EVENT_IDS} {INSERT_NEW_EVENTS} RETURNING source, producer, id"


SELECT_DIGESTS = """
SELECT source, producer, id, digest
FROM json_to_recordset(%s::json) AS input (source text, producer text, id text)
JOIN event_ids ON event_ids.key = event_key(source, producer, id)
"""


# received_at selects the partition.
SELECT_EVENTS = f"""
SELECT {EVENT_COLUMNS}
FROM json_to_recordset(%s::json) AS input (source text, producer text, id text)
JOIN event_ids ON event_ids.key = event_key(input.source, input.producer, input.id)
JOIN events ON events.received_at = event_ids.received_at AND events.source = input.source
    AND events.id = input.id AND events.producer = input.producer
"""  # noqa: S608 - only a constant is filled in


SELECT_EVENT = f"""
SELECT {EVENT_COLUMNS}
FROM event_ids JOIN events ON events.received_at = event_ids.received_at
WHERE event_ids.key = event_key(%(source)s, %(producer)s, %(id)s)
    AND events.source = %(source)s AND events.id = %(id)s AND events.producer = %(producer)s
"""  # noqa: S608 - only a constant is filled in

# Of events whose identities retention has removed.
SELECT_EVENTS_AT = f"""
SELECT {EVENT_COLUMNS}
FROM unnest(%s::timestamptz[], %s::text[], %s::text[], %s::text[]) AS input (received_at, source, producer, id)
JOIN events ON events.received_at = input.received_at AND events.source = input.source
    AND events.id = input.id AND events.producer = input.producer
"""  # noqa: S608 - the same

PLACE: LiteralString = "received_at, source, id, producer"
"""The columns by which events are ordered."""

IN_ORDER: LiteralString = 'received_at, source COLLATE "C", id COLLATE "C", producer COLLATE "C"'
"""The order of events: of their receipt. The archive and Python order text as "C" does, a database in its own way."""


def values(event: Event) -> dict[str, object]:
    """The parameters of NEW_EVENT_ID."""
    columns = {name: getattr(event, name) for name in _TYPES}
    return columns | {"data": bytes(event.data).decode(), "attributes": to_json(event.attributes)}


class PostgresEventWriter:
    """Implements ``EventWriter`` on the connection of a unit of work."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def insert(self, events: Sequence[Event]) -> Pending[set[Key]]:
        """Begin to store the events that are new; the result is their keys."""
        if not events:
            return Pending(set)
        inserted = self._connection.execute(INSERT_EVENTS, {"events": to_json(events)})
        return Pending(lambda: set(inserted.fetchall()))

    def digests(self, keys: Collection[Key]) -> dict[Key, str]:
        """The content digest of each stored event among the keys."""
        if not keys:
            return {}
        rows = self._connection.execute(SELECT_DIGESTS, (keys_as_json(keys),)).fetchall()
        return {(source, producer, id_): digest for source, producer, id_, digest in rows}

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
            position = decode_cursor(after, tuple[datetime, str, str, str])
            conditions.append((f"({IN_ORDER}) < (%s, %s, %s, %s)", list(position)))
        rows = self._page(
            f"SELECT {EVENT_COLUMNS} FROM events",  # noqa: S608 - only a constant is filled in
            conditions,
            f"ORDER BY {IN_ORDER.replace(',', ' DESC,')} DESC",
            limit,
        )
        events = [event_from_row(row) for row in rows[:limit]]
        more = len(rows) > limit
        last = place_of(events[-1]) if more else None
        return Page(items=events, next_cursor=encode_cursor(last) if last else None)

    def event(self, key: Key) -> Event | None:
        """The event with this identity, or None."""
        source, producer, id_ = key
        rows = self._all(SELECT_EVENT, {"source": source, "producer": producer, "id": id_})
        return event_from_row(rows[0]) if rows else None

    def find(self, keys: Collection[Key], *, received_at: Mapping[Key, datetime] | None = None) -> list[Event]:
        """The events with these identities, in any order."""
        rows = self._all(SELECT_EVENTS, [keys_as_json(keys)]) if keys else []
        events = [event_from_row(row) for row in rows]
        missing = (received_at or {}).keys() & (set(keys) - {event.key for event in events})
        if missing and received_at:
            places = [(received_at[key], *key) for key in sorted(missing)]
            times, sources, producers, ids = map(list, zip(*places, strict=True))
            events += [event_from_row(row) for row in self._all(SELECT_EVENTS_AT, [times, sources, producers, ids])]
        return events


def event_conditions(where: EventFilter) -> list[Conditions]:
    """The SQL conditions of a filter on ``events``."""
    return limit_conditions(where.limits) + with_values(
        [
            ("source = %s", where.source),
            ("type = %s", where.type),
            ("order_id = %s", where.order_id),
            # The second condition is that of the index.
            ("attributes @> %s::jsonb AND attributes <> '{}'", to_json(where.attributes) if where.attributes else None),
            ("received_at >= %s", where.since),
            ("received_at < %s", where.until),
        ]
    )


def place_of(event: Event) -> tuple[datetime, str, str, str]:
    """The place of an event IN_ORDER."""
    return (event.received_at, event.source, event.id, event.producer)


def event_from_row(row: tuple[Any, ...]) -> Event:
    """The Event in a row of EVENT_COLUMNS."""
    source, producer, id_, type_, subject, time, received_at, data, attributes, *known = row
    order_id, customer_id, amount, digest = known
    return Event(
        source=source,
        producer=producer,
        id=id_,
        type=type_,
        subject=subject,
        time=time,
        received_at=received_at,
        data=Raw(data),
        attributes=msgspec.json.decode(attributes) if attributes != "{}" else {},
        order_id=order_id,
        customer_id=customer_id,
        amount=amount if amount is None else Decimal(amount),
        digest=digest,
    )
