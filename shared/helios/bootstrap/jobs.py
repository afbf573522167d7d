"""Builds the jobs that a process runs beside its entry points."""

from datetime import datetime, timedelta

from helios.adapters.postgres.balances import PostgresBalances
from helios.adapters.postgres.flow_versions import PostgresFlowVersions
from helios.adapters.postgres.incidents import PostgresIncidents
from helios.adapters.postgres.log import PostgresProjectionProgress, PostgresPublishedRules
from helios.adapters.replay.registry import ConfiguredTargets
from helios.bootstrap.services import Services
from helios.services.balances import BalanceJob
from helios.services.incidents import IncidentJob
from helios.services.ingest import Ingest
from helios.services.recompute import RecomputeJob
from helios.services.reconciler import Reconciler
from helios.services.recoveries import RecoveryJob
from helios.services.replay import ReplayWorker
from helios.services.sink import KAFKA
from helios.services.sweep import SweepResult, sweep


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


def sweep_alone(
    services: Services, now: datetime, *, recomputes: bool = True, recoveries: RecoveryJob | None = None
) -> SweepResult:
    """Sweep in a process that no other one helps: with the incidents, the notifications and the recomputes.

    With HELIOS_ENGINE=flink and HELIOS_EVENT_STORE=archive, it leaves the recomputes to an API server.

    Args:
        services: the services of the process.
        now: decides which deadlines and retention periods have passed.
        recomputes: whether to evaluate stored instances by versions that were approved; otherwise a process that also
            reads archived events does.
        recoveries: brings back missing legs; None: another process does.

    Raises:
        Retryable: the store can't be reached. The next sweep does the rest.
    """
    # Without the events of the archive, a recompute would find none, and finish. An API server finds them.
    finds_events = services.judges or services.settings.event_store == "postgres"

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
            recompute=recompute_job(services) if recomputes and finds_events else None,
            recoveries=recoveries,
        )

    return services.rules.apply(by_rules)


def recompute_job(services: Services) -> RecomputeJob | None:
    """The job that evaluates stored instances by versions that were approved; None if no version can be."""
    if services.pool is None:
        return None
    are_taken = PostgresPublishedRules(services.pool).are_taken
    return RecomputeJob(
        PostgresFlowVersions(services.pool),
        services.rules,
        reader=services.reader,
        store=services.store,
        notifier=services.notifier,
        is_due=(lambda: True) if services.judges else are_taken,
        log=services.log_edge.log if services.log_edge else None,
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
    is_late = services.settings.engine == "flink"
    until = PostgresProjectionProgress(services.pool).projected_until if is_late else None
    return BalanceJob(PostgresBalances(services.pool), grace=grace, arrived_until=until)


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
        is_judged_later=services.settings.engine == "flink",
    )
