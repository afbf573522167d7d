"""Dead letters: the SQL, and the conversion of the rows."""

from collections.abc import Sequence
from datetime import datetime
from typing import LiteralString

import psycopg
from msgspec.structs import replace
from psycopg.rows import TupleRow

from helios.adapters.postgres.parameters import to_json
from helios.adapters.postgres.query import Conditions, Query, conjunction, with_values
from helios.model.dead_letters import (
    LISTED_BODY_BYTES,
    DeadLetter,
    DeadLetterFilter,
    DeadLetterGroup,
    ReplayedAs,
    StoredDeadLetter,
)
from helios.model.erasure import needles
from helios.model.events import Key
from helios.model.paging import Page, decode_cursor, encode_cursor

# The bodies are a binary parameter of their own: as base64 in JSON, a body of 1 MB would occupy Postgres for longer.
ADD_DEAD_LETTERS = """
INSERT INTO dead_letters AS existing
    (fingerprint, source, channel, status, reason, field, body, headers, first_received_at, last_received_at, attempts,
     event_type, event_time)
SELECT fingerprint, source, channel, status, reason, field, body, headers, received_at, received_at, attempts,
       event_type, event_time
FROM ROWS FROM (
    json_to_recordset(%(dead_letters)s::json) AS (
        fingerprint text, source text, channel text, status text, reason text, field text, headers json,
        received_at timestamptz, attempts bigint, event_type text, event_time timestamptz
    ),
    unnest(%(bodies)b::bytea[])
) AS input (
    fingerprint, source, channel, status, reason, field, headers, received_at, attempts, event_type, event_time, body
)
ON CONFLICT (fingerprint) DO UPDATE SET
    attempts = existing.attempts + excluded.attempts,
    last_received_at = greatest(existing.last_received_at, excluded.last_received_at)
"""


LOCK_DEAD_LETTER = "SELECT replayed_at, replayed_keys FROM dead_letters WHERE id = %s FOR UPDATE"


MARK_REPLAYED = """
UPDATE dead_letters SET replayed_as = %s, replayed_keys = %s::json, replayed_at = %s
WHERE id = %s AND replayed_at IS NULL
"""


DEAD_LETTER_COLUMNS = """
id, first_received_at, fingerprint, source, channel, status, reason, field, body, headers, last_received_at, attempts,
octet_length(body), replayed_as, replayed_at, replayed_keys, event_type, event_time
"""

LISTED_COLUMNS = DEAD_LETTER_COLUMNS.replace(" body,", f" substring(body, 1, {LISTED_BODY_BYTES}),", 1)


SELECT_DEAD_LETTER = f"SELECT {DEAD_LETTER_COLUMNS} FROM dead_letters WHERE id = %s"  # noqa: S608 - only a constant is filled in


GROUP_COLUMNS = "count(*), min(first_received_at), max(last_received_at), max(id)"


LARGEST_FIRST = "ORDER BY count(*) DESC, max(id) DESC LIMIT %s"


class PostgresDeadLetterWriter:
    """Implements ``DeadLetterWriter`` on the connection of a unit of work."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def add(self, dead_letters: Sequence[DeadLetter]) -> None:
        """Store dead letters. One whose fingerprint is known adds to the attempts of the stored one."""
        without_bodies = [replace(dead_letter, body=b"") for dead_letter in dead_letters]
        bodies = [dead_letter.body for dead_letter in dead_letters]
        self._connection.execute(ADD_DEAD_LETTERS, {"dead_letters": to_json(without_bodies), "bodies": bodies})

    def replayed(self, number: int) -> list[Key] | None:
        """Lock a dead letter, and return the events that its replay became; None if no replay has succeeded."""
        replayed_at, keys = self._connection.execute(LOCK_DEAD_LETTER, (number,)).fetchone() or (None, None)
        return None if replayed_at is None else [(key[0], key[1], key[2]) for key in keys or []]

    def mark_replayed(self, number: int, replayed_as: ReplayedAs, keys: Sequence[Key], at: datetime) -> None:
        """Record what the replay of a dead letter became. What an earlier replay became is never overwritten."""
        self._connection.execute(MARK_REPLAYED, (replayed_as, to_json(keys), at, number))


class PostgresDeadLetterReader(Query):
    """Implements ``DeadLetterReader`` on a pool of connections."""

    def dead_letters(self, where: DeadLetterFilter, *, after: str | None, limit: int) -> Page[StoredDeadLetter]:
        """A page of dead letters, the newest first."""
        conditions = dead_letter_conditions(where)
        if after:
            conditions.append(("id < %s", [decode_cursor(after, int)]))
        rows = self._page(
            f"SELECT {LISTED_COLUMNS} FROM dead_letters",  # noqa: S608 - only a constant is filled in
            conditions,
            "ORDER BY id DESC",
            limit,
        )
        dead_letters = [dead_letter_from_row(row) for row in rows[:limit]]
        more = len(rows) > limit
        return Page(items=dead_letters, next_cursor=encode_cursor(dead_letters[-1].id) if more else None)

    def dead_letter(self, number: int) -> StoredDeadLetter | None:
        """The dead letter with this id, or None."""
        rows = self._all(SELECT_DEAD_LETTER, [number])
        return dead_letter_from_row(rows[0]) if rows else None

    def dead_letter_groups(
        self, where: DeadLetterFilter, *, limit: int, by_reason: bool = True
    ) -> list[DeadLetterGroup]:
        """Dead letters grouped by source, status, field and reason, the largest group first."""
        sql, values = conjunction(dead_letter_conditions(where))
        reason: LiteralString = "reason" if by_reason else "''"
        return [
            DeadLetterGroup(
                source=source,
                status=status,
                field=field,
                reason=reason,
                count=count,
                first=first,
                last=last,
                example_id=example,
            )
            for source, status, field, reason, count, first, last, example in self._all(
                f"SELECT source, status, field, {reason}, {GROUP_COLUMNS} FROM dead_letters {sql} "  # noqa: S608 - constants
                f"GROUP BY 1, 2, 3, 4 {LARGEST_FIRST}",
                [*values, limit],
            )
        ]


def dead_letter_conditions(where: DeadLetterFilter) -> list[Conditions]:
    """The SQL conditions of a filter on ``dead_letters``."""
    limits: list[Conditions] = []
    if where.limits.sources is not None:
        limits.append(("source = ANY(%s)", [list(where.limits.sources)]))
    if where.limits.by_content:
        limits.append(("false", []))
    if where.mentions is not None:
        # Only a superset: the reader confirms each row, as Postgres does not decode Base64 within a text.
        mentioned: LiteralString = (
            "EXISTS (SELECT FROM unnest(%s::bytea[]) AS needle WHERE position(needle IN body) > 0)"
        )
        limits.append((mentioned, [needles(where.mentions)]))
    return limits + with_values(
        [
            ("source = %s", where.source),
            ("status = %s", where.status),
            ("field = %s", where.field),
            ("reason = %s", where.reason),
            ("last_received_at >= %s", where.since),
            ("first_received_at < %s", where.until),
            ("(replayed_at IS NOT NULL) = %s", where.replayed),
        ]
    )


def dead_letter_from_row(row: TupleRow) -> StoredDeadLetter:
    """The dead letter in a row of DEAD_LETTER_COLUMNS."""
    id_, first, fingerprint, source, channel, status, reason, field, body, headers, last, attempts, size, *replay = row
    replayed_as, replayed_at, replayed_keys, event_type, event_time = replay
    return StoredDeadLetter(
        id=id_,
        first_received_at=first,
        dead_letter=DeadLetter(
            fingerprint=fingerprint,
            source=source,
            channel=channel,
            status=status,
            reason=reason,
            field=field,
            body=bytes(body),
            headers=headers,
            received_at=last,
            attempts=attempts,
            event_type=event_type,
            event_time=event_time,
        ),
        body_bytes=size,
        replayed_as=replayed_as,
        replayed_at=replayed_at,
        replayed_keys=[(key[0], key[1], key[2]) for key in replayed_keys or []],
    )
