"""The alerting rules and the dashboards of Grafana use only metrics and labels that Helios serves."""

import math
import re
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
import yaml
from msgspec.structs import replace

from helios.adapters.no_dedupe import NullDedupeCache
from helios.services.ingest import ingest
from helios.services.reconciler import Reconciler
from helios.services.relay import relay
from tests.fakes.incidents import MemoryIncidents
from tests.fakes.store import MemoryOutbox, MemoryStore
from tests.support import grafana
from tests.support.deliveries import NOON
from tests.support.envelopes import cloudevent
from tests.support.instances import ORDER, leg
from tests.support.services import TRUST_LOOPBACK, client_of, in_memory

ALERTS = Path(__file__).parents[2] / "infra/prometheus/alerts.yml"
RULES = [
    pytest.param(rule["expr"], id=rule["alert"])
    for group in yaml.safe_load(ALERTS.read_text())["groups"]
    for rule in group["rules"]
]
PANELS = [pytest.param(query.expression, id=query.name) for query in grafana.queries()]
OF_PROMETHEUS = {"job", "instance"}
"""The labels that Prometheus adds when it scrapes."""


class NullBroadcaster:
    """A broadcaster without an audience."""

    def client_count(self) -> int:
        return 0

    def broadcast(self, message: bytes) -> None:
        """Do nothing."""


@pytest.fixture(scope="module")
def metrics() -> str:
    """The API's metrics after one flow instance has matched and another has not."""
    store = MemoryStore()
    reconciler = Reconciler([ORDER])
    ago = (datetime.now(UTC) - NOON).total_seconds() - 60
    legs = [leg(name, after=ago + delay) for delay, name in enumerate(("order", "payment", "inventory"))]
    broken = [leg("order", "ORD-2", after=ago), leg("payment", "ORD-2", amount=1, after=ago)]
    ingest([*legs, *broken], dedupe=NullDedupeCache(), store=store, reconciler=reconciler)
    relay("api-gateway", outbox=MemoryOutbox(store), broadcaster=NullBroadcaster())
    incidents = MemoryIncidents(store)
    incidents.failing["ops"] = 1
    services = replace(in_memory(store, replace(TRUST_LOOPBACK, archive_url="/unused")), incidents=incidents)
    with client_of(services) as client:
        client.post("/api/v1/webhooks/cloudevents", json=cloudevent())
        return client.get("/metrics").text


@pytest.mark.parametrize("expression", [*RULES, *PANELS])
def test_every_metric_of_a_rule_or_a_panel_is_served_with_its_labels(expression, metrics):
    """Each metric has the labels by which it is selected; those of an aggregation exist in some metric of it."""
    names = re.findall(r"\b((?:helios|process)_\w+)(?:\{([^}]*)\})?", expression)
    assert names or "up{" in expression
    all_served = []
    for name, labels in names:
        served = re.findall(rf"(?m)^{name}(\{{[^}}]*\}})? ", metrics)
        assert served, name
        for label in set(re.findall(r"(\w+)\s*!?=", labels)) - OF_PROMETHEUS:
            assert all(f"{label}=" in labels_served for labels_served in served), (name, label)
        all_served += served
    for labels in re.findall(r"\bby \(([^)]*)\)", expression):
        for label in labels.split(", "):
            assert any(f"{label}=" in labels_served for labels_served in all_served), label


def test_the_panels_of_a_dashboard_do_not_overlap():
    for dashboard in grafana.dashboards().values():
        panels = dashboard["panels"]
        cells = [
            (x, y)
            for panel in panels
            for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
            for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
        ]
        assert len(cells) == len(set(cells))
        assert max(x for x, _ in cells) < 24  # Grafana's grid
        assert len({panel["id"] for panel in panels}) == len(panels)


def test_the_lag_of_every_consumer_is_served():
    """Kafka's sink is expected where brokers are set, even if it never ran. A relay that fails has a lag."""
    store = MemoryStore()
    relay("api-gateway", outbox=MemoryOutbox(store), broadcaster=NullBroadcaster())
    ingest([leg("order")], dedupe=NullDedupeCache(), store=store, reconciler=Reconciler([ORDER]))
    settings = msgspec.structs.replace(TRUST_LOOPBACK, kafka_brokers="127.0.0.1:9")
    with client_of(in_memory(store, settings)) as client:
        served = client.get("/metrics").text

    def value(name: str, consumer: str) -> float:
        return float(re.findall(rf'(?m)^helios_{name}{{consumer="{consumer}"}} (.*)', served)[0])

    for consumer in ("api-gateway", "kafka"):
        assert value("relay_lag_frames", consumer) > 0
        assert value("relay_lag_seconds", consumer) > 0
        assert value("parked_events", consumer) == 0
    assert 0 < value("consumer_silent_seconds", "api-gateway") < value("consumer_silent_seconds", "kafka") == math.inf


def test_flow_instances_are_served_by_verdict_issue_and_time(metrics):
    assert 'helios_flows{flow="order",status="matched"} 1.0' in metrics
    assert 'helios_flows{flow="order",status="mismatched"} 1.0' in metrics
    assert 'helios_flow_issues{flow="order",kind="mismatch"} 1.0' in metrics
    assert 'helios_flow_match_rate{flow="order"} 0.5' in metrics
    assert 'helios_flow_time_to_match_seconds_bucket{flow="order",le="1"} 0.0' in metrics
    assert 'helios_flow_time_to_match_seconds_bucket{flow="order",le="2.5"} 1.0' in metrics
    assert 'helios_flow_time_to_match_seconds_gsum{flow="order"} 2.0' in metrics
    assert 'helios_flow_time_to_match_seconds_gcount{flow="order"} 1.0' in metrics


def test_metrics_of_recent_flows_cover_the_last_minutes_only():
    """Yesterday's mismatches raise no alert today."""
    store = MemoryStore()
    ago = (datetime.now(UTC) - NOON).total_seconds()
    broken = [leg("order", after=ago - 3600), leg("payment", amount=1, after=ago - 3600)]
    matching = [leg(name, "ORD-2", after=ago - 60) for name in ("order", "payment", "inventory")]
    ingest([*broken, *matching], dedupe=NullDedupeCache(), store=store, reconciler=Reconciler([ORDER]))
    with client_of(in_memory(store)) as client:
        served = client.get("/metrics").text

    assert 'helios_flows{flow="order",status="mismatched"} 1.0' in served
    assert 'helios_recent_flows{flow="order",status="matched"} 1.0' in served
    assert 'helios_recent_flows{flow="order",status="mismatched"}' not in served
    assert 'helios_flow_amount_at_risk{currency="EUR",flow="order"} 10.0' in served


def test_a_silent_cloud_is_served_by_name():
    store = MemoryStore()
    now = (datetime.now(UTC) - NOON).total_seconds()
    minutes_by_leg = [("order", 15), ("payment", 15), ("inventory", 5)]
    legs = [
        leg(name, f"ORD-{minute}-{number}", after=now - 900 + 60 * minute)
        for name, minutes in minutes_by_leg
        for minute in range(minutes)
        for number in range(10)
    ]
    ingest(legs, dedupe=NullDedupeCache(), store=store, reconciler=Reconciler([ORDER]))
    with client_of(in_memory(store)) as client:
        served = client.get("/metrics").text
        assert client.get("/api/v1/flows/summary").json()["silent"] == ["azure"]

    for source, value in (("aws", 0.0), ("gcp", 0.0), ("azure", 1.0)):
        assert f'helios_source_silent{{source="{source}"}} {value}' in served
