"""Stores concurrent requests in batches: a webhook request carries one event, and one commit can store many."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from helios.errors import Retryable
from helios.model.events import Delivery, Outcome

MAX_BATCH = 500
"""Maximum deliveries per batch: larger batches are hardly faster."""

MAX_BATCH_BYTES = 4 * 1024 * 1024
"""Maximum bytes of bodies per batch: a batch is copied about six times on its way to Postgres."""

MAX_WAITING_BYTES = 32 * 1024 * 1024
"""Maximum bytes of bodies that wait to be stored. More are refused, so that a slow database can't exhaust memory."""

MAX_WAITING_DELIVERIES = 20_000
"""Maximum deliveries that wait to be stored: a delivery of two bytes occupies about 2 KB. It is four of the largest
requests."""

GATHER_SECONDS = 0.005
"""How long to collect requests after a batch with several of them. A single request never waits.

At 1000 requests per second, one millisecond instead cost a sixth more CPU: batches were smaller and more numerous.
"""


class _Request(msgspec.Struct, frozen=True, eq=False):
    deliveries: Sequence[Delivery]
    outcomes: "asyncio.Future[list[Outcome]]"

    @property
    def size(self) -> int:
        return sum(len(delivery.body) for delivery in self.deliveries)


class Coalescer:
    """Collects the requests that arrive while a batch is being stored into the next batch."""

    def __init__(self, ingest: Callable[[Sequence[Delivery]], list[Outcome]], *, timeout_seconds: float) -> None:
        """Start the thread in which the blocking ``ingest`` runs.

        Args:
            ingest: stores a batch and returns an outcome per delivery, or raises for all of them.
            timeout_seconds: the longest wait for an outcome.
        """
        self._ingest = ingest
        self._timeout_seconds = timeout_seconds
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ingest")
        self._waiting: deque[_Request] = deque()
        self._waiting_bytes = 0
        self._waiting_deliveries = 0
        self._drain: asyncio.Task[None] | None = None

    async def submit(self, deliveries: Sequence[Delivery]) -> list[Outcome]:
        """Store deliveries, and return an outcome for each.

        Raises:
            Retryable: the deliveries may not be stored. The sender must deliver them again.
        """
        request = _Request(deliveries, asyncio.get_running_loop().create_future())
        if (
            self._waiting_bytes + request.size > MAX_WAITING_BYTES
            or self._waiting_deliveries + len(deliveries) > MAX_WAITING_DELIVERIES
        ):
            raise Retryable("Too many requests are waiting to be stored.")
        self._waiting.append(request)
        self._waiting_bytes += request.size
        self._waiting_deliveries += len(deliveries)
        if self._drain is None or self._drain.done():
            self._drain = asyncio.create_task(self._store_waiting())
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await request.outcomes
        except TimeoutError as error:
            raise Retryable("The database did not answer in time.") from error

    @property
    def is_busy(self) -> bool:
        """Whether requests are waiting to be stored."""
        return bool(self._waiting)

    def close(self) -> None:
        """End the thread after its current batch."""
        self._thread.shutdown()

    async def _store_waiting(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch = self._take()
            deliveries = [delivery for request in batch for delivery in request.deliveries]
            try:
                outcomes = await loop.run_in_executor(self._thread, self._ingest, deliveries)
            except Exception as error:  # noqa: BLE001 - raised again in each request
                _fail(batch, error)
            else:
                _resolve(batch, outcomes)
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
            self._waiting_deliveries -= len(request.deliveries)
        return batch


def _resolve(batch: Sequence[_Request], outcomes: Sequence[Outcome]) -> None:
    start = 0
    for request in batch:
        end = start + len(request.deliveries)
        if not request.outcomes.done():  # the client may have disconnected
            request.outcomes.set_result(list(outcomes[start:end]))
        start = end


def _fail(batch: Sequence[_Request], error: Exception) -> None:
    for request in batch:
        if not request.outcomes.done():
            request.outcomes.set_exception(error)
