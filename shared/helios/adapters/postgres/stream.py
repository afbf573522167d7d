"""The outbox as a stream: the positions of frames, the consumers, and the notifications."""

import logging
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime

import msgspec
import psycopg

from helios.adapters.postgres.connection import Pool, connect, is_pooled, translate_errors
from helios.adapters.postgres.events import EVENT_COLUMNS, event_from_row
from helios.adapters.postgres.parameters import to_json
from helios.errors import Retryable
from helios.model.events import Event, Key
from helios.model.stream import Consumer, Frame, Parked, StreamEvents, StreamFrame, StreamWindow
from helios.reconciliation.record import FlowCount

log = logging.getLogger("helios.stream")

NOTIFY_CHANNEL = "helios_frames"

PUSHLESS_SECONDS = 1.0
"""How often a process looks for new frames that is not notified of them."""

ANY_WAITING = "SELECT EXISTS (SELECT FROM frames WHERE position IS NULL)"
COUNT_WAITING = "SELECT count(*) FROM (SELECT FROM frames WHERE position IS NULL LIMIT %s) AS waiting"

LOCK = 4_869_532_072
"""The advisory lock of the process that assigns positions, which its transaction holds."""

TAKE_TURN = "SELECT pg_advisory_xact_lock(%s)"

LIMIT_WAIT = "SELECT set_config('lock_timeout', %s, true)"

# The lock is a statement of its own, so that the next statement sees the frames that the previous holder numbered.
LOCK_STREAM = "SELECT position FROM stream FOR UPDATE"

# The frames get their positions, and what they carry is added to the sums: in one statement, so that a frame is either
# in ``waiting_counts`` or in the sums. Only the holder of the stream's lock writes the sums, whatever the number of
# batches. What the frames say about causes waits in a table of its own for the incidents.
NUMBER_FRAMES = """
WITH waiting AS (
    SELECT id, row_number() OVER (ORDER BY id) AS place FROM frames WHERE position IS NULL ORDER BY id LIMIT %s
), numbered AS (
    UPDATE frames SET position = stream.position + waiting.place
    FROM waiting, stream WHERE frames.id = waiting.id
    RETURNING counts, flow_counts
), counts AS (
    SELECT minute, count.source, type, sum(stored)::bigint AS stored, sum(duplicate)::bigint AS duplicate,
           sum(contradictory)::bigint AS contradictory, sum(rejected)::bigint AS rejected
    FROM numbered, json_to_recordset(counts) AS count (
        minute timestamptz, source text, type text,
        stored bigint, duplicate bigint, contradictory bigint, rejected bigint
    )
    GROUP BY minute, count.source, type
), flow_deltas AS (
    SELECT minute, flow, what, value, sum(instances)::bigint AS instances, sum(amount) AS amount,
           sum(seconds) AS seconds
    FROM numbered, json_to_recordset(flow_counts) AS count (
        minute timestamptz, flow text, what text, value text, instances bigint, amount numeric, seconds double precision
    )
    GROUP BY minute, flow, what, value
), flow_sums AS (
    SELECT * FROM flow_deltas WHERE what <> 'cause'
), causes AS (
    INSERT INTO incident_deltas (cause, slot, number, amount)
    SELECT value, date_bin('10 minutes', minute, 'epoch'), sum(instances), sum(amount)
    FROM flow_deltas WHERE what = 'cause' GROUP BY 1, 2
), by_minute AS (
    INSERT INTO event_counts AS existing (minute, source, type, stored, duplicate, contradictory, rejected)
    SELECT minute, source, type, stored, duplicate, contradictory, rejected FROM counts
    ON CONFLICT (minute, source, type) DO UPDATE SET
        stored = existing.stored + excluded.stored,
        duplicate = existing.duplicate + excluded.duplicate,
        contradictory = existing.contradictory + excluded.contradictory,
        rejected = existing.rejected + excluded.rejected
), totals AS (
    INSERT INTO event_totals AS existing (since, source, stored, duplicate, contradictory, rejected)
    SELECT bucket.since, source, sum(stored), sum(duplicate), sum(contradictory), sum(rejected)
    FROM counts, LATERAL (VALUES ('-infinity'::timestamptz), (date_trunc('hour', minute, 'UTC'))) AS bucket (since)
    GROUP BY bucket.since, source
    ON CONFLICT (since, source) DO UPDATE SET
        stored = existing.stored + excluded.stored,
        duplicate = existing.duplicate + excluded.duplicate,
        contradictory = existing.contradictory + excluded.contradictory,
        rejected = existing.rejected + excluded.rejected
), flows_by_minute AS (
    INSERT INTO flow_counts AS existing (minute, flow, what, value, instances, amount, seconds)
    SELECT minute, flow, what, value, instances, amount, seconds FROM flow_sums
    ON CONFLICT (minute, flow, what, value) DO UPDATE SET
        instances = existing.instances + excluded.instances,
        amount = existing.amount + excluded.amount,
        seconds = existing.seconds + excluded.seconds
), flows_by_slot AS (
    INSERT INTO flow_slots AS existing (slot, flow, what, value, instances, amount, seconds)
    SELECT date_bin('10 minutes', minute, 'epoch') AS slot, flow, what, value, sum(instances), sum(amount), sum(seconds)
    FROM flow_sums GROUP BY 1, 2, 3, 4
    ON CONFLICT (slot, flow, what, value) DO UPDATE SET
        instances = existing.instances + excluded.instances,
        amount = existing.amount + excluded.amount,
        seconds = existing.seconds + excluded.seconds
)
UPDATE stream SET position = position + (SELECT count(*) FROM numbered)
RETURNING (SELECT count(*) FROM numbered)
"""

NUMBERED_AT_ONCE = 2_000
"""Frames that get their positions in one transaction, so that none holds the lock of the stream for long."""

NUMBERED_BY_A_READER = 1_000
"""How many frames a reader numbers before it reads, at 20 to 65 µs each."""

READER_WAITS = "1s"
"""How long a reader waits for another process that assigns positions, before it reads at the position that there is. A
process that was frozen holds the lock until Postgres ends its transaction."""

READER_DOES_NOT_WAIT = "1ms"
"""The same when more frames wait than the reader numbers."""

SELECT_FRAMES = """
SELECT position, created_at, body::text FROM frames WHERE position > %s ORDER BY position LIMIT %s
"""

SELECT_EVENTS_OF_FRAMES = f"""
SELECT page.position, {EVENT_COLUMNS}
FROM (SELECT position, keys FROM frames WHERE position > %s ORDER BY position LIMIT %s) AS page
LEFT JOIN LATERAL (
    SELECT batch.received_at, batch.source, batch.producer, element.id
    FROM json_to_recordset(page.keys) AS batch (received_at timestamptz, source text, producer text, ids json),
    LATERAL json_array_elements_text(batch.ids) AS element (id)
) AS stored ON true
LEFT JOIN events ON events.received_at = stored.received_at AND events.source = stored.source
    AND events.id = stored.id AND events.producer = stored.producer
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

TRY_CONSUMER = """
UPDATE consumers SET seen_at = now()
WHERE name = (SELECT name FROM consumers WHERE name = %s FOR UPDATE SKIP LOCKED)
RETURNING position
"""

# Not by ON CONFLICT alone, which waits for the transaction that holds an existing row.
ADD_CONSUMER = """
INSERT INTO consumers (name, position)
SELECT %(name)s, 0 WHERE NOT EXISTS (SELECT FROM consumers WHERE name = %(name)s)
ON CONFLICT (name) DO NOTHING
"""

ADVANCE_CONSUMER = "UPDATE consumers SET position = %s WHERE name = %s"

PARK = """
INSERT INTO parked (consumer, key, source, producer, id, reason)
SELECT %s, event_key(source, producer, id), source, producer, id, reason
FROM json_to_recordset(%s::json) AS input (source text, producer text, id text, reason text)
ON CONFLICT (consumer, key) DO UPDATE SET reason = excluded.reason
"""

SELECT_PARKED = f"""
SELECT {EVENT_COLUMNS}
FROM (
    SELECT source, producer, id FROM parked
    WHERE consumer = %s AND (source, producer, id) > (%s, %s, %s) ORDER BY source, producer, id LIMIT %s
) AS page
JOIN event_ids ON event_ids.key = event_key(page.source, page.producer, page.id)
JOIN events ON events.received_at = event_ids.received_at AND events.source = page.source
    AND events.id = page.id AND events.producer = page.producer
ORDER BY source, producer, id
"""  # noqa: S608 - only a constant is filled in

RELEASE = """
DELETE FROM parked USING json_to_recordset(%s::json) AS input (source text, producer text, id text)
WHERE consumer = %s AND parked.key = event_key(input.source, input.producer, input.id)
"""


APPEND_FRAME = """
INSERT INTO frames (body, keys, counts, flow_counts)
SELECT %(body)s::json, %(keys)s::json, %(counts)s::json, %(flow_counts)s::json
WHERE assert_generation(%(generation)s::bigint)
"""


# SKIP LOCKED: concurrent sweeps share the work instead of waiting for each other.
REMOVE_FRAMES = """
DELETE FROM frames WHERE id IN (
    SELECT id FROM frames
    WHERE position IS NOT NULL AND created_at < %(before)s AND (
        created_at < %(at_last)s
        OR NOT EXISTS (SELECT FROM consumers WHERE consumers.position < frames.position)
    )
    ORDER BY created_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
"""


class PostgresStreamWriter:
    """Implements ``StreamWriter`` on the connection of a unit of work."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def publish(
        self,
        frame: Frame,
        stored: Sequence[Event],
        flow_counts: Sequence[FlowCount] = (),
        *,
        generation: int | None = None,
    ) -> None:
        """Append a frame, with the places of all events that were stored, and what it adds to the sums."""
        self._connection.execute(APPEND_FRAME, frame_parameters(frame, stored, flow_counts, generation))


def frame_parameters(
    frame: Frame, stored: Sequence[Event], flow_counts: Sequence[FlowCount], generation: int | None
) -> dict[str, object]:
    """The parameters of APPEND_FRAME."""
    return {
        "body": to_json(frame),
        "keys": _places(stored),
        "counts": to_json(frame.counts),
        "flow_counts": to_json(flow_counts),
        "generation": generation,
    }


class PostgresOutbox:
    """Implements ``Outbox`` on a pool of connections."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def number(self) -> None:
        """Assign a position to every frame without one, gapless and in order, and add what it carries to the sums."""
        with translate_errors(), self._pool.connection() as connection:
            (any_waiting,) = connection.execute(ANY_WAITING).fetchone() or (False,)
            while any_waiting:
                any_waiting = _number_some(connection, at_most=NUMBERED_AT_ONCE) == NUMBERED_AT_ONCE

    def catch_up(self) -> None:
        """Number some frames for a reader; see ``Outbox``."""
        with translate_errors(), self._pool.connection() as connection:
            (waiting,) = connection.execute(COUNT_WAITING, [NUMBERED_BY_A_READER]).fetchone() or (0,)
            if waiting:
                lock_timeout = READER_WAITS if waiting < NUMBERED_BY_A_READER else READER_DOES_NOT_WAIT
                with suppress(psycopg.errors.LockNotAvailable):
                    _number_some(connection, at_most=NUMBERED_BY_A_READER, lock_timeout=lock_timeout)

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
        with translate_errors(), self._pool.connection() as connection, connection.transaction():
            (position,) = connection.execute(LOCK_CONSUMER, (consumer,)).fetchone() or (0,)
            yield PostgresConsumerOffset(connection, consumer, position)

    @contextmanager
    def try_offset(self, consumer: str) -> Iterator["PostgresConsumerOffset | None"]:
        """The same offset; None if another caller with the same name holds it."""
        with translate_errors(), self._pool.connection() as connection:
            connection.execute(ADD_CONSUMER, {"name": consumer})  # before the transaction, for which no relay may wait
            with connection.transaction():
                row = connection.execute(TRY_CONSUMER, (consumer,)).fetchone()
                yield PostgresConsumerOffset(connection, consumer, row[0]) if row else None


def _number_some(connection: psycopg.Connection, *, at_most: int, lock_timeout: str | None = None) -> int:
    """Assign positions to some frames, and return to how many.

    All processes that send the live stream are notified at the same time. Those that find nothing left to do write
    nothing, not even the lock of a row.

    Raises:
        psycopg.errors.LockNotAvailable: another process was at it for all of ``lock_timeout``.
    """
    with connection.pipeline(), connection.transaction():
        if lock_timeout is not None:
            connection.execute(LIMIT_WAIT, [lock_timeout])
        connection.execute(TAKE_TURN, [LOCK])
        (any_waiting,) = connection.execute(ANY_WAITING).fetchone() or (False,)
        if not any_waiting:
            return 0
        connection.execute(LOCK_STREAM)
        ((numbered,),) = connection.execute(NUMBER_FRAMES, [at_most]).fetchall()
    return int(numbered)


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
        source, producer, id_ = after or ("", "", "")
        rows = self._connection.execute(SELECT_PARKED, (self._consumer, source, producer, id_, limit)).fetchall()
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
    """Implements ``Listener`` with LISTEN, on a connection of its own.

    Behind a pooler in transaction mode no notification arrives. It then returns every PUSHLESS_SECONDS.
    """

    def __init__(self, database_url: str) -> None:
        """Take the URL of Postgres, without a pooler before it if there is one."""
        self._database_url = database_url
        self._connection: psycopg.Connection | None = None
        self._is_pooled = False
        self._closed = threading.Event()

    def wait(self, seconds: float) -> None:
        """Return after a notification since the last call, or after this many seconds.

        Raises:
            Retryable: the database can't be reached.
        """
        try:
            if self._is_pooled:
                self._closed.wait(min(seconds, PUSHLESS_SECONDS))
                return
            if self._connection is None:
                self._connection = connect(self._database_url, name="helios-live", autocommit=True)
                if is_pooled(self._connection):
                    self._stop_listening()
                else:
                    self._connection.execute(f"LISTEN {NOTIFY_CHANNEL}")
                return  # a notification may have come before LISTEN
            for _ in self._connection.notifies(timeout=seconds, stop_after=1):
                pass
        except psycopg.Error as error:
            self._disconnect()
            raise Retryable(f"Postgres: {error}") from error

    def close(self) -> None:
        """Stop listening, and close the connection."""
        self._closed.set()
        self._disconnect()

    def _stop_listening(self) -> None:
        """Give up the connection: on it, LISTEN would reach a session that other clients use too."""
        log.warning(
            "HELIOS_DATABASE_URL is a pooler: set HELIOS_DATABASE_DIRECT_URL to be notified of new frames",
            extra={"poll_s": PUSHLESS_SECONDS},
        )
        self._is_pooled = True
        self._disconnect()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _identity(key: Key) -> dict[str, str]:
    return {"source": key[0], "producer": key[1], "id": key[2]}


class _Batch(msgspec.Struct, gc=False):
    """Events of a frame that differ in their ids only."""

    received_at: datetime
    source: str
    producer: str
    ids: list[str]


def _places(stored: Sequence[Event]) -> str:
    """Where the events are stored: the events of a batch have few times of receipt and few producers."""
    batches: dict[tuple[datetime, str, str], _Batch] = {}
    for event in stored:
        place = (event.received_at, event.source, event.producer)
        if place not in batches:
            batches[place] = _Batch(*place, ids=[])
        batches[place].ids.append(event.id)
    return to_json(list(batches.values()))


def _frame(position: int, published_at: datetime, body: str) -> StreamFrame:
    frame = msgspec.json.decode(body, type=Frame)
    return StreamFrame(position=position, published_at=published_at, **msgspec.structs.asdict(frame))
