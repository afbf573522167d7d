"""Builds the services of a process from its settings."""

import gc
import logging
import os
from collections.abc import Mapping, Sequence

from helios import notifications as notifications_file
from helios import settings as environment
from helios.adapters.no_dedupe import NullDedupeCache
from helios.adapters.notifiers import NotifierGroup, PacedHttpNotifier
from helios.adapters.postgres.balances import PostgresBalances
from helios.adapters.postgres.connection import Pool, open_pool
from helios.adapters.postgres.flow_versions import PostgresFlowVersions
from helios.adapters.postgres.incidents import PostgresIncidents
from helios.adapters.postgres.leases import PostgresLeases
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
from helios.bootstrap.kafka import delivery_log, kafka_sink
from helios.bootstrap.rules import load_redaction, load_rules
from helios.bootstrap.services import Edge, LogEdge, Services
from helios.errors import ConfigurationError
from helios.model import retention
from helios.model.notifications import Notifications
from helios.model.retention import Retention
from helios.ports.access import Tickets
from helios.ports.events import DedupeCache
from helios.ports.notifications import NotificationTarget
from helios.ports.stream import Notifier
from helios.ports.tracing import Tracer
from helios.services.notifications import NotificationJob
from helios.services.retention import RetentionJob
from helios.settings import Settings
from helios.sources import declaration as source_declaration

log = logging.getLogger("helios.bootstrap")


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
            batches and the keys for the cache are then sent without delay.

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
    rules = load_rules(settings, sources, versions)
    limits = retention.parse(settings.retention or "")
    http_notifier = _http_notifier(settings)
    store = PostgresStore(pool, partition_days=settings.partition_days)
    redaction = load_redaction(settings)
    tracer = _tracer(settings, is_frozen_between_calls=is_frozen_between_calls)
    edge = None
    if settings.engine == "flink":
        edge = LogEdge(log=delivery_log(settings), rules=rules, redaction=redaction, tracer=tracer, store=store)
    return Services(
        settings=settings,
        store=store,
        reader=reader,
        dedupe=_dedupe(settings, is_frozen_between_calls=is_frozen_between_calls),
        outbox=PostgresOutbox(pool),
        notifier=_notifier(settings, pool, http_notifier),
        http_notifier=http_notifier,
        listener=PostgresListener(settings.session_url),
        rules=rules,
        versions=versions,
        sources=sources,
        redaction=redaction,
        horizon=limits.ids,
        retention=retention_job(settings, pool),
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
        sink=kafka_sink(settings),
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
        log=delivery_log(settings),
        rules=load_rules(settings, sources, None),
        redaction=load_redaction(settings),
        tracer=_tracer(settings, is_frozen_between_calls=is_frozen_between_calls),
    )
    gc.freeze()
    return edge


def retention_job(settings: Settings, pool: Pool) -> RetentionJob | None:
    """What removes rows and partitions by HELIOS_RETENTION; None if it has no limit.

    Raises:
        ConfigurationError: the setting is wrong.
    """
    limits = retention.parse(settings.retention or "")
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


def _dedupe(settings: Settings, *, is_frozen_between_calls: bool) -> DedupeCache:
    if not settings.redis_url:
        return NullDedupeCache()
    # Imported late: of all imports the Redis client slows a cold start most.
    from helios.adapters.redis.dedupe import DELAY_SECONDS, RedisDedupeCache

    return RedisDedupeCache(
        settings.redis_url,
        ttl_seconds=settings.dedupe_ttl_seconds,
        delay_seconds=0 if is_frozen_between_calls else DELAY_SECONDS,
    )


def _tickets(settings: Settings) -> Tickets | None:
    if not settings.redis_url:
        return None
    # Imported late, as above.
    from helios.adapters.redis.tickets import RedisTickets

    return RedisTickets(settings.redis_url)


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
