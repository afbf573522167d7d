"""StreamingPull: messages out, acknowledgements in, within the client's flow control."""

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator
from collections.abc import Set as AbstractSet
from typing import Any

from google.pubsub_v1 import types

from local.emulators.pubsub.broker import Broker
from local.emulators.pubsub.errors import invalid
from local.emulators.pubsub.push import wait_for_change
from local.emulators.pubsub.resources import ACK_DEADLINE_RANGE
from local.emulators.pubsub.state import Subscriber
from local.emulators.pubsub.subscriber import check_deadline, received
from local.emulators.pubsub.subscription import Delivered

STREAM_BATCH = 1000
"""Most messages in one response."""

GATHER_SECONDS = 0.03
"""How long an idle stream gathers messages for its next response. A publisher has its answer before the messages arrive
at a subscriber, as in Pub/Sub: programs that look for the id of their message rely on it."""

_ONLY_IN_THE_FIRST = ("subscription", "max_outstanding_messages", "max_outstanding_bytes")
"""Fields of the API that "can only be set on the initial request"."""


class Stream:
    """One stream: its limits, and the deliveries that the client has not acknowledged."""

    def __init__(self, broker: Broker, first: Any) -> None:
        """Check the first request.

        Raises:
            Refused: the request is invalid, or the subscription can't be pulled.
        """
        _check_stream_deadline(first.stream_ack_deadline_seconds)
        broker.pullable(first.subscription)
        self._broker = broker
        self._name: str = first.subscription
        self._deadline: int = first.stream_ack_deadline_seconds
        self._most = _limit(first.max_outstanding_messages)
        self._most_bytes = _limit(first.max_outstanding_bytes)
        self._outstanding: dict[str, int] = {}  # sizes by ack id

    async def read(self, requests: AsyncIterator[Any]) -> None:
        """Apply the later requests until the client ends the stream.

        Raises:
            Refused: a request is invalid.
        """
        async for request in requests:
            self._apply(request)

    async def responses(self, reader: asyncio.Task[None]) -> AsyncIterator[Any]:
        """The responses, until the reader of the requests has ended.

        Raises:
            Refused: the subscription can't be pulled any more.
        """
        while not reader.done():
            subscriber = self._broker.pullable(self._name)
            subscriber.changed.clear()
            if deliveries := self._take(subscriber.messages.leases):
                yield _response(subscriber, deliveries)
            else:
                await wait_for_change(subscriber, at_most=1)
                await asyncio.sleep(GATHER_SECONDS)

    def _take(self, leases: AbstractSet[str]) -> list[Delivered]:
        # A delivery that a separate call acknowledged, or whose lease has expired, is no longer outstanding.
        self._outstanding = {ack_id: size for ack_id, size in self._outstanding.items() if ack_id in leases}
        left = self._most - len(self._outstanding)
        bytes_left = self._most_bytes - sum(self._outstanding.values())
        if left <= 0 or bytes_left <= 0:
            return []
        most = int(min(STREAM_BATCH, left))
        deliveries = self._broker.take(self._name, most, deadline=self._deadline, most_bytes=bytes_left)
        self._outstanding |= {delivery.ack_id: delivery.message.size for delivery in deliveries}
        return deliveries

    def _apply(self, request: Any) -> None:
        for field in _ONLY_IN_THE_FIRST:
            if getattr(request, field):
                raise invalid(f"{field} can be set only in the first request of a stream.")
        self._deadline = request.stream_ack_deadline_seconds or self._deadline
        _check_stream_deadline(self._deadline)
        changes = _deadline_changes(request)
        if request.ack_ids:
            self._broker.acknowledge(self._name, request.ack_ids)
        for ack_id, seconds in changes:
            self._broker.modify_deadline(self._name, [ack_id], seconds)


async def streaming_pull(broker: Broker, requests: AsyncIterator[Any]) -> AsyncGenerator[Any, None]:
    """The responses of one stream.

    Raises:
        Refused: a request is invalid, or the subscription can't be pulled (any more).
    """
    first = await anext(aiter(requests), None)
    if first is None:
        return  # the client disconnected before its first request
    stream = Stream(broker, first)
    wake = broker.subscriber(first.subscription).changed.set
    reader = asyncio.create_task(stream.read(requests))
    reader.add_done_callback(lambda _: wake())
    try:
        async for response in stream.responses(reader):
            yield response
        await reader  # the client has ended the stream, or the reader refused a request
    finally:
        reader.cancel()


def _response(subscriber: Subscriber, deliveries: list[Delivered]) -> Any:
    """A response in raw protobuf. Its properties make Go's client call back for one message of a key at a time."""
    response = types.StreamingPullResponse.pb()(received_messages=received(subscriber, deliveries))
    response.subscription_properties.message_ordering_enabled = subscriber.wire.enable_message_ordering
    return response


def _limit(value: int) -> float:
    """A limit of flow control; by the API, a number below 1 means no limit."""
    return value if value > 0 else math.inf


def _check_stream_deadline(seconds: int) -> None:
    if seconds not in ACK_DEADLINE_RANGE:
        raise invalid("stream_ack_deadline_seconds must be between 10 and 600 seconds")


def _deadline_changes(request: Any) -> list[tuple[str, int]]:
    """The new lease durations in a request: ack ids with seconds."""
    ack_ids, seconds = list(request.modify_deadline_ack_ids), list(request.modify_deadline_seconds)
    if len(ack_ids) != len(seconds):
        raise invalid(
            f"modify_deadline_ack_ids has {len(ack_ids)} elements and modify_deadline_seconds {len(seconds)}: "
            "each ack id needs its seconds."
        )
    for deadline in seconds:
        check_deadline(deadline)
    return list(zip(ack_ids, seconds, strict=True))
