"""Kafka: stored events as messages in the binary mode of CloudEvents. Imported only if brokers are configured."""

import re
import time
from collections.abc import Mapping, Sequence
from typing import Final

from confluent_kafka import KafkaError

from helios.adapters.cloudevents import attributes
from helios.adapters.extensions import content_type
from helios.adapters.kafka_producer import BATCH_ERRORS, OutMessage, ReliableProducer
from helios.errors import ConfigurationError, Retryable
from helios.model.events import Event
from helios.model.stream import Parked

MAX_TOPIC_CHARS: Final = 249
"""The longest topic name (Apache Kafka, org.apache.kafka.common.internals.Topic, also for the characters below)."""
_NOT_IN_TOPICS: Final = re.compile(r"[^a-zA-Z0-9._-]")


class KafkaSink:
    """Implements ``EventSink`` with an idempotent producer: acknowledged events are on all replicas, ordered by key."""

    def __init__(
        self, brokers: str, *, topic: str, timeout_seconds: float, properties: Mapping[str, str] | None = None
    ) -> None:
        """Take the settings. The first use connects.

        Args:
            brokers: bootstrap servers, as ``host:port,host:port``.
            topic: the topic's name; ``{source}`` and ``{type}`` are replaced by those of the event.
            timeout_seconds: the longest time for a call to ``send``.
            properties: further librdkafka properties.

        Raises:
            ConfigurationError: the topic has another placeholder.
        """
        if "{" in topic.replace("{source}", "").replace("{type}", ""):
            raise ConfigurationError(
                f"HELIOS_KAFKA_TOPIC: {topic!r} has a placeholder other than {{source}} and {{type}}"
            )
        self._topic = topic
        self._timeout_seconds = timeout_seconds
        self._producer = ReliableProducer(brokers, timeout_seconds=timeout_seconds, properties=properties)

    def send(self, events: Sequence[Event]) -> list[Parked]:
        """Produce a message for each event, and return once each is acknowledged or permanently refused."""
        deadline = time.monotonic() + self._timeout_seconds
        refused = self._attempt(events, deadline)
        if len(events) > 1:
            suspects = [report for report in refused if report[1].code() in BATCH_ERRORS]
            refused = [report for report in refused if report not in suspects]
            for suspect in suspects:
                has_time = deadline - time.monotonic() > self._timeout_seconds / 4
                refused += self._attempt([suspect[0]], deadline) if has_time else [suspect]
        return [
            Parked(key=event.key, reason=f"topic {topic_of(event, self._topic)}: {error.str()}")
            for event, error in refused
        ]

    def erase(self, events: Sequence[Event]) -> int:
        """Produce a message without a value for each key, which compaction then removes; return the number of keys."""
        by_key = {(topic_of(event, self._topic), key_of(event)): event for event in events}
        tombstones = [OutMessage(topic, key, None) for topic, key in by_key]
        deadline = time.monotonic() + self._timeout_seconds
        if refused := self._producer.attempt(tombstones, deadline):
            raise Retryable(f"Kafka refused {len(refused)} of {len(by_key)} tombstones: {refused[0][1].str()}")
        return len(by_key)

    def probe(self) -> None:
        """Return if a broker answers now; raise Retryable if none does."""
        self._producer.probe()

    def close(self) -> None:
        """Close the connections. Unacknowledged messages are dropped: ``send`` has already raised for them."""
        self._producer.close()

    def _attempt(self, events: Sequence[Event], deadline: float) -> list[tuple[Event, KafkaError]]:
        messages = [
            OutMessage(topic_of(event, self._topic), key_of(event), bytes(event.data), headers_of(event))
            for event in events
        ]
        return [(events[number], error) for number, error in self._producer.attempt(messages, deadline)]


def topic_of(event: Event, template: str) -> str:
    """The event's topic, as a name that is valid in Kafka for every type."""
    name = template.replace("{source}", event.source).replace("{type}", event.type)
    name = _NOT_IN_TOPICS.sub("-", name)[:MAX_TOPIC_CHARS]
    return "-" if name in {"", ".", ".."} else name


def key_of(event: Event) -> str:
    """The message key, which decides the ordering: the order's id, or else the event's own identity."""
    return event.order_id or "/".join(event.key)


def headers_of(event: Event) -> list[tuple[str, str | bytes | None]]:
    """The event's attributes (Kafka Protocol Binding for CloudEvents 1.0.2, "Binary Content Mode")."""
    headers = {f"ce_{name}": value for name, value in attributes(event).items()}
    headers["content-type"] = content_type(event.attributes)
    return [(name, value.encode()) for name, value in headers.items()]
