"""A topic and a subscription at work, and how Azure Resource Manager shows them."""

from typing import Any

import msgspec

from local.emulators.eventgrid import filters
from local.emulators.eventgrid.delivery import Deliverer
from local.emulators.eventgrid.filters import Predicate
from local.emulators.eventgrid.store import KeptSubscription, KeptTopic
from local.emulators.eventgrid.subscription import ProvisioningState, Subscription, base_url, shown
from local.emulators.eventgrid.topic import Topic


class RunningSubscription:
    """A subscription at work.

    Attributes:
        properties: what it is configured as.
        state: how far it got; events are taken only once it ``Succeeded``.
        wants: tells which events pass its filter.
        deliverer: delivers them; None before the endpoint's consent.
        code: what the endpoint must echo, or open the validation URL with.
        manual_until: until when the validation URL is good, on the monotonic clock.
        proposed: what it becomes once somebody opens the validation URL; until then it goes on as it is.
        unconsented: events that an earlier process left, as long as the endpoint has not consented to having them.
    """

    def __init__(self, properties: Subscription, state: ProvisioningState) -> None:
        """Put it to work; it delivers nothing yet.

        Raises:
            ValueError: its filter makes no sense.
        """
        self.properties = properties
        self.state = state
        self.wants: Predicate = filters.compiled(properties.filter)
        self.deliverer: Deliverer | None = None
        self.code = ""
        self.manual_until = 0.0
        self.proposed: RunningSubscription | None = None
        self.unconsented = 0

    @property
    def pending(self) -> int:
        """How many events are neither delivered nor given up."""
        return self.deliverer.pending if self.deliverer else self.unconsented

    def resource(self, topic: Topic, name: str) -> dict[str, Any]:
        """As Azure shows it, secrets left out."""
        return {
            "id": f"{topic.id}/eventSubscriptions/{name}",
            "name": name,
            "type": "Microsoft.EventGrid/topics/eventSubscriptions",
            "properties": shown(self.properties) | {"topic": topic.id, "provisioningState": self.state},
        }

    def status(self) -> dict[str, Any]:
        """What became of its events."""
        return {
            "provisioningState": self.state,
            "endpointBaseUrl": base_url(self.properties.webhook.endpoint_url),
            **(msgspec.to_builtins(self.deliverer.counts) if self.deliverer else {}),
            "pending": self.pending,
            "waitingForRetry": self.deliverer.waiting if self.deliverer else 0,
        }


class RunningTopic:
    """A topic at work.

    Attributes:
        topic: what it is configured as.
        subscriptions: by name.
        published: events taken in since the start.
        refused: publishing requests refused since the start.
    """

    def __init__(self, topic: Topic) -> None:
        """Put it to work."""
        self.topic = topic
        self.subscriptions: dict[str, RunningSubscription] = {}
        self.published = 0
        self.refused = 0

    def resource(self, url: str) -> dict[str, Any]:
        """As Azure shows it; ``url`` is the emulator's."""
        return {
            "id": self.topic.id,
            "name": self.topic.name,
            "type": "Microsoft.EventGrid/topics",
            "properties": {
                "endpoint": url + self.topic.path,
                "inputSchema": self.topic.input_schema,
                "provisioningState": "Succeeded",
            },
        }

    def status(self) -> dict[str, Any]:
        """What it took in, and what became of it."""
        return {
            "inputSchema": self.topic.input_schema,
            "published": self.published,
            "refusedRequests": self.refused,
            "eventSubscriptions": {name: one.status() for name, one in self.subscriptions.items()},
        }

    def kept(self) -> KeptTopic:
        """What the next process must know."""
        return KeptTopic(
            topic=self.topic,
            subscriptions={
                name: KeptSubscription(properties=one.properties, provisioning_state=one.state)
                for name, one in self.subscriptions.items()
            },
        )
