"""Clients of the API: single requests, and load that retries like a cloud."""

import asyncio
import http.client
import itertools
import json
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

import aiohttp

from tests.support.deliveries import eventbridge
from tests.support.waiting import eventually

EVENTBRIDGE = "/api/v1/webhooks/aws/eventbridge"
EVENTGRID = "/api/v1/webhooks/azure/eventgrid"
JSON = {"content-type": "application/json"}

REQUEST_SECONDS = 30
RETRY_SECONDS = 0.1
"""Shorter than the delay of any cloud and than the API's Retry-After, to keep the tests short."""


class Answer(NamedTuple):
    """The answer to a request."""

    status: int
    headers: Mapping[str, str]
    body: Any


def call(url: str, path: str, body: bytes | None = None, headers: Mapping[str, str] = JSON) -> Answer:
    """The answer to a GET, or to a POST of a JSON body, with its body parsed as JSON.

    Raises:
        OSError, HTTPException: there is no answer.
    """
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=REQUEST_SECONDS)
    try:
        connection.request("GET" if body is None else "POST", path, body, headers)
        response = connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, _strict(response.read()))
    finally:
        connection.close()


def _strict(body: bytes) -> Any:
    """Parsed JSON. NaN is refused, as RFC 8259 demands and Python's parser does not."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    return json.loads(body, parse_constant=refuse)


@asynccontextmanager
async def session(url: str, *, clients: int) -> AsyncIterator[aiohttp.ClientSession]:
    """A session with at most ``clients`` connections, which are reused."""
    connector = aiohttp.TCPConnector(limit=clients)
    timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
    async with aiohttp.ClientSession(url, connector=connector, timeout=timeout, headers=JSON) as opened:
        yield opened


async def post(opened: aiohttp.ClientSession, path: str, body: bytes) -> Answer:
    """The answer to a POST of a JSON body, with its body parsed as JSON."""
    async with opened.post(path, data=body) as response:
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status, headers, _strict(await response.read()))


async def deliver(
    opened: aiohttp.ClientSession, body: bytes, note: Callable[[Answer | None], None] = lambda _: None
) -> Answer:
    """The acknowledgement of an EventBridge event, which is posted until there is one.

    Args:
        opened: the session.
        body: the event.
        note: called with every answer that is not 202, and with None for every request without an answer.
    """
    while True:
        try:
            answer = await post(opened, EVENTBRIDGE, body)
        except (aiohttp.ClientError, TimeoutError):
            note(None)
        else:
            if answer.status == http.HTTPStatus.ACCEPTED:
                return answer
            note(answer)
        await asyncio.sleep(RETRY_SECONDS)


class Load:
    """Sends new events until the block ends, each until it is acknowledged, and every fifth event twice.

    Attributes:
        acknowledged: the ids of the acknowledged events, in order.
        answered: the number of acknowledged deliveries, by the status in the answer.
        refused: every answer that was not 202.
        broken: the number of requests without an answer.
    """

    def __init__(self, url: str, *, clients: int = 16, per_second: int = 150) -> None:
        self.acknowledged: list[str] = []
        self.answered: Counter[str] = Counter()
        self.refused: list[Answer] = []
        self.broken = 0
        self._url = url
        self._clients = clients
        self._pause = clients / per_second
        self._ids = (f"{number:05}" for number in itertools.count())
        self._ending = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="load")

    def __enter__(self) -> Self:
        self._thread.start()
        self.go_on()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()
        if self._failure:
            raise self._failure

    def go_on(self, events: int = 50) -> None:
        """Return once ``events`` more events have been acknowledged."""
        goal = len(self.acknowledged) + events
        eventually(lambda: len(self.acknowledged) >= goal, seconds=40)

    def wait_refused(self, answers: int = 5) -> None:
        """Return once ``answers`` more requests have been refused."""
        goal = len(self.refused) + answers
        eventually(lambda: len(self.refused) >= goal, seconds=40)

    def _run(self) -> None:
        try:
            asyncio.run(self._send())
        except BaseException as failure:  # noqa: BLE001 - the test's thread raises it
            self._failure = failure

    async def _send(self) -> None:
        async with session(self._url, clients=self._clients) as opened, asyncio.timeout(100):
            await asyncio.gather(*(self._client(opened) for _ in range(self._clients)))

    async def _client(self, opened: aiohttp.ClientSession) -> None:
        while not self._ending.is_set():
            id_ = next(self._ids)
            for _ in range(2 if id_.endswith(("0", "5")) else 1):
                answer = await deliver(opened, eventbridge(id_).body, self._note)
                self.answered[answer.body["status"]] += 1
            self.acknowledged.append(id_)
            await asyncio.sleep(self._pause)

    def _note(self, answer: Answer | None) -> None:
        if answer:
            self.refused.append(answer)
        else:
            self.broken += 1
