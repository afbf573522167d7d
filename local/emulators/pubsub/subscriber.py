"""The service google.pubsub.v1.Subscriber, without StreamingPull."""

import asyncio
from typing import Any

from google.protobuf import empty_pb2
from google.pubsub_v1 import types

from local.emulators.pubsub.broker import Broker
from local.emulators.pubsub.errors import invalid
from local.emulators.pubsub.methods import Method
from local.emulators.pubsub.names import check_project
from local.emulators.pubsub.paging import page
from local.emulators.pubsub.push import wait_for_change
from local.emulators.pubsub.seek import Replays
from local.emulators.pubsub.state import Subscriber
from local.emulators.pubsub.subscription import Delivered

PULL_SECONDS = 5.0
"""How long a pull waits for a first message before it returns none; the call's own deadline may be shorter."""

MAX_ACK_DEADLINE = 600

_SUBSCRIPTION = "{subscription=projects/*/subscriptions/*}"
_SNAPSHOT = "{snapshot=projects/*/snapshots/*}"
_ReceivedMessage = types.ReceivedMessage.pb()


class SubscriberService:
    """One method for each method of the service."""

    def __init__(self, broker: Broker, replays: Replays) -> None:
        self._broker = broker
        self._replays = replays

    def methods(self) -> list[Method]:
        """The table of the methods."""
        return [*self._subscription_methods(), *self._message_methods(), *self._snapshot_methods()]

    def _subscription_methods(self) -> list[Method]:
        return [
            Method(
                *("Subscriber", "CreateSubscription", types.Subscription),
                *("PUT", "/v1/{name=projects/*/subscriptions/*}", self.create_subscription),
            ),
            Method(
                *("Subscriber", "GetSubscription", types.GetSubscriptionRequest),
                *("GET", f"/v1/{_SUBSCRIPTION}", self.get_subscription),
            ),
            Method(
                *("Subscriber", "UpdateSubscription", types.UpdateSubscriptionRequest),
                *("PATCH", "/v1/{subscription.name=projects/*/subscriptions/*}", self.update_subscription),
            ),
            Method(
                *("Subscriber", "ListSubscriptions", types.ListSubscriptionsRequest),
                *("GET", "/v1/{project=projects/*}/subscriptions", self.list_subscriptions),
            ),
            Method(
                *("Subscriber", "DeleteSubscription", types.DeleteSubscriptionRequest),
                *("DELETE", f"/v1/{_SUBSCRIPTION}", self.delete_subscription),
            ),
            Method(
                *("Subscriber", "ModifyPushConfig", types.ModifyPushConfigRequest),
                *("POST", f"/v1/{_SUBSCRIPTION}:modifyPushConfig", self.modify_push_config),
            ),
        ]

    def _message_methods(self) -> list[Method]:
        return [
            Method(
                *("Subscriber", "Acknowledge", types.AcknowledgeRequest),
                *("POST", f"/v1/{_SUBSCRIPTION}:acknowledge", self.acknowledge),
            ),
            Method(
                *("Subscriber", "ModifyAckDeadline", types.ModifyAckDeadlineRequest),
                *("POST", f"/v1/{_SUBSCRIPTION}:modifyAckDeadline", self.modify_ack_deadline),
            ),
            Method(
                *("Subscriber", "Pull", types.PullRequest, "POST", f"/v1/{_SUBSCRIPTION}:pull", self.pull), waits=True
            ),
        ]

    def _snapshot_methods(self) -> list[Method]:
        return [
            Method(
                *("Subscriber", "CreateSnapshot", types.CreateSnapshotRequest),
                *("PUT", "/v1/{name=projects/*/snapshots/*}", self.create_snapshot),
            ),
            Method(
                *("Subscriber", "GetSnapshot", types.GetSnapshotRequest),
                *("GET", f"/v1/{_SNAPSHOT}", self.get_snapshot),
            ),
            Method(
                *("Subscriber", "ListSnapshots", types.ListSnapshotsRequest),
                *("GET", "/v1/{project=projects/*}/snapshots", self.list_snapshots),
            ),
            Method(
                *("Subscriber", "UpdateSnapshot", types.UpdateSnapshotRequest),
                *("PATCH", "/v1/{snapshot.name=projects/*/snapshots/*}", self.update_snapshot),
            ),
            Method(
                *("Subscriber", "DeleteSnapshot", types.DeleteSnapshotRequest),
                *("DELETE", f"/v1/{_SNAPSHOT}", self.delete_snapshot),
            ),
            Method("Subscriber", "Seek", types.SeekRequest, "POST", f"/v1/{_SUBSCRIPTION}:seek", self.seek),
        ]

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
        """ListSubscriptions."""
        check_project(request.project)
        prefix = f"{request.project}/"
        subscriptions = {
            name: subscriber.wire
            for name, subscriber in self._broker.state.subscribers.items()
            if name.startswith(prefix)
        }
        shown, token = page(subscriptions, request.page_size, request.page_token)
        return types.ListSubscriptionsResponse(subscriptions=shown, next_page_token=token)

    async def delete_subscription(self, request: Any) -> Any:
        """DeleteSubscription."""
        self._broker.delete_subscription(request.subscription)
        return empty_pb2.Empty()

    async def modify_push_config(self, request: Any) -> Any:
        """ModifyPushConfig."""
        changed = types.Subscription(name=request.subscription, push_config=request.push_config)
        self._broker.update_subscription(changed, ["push_config"])
        return empty_pb2.Empty()

    async def acknowledge(self, request: Any) -> Any:
        """Acknowledge."""
        _check_not_empty(request)
        self._broker.acknowledge(request.subscription, request.ack_ids)
        return empty_pb2.Empty()

    async def modify_ack_deadline(self, request: Any) -> Any:
        """ModifyAckDeadline."""
        _check_not_empty(request)
        check_deadline(request.ack_deadline_seconds)
        self._broker.modify_deadline(request.subscription, request.ack_ids, request.ack_deadline_seconds)
        return empty_pb2.Empty()

    async def pull(self, request: Any, *, remaining: float | None) -> Any:
        """Pull."""
        if request.max_messages < 1:
            raise invalid("max_messages must be at least 1.")
        name: str = request.subscription
        subscriber = self._broker.pullable(name)
        loop = asyncio.get_running_loop()
        end = loop.time() + (PULL_SECONDS if remaining is None else min(PULL_SECONDS, remaining * 0.9))
        while not (deliveries := self._broker.take(name, request.max_messages)):
            if loop.time() >= end or request.return_immediately:
                break
            subscriber.changed.clear()
            await wait_for_change(subscriber, at_most=end - loop.time())
            subscriber = self._broker.pullable(name)  # it may have been deleted or detached, or pushes now
        return types.PullResponse.pb()(received_messages=received(subscriber, deliveries))

    async def create_snapshot(self, request: Any) -> Any:
        """CreateSnapshot."""
        return self._replays.create_snapshot(request.name, request.subscription, request.labels)

    async def get_snapshot(self, request: Any) -> Any:
        """GetSnapshot."""
        return self._replays.snapshot(request.snapshot).wire

    async def list_snapshots(self, request: Any) -> Any:
        """ListSnapshots."""
        check_project(request.project)
        prefix = f"{request.project}/"
        snapshots = {
            name: snapshot.wire for name, snapshot in self._replays.snapshots().items() if name.startswith(prefix)
        }
        shown, token = page(snapshots, request.page_size, request.page_token)
        return types.ListSnapshotsResponse(snapshots=shown, next_page_token=token)

    async def update_snapshot(self, request: Any) -> Any:
        """UpdateSnapshot."""
        return self._replays.update_snapshot(request.snapshot, request.update_mask.paths)

    async def delete_snapshot(self, request: Any) -> Any:
        """DeleteSnapshot."""
        self._replays.delete_snapshot(request.snapshot)
        return empty_pb2.Empty()

    async def seek(self, request: Any) -> Any:
        """Seek."""
        target = types.SeekRequest.pb(request).WhichOneof("target")
        if target is None:
            self._broker.subscriber(request.subscription)
            raise invalid("A seek needs a time or a snapshot.")
        if target == "snapshot":
            self._replays.seek_to_snapshot(request.subscription, request.snapshot)
        else:
            self._replays.seek_to_time(request.subscription, request.time)
        return types.SeekResponse()


def check_deadline(seconds: int) -> None:
    """Return if a lease may be extended by these seconds.

    Raises:
        Refused: INVALID_ARGUMENT, it may not.
    """
    if not 0 <= seconds <= MAX_ACK_DEADLINE:
        raise invalid(f"ack_deadline_seconds is {seconds}: it must be 0 to {MAX_ACK_DEADLINE}.")


def received(subscriber: Subscriber, deliveries: list[Delivered]) -> list[Any]:
    """The deliveries in raw protobuf: the client library's wrappers take more time than all other steps."""
    has_attempts = bool(subscriber.wire.dead_letter_policy.dead_letter_topic)
    return [_received(delivery, has_attempts=has_attempts) for delivery in deliveries]


def _received(delivery: Delivered, *, has_attempts: bool) -> Any:
    message = delivery.message
    wire = _ReceivedMessage(ack_id=delivery.ack_id, delivery_attempt=delivery.attempt if has_attempts else 0)
    wire.message.data = message.data
    wire.message.attributes.update(message.attributes)
    wire.message.message_id = message.id
    wire.message.publish_time.FromMicroseconds(round(message.published * 1_000_000))
    wire.message.ordering_key = message.ordering_key
    return wire


def _check_not_empty(request: Any) -> None:
    if not request.ack_ids:
        raise invalid("No ack ids specified.")
