"""The log in Kafka. Imported only where HELIOS_ENGINE is flink."""

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from helios.adapters.kafka_producer import OutMessage, ReliableProducer, client_properties, reason_of
from helios.errors import Retryable
from helios.messages import encode_heartbeat
from helios.ports.log import LogMessage, LogOffsets, Partition, Progress

log = logging.getLogger("helios.log")

WATERMARK_SECONDS = 10.0
"""The longest time for the request that says where a partition begins and ends."""


class KafkaLog:
    """Implements ``DeliveryLog`` with an idempotent producer."""

    def __init__(
        self, brokers: str, *, topic: str, timeout_seconds: float, properties: Mapping[str, str] | None = None
    ) -> None:
        """Take the settings. The first use connects.

        Args:
            brokers: bootstrap servers, as ``host:port,host:port``.
            topic: the topic of the deliveries.
            timeout_seconds: the longest time for a call to ``append``.
            properties: further librdkafka properties.
        """
        self._topic = topic
        self._timeout_seconds = timeout_seconds
        self._producer = ReliableProducer(brokers, timeout_seconds=timeout_seconds, properties=properties)

    def append(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Append messages, and return once every one is on all replicas that are in sync.

        A message that the broker refuses fails the whole call, and so the batch is sent again. The others are in the
        log nevertheless, and the job judges them: one sender's delivery holds up nobody else's events.
        """
        deadline = time.monotonic() + self._timeout_seconds
        refused = self._producer.attempt([OutMessage(self._topic, key, value) for key, value in messages], deadline)
        if refused:
            number, error = refused[0]
            advice = ""
            if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
                advice = f": {len(messages[number][1])} bytes. Raise max.message.bytes of the topic"
            raise Retryable(
                f"Kafka refused {len(refused)} of {len(messages)} messages to {self._topic}: {error.str()}{advice}"
            )

    def probe(self) -> None:
        """Return if a broker answers now; raise Retryable if none does."""
        self._producer.probe()

    def close(self) -> None:
        """Close the connections. Unacknowledged messages are dropped: ``append`` has already raised for them."""
        self._producer.close()


class KafkaHeartbeats:
    """Implements ``Heartbeats``."""

    def __init__(
        self, brokers: str, *, topic: str, timeout_seconds: float, properties: Mapping[str, str] | None = None
    ) -> None:
        """Take the settings: those of ``KafkaLog``."""
        self._topic = topic
        self._timeout_seconds = timeout_seconds
        self._producer = ReliableProducer(brokers, timeout_seconds=timeout_seconds, properties=properties)

    def send(self, at: datetime) -> None:
        """Append a heartbeat to each partition."""
        value = encode_heartbeat(at)
        beats = [
            OutMessage(self._topic, "heartbeat", value, partition=number)
            for number in self._producer.partitions(self._topic)
        ]
        if refused := self._producer.attempt(beats, time.monotonic() + self._timeout_seconds):
            raise Retryable(f"Kafka refused {len(refused)} heartbeats to {self._topic}: {refused[0][1].str()}")

    def close(self) -> None:
        """Close the connections."""
        self._producer.close()


class KafkaLogEnds:
    """Implements ``LogEnds`` with a consumer that reads no message."""

    def __init__(
        self, brokers: str, *, group: str, timeout_seconds: float, properties: Mapping[str, str] | None = None
    ) -> None:
        """Take the settings. The first use connects.

        Args:
            brokers: bootstrap servers, as ``host:port,host:port``.
            group: the consumer group of the job.
            timeout_seconds: the longest time for a request.
            properties: further librdkafka properties.
        """
        self._timeout_seconds = timeout_seconds
        self._consumer = Consumer(
            {
                "client.id": "helios",
                "log_level": 0,
                **client_properties(brokers, properties),
                "group.id": group,
                "isolation.level": "read_uncommitted",  # the end is that of open transactions, too
                "enable.auto.commit": False,
            }
        )

    def ends(self, topics: Collection[str]) -> dict[Partition, int]:
        """The offset after the last message of each partition, of open transactions too."""
        try:
            return {place: self._end(place) for topic in topics for place in self._partitions(topic)}
        except KafkaException as error:
            raise Retryable(f"Kafka: {reason_of(error)}") from error

    def judged(self, topic: str) -> dict[Partition, int]:
        """The first delivery of each partition that is in no checkpoint of the job; 0 if none is."""
        try:
            places = [TopicPartition(name, number) for name, number in self._partitions(topic)]
            committed = self._consumer.committed(places, timeout=self._timeout_seconds)
        except KafkaException as error:
            raise Retryable(f"Kafka: {reason_of(error)}") from error
        return {(place.topic, place.partition): max(0, place.offset) for place in committed}

    def close(self) -> None:
        """Close the connections."""
        self._consumer.close()

    def _partitions(self, topic: str) -> list[Partition]:
        metadata = self._consumer.list_topics(topic, timeout=self._timeout_seconds).topics[topic]
        if metadata.error:
            raise KafkaException(metadata.error)
        return [(topic, number) for number in metadata.partitions]

    def _end(self, place: Partition) -> int:
        offsets = self._consumer.get_watermark_offsets(TopicPartition(*place), timeout=self._timeout_seconds)
        if offsets is None:
            raise Retryable(f"Kafka did not say where {place[0]} ends")
        return offsets[1]


class KafkaLogReader:
    """Implements ``LogReader`` with a consumer of a group, which begins where the store says."""

    def __init__(
        self,
        brokers: str,
        *,
        topics: Sequence[str],
        group: str,
        offsets: LogOffsets,
        properties: Mapping[str, str] | None = None,
    ) -> None:
        """Join the group.

        Args:
            brokers: bootstrap servers, as ``host:port,host:port``.
            topics: the topics to read.
            group: readers of one group divide the partitions.
            offsets: where to begin.
            properties: further librdkafka properties.
        """
        self._offsets = offsets
        self._since: dict[Partition, int] = {}
        self._position: dict[Partition, int] = {}
        self._passed: dict[Partition, int] = {}
        self._failure: Retryable | None = None
        self._consumer = Consumer(
            {
                "client.id": "helios",
                "log_level": 0,
                # The end of a process is noticed soon, and its partitions are read by another one.
                "session.timeout.ms": 10_000,
                **client_properties(brokers, properties),
                "group.id": group,
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,  # see ``passed``
                "auto.offset.reset": "error",  # the next reader begins where ``_assign`` says
            }
        )
        self._consumer.subscribe(list(topics), on_assign=self._assign)

    def read(self, *, limit: int, seconds: float) -> list[LogMessage]:
        """The next messages: at most ``limit``, and none if none arrives for so long."""
        try:
            consumed = self._consumer.consume(limit, timeout=seconds)
        except KafkaException as error:
            raise Retryable(f"Kafka: {reason_of(error)}") from error
        if self._failure:
            raise self._failure
        messages = []
        for message in consumed:
            read = _message(message)
            partition = (read.topic, read.partition)
            if failure := message.error():
                if failure.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - its name
                    raise Retryable(f"Kafka: {failure.str()}")
                if self._position.get(partition, read.offset) < read.offset:
                    self._position[partition] = self._passed[partition] = read.offset
                continue
            # After a rebalance, what was read before is delivered again, or belongs to another reader.
            if partition in self._position and read.offset >= self._position[partition]:
                self._position[partition] = read.offset + 1
                messages.append(read)
        return messages

    def since(self, partition: Partition) -> int:
        """The offset from which on the messages of a partition are read that no transaction has included yet."""
        if partition not in self._since:
            raise Retryable(f"Kafka has given partition {partition[1]} of {partition[0]} to another reader")
        return self._since[partition]

    def passed(self) -> dict[Partition, int]:
        """The end of each partition whose end was reached since the last call; no message before it is unread."""
        passed, self._passed = self._passed, {}
        return passed

    def commit(self, progress: Mapping[Partition, Progress]) -> None:
        """Take that these messages are stored. The group gets the offsets for tools that show how far it is behind."""
        self._since |= {partition: moved.until for partition, moved in progress.items()}
        places = [TopicPartition(topic, number, moved.until) for (topic, number), moved in progress.items()]
        with suppress(KafkaException):  # the store has the offsets that count
            self._consumer.commit(offsets=places, asynchronous=True)

    def close(self) -> None:
        """Give the partitions back, and close the connections."""
        self._consumer.close()

    def _assign(self, consumer: Consumer, assigned: list[TopicPartition]) -> None:
        """Begin to read partitions where the store says; a partition that was never read, at its beginning."""
        partitions = [(place.topic, place.partition) for place in assigned]
        try:
            known = self._offsets.next_offsets(partitions)
            restarted = {partition for partition, stored in known.items() if self._has_lost(partition, stored)}
        except Retryable as error:  # raised from here, it would be lost on its way through the client
            self._failure = error
            return
        # Of a partition that is read from its beginning again, the next transaction takes the stored offset back.
        self._since = {partition: known.get(partition, 0) for partition in partitions}
        self._position = self._since | dict.fromkeys(restarted, -1)  # so that the end of an empty one is passed, too
        self._passed = {}
        for place in assigned:
            partition = (place.topic, place.partition)
            place.offset = OFFSET_BEGINNING if partition in restarted else known.get(partition, OFFSET_BEGINNING)
        consumer.assign(assigned)

    def _has_lost(self, partition: Partition, stored: int) -> bool:
        """Whether a partition has nothing at a stored offset: the topic was created again, or the retention was over.

        Raises:
            Retryable: no broker says where the partition begins and ends.
        """
        try:
            offsets = self._consumer.get_watermark_offsets(TopicPartition(*partition), timeout=WATERMARK_SECONDS)
        except KafkaException as error:
            raise Retryable(f"Kafka: {reason_of(error)}") from error
        if offsets is None:
            raise Retryable(f"Kafka did not say where {partition[0]} ends")
        first, end = offsets
        if first <= stored <= end:
            return False
        log.warning(
            "a partition has no message at the stored offset, and is read from its beginning",
            extra={"topic": partition[0], "partition": partition[1], "stored": stored, "first": first, "end": end},
        )
        return True


def _message(message: Message) -> LogMessage:
    value = message.value()
    return LogMessage(
        topic=message.topic() or "",
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        value=None if value is None else bytes(value),
    )
