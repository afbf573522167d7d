"""The deduplication cache in Redis or Valkey. It makes duplicates cheap; only Postgres decides what is a duplicate."""

import hashlib
import logging
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
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

DELAY_SECONDS = 0.005
"""The shortest time between two packets of new keys, in a process that stores many batches."""

MAX_DELAYED = 16
"""From how many commands on none waits."""

# One hash tag, one slot: a multi-key command works on a cluster too.
KEY_PREFIX = "{helios:dedupe}"

# A script for many keys, because a pipeline of 500 SETs takes the client ten times as long as the server. For few keys,
# starting the script takes the server longer than the SETs.
ADD = """
for _, key in ipairs(KEYS) do redis.call('SET', key, '', 'EX', ARGV[1]) end
"""
FEW_KEYS = 8


class RedisDedupeCache:
    """Implements ``DedupeCache`` in Redis. ``failures`` counts the calls that Redis failed to answer.

    It uses a connection without the client's calls, which take twice as long: a batch of one event would lose a tenth
    of its time. The answer to ``add`` is read by the next call, so that no batch waits for it. While one batch follows
    the other, the keys of several are sent together: a packet costs as much as everything else.
    """

    def __init__(self, url: str, *, ttl_seconds: int, delay_seconds: float = 0) -> None:
        """Take the settings. The first use connects.

        Args:
            url: ``redis://`` or ``rediss://``.
            ttl_seconds: how long a key is stored.
            delay_seconds: keys that are added within this time of a call wait for the next call. If none follows, the
                keys of the last batches are sent late, or never, and cost a round trip to Postgres.
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
        self._delay_seconds = delay_seconds
        self._delayed: list[tuple[str | int, ...]] = []
        self._delays_until = 0.0
        self._paused_until = 0.0
        self.failures = 0

    def lookup(self, keys: Collection[CachedKey]) -> set[CachedKey]:
        """The keys that are in the cache; none when Redis is down."""
        ordered_keys = list(keys)
        if not ordered_keys or self._is_paused():
            return set()
        try:
            with self._lock, self._disconnecting():
                marks = self._call(*self._delayed, ("MGET", *[_name(key) for key in ordered_keys]), wait=True)
        except redis.RedisError as error:
            self._pause(error)
            return set()
        return {key for key, mark in zip(ordered_keys, marks, strict=True) if mark is not None}

    def add(self, keys: Collection[tuple[str, ...]]) -> None:
        """Add the keys of what is committed; do nothing when Redis is down."""
        if not keys or self._is_paused():
            return
        commands = self._additions([_name(key) for key in keys])
        try:
            with self._lock, self._disconnecting():
                if time.monotonic() < self._delays_until and len(self._delayed) < MAX_DELAYED:
                    self._delayed += commands
                else:
                    self._call(*self._delayed, *commands, wait=False)
        except redis.RedisError as error:
            self._pause(error)

    def _additions(self, names: Sequence[str]) -> list[tuple[str | int, ...]]:
        """The commands that add keys."""
        if len(names) > FEW_KEYS:
            return [("EVAL", ADD, len(names), *names, self._ttl_seconds)]
        return [("SET", name, "", "EX", self._ttl_seconds) for name in names]

    def _call(self, *commands: tuple[str | int, ...], wait: bool) -> Any:
        """Send commands, read the answers that are still unread, and return the last, or None without ``wait``.

        A connection that has worked before may have been closed since. Then they are sent again on a new one.
        """
        self._delayed = []
        self._delays_until = time.monotonic() + self._delay_seconds
        try:
            return self._send(commands, wait=wait)
        except redis.ConnectionError:
            if not self._is_proven:
                raise
        self._disconnect()
        return self._send(commands, wait=wait)

    def _send(self, commands: tuple[tuple[str | int, ...], ...], *, wait: bool) -> Any:
        self._connection.send_packed_command(self._connection.pack_commands(commands))
        self._unread += len(commands)
        answer = None
        while self._unread > (0 if wait else len(commands)):
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
        """Send the keys that wait, and close the connections."""
        if self._delayed:
            with suppress(redis.RedisError), self._lock, self._disconnecting():
                self._call(*self._delayed, wait=True)
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
