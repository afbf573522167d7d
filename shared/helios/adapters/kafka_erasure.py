"""Erases from the log in Kafka, and scans it. Imported only where HELIOS_ENGINE is flink."""

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, TypeVar

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType  # type: ignore[attr-defined] # documented

from helios.adapters.kafka_producer import OutMessage, ReliableProducer, client_properties, reason_of
from helios.errors import Retryable
from helios.messages import Topics, encode_erasure
from helios.model.erasure import Outstanding, Selector, mentions, needles
from helios.model.events import Key
from helios.reconciliation.record import FlowKey

T = TypeVar("T")

STATE: Final = "state of the job"
"""The place of a receipt that no scan reads."""

MESSAGE_KEYS: Final = 500
"""How many events or instances one message says to erase."""

READ_LIMIT: Final = 5_000
NEVER_MS: Final = 2**63 - 1
"""Kafka's value of max.compaction.lag.ms for no limit."""


class KafkaLogErasure:
    """Implements ``LogErasure``."""

    def __init__(
        self,
        brokers: str,
        *,
        names: Topics,
        horizon: timedelta,
        timeout_seconds: float,
        properties: Mapping[str, str] | None = None,
    ) -> None:
        """Take the settings. The first use connects.

        Args:
            brokers: bootstrap servers, as ``host:port,host:port``.
            names: the topics of the log.
            horizon: how long the job knows a record after its last evidence.
            timeout_seconds: the longest time for a request.
            properties: further librdkafka properties.
        """
        self._names = names
        self._horizon = horizon
        self._timeout_seconds = timeout_seconds
        self._properties: dict[str, str | int | float | bool] = {
            **client_properties(brokers, properties),
            "log_level": 0,
        }
        self._producer = ReliableProducer(brokers, timeout_seconds=timeout_seconds, properties=properties)

    def erase(self, events: Collection[Key], instances: Collection[FlowKey]) -> int:
        """Write tombstones for the records of flow instances, tell the job, and return the number of instances.

        Each tombstone is written to every partition: which one has the record, the job has decided.
        """
        if messages := [
            *(encode_erasure(part, []) for part in _parts(sorted(events), MESSAGE_KEYS)),
            *(encode_erasure([], part) for part in _parts(sorted(instances), MESSAGE_KEYS)),
        ]:
            self._append([OutMessage(self._names.deliveries, *message) for message in messages])
        if not instances:
            return 0
        topic = self._names.verdicts
        keys = [msgspec.json.encode({"key": "/".join(instance)}).decode() for instance in sorted(instances)]
        partitions = self._producer.partitions(topic)
        tombstones = [OutMessage(topic, key, None, partition=number) for key in keys for number in partitions]
        self._append(tombstones)
        return len(keys)

    def _append(self, messages: Sequence[OutMessage]) -> None:
        if refused := self._producer.attempt(messages, time.monotonic() + self._timeout_seconds):
            raise Retryable(f"Kafka refused {len(refused)} of {len(messages)} messages: {refused[0][1].str()}")

    def outstanding(self, now: datetime) -> list[Outstanding]:
        """The topics and the state that still have what was written until now, and when they have forgotten it."""
        places = [
            Outstanding(place=topic, until=_after(now, _milliseconds(settings)))
            for topic, settings in sorted(self._settings().items())
        ]
        return [*places, Outstanding(place=STATE, until=now + self._horizon)]

    def scan(self, selector: Selector) -> dict[str, int]:
        """The number of messages that mention the value, by topic with one."""
        found: dict[str, int] = {}
        words = needles(selector.value)
        consumer = Consumer(
            {
                **self._properties,
                "group.id": f"{self._names.deliveries}.erasure",
                "enable.auto.commit": False,
                "enable.partition.eof": True,  # the last message may be before the end of a transaction
                "isolation.level": "read_uncommitted",  # an aborted message is on the disk, too
            }
        )
        try:
            ends = self._ends(consumer)
            consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for topic, number in ends])
            while ends:
                for message in consumer.consume(READ_LIMIT, timeout=1.0):
                    place = (message.topic() or "", message.partition() or 0)
                    if failure := message.error():
                        if failure.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - its name
                            raise Retryable(f"Kafka: {failure.str()}")
                        ends.pop(place, None)
                        continue
                    if (message.offset() or 0) + 1 >= ends.get(place, 0):
                        ends.pop(place, None)
                    content = b"\n".join(bytes(part) for part in (message.key(), message.value()) if part)
                    if any(word in content for word in words) and mentions(content, selector.value):
                        found[place[0]] = found.get(place[0], 0) + 1
        except KafkaException as error:
            raise Retryable(f"Kafka: {reason_of(error)}") from error
        finally:
            consumer.close()
        return found

    def close(self) -> None:
        """Close the connections."""
        self._producer.close()

    def _topics(self) -> list[str]:
        """The topics that may have a value of an event."""
        return [self._names.deliveries, self._names.events, self._names.verdicts, self._names.dead_letters]

    def _ends(self, consumer: Consumer) -> dict[tuple[str, int], int]:
        """The end of each partition with messages."""
        ends = {}
        for topic in self._topics():
            for number in consumer.list_topics(topic, timeout=self._timeout_seconds).topics[topic].partitions:
                place = TopicPartition(topic, number)
                first, end = consumer.get_watermark_offsets(place, timeout=self._timeout_seconds) or (0, 0)
                if first < end:
                    ends[topic, number] = end
        return ends

    def _settings(self) -> dict[str, dict[str, str]]:
        """The settings of the topics."""
        resources = [ConfigResource(ResourceType.TOPIC, topic) for topic in self._topics()]
        try:
            client = AdminClient(self._properties)  # the answers end with it
            answers = client.describe_configs(resources, request_timeout=self._timeout_seconds)
            return {
                resource.name: {name: entry.value for name, entry in answer.result(self._timeout_seconds).items()}
                for resource, answer in answers.items()
            }
        except (KafkaException, TimeoutError) as error:
            reason = reason_of(error) if isinstance(error, KafkaException) else "no answer"
            raise Retryable(f"Kafka: {reason}") from error


def _milliseconds(settings: Mapping[str, str]) -> int | None:
    """After how long a message is no longer on the disk of a broker; None: no setting says so.

    A segment is removed when its newest message is too old, and compacted once it is closed.
    """
    segment, removal = int(settings["segment.ms"]), int(settings["file.delete.delay.ms"])
    if "compact" in settings["cleanup.policy"]:
        lag = int(settings["max.compaction.lag.ms"])
        return None if lag == NEVER_MS else lag + int(settings["delete.retention.ms"]) + segment + removal
    retention = int(settings["retention.ms"])
    return None if retention < 0 else retention + segment + removal


def _after(now: datetime, milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else now + timedelta(milliseconds=milliseconds)


def _parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items in parts of at most this size."""
    return (items[first : first + size] for first in range(0, len(items), size))
