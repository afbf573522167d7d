"""Delivery of one subscription's events: in concurrent batches, with retries, until delivered or given up."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path

import aiohttp
import msgspec

from local.emulators.eventgrid import dead_letters, payload, retry
from local.emulators.eventgrid.dead_letters import Undeliverable
from local.emulators.eventgrid.entra import Entra
from local.emulators.eventgrid.journal import PendingEvent, PendingEvents
from local.emulators.eventgrid.schemas import Event
from local.emulators.eventgrid.subscription import Subscription
from local.emulators.undeliverable import is_undeliverable

_KILOBYTE = 1024
_DRAIN_SECONDS = 2

log = logging.getLogger("helios.local.eventgrid")
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Event).decode


class Counts(msgspec.Struct, rename="camel"):
    """The events of this process by outcome.

    Always matched + recovered = delivered + deadLettered + dropped + pending.

    Attributes:
        matched: events that were accepted and matched the filter.
        recovered: events that an earlier process accepted and left pending.
        delivered: events that the endpoint acknowledged.
        dead_lettered: events that were given up and written to a file.
        dropped: events that were given up without a dead-letter destination.
        attempts: the number of requests.
        retries: the number of events scheduled for a further attempt.
        last_outcome: the outcome of the last attempt; Azure's ``lastDeliveryOutcome``, or ``Success``.
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
    """A pending event and its attempts."""

    __slots__ = ("attempted", "attempts", "event", "number", "outcome", "published", "size")

    def __init__(self, pending_event: PendingEvent, event: Event) -> None:
        """Start without attempts."""
        self.number = pending_event.number
        self.published = pending_event.published
        self.size = len(bytes(pending_event.event))
        self.event = event
        self.attempts = 0
        self.outcome = ""
        self.attempted: float | None = None


class Deliverer:
    """The deliveries of one subscription. It runs within one event loop, between ``start`` and ``stop``.

    Attributes:
        subscription: may be replaced while the deliverer runs.
        counts: its events by outcome.
        waiting: the number of events that wait for a further attempt.
    """

    def __init__(
        self,
        name: str,
        subscription: Subscription,
        *,
        pending_events: PendingEvents,
        http: aiohttp.ClientSession,
        entra: Entra,
        dead_letter_folder: Path,
        concurrency: int,
        scale: float,
        undeliverable: str = "",
    ) -> None:
        """Describe the deliveries; ``start`` starts them.

        Args:
            name: the subscription's name.
            subscription: where and how to deliver.
            pending_events: the pending events; those of an earlier process are delivered first.
            http: the HTTP client, with the response timeout set.
            entra: issues the tokens that the endpoint may require.
            dead_letter_folder: the folder for dead letters.
            concurrency: the largest number of concurrent requests.
            scale: factor on the waits and on the time to live.
            undeliverable: the field that marks events which can't be delivered; empty for none.
        """
        self.subscription = subscription
        self.counts = Counts(recovered=len(pending_events.events))
        self.waiting = 0
        self._name = name
        self._pending_events = pending_events
        self._http = http
        self._entra = entra
        self._dead_letter_folder = dead_letter_folder
        self._scale = scale
        self._undeliverable = undeliverable
        self._ready = deque(Item(pending, _decode(pending.event)) for pending in pending_events.events.values())
        self._wake = asyncio.Event()
        self._slots = asyncio.Semaphore(concurrency)
        self._posts: set[asyncio.Task[None]] = set()
        self._main: asyncio.Task[None] | None = None
        if self._ready:
            self._wake.set()
            log.warning("an earlier process left undelivered events; delivering them now", extra=self._facts())

    @property
    def pending(self) -> int:
        """The number of events that are neither delivered nor given up."""
        return len(self._pending_events.events)

    def start(self) -> None:
        """Start the deliveries."""
        self._main = asyncio.create_task(self._run(), name=f"deliver {self._name}")

    async def stop(self) -> None:
        """Start no more requests, wait a moment for those in flight, and leave pending events in the journal."""
        if self._main:
            self._main.cancel()
            await asyncio.gather(self._main, return_exceptions=True)
        if self._posts:
            await asyncio.wait(self._posts, timeout=_DRAIN_SECONDS)
        for task in self._posts:
            task.cancel()
        await asyncio.gather(*self._posts, return_exceptions=True)
        self._pending_events.close()

    def accept(self, events: Sequence[Event], published: float) -> None:
        """Accept events that matched the filter; once this returns, they will be delivered or given up."""
        accepted = self._pending_events.add(map(_encode, events), published)
        self._ready.extend(map(Item, accepted, events))
        self.counts.matched += len(events)
        self._wake.set()

    async def _run(self) -> None:
        """Post a batch whenever a slot is free; while none is, events accumulate and the next batches are larger."""
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
            log.error(
                "a delivery failed with an internal error; its events stay pending until the next start", exc_info=error
            )

    def _next_batch(self) -> list[Item]:
        """The oldest events that fit in one request, all with the same number of attempts, which is one header."""
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
        batch = self._without_undeliverable(self._without_expired(batch))
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
            self._pending_events.settle([item.number for item in batch])
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
        checked = [(item, retry.expired(item.published, now, policy, self._scale)) for item in batch]
        if expired := [(item, give_up) for item, give_up in checked if give_up]:
            self._give_up([item for item, _ in expired], expired[0][1])
        return [item for item, give_up in checked if not give_up]

    def _without_undeliverable(self, batch: list[Item]) -> list[Item]:
        """The others; the undeliverable ones fail as if the endpoint had refused them: Event Grid does not retry."""
        refused = [item for item in batch if is_undeliverable(bytes(item.event.get("data", b"")), self._undeliverable)]
        if refused:
            self._failed(refused, HTTPStatus.FORBIDDEN, retry.outcome(HTTPStatus.FORBIDDEN))
        return [item for item in batch if item not in refused]

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

    def _give_up(self, batch: list[Item], decision: retry.GiveUp) -> None:
        undeliverable = [
            Undeliverable(item.event, decision.reason, item.attempts, item.outcome, item.published, item.attempted)
            for item in batch
        ]
        path = dead_letters.write(self._dead_letter_folder, self._name, self.subscription, undeliverable)
        self._pending_events.settle([item.number for item in batch])
        if path:
            self.counts.dead_lettered += len(batch)
        else:
            self.counts.dropped += len(batch)
        log.error(
            "events given up",
            extra={
                **self._facts(),
                "events": len(batch),
                "reason": decision.reason,
                "outcome": batch[0].outcome,
                "dead_letters": str(path) if path else "dropped: the subscription has no deadLetterDestination",
            },
        )

    def _note_outcome(self, outcome: str) -> None:
        """Log only when the endpoint starts to fail, fails with another outcome, or recovers."""
        if outcome != self.counts.last_outcome and (outcome != "Success" or self.counts.last_outcome):
            level = logging.INFO if outcome == "Success" else logging.WARNING
            log.log(level, "the endpoint's outcome has changed", extra={**self._facts(), "outcome": outcome})
        self.counts.last_outcome = outcome

    def _facts(self) -> dict[str, str | int]:
        return {"subscription": self._name, "pending": self.pending}
