"""Kafka: stored events as messages in the binary mode of CloudEvents. Imported only if brokers are configured."""

import re
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from helios.adapters.cloudevents import attributes
from helios.errors import ConfigurationError, Retryable
from helios.model.events import Event
from helios.model.stream import Parked

PROBE_SECONDS: Final = 2.0

MAX_TOPIC_CHARS: Final = 249
"""The longest topic name (Apache Kafka, org.apache.kafka.common.internals.Topic, also for the characters below)."""
_NOT_IN_TOPICS: Final = re.compile(r"[^a-zA-Z0-9._-]")

_DEFAULTS: Final[dict[str, str | int]] = {
    "client.id": "helios",
    # A key maps to the same partition as with Kafka's own Java client.
    "partitioner": "murmur2_random",
    "compression.type": "lz4",
    # Events flow again, and health reports it, soon after the brokers are back.
    "reconnect.backoff.max.ms": 1_000,
    # The client's own limits. The broker decides how large a message may be, and a large page must not use more memory.
    "message.max.bytes": 16_777_216,
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

_BATCH_ERRORS: Final = {
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.RECORD_LIST_TOO_LARGE,
    KafkaError.INVALID_RECORD,
    KafkaError.POLICY_VIOLATION,
}
"""Errors that one message causes for every message in the same request."""


class KafkaSink:
    """Implements ``EventSink`` with an idempotent producer: acknowledged events are on all replicas, ordered by key."""

    def __init__(self, brokers: str, *, topic: str, timeout_seconds: float, config_file: str | None = None) -> None:
        """Take the settings. The first use connects.

        Args:
            brokers: bootstrap servers, as ``host:port,host:port``.
            topic: the topic's name; ``{source}`` and ``{type}`` are replaced by those of the event.
            timeout_seconds: the longest time for a call to ``send``.
            config_file: a file of further librdkafka properties, one ``name=value`` per line.

        Raises:
            ConfigurationError: the topic has another placeholder, or the file or a property in it is wrong.
        """
        if "{" in topic.replace("{source}", "").replace("{type}", ""):
            raise ConfigurationError(
                f"HELIOS_KAFKA_TOPIC: {topic!r} has a placeholder other than {{source}} and {{type}}"
            )
        self._topic = topic
        self._timeout_seconds = timeout_seconds
        self._properties: dict[str, str | int | bool] = {
            **_DEFAULTS,
            **(_read_properties(Path(config_file)) if config_file else {}),
            "bootstrap.servers": brokers,
            "enable.idempotence": True,
            "acks": "all",
            "delivery.timeout.ms": round(timeout_seconds * 1000),
            # Distinguishes a topic that does not exist from a broker that does not answer.
            "topic.metadata.propagation.max.ms": round(timeout_seconds * 500),
        }
        self._lock = threading.Lock()
        self._producer: Producer | None = None
        self._connection_error = ""

    def send(self, events: Sequence[Event]) -> list[Parked]:
        """Produce a message for each event, and return once each is acknowledged or permanently refused."""
        deadline = time.monotonic() + self._timeout_seconds
        refused = self._attempt(events, deadline)
        if len(events) > 1:
            suspects = [report for report in refused if report[1].code() in _BATCH_ERRORS]
            refused = [report for report in refused if report not in suspects]
            for suspect in suspects:
                has_time = deadline - time.monotonic() > self._timeout_seconds / 4
                refused += self._attempt([suspect[0]], deadline) if has_time else [suspect]
        return [
            Parked(key=event.key, reason=f"topic {topic_of(event, self._topic)}: {error.str()}")
            for event, error in refused
        ]

    def probe(self) -> None:
        """Return if a broker answers now; raise Retryable if none does."""
        try:
            self._open_producer().list_topics(timeout=PROBE_SECONDS)
        except KafkaException as error:
            raise Retryable(f"Kafka: {_reason(error)}") from error

    def close(self) -> None:
        """Close the connections. Unacknowledged messages are dropped: ``send`` has already raised for them."""
        self._discard_producer()

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

    def _attempt(self, events: Sequence[Event], deadline: float) -> "list[tuple[Event, KafkaError]]":
        """Send messages, and return those that are permanently refused.

        Raises:
            Retryable: the outcome of some messages is unknown.
        """
        reports = _Reports()
        self._connection_error = ""
        try:
            producer = self._open_producer()
            for event in events:
                self._produce(producer, event, reports, deadline)
            producer.flush(max(0.0, deadline - time.monotonic()))
        except KafkaException as error:
            reports.failure = _reason(error)
        if reports.acknowledged + len(reports.refused) < len(events):
            self._discard_producer()
            raise Retryable(
                f"Kafka: {reports.acknowledged} of {len(events)} events were acknowledged within"
                f" {self._timeout_seconds:g} s: {reports.failure or 'no answer'}"
                f"{f' ({self._connection_error})' if self._connection_error else ''}"
            )
        return reports.refused

    def _produce(self, producer: Producer, event: Event, reports: "_Reports", deadline: float) -> None:
        topic, record = topic_of(event, self._topic), partial(reports.record, event)
        while True:
            try:
                producer.produce(
                    topic, bytes(event.data), key=key_of(event), headers=headers_of(event), on_delivery=record
                )
            except BufferError:  # the producer's queue is full: wait for acknowledgements
                if time.monotonic() > deadline:
                    raise KafkaException(KafkaError(KafkaError._QUEUE_FULL)) from None  # noqa: SLF001 - its name
                producer.poll(0.1)
            except KafkaException as error:  # the client itself refuses the message
                reports.record(event, error.args[0])
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
        refused: the permanently refused events, each with its error.
        failure: the first error of a message that may succeed later.
    """

    def __init__(self) -> None:
        self.acknowledged = 0
        self.refused: list[tuple[Event, KafkaError]] = []
        self.failure = ""

    def record(self, event: Event, error: KafkaError | None, message: Message | None = None) -> None:
        """Record one delivery report."""
        if error is None:
            self.acknowledged += 1
        elif error.code() in _TOPIC_ERRORS | _BATCH_ERRORS:
            self.refused.append((event, error))
        elif not self.failure:
            self.failure = f"topic {message.topic()}: {error.str()}" if message else error.str()


def topic_of(event: Event, template: str) -> str:
    """The event's topic, as a name that is valid in Kafka for every type."""
    name = template.replace("{source}", event.source).replace("{type}", event.type)
    name = _NOT_IN_TOPICS.sub("-", name)[:MAX_TOPIC_CHARS]
    return "-" if name in {"", ".", ".."} else name


def key_of(event: Event) -> str:
    """The message key, which decides the ordering: the order's id, or else the event's own identity."""
    return event.order_id or f"{event.source}/{event.id}"


def headers_of(event: Event) -> list[tuple[str, str | bytes | None]]:
    """The event's attributes (Kafka Protocol Binding for CloudEvents 1.0.2, "Binary Content Mode")."""
    headers = {f"ce_{name}": value for name, value in attributes(event).items()}
    return [(name, value.encode()) for name, value in (headers | {"content-type": "application/json"}).items()]


def _read_properties(file: Path) -> dict[str, str]:
    """The properties in a file, in the format of librdkafka's and Kafka's own tools; ``#`` begins a comment.

    Raises:
        ConfigurationError: the file does not exist, or a line in it has no ``=``.
    """
    try:
        lines = [line.strip() for line in file.read_text().splitlines()]
    except OSError as error:
        raise ConfigurationError(f"HELIOS_KAFKA_CONFIG: {file}: {error.strerror}") from error
    properties = {}
    for line in lines:
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals:
            raise ConfigurationError(
                f"HELIOS_KAFKA_CONFIG: {file}: a line is not in the form name=value (its content is not shown)"
            )
        properties[name.strip()] = value.strip()
    return properties


def _reason(error: KafkaException) -> str:
    detail = error.args[0]
    return detail.str() if isinstance(detail, KafkaError) else str(detail)
