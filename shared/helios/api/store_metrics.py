"""Prometheus metrics of the store: the same from every process, read when Prometheus scrapes."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate

from prometheus_client.core import GaugeHistogramMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from helios.bootstrap import Services
from helios.errors import Retryable
from helios.model.flows import SETTLED
from helios.model.incidents import Attention
from helios.model.stream import Consumer
from helios.reconciliation.record import MATCH_BOUNDS, FlowCount
from helios.reconciliation.silence import LOOKBACK, silent
from helios.reconciliation.summary import amounts_at_risk
from helios.services.relay import GATEWAY
from helios.services.sink import KAFKA
from helios.settings import Settings
from helios.sources.registry import Sources

log = logging.getLogger("helios.metrics")

PERIOD = timedelta(days=1)
"""The age up to which flow instances are counted."""

RECENT = timedelta(minutes=15)
"""The same for the metrics that alarms use, so that an alarm starts soon and ends soon."""


MAX_CURRENCIES = 20
"""Currencies of a flow that are series of their own, the largest amounts first. Senders write the currency, and each
distinct value of a label is another series in Prometheus."""

OTHER = "other"
"""The label of the sum of all further currencies."""


class StoreCollector(Collector):
    """Flow instances, dead letters, incidents and the stream's consumers; no metrics while the store is unavailable."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._receivers = services.notifications.receivers if services.notifications else ()

    def describe(self) -> Iterable[Metric]:
        """No metrics, so that the registry does not read the store when the process starts."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Read the store."""
        try:
            return list(self._read(datetime.now(UTC)))
        except Retryable as error:
            log.warning("store metrics unavailable", extra={"error": str(error)})
            return []

    def _read(self, now: datetime) -> Iterator[Metric]:
        # Twice the period, so that one bucket holds all of it: the first bucket begins before the period does.
        counts = self._services.flows.flow_counts(None, since=now - PERIOD, until=now, bucket=2 * PERIOD)
        recent = self._services.flows.flow_counts(None, since=now - RECENT, until=now, bucket=2 * RECENT)
        yield _gauge("helios_flows", "Flow instances of the last 24 hours, by status", counts, "status")
        yield _gauge(
            "helios_flow_issues", "Flow instances of the last 24 hours, by kind of issue", counts, "issue", "kind"
        )
        yield _gauge("helios_recent_flows", "Flow instances of the last 15 minutes, by status", recent, "status")
        yield _match_rate(counts)
        yield _amount_at_risk(counts)
        yield _time_to_match(recent)
        yield _silent(self._services.sources, silent(self._services.reader.minutes(now - LOOKBACK), now))
        totals = self._services.reader.totals(now)
        dead_letters = GaugeMetricFamily(
            "helios_dead_letters", "Deliveries that did not become events", labels=["status"]
        )
        dead_letters.add_metric(["rejected"], totals.rejected)
        dead_letters.add_metric(["contradictory"], totals.contradictory)
        yield dead_letters
        if self._services.settings.archive_url:
            silent_seconds = (now - self._services.reader.archive_succeeded_at()).total_seconds()
            yield GaugeMetricFamily(
                "helios_archive_silent_seconds", "Time since the archive last succeeded", value=silent_seconds
            )
        yield from _attention(self._services.incidents.attention(now), self._receivers)
        yield from _consumers(self._services.outbox.consumers(*expected(self._services.settings)), now)


def expected(settings: Settings) -> list[str]:
    """The consumers that these settings require, whether or not they have ever run."""
    return [KAFKA] * bool(settings.kafka_brokers) + [GATEWAY] * bool(settings.relay_queue_url)


def _attention(attention: Attention, receivers: Iterable[str]) -> Iterator[Metric]:
    incidents = GaugeMetricFamily(
        "helios_incidents", "Open incidents by severity, without the snoozed ones", labels=["severity"]
    )
    for severity, number in attention.incidents.items():
        incidents.add_metric([severity], number)
    yield incidents
    failing = GaugeMetricFamily(
        "helios_failing_notifications",
        "Notifications of incidents that wait for another attempt, or were given up within the last hour",
        labels=["receiver"],
    )
    for receiver in sorted({*receivers, *attention.failing}):
        failing.add_metric([receiver], attention.failing.get(receiver, 0))
    yield failing


def _consumers(consumers: Sequence[Consumer], now: datetime) -> Iterator[Metric]:
    gauges: list[tuple[str, str, Callable[[Consumer], float]]] = [
        (
            "relay_lag_seconds",
            "Age of the oldest frame that a consumer has not processed",
            lambda consumer: consumer.wait_seconds(now),
        ),
        ("relay_lag_frames", "Frames that a consumer has not processed", lambda consumer: consumer.behind),
        ("consumer_silent_seconds", "Time since a consumer last ran", lambda consumer: consumer.silent_seconds(now)),
        ("parked_events", "Events that a consumer's target refused permanently", lambda consumer: consumer.parked),
    ]
    for name, text, read in gauges:
        family = GaugeMetricFamily(f"helios_{name}", text, labels=["consumer"])
        for consumer in consumers:
            family.add_metric([consumer.name], read(consumer))
        yield family


def _gauge(name: str, text: str, counts: Sequence[FlowCount], what: str, label: str | None = None) -> Metric:
    family = GaugeMetricFamily(name, text, labels=["flow", label or what])
    for count in counts:
        if count.what == what:
            family.add_metric([count.flow, count.value], count.instances)
    return family


def _match_rate(counts: Sequence[FlowCount]) -> Metric:
    family = GaugeMetricFamily("helios_flow_match_rate", "Share of settled flow instances that match", labels=["flow"])
    for flow in sorted({count.flow for count in counts}):
        by_status = {count.value: count.instances for count in counts if count.flow == flow and count.what == "status"}
        if settled := sum(by_status.get(status, 0) for status in SETTLED):
            matched = by_status.get("matched", 0) + by_status.get("matched_late", 0)
            family.add_metric([flow], matched / settled)
    return family


def _amount_at_risk(counts: Sequence[FlowCount]) -> Metric:
    family = GaugeMetricFamily(
        "helios_flow_amount_at_risk",
        "Amounts of the flow instances of the last 24 hours with a problem",
        labels=["flow", "currency"],
    )
    for flow in sorted({count.flow for count in counts}):
        amounts = {
            money.currency or "": float(money.amount)
            for money in amounts_at_risk(count for count in counts if count.flow == flow)
        }
        for currency, amount in _largest(amounts).items():
            family.add_metric([flow, currency], amount)
    return family


def _largest(amounts: Mapping[str, float]) -> dict[str, float]:
    """The MAX_CURRENCIES largest amounts by currency, and the sum of the others."""
    ordered = sorted(amounts, key=lambda currency: (-abs(amounts[currency]), currency))
    largest = {currency: amounts[currency] for currency in ordered[:MAX_CURRENCIES]}
    if others := ordered[MAX_CURRENCIES:]:
        largest[OTHER] = sum(amounts[currency] for currency in others)
    return largest


def _silent(sources: Sources, silent_sources: Sequence[str]) -> Metric:
    family = GaugeMetricFamily(
        "helios_source_silent", "1 if a source sends no events while other sources do, else 0", labels=["source"]
    )
    for source in sources:
        family.add_metric([source], source in silent_sources)
    return family


def _time_to_match(counts: Sequence[FlowCount]) -> Metric:
    """The times as a gauge histogram (OpenMetrics): the period moves, so its values fall, and no rate can be taken.

    Prometheus' text format has no such type and shows it as a histogram, whose sum and count are ``_gsum`` and
    ``_gcount``.
    """
    family = GaugeHistogramMetricFamily(
        "helios_flow_time_to_match_seconds",
        "Matched flow instances of the last 15 minutes, by time from the first leg; not for rate()",
        labels=["flow"],
    )
    for flow in sorted({count.flow for count in counts if count.what == "match"}):
        by_bound = {count.value: count for count in counts if count.flow == flow and count.what == "match"}
        totals = accumulate(by_bound[bound].instances if bound in by_bound else 0 for bound in MATCH_BOUNDS)
        bounds = ("+Inf" if bound == "inf" else bound for bound in MATCH_BOUNDS)
        seconds = sum(count.seconds for count in by_bound.values())
        family.add_metric([flow], list(zip(bounds, map(float, totals), strict=True)), gsum_value=seconds)
    return family
