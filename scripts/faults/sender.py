"""Sends what a phase holds, each request until it is acknowledged, as clouds do."""

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Final, Self, TypeVar

import aiohttp
import msgspec
import uvloop

from helios.errors import HeliosError
from scripts.faults.book import Book
from scripts.faults.orders import Orders, Request
from scripts.faults.stage import Stage
from scripts.simulator.answers import Answer, Publisher
from scripts.simulator.plan import Emission

_T = TypeVar("_T")

CLIENTS: Final = 16
RETRY_SECONDS: Final = 0.25
"""Sooner than any cloud tries again: a phase need not last as long as its patience."""
REQUEST_SECONDS: Final = 40.0
CLOUD_BATCH: Final = 10
COME_AGAIN: Final = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
_POLL_SECONDS: Final = 0.05


class Stuck(HeliosError):  # noqa: N818 - reads as the fact it is
    """Something did not happen in the time that it may take at most."""


class _Result(msgspec.Struct):
    status: str


class _Reply(msgspec.Struct):
    """A single answer has a status, that of an array has results."""

    status: str = ""
    results: list[_Result] = []


class Sender:
    """A thread that sends; a context manager, left when all is sent and acknowledged."""

    def __init__(self, stage: Stage, sent: Orders, book: Book, *, rate: float) -> None:
        """Prepare; nothing is sent yet.

        Args:
            stage: where Helios' API is, what it takes to be let in, and the ways to the clouds.
            sent: what to send.
            book: told of every answer.
            rate: deliveries per second at the webhooks; the clouds get theirs in the same time.
        """
        self._url = stage.api_url
        self._proofs = stage.proofs
        self._orders = sent
        self._book = book
        self._publishers = stage.publishers
        self._rate = rate
        self._pending = len(sent.requests) + sum(map(len, sent.published.values()))
        self._all = self._pending
        self._failure: BaseException | None = None
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._given_up.set()
        self._thread.join(REQUEST_SECONDS)

    def reach(self, share: float, *, seconds: float) -> None:
        """Return once this share of all that is to be sent is acknowledged.

        Raises:
            Stuck: it is not, after so many seconds.
        """
        deadline = time.monotonic() + seconds
        while self._all - self._pending < share * self._all:
            if self._failure:
                raise self._failure
            if time.monotonic() > deadline:
                raise Stuck(f"{self._pending} of {self._all} requests are not acknowledged after {seconds:g} s")
            time.sleep(_POLL_SECONDS)

    def _run(self) -> None:
        try:
            uvloop.run(self._send())
        except BaseException as failure:  # noqa: BLE001 - the thread that waits raises it
            self._failure = failure

    async def _send(self) -> None:
        requests = self._orders.requests
        seconds = self._orders.deliveries / self._rate
        began = time.monotonic()
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        connector = aiohttp.TCPConnector(limit=CLIENTS)
        async with (
            aiohttp.ClientSession(self._url, timeout=timeout, connector=connector) as http,
            asyncio.TaskGroup() as group,
        ):
            queue = iter(_paced(requests, began, seconds))
            for _ in range(CLIENTS):
                group.create_task(self._client(http, queue))
            for source, legs in self._orders.published.items():
                batches = [legs[at : at + CLOUD_BATCH] for at in range(0, len(legs), CLOUD_BATCH)]
                cloud = iter(_paced(batches, began, seconds))
                for _ in range(min(2, len(batches))):
                    group.create_task(self._publish(self._publishers[source], cloud))

    async def _client(self, http: aiohttp.ClientSession, queue: Iterator[tuple[float, Request]]) -> None:
        for due, request in queue:
            await asyncio.sleep(due - time.monotonic())
            while not await self._post(http, request):
                await asyncio.sleep(RETRY_SECONDS)
                if self._given_up.is_set():
                    return
            self._pending -= 1

    async def _post(self, http: aiohttp.ClientSession, request: Request) -> bool:
        """Whether it was acknowledged, or refused for good."""
        headers = {**request.headers, **self._proofs.of(request.path, request.body)}
        try:
            async with http.post(request.path, data=request.body, headers=headers) as response:
                status, body = response.status, await response.read()
        except (aiohttp.ClientError, TimeoutError):
            self._book.miss(len(request.keys))
            return False
        if status in COME_AGAIN:
            self._book.miss(len(request.keys))
            return False
        if status < HTTPStatus.MULTIPLE_CHOICES:
            answer = msgspec.json.decode(body, type=_Reply)
            statuses = [one.status for one in answer.results] or [answer.status]
            self._book.answer(request.keys, statuses)
        elif status == HTTPStatus.BAD_REQUEST and not any(request.keys):  # a whole request of poison
            self._book.answer(request.keys, ["rejected"] * len(request.keys))
        else:
            self._book.complain(f"{request.path} answered {status}: {body[:200]!r}")
        return True

    async def _publish(self, publisher: Publisher, queue: Iterator[tuple[float, Sequence[Emission]]]) -> None:
        for due, legs in queue:
            await asyncio.sleep(due - time.monotonic())
            waiting = legs
            while waiting and not self._given_up.is_set():
                answers = await publisher.publish(waiting)
                waiting = [leg for leg, answer in zip(waiting, answers, strict=True) if not self._taken(leg, answer)]
                if waiting:
                    await asyncio.sleep(RETRY_SECONDS)

    def _taken(self, leg: Emission, answer: Answer) -> bool:
        """Enter what a cloud says; whether it has taken the event, or refused it for good."""
        if answer.again:
            if answer.maybe_taken and leg.source == "aws":  # only a bus gives the second one another id
                self._book.double()
            return False
        if answer.outcome == "accepted":
            self._book.take((leg.source, answer.event_id or leg.id))
        else:
            self._book.complain(f"{leg.source} refused {leg.id}: {answer.reason}")
        self._pending -= 1
        return True


def _paced(items: Sequence[_T], began: float, seconds: float) -> Iterator[tuple[float, _T]]:
    """The items, each with the ``time.monotonic()`` at which it is due."""
    for number, item in enumerate(items):
        yield began + seconds * number / len(items), item
