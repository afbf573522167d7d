"""Kafka: stored events as messages in CloudEvents' binary mode. Loaded only where brokers are set."""

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
"""Apache Kafka, org.apache.kafka.common.internals.Topic: longest name; it also fixes the characters below."""
_NOT_IN_TOPICS: Final = re.compile(r"[^a-zA-Z0-9._-]")

_DEFAULTS: Final[dict[str, str | int]] = {
    "client.id": "helios",
    # A key goes to the partition to which Kafka's own Java client would send it.
    "partitioner": "murmur2_random",
    "compression.type": "lz4",
    # Soon after the brokers are back, events flow again and health says so.
    "reconnect.backoff.max.ms": 1_000,
    # The client's own limits: how large a message may be is the broker's to say, and memory is not to grow with a page.
    "message.max.bytes": 16_777_216,
    "queue.buffering.max.kbytes": 65_536,
    # Errors are raised, with their reasons: the client need not write them to standard error as well.
    "log_level": 0,
}
"""Properties that a configuration file may overrule ("Configuration properties" of librdkafka)."""


_OF_TOPIC: Final = {
    KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001 - its name
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.TOPIC_EXCEPTION,
}
"""What is said of a topic, and so of every message to it (Apache Kafka, "Error Codes"; those of librdkafka)."""

_OF_BATCH: Final = {
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.RECORD_LIST_TOO_LARGE,
    KafkaError.INVALID_RECORD,
    KafkaError.POLICY_VIOLATION,
}
"""What one message may bring upon all that share its request."""


class KafkaSink:
    """Keeps ``EventSink`` with an idempotent producer: every replica has what was acknowledged, in order by key."""

    def __init__(self, brokers: str, *, topic: str, timeout_seconds: float, config_file: str | None = None) -> None:
        """Connect when first used.

        Args:
            brokers: ``host:port,host:port``: some that know all the others.
            topic: the topic's name, in which ``{source}`` and ``{type}`` stand for the event's.
            timeout_seconds: how long a call to ``send`` may take.
            config_file: more properties of librdkafka, ``name=value`` a line.

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
            # So that a topic that nobody makes is told from a broker that does not answer.
            "topic.metadata.propagation.max.ms": round(timeout_seconds * 500),
        }
        self._lock = threading.Lock()
        self._producer: Producer | None = None
        self._trouble = ""

    def send(self, events: Sequence[Event]) -> list[Parked]:
        """Produce a message for each event, and return once every one is acknowledged, or refused for good."""
        deadline = time.monotonic() + self._timeout_seconds
        refused = self._attempt(events, deadline)
        if len(events) > 1:
            suspects = [one for one in refused if one[1].code() in _OF_BATCH]
            refused = [one for one in refused if one not in suspects]
            for suspect in suspects:
                has_time = deadline - time.monotonic() > self._timeout_seconds / 4
                refused += self._attempt([suspect[0]], deadline) if has_time else [suspect]
        return [
            Parked(key=event.key, reason=f"topic {topic_of(event, self._topic)}: {error.str()}")
            for event, error in refused
        ]

    def probe(self) -> None:
        """Return if a broker answers now."""
        try:
            self._connected().list_topics(timeout=PROBE_SECONDS)
        except KafkaException as error:
            raise Retryable(f"Kafka: {_reason(error)}") from error

    def close(self) -> None:
        """Let go of the connections; what is not acknowledged is dropped, as its sender has been told."""
        self._abandon()

    def _connected(self) -> Producer:
        with self._lock:
            if self._producer is None:
                self._producer = Producer({**self._properties, "error_cb": self._note})
            return self._producer

    def _abandon(self) -> None:
        """Forget a producer that failed: nothing it still holds is to arrive after what is sent next."""
        with self._lock:
            if self._producer is not None:
                self._producer.purge()
            self._producer = None

    def _attempt(self, events: Sequence[Event], deadline: float) -> "list[tuple[Event, KafkaError]]":
        """Send messages, and tell which are refused for good.

        Raises:
            Retryable: what became of some is not known.
        """
        reports = _Reports()
        self._trouble = ""
        try:
            producer = self._connected()
            for event in events:
                self._produce(producer, event, reports, deadline)
            producer.flush(max(0.0, deadline - time.monotonic()))
        except KafkaException as error:
            reports.failure = _reason(error)
        if reports.acknowledged + len(reports.refused) < len(events):
            self._abandon()
            raise Retryable(
                f"Kafka: {reports.acknowledged} of {len(events)} events were acknowledged within"
                f" {self._timeout_seconds:g} s: {reports.failure or 'no answer'}"
                f"{f' ({self._trouble})' if self._trouble else ''}"
            )
        return reports.refused

    def _produce(self, producer: Producer, event: Event, reports: "_Reports", deadline: float) -> None:
        topic, note = topic_of(event, self._topic), partial(reports.note, event)
        while True:
            try:
                producer.produce(
                    topic, bytes(event.data), key=key_of(event), headers=headers_of(event), on_delivery=note
                )
            except BufferError:  # its memory is full: wait for acknowledgements
                if time.monotonic() > deadline:
                    raise KafkaException(KafkaError(KafkaError._QUEUE_FULL)) from None  # noqa: SLF001 - its name
                producer.poll(0.1)
            except KafkaException as error:  # the client itself knows that it will not be taken
                reports.note(event, error.args[0])
                return
            else:
                return

    def _note(self, error: KafkaError) -> None:
        """Keep what the client says of its connections: a delivery report only says that time is over."""
        self._trouble = error.str()


class _Reports:
    """What became of the messages of one call.

    Attributes:
        acknowledged: how many the brokers have.
        refused: the events that they will never have, and why.
        failure: what is wrong with the first one that may yet be taken.
    """

    def __init__(self) -> None:
        self.acknowledged = 0
        self.refused: list[tuple[Event, KafkaError]] = []
        self.failure = ""

    def note(self, event: Event, error: KafkaError | None, message: Message | None = None) -> None:
        """Take one delivery report."""
        if error is None:
            self.acknowledged += 1
        elif error.code() in _OF_TOPIC | _OF_BATCH:
            self.refused.append((event, error))
        elif not self.failure:
            self.failure = f"topic {message.topic()}: {error.str()}" if message else error.str()


def topic_of(event: Event, template: str) -> str:
    """The event's topic: a name that Kafka takes, whatever the type is called."""
    name = template.replace("{source}", event.source).replace("{type}", event.type)
    name = _NOT_IN_TOPICS.sub("-", name)[:MAX_TOPIC_CHARS]
    return "-" if name in {"", ".", ".."} else name


def key_of(event: Event) -> str:
    """What is kept in order: the events of one order, or else each by itself."""
    return event.order_id or f"{event.source}/{event.id}"


def headers_of(event: Event) -> list[tuple[str, str | bytes | None]]:
    """The event's attributes (Kafka Protocol Binding for CloudEvents 1.0.2, "Binary Content Mode")."""
    headers = {f"ce_{name}": value for name, value in attributes(event).items()}
    return [(name, value.encode()) for name, value in (headers | {"content-type": "application/json"}).items()]


def _read_properties(file: Path) -> dict[str, str]:
    """The properties in a file, as librdkafka's and Kafka's own tools read them; ``#`` begins a comment.

    Raises:
        ConfigurationError: there is no such file, or a line of it has no ``=``.
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
                f"HELIOS_KAFKA_CONFIG: {file}: a line is not name=value (its content is not shown)"
            )
        properties[name.strip()] = value.strip()
    return properties


def _reason(error: KafkaException) -> str:
    detail = error.args[0]
    return detail.str() if isinstance(detail, KafkaError) else str(detail)
