"""Builds the services of a process from its settings: the only module that connects ports with adapters."""

import gc
import logging
import os
from collections.abc import Mapping, Sequence

import msgspec

from helios import settings as environment
from helios.adapters.no_dedupe import NullDedupeCache
from helios.adapters.notifiers import HttpNotifier, NotifierGroup
from helios.adapters.postgres.connection import Pool, open_pool
from helios.adapters.postgres.reader import PostgresReader
from helios.adapters.postgres.replay import PostgresReplayJobs
from helios.adapters.postgres.stream import PostgresListener, PostgresNotifier, PostgresOutbox
from helios.adapters.postgres.tokens import PostgresTokens
from helios.adapters.postgres.unit_of_work import PostgresStore
from helios.adapters.replay.registry import ConfiguredTargets
from helios.errors import ConfigurationError
from helios.model.events import Delivery, Outcome
from helios.normalise.redact import Redaction
from helios.ports.access import Tickets, Tokens
from helios.ports.events import DedupeCache
from helios.ports.flows import FlowReader
from helios.ports.reader import Reader
from helios.ports.replay import ReplayJobs
from helios.ports.stream import EventSink, Listener, Notifier, Outbox
from helios.ports.unit_of_work import EventStore
from helios.reconciliation import declaration
from helios.reconciliation.declaration import Flow
from helios.services.ingest import AlsoWrite, ingest
from helios.services.reconciler import Reconciler
from helios.services.replay import ReplayWorker
from helios.settings import Settings

log = logging.getLogger("helios.bootstrap")


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """What an entry point needs; built once per process or warm container.

    Attributes:
        flows: reads flow instances.
        redaction: replaces the fields that must not be stored; None when HELIOS_REDACT is not set.
        jobs: stores and reads replay jobs.
        tokens: stores and checks API tokens.
        tickets: issues and redeems WebSocket tickets; None when HELIOS_REDIS_URL is not set.
        sink: forwards events to Kafka; None when HELIOS_KAFKA_BROKERS is not set.
        pool: the connections behind ``store`` and ``reader``; None when both are in memory.
    """

    settings: Settings
    store: EventStore
    reader: Reader
    dedupe: DedupeCache
    outbox: Outbox
    notifier: Notifier
    listener: Listener
    reconciler: Reconciler
    flows: FlowReader
    jobs: ReplayJobs
    tokens: Tokens
    tickets: Tickets | None = None
    redaction: Redaction | None = None
    sink: EventSink | None = None
    pool: Pool | None = None

    def ingest(self, deliveries: Sequence[Delivery], *, also_write: AlsoWrite | None = None) -> list[Outcome]:
        """``services.ingest.ingest`` with these services as its ports."""
        return ingest(
            deliveries,
            dedupe=self.dedupe,
            store=self.store,
            reconciler=self.reconciler,
            redaction=self.redaction,
            notifier=self.notifier,
            also_write=also_write,
        )

    def close(self) -> None:
        """Close every connection."""
        self.dedupe.close()
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


def build(settings: Settings) -> Services:
    """The services of a process. They connect lazily: a process starts although its database is down.

    Raises:
        ConfigurationError: the flows file or a Kafka setting is wrong, or HELIOS_REDACT names a field that a flow
            reads.
    """
    log.info("starting", extra=settings.shown())
    pool = open_pool(
        settings.database_url,
        connections=settings.database_connections,
        timeout_seconds=settings.database_timeout_seconds,
    )
    reader = PostgresReader(pool)
    declared = declaration.load(settings.flows_file)
    return Services(
        settings=settings,
        store=PostgresStore(pool),
        reader=reader,
        dedupe=_dedupe(settings),
        outbox=PostgresOutbox(pool),
        notifier=_notifier(settings, pool),
        listener=PostgresListener(settings.database_url),
        reconciler=Reconciler(declared),
        redaction=_redaction(settings, declared),
        flows=reader,
        jobs=PostgresReplayJobs(pool, settings.database_url),
        tokens=PostgresTokens(pool),
        tickets=_tickets(settings),
        sink=_sink(settings),
        pool=pool,
    )


def build_long_lived(settings: Settings) -> Services:
    """``build`` for a process that stores many batches: excludes all objects loaded so far from garbage collection.

    Collections that scan them take a tenth of the time of a batch with flow instances.
    """
    services = build(settings)
    gc.freeze()
    return services


def replay_worker(services: Services) -> ReplayWorker:
    """The replay worker of a process that does nothing else.

    Raises:
        ConfigurationError: a setting of the replay targets is wrong.
    """
    targets = ConfiguredTargets(services.settings)
    return ReplayWorker(
        services.jobs, targets, store=services.store, ingest=services.ingest, notifier=services.notifier
    )


def _notifier(settings: Settings, pool: Pool) -> Notifier:
    """Notifies the processes that listen on this database, and the relay on AWS if its queue or URL is set."""
    notifiers: list[Notifier] = [PostgresNotifier(pool)]
    if settings.relay_queue_url:
        # Imported late: only the AWS runtime provides boto3.
        from helios.adapters.aws import SqsNotifier

        notifiers.append(SqsNotifier(settings.relay_queue_url))
    if settings.notify_url:
        notifiers.append(HttpNotifier(settings.notify_url, settings.notify_secret or ""))
    return NotifierGroup(notifiers)


def _redaction(settings: Settings, declared: Sequence[Flow]) -> Redaction | None:
    paths = (settings.redact or "").split()
    for flow in declared:
        flow_paths = {flow.key, *(path for leg in flow.leg for path in flow.fields(leg.name))}
        for path in paths:
            if any(path == flow_path or flow_path.startswith(f"{path}.") for flow_path in flow_paths):
                raise ConfigurationError(
                    f"HELIOS_REDACT: {path} is read by the flow {flow.name!r} and must not be redacted"
                )
    return Redaction(paths) if paths else None


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


def _sink(settings: Settings) -> EventSink | None:
    if not settings.kafka_brokers:
        return None
    # Imported late: the client is an optional dependency, and larger than a whole function package.
    try:
        from helios.adapters.kafka import KafkaSink
    except ImportError as error:
        raise ConfigurationError(
            "HELIOS_KAFKA_BROKERS requires the Kafka client: pip install 'helios[kafka]'"
        ) from error

    return KafkaSink(
        settings.kafka_brokers,
        topic=settings.kafka_topic,
        # Meanwhile the sink holds its offset in an open transaction, which Postgres ends after this timeout.
        timeout_seconds=0.8 * settings.database_timeout_seconds,
        config_file=settings.kafka_config,
    )
