"""Rate limits: counted in Redis for all processes together, and in this process alone while Redis is down."""

import logging
import math
import time

from limits import RateLimitItemPerMinute
from limits.errors import StorageError
from limits.storage import MemoryStorage, Storage, storage_from_string
from limits.strategies import SlidingWindowCounterRateLimiter as Strategy

log = logging.getLogger("helios.rate_limit")

TIMEOUT_SECONDS = 0.25
PAUSE_SECONDS = 5.0
"""How long Redis is not used after a failure."""


class SlidingMinute:
    """Implements ``RateLimit`` with a sliding window of one minute."""

    def __init__(self, per_minute: int, *, redis_url: str | None) -> None:
        """Take the limit. The first use connects.

        Args:
            per_minute: the most requests in a minute.
            redis_url: ``redis://`` or ``rediss://``; None if each process counts alone.
        """
        self._item = RateLimitItemPerMinute(per_minute, namespace="helios:rate")
        self._own = Strategy(MemoryStorage())
        self._shared = Strategy(_redis(redis_url)) if redis_url else self._own
        self._paused_until = 0.0

    def wait_seconds(self, actor: str) -> int:
        """Count one request; 0 if it is within the limit, else the seconds to wait before the next request."""
        if time.monotonic() >= self._paused_until:
            try:
                return self._seconds_in(self._shared, actor)
            except StorageError as error:
                self._paused_until = time.monotonic() + PAUSE_SECONDS
                log.warning("Redis is not answering; this process counts requests alone", extra={"error": str(error)})
        return self._seconds_in(self._own, actor)

    def _seconds_in(self, strategy: Strategy, actor: str) -> int:
        if strategy.hit(self._item, actor):
            return 0
        reset = strategy.get_window_stats(self._item, actor).reset_time
        return max(1, math.ceil(reset - time.time()))


def _redis(url: str) -> Storage:
    return storage_from_string(  # type: ignore[return-value]  # the asynchronous ones have other schemes
        url, wrap_exceptions=True, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS
    )
