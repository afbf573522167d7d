"""Prometheus metrics of one process."""

import time
from collections import Counter as Tally
from collections.abc import Callable, Sequence
from functools import lru_cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

from helios.errors import Retryable
from helios.model.events import Delivery, Outcome
from helios.ports.events import DedupeCache
from helios.services.ingest import AlsoWrite, Ingest

ADMISSIONS = 256
"""How many counters of admissions are found quickly."""


class Metrics:
    """The counters of this process; /api/v1/stats has the totals, which survive the process."""

    def __init__(self, *, dedupe: DedupeCache, watchers: Callable[[], int]) -> None:
        self.registry = CollectorRegistry()
        self._deliveries = Counter(
            "helios_deliveries",
            "Deliveries by channel (webhook/SOURCE for a declared source) and outcome",
            ["channel", "status"],
            registry=self.registry,
        )
        self._batch_size = Histogram(
            "helios_batch_deliveries",
            "Deliveries in one transaction",
            buckets=(1, 2, 5, 10, 25, 50, 100, 250, 500),
            registry=self.registry,
        )
        self._batch_seconds = Histogram(
            "helios_batch_seconds",
            "Time to store one batch",
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
            registry=self.registry,
        )
        self._retryable = Counter(
            "helios_retryable_batches", "Batches that failed and that the sender has to repeat", registry=self.registry
        )
        self._admissions = Counter(
            "helios_admissions",
            "Requests by channel (a webhook's, webhook/SOURCE, api, or notify for /relay/notify), authenticator and "
            "result: admitted, loopback, undecided, or the reason of the refusal",
            ["channel", "authenticator", "result"],
            registry=self.registry,
        )
        self._admission = lru_cache(ADMISSIONS)(self._admissions.labels)  # finding a counter takes longer than counting
        Gauge("helios_dedupe_failures", "Calls to Redis that failed", registry=self.registry).set_function(
            lambda: dedupe.failures
        )
        Gauge("helios_watchers", "WebSocket clients of this process", registry=self.registry).set_function(watchers)
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def count_admission(self, entry_point: str, authenticator: str, result: str) -> None:
        """Count a request by the authenticator that checked it, and the result."""
        self._admission(entry_point, authenticator, result).inc()

    def observing(self, ingest: Ingest) -> Ingest:
        """The same ``ingest``, measured."""

        def observed(
            deliveries: Sequence[Delivery], *, also_write: AlsoWrite | None = None, accept: bool = False
        ) -> list[Outcome]:
            started = time.perf_counter()
            try:
                outcomes = ingest(deliveries, also_write=also_write, accept=accept)
            except Retryable:
                self._retryable.inc()
                raise
            self._batch_seconds.observe(time.perf_counter() - started)
            self._batch_size.observe(len(deliveries))
            pairs = (
                (delivery.entry_point, outcome.status) for delivery, outcome in zip(deliveries, outcomes, strict=True)
            )
            for (channel, status), number in Tally(pairs).items():
                self._deliveries.labels(channel, status).inc(number)
            return outcomes

        return observed
