"""Stores concurrent requests in batches: a webhook request carries one event, and one commit can store many."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice
from queue import SimpleQueue
from threading import Thread
from typing import NamedTuple

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

RESERVED_DELIVERIES = 1000
RESERVED_BYTES = 4 * 1024 * 1024
"""What may wait beyond these limits in requests of few events: one sender's arrays must not have others refused."""

SLICE = 25
"""Maximum deliveries of large requests in one batch while senders of few events send too. Both then have batches of
their own, in turn: a small request waits for one such batch, not for a whole array of thousands."""

SLICE_BYTES = 256 * 1024
"""Maximum bytes of such a batch, unless its first delivery has more."""

FEW = 10
FEW_BYTES = 128 * 1024
"""A request of at most this many deliveries and bytes counts as one of few events; others are large."""

FAIR_SECONDS = 1.0
"""For how long after a request of few events the batches stay short."""

GATHER_SECONDS = 0.005
"""How long at most to collect requests after a batch with several of them. A single request never waits.

At 1000 requests per second, one millisecond instead cost a sixth more CPU: batches were smaller and more numerous. The
time ends early when as many requests wait as recent batches had: most senders wait for the answer before they send
again, so no more than these are to come.
"""

MIN_REQUESTS_TO_HALVE = 16
"""With as many waiting requests, and no batch in progress, two batches begin at once, where the caller permits that:
while Postgres stores one half, Python works on the other. With fewer, a second batch costs more than it saves."""


class _Request(msgspec.Struct, eq=False):
    """A request that waits to be stored, whole or in parts.

    Attributes:
        deliveries: what has not been taken into a batch yet.
        answer: gets the outcomes of all deliveries.
        outcomes: the outcomes so far.
        is_large: whether the request has more than FEW deliveries or FEW_BYTES.
        is_storing: whether a part of it is in a batch that is being stored. The next part waits, so that the outcomes
            have the order of the deliveries.
    """

    deliveries: deque[Delivery]
    answer: "asyncio.Future[list[Outcome]]"
    is_large: bool
    outcomes: list[Outcome] = []
    is_storing: bool = False

    def fitting(self, room: int, room_bytes: int) -> int:
        """How many of the next deliveries fit into this many deliveries and bytes."""
        count = 0
        for delivery in islice(self.deliveries, room):
            room_bytes -= len(delivery.body)
            if room_bytes < 0:
                break
            count += 1
        return count

    def take(self, count: int) -> list[Delivery]:
        """The next deliveries, which no longer wait."""
        return [self.deliveries.popleft() for _ in range(count)]


class _Part(NamedTuple):
    """The deliveries of one request that are in a batch."""

    request: _Request
    deliveries: list[Delivery]


_Work = tuple[list[_Part], asyncio.AbstractEventLoop]
"""A batch, and the event loop in which its requests wait."""


class _Storing(NamedTuple):
    """A thread that stores one batch at a time, and the queue of what it does next; None ends it.

    A pool of ``concurrent.futures`` costs a lone request 20 µs more: a future with a lock, and two semaphores.
    """

    thread: Thread
    work: SimpleQueue[_Work | None]


class Coalescer:
    """Collects the requests that arrive while a batch is being stored into the next batch.

    All of it runs in the thread of the event loop, except for ``_store``.
    """

    def __init__(
        self, ingest: Callable[[Sequence[Delivery]], list[Outcome]], *, timeout_seconds: float, at_once: int = 1
    ) -> None:
        """Take the blocking ``ingest``, and start no thread yet: a fork would end it.

        Args:
            ingest: stores a batch and returns an outcome per delivery, or raises for all of them.
            timeout_seconds: the longest wait for an outcome.
            at_once: how many batches are stored at the same time: 1 or 2.
        """
        self._ingest = ingest
        self._timeout_seconds = timeout_seconds
        self._at_once = at_once
        self._threads: list[_Storing] = []
        self._idle: list[SimpleQueue[_Work | None]] = []
        """The queues of the threads that store nothing. The last one was used last, and has warm caches."""
        self._waiting: deque[_Request] = deque()
        self._waiting_bytes = 0
        self._waiting_deliveries = 0
        self._fair_until = 0.0
        self._large_next = False
        self._busy: asyncio.AbstractEventLoop | None = None
        """The event loop for which a batch is being collected or stored."""
        self._storing: list[int] = []
        """The number of requests in each batch that is being stored."""
        self._gathering: asyncio.TimerHandle | None = None
        self._expected = 0
        """How many requests the next batch is expected to have."""

    async def submit(self, deliveries: Sequence[Delivery]) -> list[Outcome]:
        """Store deliveries, and return an outcome for each.

        Raises:
            Retryable: the deliveries may not be stored. The sender must deliver them again.
        """
        size = _size(deliveries)
        is_large = len(deliveries) > FEW or size > FEW_BYTES
        if self._waiting_bytes + size > MAX_WAITING_BYTES + (
            0 if is_large else RESERVED_BYTES
        ) or self._waiting_deliveries + len(deliveries) > MAX_WAITING_DELIVERIES + (
            0 if is_large else RESERVED_DELIVERIES
        ):
            raise Retryable("Too many requests are waiting to be stored.")
        loop = asyncio.get_running_loop()
        request = _Request(deque(deliveries), loop.create_future(), is_large)
        if not is_large:
            self._fair_until = loop.time() + FAIR_SECONDS
        self._waiting.append(request)
        self._waiting_bytes += size
        self._waiting_deliveries += len(deliveries)
        if self._busy is None or self._busy.is_closed():
            self._busy, self._storing = loop, []
            loop.call_soon(self._begin, loop)  # after the other requests that have arrived already
        elif self._gathering and len(self._waiting) >= self._expected:
            self._gathering.cancel()
            self._gathering = None
            loop.call_soon(self._begin, loop)
        elif not self._gathering and self._is_second_due():
            loop.call_soon(self._begin, loop)
        # Not ``asyncio.timeout``, which costs three times as much.
        limit = loop.call_later(self._timeout_seconds, _time_out, request.answer)
        try:
            return await request.answer
        finally:
            limit.cancel()

    @property
    def is_busy(self) -> bool:
        """Whether requests are waiting to be stored."""
        return bool(self._waiting)

    def close(self) -> None:
        """End the threads after their current batches."""
        for thread, work in self._threads:
            work.put(None)
            thread.join()

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to store the next batch, or two halves, if a request waits and no more are being stored than may be."""
        self._gathering = None
        if len(self._storing) == self._at_once:
            return
        halves = not self._storing and self._at_once > 1 and len(self._waiting) >= MIN_REQUESTS_TO_HALVE
        requests = len(self._waiting) // 2 if halves else len(self._waiting)
        batch = self._take(is_fair=loop.time() < self._fair_until, requests=requests)
        if batch:
            self._storing.append(len(batch))
            (self._idle.pop() if self._idle else self._start_thread()).put((batch, loop))
        self._busy = loop if self._storing else None
        if halves:
            self._begin(loop)

    def _is_second_due(self) -> bool:
        """Whether enough requests wait for another batch beside the one that is being stored."""
        if len(self._storing) != 1 or self._at_once == 1:
            return False
        return len(self._waiting) >= max(self._storing[0], MIN_REQUESTS_TO_HALVE // 2)

    def _start_thread(self) -> SimpleQueue[_Work | None]:
        """The queue of a new thread that stores."""
        work: SimpleQueue[_Work | None] = SimpleQueue()
        thread = Thread(target=self._store, args=[work], name=f"ingest_{len(self._threads)}", daemon=True)
        thread.start()
        self._threads.append(_Storing(thread, work))
        return work

    def _store(self, work: SimpleQueue[_Work | None]) -> None:
        """Store one batch after the other. Runs in one of the threads."""
        while next_ := work.get():
            batch, loop = next_
            outcomes: list[Outcome] = []
            failure: Exception | None = None
            try:
                outcomes = self._ingest([delivery for part in batch for delivery in part.deliveries])
            except Exception as error:  # noqa: BLE001 - raised again in each request
                failure = error
            self._idle.append(work)  # before the event loop begins the next batch
            with suppress(RuntimeError):  # the loop was closed meanwhile, and nobody waits for the answers
                loop.call_soon_threadsafe(self._end, loop, batch, outcomes, failure)
            del next_, batch, outcomes, failure  # an idle thread keeps no bodies

    def _end(
        self,
        loop: asyncio.AbstractEventLoop,
        batch: list[_Part],
        outcomes: Sequence[Outcome],
        failure: Exception | None,
    ) -> None:
        """Answer the requests of a batch, and begin the next batch, or collect more requests for it.

        Beside another batch, only the senders that have just been answered are expected to send again.
        """
        if failure:
            _fail(batch, failure)
        else:
            _resolve(batch, outcomes)
        self._storing.remove(len(batch))
        self._expected = max(len(batch), 0 if self._storing else self._expected - 1)
        if self._gathering:
            return
        if len(batch) > 1:
            self._gathering = loop.call_later(GATHER_SECONDS, self._begin, loop)
        else:
            self._begin(loop)

    def _take(self, *, is_fair: bool, requests: int) -> list[_Part]:
        """The next batch, within MAX_BATCH and MAX_BATCH_BYTES unless its first request is larger.

        Large requests give a part of their deliveries, in turn; others are taken whole.

        Args:
            is_fair: whether small and large requests have batches of their own, in turn, those of the large ones within
                SLICE and SLICE_BYTES.
            requests: the most requests of which the batch has deliveries.
        """
        batch: list[_Part] = []
        skipped: list[_Request] = []
        begun: list[_Request] = []
        room, room_bytes = MAX_BATCH, MAX_BATCH_BYTES
        only = self._next_kind() if is_fair else None
        if only:
            room, room_bytes = SLICE, SLICE_BYTES
        while self._waiting and room and len(batch) < requests:
            request = self._waiting.popleft()
            if request.answer.done():  # the client has disconnected, or has waited too long
                self._remove(list(request.deliveries))
                continue
            if request.is_storing or (only is not None and request.is_large != only):
                skipped.append(request)
                continue
            count = request.fitting(room, room_bytes)
            if not request.is_large and count < len(request.deliveries):
                if batch:
                    self._waiting.appendleft(request)
                    break
                count = len(request.deliveries)
            part = request.take(max(count, 0 if batch else 1))
            room, room_bytes = max(0, room - len(part)), room_bytes - self._remove(part)
            if part:
                request.is_storing = True
                batch.append(_Part(request, part))
            if request.deliveries:
                (begun if part else skipped).append(request)
        self._waiting.extendleft(reversed(skipped))
        self._waiting.extend(begun)
        return batch

    def _next_kind(self) -> bool:
        """Whether the next batch is one of large requests; both kinds have one in turn while both wait."""
        kinds = {request.is_large for request in self._waiting if not request.is_storing and not request.answer.done()}
        is_large = self._large_next if len(kinds) > 1 else True in kinds
        self._large_next = not is_large
        return is_large

    def _remove(self, deliveries: Sequence[Delivery]) -> int:
        """Subtract deliveries from what waits; return their size."""
        size = _size(deliveries)
        self._waiting_bytes -= size
        self._waiting_deliveries -= len(deliveries)
        return size


def _time_out(answer: "asyncio.Future[list[Outcome]]") -> None:
    if not answer.done():
        answer.set_exception(Retryable("The database did not answer in time."))


def _size(deliveries: Sequence[Delivery]) -> int:
    return sum([len(delivery.body) for delivery in deliveries])


def _resolve(batch: Sequence[_Part], outcomes: Sequence[Outcome]) -> None:
    start = 0
    for request, deliveries in batch:
        end = start + len(deliveries)
        request.outcomes += outcomes[start:end]
        request.is_storing = False
        if not request.deliveries and not request.answer.done():  # the client may have disconnected
            request.answer.set_result(request.outcomes)
        start = end


def _fail(batch: Sequence[_Part], error: Exception) -> None:
    """Fail the requests; what else they have is not stored, as their senders deliver all of it again."""
    for request, _ in batch:
        if not request.answer.done():
            request.answer.set_exception(error)
