"""What Prometheus sees of one process."""

import time
from collections import Counter as Tally
from collections.abc import Callable, Sequence
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

from helios.errors import Retryable
from helios.model.events import Channel, Delivery, Outcome
from helios.ports.events import DedupeCache
from helios.services.ingest import AlsoWrite, Ingest

Door = Channel | Literal["api", "ring"]
"""Where somebody is let in: to send, to ask, or to wake the relay."""


class Metrics:
    """This process' counters; the ledger's totals, which survive it, are at /api/v1/stats."""

    def __init__(self, *, dedupe: DedupeCache, watchers: Callable[[], int]) -> None:
        self.registry = CollectorRegistry()
        self._deliveries = Counter(
            "helios_deliveries", "Deliveries by way in and outcome", ["channel", "status"], registry=self.registry
        )
        self._batch_size = Histogram(
            "helios_batch_deliveries",
            "Deliveries stored by one transaction",
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
            "helios_retryable_batches", "Batches refused for the sender to repeat", registry=self.registry
        )
        self._entered = Counter(
            "helios_admissions",
            "Requests by way in (api: who asks, ring: who wakes the relay), guard, and what it said: admitted, "
            "loopback, undecided, or why not",
            ["channel", "authenticator", "result"],
            registry=self.registry,
        )
        Gauge("helios_dedupe_failures", "Calls that Redis did not serve", registry=self.registry).set_function(
            lambda: dedupe.failures
        )
        Gauge("helios_watchers", "Clients of this process' live stream", registry=self.registry).set_function(watchers)
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def entered(self, channel: Door, authenticator: str, result: str) -> None:
        """Count a request that came to a guard."""
        self._entered.labels(channel, authenticator, result).inc()

    def observing(self, ingest: Ingest) -> Ingest:
        """The same ``ingest``, watched."""

        def observed(deliveries: Sequence[Delivery], *, also_write: AlsoWrite | None = None) -> list[Outcome]:
            started = time.perf_counter()
            try:
                outcomes = ingest(deliveries, also_write=also_write)
            except Retryable:
                self._retryable.inc()
                raise
            self._batch_seconds.observe(time.perf_counter() - started)
            self._batch_size.observe(len(deliveries))
            pairs = ((one.channel, outcome.status) for one, outcome in zip(deliveries, outcomes, strict=True))
            for (channel, status), number in Tally(pairs).items():
                self._deliveries.labels(channel, status).inc(number)
            return outcomes

        return observed
