"""The outbox as a stream: the positions of frames, the consumers, and the notifications."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

import msgspec
import psycopg
from psycopg.conninfo import make_conninfo

from helios.adapters.postgres.connection import KEEPALIVES, Pool, translate_errors
from helios.adapters.postgres.events import EVENT_COLUMNS, event_from_row
from helios.adapters.postgres.parameters import keys_as_json, to_json
from helios.errors import Retryable
from helios.model.events import Event, Key
from helios.model.stream import Consumer, Frame, Parked, StreamEvents, StreamFrame, StreamWindow

NOTIFY_CHANNEL = "helios_frames"

ANY_WAITING = "SELECT EXISTS (SELECT FROM frames WHERE position IS NULL)"

# The lock is a statement of its own, so that the next statement sees the frames that the previous holder numbered.
LOCK_STREAM = "SELECT position FROM stream FOR UPDATE"

NUMBER_FRAMES = """
WITH waiting AS (
    SELECT id, row_number() OVER (ORDER BY id) AS place FROM frames WHERE position IS NULL
), numbered AS (
    UPDATE frames SET position = stream.position + waiting.place
    FROM waiting, stream WHERE frames.id = waiting.id
    RETURNING 1
)
UPDATE stream SET position = position + (SELECT count(*) FROM numbered)
"""

SELECT_FRAMES = """
SELECT position, created_at, body::text FROM frames WHERE position > %s ORDER BY position LIMIT %s
"""

SELECT_EVENTS_OF_FRAMES = f"""
SELECT page.position, {EVENT_COLUMNS}
FROM (SELECT position, keys FROM frames WHERE position > %s ORDER BY position LIMIT %s) AS page
LEFT JOIN LATERAL json_to_recordset(page.keys) AS stored (source text, id text) ON true
LEFT JOIN events USING (source, id)
ORDER BY page.position
"""  # noqa: S608 - only a constant is filled in

SELECT_WINDOW = "SELECT (SELECT min(position) FROM frames), (SELECT position FROM stream)"

# Frames without a position come after all frames with one.
SELECT_CONSUMERS = """
WITH consumer AS (
    SELECT name, consumers.position, seen_at
    FROM (SELECT name FROM consumers UNION SELECT unnest(%s::text[])) AS names LEFT JOIN consumers USING (name)
), unnumbered AS (
    SELECT count(*) AS frames, min(created_at) AS oldest FROM frames WHERE position IS NULL
)
SELECT name, stream.position - coalesce(consumer.position, 0) + unnumbered.frames, coalesce(
    (
        SELECT created_at FROM frames
        WHERE frames.position > coalesce(consumer.position, 0) ORDER BY frames.position LIMIT 1
    ),
    unnumbered.oldest
), seen_at, (SELECT count(*) FROM parked WHERE parked.consumer = name)
FROM consumer, stream, unnumbered
ORDER BY name
"""

LOCK_CONSUMER = """
INSERT INTO consumers (name, position) VALUES (%s, 0)
ON CONFLICT (name) DO UPDATE SET seen_at = now()
RETURNING position
"""

ADVANCE_CONSUMER = "UPDATE consumers SET position = %s WHERE name = %s"

PARK = """
INSERT INTO parked (consumer, source, id, reason)
SELECT %s, source, id, reason FROM json_to_recordset(%s::json) AS input (source text, id text, reason text)
ON CONFLICT (consumer, source, id) DO UPDATE SET reason = excluded.reason
"""

SELECT_PARKED = f"""
SELECT {EVENT_COLUMNS}
FROM (
    SELECT source, id FROM parked WHERE consumer = %s AND (source, id) > (%s, %s) ORDER BY source, id LIMIT %s
) AS page
JOIN events USING (source, id)
ORDER BY source, id
"""  # noqa: S608 - only a constant is filled in

RELEASE = """
DELETE FROM parked USING json_to_recordset(%s::json) AS input (source text, id text)
WHERE consumer = %s AND parked.source = input.source AND parked.id = input.id
"""


APPEND_FRAME = "INSERT INTO frames (body, keys) VALUES (%s::json, %s::json)"


# SKIP LOCKED: concurrent sweeps share the work instead of waiting for each other.
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


class PostgresStreamWriter:
    """Implements ``StreamWriter`` on the connection of a unit of work."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def publish(self, frame: Frame, keys: Sequence[Key]) -> None:
        """Append a frame to the outbox, with the keys of all events that were stored."""
        self._connection.execute(APPEND_FRAME, (to_json(frame), keys_as_json(keys)))


class PostgresOutbox:
    """Implements ``Outbox`` on a pool of connections."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def number(self) -> None:
        """Assign a position to every frame without one, gapless and in the order of the outbox."""
        with translate_errors(), self._pool.connection() as connection:
            (any_waiting,) = connection.execute(ANY_WAITING).fetchone() or (False,)
            if any_waiting:
                connection.execute(LOCK_STREAM)
                connection.execute(NUMBER_FRAMES)

    def frames(self, *, after: int, limit: int) -> list[StreamFrame]:
        """The frames after a position, in order; frames without a position are left out."""
        with translate_errors(), self._pool.connection() as connection:
            rows = connection.execute(SELECT_FRAMES, (after, limit)).fetchall()
        return [_frame(position, published_at, body) for position, published_at, body in rows]

    def events(self, *, after: int, limit: int) -> list[StreamEvents]:
        """All events that each of the frames after a position stored, by frame and in order."""
        with translate_errors(), self._pool.connection() as connection:
            rows = connection.execute(SELECT_EVENTS_OF_FRAMES, (after, limit)).fetchall()
        events_by_position: dict[int, list[Event]] = {}
        for position, *columns in rows:
            events = events_by_position.setdefault(position, [])
            if columns[0] is not None:  # a frame of duplicates stored no event
                events.append(event_from_row(tuple(columns)))
        return [StreamEvents(position=position, events=events) for position, events in events_by_position.items()]

    def window(self) -> StreamWindow:
        """The oldest position that can still be read, and the latest position."""
        with translate_errors(), self._pool.connection() as connection:
            oldest, latest = connection.execute(SELECT_WINDOW).fetchone() or (None, 0)
        return StreamWindow(oldest=oldest, position=latest)

    def consumers(self, *expected: str) -> list[Consumer]:
        """The state of every consumer with an offset, and of the expected ones, sorted by name."""
        with translate_errors(), self._pool.connection() as connection:
            rows = connection.execute(SELECT_CONSUMERS, (list(expected),)).fetchall()
        return [
            Consumer(name=name, behind=behind, waiting_since=waiting_since, seen_at=seen_at, parked=parked)
            for name, behind, waiting_since, seen_at, parked in rows
        ]

    @contextmanager
    def offset(self, consumer: str) -> Iterator["PostgresConsumerOffset"]:
        """The offset of a consumer, locked: another caller with the same name waits until this block ends."""
        with translate_errors(), self._pool.connection() as connection:
            (position,) = connection.execute(LOCK_CONSUMER, (consumer,)).fetchone() or (0,)
            yield PostgresConsumerOffset(connection, consumer, position)


class PostgresConsumerOffset:
    """Implements ``ConsumerOffset``. Its changes are committed when the block of ``offset`` ends without an error."""

    def __init__(self, connection: psycopg.Connection, consumer: str, position: int) -> None:
        self.position = position
        self._connection = connection
        self._consumer = consumer

    def commit(self, position: int) -> None:
        """Move the offset: everything up to this position has been processed."""
        self.position = position
        self._connection.execute(ADVANCE_CONSUMER, (position, self._consumer))

    def park(self, refused: Sequence[Parked]) -> None:
        """Store the events that this consumer's target refused permanently, each with the reason."""
        rows = [_identity(parked.key) | {"reason": parked.reason} for parked in refused]
        self._connection.execute(PARK, (self._consumer, to_json(rows)))

    def parked(self, *, after: Key | None, limit: int) -> list[Event]:
        """The parked events after this key, sorted by key."""
        source, id_ = after or ("", "")
        rows = self._connection.execute(SELECT_PARKED, (self._consumer, source, id_, limit)).fetchall()
        return [event_from_row(row) for row in rows]

    def release(self, keys: Collection[Key]) -> None:
        """Remove these events from the parked ones."""
        self._connection.execute(RELEASE, (to_json([_identity(key) for key in keys]), self._consumer))


class PostgresNotifier:
    """Implements ``Notifier`` with NOTIFY, which reaches every process that listens to the stream."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def notify(self) -> None:
        """Notify the listeners, outside the ingest transaction, because a NOTIFY makes commits wait for each other."""
        with translate_errors(), self._pool.connection() as connection, connection.pipeline(), connection.transaction():
            connection.execute(f"NOTIFY {NOTIFY_CHANNEL}")


class PostgresListener:
    """Implements ``Listener`` with LISTEN, on a connection of its own."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._connection: psycopg.Connection | None = None

    def wait(self, seconds: float) -> None:
        """Return after a notification since the last call, or after this many seconds.

        Raises:
            Retryable: the database can't be reached.
        """
        try:
            if self._connection is None:
                database = make_conninfo(self._database_url, **KEEPALIVES)
                self._connection = psycopg.connect(database, autocommit=True, application_name="helios-live")
                self._connection.execute(f"LISTEN {NOTIFY_CHANNEL}")
                return  # a notification may have come before LISTEN
            for _ in self._connection.notifies(timeout=seconds, stop_after=1):
                pass
        except psycopg.Error as error:
            self.close()
            raise Retryable(f"Postgres: {error}") from error

    def close(self) -> None:
        """Stop listening, and close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _identity(key: Key) -> dict[str, str]:
    return {"source": key[0], "id": key[1]}


def _frame(position: int, published_at: datetime, body: str) -> StreamFrame:
    frame = msgspec.json.decode(body, type=Frame)
    return StreamFrame(position=position, published_at=published_at, **msgspec.structs.asdict(frame))
