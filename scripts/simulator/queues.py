"""A queue for each cloud: sends events in batches, retries temporary failures, and gives up after a time limit."""

import asyncio
import random
import time
from typing import Final

from .answers import Answer, Publisher
from .plan import Emission
from .tally import Tally

QUEUE_LIMIT: Final = 10_000
"""How many events may be queued while a cloud is down, before the whole run waits."""

FIRST_WAIT_S: Final = 0.1
LONGEST_WAIT_S: Final = 5.0


class CloudQueue:
    """The queue of one cloud."""

    def __init__(self, publisher: Publisher, tally: Tally, *, began: float, patience: float) -> None:
        """Build a queue.

        Args:
            publisher: sends the events.
            tally: records the answers.
            began: the ``time.monotonic()`` at which the run began.
            patience: how long after its due time an event is retried before it counts as failed, in seconds.
        """
        self._publisher = publisher
        self._tally = tally
        self._began = began
        self._patience = patience
        self._deadline = float("inf")
        self._queue: asyncio.Queue[Emission] = asyncio.Queue(QUEUE_LIMIT)
        self._workers: list[asyncio.Task[None]] = []
        self.outage = ""
        """The reason of the last temporary failure; empty after a final answer."""

    def open(self, group: asyncio.TaskGroup) -> None:
        """Start the workers in this group; a bug in them ends the group."""
        self._workers = [group.create_task(self._work()) for _ in range(self._publisher.concurrency)]

    async def put(self, emission: Emission) -> None:
        """Queue an event; waits while the queue is full."""
        await self._queue.put(emission)

    @property
    def waiting(self) -> int:
        """How many events are queued and not yet sent."""
        return self._queue.qsize()

    def give_up_after(self, seconds: float) -> None:
        """Give up every event that has no final answer this many seconds from now."""
        self._deadline = min(self._deadline, time.monotonic() + seconds)

    async def answered(self) -> None:
        """Wait until every event has its final answer."""
        await self._queue.join()

    async def finish(self) -> None:
        """Wait until every event has its final answer, then stop the workers."""
        await self._queue.join()
        for worker in self._workers:
            worker.cancel()

    async def _work(self) -> None:
        while True:
            batch = [await self._queue.get()]
            while len(batch) < self._publisher.batch and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            await self._send(batch)

    async def _send(self, batch: list[Emission]) -> None:
        """Send until each event has its final answer."""
        for emission in batch:
            self._tally.record_sent(emission)
        give_up_at = self._began + batch[0].due + self._patience
        wait = FIRST_WAIT_S
        while True:
            answers = await self._publisher.publish(batch)
            left = min(give_up_at, self._deadline) - time.monotonic()
            batch = self._record(batch, answers, give_up=left <= 0)
            if not batch:
                return
            retry_after = max(answer.retry_after or 0.0 for answer in answers)
            pause = max(wait * random.uniform(0.5, 1), retry_after)  # noqa: S311 - spreads the load, not a secret
            await asyncio.sleep(min(pause, left))
            wait = min(wait * 2, LONGEST_WAIT_S)

    def _record(self, batch: list[Emission], answers: list[Answer], *, give_up: bool) -> list[Emission]:
        """Record the final answers, and return the events that must be sent again."""
        pending = []
        for emission, answer in zip(batch, answers, strict=True):
            self.outage = answer.reason if answer.retryable else ""
            if answer.retryable and not give_up:
                self._tally.record_retry(emission, answer)
                pending.append(emission)
            else:
                self._tally.record_final(emission, answer, latency=time.monotonic() - self._began - emission.due)
                self._queue.task_done()
        return pending
