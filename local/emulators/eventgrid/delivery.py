"""Deliver one subscription's events: batches, several at a time, again by the schedule, until delivered or given up."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import msgspec

from local.emulators.eventgrid import dead_letters, payload, retry
from local.emulators.eventgrid.dead_letters import Undeliverable
from local.emulators.eventgrid.entra import Entra
from local.emulators.eventgrid.journal import Debts, Owed
from local.emulators.eventgrid.schemas import Event
from local.emulators.eventgrid.subscription import Subscription

_KILOBYTE = 1024
_DRAIN_SECONDS = 2

log = logging.getLogger("helios.local.eventgrid")
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Event).decode


class Counts(msgspec.Struct, rename="camel"):
    """What became of the events that this process saw.

    Always matched + recovered = delivered + deadLettered + dropped + pending.

    Attributes:
        matched: accepted and passed by the filter.
        recovered: accepted by an earlier process, and taken over from it.
        delivered: acknowledged by the endpoint.
        dead_lettered: given up and written to a file.
        dropped: given up, as no dead-letter destination is set.
        attempts: requests made.
        retries: events put back for a further attempt.
        last_outcome: of the last attempt; Azure's ``lastDeliveryOutcome``, or ``Success``.
    """

    matched: int = 0
    recovered: int = 0
    delivered: int = 0
    dead_lettered: int = 0
    dropped: int = 0
    attempts: int = 0
    retries: int = 0
    last_outcome: str = ""


class Item:
    """An owed event on its way."""

    __slots__ = ("attempted", "attempts", "event", "number", "outcome", "published", "size")

    def __init__(self, owed: Owed, event: Event) -> None:
        """Take one up that was not tried yet."""
        self.number = owed.number
        self.published = owed.published
        self.size = len(bytes(owed.event))
        self.event = event
        self.attempts = 0
        self.outcome = ""
        self.attempted: float | None = None


class Deliverer:
    """One subscription's deliveries. It runs within one event loop, between ``start`` and ``stop``.

    Attributes:
        subscription: may be replaced while it runs.
        counts: what became of its events.
        waiting: how many events wait for a further attempt.
    """

    def __init__(
        self,
        name: str,
        subscription: Subscription,
        *,
        debts: Debts,
        http: aiohttp.ClientSession,
        entra: Entra,
        dead_letter_folder: Path,
        concurrency: int,
        scale: float,
    ) -> None:
        """Describe the deliveries; nothing is sent yet.

        Args:
            name: the subscription's.
            subscription: where and how to deliver.
            debts: what it owes; what an earlier process left there is delivered first.
            http: with the response timeout set.
            entra: gives the tokens that the endpoint may want to see.
            dead_letter_folder: where events go that are given up.
            concurrency: most requests at a time.
            scale: factor on the waits and on the time to live.
        """
        self.subscription = subscription
        self.counts = Counts(recovered=len(debts.owed))
        self.waiting = 0
        self._name = name
        self._debts = debts
        self._http = http
        self._entra = entra
        self._dead_letter_folder = dead_letter_folder
        self._scale = scale
        self._ready = deque(Item(owed, _decode(owed.event)) for owed in debts.owed.values())
        self._wake = asyncio.Event()
        self._slots = asyncio.Semaphore(concurrency)
        self._posts: set[asyncio.Task[None]] = set()
        self._main: asyncio.Task[None] | None = None
        if self._ready:
            self._wake.set()
            log.warning("an earlier process left events undelivered: delivering them now", extra=self._facts())

    @property
    def pending(self) -> int:
        """How many events are neither delivered nor given up."""
        return len(self._debts.owed)

    def start(self) -> None:
        """Begin to deliver."""
        self._main = asyncio.create_task(self._run(), name=f"deliver {self._name}")

    async def stop(self) -> None:
        """Start no more requests, wait a moment for those under way, and leave what is pending in the journal."""
        if self._main:
            self._main.cancel()
            await asyncio.gather(self._main, return_exceptions=True)
        if self._posts:
            await asyncio.wait(self._posts, timeout=_DRAIN_SECONDS)
        for task in self._posts:
            task.cancel()
        await asyncio.gather(*self._posts, return_exceptions=True)
        self._debts.close()

    def accept(self, events: Sequence[Event], published: float) -> None:
        """Take events that passed the filter; once this returns, they will be delivered or given up."""
        owed = self._debts.add(map(_encode, events), published)
        self._ready.extend(map(Item, owed, events))
        self.counts.matched += len(events)
        self._wake.set()

    async def _run(self) -> None:
        """Post batches as long as a slot is free. When none is, events gather, and batches grow by themselves."""
        while True:
            await self._wake.wait()
            while self._ready:
                await self._slots.acquire()
                task = asyncio.create_task(self._post(self._next_batch()))
                self._posts.add(task)
                task.add_done_callback(self._posted)
            self._wake.clear()

    def _posted(self, task: asyncio.Task[None]) -> None:
        self._posts.discard(task)
        self._slots.release()
        if not task.cancelled() and (error := task.exception()):
            log.error("a delivery broke off; its events stay pending until the next start", exc_info=error)

    def _next_batch(self) -> list[Item]:
        """The oldest events that fit in one request; all with as many attempts behind them, as one header tells it."""
        webhook = self.subscription.webhook
        room = webhook.preferred_batch_size_in_kilobytes * _KILOBYTE
        batch = [self._ready.popleft()]
        room -= batch[0].size
        while self._ready and len(batch) < webhook.max_events_per_batch:
            following = self._ready[0]
            if following.size > room or following.attempts != batch[0].attempts:
                break
            batch.append(self._ready.popleft())
            room -= following.size
        return batch

    async def _post(self, batch: list[Item]) -> None:
        batch = self._without_expired(batch)
        if not batch:
            return
        subscription, first = self.subscription, batch[0]
        content, content_type = payload.body([item.event for item in batch], subscription)
        headers = {
            **payload.event_headers(first.event, subscription),
            **payload.headers("Notification", self._name, subscription, attempts=first.attempts),
            **self._entra.headers(subscription),
            "Content-Type": content_type,
        }
        status, outcome = await self._request(subscription.webhook.endpoint_url, content, headers)
        self.counts.attempts += 1
        if status in retry.DELIVERED:
            self._note_outcome("Success")
            self.counts.delivered += len(batch)
            self._debts.settle([item.number for item in batch])
        else:
            self._note_outcome(outcome)
            self._failed(batch, status, outcome)

    async def _request(self, url: str, content: bytes, headers: dict[str, str]) -> tuple[int | None, str]:
        try:
            async with self._http.post(url, data=content, headers=headers, allow_redirects=False) as response:
                await response.read()
                return response.status, retry.outcome(response.status)
        except TimeoutError:
            return None, retry.TIMED_OUT
        except aiohttp.ClientConnectorError:
            return None, retry.NOT_CONNECTED
        except aiohttp.ClientError:
            return None, retry.OTHER

    def _without_expired(self, batch: list[Item]) -> list[Item]:
        now = time.time()
        policy = self.subscription.retry_policy
        verdicts = [(item, retry.expired(item.published, now, policy, self._scale)) for item in batch]
        if old := [(item, verdict) for item, verdict in verdicts if verdict]:
            self._give_up([item for item, _ in old], old[0][1])
        return [item for item, verdict in verdicts if not verdict]

    def _failed(self, batch: list[Item], status: int | None, outcome: str) -> None:
        now = time.time()
        for item in batch:
            item.attempts += 1
            item.outcome = outcome
            item.attempted = now
        step = retry.after_failure(status, batch[0].attempts, self.subscription.retry_policy)
        if isinstance(step, retry.GiveUp):
            self._give_up(batch, step)
            return
        self.counts.retries += len(batch)
        self.waiting += len(batch)
        asyncio.get_running_loop().call_later(step.seconds * self._scale, self._due, batch)

    def _due(self, batch: list[Item]) -> None:
        self.waiting -= len(batch)
        self._ready.extend(batch)
        self._wake.set()

    def _give_up(self, batch: list[Item], verdict: retry.GiveUp) -> None:
        letters = [
            Undeliverable(item.event, verdict.reason, item.attempts, item.outcome, item.published, item.attempted)
            for item in batch
        ]
        path = dead_letters.write(self._dead_letter_folder, self._name, self.subscription, letters)
        self._debts.settle([item.number for item in batch])
        if path:
            self.counts.dead_lettered += len(batch)
        else:
            self.counts.dropped += len(batch)
        log.error(
            "events given up",
            extra={
                **self._facts(),
                "events": len(batch),
                "reason": verdict.reason,
                "outcome": batch[0].outcome,
                "dead_letters": str(path) if path else "dropped: the subscription has no deadLetterDestination",
            },
        )

    def _note_outcome(self, outcome: str) -> None:
        """Log only when the endpoint begins to fail, fails otherwise, or recovers."""
        if outcome != self.counts.last_outcome and (outcome != "Success" or self.counts.last_outcome):
            level = logging.INFO if outcome == "Success" else logging.WARNING
            log.log(level, "the endpoint answers otherwise than before", extra={**self._facts(), "outcome": outcome})
        self.counts.last_outcome = outcome

    def _facts(self) -> dict[str, str | int]:
        return {"subscription": self._name, "pending": self.pending}
