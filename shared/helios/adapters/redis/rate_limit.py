"""How often somebody may ask: counted in Redis for all processes together, and in this one while Redis is away."""

import logging
import math
import time
from collections.abc import Callable

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.errors import StorageError
from limits.storage import MemoryStorage, Storage, storage_from_string
from limits.strategies import SlidingWindowCounterRateLimiter as Strategy

log = logging.getLogger("helios.rate_limit")

TIMEOUT_SECONDS = 0.25
PAUSE_SECONDS = 5.0
"""How long Redis is left alone after it failed."""


class SlidingMinute:
    """Keeps ``RateLimit``: so many questions in any minute."""

    def __init__(self, per_minute: int, *, redis_url: str | None) -> None:
        """Connect when first used.

        Args:
            per_minute: the most questions.
            redis_url: ``redis://`` or ``rediss://``; None: each process counts for itself.
        """
        self._item = RateLimitItemPerMinute(per_minute, namespace="helios:rate")
        self._own = Strategy(MemoryStorage())
        self._shared = Strategy(_redis(redis_url)) if redis_url else self._own
        self._paused_until = 0.0

    def wait_seconds(self, who: str) -> int:
        """Count one question; 0 if it may be answered, else how long to wait before the next one."""
        return self._asked(Strategy.hit, who)

    def spent_seconds(self, who: str) -> int:
        """Count nothing; 0 if a question might be answered now, else how long to wait."""
        return self._asked(Strategy.test, who)

    def _asked(self, may: Callable[[Strategy, RateLimitItem, str], bool], who: str) -> int:
        if time.monotonic() >= self._paused_until:
            try:
                return self._answer(self._shared, may, who)
            except StorageError as error:
                self._paused_until = time.monotonic() + PAUSE_SECONDS
                log.warning("Redis is not answering; this process counts alone", extra={"error": str(error)})
        return self._answer(self._own, may, who)

    def _answer(self, strategy: Strategy, may: Callable[[Strategy, RateLimitItem, str], bool], who: str) -> int:
        if may(strategy, self._item, who):
            return 0
        reset = strategy.get_window_stats(self._item, who).reset_time
        return max(1, math.ceil(reset - time.time()))


def _redis(url: str) -> Storage:
    return storage_from_string(  # type: ignore[return-value]  # the asynchronous ones have other schemes
        url, wrap_exceptions=True, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS
    )
