"""The deduplication cache in Redis or Valkey. It makes duplicates cheap; only Postgres decides what is a duplicate."""

import hashlib
import logging
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import redis

from helios.errors import Retryable
from helios.ports.events import CachedKey

log = logging.getLogger("helios.dedupe")

TIMEOUT_SECONDS = 0.25
"""The longest wait for an answer. A cache that is slower than the database would be useless."""

PAUSE_SECONDS = 2.0
"""How long Redis is not used after a failure, so that an outage does not cost a timeout for every batch."""

# One hash tag, one slot: a multi-key command works on a cluster too.
KEY_PREFIX = "{helios:dedupe}"

# A script, because a pipeline of 500 SETs takes the client ten times as long as the server.
ADD = """
for _, key in ipairs(KEYS) do redis.call('SET', key, '', 'EX', ARGV[1]) end
"""


class RedisDedupeCache:
    """Implements ``DedupeCache`` in Redis. ``failures`` counts the calls that Redis failed to answer.

    It uses a connection without the client's calls, which take twice as long: a batch of one event would lose a tenth
    of its time. The answer to ``add`` is read by the next call, so that no batch waits for it.
    """

    def __init__(self, url: str, *, ttl_seconds: int) -> None:
        """Take the settings. The first use connects.

        Args:
            url: ``redis://`` or ``rediss://``.
            ttl_seconds: how long a key is stored.
        """
        self._redis = redis.Redis.from_url(
            url,
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
            health_check_interval=0,
            retry=None,
            protocol=2,
        )
        self._connection: Any = self._redis.connection_pool.make_connection()  # its methods have no types
        self._lock = threading.Lock()
        self._unread = 0
        self._is_proven = False
        self._ttl_seconds = ttl_seconds
        self._paused_until = 0.0
        self.failures = 0

    def lookup(self, keys: Collection[CachedKey]) -> set[CachedKey]:
        """The keys that are in the cache; none when Redis is down."""
        ordered_keys = list(keys)
        if not ordered_keys or self._is_paused():
            return set()
        try:
            with self._lock, self._disconnecting():
                marks = self._call("MGET", *[_name(key) for key in ordered_keys])
        except redis.RedisError as error:
            self._pause(error)
            return set()
        return {key for key, mark in zip(ordered_keys, marks, strict=True) if mark is not None}

    def add(self, keys: Collection[tuple[str, ...]]) -> None:
        """Add the keys of what is committed; do nothing when Redis is down."""
        if not keys or self._is_paused():
            return
        try:
            with self._lock, self._disconnecting():
                self._call("EVAL", ADD, len(keys), *[_name(key) for key in keys], self._ttl_seconds, wait=False)
        except redis.RedisError as error:
            self._pause(error)

    def _call(self, *command: str | int, wait: bool = True) -> Any:
        """Send a command, read the answers that are still unread, and return its own, or None without ``wait``.

        A connection that has worked before may have been closed since. Then the command is sent again on a new one.
        """
        try:
            return self._send(command, wait=wait)
        except redis.ConnectionError:
            if not self._is_proven:
                raise
        self._disconnect()
        return self._send(command, wait=wait)

    def _send(self, command: tuple[str | int, ...], *, wait: bool) -> Any:
        self._connection.send_command(*command)
        self._unread += 1
        answer = None
        while self._unread > (0 if wait else 1):
            answer = self._connection.read_response()
            self._unread -= 1
            self._is_proven = True
        return answer

    @contextmanager
    def _disconnecting(self) -> Iterator[None]:
        """Give up the connection after an error: an answer that comes later would be taken for that of a later call."""
        try:
            yield
        except BaseException:
            self._disconnect()
            raise

    def _disconnect(self) -> None:
        self._connection.disconnect()
        self._unread = 0
        self._is_proven = False

    def probe(self) -> None:
        """Return if Redis answers now, even during a pause, and end the pause.

        Raises:
            Retryable: Redis does not answer.
        """
        try:
            self._redis.ping()
        except redis.RedisError as error:
            raise Retryable(f"Redis: {error}") from error
        self._paused_until = 0.0

    def close(self) -> None:
        """Close the connections."""
        self._connection.disconnect()
        self._redis.close()

    def _is_paused(self) -> bool:
        return time.monotonic() < self._paused_until

    def _pause(self, error: redis.RedisError) -> None:
        self.failures += 1
        self._paused_until = time.monotonic() + PAUSE_SECONDS
        log.warning(
            "Redis is not answering; deduplication uses Postgres alone",
            extra={"error": f"{type(error).__name__}: {error}", "failures": self.failures},
        )


def _name(key: tuple[str, ...]) -> str:
    return f"{KEY_PREFIX}:{hashlib.blake2b(msgspec.json.encode(key), digest_size=16).hexdigest()}"
