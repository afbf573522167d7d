"""Flow instances with a missing leg, and the job that brings it back."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial

from helios.adapters.no_dedupe import NullDedupeCache
from helios.adapters.postgres.connection import Pool
from helios.adapters.postgres.leases import PostgresLeases
from helios.adapters.postgres.reader import PostgresReader
from helios.adapters.postgres.recoveries import PostgresRecoveries
from helios.adapters.postgres.unit_of_work import PostgresStore
from helios.model.events import Delivery, Outcome
from helios.model.flows import FlowInstance
from helios.model.recoveries import Diagnosis, Recovery, RecoveryRequest
from helios.ports.recoveries import Places
from helios.reconciliation.declaration import Flow
from helios.reconciliation.record import to_instance
from helios.services.diagnosis import diagnose
from helios.services.ingest import ingest
from helios.services.reconciler import Reconciler
from helios.services.recoveries import RecoveryJob, RecoveryStarter
from helios.services.sweep import expire_flows
from tests.support.deliveries import NOON
from tests.support.instances import ORDER

AFTER = NOON + timedelta(hours=1)
"""After the deadline of every instance."""


def _append(log: list[Delivery], deliveries: Sequence[Delivery]) -> list[Outcome]:
    log += deliveries
    return [Outcome(status="accepted") for _ in deliveries]


class Recovering:
    """The recoveries of one database.

    Attributes:
        store: the events.
        reader: reads them.
        recoveries: the recoveries.
        job: works on them.
        now: the time.
    """

    def __init__(
        self,
        pool: Pool,
        places: Places,
        *,
        flow: Flow = ORDER,
        now: datetime = AFTER,
        horizon: timedelta | None = None,
        log: list[Delivery] | None = None,
    ) -> None:
        """With a log, what a recovery finds is appended to it, and stored by ``receive`` only."""
        self.store = PostgresStore(pool)
        self.reader = PostgresReader(pool)
        self.recoveries = PostgresRecoveries(pool)
        self.now = now
        self._flow = flow
        self._reconciler = Reconciler([flow])
        self._places = places
        self.ingest = partial(
            ingest, dedupe=NullDedupeCache(), store=self.store, reconciler=self._reconciler, horizon=horizon
        )
        self.start = RecoveryStarter(self.recoveries, self.reader, self._reconciler.evaluators, places)
        self.job = RecoveryJob(
            self.recoveries,
            leases=PostgresLeases(pool),
            flows=self.reader,
            reader=self.reader,
            ingest=self.ingest if log is None else partial(_append, log),
            is_judged_later=log is not None,
            evaluators=self._reconciler.evaluators,
            places=places,
        )

    def receive(self, *deliveries: Delivery) -> None:
        """Ingest deliveries, and let every deadline pass."""
        self.ingest(deliveries)
        expire_flows(self.now, store=self.store, reconciler=self._reconciler)

    def instance(self, key: str = "ORD-1") -> FlowInstance:
        """The instance with this key."""
        record = self.reader.flow((self._flow.name, key))
        assert record
        return to_instance(self._reconciler.evaluators[self._flow.name], record)

    def diagnosis(self, key: str = "ORD-1", leg: str = "payment") -> Diagnosis:
        """Why a leg is missing."""
        diagnoses = diagnose(
            self._flow,
            self.instance(key),
            reader=self.reader,
            recoveries=self.recoveries.page(instance=(self._flow.name, key), after=None, limit=10).items,
            places={source: [place.name for place in places] for source, places in self._places.items()},
        )
        return next(diagnosis for diagnosis in diagnoses if diagnosis.leg == leg)

    def request(self, key: str = "ORD-1", leg: str = "payment") -> Recovery:
        """Start a recovery."""
        request = RecoveryRequest(flow=self._flow.name, key=key, leg=leg)
        recovery = self.start(request, actor="kim", now=self.now)
        assert recovery
        return recovery

    def run(self, *, seconds: float = 0) -> int:
        """Run the job, ``seconds`` later."""
        self.now += timedelta(seconds=seconds)
        return self.job.run(self.now)

    def last(self, key: str = "ORD-1") -> Recovery:
        """The last recovery of an instance."""
        return self.recoveries.page(instance=(self._flow.name, key), after=None, limit=1).items[0]
