"""The write side: one batch, one transaction, one JSON parameter a table.

A single JSON parameter read by ``json_to_recordset`` moves a batch about three times as fast as psycopg's
adaptation of twelve lists, and as fast as COPY into a temporary table, without one.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import msgspec
import psycopg

from helios.adapters.postgres.connection import Pool, translated
from helios.adapters.postgres.flows import (
    COUNT_FLOWS,
    COUNT_SLOTS,
    FIND_FLOWS,
    OVERDUE_FLOWS,
    REFUSED_FLOWS,
    WRITE_FLOWS,
    columns,
    flow_from_row,
)
from helios.adapters.postgres.rows import EVENT_COLUMNS, SELECT_MINUTES, event_from_row, minute_from_row
from helios.model.audit import AuditEntry
from helios.model.counts import Count, MinuteCount
from helios.model.dead_letters import DeadLetter, ReplayedAs
from helios.model.events import Event, Key
from helios.model.flows import Due
from helios.model.stream import Frame
from helios.reconciliation.evaluate import AFTER
from helios.reconciliation.record import FlowCount, FlowKey, FlowRecord

INSERT_EVENTS = """
INSERT INTO events
    (source, id, type, subject, time, received_at, origin, data, order_id, customer_id, amount, digest)
SELECT source, id, type, subject, time, received_at, origin, data, order_id, customer_id, amount, digest
FROM json_to_recordset(%s::json) AS given (
    source text, id text, type text, subject text, time timestamptz, received_at timestamptz, origin text,
    data json, order_id text, customer_id text, amount numeric, digest text
)
ON CONFLICT (source, id) DO NOTHING
RETURNING source, id
"""

SELECT_DIGESTS = """
SELECT source, id, digest
FROM json_to_recordset(%s::json) AS given (source text, id text)
JOIN events USING (source, id)
"""

SELECT_EVENTS = f"""
SELECT {EVENT_COLUMNS}
FROM json_to_recordset(%s::json) AS given (source text, id text)
JOIN events USING (source, id)
"""  # noqa: S608 - only a constant of ours is filled in

ADD_COUNTS = """
INSERT INTO event_counts AS known (minute, source, type, stored, duplicate, contradictory, rejected)
SELECT minute, source, type, stored, duplicate, contradictory, rejected
FROM json_to_recordset(%s::json) AS given (
    minute timestamptz, source text, type text,
    stored bigint, duplicate bigint, contradictory bigint, rejected bigint
)
ON CONFLICT (minute, source, type) DO UPDATE SET
    stored = known.stored + excluded.stored,
    duplicate = known.duplicate + excluded.duplicate,
    contradictory = known.contradictory + excluded.contradictory,
    rejected = known.rejected + excluded.rejected
"""

# Ordered, as the counts are: concurrent writers of the same rows in different order deadlock.
ADD_TOTALS = """
INSERT INTO event_totals AS total (since, source, stored, duplicate, contradictory, rejected)
SELECT bucket.since, source, sum(stored), sum(duplicate), sum(contradictory), sum(rejected)
FROM json_to_recordset(%s::json) AS given (
    minute timestamptz, source text, stored bigint, duplicate bigint, contradictory bigint, rejected bigint
), LATERAL (VALUES ('-infinity'::timestamptz), (date_trunc('hour', minute, 'UTC'))) AS bucket (since)
GROUP BY bucket.since, source
ORDER BY bucket.since, source
ON CONFLICT (since, source) DO UPDATE SET
    stored = total.stored + excluded.stored,
    duplicate = total.duplicate + excluded.duplicate,
    contradictory = total.contradictory + excluded.contradictory,
    rejected = total.rejected + excluded.rejected
"""

ADD_DEAD_LETTERS = """
INSERT INTO dead_letters AS grave
    (fingerprint, source, channel, status, reason, field, body, headers, first_received_at, last_received_at, attempts)
SELECT fingerprint, source, channel, status, reason, field, decode(body, 'base64'), headers,
       received_at, received_at, attempts
FROM json_to_recordset(%s::json) AS given (
    fingerprint text, source text, channel text, status text, reason text, field text, body text, headers json,
    received_at timestamptz, attempts bigint
)
ON CONFLICT (fingerprint) DO UPDATE SET
    attempts = grave.attempts + excluded.attempts,
    last_received_at = greatest(grave.last_received_at, excluded.last_received_at)
"""

LOCK_DEAD_LETTER = "SELECT replayed_at, replayed_keys FROM dead_letters WHERE id = %s FOR UPDATE"

MARK_REPLAYED = """
UPDATE dead_letters SET replayed_as = %s, replayed_keys = %s::json, replayed_at = %s
WHERE id = %s AND replayed_at IS NULL
"""

ADD_AUDIT_ENTRY = "INSERT INTO audit_log (at, actor, action, subject, detail) VALUES (%s, %s, %s, %s, %s)"

APPEND_FRAME = "INSERT INTO frames (body, keys) VALUES (%s::json, %s::json)"


# SKIP LOCKED: two sweeps at once share the work instead of waiting for each other.
REMOVE_FRAMES = """
DELETE FROM frames WHERE id IN (
    SELECT id FROM frames
    WHERE created_at < %(before)s AND (
        created_at < %(at_last)s
        OR NOT EXISTS (SELECT FROM consumers WHERE frames.position IS NULL OR consumers.position < frames.position)
    )
    ORDER BY created_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
"""


MANY = 50
"""So many stories take as long to prepare as what was begun before takes to be answered. With fewer, a round trip to a
database in another cloud takes longer than all the rest."""


class PostgresStore:
    """Keeps ``EventStore`` on a pool of connections."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @contextmanager
    def transaction(self) -> Iterator["PostgresUnitOfWork"]:
        """Begin a write; it is durable when the block has been left normally."""
        with (
            translated(),
            self._pool.connection() as connection,
            connection.pipeline() as pipeline,
            connection.transaction(),
        ):
            yield PostgresUnitOfWork(connection, pipeline)

    def remove_frames(self, *, before: datetime, at_last: datetime, limit: int) -> int:
        """Remove old frames that every consumer is past, and very old ones in any case; return how many."""
        with translated(), self._pool.connection() as connection:
            found = {"before": before, "at_last": at_last, "limit": limit}
            return connection.execute(REMOVE_FRAMES, found).rowcount


class PostgresUnitOfWork:
    """Keeps ``UnitOfWork`` on one connection, in pipeline mode: what needs no answer waits for none."""

    def __init__(self, connection: psycopg.Connection, pipeline: psycopg.Pipeline) -> None:
        self._connection = connection
        self._pipeline = pipeline

    def sync(self) -> None:
        """Wait for what was begun: psycopg fetches one answer together with all that were asked for since."""
        self._pipeline.sync()

    def insert(self, events: Sequence[Event]) -> Callable[[], set[Key]]:
        """Begin to store the events that are new; what is returned waits, and tells which were."""
        if not events:
            return set
        inserted = self._connection.execute(INSERT_EVENTS, (_json(events),))
        return lambda: set(inserted.fetchall())

    def digests(self, keys: Collection[Key]) -> dict[Key, str]:
        """The content digest of each stored event among the keys."""
        if not keys:
            return {}
        rows = self._connection.execute(SELECT_DIGESTS, (_keys(keys),)).fetchall()
        return {(source, id_): digest for source, id_, digest in rows}

    def events(self, keys: Collection[Key]) -> dict[Key, Event]:
        """The stored events among the keys, whole."""
        if not keys:
            return {}
        rows = self._connection.execute(SELECT_EVENTS, (_keys(keys),)).fetchall()
        events = [event_from_row(row) for row in rows]
        return {event.key: event for event in events}

    def count(self, counts: Sequence[Count]) -> None:
        """Add to the ledger and to its sums."""
        given = (_json(counts),)
        self._connection.execute(ADD_COUNTS, given)
        self._connection.execute(ADD_TOTALS, given)

    def add_dead_letters(self, dead_letters: Sequence[DeadLetter]) -> None:
        """Keep dead letters; one whose fingerprint is known raises that one's attempts."""
        self._connection.execute(ADD_DEAD_LETTERS, (_json(dead_letters),))

    def replayed(self, number: int) -> list[Key] | None:
        """Lock a dead letter; the events that its replay became, None if it was not replayed with success."""
        at, keys = self._connection.execute(LOCK_DEAD_LETTER, (number,)).fetchone() or (None, None)
        return None if at is None else [(source, id_) for source, id_ in keys or []]

    def mark_replayed(self, number: int, replayed_as: ReplayedAs, keys: Sequence[Key], at: datetime) -> None:
        """Write down what the replay of a dead letter became; what the first one became stays."""
        self._connection.execute(MARK_REPLAYED, (replayed_as, _json(keys), at, number))

    def audit(self, line: AuditEntry) -> None:
        """Add a line to the audit log."""
        self._connection.execute(ADD_AUDIT_ENTRY, audit_columns(line))

    def publish(self, frame: Frame, keys: Sequence[Key]) -> None:
        """Append a frame to the outbox, with the keys of all events that were stored."""
        self._connection.execute(APPEND_FRAME, (_json(frame), _keys(keys)))

    def find_flows(self, keys: Collection[FlowKey]) -> Callable[[], dict[FlowKey, FlowRecord]]:
        """Begin to look for stories, locking none; what is returned waits, and gives those that are kept."""
        if not keys:
            return dict
        found = self._connection.execute(FIND_FLOWS, _identities(keys), binary=True)
        return lambda: {
            identity: flow_from_row(row) for row in found.fetchall() if (identity := (row[0], row[1])) in keys
        }

    def minutes(self, since: datetime) -> list[MinuteCount]:
        """The minutes from this one on in which something arrived, in order, and by source within one."""
        return [minute_from_row(row) for row in self._connection.execute(SELECT_MINUTES, [since]).fetchall()]

    def overdue_flows(self, due: Sequence[Due], *, limit: int) -> list[FlowRecord]:
        """Lock and return stories that still wait although they are due, the first opened first."""
        found = {
            "flow": [one.flow for one in due],
            "opened_by": [one.opened_by for one in due],
            "deferred_by": [one.deferred_by or AFTER for one in due],
            "limit": limit,
        }
        return [flow_from_row(row) for row in self._connection.execute(OVERDUE_FLOWS, found, binary=True).fetchall()]

    def write_flows(self, changed: Sequence[FlowRecord]) -> Callable[[], set[FlowKey]]:
        """Begin to write stories that nobody else has written since; what is returned waits, and tells which others."""
        if not changed:
            return set
        given = columns(changed)
        if len(changed) >= MANY:
            self.sync()
        written = self._connection.execute(WRITE_FLOWS, given)

        def refused() -> set[FlowKey]:
            if written.rowcount < 0:
                self.sync()
            if written.rowcount == len(changed):
                return set()
            identities = {one.identity for one in changed}
            return identities & set(self._connection.execute(REFUSED_FLOWS, _identities(identities)).fetchall())

        return refused

    def count_flows(self, counts: Sequence[FlowCount]) -> None:
        """Add to the sums of stories."""
        given = (_json(counts),)
        self._connection.execute(COUNT_FLOWS, given)
        self._connection.execute(COUNT_SLOTS, given)


def audit_columns(line: AuditEntry) -> tuple[Any, ...]:
    """A line as ADD_AUDITED takes it."""
    return (line.at, line.actor, line.action, line.subject, line.detail)


def _json(value: object) -> str:
    """JSON text; msgspec writes bytes as base64, which is what BURY decodes."""
    return msgspec.json.encode(value).decode()


class _Key(msgspec.Struct, gc=False):
    """Not a dict: hundreds of those at once set off the garbage collector."""

    source: str
    id: str


def _identities(keys: Collection[FlowKey]) -> dict[str, object]:
    """As FIND_FLOWS and REFUSED_FLOWS take them."""
    return {"flows": sorted({flow for flow, _ in keys}), "keys": _json([key for _, key in sorted(keys)])}


def _keys(keys: Collection[Key]) -> str:
    return _json([_Key(*key) for key in keys])
