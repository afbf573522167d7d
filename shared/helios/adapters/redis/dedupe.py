"""The deduplication cache in Redis or Valkey. It makes duplicates cheap; only Postgres decides what is a duplicate."""

import logging
import time
from collections.abc import Collection

import redis

from helios.errors import Retryable
from helios.model.events import Key

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
    """Implements ``DedupeCache`` in Redis. ``failures`` counts the calls that Redis failed to answer."""

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
        self._add = self._redis.register_script(ADD)
        self._ttl_seconds = ttl_seconds
        self._paused_until = 0.0
        self.failures = 0

    def lookup(self, keys: Collection[Key]) -> set[Key]:
        """The keys that are in the cache; none when Redis is down."""
        ordered_keys = list(keys)
        if not ordered_keys or self._is_paused():
            return set()
        try:
            marks = self._redis.mget([_name(key) for key in ordered_keys])
        except redis.RedisError as error:
            self._pause(error)
            return set()
        return {key for key, mark in zip(ordered_keys, marks, strict=True) if mark is not None}

    def add(self, keys: Collection[Key]) -> None:
        """Add the keys of committed events; do nothing when Redis is down."""
        if not keys or self._is_paused():
            return
        try:
            self._add(keys=[_name(key) for key in keys], args=[self._ttl_seconds])
        except redis.RedisError as error:
            self._pause(error)

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


def _name(key: Key) -> str:
    return f"{KEY_PREFIX}:{key[0]}:{key[1]}"
