"""Builds the services of a process from its settings: the only module that connects ports with adapters."""

import gc
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from helios import notifications as notifications_file
from helios import settings as environment
from helios.adapters.no_dedupe import NullDedupeCache
from helios.adapters.notifiers import (
    NotifierGroup,
    PacedHttpNotifier,
)
from helios.adapters.postgres.archive import PostgresManifest
from helios.adapters.postgres.balances import PostgresBalances
from helios.adapters.postgres.connection import Pool, open_pool
from helios.adapters.postgres.erasure import PostgresErasure
from helios.adapters.postgres.flow_versions import PostgresFlowVersions
from helios.adapters.postgres.incidents import PostgresIncidents
from helios.adapters.postgres.leases import PostgresLeases
from helios.adapters.postgres.log import PostgresLogOffsets
from helios.adapters.postgres.notifications import PostgresNotifications
from helios.adapters.postgres.reader import PostgresReader
from helios.adapters.postgres.recoveries import PostgresRecoveries
from helios.adapters.postgres.replay import PostgresReplayJobs
from helios.adapters.postgres.resolutions import PostgresResolutions
from helios.adapters.postgres.retention import PostgresRetention
from helios.adapters.postgres.stream import PostgresListener, PostgresNotifier, PostgresOutbox
from helios.adapters.postgres.tokens import PostgresTokens
from helios.adapters.postgres.unit_of_work import PostgresStore
from helios.adapters.recovery.registry import places_of
from helios.adapters.replay.registry import ConfiguredTargets
from helios.errors import ConfigurationError
from helios.messages import topics
from helios.model import retention
from helios.model.events import Delivery, Outcome
from helios.model.notifications import Notifications
from helios.model.retention import Retention
from helios.model.spellings import spellings
from helios.normalise.redact import Redaction
from helios.ports.access import Tickets, Tokens
from helios.ports.balances import BalanceReader
from helios.ports.events import DedupeCache
from helios.ports.flow_versions import FlowVersions, RulesReader
from helios.ports.flows import FlowReader
from helios.ports.incidents import IncidentReader
from helios.ports.leases import Leases
from helios.ports.log import DeliveryLog, Heartbeats, LogReader
from helios.ports.notifications import NotificationTarget
from helios.ports.reader import Reader
from helios.ports.recoveries import Places, Recoveries
from helios.ports.replay import ReplayJobs
from helios.ports.resolutions import Resolutions
from helios.ports.stream import EventSink, Listener, Notifier, Outbox
from helios.ports.tracing import Tracer
from helios.ports.unit_of_work import EventStore
from helios.reconciliation import declaration
from helios.reconciliation.declaration import Flow
from helios.reconciliation.evidence import EvidenceExtractor
from helios.reconciliation.fold import Fold
from helios.services.append import append
from helios.services.archive import Archive
from helios.services.balances import BalanceJob
from helios.services.erasure import Eraser
from helios.services.incidents import IncidentJob
from helios.services.ingest import AlsoWrite, Ingest, ingest
from helios.services.new_batch import Assumptions
from helios.services.notifications import NotificationJob
from helios.services.projection import Projector
from helios.services.recompute import RecomputeJob
from helios.services.reconciler import Reconciler
from helios.services.recoveries import RecoveryJob
from helios.services.replay import ReplayWorker
from helios.services.retention import RetentionJob
from helios.services.rules import Rules
from helios.services.sink import KAFKA
from helios.services.sweep import SweepResult, sweep
from helios.services.tracing import traced
from helios.settings import Settings
from helios.sources import declaration as source_declaration
from helios.sources.registry import CLOUDS, Sources

if TYPE_CHECKING:
    from helios.adapters.archive.parquet import DuckDb, ParquetFormat
    from helios.adapters.kafka import KafkaSink

log = logging.getLogger("helios.bootstrap")

FLINK_IS_FIXED = (
    "can't be edited here, because HELIOS_ENGINE is flink, whose job reads HELIOS_FLOWS_FILE: edit that file, and "
    "start the job again"
)
"""Why no flow has versions with the engine Flink."""

HEARTBEAT_SECONDS = 5.0
"""How long a heartbeat may take. A later one says more."""

ARCHIVE_THREADS = 4
"""How many files of the archive a query reads at once."""


class Edge(Protocol):
    """What receives deliveries: an entry point that only ingests needs no more."""

    def ingest(
        self, deliveries: Sequence[Delivery], *, also_write: AlsoWrite | None = None, accept: bool = False
    ) -> list[Outcome]:
        """As ``services.ingest.ingest``, or ``services.append.append``."""

    def close(self) -> None:
        """Close every connection."""


class LogEdge(msgspec.Struct, frozen=True, kw_only=True):
    """An edge that appends deliveries to the log. It needs no database, unless it also writes something else.

    Attributes:
        log: the log.
        fold: knows the flow instances to which events belong.
        redaction: as in ``Services``.
        tracer: as in ``Services``.
        store: begins the transaction in which something else is written; None where nothing is.
    """

    log: DeliveryLog
    fold: Fold
    redaction: Redaction | None
    tracer: Tracer | None
    store: EventStore | None = None

    def ingest(
        self, deliveries: Sequence[Delivery], *, also_write: AlsoWrite | None = None, accept: bool = False
    ) -> list[Outcome]:
        """``services.append.append`` with these services as its ports."""
        appending = partial(
            append,
            deliveries,
            log=self.log,
            fold=self.fold,
            redaction=self.redaction,
            store=self.store,
            also_write=also_write,
            accept=accept,
        )
        return traced(appending, deliveries, self.tracer) if self.tracer else appending()

    def close(self) -> None:
        """Close every connection of its own."""
        if self.tracer:
            self.tracer.close()
        self.log.close()


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """What an entry point needs; built once per process or warm container.

    Attributes:
        flows: reads flow instances.
        incidents: reads incidents, and changes them.
        balances: reads balances.
        sources: the built-in and the declared sources.
        redaction: replaces the fields that must not be stored; None when HELIOS_REDACT is not set.
        rules: the flows by which this process evaluates.
        versions: stores and reads the versions of flows.
        jobs: stores and reads replay jobs.
        resolutions: stores and reads what people decide about flow instances.
        recoveries: stores and reads the recoveries of missing legs.
        tokens: stores and checks API tokens.
        leases: which process does work that one does at a time.
        places: where recoveries look for missing legs; empty when HELIOS_RECOVERY_PLACES is not set.
        tickets: issues and redeems WebSocket tickets; None when HELIOS_REDIS_URL is not set.
        horizon: how long identities are stored; None: forever.
        retention: keeps the store within HELIOS_RETENTION; None when it is not set.
        notifications: notifies the receivers of incidents; None when HELIOS_NOTIFICATIONS_FILE is not set.
        sink: forwards events to Kafka; None when HELIOS_KAFKA_BROKERS is not set.
        tracer: gets a span for each batch; None when HELIOS_OTLP_URL is not set.
        http_notifier: the part of ``notifier`` that posts to another cloud; None when HELIOS_NOTIFY_URL is not set.
        pool: the connections behind ``store`` and ``reader``; None when both are in memory.
        assumptions: what the process has learned about its batches.
        log_edge: appends deliveries to the log; None: they are stored.
    """

    settings: Settings
    store: EventStore
    reader: Reader
    dedupe: DedupeCache
    outbox: Outbox
    notifier: Notifier
    listener: Listener
    rules: Rules
    versions: FlowVersions
    flows: FlowReader
    incidents: IncidentReader
    balances: BalanceReader
    jobs: ReplayJobs
    resolutions: Resolutions
    recoveries: Recoveries
    tokens: Tokens
    leases: Leases
    sources: Sources = CLOUDS
    places: Places = {}
    tickets: Tickets | None = None
    redaction: Redaction | None = None
    horizon: timedelta | None = None
    retention: RetentionJob | None = None
    notifications: NotificationJob | None = None
    sink: EventSink | None = None
    tracer: Tracer | None = None
    http_notifier: PacedHttpNotifier | None = None
    pool: Pool | None = None
    assumptions: Assumptions = msgspec.field(default_factory=Assumptions)
    log_edge: LogEdge | None = None

    def ingest(
        self, deliveries: Sequence[Delivery], *, also_write: AlsoWrite | None = None, accept: bool = False
    ) -> list[Outcome]:
        """``services.ingest.ingest`` with these services as its ports; ``accept`` ignores the identity horizon.

        With a log, ``services.append.append`` instead.
        """
        if self.log_edge:
            return self.log_edge.ingest(deliveries, also_write=also_write, accept=accept)

        def by_rules(reconciler: Reconciler) -> list[Outcome]:
            return ingest(
                deliveries,
                dedupe=self.dedupe,
                store=self.store,
                reconciler=reconciler,
                redaction=self.redaction,
                notifier=self.notifier,
                also_write=also_write,
                horizon=None if accept else self.horizon,
                assumptions=self.assumptions,
            )

        store = partial(self.rules.apply, by_rules)
        return traced(store, deliveries, self.tracer) if self.tracer else store()

    @property
    def judges(self) -> bool:
        """Whether this process evaluates flow instances; otherwise another engine does."""
        return self.log_edge is None

    @property
    def reconciler(self) -> Reconciler:
        """Evaluates by the rules that this process read last."""
        return self.rules.reconciler

    def close(self) -> None:
        """Close every connection, after a last notification if one is pending."""
        if self.http_notifier:
            self.http_notifier.close()
        self.dedupe.close()
        if self.log_edge:
            self.log_edge.close()
        elif self.tracer:
            self.tracer.close()
        if self.sink:
            self.sink.close()
        if self.pool:
            self.pool.close()


def configure(environ: Mapping[str, str] = os.environ, *, require: Sequence[str] = ()) -> Settings:
    """The settings of this process, from its environment and from the AWS secret that HELIOS_SECRET_ID names.

    Args:
        environ: the environment variables; they take precedence over the secret.
        require: optional settings that this process needs.

    Raises:
        ConfigurationError: a variable is missing or has the wrong form, or the secret holds no settings.
        Retryable: the secret can't be read now.
    """
    if secret := environ.get(environment.variable("secret_id")):
        # Imported late: only the AWS runtime provides boto3.
        from helios.adapters.aws import secret_variables

        environ = secret_variables(secret) | dict(environ)
    return environment.load(environ, require=require)


def build(settings: Settings, *, is_frozen_between_calls: bool = False) -> Services:
    """The services of a process. They connect lazily: a process starts although its database is down.

    Args:
        settings: the settings of this process.
        is_frozen_between_calls: whether the platform stops all threads between two calls of a function. The spans of
            batches are then sent without delay, and not once a second.

    Raises:
        ConfigurationError: the sources file, the flows file, or a setting of Kafka or of the spans is wrong, or
            HELIOS_REDACT names a field that a flow reads.
    """
    log.info("starting", extra=settings.shown())
    pool = open_pool(
        settings.postgres_url,
        connections=settings.database_connections,
        timeout_seconds=settings.database_timeout_seconds,
    )
    reader = PostgresReader(pool)
    sources = source_declaration.load(settings.sources_file)
    versions = PostgresFlowVersions(pool)
    rules = _rules(settings, sources, versions)
    limits = retention.parse(settings.retention or "")
    http_notifier = _http_notifier(settings)
    store = PostgresStore(pool, partition_days=settings.partition_days)
    redaction = _redaction(settings)
    tracer = _tracer(settings, is_frozen_between_calls=is_frozen_between_calls)
    edge = None
    if settings.engine == "flink":
        edge = LogEdge(log=_log(settings), fold=rules.reconciler.fold, redaction=redaction, tracer=tracer, store=store)
    return Services(
        settings=settings,
        store=store,
        reader=reader,
        dedupe=_dedupe(settings),
        outbox=PostgresOutbox(pool),
        notifier=_notifier(settings, pool, http_notifier),
        http_notifier=http_notifier,
        listener=PostgresListener(settings.session_url),
        rules=rules,
        versions=versions,
        sources=sources,
        redaction=redaction,
        horizon=limits.ids,
        retention=_retention(limits, settings, pool),
        notifications=_notifications(settings, pool),
        flows=reader,
        incidents=PostgresIncidents(pool),
        balances=PostgresBalances(pool),
        jobs=PostgresReplayJobs(pool),
        resolutions=PostgresResolutions(pool),
        recoveries=PostgresRecoveries(pool),
        places=places_of(settings),
        tokens=PostgresTokens(pool),
        leases=PostgresLeases(pool),
        tickets=_tickets(settings),
        sink=_sink(settings),
        tracer=tracer,
        pool=pool,
        log_edge=edge,
    )


def build_long_lived(settings: Settings, *, is_frozen_between_calls: bool = False) -> Services:
    """``build`` for a process that stores many batches: excludes all objects loaded so far from garbage collection.

    Collections that scan them take a tenth of the time of a batch with flow instances.
    """
    services = build(settings, is_frozen_between_calls=is_frozen_between_calls)
    gc.freeze()
    return services


def build_edge(settings: Settings, *, is_frozen_between_calls: bool = False) -> Edge:
    """``build_long_lived`` for a process that only ingests: with a log it needs no database.

    Raises:
        ConfigurationError: as ``build``.
    """
    if settings.engine != "flink":
        return build_long_lived(settings, is_frozen_between_calls=is_frozen_between_calls)
    log.info("starting", extra=settings.shown())
    sources = source_declaration.load(settings.sources_file)
    edge = LogEdge(
        log=_log(settings),
        fold=_rules(settings, sources, None).reconciler.fold,
        redaction=_redaction(settings),
        tracer=_tracer(settings, is_frozen_between_calls=is_frozen_between_calls),
    )
    gc.freeze()
    return edge


def replay_worker(services: Services) -> ReplayWorker:
    """The replay worker of a process that does nothing else.

    Raises:
        ConfigurationError: a setting of the replay targets is wrong.
    """
    targets = ConfiguredTargets(services.settings)
    return ReplayWorker(
        services.jobs,
        targets,
        store=services.store,
        ingest=services.ingest,
        notifier=services.notifier,
        sources=services.sources,
    )


def sweep_alone(services: Services, now: datetime, *, recoveries: RecoveryJob | None = None) -> SweepResult:
    """Sweep in a process that no other one helps: with the incidents, the notifications and the recomputes.

    Args:
        services: the services of the process.
        now: decides which deadlines and retention periods have passed.
        recoveries: brings back missing legs; None: another process does.

    Raises:
        Retryable: the store can't be reached. The next sweep does the rest.
    """

    def by_rules(reconciler: Reconciler) -> SweepResult:
        return sweep(
            now,
            store=services.store,
            reconciler=reconciler if services.judges else None,
            notifier=services.notifier,
            outbox=services.outbox,
            balances=balance_job(services),
            incidents=incident_job(services),
            retention=services.retention,
            notifications=services.notifications,
            recompute=recompute_job(services),
            recoveries=recoveries,
        )

    return services.rules.apply(by_rules)


def recompute_job(services: Services) -> RecomputeJob | None:
    """The job that evaluates stored instances by versions that were approved; None if no version can be."""
    if services.pool is None or not services.judges:
        return None
    return RecomputeJob(
        PostgresFlowVersions(services.pool),
        services.rules,
        reader=services.reader,
        store=services.store,
        notifier=services.notifier,
    )


def incident_job(services: Services) -> IncidentJob | None:
    """The job that opens and resolves incidents; None if the store is in memory."""
    if services.pool is None:
        return None
    return IncidentJob(
        PostgresIncidents(services.pool),
        outbox=services.outbox,
        counts=services.reader,
        sources=services.sources,
        consumers=(KAFKA,) if services.sink else (),
    )


def balance_job(services: Services) -> BalanceJob | None:
    """The job that counts what arrived of what manifests declare; None if the store is in memory."""
    if services.pool is None:
        return None
    grace = timedelta(seconds=services.settings.manifest_grace_seconds)
    return BalanceJob(PostgresBalances(services.pool), grace=grace)


def recovery_job(services: Services, ingest: Ingest | None = None) -> RecoveryJob:
    """The job that brings back missing legs.

    Args:
        services: the services of the process.
        ingest: stores deliveries, where the process does more than ``Services.ingest``.
    """
    return RecoveryJob(
        services.recoveries,
        leases=services.leases,
        flows=services.flows,
        reader=services.reader,
        ingest=ingest or services.ingest,
        evaluators=services.rules.evaluators,
        places=services.places,
        sources=services.sources,
    )


class OpenArchive(NamedTuple):
    """The archive of a process.

    Attributes:
        archive: copies, checks and restores.
        reader: reads events from Postgres and the archive.
        jobs: replay jobs, which also send archived events.
        files: writes files, and erases from them.
        reading: the DuckDB that answers queries; it and ``writing`` are closed with ``close``.
    """

    archive: Archive
    reader: Reader
    jobs: ReplayJobs
    files: "ParquetFormat"
    reading: "DuckDb"
    writing: "DuckDb"

    def close(self) -> None:
        """Close what reads and writes files."""
        self.reading.close()
        self.writing.close()


def open_archive(services: Services) -> OpenArchive | None:
    """The archive of a process with these services; None when HELIOS_ARCHIVE_URL is not set.

    Raises:
        ConfigurationError: the URL is wrong, or the packages are not installed.
    """
    if not services.settings.archive_url or services.pool is None:
        return None
    return archive_on(services.settings, services.pool)


def with_archive(services: Services) -> tuple[Services, OpenArchive | None]:
    """The services with readers that also find archived events, and the archive that the caller closes.

    Raises:
        ConfigurationError: as ``open_archive``.
    """
    archive = open_archive(services)
    if archive is None:
        return services, None
    return msgspec.structs.replace(services, reader=archive.reader, jobs=archive.jobs), archive


def archive_on(settings: Settings, pool: Pool) -> OpenArchive:
    """The archive on a pool of connections. HELIOS_ARCHIVE_URL is set.

    Raises:
        ConfigurationError: as ``open_archive``.
    """
    # Imported late: DuckDB is an optional dependency, and most functions do not use it.
    from helios.adapters.archive import INSTALL

    try:
        from helios.adapters.archive.objects import Objects, open_store
        from helios.adapters.archive.parquet import DuckDb, ParquetFormat
        from helios.adapters.archive.reader import ArchiveReader, TieredReader, TieredReplayJobs
    except ImportError as error:
        raise ConfigurationError(f"HELIOS_ARCHIVE_URL requires the packages of the archive: {INSTALL}") from error

    store = open_store(settings.archive_url or "")
    reading = DuckDb(store, database_url=settings.postgres_url, threads=ARCHIVE_THREADS)
    writing = DuckDb(store, database_url=settings.postgres_url, threads=1)
    manifest = PostgresManifest(pool, settings.postgres_url)
    archived, files = ArchiveReader(reading), ParquetFormat(writing)
    return OpenArchive(
        archive=Archive(manifest, Objects(store), files),
        reader=TieredReader(pool, manifest, archived),
        jobs=TieredReplayJobs(pool, manifest, archived),
        files=files,
        reading=reading,
        writing=writing,
    )


@contextmanager
def eraser(settings: Settings) -> Iterator[Eraser]:
    """What erases in the database, in the archive if HELIOS_ARCHIVE_URL is set, and in Kafka if there is a sink.

    Raises:
        ConfigurationError: a setting is wrong.
    """
    sources = source_declaration.load(settings.sources_file)
    with (
        open_pool(settings.postgres_url, connections=2, timeout_seconds=settings.database_timeout_seconds) as pool,
        ExitStack() as stack,
    ):
        rules = _rules(settings, sources, PostgresFlowVersions(pool))
        rules.refresh()
        archive = archive_on(settings, pool) if settings.archive_url else None
        sink = _sink(settings)
        if archive:
            stack.callback(archive.close)
        if sink:
            stack.callback(sink.close)
        yield Eraser(
            PostgresErasure(settings.postgres_url),
            EvidenceExtractor([evaluator.flow for evaluator in rules.reconciler.evaluators.values()], sources),
            archive=archive.archive if archive else None,
            files=archive.files if archive else None,
            tombstones=sink,
        )


def _http_notifier(settings: Settings) -> PacedHttpNotifier | None:
    if not settings.notify_url:
        return None
    return PacedHttpNotifier(settings.notify_url, settings.notify_secret or "")


def _notifier(settings: Settings, pool: Pool, http_notifier: PacedHttpNotifier | None) -> Notifier:
    """Notifies the relay on AWS through its queue or its URL, and processes that listen on the database with NOTIFY.

    NOTIFY makes all commits of the database wait for each other, so it is left out where the relay has a queue or a
    URL, unless HELIOS_NOTIFY_LISTENERS says that other processes listen too.
    """
    notifiers: list[Notifier] = []
    if settings.relay_queue_url:
        # Imported late: only the AWS runtime provides boto3.
        from helios.adapters.aws import SqsNotifier

        notifiers.append(SqsNotifier(settings.relay_queue_url))
    if http_notifier:
        notifiers.append(http_notifier)
    if settings.notify_listeners or not notifiers:
        notifiers.append(PostgresNotifier(pool))
    return NotifierGroup(notifiers)


def _rules(settings: Settings, sources: Sources, versions: RulesReader | None) -> Rules:
    """The flows of the file, or those that ship with Helios, and the versions in force.

    The engine Flink reads no versions, so that there the flows are fixed.

    Raises:
        ConfigurationError: the file is wrong, or HELIOS_REDACT names a field that one of its flows reads.
    """
    check = partial(_check_redaction, _redacted(settings))
    declared, text = declaration.load_text(settings.flows_file, sources=sources)
    for flow in declared:
        check(flow)
    is_fixed = settings.engine == "flink"
    return Rules(
        declared,
        None if is_fixed else versions,
        text=text,
        file=settings.flows_file or None,
        fixed=FLINK_IS_FIXED if is_fixed else None,
        sources=sources,
        check=check,
    )


def _redacted(settings: Settings) -> list[str]:
    return (settings.redact or "").split()


def _check_redaction(paths: Sequence[str], flow: Flow) -> None:
    flow_paths = {path for leg in flow.leg for path in (*flow.keys_of(leg), *flow.fields(leg.name))}
    for path in paths:
        if any(_covers(path.split("."), flow_path.split(".")) for flow_path in flow_paths):
            raise ConfigurationError(
                f"HELIOS_REDACT: {path} is read by the flow {flow.name!r} and must not be redacted"
            )


def _redaction(settings: Settings) -> Redaction | None:
    paths = _redacted(settings)
    return Redaction(paths) if paths else None


def _retention(limits: Retention, settings: Settings, pool: Pool) -> RetentionJob | None:
    if limits.events and not settings.archive_url:
        raise ConfigurationError(
            "HELIOS_RETENTION: events=... needs HELIOS_ARCHIVE_URL. "
            "unarchived_events=... drops events that are stored nowhere else."
        )
    if limits == Retention():
        return None
    return RetentionJob(limits, PostgresRetention(pool, settings.session_url))


def _notifications(settings: Settings, pool: Pool) -> NotificationJob | None:
    if not settings.notifications_file:
        return None
    declared = notifications_file.load(settings.notifications_file)
    return NotificationJob(PostgresNotifications(pool), declared, notification_targets(settings, declared))


def notification_targets(settings: Settings, declared: Notifications) -> dict[str, NotificationTarget]:
    """A target for each receiver in the file of notifications.

    Raises:
        ConfigurationError: a URL or a secret is wrong or missing, or Apprise is not installed.
    """
    # Imported late: few processes send notifications.
    from helios.adapters.notifications.registry import targets_of

    return targets_of(declared, secrets=settings.notification_secrets or "", loopback=settings.trust_loopback)


def _covers(path: Sequence[str], flow_path: Sequence[str]) -> bool:
    """Whether a redacted path is a path that a flow reads, or leads to it, in any spelling."""
    steps = zip(path, flow_path, strict=False)
    return len(path) <= len(flow_path) and all(name in spellings(declared) for name, declared in steps)


def _dedupe(settings: Settings) -> DedupeCache:
    if not settings.redis_url:
        return NullDedupeCache()
    # Imported late: of all imports the Redis client slows a cold start most.
    from helios.adapters.redis.dedupe import RedisDedupeCache

    return RedisDedupeCache(settings.redis_url, ttl_seconds=settings.dedupe_ttl_seconds)


def _tickets(settings: Settings) -> Tickets | None:
    if not settings.redis_url:
        return None
    # Imported late, as above.
    from helios.adapters.redis.tickets import RedisTickets

    return RedisTickets(settings.redis_url)


def _sink(settings: Settings) -> "KafkaSink | None":
    if not settings.kafka_brokers:
        return None
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
        config_file=settings.kafka_config,
    )


def create_log(settings: Settings, *, partitions: int, replicas: int, retention_days: int) -> list[str]:
    """Create the topics of the log that do not exist, and return their names. HELIOS_LOG_BROKERS is set.

    Raises:
        ConfigurationError: the Kafka client is not installed, or a property of it is wrong.
        HeliosError: the cluster refuses a topic, or does not answer.
    """
    # Imported late, as in ``_log``.
    try:
        from helios.adapters import kafka_topics
    except ImportError as error:
        raise ConfigurationError(NO_KAFKA_CLIENT) from error

    return kafka_topics.create(
        settings.log_brokers or "",
        topics(settings.log_prefix),
        config_file=settings.kafka_config,
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
    """

    projector: Projector
    open_reader: Callable[[], LogReader]
    heartbeats: Heartbeats


def projection(services: Services) -> OpenProjection:
    """The projection of the log into the store of these services. HELIOS_LOG_BROKERS is set.

    Raises:
        ConfigurationError: the Kafka client is not installed.
    """
    # Imported late, as in ``_log``.
    try:
        from helios.adapters.kafka_log import KafkaHeartbeats, KafkaLogReader
    except ImportError as error:
        raise ConfigurationError(NO_KAFKA_CLIENT) from error

    if services.pool is None:
        raise ConfigurationError("A projection needs Postgres.")
    settings = services.settings
    names = topics(settings.log_prefix)
    return OpenProjection(
        Projector(names, store=services.store, notifier=services.notifier),
        partial(
            KafkaLogReader,
            settings.log_brokers or "",
            topics=(names.events, names.verdicts, names.counts, names.dead_letters),
            group=f"{settings.log_prefix}.projector",
            offsets=PostgresLogOffsets(services.pool),
            config_file=settings.kafka_config,
        ),
        KafkaHeartbeats(
            settings.log_brokers or "",
            topic=names.deliveries,
            timeout_seconds=HEARTBEAT_SECONDS,
            config_file=settings.kafka_config,
        ),
    )


NO_KAFKA_CLIENT = "The log requires the Kafka client: pip install confluent-kafka"


def _log(settings: Settings) -> DeliveryLog:
    # Imported late: the client is an optional dependency, and larger than a whole function package.
    try:
        from helios.adapters.kafka_log import KafkaLog
    except ImportError as error:
        raise ConfigurationError(NO_KAFKA_CLIENT) from error

    return KafkaLog(
        settings.log_brokers or "",
        topic=topics(settings.log_prefix).deliveries,
        timeout_seconds=0.8 * settings.database_timeout_seconds,
        config_file=settings.kafka_config,
    )


def _tracer(settings: Settings, *, is_frozen_between_calls: bool) -> Tracer | None:
    if not settings.otlp_url:
        return None
    # Imported late: the messages of OpenTelemetry are an optional dependency.
    try:
        from helios.adapters.otlp import COLLECT_SECONDS, OtlpTracer, check_url, pairs
    except ImportError as error:
        raise ConfigurationError(
            "HELIOS_OTLP_URL requires the messages of OpenTelemetry: pip install 'helios[otel]'"
        ) from error

    check_url(environment.variable("otlp_url"), settings.otlp_url)
    return OtlpTracer(
        settings.otlp_url,
        headers=pairs(environment.variable("otlp_secret"), settings.otlp_secret or ""),
        resource=pairs(environment.variable("otlp_resource"), settings.otlp_resource),
        collect_seconds=0 if is_frozen_between_calls else COLLECT_SECONDS,
    )
