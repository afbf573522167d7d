"""The running topics and subscriptions, and their form in Azure Resource Manager."""

from typing import Any

import msgspec

from local.emulators.eventgrid import filters
from local.emulators.eventgrid.delivery import Deliverer
from local.emulators.eventgrid.filters import Predicate
from local.emulators.eventgrid.store import StoredSubscription, StoredTopic
from local.emulators.eventgrid.subscription import ProvisioningState, Subscription, base_url, redacted
from local.emulators.eventgrid.topic import Topic


class RunningSubscription:
    """A running subscription.

    Attributes:
        properties: its configuration.
        state: its provisioning state; it accepts events only in the state ``Succeeded``.
        matches: returns whether an event matches its filter.
        deliverer: delivers its events; None before the endpoint's consent.
        code: the code that the endpoint must echo, and that the validation URL contains.
        manual_until: the time until which the validation URL is valid, on the monotonic clock.
        proposed: the changed subscription that takes effect once a client opens the validation URL.
        unconsented: the number of events that an earlier process left, until the endpoint consents.
    """

    def __init__(self, properties: Subscription, state: ProvisioningState) -> None:
        """Start without deliveries.

        Raises:
            ValueError: the filter is invalid.
        """
        self.properties = properties
        self.state = state
        self.matches: Predicate = filters.compile_filter(properties.filter)
        self.deliverer: Deliverer | None = None
        self.code = ""
        self.manual_until = 0.0
        self.proposed: RunningSubscription | None = None
        self.unconsented = 0

    @property
    def pending(self) -> int:
        """The number of events that are neither delivered nor given up."""
        return self.deliverer.pending if self.deliverer else self.unconsented

    def resource(self, topic: Topic, name: str) -> dict[str, Any]:
        """The subscription in Azure's form, without secrets."""
        return {
            "id": f"{topic.id}/eventSubscriptions/{name}",
            "name": name,
            "type": "Microsoft.EventGrid/topics/eventSubscriptions",
            "properties": redacted(self.properties) | {"topic": topic.id, "provisioningState": self.state},
        }

    def status(self) -> dict[str, Any]:
        """Its state, and its events by outcome."""
        return {
            "provisioningState": self.state,
            "endpointBaseUrl": base_url(self.properties.webhook.endpoint_url),
            **(msgspec.to_builtins(self.deliverer.counts) if self.deliverer else {}),
            "pending": self.pending,
            "waitingForRetry": self.deliverer.waiting if self.deliverer else 0,
        }


class RunningTopic:
    """A running topic.

    Attributes:
        topic: its configuration.
        subscriptions: its subscriptions by name.
        published: the number of events published since the start.
        refused: the number of publish requests refused since the start.
    """

    def __init__(self, topic: Topic) -> None:
        """Start without subscriptions."""
        self.topic = topic
        self.subscriptions: dict[str, RunningSubscription] = {}
        self.published = 0
        self.refused = 0

    def resource(self, url: str) -> dict[str, Any]:
        """The topic in Azure's form; ``url`` is the URL of the emulator."""
        return {
            "id": self.topic.id,
            "name": self.topic.name,
            "type": "Microsoft.EventGrid/topics",
            "properties": {
                "endpoint": url + self.topic.path,
                **self.topic.properties,
                "provisioningState": "Succeeded",
            },
        }

    def status(self) -> dict[str, Any]:
        """The counts of the topic and of its subscriptions."""
        return {
            "inputSchema": self.topic.input_schema,
            "published": self.published,
            "refusedRequests": self.refused,
            "eventSubscriptions": {name: subscription.status() for name, subscription in self.subscriptions.items()},
        }

    def stored(self) -> StoredTopic:
        """The part of the topic that outlives the process."""
        return StoredTopic(
            topic=self.topic,
            subscriptions={
                name: StoredSubscription(properties=subscription.properties, provisioning_state=subscription.state)
                for name, subscription in self.subscriptions.items()
            },
        )
