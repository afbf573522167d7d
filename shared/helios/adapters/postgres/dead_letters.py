"""Dead letters: the SQL, and the conversion of the rows."""

from collections.abc import Sequence
from datetime import datetime

import psycopg
from psycopg.rows import TupleRow

from helios.adapters.postgres.parameters import to_json
from helios.adapters.postgres.query import Conditions, Query, conjunction, with_values
from helios.model.dead_letters import DeadLetter, DeadLetterFilter, DeadLetterGroup, ReplayedAs, StoredDeadLetter
from helios.model.events import Key
from helios.model.paging import Page, decode_cursor, encode_cursor

ADD_DEAD_LETTERS = """
INSERT INTO dead_letters AS existing
    (fingerprint, source, channel, status, reason, field, body, headers, first_received_at, last_received_at, attempts)
SELECT fingerprint, source, channel, status, reason, field, decode(body, 'base64'), headers,
       received_at, received_at, attempts
FROM json_to_recordset(%s::json) AS input (
    fingerprint text, source text, channel text, status text, reason text, field text, body text, headers json,
    received_at timestamptz, attempts bigint
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
replayed_as, replayed_at, replayed_keys
"""


SELECT_DEAD_LETTER = f"SELECT {DEAD_LETTER_COLUMNS} FROM dead_letters WHERE id = %s"  # noqa: S608 - only a constant is filled in


GROUP_COLUMNS = """
source, status, field, reason, count(*), min(first_received_at), max(last_received_at), max(id)
"""


BY_GROUP = "GROUP BY source, status, field, reason ORDER BY count(*) DESC, max(id) DESC LIMIT %s"


class PostgresDeadLetterWriter:
    """Implements ``DeadLetterWriter`` on the connection of a unit of work."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def add(self, dead_letters: Sequence[DeadLetter]) -> None:
        """Store dead letters. One whose fingerprint is known adds to the attempts of the stored one."""
        self._connection.execute(ADD_DEAD_LETTERS, (to_json(dead_letters),))

    def replayed(self, number: int) -> list[Key] | None:
        """Lock a dead letter, and return the events that its replay became; None if no replay has succeeded."""
        replayed_at, keys = self._connection.execute(LOCK_DEAD_LETTER, (number,)).fetchone() or (None, None)
        return None if replayed_at is None else [(source, id_) for source, id_ in keys or []]

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
            f"SELECT {DEAD_LETTER_COLUMNS} FROM dead_letters",  # noqa: S608 - only a constant is filled in
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

    def dead_letter_groups(self, where: DeadLetterFilter, *, limit: int) -> list[DeadLetterGroup]:
        """Dead letters grouped by source, status, field and reason, the largest group first."""
        sql, values = conjunction(dead_letter_conditions(where))
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
                f"SELECT {GROUP_COLUMNS} FROM dead_letters {sql} {BY_GROUP}",  # noqa: S608 - only constants are filled in
                [*values, limit],
            )
        ]


def dead_letter_conditions(where: DeadLetterFilter) -> list[Conditions]:
    """The SQL conditions of a filter on ``dead_letters``."""
    return with_values(
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
    id_, first, fingerprint, source, channel, status, reason, field, body, headers, last, attempts, *replay = row
    replayed_as, replayed_at, replayed_keys = replay
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
        ),
        replayed_as=replayed_as,
        replayed_at=replayed_at,
        replayed_keys=[(key_source, key_id) for key_source, key_id in replayed_keys or []],
    )
