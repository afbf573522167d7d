"""What Prometheus sees of the store: the same from every process, read when it is asked for."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from helios.bootstrap import Services
from helios.errors import Retryable
from helios.model.events import SOURCES
from helios.model.flows import SETTLED
from helios.model.stream import Consumer
from helios.reconciliation.record import MATCH_BOUNDS, FlowCount
from helios.reconciliation.silence import LOOKBACK, silent
from helios.reconciliation.summary import amounts_at_risk
from helios.services.relay import GATEWAY
from helios.services.sink import KAFKA
from helios.settings import Settings

log = logging.getLogger("helios.metrics")

PERIOD = timedelta(days=1)
"""The stories counted are those that began within it,"""

RECENT = timedelta(minutes=15)
"""or within this, where it is asked how things are going: an alarm must ring soon, and stop soon."""


MAX_CURRENCIES = 20
"""Currencies of a flow that are series of their own, the largest amounts first. Senders write the currency, and each
distinct value of a label is another series in Prometheus."""

OTHER = "other"
"""The label of the sum of all further currencies."""


class StoreCollector(Collector):
    """Stories, dead letters and who follows the stream; nothing of it while the store is away."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def describe(self) -> Iterable[Metric]:
        """Nothing: so the registry does not read the store when the process starts."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Read the store."""
        try:
            return list(self._read(datetime.now(UTC)))
        except Retryable as error:
            log.warning("no metrics of the store", extra={"error": str(error)})
            return []

    def _read(self, now: datetime) -> Iterator[Metric]:
        # Buckets that hold all of it: the first one begins before the period does.
        counts = self._services.flows.flow_counts(None, since=now - PERIOD, until=now, bucket=2 * PERIOD)
        recent = self._services.flows.flow_counts(None, since=now - RECENT, until=now, bucket=2 * RECENT)
        yield _gauge("helios_flows", "Stories that began within a day, by verdict", counts, "status")
        yield _gauge("helios_flow_issues", "Stories that began within a day, by kind of issue", counts, "issue", "kind")
        yield _gauge("helios_recent_flows", "Stories that began within 15 minutes, by verdict", recent, "status")
        yield _match_rate(counts)
        yield _amount_at_risk(counts)
        yield from _time_to_match(recent)
        yield _silent(silent(self._services.reader.minutes(now - LOOKBACK), now))
        totals = self._services.reader.totals(now)
        dead_letters = GaugeMetricFamily(
            "helios_dead_letters", "Deliveries that did not become events", labels=["status"]
        )
        dead_letters.add_metric(["rejected"], totals.rejected)
        dead_letters.add_metric(["contradictory"], totals.contradictory)
        yield dead_letters
        yield from _consumers(self._services.outbox.consumers(*expected(self._services.settings)), now)


def expected(settings: Settings) -> list[str]:
    """Who should have a place in the stream, whether or not it was ever there."""
    return [KAFKA] * bool(settings.kafka_brokers) + [GATEWAY] * bool(settings.relay_queue_url)


def _consumers(found: Sequence[Consumer], now: datetime) -> Iterator[Metric]:
    figures: list[tuple[str, str, Callable[[Consumer], float]]] = [
        (
            "relay_lag_seconds",
            "Age of the oldest frame that a consumer has not dealt with",
            lambda one: one.wait_seconds(now),
        ),
        ("relay_lag_frames", "Frames that a consumer has not dealt with", lambda one: one.behind),
        ("consumer_silent_seconds", "Time since a consumer last had its turn", lambda one: one.silent_seconds(now)),
        ("parked_events", "Events that a consumer was refused for good", lambda one: one.parked),
    ]
    for name, text, read in figures:
        family = GaugeMetricFamily(f"helios_{name}", text, labels=["consumer"])
        for one in found:
            family.add_metric([one.name], read(one))
        yield family


def _gauge(name: str, text: str, counts: Sequence[FlowCount], what: str, label: str | None = None) -> Metric:
    family = GaugeMetricFamily(name, text, labels=["flow", label or what])
    for count in counts:
        if count.what == what:
            family.add_metric([count.flow, count.value], count.instances)
    return family


def _match_rate(counts: Sequence[FlowCount]) -> Metric:
    family = GaugeMetricFamily("helios_flow_match_rate", "Matched stories among those with a verdict", labels=["flow"])
    for flow in sorted({count.flow for count in counts}):
        by_status = {one.value: one.instances for one in counts if one.flow == flow and one.what == "status"}
        if settled := sum(by_status.get(status, 0) for status in SETTLED):
            matched = by_status.get("matched", 0) + by_status.get("matched_late", 0)
            family.add_metric([flow], matched / settled)
    return family


def _amount_at_risk(counts: Sequence[FlowCount]) -> Metric:
    family = GaugeMetricFamily(
        "helios_flow_amount_at_risk", "Amounts of a day's stories with a problem", labels=["flow", "currency"]
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


def _silent(found: Sequence[str]) -> Metric:
    family = GaugeMetricFamily("helios_source_silent", "1: a cloud says nothing while others speak", labels=["source"])
    for source in SOURCES:
        family.add_metric([source], source in found)
    return family


def _time_to_match(counts: Sequence[FlowCount]) -> Iterator[Metric]:
    """Gauges, for histogram_quantile as they are: of a period that moves on, no rate can be taken."""
    name, of_what = "helios_flow_time_to_match_seconds", "of stories that began within 15 minutes"
    within = GaugeMetricFamily(
        f"{name}_bucket", f"Matched at most so long after the first leg, {of_what}", labels=["flow", "le"]
    )
    number = GaugeMetricFamily(f"{name}_count", f"Matched, {of_what}", labels=["flow"])
    together = GaugeMetricFamily(f"{name}_sum", f"Times to match together, {of_what}", labels=["flow"])
    for flow in sorted({count.flow for count in counts if count.what == "match"}):
        of = {count.value: count for count in counts if count.flow == flow and count.what == "match"}
        total = 0
        for bound in MATCH_BOUNDS:
            total += of[bound].instances if bound in of else 0
            within.add_metric([flow, "+Inf" if bound == "inf" else bound], total)
        number.add_metric([flow], total)
        together.add_metric([flow], sum(count.seconds for count in of.values()))
    yield from (within, number, together)
