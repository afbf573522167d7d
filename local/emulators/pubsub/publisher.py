"""The service google.pubsub.v1.Publisher."""

from typing import Any

from google.protobuf import empty_pb2
from google.pubsub_v1 import types

from local.emulators.pubsub.broker import Broker
from local.emulators.pubsub.methods import Method
from local.emulators.pubsub.names import check_name, check_project
from local.emulators.pubsub.paging import page
from local.emulators.pubsub.seek import Replays

_TOPIC = "{topic=projects/*/topics/*}"


class PublisherService:
    """One method for each method of the service."""

    def __init__(self, broker: Broker, replays: Replays) -> None:
        self._broker = broker
        self._replays = replays

    def methods(self) -> list[Method]:
        """The table of the methods."""
        return [
            Method("Publisher", "CreateTopic", types.Topic, "PUT", "/v1/{name=projects/*/topics/*}", self.create_topic),
            Method(
                *("Publisher", "UpdateTopic", types.UpdateTopicRequest),
                *("PATCH", "/v1/{topic.name=projects/*/topics/*}", self.update_topic),
            ),
            Method("Publisher", "Publish", types.PublishRequest, "POST", f"/v1/{_TOPIC}:publish", self.publish),
            Method("Publisher", "GetTopic", types.GetTopicRequest, "GET", f"/v1/{_TOPIC}", self.get_topic),
            Method(
                *("Publisher", "ListTopics", types.ListTopicsRequest),
                *("GET", "/v1/{project=projects/*}/topics", self.list_topics),
            ),
            Method(
                *("Publisher", "ListTopicSubscriptions", types.ListTopicSubscriptionsRequest),
                *("GET", f"/v1/{_TOPIC}/subscriptions", self.list_topic_subscriptions),
            ),
            Method(
                *("Publisher", "ListTopicSnapshots", types.ListTopicSnapshotsRequest),
                *("GET", f"/v1/{_TOPIC}/snapshots", self.list_topic_snapshots),
            ),
            Method("Publisher", "DeleteTopic", types.DeleteTopicRequest, "DELETE", f"/v1/{_TOPIC}", self.delete_topic),
            Method(
                *("Publisher", "DetachSubscription", types.DetachSubscriptionRequest),
                *("POST", "/v1/{subscription=projects/*/subscriptions/*}:detach", self.detach_subscription),
            ),
        ]

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
        """ListTopics."""
        check_project(request.project)
        prefix = f"{request.project}/"
        topics = {name: topic for name, topic in self._broker.state.topics.items() if name.startswith(prefix)}
        shown, token = page(topics, request.page_size, request.page_token)
        return types.ListTopicsResponse(topics=shown, next_page_token=token)

    async def list_topic_subscriptions(self, request: Any) -> Any:
        """ListTopicSubscriptions; a detached subscription is not one of the topic's any more."""
        self._broker.topic(request.topic)
        attached = [
            subscriber.wire.name
            for subscriber in self._broker.subscribers(topic=request.topic)
            if not subscriber.wire.detached
        ]
        names, token = page({name: name for name in attached}, request.page_size, request.page_token)
        return types.ListTopicSubscriptionsResponse(subscriptions=names, next_page_token=token)

    async def list_topic_snapshots(self, request: Any) -> Any:
        """ListTopicSnapshots."""
        check_name(request.topic, "topics")
        snapshots = self._replays.snapshots().values()
        names = [snapshot.wire.name for snapshot in snapshots if snapshot.wire.topic == request.topic]
        shown, token = page({name: name for name in names}, request.page_size, request.page_token)
        return types.ListTopicSnapshotsResponse(snapshots=shown, next_page_token=token)

    async def delete_topic(self, request: Any) -> Any:
        """DeleteTopic."""
        self._broker.delete_topic(request.topic)
        return empty_pb2.Empty()

    async def detach_subscription(self, request: Any) -> Any:
        """DetachSubscription."""
        self._broker.detach(request.subscription)
        return types.DetachSubscriptionResponse()
