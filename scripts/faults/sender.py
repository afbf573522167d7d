"""Sends the orders of a phase and retries each request until it is acknowledged, as clouds do."""

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
from scripts.faults.orders import Orders, Request
from scripts.faults.response_log import ResponseLog
from scripts.faults.testbed import Testbed
from scripts.simulator.answers import Answer, Publisher
from scripts.simulator.plan import Emission

_T = TypeVar("_T")

CLIENTS: Final = 16
RETRY_SECONDS: Final = 0.25
"""Shorter than the retry interval of any cloud, so that a phase ends sooner."""
REQUEST_SECONDS: Final = 40.0
CLOUD_BATCH: Final = 10
RETRYABLE: Final = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
_POLL_SECONDS: Final = 0.05


class Stuck(HeliosError):  # noqa: N818 - reads as the fact it is
    """A step did not finish within its time limit."""


class _Result(msgspec.Struct):
    status: str


class _Reply(msgspec.Struct):
    """The response to a single event has a status, the response to an array has results."""

    status: str = ""
    results: list[_Result] = []


class Sender:
    """A thread that sends. A context manager; leaving it stops the thread."""

    def __init__(self, testbed: Testbed, sent: Orders, responses: ResponseLog, *, rate: float) -> None:
        """Prepare the thread; it starts to send when the context is entered.

        Args:
            testbed: has the API's URL, the credentials for it, and the publishers for the clouds.
            sent: the orders to send.
            responses: records every response.
            rate: deliveries per second at the webhooks; the clouds' events are published in the same time.
        """
        self._url = testbed.api_url
        self._credentials = testbed.credentials
        self._orders = sent
        self._responses = responses
        self._publishers = testbed.publishers
        self._rate = rate
        self._pending = len(sent.requests) + sum(map(len, sent.published.values()))
        self._all = self._pending
        self._failure: BaseException | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(REQUEST_SECONDS)

    def reach(self, share: float, *, seconds: float) -> None:
        """Return once this share of all requests is acknowledged.

        Args:
            share: 0 to 1.
            seconds: how long to wait at most.

        Raises:
            Stuck: the share was not reached within ``seconds``.
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
                if self._stopping.is_set():
                    return
            self._pending -= 1

    async def _post(self, http: aiohttp.ClientSession, request: Request) -> bool:
        """Whether the request needs no retry: it was acknowledged, or refused permanently."""
        headers = {**request.headers, **self._credentials.headers(request.path, request.body)}
        try:
            async with http.post(request.path, data=request.body, headers=headers) as response:
                status, body = response.status, await response.read()
        except (aiohttp.ClientError, TimeoutError):
            self._responses.record_unanswered(len(request.keys))
            return False
        if status in RETRYABLE:
            self._responses.record_unanswered(len(request.keys))
            return False
        if status < HTTPStatus.MULTIPLE_CHOICES:
            reply = msgspec.json.decode(body, type=_Reply)
            statuses = [result.status for result in reply.results] or [reply.status]
            self._responses.record_statuses(request.keys, statuses)
        elif status == HTTPStatus.BAD_REQUEST and not any(request.keys):  # all elements are poison messages
            self._responses.record_statuses(request.keys, ["rejected"] * len(request.keys))
        else:
            self._responses.record_violation(f"{request.path} returned {status}: {body[:200]!r}")
        return True

    async def _publish(self, publisher: Publisher, queue: Iterator[tuple[float, Sequence[Emission]]]) -> None:
        for due, legs in queue:
            await asyncio.sleep(due - time.monotonic())
            waiting = legs
            while waiting and not self._stopping.is_set():
                answers = await publisher.publish(waiting)
                waiting = [leg for leg, answer in zip(waiting, answers, strict=True) if not self._is_final(leg, answer)]
                if waiting:
                    await asyncio.sleep(RETRY_SECONDS)

    def _is_final(self, leg: Emission, answer: Answer) -> bool:
        """Record a cloud's answer; return whether the event needs no retry."""
        if answer.retryable:
            if answer.maybe_accepted and leg.source == "aws":  # only EventBridge assigns a new id to a repeated event
                self._responses.record_possible_duplicate()
            return False
        if answer.outcome == "accepted":
            self._responses.record_accepted((leg.source, answer.event_id or leg.id))
        else:
            self._responses.record_violation(f"{leg.source} refused {leg.id}: {answer.reason}")
        self._pending -= 1
        return True


def _paced(items: Sequence[_T], began: float, seconds: float) -> Iterator[tuple[float, _T]]:
    """The items, each with the ``time.monotonic()`` at which it is due."""
    for number, item in enumerate(items):
        yield began + seconds * number / len(items), item
