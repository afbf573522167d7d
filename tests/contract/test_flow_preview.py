"""The preview of a version on every store: it says what a recompute would do, and how much it has compared."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from helios.adapters.no_dedupe import NullDedupeCache
from helios.model.events import EventFilter
from helios.reconciliation.leg import Leg
from helios.reconciliation.rule import Rule
from helios.services import flow_preview
from helios.services.flow_preview import PreviewSources, preview_flow
from helios.services.ingest import ingest
from helios.services.recompute import recompute
from helios.services.reconciler import Reconciler
from helios.services.sweep import expire_flows
from tests.support.deliveries import NOON
from tests.support.instances import ORDER, leg, sent

NOW = NOON + timedelta(hours=1)
SINCE = NOW - timedelta(days=30)
RECONCILER = Reconciler([ORDER])

LENIENT = replace(ORDER, rule=(Rule(equal=("order.amount", "payment.amount"), within="100"),))
OTHER_FIELD = replace(ORDER, rule=(Rule(equal=("order.size", "payment.size")),))
FOUR_LEGS = replace(ORDER, leg=(*ORDER.leg, Leg(name="parcel", type="ParcelHandedOver")))
TWO_LEGS = replace(ORDER, leg=ORDER.leg[:2], rule=ORDER.rule[:1])


@pytest.fixture
def orders(store):
    """Five orders that match, one that differs, one that lacks a leg, and one whose sizes differ."""
    deliveries = [leg(name, f"ORD-{number}") for number in range(5) for name in ("order", "payment", "inventory")]
    deliveries += [leg("order", "DIFFERS"), leg("payment", "DIFFERS", amount=12.0), leg("inventory", "DIFFERS")]
    deliveries += [leg("order", "LACKS"), leg("payment", "LACKS")]
    deliveries += [leg("order", "SIZES", size=1), leg("payment", "SIZES", size=2), leg("inventory", "SIZES")]
    ingest(deliveries, dedupe=NullDedupeCache(), store=store, reconciler=RECONCILER)
    expire_flows(NOW, store=store, reconciler=RECONCILER)
    return store


def of(store, flow, *, seconds=60.0):
    return preview_flow(
        flow, RECONCILER, read_from=PreviewSources(store, store, store), since=SINCE, now=NOW, seconds=seconds
    )


def changes(preview):
    return {(change.recorded, change.previewed): change.compared for change in preview.changes}


def test_the_rules_in_force_change_nothing(orders):
    preview = of(orders, ORDER)
    assert preview.changes == preview.examples == []
    assert (preview.method, preview.problems.instances, preview.others.instances) == ("sample", 2, 6)
    assert (preview.problems.compared, preview.others.compared) == (2, 6)


def test_other_rules_change_the_verdicts_that_a_recompute_changes(orders):
    for flow in (LENIENT, OTHER_FIELD, replace(ORDER, grace_seconds=86_400.0)):
        preview = of(orders, flow)
        recomputed = recompute(
            EventFilter(), NOW, flow=None, reader=orders, store=orders, reconciler=Reconciler([flow]), dry_run=True
        )
        expected = {key: (old, new) for (_, key), (old, new) in recomputed.changes.items() if old != new}
        assert {example.key: (example.recorded, example.previewed) for example in preview.examples} == expected


def test_an_example_has_the_issues_that_the_instance_would_have(orders):
    sizes = next(each for each in of(orders, OTHER_FIELD).examples if each.key == "SIZES")
    assert (sizes.recorded, sizes.previewed) == ("matched", "mismatched")
    assert [issue.kind for issue in sizes.issues] == ["mismatch"]


def test_a_sample_says_how_many_of_how_many_were_compared_and_estimates_the_rest(orders, monkeypatch):
    monkeypatch.setattr(flow_preview, "CHUNK", 3)
    stricter = replace(ORDER, rule=(Rule(equal=("order.amount", "payment.nothing")),))

    preview = of(orders, stricter, seconds=0)

    assert (preview.others.instances, preview.problems.instances) == (6, 2)
    assert 1 <= preview.others.compared <= 3
    (change,) = (change for change in preview.changes if change.recorded == "matched")
    assert change.compared == preview.others.compared
    assert change.estimated == 6


@pytest.mark.parametrize("flow", [FOUR_LEGS, TWO_LEGS])
def test_a_version_with_other_legs_is_compared_on_the_newest_events(orders, flow):
    parcel = sent("eventgrid", "ParcelHandedOver", {"order_id": "ORD-0"}, id_="p", received_at=NOON)
    ingest([parcel], dedupe=NullDedupeCache(), store=orders, reconciler=RECONCILER)

    preview = of(orders, flow)

    assert (preview.method, preview.covered_since) == ("newest", SINCE)
    # Of six orders that match, ORD-0 alone has the new leg.
    expected = {("matched", "incomplete"): 5} if flow is FOUR_LEGS else {("incomplete", "matched"): 1}
    assert changes(preview) == expected


def test_a_new_flow_shows_the_instances_that_there_would_be(orders):
    preview = of(orders, replace(ORDER, name="other"))
    assert changes(preview) == {("none", "matched"): 6, ("none", "mismatched"): 1, ("none", "incomplete"): 1}


def test_the_newest_events_say_from_when_on_they_cover_the_period(orders, monkeypatch):
    monkeypatch.setattr(flow_preview, "PAGE", 4)
    late = leg("order", "LATE", after=1800)
    ingest([late], dedupe=NullDedupeCache(), store=orders, reconciler=RECONCILER)
    expire_flows(NOW, store=orders, reconciler=RECONCILER)

    preview = of(orders, FOUR_LEGS, seconds=0)

    assert preview.covered_since > SINCE
    assert preview.since == SINCE


def test_the_time_limits_the_instances_of_the_newest_events_too(orders, monkeypatch):
    monkeypatch.setattr(flow_preview, "PAGE", 2)
    monkeypatch.setattr(flow_preview, "READING_SHARE", 1e9)  # all events are read
    late = [leg("order", f"LATE-{after}", id_=str(after), after=after) for after in (1800, 1860, 1920)]
    ingest(late, dedupe=NullDedupeCache(), store=orders, reconciler=RECONCILER)
    expire_flows(NOW, store=orders, reconciler=RECONCILER)

    preview = of(orders, FOUR_LEGS, seconds=1e-6)

    assert preview.covered_since == NOON + timedelta(seconds=1860, microseconds=1)
    assert (preview.problems.instances, preview.others.instances) == (1, 0)
