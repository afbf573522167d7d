"""The outbox of notifications in Postgres: routing, and the messages."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

import msgspec
import psycopg

from helios.adapters.postgres.connection import translate_errors
from helios.adapters.postgres.query import Query
from helios.model.incidents import Transition
from helios.model.notifications import Message, MessageState
from helios.ports.notifications import Recent

LOCK = 4_869_532_079
"""The advisory lock of the process that makes messages. Its transaction holds it."""

UNROUTED = "SELECT transition::text FROM notifications WHERE NOT routed ORDER BY at, key"

WAITING = """
SELECT receiver, transition::text
FROM notification_deliveries JOIN notifications USING (key)
WHERE message IS NULL ORDER BY receiver, at, key
"""

RECENT = """
SELECT count(*), max(created_at) FILTER (WHERE is_digest) FROM notification_messages
WHERE receiver = %s AND created_at > %s
"""

COMPOSE = """
INSERT INTO notification_messages (receiver, id, is_digest, incident_ids, created_at, due_at)
VALUES (%s, %s, %s, %s, %s, %s) RETURNING number
"""

ASSIGN = "UPDATE notification_deliveries SET message = %s WHERE receiver = %s AND key = ANY(%s) AND message IS NULL"

DUE = "SELECT DISTINCT receiver FROM notification_messages WHERE state = 'waiting' AND due_at <= %s ORDER BY receiver"

# SKIP LOCKED: several processes send at once.
CLAIM = """
UPDATE notification_messages SET attempts = attempts + 1, due_at = %(now)s + %(lease)s
WHERE number = (
    SELECT number FROM notification_messages AS message
    WHERE receiver = %(receiver)s AND state = 'waiting' AND due_at <= %(now)s AND NOT EXISTS (
        SELECT FROM notification_messages AS earlier
        WHERE earlier.receiver = message.receiver AND earlier.state = 'waiting' AND earlier.number < message.number
            AND earlier.incident_ids && message.incident_ids
    )
    ORDER BY number LIMIT 1 FOR UPDATE SKIP LOCKED
)
RETURNING number, id, is_digest, attempts
"""

TRANSITIONS = """
SELECT transition::text FROM notification_deliveries JOIN notifications USING (key)
WHERE message = %s ORDER BY at, key
"""

SENT = """
UPDATE notification_messages SET state = 'sent', sent_at = %s, error = NULL WHERE receiver = %s AND id = %s
"""

# Only of this attempt: a process whose lease is over must not delay the attempt of another.
FAILED = """
UPDATE notification_messages
SET state = CASE WHEN %(due_at)s::timestamptz IS NULL THEN 'failed' ELSE 'waiting' END,
    due_at = coalesce(%(due_at)s, due_at), error = %(error)s
WHERE receiver = %(receiver)s AND id = %(id)s AND attempts = %(attempts)s AND state = 'waiting'
"""

MESSAGES = """
SELECT receiver, id, state, (SELECT count(*) FROM notification_deliveries WHERE message = number), attempts, created_at,
       due_at, error
FROM notification_messages ORDER BY number DESC LIMIT %s
"""

_decode = msgspec.json.Decoder(Transition).decode


class PostgresNotifications(Query):
    """Implements ``NotificationStore`` on a pool of connections."""

    @contextmanager
    def turn(self) -> Iterator["PostgresRoutingTurn | None"]:
        """The turn, which is committed when the block ends without an error; None: another process has it."""
        with translate_errors(), self._pool.connection() as connection, connection.transaction():
            (acquired,) = connection.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK]).fetchone() or (False,)
            yield PostgresRoutingTurn(connection) if acquired else None

    def due(self, now: datetime) -> list[str]:
        """The receivers with a message that is due."""
        return [receiver for (receiver,) in self._all(DUE, [now])]

    def claim(self, receiver: str, now: datetime, *, lease: timedelta) -> Message | None:
        """Begin an attempt to send the first message that is due; None if there is none."""
        with translate_errors(), self._pool.connection() as connection, connection.transaction():
            parameters = {"receiver": receiver, "now": now, "lease": lease}
            claimed = connection.execute(CLAIM, parameters).fetchone()
            if claimed is None:
                return None
            number, id_, is_digest, attempts = claimed
            rows = connection.execute(TRANSITIONS, [number]).fetchall()
        transitions = tuple(_decode(text) for (text,) in rows)
        return Message(receiver=receiver, id=id_, transitions=transitions, is_digest=is_digest, attempts=attempts)

    def sent(self, message: Message, at: datetime) -> None:
        """Record that a message was sent."""
        with translate_errors(), self._pool.connection() as connection:
            connection.execute(SENT, [at, message.receiver, message.id])

    def failed(self, message: Message, error: str, *, due_at: datetime | None) -> None:
        """Record that an attempt failed, and when the next one is due; None: there is none."""
        values = {"receiver": message.receiver, "id": message.id, "attempts": message.attempts}
        with translate_errors(), self._pool.connection() as connection:
            connection.execute(FAILED, values | {"error": error, "due_at": due_at})

    def messages(self, *, limit: int) -> list[MessageState]:
        """The last messages, the newest first."""
        names = MessageState.__struct_fields__
        return [
            msgspec.convert(dict(zip(names, row, strict=True)), MessageState) for row in self._all(MESSAGES, [limit])
        ]


class PostgresRoutingTurn:
    """Implements ``RoutingTurn`` on the connection of one transaction."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def unrouted(self) -> list[Transition]:
        """The transitions that have not been routed, the first first."""
        return [_decode(text) for (text,) in self._connection.execute(UNROUTED).fetchall()]

    def route(self, key: str, receivers: Sequence[str]) -> None:
        """Record which receivers get a transition."""
        self._connection.execute("UPDATE notifications SET routed = true WHERE key = %s", [key])
        insert = "INSERT INTO notification_deliveries (receiver, key) SELECT unnest(%s::text[]), %s"
        self._connection.execute(insert, [list(receivers), key])

    def waiting(self) -> dict[str, list[Transition]]:
        """The transitions that are in no message, by receiver, the first first."""
        by_receiver: dict[str, list[Transition]] = {}
        for receiver, text in self._connection.execute(WAITING).fetchall():
            by_receiver.setdefault(receiver, []).append(_decode(text))
        return by_receiver

    def recent(self, receiver: str, since: datetime) -> Recent:
        """The messages that were made for a receiver since a time."""
        ((number, last_digest),) = self._connection.execute(RECENT, [receiver, since]).fetchall()
        return Recent(number, last_digest)

    def compose(self, message: Message, at: datetime) -> None:
        """Make a message of transitions that are in none."""
        incident_ids = sorted({transition.incident.id for transition in message.transitions})
        values = (message.receiver, message.id, message.is_digest, incident_ids, at, at)
        ((number,),) = self._connection.execute(COMPOSE, values).fetchall()
        keys = [transition.key for transition in message.transitions]
        self._connection.execute(ASSIGN, [number, message.receiver, keys])
