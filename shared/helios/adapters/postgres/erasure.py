"""Erases events from Postgres, and everything that was made of them: the SQL."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, LiteralString

import msgspec
import psycopg
from psycopg import sql

from helios.adapters.postgres.audit import ADD_AUDIT_ENTRY, audit_columns
from helios.adapters.postgres.connection import connect, lift_timeout, translate_errors
from helios.adapters.postgres.events import EVENT_COLUMNS, event_from_row
from helios.adapters.postgres.flow_versions import begin_generation
from helios.adapters.postgres.parameters import keys_as_json, to_json
from helios.adapters.postgres.retention import attach_detached
from helios.model.audit import AuditEntry
from helios.model.erasure import ESCAPE, Selector, mentions, spelled
from helios.model.events import ERASED, Event

MARK_ERASED = """
INSERT INTO event_ids (key, digest, received_at)
SELECT event_key(source, producer, id), %s, received_at
FROM json_to_recordset(%s::json) AS input (source text, producer text, id text, received_at timestamptz)
ON CONFLICT (key) DO UPDATE SET digest = excluded.digest
"""

_KEYS: LiteralString = """
SELECT event_key(source, producer, id)
FROM json_to_recordset(%s::json) AS input (source text, producer text, id text)
"""

SELECT_FRAMES = "SELECT id, body::text, keys::text FROM frames WHERE id > %s ORDER BY id LIMIT 500"
UPDATE_FRAME = "UPDATE frames SET body = %s::json, keys = %s::json WHERE id = %s"
SELECT_DEAD_LETTERS = (
    "SELECT id, body, headers::text || reason || field FROM dead_letters WHERE id > %s ORDER BY id LIMIT 500"
)

CLEAR_TEXTS = "UPDATE resolution_actions SET text = %s WHERE text ~ %s"

# A partition is scanned as a part of its table, unless its detachment was interrupted: the table then lacks its rows.
SELECT_TABLES = """
SELECT relname FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
    AND NOT (relispartition AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = pg_class.oid AND inhdetachpending))
    AND relname NOT IN ('dead_letters', 'schema_migrations')
ORDER BY relname
"""


class PostgresErasure:
    """Implements ``ErasureStore`` on a connection of its own, without a timeout for statements: a scan reads all."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url

    def attach_partitions(self) -> None:
        """Make the tables partitions again whose drop has begun."""
        with translate_errors(), connect(self._database_url, name="helios-erase", autocommit=True) as connection:
            attach_detached(connection)

    def events(self, selector: Selector) -> list[Event]:
        """The events in Postgres that a selector finds."""
        if selector.is_column:
            where: sql.Composable = sql.SQL("{} = %s").format(sql.Identifier(selector.field))
            values: list[Any] = [selector.value]
        else:
            where, values = sql.SQL("data #>> %s = %s"), [selector.field.split("."), selector.value]
        query = sql.SQL("SELECT {} FROM events WHERE {}").format(sql.SQL(EVENT_COLUMNS), where)
        with translate_errors(), self._connection() as connection:
            return [event_from_row(row) for row in connection.execute(query, values).fetchall()]

    def mark(self, events: Collection[Event]) -> None:
        """Mark the identities of events as erased, also of those that were forgotten."""
        rows = [
            {"source": event.source, "producer": event.producer, "id": event.id, "received_at": event.received_at}
            for event in events
        ]
        with translate_errors(), self._connection() as connection:
            connection.execute(MARK_ERASED, (ERASED, to_json(rows)))

    def remove(
        self, selector: Selector, events: Collection[Event], instances: Collection[tuple[str, str]], *, dry_run: bool
    ) -> dict[str, int]:
        """Remove events and what was made of them, in one transaction, and return the number of rows by table."""
        with translate_errors(), self._connection() as connection, connection.transaction(force_rollback=dry_run):
            return {
                "events": _remove_events(connection, events),
                "flow_instances": _remove_instances(connection, selector, instances),
                "parked": connection.execute(
                    f"DELETE FROM parked WHERE key IN ({_KEYS})",  # noqa: S608 - a constant
                    (keys_as_json([event.key for event in events]),),
                ).rowcount,
                # What people wrote; the resolutions of an instance have gone with it.
                "resolution_actions": connection.execute(CLEAR_TEXTS, (ERASED, _pattern(selector))).rowcount,
                "frames": _clear_frames(connection, selector, events, instances),
                "dead_letters": _remove_dead_letters(connection, selector),
            }

    def exclude_writers(self) -> None:
        """Return once no writer can commit any more what it has made of something that it read before.

        As an approval of rules does: a batch of an earlier generation is refused, and its writer reads again.
        """
        with translate_errors(), self._connection() as connection:
            begin_generation(connection)

    def scan(self, selector: Selector) -> dict[str, int]:
        """The number of rows of each table that mention the value as a whole word, of tables with one."""
        found = {}
        with translate_errors(), self._connection() as connection:
            for (table,) in connection.execute(SELECT_TABLES).fetchall():
                query = sql.SQL("SELECT count(*) FROM {} AS scanned WHERE scanned::text ~ %s")
                row = connection.execute(query.format(sql.Identifier(table)), (_pattern(selector),)).fetchone()
                if row and row[0]:
                    found[table] = row[0]
            if dead_letters := _dead_letters(connection, selector):
                found["dead_letters"] = len(dead_letters)
        return found

    def record(self, entry: AuditEntry) -> None:
        """Add an entry to the audit log."""
        with translate_errors(), self._connection() as connection:
            connection.execute(ADD_AUDIT_ENTRY, audit_columns(entry))

    @contextmanager
    def _connection(self) -> Iterator[psycopg.Connection]:
        """A connection for one transaction."""
        with connect(self._database_url, name="helios-erase") as connection:
            lift_timeout(connection)
            yield connection


def _pattern(selector: Selector) -> str:
    """The regular expression that finds the value as a whole word in the text of a row."""
    return rf"(^|[^[:alnum:]_-]|{ESCAPE}){spelled(selector.value)}([^[:alnum:]_-]|$)"


def _remove_events(connection: psycopg.Connection, events: Collection[Event]) -> int:
    statement = """
        DELETE FROM events USING json_to_recordset(%s::json)
            AS input (source text, producer text, id text, received_at timestamptz)
        WHERE events.received_at = input.received_at AND events.source = input.source AND events.id = input.id
            AND events.producer = input.producer
    """
    return connection.execute(statement, (to_json([_place(event) for event in events]),)).rowcount


def _place(event: Event) -> dict[str, object]:
    return {"source": event.source, "producer": event.producer, "id": event.id, "received_at": event.received_at}


def _remove_instances(
    connection: psycopg.Connection, selector: Selector, instances: Collection[tuple[str, str]]
) -> int:
    """Remove the instances of the events, and those that mention the value. The sums over instances stay."""
    statement = """
        DELETE FROM flow_instances
        WHERE (flow, key) IN (SELECT flow, key FROM json_to_recordset(%s::json) AS input (flow text, key text))
            OR key = %s OR details ~ %s
    """
    rows = [{"flow": flow, "key": key} for flow, key in instances]
    return connection.execute(statement, (to_json(rows), selector.value, _pattern(selector))).rowcount


def _clear_frames(
    connection: psycopg.Connection,
    selector: Selector,
    events: Collection[Event],
    instances: Collection[tuple[str, str]],
) -> int:
    """Take events and instances out of the frames, which stay with their positions and counts."""
    keys, number, last = {event.key for event in events}, 0, 0
    while rows := connection.execute(SELECT_FRAMES, (last,)).fetchall():
        last = rows[-1][0]
        for id_, body_text, keys_text in rows:
            body, places = msgspec.json.decode(body_text), msgspec.json.decode(keys_text)
            body["events"] = [
                item
                for item in body["events"]
                if (item["source"], item["producer"], item["id"]) not in keys and not _mentions(item, selector)
            ]
            body["flows"] = [
                item
                for item in body.get("flows", [])
                if (item["flow"], item["key"]) not in instances and not _mentions(item, selector)
            ]
            for place in places:
                place["ids"] = [each for each in place["ids"] if (place["source"], place["producer"], each) not in keys]
            after = (to_json(body), to_json(places))
            if after != (to_json(msgspec.json.decode(body_text)), to_json(msgspec.json.decode(keys_text))):
                connection.execute(UPDATE_FRAME, (*after, id_))
                number += 1
    return number


def _mentions(item: object, selector: Selector) -> bool:
    return mentions(msgspec.json.encode(item), selector.value)


def _remove_dead_letters(connection: psycopg.Connection, selector: Selector) -> int:
    found = _dead_letters(connection, selector)
    return connection.execute("DELETE FROM dead_letters WHERE id = ANY(%s)", (found,)).rowcount


def _dead_letters(connection: psycopg.Connection, selector: Selector) -> list[int]:
    """The ids of the dead letters that mention the value."""
    found: list[int] = []
    last = 0
    while rows := connection.execute(SELECT_DEAD_LETTERS, (last,)).fetchall():
        last = rows[-1][0]
        found += [
            id_ for id_, body, rest in rows if mentions(body, selector.value) or mentions(rest.encode(), selector.value)
        ]
    return found
