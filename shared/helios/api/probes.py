"""Probes of the components, shared by all callers: anyone may ask for the health, as often as they like."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from helios.errors import Retryable

SHARED_SECONDS = 1.0
"""How long callers share the result of a probe."""


class SharedProbe:
    """The probe of one component. At most one runs at a time, on a thread that no request uses."""

    def __init__(self, name: str, probe: Callable[[], None], *, longest_seconds: float) -> None:
        """Take a probe.

        Args:
            name: the name of the component.
            probe: returns if the component answers, and raises Retryable otherwise.
            longest_seconds: a probe that takes longer has failed, whatever it returns in the end.
        """
        self._probe = probe
        self._longest_seconds = longest_seconds
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"probe-{name}")
        self._started_at = 0.0
        self._running: Future[tuple[str | None, float]] | None = None

    async def reason(self) -> str | None:
        """Why the component is not healthy, or None: the result of the probe that runs or that has just ended."""
        if self._running is None or self._is_old(self._running):
            self._started_at = time.monotonic()
            self._running = self._thread.submit(self._run)
        seconds = self._started_at + self._longest_seconds - time.monotonic()
        try:
            # The shield: a caller that gives up must not cancel the probe of the others.
            shared = asyncio.shield(asyncio.wrap_future(self._running))
            reason, _ = await asyncio.wait_for(shared, max(0.0, seconds))
        except TimeoutError:
            return f"no answer within {self._longest_seconds:g} s"
        return reason

    def _run(self) -> tuple[str | None, float]:
        """The result of the probe, and when it ended."""
        try:
            self._probe()
        except Retryable as error:
            return str(error), time.monotonic()
        return None, time.monotonic()

    @staticmethod
    def _is_old(probe: "Future[tuple[str | None, float]]") -> bool:
        if not probe.done():
            return False
        return probe.exception() is not None or time.monotonic() - probe.result()[1] >= SHARED_SECONDS
