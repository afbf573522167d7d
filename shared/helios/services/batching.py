"""Concurrent requests, stored in batches: a webhook carries one event, and a commit is worth sharing."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from helios.errors import Retryable
from helios.model.events import Delivery, Outcome

MAX_BATCH = 500
"""Deliveries in one batch: beyond that a larger one is hardly faster."""

MAX_BATCH_BYTES = 4 * 1024 * 1024
"""Bodies in one batch: on its way to Postgres a batch is copied some six times."""

MAX_WAITING_BYTES = 32 * 1024 * 1024
"""Bodies that may wait for their turn; more are refused, so that a slow database can't fill the memory."""

GATHER_SECONDS = 0.005
"""How long to wait for company after a batch that had some; a lone request is never kept waiting.

At 1000 requests a second a millisecond cost the process a sixth more CPU: its batches were smaller, and more.
"""


class _Request(msgspec.Struct, frozen=True, eq=False):
    deliveries: Sequence[Delivery]
    outcomes: "asyncio.Future[list[Outcome]]"

    @property
    def size(self) -> int:
        return sum(len(delivery.body) for delivery in self.deliveries)


class Coalescer:
    """Collects what arrives while one batch is being stored into the next one."""

    def __init__(self, ingest: Callable[[Sequence[Delivery]], list[Outcome]], *, timeout_seconds: float) -> None:
        """Collect for a blocking ``ingest``, which runs in a thread of its own.

        Args:
            ingest: stores a batch and returns an outcome per delivery, or raises for all of them.
            timeout_seconds: longest wait for an outcome.
        """
        self._ingest = ingest
        self._timeout_seconds = timeout_seconds
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ingest")
        self._waiting: deque[_Request] = deque()
        self._waiting_bytes = 0
        self._drain: asyncio.Task[None] | None = None

    async def submit(self, deliveries: Sequence[Delivery]) -> list[Outcome]:
        """Store these, and return an outcome for each.

        Raises:
            Retryable: they may not be stored; send them again.
        """
        request = _Request(deliveries, asyncio.get_running_loop().create_future())
        if self._waiting_bytes + request.size > MAX_WAITING_BYTES:
            raise Retryable("more is waiting to be stored than fits in memory")
        self._waiting.append(request)
        self._waiting_bytes += request.size
        if self._drain is None or self._drain.done():
            self._drain = asyncio.create_task(self._store_waiting())
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await request.outcomes
        except TimeoutError as error:
            raise Retryable("the database took too long to answer") from error

    @property
    def is_busy(self) -> bool:
        """Whether requests wait for their turn."""
        return bool(self._waiting)

    def close(self) -> None:
        """End the thread once its batch is stored."""
        self._thread.shutdown()

    async def _store_waiting(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch = self._take()
            deliveries = [delivery for request in batch for delivery in request.deliveries]
            try:
                outcomes = await loop.run_in_executor(self._thread, self._ingest, deliveries)
            except Exception as error:  # noqa: BLE001 - each request answers it as its own
                _settle_all(batch, error)
            else:
                _settle(batch, outcomes)
            if len(batch) > 1:
                await asyncio.sleep(GATHER_SECONDS)

    def _take(self) -> list[_Request]:
        """The next batch: whole requests, within MAX_BATCH and MAX_BATCH_BYTES unless a single one is larger."""
        batch: list[_Request] = []
        room, room_bytes = MAX_BATCH, MAX_BATCH_BYTES
        while self._waiting:
            request = self._waiting[0]
            room -= len(request.deliveries)
            room_bytes -= request.size
            if batch and (room < 0 or room_bytes < 0):
                break
            batch.append(self._waiting.popleft())
            self._waiting_bytes -= request.size
        return batch


def _settle(batch: Sequence[_Request], outcomes: Sequence[Outcome]) -> None:
    start = 0
    for request in batch:
        end = start + len(request.deliveries)
        if not request.outcomes.done():  # its client may have gone
            request.outcomes.set_result(list(outcomes[start:end]))
        start = end


def _settle_all(batch: Sequence[_Request], error: Exception) -> None:
    for request in batch:
        if not request.outcomes.done():
            request.outcomes.set_exception(error)
