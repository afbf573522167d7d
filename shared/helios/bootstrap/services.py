"""The services of a process, as its entry points see them."""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Protocol

import msgspec

from helios.adapters.notifiers import PacedHttpNotifier
from helios.adapters.postgres.connection import Pool
from helios.model.events import Delivery, Outcome
from helios.normalise.redact import Redaction
from helios.ports.access import Tickets, Tokens
from helios.ports.balances import BalanceReader
from helios.ports.events import DedupeCache
from helios.ports.flow_versions import FlowVersions
from helios.ports.flows import FlowReader
from helios.ports.incidents import IncidentReader
from helios.ports.leases import Leases
from helios.ports.log import DeliveryLog
from helios.ports.reader import Reader
from helios.ports.recoveries import Places, Recoveries
from helios.ports.replay import ReplayJobs
from helios.ports.resolutions import Resolutions
from helios.ports.stream import EventSink, Listener, Notifier, Outbox
from helios.ports.tracing import Tracer
from helios.ports.unit_of_work import EventStore
from helios.services.append import append
from helios.services.hints import Assumptions
from helios.services.ingest import AlsoWrite, ingest
from helios.services.notifications import NotificationJob
from helios.services.reconciler import Reconciler
from helios.services.retention import RetentionJob
from helios.services.rules import Rules
from helios.services.tracing import traced
from helios.settings import Settings
from helios.sources.registry import CLOUDS, Sources


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
        rules: know the flow instances to which events belong.
        redaction: as in ``Services``.
        tracer: as in ``Services``.
        store: begins the transaction in which something else is written; None where nothing is.
    """

    log: DeliveryLog
    rules: Rules
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
            fold=self.rules.reconciler.fold,
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
        """Close every connection, after a last notification if one is pending, and the attempts to notify receivers."""
        if self.notifications:
            self.notifications.close()
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
