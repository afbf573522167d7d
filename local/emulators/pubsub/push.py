"""Push delivery: each message is an HTTP POST, in the form that the subscription selects."""

import asyncio
import base64
import logging
import re
from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
from google.pubsub_v1 import types

from local.emulators.pubsub.broker import Broker, rfc3339
from local.emulators.pubsub.post import Poster
from local.emulators.pubsub.state import Subscriber
from local.emulators.pubsub.subscription import Delivered
from local.emulators.pubsub.tokens import Signer
from local.emulators.undeliverable import is_undeliverable

log = logging.getLogger("helios.local.pubsub")

ACKNOWLEDGED = frozenset({102, 200, 201, 202, 204})
"""Pub/Sub documentation, "Push subscriptions": these status codes acknowledge; any other is a nack."""

CONCURRENCY = 64
"""Concurrent requests for one subscription. Pub/Sub adapts the number to the endpoint; here it is fixed."""

CLOUD_EVENT_MODE = "__GCP_CloudEventsMode"
"""The query parameter with which Eventarc's subscriptions select CloudEvents; its value starts with CUSTOM_PUBSUB."""

_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_HEADER_VALUE = re.compile(r"[^\x00-\x1f\x7f]*")
_NOT_FROM_ATTRIBUTES = frozenset(
    {"authorization", "connection", "content-length", "host", "te", "trailer", "transfer-encoding", "upgrade"}
)
"""Headers that frame the request or contain its token: a publisher must not set them."""

RESTART_SECONDS = 1.0
"""The wait before a failed pusher is restarted."""

MESSAGE_PUBLISHED = "google.cloud.pubsub.topic.v1.messagePublished"


class Pushers:
    """One pusher for each subscription with an endpoint; follows created, changed and deleted subscriptions."""

    def __init__(self, broker: Broker, signer: Signer, *, undeliverable: str = "") -> None:
        self._broker = broker
        self._signer = signer
        self._undeliverable = undeliverable
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Deliver until cancelled."""
        poster = Poster()
        try:
            while True:
                self._broker.created.clear()
                self._follow(poster)
                await self._broker.created.wait()
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
            poster.close()

    def _follow(self, poster: Poster) -> None:
        subscribers = {
            subscriber.wire.name: subscriber
            for subscriber in self._broker.subscribers()
            if subscriber.wire.push_config.push_endpoint and not subscriber.wire.detached
        }
        for name in self._tasks.keys() - subscribers.keys():
            self._tasks.pop(name).cancel()
        for name in subscribers.keys() - self._tasks.keys():
            pusher = _Pusher(self._broker, subscribers[name], self._signer, poster, undeliverable=self._undeliverable)
            self._tasks[name] = asyncio.create_task(pusher.run(), name=f"push {name}")
            self._tasks[name].add_done_callback(partial(self._ended, name))

    def _ended(self, name: str, task: asyncio.Task[None]) -> None:
        """Restart a pusher that failed; a cancelled one is not restarted."""
        if task.cancelled() or not (error := task.exception()):
            return
        log.error("pushing failed; restarting it", exc_info=error, extra={"subscription": name})
        if self._tasks.get(name) is task:
            del self._tasks[name]
            asyncio.get_running_loop().call_later(RESTART_SECONDS, self._broker.created.set)


class _Pusher:
    """Delivers the messages of one subscription."""

    def __init__(
        self, broker: Broker, subscriber: Subscriber, signer: Signer, poster: Poster, *, undeliverable: str
    ) -> None:
        self._broker = broker
        self._subscriber = subscriber
        self._signer = signer
        self._poster = poster
        self._undeliverable = undeliverable
        self._in_flight: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        try:
            while True:
                self._subscriber.changed.clear()
                name = self._subscriber.wire.name
                for delivered in self._broker.take(name, CONCURRENCY - len(self._in_flight)):
                    task = asyncio.create_task(self._deliver(delivered))
                    self._in_flight.add(task)
                    task.add_done_callback(self._finished)
                await wait_for_change(self._subscriber)
        finally:
            for task in self._in_flight:
                task.cancel()

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        self._subscriber.changed.set()
        if not task.cancelled() and (error := task.exception()):
            log.error("push failed", exc_info=error)

    async def _deliver(self, delivered: Delivered) -> None:
        # Raw protobuf: the client library's wrappers take more time than the request.
        wire = types.Subscription.pb(self._subscriber.wire)
        if is_undeliverable(delivered.message.data, self._undeliverable):
            self._broker.modify_deadline(wire.name, [delivered.ack_id], 0)
            return
        body, headers = request(wire, delivered)
        if wire.push_config.oidc_token.service_account_email:
            token = self._signer.token(
                audience=wire.push_config.oidc_token.audience or wire.push_config.push_endpoint,
                email=wire.push_config.oidc_token.service_account_email,
            )
            headers["Authorization"] = f"Bearer {token}"
        try:
            status = await self._poster.post(
                wire.push_config.push_endpoint, body, headers, seconds=wire.ack_deadline_seconds
            )
            acknowledged = status in ACKNOWLEDGED
        except OSError as error:  # includes a timeout
            log.info(
                "message not delivered", extra={"subscription": wire.name, "error": str(error) or type(error).__name__}
            )
            acknowledged = False
        if acknowledged:
            self._broker.acknowledge(wire.name, [delivered.ack_id])
        else:
            self._broker.modify_deadline(wire.name, [delivered.ack_id], 0)


async def wait_for_change(subscriber: Subscriber, *, at_most: float | None = None) -> None:
    """Return when there may be a message to deliver, or after ``at_most`` seconds."""
    waits: list[float] = [] if at_most is None else [at_most]
    if (due := subscriber.messages.next_event()) is not None:
        waits.append(max(0.0, due - asyncio.get_running_loop().time()) + 0.001)
    try:
        async with asyncio.timeout(min(waits, default=None)):
            await subscriber.changed.wait()
    except TimeoutError:
        pass  # a lease or a wait has ended


def request(wire: Any, delivered: Delivered) -> tuple[bytes, dict[str, str]]:
    """The body and the headers of a push request, for a subscription in raw protobuf.

    Pub/Sub documentation, "Push subscriptions" (wrapped), "Payload unwrapping" (unwrapped). The third form is that of
    Eventarc for Cloud Functions: a CloudEvent in binary mode whose body is the wrapped form.
    """
    if wire.push_config.HasField("no_wrapper"):
        return _unwrapped(wire, delivered)
    body = msgspec.json.encode(_wrapped(wire, delivered))
    headers = {"Content-Type": "application/json"}
    if _wants_cloud_events(wire.push_config.push_endpoint):
        headers |= {
            "ce-specversion": "1.0",
            "ce-id": delivered.message.id,
            "ce-type": MESSAGE_PUBLISHED,
            "ce-source": f"//pubsub.googleapis.com/{wire.topic}",
            "ce-time": rfc3339(delivered.message.published),
        }
    return body, headers


def _wrapped(wire: Any, delivered: Delivered) -> Mapping[str, Any]:
    message = delivered.message
    published = rfc3339(message.published)
    inner: dict[str, Any] = {
        "data": base64.b64encode(message.data).decode(),
        "messageId": message.id,
        "message_id": message.id,
        "publishTime": published,
        "publish_time": published,
    }
    if message.attributes:
        inner["attributes"] = message.attributes
    if message.ordering_key:
        inner["orderingKey"] = message.ordering_key
    outer: dict[str, Any] = {"message": inner, "subscription": wire.name}
    if wire.dead_letter_policy.dead_letter_topic:
        outer["deliveryAttempt"] = delivered.attempt
    return outer


def _unwrapped(wire: Any, delivered: Delivered) -> tuple[bytes, dict[str, str]]:
    message = delivered.message
    from_attributes = {
        name.lower(): value for name, value in message.attributes.items() if _may_be_header(name.lower(), value)
    }
    headers = {"content-type": from_attributes.pop("content-type", "application/octet-stream")}
    if wire.push_config.no_wrapper.write_metadata:
        headers |= {
            "x-goog-pubsub-subscription-name": wire.name,
            "x-goog-pubsub-message-id": message.id,
            "x-goog-pubsub-publish-time": rfc3339(message.published),
        }
        if message.ordering_key:
            headers["x-goog-pubsub-ordering-key"] = message.ordering_key
        headers |= from_attributes
    return message.data, headers


def _may_be_header(name: str, value: str) -> bool:
    return (
        name not in _NOT_FROM_ATTRIBUTES
        and not name.startswith("x-goog-pubsub-")
        and bool(_HEADER_NAME.fullmatch(name))
        and bool(_HEADER_VALUE.fullmatch(value))
    )


def _wants_cloud_events(endpoint: str) -> bool:
    modes = parse_qs(urlsplit(endpoint).query).get(CLOUD_EVENT_MODE, [""])
    return modes[0].startswith("CUSTOM_PUBSUB")
