"""Settings in, working parts out: the one place where ports meet adapters."""

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
        flows: what is known of stories.
        redaction: replaces what is not to be kept; None when no field is named.
        jobs: replay jobs.
        tokens: who may ask.
        tickets: what opens a WebSocket; None when no Redis is set.
        sink: Kafka; None when no brokers are set.
        pool: the connections behind ``store`` and ``reader``; None when they are in memory.
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
        """``flows.ingest`` with these parts."""
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
        """Let go of every connection."""
        self.dedupe.close()
        if self.sink:
            self.sink.close()
        if self.pool:
            self.pool.close()


def configure(environ: Mapping[str, str] = os.environ, *, require: Sequence[str] = ()) -> Settings:
    """The settings of this process: its environment, and what a secret on AWS adds to it.

    Args:
        environ: where they stand; a variable that is here too is not taken from the secret.
        require: the optional settings that this process can't do without.

    Raises:
        ConfigurationError: a variable is missing or of the wrong form, or the secret holds no settings.
        Retryable: the secret can't be read now.
    """
    if secret := environ.get(environment.variable("secret_id")):
        # Late: boto3 is AWS' own runtime's, and no other cloud's.
        from helios.adapters.aws import secret_variables

        environ = secret_variables(secret) | dict(environ)
    return environment.load(environ, require=require)


def build(settings: Settings) -> Services:
    """Everything, connected lazily: a database that is down does not stop a process from starting.

    Raises:
        ConfigurationError: the file that declares the flows is wrong, or a Kafka setting, or a field that a flow reads
            would be redacted.
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


def build_to_stay(settings: Settings) -> Services:
    """``build`` for a process that stores batches for as long as it lives: what it has loaded by now stays.

    The garbage collector passes over it. To look through it again and again costs a batch with stories a tenth of its
    time.
    """
    services = build(settings)
    gc.freeze()
    return services


def replay_worker(services: Services) -> ReplayWorker:
    """What works on replay jobs in a process that does nothing else.

    Raises:
        ConfigurationError: a setting of the places that events may be sent to is wrong.
    """
    targets = ConfiguredTargets(services.settings)
    return ReplayWorker(
        services.jobs, targets, store=services.store, ingest=services.ingest, notifier=services.notifier
    )


def _notifier(settings: Settings, pool: Pool) -> Notifier:
    """NOTIFY for the processes of this database, and whatever else has to be woken."""
    notifiers: list[Notifier] = [PostgresNotifier(pool)]
    if settings.relay_queue_url:
        # Late: boto3 is AWS' own runtime's, and no other cloud's.
        from helios.adapters.aws import SqsNotifier

        notifiers.append(SqsNotifier(settings.relay_queue_url))
    if settings.notify_url:
        notifiers.append(HttpNotifier(settings.notify_url, settings.notify_secret or ""))
    return NotifierGroup(notifiers)


def _redaction(settings: Settings, declared: Sequence[Flow]) -> Redaction | None:
    paths = (settings.redact or "").split()
    for flow in declared:
        read = {flow.key, *(path for leg in flow.leg for path in flow.fields(leg.name))}
        for path in paths:
            if any(path == one or one.startswith(f"{path}.") for one in read):
                raise ConfigurationError(
                    f"HELIOS_REDACT: {path} is read by the flow {flow.name!r}, which could not judge"
                )
    return Redaction(paths) if paths else None


def _dedupe(settings: Settings) -> DedupeCache:
    if not settings.redis_url:
        return NullDedupeCache()
    # Late: importing the Redis client costs a cold start more than any other part.
    from helios.adapters.redis.dedupe import RedisDedupeCache

    return RedisDedupeCache(settings.redis_url, ttl_seconds=settings.dedupe_ttl_seconds)


def _tickets(settings: Settings) -> Tickets | None:
    if not settings.redis_url:
        return None
    # Late, as above.
    from helios.adapters.redis.tickets import RedisTickets

    return RedisTickets(settings.redis_url)


def _sink(settings: Settings) -> EventSink | None:
    if not settings.kafka_brokers:
        return None
    # Late: only who has Kafka has its client, which weighs more than a function of ours.
    try:
        from helios.adapters.kafka import KafkaSink
    except ImportError as error:
        raise ConfigurationError("HELIOS_KAFKA_BROKERS is set, which takes pip install 'helios[kafka]'") from error

    return KafkaSink(
        settings.kafka_brokers,
        topic=settings.kafka_topic,
        # The sink holds its place in an open transaction meanwhile, and Postgres waits for that one no longer.
        timeout_seconds=0.8 * settings.database_timeout_seconds,
        config_file=settings.kafka_config,
    )
