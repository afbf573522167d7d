"""An idempotent producer of Kafka that reports what became of each message. Imported only if brokers are configured."""

import threading
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from helios.errors import Retryable

PROBE_SECONDS: Final = 2.0

_DIAGNOSIS: Final = 0.1
"""The share of the time for a call that may pass in addition, to find out why it failed."""
_DIAGNOSED_TOPICS: Final = 3
"""Topics whose replicas are reported."""

DEFAULTS: Final[dict[str, str | int]] = {
    "client.id": "helios",
    # A key maps to the same partition as with Kafka's own Java client.
    "partitioner": "murmur2_random",
    "compression.type": "lz4",
    # Events flow again, and health reports it, soon after the brokers are back.
    "reconnect.backoff.max.ms": 1_000,
    # The client's own limits. The broker decides how large a message may be, and a large page must not use more memory.
    "message.max.bytes": 33_554_432,
    "queue.buffering.max.kbytes": 65_536,
    # Errors are raised with their reasons, so the client does not also write them to standard error.
    "log_level": 0,
}
"""Properties that a configuration file may override (librdkafka, "Configuration properties")."""


_TOPIC_ERRORS: Final = {
    KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001 - its name
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.TOPIC_EXCEPTION,
}
"""Errors that concern a topic, and so every message to it (error codes of Apache Kafka and of librdkafka)."""

BATCH_ERRORS: Final = {
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.RECORD_LIST_TOO_LARGE,
    KafkaError.INVALID_RECORD,
    KafkaError.POLICY_VIOLATION,
}
"""Errors that one message causes for every message in the same request."""


ANY_PARTITION: Final = -1
"""librdkafka's RD_KAFKA_PARTITION_UA."""


class OutMessage(NamedTuple):
    """A message to produce.

    Attributes:
        topic: its topic.
        key: decides its partition.
        value: None: a tombstone.
        headers: its headers.
        partition: its partition; ANY_PARTITION: the one of its key.
    """

    topic: str
    key: str
    value: bytes | None
    headers: Sequence[tuple[str, str | bytes | None]] = ()
    partition: int = ANY_PARTITION


Refusal = tuple[int, KafkaError]
"""The index of a message that is permanently refused, and why."""


class ReliableProducer:
    """Acknowledged messages are on all replicas, and those with one key are in the order in which they were sent."""

    def __init__(self, brokers: str, *, timeout_seconds: float, properties: Mapping[str, str] | None = None) -> None:
        """Take the settings. The first use connects.

        Args:
            brokers: bootstrap servers, as ``host:port,host:port``.
            timeout_seconds: the longest time for a call to ``attempt``.
            properties: further librdkafka properties.
        """
        self._timeout_seconds = timeout_seconds
        self._properties: dict[str, str | int | bool] = {
            **DEFAULTS,
            **client_properties(brokers, properties),
            "enable.idempotence": True,
            "acks": "all",
            "delivery.timeout.ms": round(timeout_seconds * 1000),
            # Distinguishes a topic that does not exist from a broker that does not answer.
            "topic.metadata.propagation.max.ms": round(timeout_seconds * 500),
        }
        self._lock = threading.Lock()
        self._producer: Producer | None = None
        self._connection_error = ""

    def probe(self) -> None:
        """Return if a broker answers now; raise Retryable if none does."""
        try:
            self._open_producer().list_topics(timeout=PROBE_SECONDS)
        except KafkaException as error:
            raise Retryable(f"Kafka: {reason_of(error)}") from error

    def partitions(self, topic: str) -> list[int]:
        """The partitions of a topic.

        Raises:
            Retryable: no broker answers, or there is no such topic.
        """
        try:
            found = self._open_producer().list_topics(topic, timeout=PROBE_SECONDS).topics[topic]
        except KafkaException as error:
            raise Retryable(f"Kafka: {reason_of(error)}") from error
        if found.error:
            raise Retryable(f"Kafka: topic {topic}: {found.error.str()}")
        return sorted(found.partitions)

    def close(self) -> None:
        """Close the connections. Unacknowledged messages are dropped: ``attempt`` has already raised for them."""
        self._discard_producer()

    def attempt(self, messages: Sequence[OutMessage], deadline: float) -> list[Refusal]:
        """Send messages, and return those that are permanently refused.

        Args:
            messages: the messages.
            deadline: until when to wait for acknowledgements (``time.monotonic``).

        Raises:
            Retryable: the outcome of some messages is unknown.
        """
        reports = _Reports()
        self._connection_error = ""
        try:
            producer = self._open_producer()
            for number, message in enumerate(messages):
                self._produce(producer, number, message, reports, deadline)
            producer.flush(max(0.0, deadline - time.monotonic()))
        except KafkaException as error:
            reports.failure = reason_of(error)
        if reports.acknowledged + len(reports.refused) < len(messages):
            details = [
                self._connection_error,
                *self._missing_replicas({message.topic for message in messages}),
            ]
            detail = "; ".join(filter(None, details))
            self._discard_producer()
            raise Retryable(
                f"Kafka: {reports.acknowledged} of {len(messages)} events were acknowledged within"
                f" {self._timeout_seconds:g} s: {reports.failure or 'no answer'}{f' ({detail})' if detail else ''}"
            )
        return reports.refused

    def _open_producer(self) -> Producer:
        with self._lock:
            if self._producer is None:
                self._producer = Producer({**self._properties, "error_cb": self._record_connection_error})
            return self._producer

    def _discard_producer(self) -> None:
        """Discard a producer that failed, so that none of its queued messages arrives after the messages sent next."""
        with self._lock:
            if self._producer is not None:
                self._producer.purge()
            self._producer = None

    def _missing_replicas(self, topics: set[str]) -> list[str]:
        """The topics with replicas that are not in sync: the client itself only reports that the time was over."""
        try:
            found = [
                self._open_producer().list_topics(topic, timeout=_DIAGNOSIS * self._timeout_seconds).topics[topic]
                for topic in sorted(topics)[:_DIAGNOSED_TOPICS]
            ]
        except KafkaException:
            return []  # no broker answers, which the reasons so far say
        return [
            f"topic {topic.topic}, partition {number}: {len(part.isrs)} of {len(part.replicas)} replicas in sync"
            for topic in found
            for number, part in sorted(topic.partitions.items())
            if len(part.isrs) < len(part.replicas)
        ]

    def _produce(
        self, producer: Producer, number: int, message: OutMessage, reports: "_Reports", deadline: float
    ) -> None:
        record = partial(reports.record, number)
        while True:
            try:
                producer.produce(
                    message.topic,
                    message.value,
                    key=message.key.encode(errors="backslashreplace"),
                    partition=message.partition,
                    headers=list(message.headers),
                    on_delivery=record,
                )
            except BufferError:  # the producer's queue is full: wait for acknowledgements
                if time.monotonic() > deadline:
                    raise KafkaException(KafkaError(KafkaError._QUEUE_FULL)) from None  # noqa: SLF001 - its name
                producer.poll(0.1)
            except KafkaException as error:  # the client itself refuses the message
                reports.record(number, error.args[0])
                return
            else:
                return

    def _record_connection_error(self, error: KafkaError) -> None:
        """Store the latest error of the client's connections: a delivery report only says that the time is over."""
        self._connection_error = error.str()


class _Reports:
    """The outcomes of the messages of one call.

    Attributes:
        acknowledged: the number of acknowledged messages.
        refused: the permanently refused messages.
        failure: the first error of a message that may succeed later.
    """

    def __init__(self) -> None:
        self.acknowledged = 0
        self.refused: list[Refusal] = []
        self.failure = ""

    def record(self, number: int, error: KafkaError | None, message: Message | None = None) -> None:
        """Record one delivery report."""
        if error is None:
            self.acknowledged += 1
        elif error.code() in _TOPIC_ERRORS | BATCH_ERRORS:
            self.refused.append((number, error))
        elif not self.failure:
            self.failure = f"topic {message.topic()}: {error.str()}" if message else error.str()


def client_properties(brokers: str, properties: Mapping[str, str] | None) -> dict[str, str]:
    """The properties of every client of these brokers."""
    return {**(properties or {}), "bootstrap.servers": brokers}


def reason_of(error: KafkaException) -> str:
    """The reason of an error, in the client's words."""
    detail = error.args[0]
    return detail.str() if isinstance(detail, KafkaError) else str(detail)
