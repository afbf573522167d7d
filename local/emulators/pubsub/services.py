"""The gRPC services google.pubsub.v1.Publisher and Subscriber; the README lists the imitated features."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import grpc
from google.protobuf import empty_pb2
from google.pubsub_v1 import types

from local.emulators.pubsub.broker import ACK_DEADLINE_RANGE, Broker
from local.emulators.pubsub.errors import Refused, invalid
from local.emulators.pubsub.push import wait_for_change
from local.emulators.pubsub.subscription import Delivered

PULL_SECONDS = 5.0
"""How long a pull waits for a first message before it returns none; the call's own deadline may be shorter."""

STREAM_BATCH = 1000
"""Most messages in one response of a streaming pull."""

MAX_ACK_DEADLINE = 600

Context = Any
"""A grpc.aio.ServicerContext; the library has no types."""
EMPTY = empty_pb2.Empty()


class PublisherService:
    """google.pubsub.v1.Publisher."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def create_topic(self, request: Any) -> Any:
        """CreateTopic."""
        return self._broker.create_topic(request)

    async def update_topic(self, request: Any) -> Any:
        """UpdateTopic."""
        return self._broker.update_topic(request.topic, request.update_mask.paths)

    async def publish(self, request: Any) -> Any:
        """Publish."""
        raw = types.PublishRequest.pb(request)
        return types.PublishResponse(message_ids=self._broker.publish(raw.topic, raw.messages))

    async def get_topic(self, request: Any) -> Any:
        """GetTopic."""
        return self._broker.topic(request.topic)

    async def list_topics(self, request: Any) -> Any:
        """ListTopics; all of them in one page."""
        return types.ListTopicsResponse(topics=self._broker.topics(request.project))

    async def list_topic_subscriptions(self, request: Any) -> Any:
        """ListTopicSubscriptions; all of them in one page."""
        self._broker.topic(request.topic)
        names = [subscriber.wire.name for subscriber in self._broker.subscribers(topic=request.topic)]
        return types.ListTopicSubscriptionsResponse(subscriptions=names)

    async def delete_topic(self, request: Any) -> Any:
        """DeleteTopic."""
        self._broker.delete_topic(request.topic)
        return EMPTY


class SubscriberService:
    """google.pubsub.v1.Subscriber."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def create_subscription(self, request: Any) -> Any:
        """CreateSubscription."""
        return self._broker.create_subscription(request)

    async def get_subscription(self, request: Any) -> Any:
        """GetSubscription."""
        return self._broker.subscriber(request.subscription).wire

    async def update_subscription(self, request: Any) -> Any:
        """UpdateSubscription."""
        return self._broker.update_subscription(request.subscription, request.update_mask.paths)

    async def list_subscriptions(self, request: Any) -> Any:
        """ListSubscriptions; all of them in one page."""
        subscriptions = [subscriber.wire for subscriber in self._broker.subscribers(request.project)]
        return types.ListSubscriptionsResponse(subscriptions=subscriptions)

    async def delete_subscription(self, request: Any) -> Any:
        """DeleteSubscription."""
        self._broker.delete_subscription(request.subscription)
        return EMPTY

    async def modify_push_config(self, request: Any) -> Any:
        """ModifyPushConfig."""
        changed = types.Subscription(name=request.subscription, push_config=request.push_config)
        self._broker.update_subscription(changed, ["push_config"])
        return EMPTY

    async def acknowledge(self, request: Any) -> Any:
        """Acknowledge."""
        _check_ack_ids(request)
        self._broker.acknowledge(request.subscription, request.ack_ids)
        return EMPTY

    async def modify_ack_deadline(self, request: Any) -> Any:
        """ModifyAckDeadline."""
        _check_ack_ids(request)
        _check_deadline(request.ack_deadline_seconds)
        self._broker.modify_deadline(request.subscription, request.ack_ids, request.ack_deadline_seconds)
        return EMPTY

    async def pull(self, request: Any, context: Context) -> Any:
        """Pull."""
        if request.max_messages < 1:
            raise invalid("max_messages must be at least 1.")
        subscriber = self._broker.subscriber(request.subscription)
        loop = asyncio.get_running_loop()
        remaining = context.time_remaining()
        end = loop.time() + (PULL_SECONDS if remaining is None else min(PULL_SECONDS, remaining * 0.9))
        while not (deliveries := self._broker.take(request.subscription, request.max_messages)):
            if loop.time() >= end or request.return_immediately:
                break
            subscriber.changed.clear()
            await wait_for_change(subscriber, at_most=end - loop.time())
        return types.PullResponse(received_messages=_received(subscriber.wire, deliveries))

    async def streaming_pull(self, requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
        """StreamingPull: messages out, acknowledgements in, within the client's flow control."""
        first = await anext(aiter(requests), None)
        if first is None:
            return  # the client disconnected before its first request
        name, deadline = first.subscription, first.stream_ack_deadline_seconds
        _check_stream_deadline(deadline)
        subscriber = self._broker.subscriber(name)
        most = first.max_outstanding_messages or STREAM_BATCH
        outstanding: set[str] = set()

        async def answers() -> None:
            nonlocal deadline
            async for request in requests:
                deadline = request.stream_ack_deadline_seconds or deadline
                _check_stream_deadline(deadline)
                changes = _deadline_changes(request)
                self._broker.acknowledge(name, request.ack_ids)
                outstanding.difference_update(request.ack_ids)
                for ack_id, seconds in changes:
                    self._broker.modify_deadline(name, [ack_id], seconds)

        reader = asyncio.create_task(answers())
        try:
            while not reader.done() and not context.cancelled():
                subscriber.changed.clear()
                # A delivery that a separate call acknowledged, or whose lease has expired, is no longer outstanding.
                outstanding &= subscriber.messages.leases
                deliveries = self._broker.take(name, min(STREAM_BATCH, most - len(outstanding)), deadline=deadline)
                if deliveries:
                    outstanding.update(delivery.ack_id for delivery in deliveries)
                    yield types.StreamingPullResponse(received_messages=_received(subscriber.wire, deliveries))
                else:
                    await wait_for_change(subscriber, at_most=1)
            if reader.done():
                await reader  # the client has ended the stream, or the reader refused a request
        finally:
            reader.cancel()


def _check_ack_ids(request: Any) -> None:
    if not request.ack_ids:
        raise invalid("No ack ids specified.")


def _check_deadline(seconds: int) -> None:
    if not 0 <= seconds <= MAX_ACK_DEADLINE:
        raise invalid(f"ack_deadline_seconds is {seconds}: it must be 0 to {MAX_ACK_DEADLINE}.")


def _check_stream_deadline(seconds: int) -> None:
    if seconds not in ACK_DEADLINE_RANGE:
        raise invalid("stream_ack_deadline_seconds must be between 10 and 600 seconds")


def _deadline_changes(request: Any) -> list[tuple[str, int]]:
    """The new lease durations in a request of a streaming pull: ack ids with seconds."""
    ack_ids, seconds = list(request.modify_deadline_ack_ids), list(request.modify_deadline_seconds)
    if len(ack_ids) != len(seconds):
        raise invalid(
            f"modify_deadline_ack_ids has {len(ack_ids)} elements and modify_deadline_seconds {len(seconds)}: "
            "each ack id needs its seconds."
        )
    for deadline in seconds:
        _check_deadline(deadline)
    return list(zip(ack_ids, seconds, strict=True))


def _received(wire: types.Subscription, deliveries: list[Delivered]) -> list[types.ReceivedMessage]:
    has_attempts = bool(wire.dead_letter_policy.dead_letter_topic)
    return [
        types.ReceivedMessage(
            ack_id=delivery.ack_id,
            message=types.PubsubMessage(
                data=delivery.message.data,
                attributes=dict(delivery.message.attributes),
                message_id=delivery.message.id,
                publish_time=datetime.fromtimestamp(delivery.message.published, UTC),
                ordering_key=delivery.message.ordering_key,
            ),
            delivery_attempt=delivery.attempt if has_attempts else 0,
        )
        for delivery in deliveries
    ]


def handlers(broker: Broker) -> list[grpc.GenericRpcHandler]:
    """The handlers of both services, for a gRPC server."""
    publisher, subscriber = PublisherService(broker), SubscriberService(broker)
    unary: dict[str, dict[str, tuple[Any, Any]]] = {
        "Publisher": {
            "CreateTopic": (publisher.create_topic, types.Topic),
            "UpdateTopic": (publisher.update_topic, types.UpdateTopicRequest),
            "Publish": (publisher.publish, types.PublishRequest),
            "GetTopic": (publisher.get_topic, types.GetTopicRequest),
            "ListTopics": (publisher.list_topics, types.ListTopicsRequest),
            "ListTopicSubscriptions": (publisher.list_topic_subscriptions, types.ListTopicSubscriptionsRequest),
            "DeleteTopic": (publisher.delete_topic, types.DeleteTopicRequest),
        },
        "Subscriber": {
            "CreateSubscription": (subscriber.create_subscription, types.Subscription),
            "GetSubscription": (subscriber.get_subscription, types.GetSubscriptionRequest),
            "UpdateSubscription": (subscriber.update_subscription, types.UpdateSubscriptionRequest),
            "ListSubscriptions": (subscriber.list_subscriptions, types.ListSubscriptionsRequest),
            "DeleteSubscription": (subscriber.delete_subscription, types.DeleteSubscriptionRequest),
            "ModifyPushConfig": (subscriber.modify_push_config, types.ModifyPushConfigRequest),
            "Acknowledge": (subscriber.acknowledge, types.AcknowledgeRequest),
            "ModifyAckDeadline": (subscriber.modify_ack_deadline, types.ModifyAckDeadlineRequest),
        },
    }
    methods = {
        service: {name: _unary(method, request) for name, (method, request) in calls.items()}
        for service, calls in unary.items()
    }
    methods["Subscriber"]["Pull"] = _unary(subscriber.pull, types.PullRequest, with_context=True)
    methods["Subscriber"]["StreamingPull"] = grpc.stream_stream_rpc_method_handler(
        _streaming(subscriber.streaming_pull),
        request_deserializer=types.StreamingPullRequest.deserialize,
        response_serializer=_serialize,
    )
    return [
        grpc.method_handlers_generic_handler(f"google.pubsub.v1.{service}", calls) for service, calls in methods.items()
    ]


def _unary(method: Callable[..., Awaitable[Any]], request_type: Any, *, with_context: bool = False) -> Any:
    async def answer(request: Any, context: Context) -> Any:
        try:
            return await (method(request, context) if with_context else method(request))
        except Refused as refused:
            await context.abort(refused.code, refused.message)

    return grpc.unary_unary_rpc_method_handler(
        answer, request_deserializer=request_type.deserialize, response_serializer=_serialize
    )


def _streaming(method: Callable[..., AsyncIterator[Any]]) -> Callable[..., AsyncIterator[Any]]:
    async def answer(requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
        try:
            async for response in method(requests, context):
                yield response
        except Refused as refused:
            await context.abort(refused.code, refused.message)

    return answer


def _serialize(message: Any) -> bytes:
    content: bytes = message.SerializeToString() if message is EMPTY else type(message).serialize(message)
    return content
