"""Builds what reads and writes Kafka: the sink, the log and its projection."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from helios.adapters.postgres.archive import PostgresArchiveOffsets
from helios.adapters.postgres.connection import Pool
from helios.adapters.postgres.log import PostgresLogOffsets, PostgresProjectionProgress, PostgresPublishedRules
from helios.bootstrap.services import Services
from helios.errors import ConfigurationError
from helios.messages import job_group, topics
from helios.model import retention
from helios.ports.log import DeliveryLog, Heartbeats, LogEnds, LogReader
from helios.services.log_progress import ProgressTracker
from helios.services.log_rules import RulesPublisher
from helios.services.projection import Projector
from helios.settings import Settings

if TYPE_CHECKING:
    from helios.adapters.kafka import KafkaSink
    from helios.adapters.kafka_erasure import KafkaLogErasure

NO_KAFKA_CLIENT = "The log requires the Kafka client: pip install confluent-kafka"

HEARTBEAT_SECONDS = 5.0
"""How long a heartbeat may take. A later one says more."""

ERASURE_SECONDS = 30.0
"""How long a request of an erasure to the log may take."""


def client_properties(settings: Settings) -> dict[str, str]:
    """The properties of every Kafka client: those of the file, and those of the secret.

    Raises:
        ConfigurationError: the file does not exist, or a property has no ``=``.
    """
    lines: list[str] = []
    if settings.kafka_config:
        try:
            lines = Path(settings.kafka_config).read_text().splitlines()
        except OSError as error:
            raise ConfigurationError(f"HELIOS_KAFKA_CONFIG: {settings.kafka_config}: {error.strerror}") from error
    of_file = _parsed(lines, f"HELIOS_KAFKA_CONFIG: {settings.kafka_config}: a line")
    return of_file | _parsed((settings.kafka_secret or "").split(), "HELIOS_KAFKA_SECRET: a property")


def _parsed(lines: Sequence[str], what: str) -> dict[str, str]:
    """Properties in the format of librdkafka's and Kafka's own tools; ``#`` begins a comment."""
    properties = {}
    for line in map(str.strip, lines):
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals:
            raise ConfigurationError(f"{what} is not in the form name=value (its content is not shown)")
        properties[name.strip()] = value.strip()
    return properties


@contextmanager
def _client_required() -> Iterator[None]:
    """Say what to install when an import of the Kafka client fails.

    It is imported late: the client is an optional dependency, and larger than a whole function package.
    """
    try:
        yield
    except ImportError as error:
        raise ConfigurationError(NO_KAFKA_CLIENT) from error


def kafka_sink(settings: Settings) -> "KafkaSink | None":
    """What forwards events to Kafka; None when HELIOS_KAFKA_BROKERS is not set.

    Raises:
        ConfigurationError: the Kafka client is not installed, a property of it is wrong, or Postgres has no events.
    """
    if not settings.kafka_brokers:
        return None
    if settings.engine == "flink" and settings.event_store == "archive":
        raise ConfigurationError(
            "HELIOS_KAFKA_BROKERS: with HELIOS_EVENT_STORE=archive, Postgres has no events to forward. Unset "
            f"HELIOS_KAFKA_BROKERS, and read {topics(settings.log_prefix).events} on HELIOS_LOG_BROKERS instead: this "
            "topic has every event."
        )
    # Imported late: the client is an optional dependency, and larger than a whole function package.
    try:
        from helios.adapters.kafka import KafkaSink
    except ImportError as error:
        raise ConfigurationError(
            "HELIOS_KAFKA_BROKERS requires the Kafka client: pip install confluent-kafka"
        ) from error

    return KafkaSink(
        settings.kafka_brokers,
        topic=settings.kafka_topic,
        # Meanwhile the sink holds its offset in an open transaction, which Postgres ends after this timeout.
        timeout_seconds=0.8 * settings.database_timeout_seconds,
        properties=client_properties(settings),
    )


def delivery_log(settings: Settings) -> DeliveryLog:
    """The log to which edges append deliveries. HELIOS_LOG_BROKERS is set.

    Raises:
        ConfigurationError: the Kafka client is not installed, or a property of it is wrong.
    """
    with _client_required():
        from helios.adapters.kafka_log import KafkaLog

    return KafkaLog(
        settings.log_brokers or "",
        topic=topics(settings.log_prefix).deliveries,
        timeout_seconds=0.8 * settings.database_timeout_seconds,
        properties=client_properties(settings),
    )


def log_erasure(settings: Settings) -> "KafkaLogErasure | None":
    """What erases from the log; None where Postgres judges.

    Raises:
        ConfigurationError: the Kafka client is not installed, or a setting is wrong.
    """
    if settings.engine != "flink":
        return None
    with _client_required():
        from helios.adapters.kafka_erasure import KafkaLogErasure

    return KafkaLogErasure(
        settings.log_brokers or "",
        names=topics(settings.log_prefix),
        horizon=retention.log_horizon(settings.retention),
        timeout_seconds=ERASURE_SECONDS,
        properties=client_properties(settings),
    )


def create_log(settings: Settings, *, partitions: int, replicas: int, retention_days: int) -> list[str]:
    """Create the topics of the log that do not exist, and return their names. HELIOS_LOG_BROKERS is set.

    Raises:
        ConfigurationError: the Kafka client is not installed, or a property of it is wrong.
        HeliosError: the cluster refuses a topic, or does not answer.
    """
    with _client_required():
        from helios.adapters import kafka_topics

    return kafka_topics.create(
        settings.log_brokers or "",
        topics(settings.log_prefix),
        properties=client_properties(settings),
        partitions=partitions,
        replicas=replicas,
        retention_days=retention_days,
    )


class OpenProjection(NamedTuple):
    """What projects the log into the store.

    Attributes:
        projector: writes what it reads.
        open_reader: begins to read the log where the store says.
        heartbeats: make time pass for the job.
        tracker: finds out up to when the log is projected.
        ends: what the tracker asks; the caller closes it.
        publisher: tells the job which versions of flows are in force.
    """

    projector: Projector
    open_reader: Callable[[], LogReader]
    heartbeats: Heartbeats
    tracker: ProgressTracker
    ends: LogEnds
    publisher: RulesPublisher


def projection(services: Services) -> OpenProjection:
    """The projection of the log into the store of these services. HELIOS_LOG_BROKERS is set.

    Raises:
        ConfigurationError: the Kafka client is not installed.
    """
    with _client_required():
        from helios.adapters.kafka_log import KafkaHeartbeats, KafkaLogEnds, KafkaLogReader

    if services.pool is None or services.log_edge is None:
        raise ConfigurationError("A projection needs Postgres, and HELIOS_ENGINE=flink.")
    settings = services.settings
    if settings.event_store == "archive" and not settings.archive_url:
        raise ConfigurationError("HELIOS_EVENT_STORE=archive needs HELIOS_ARCHIVE_URL.")
    names = topics(settings.log_prefix)
    offsets = PostgresLogOffsets(services.pool)
    ends = KafkaLogEnds(
        settings.log_brokers or "",
        group=job_group(names),
        timeout_seconds=HEARTBEAT_SECONDS,
        properties=client_properties(settings),
    )
    return OpenProjection(
        Projector(
            names,
            store=services.store,
            log=services.log_edge.log,
            notifier=services.notifier,
            stores_events=settings.event_store == "postgres",
        ),
        partial(
            KafkaLogReader,
            settings.log_brokers or "",
            topics=(names.events, names.verdicts, names.counts, names.dead_letters),
            group=f"{settings.log_prefix}.projector",
            offsets=offsets,
            properties=client_properties(settings),
        ),
        KafkaHeartbeats(
            settings.log_brokers or "",
            topic=names.deliveries,
            timeout_seconds=HEARTBEAT_SECONDS,
            properties=client_properties(settings),
        ),
        ProgressTracker(names, log=ends, offsets=offsets, progress=PostgresProjectionProgress(services.pool)),
        ends,
        RulesPublisher(services.versions, log=services.log_edge.log, published=PostgresPublishedRules(services.pool)),
    )


def archive_reader(settings: Settings, pool: Pool) -> Callable[[], LogReader]:
    """Begins to read the events of the log where the archive says.

    Raises:
        ConfigurationError: the Kafka client is not installed, or HELIOS_EVENT_STORE is not archive.
    """
    if settings.event_store != "archive" or settings.engine != "flink":
        raise ConfigurationError(
            "--from-log needs HELIOS_ENGINE=flink and HELIOS_EVENT_STORE=archive, of the projector and the API too. "
            "Otherwise Postgres has the events, and helios archive run copies them from there."
        )
    with _client_required():
        from helios.adapters.kafka_log import KafkaLogReader

    return partial(
        KafkaLogReader,
        settings.log_brokers or "",
        topics=[topics(settings.log_prefix).events],
        group=f"{settings.log_prefix}.archive",
        offsets=PostgresArchiveOffsets(pool),
        properties=client_properties(settings),
    )
