"""Creates the topics of the log in Kafka."""

from collections.abc import Mapping
from typing import Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined] # it is in its documentation

from helios.adapters.kafka_producer import DEFAULTS, client_properties, reason_of
from helios.errors import HeliosError
from helios.messages import Topics

CREATION_SECONDS: Final = 30.0

MAX_MESSAGE_BYTES: Final = int(DEFAULTS["message.max.bytes"])
"""The largest body that a cloud sends has 15 MB, and more as JSON text."""

_ALWAYS: Final = {"max.message.bytes": str(MAX_MESSAGE_BYTES)}

_BROKERS_TIME: Final = {"message.timestamp.type": "LogAppendTime"}
"""The time of the deliveries is that of the brokers: the deadlines of all orders pass with it. By the time of a client,
a clock that is ahead would let them pass too early."""


def configuration(topics: Topics, *, replicas: int, retention_days: int) -> Mapping[str, Mapping[str, str]]:
    """The settings of each topic (Apache Kafka, "Topic Configs").

    Args:
        topics: the names.
        replicas: the replicas of each partition. With three or more, an append needs two that are in sync.
        retention_days: how long deliveries, events and dead letters stay in the log, and replaced records at most.
    """
    durable = {"min.insync.replicas": str(min(2, max(1, replicas - 1)))}
    lag = str(retention_days * 86_400_000)
    # A record that was replaced, or erased, is removed at last by then.
    compacted = _ALWAYS | {"cleanup.policy": "compact", "max.compaction.lag.ms": lag}
    timed = _ALWAYS | {"cleanup.policy": "delete", "retention.ms": lag}
    kinds = (timed | _BROKERS_TIME, timed, compacted, compacted, timed)
    return {name: kind | durable for name, kind in zip(topics, kinds, strict=True)}


def create(
    brokers: str, topics: Topics, *, properties: Mapping[str, str], partitions: int, replicas: int, retention_days: int
) -> list[str]:
    """Create the topics that do not exist, and return their names; those that exist stay as they are.

    Args:
        brokers: bootstrap servers, as ``host:port,host:port``.
        topics: the names.
        properties: further librdkafka properties.
        partitions: of each topic.
        replicas: of each partition.
        retention_days: as in ``configuration``.

    Raises:
        HeliosError: the cluster refuses a topic; the message has its reason.
    """
    settings = configuration(topics, replicas=replicas, retention_days=retention_days)
    wanted = [
        NewTopic(name, num_partitions=partitions, replication_factor=replicas, config=dict(config))
        for name, config in settings.items()
    ]
    created = []
    try:
        client = AdminClient({**client_properties(brokers, properties), "log_level": 0})
        for name, future in client.create_topics(wanted, request_timeout=CREATION_SECONDS).items():
            try:
                future.result(CREATION_SECONDS)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise HeliosError(f"Kafka did not create {name}: {reason_of(error)}") from error
            else:
                created.append(name)
    except (KafkaException, TimeoutError) as error:
        reason = reason_of(error) if isinstance(error, KafkaException) else "no answer"
        raise HeliosError(f"Kafka did not create the topics: {reason}") from error
    return created
