"""The outbox as a stream: frames get their positions here, and those who follow it are woken."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

import msgspec
import psycopg
from psycopg.conninfo import make_conninfo

from helios.adapters.postgres.connection import KEEPALIVES, Pool, translated
from helios.adapters.postgres.events import EVENT_COLUMNS, event_from_row
from helios.adapters.postgres.parameters import keys_as_json, to_json
from helios.errors import Retryable
from helios.model.events import Event, Key
from helios.model.stream import Consumer, Frame, Parked, StreamEvents, StreamFrame, StreamWindow

NOTIFY_CHANNEL = "helios_frames"

ANY_WAITING = "SELECT EXISTS (SELECT FROM frames WHERE position IS NULL)"

# The lock first, in a statement of its own: the next one must see what the holder before us has numbered.
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
"""  # noqa: S608 - only a constant of ours is filled in

SELECT_WINDOW = "SELECT (SELECT min(position) FROM frames), (SELECT position FROM stream)"

# A frame without a position comes after all that have one.
SELECT_CONSUMERS = """
WITH known AS (
    SELECT name, consumers.position, seen_at
    FROM (SELECT name FROM consumers UNION SELECT unnest(%s::text[])) AS names LEFT JOIN consumers USING (name)
), unnumbered AS (
    SELECT count(*) AS frames, min(created_at) AS oldest FROM frames WHERE position IS NULL
)
SELECT name, stream.position - coalesce(known.position, 0) + unnumbered.frames, coalesce(
    (
        SELECT created_at FROM frames
        WHERE frames.position > coalesce(known.position, 0) ORDER BY frames.position LIMIT 1
    ),
    unnumbered.oldest
), seen_at, (SELECT count(*) FROM parked WHERE consumer = name)
FROM known, stream, unnumbered
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
SELECT %s, source, id, reason FROM json_to_recordset(%s::json) AS given (source text, id text, reason text)
ON CONFLICT (consumer, source, id) DO UPDATE SET reason = excluded.reason
"""

SELECT_PARKED = f"""
SELECT {EVENT_COLUMNS}
FROM (
    SELECT source, id FROM parked WHERE consumer = %s AND (source, id) > (%s, %s) ORDER BY source, id LIMIT %s
) AS page
JOIN events USING (source, id)
ORDER BY source, id
"""  # noqa: S608 - only a constant of ours is filled in

RELEASE = """
DELETE FROM parked USING json_to_recordset(%s::json) AS given (source text, id text)
WHERE consumer = %s AND parked.source = given.source AND parked.id = given.id
"""


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


class PostgresStreamWriter:
    """Implements ``StreamWriter`` on the connection of a unit of work."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def publish(self, frame: Frame, keys: Sequence[Key]) -> None:
        """Append a frame to the outbox, with the keys of all events that were stored."""
        self._connection.execute(APPEND_FRAME, (to_json(frame), keys_as_json(keys)))


class PostgresOutbox:
    """Keeps ``Outbox`` on a pool of connections."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def number(self) -> None:
        """Give every frame that waits for one its position, gapless, in the order of the outbox."""
        with translated(), self._pool.connection() as connection:
            (waiting,) = connection.execute(ANY_WAITING).fetchone() or (False,)
            if waiting:
                connection.execute(LOCK_STREAM)
                connection.execute(NUMBER_FRAMES)

    def frames(self, *, after: int, limit: int) -> list[StreamFrame]:
        """The numbered frames that follow a position, in order."""
        with translated(), self._pool.connection() as connection:
            rows = connection.execute(SELECT_FRAMES, (after, limit)).fetchall()
        return [_frame(position, published_at, body) for position, published_at, body in rows]

    def events(self, *, after: int, limit: int) -> list[StreamEvents]:
        """The same frames, each as the events that it stored: all of them, and whole."""
        with translated(), self._pool.connection() as connection:
            rows = connection.execute(SELECT_EVENTS_OF_FRAMES, (after, limit)).fetchall()
        found: dict[int, list[Event]] = {}
        for position, *event in rows:
            events = found.setdefault(position, [])
            if event[0] is not None:  # a frame of duplicates stored nothing
                events.append(event_from_row(tuple(event)))
        return [StreamEvents(position=position, events=events) for position, events in found.items()]

    def window(self) -> StreamWindow:
        """Which positions can still be had."""
        with translated(), self._pool.connection() as connection:
            oldest, latest = connection.execute(SELECT_WINDOW).fetchone() or (None, 0)
        return StreamWindow(oldest=oldest, position=latest)

    def consumers(self, *expected: str) -> list[Consumer]:
        """How everybody gets on who ever had a place in the stream, or is expected to have one, by name."""
        with translated(), self._pool.connection() as connection:
            rows = connection.execute(SELECT_CONSUMERS, (list(expected),)).fetchall()
        return [
            Consumer(name=name, behind=behind, waiting_since=waiting_since, seen_at=seen_at, parked=parked)
            for name, behind, waiting_since, seen_at, parked in rows
        ]

    @contextmanager
    def offset(self, consumer: str) -> Iterator["PostgresConsumerOffset"]:
        """This consumer's place in the stream; a second one of the same name waits until the first has left."""
        with translated(), self._pool.connection() as connection:
            (position,) = connection.execute(LOCK_CONSUMER, (consumer,)).fetchone() or (0,)
            yield PostgresConsumerOffset(connection, consumer, position)


class PostgresConsumerOffset:
    """Keeps ``ConsumerOffset``: the place moves when the block is left normally."""

    def __init__(self, connection: psycopg.Connection, consumer: str, position: int) -> None:
        self.position = position
        self._connection = connection
        self._consumer = consumer

    def commit(self, position: int) -> None:
        """Everything up to here is dealt with."""
        self.position = position
        self._connection.execute(ADVANCE_CONSUMER, (position, self._consumer))

    def park(self, refused: Sequence[Parked]) -> None:
        """Keep what this consumer was refused for good, with the reason."""
        rows = [_named(one.key) | {"reason": one.reason} for one in refused]
        self._connection.execute(PARK, (self._consumer, to_json(rows)))

    def parked(self, *, after: Key | None, limit: int) -> list[Event]:
        """What is parked, by key, after this one."""
        source, id_ = after or ("", "")
        rows = self._connection.execute(SELECT_PARKED, (self._consumer, source, id_, limit)).fetchall()
        return [event_from_row(row) for row in rows]

    def release(self, keys: Collection[Key]) -> None:
        """These are not parked any more."""
        self._connection.execute(RELEASE, (to_json([_named(key) for key in keys]), self._consumer))


class PostgresNotifier:
    """Keeps ``Notifier`` with NOTIFY, which reaches every process that follows the stream."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def notify(self) -> None:
        """Wake those who follow the stream; outside of the ingest transaction, since NOTIFY makes commits queue up."""
        with translated(), self._pool.connection() as connection, connection.pipeline(), connection.transaction():
            connection.execute(f"NOTIFY {NOTIFY_CHANNEL}")


class PostgresListener:
    """Waits for the bell, on a connection of its own."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._connection: psycopg.Connection | None = None

    def wait(self, seconds: float) -> None:
        """Return when the bell has rung since the last call, or after so many seconds.

        Raises:
            Retryable: the database can't be reached.
        """
        try:
            if self._connection is None:
                database = make_conninfo(self._database_url, **KEEPALIVES)
                self._connection = psycopg.connect(database, autocommit=True, application_name="helios-live")
                self._connection.execute(f"LISTEN {NOTIFY_CHANNEL}")
                return  # it may have rung before we listened
            for _ in self._connection.notifies(timeout=seconds, stop_after=1):
                pass
        except psycopg.Error as error:
            self.close()
            raise Retryable(f"Postgres: {error}") from error

    def close(self) -> None:
        """Stop to listen."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _named(key: Key) -> dict[str, str]:
    return {"source": key[0], "id": key[1]}


def _frame(position: int, published_at: datetime, body: str) -> StreamFrame:
    frame = msgspec.json.decode(body, type=Frame)
    return StreamFrame(position=position, published_at=published_at, **msgspec.structs.asdict(frame))
