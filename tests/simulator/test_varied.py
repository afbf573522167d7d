"""Varied orders: without an anomaly they match, and each anomaly breaks a rule of the flow of its kind."""

from collections import Counter, defaultdict

import pytest
from msgspec import Raw

from helios.adapters.no_dedupe import NullDedupeCache
from helios.model.flows import FlowFilter
from helios.reconciliation.declaration import load
from helios.reconciliation.record import to_instance
from helios.services.ingest import ingest
from helios.services.reconciler import Reconciler
from helios.services.sweep import expire_flows
from local.stack.varied import VARIED_FLOWS
from scripts.prove.compare import STATUS_OF, finding
from scripts.simulator.anomalies import VARIED
from scripts.simulator.options import parse
from tests.fakes.store import MemoryStore
from tests.simulator.support import START, drain, schedule
from tests.support.instances import sent
from tests.support.rule_examples import moment

CHANNELS = {"aws": "eventbridge", "gcp": "pubsub", "azure": "eventgrid"}
LATER = moment(86_400)


def instances(error_rate: float):
    """The flow instance of each of 240 varied orders, and its emissions."""
    reconciler, store = Reconciler(load(str(VARIED_FLOWS))), MemoryStore()
    emissions = drain(schedule(most_orders=240, varied=1.0, error_rate=error_rate))
    by_order = defaultdict(list)
    for emission in emissions:
        by_order[emission.order_id].append(emission)
        data = emission.data
        received_at = moment(emission.due)
        delivery = sent(
            CHANNELS[emission.source],
            emission.type,
            Raw(data),
            id_=emission.id,
            received_at=received_at,
            happened_at=emission.time,
        )
        ingest([delivery], dedupe=NullDedupeCache(), store=store, reconciler=reconciler)
    expire_flows(LATER, store=store, reconciler=reconciler)
    for record in store.flows(FlowFilter(), after=None, limit=500).items:
        yield to_instance(reconciler.evaluators[record.flow], record), by_order[record.key]


def test_without_anomalies_every_varied_order_matches():
    rows = [row for row, _ in instances(0.0)]

    assert Counter(row.flow for row in rows) == dict.fromkeys(VARIED, 40)
    assert {(row.status, len(row.issues)) for row in rows} == {("matched", 0)}


def test_each_anomaly_is_reported_as_one_of_its_kind():
    kinds = set()
    for row, emissions in instances(1.0):
        (injection,) = [emission.injection for emission in emissions if emission.injection]
        kinds.add(injection.anomaly)
        assert {finding(row.flow, row.key, issue.kind) for issue in row.issues} == {(row.key, injection.anomaly)}
        assert row.status == STATUS_OF[injection.anomaly]
    assert kinds == set(VARIED)


def test_varied_orders_change_nothing_about_a_run_without_them():
    assert [emission.id for emission in drain(schedule(most_orders=50))] == [
        emission.id for emission in drain(schedule(most_orders=50, varied=0.0))
    ]
    mixed = drain(schedule(most_orders=300, varied=0.5, error_rate=0.3))
    assert {"OrderPlaced", "ParcelShipped"} <= {emission.type for emission in mixed}
    assert len({emission.order_id for emission in mixed}) == 300
    assert all(emission.time >= START for emission in mixed)


def test_a_varied_order_needs_all_three_clouds(capsys):
    with pytest.raises(SystemExit):
        parse(["--varied", "0.5", "--source", "aws"])
    assert "a varied order has events of all three clouds" in capsys.readouterr().err
