"""The manifests of the simulator: they say what was published, lost events included, and nothing else."""

from collections import Counter
from datetime import timedelta

import msgspec
import pytest

from helios.model.balances import MANIFEST_TYPE, ManifestData
from scripts.simulator.anomalies import Truth
from scripts.simulator.manifests import ALL, Manifests
from scripts.simulator.plan import Emission
from scripts.simulator.shop import SOURCES
from tests.simulator.support import START, drain, schedule

MINUTE = timedelta(minutes=1)


def manifests(*, via: str = "cloud") -> Manifests:
    return Manifests(SOURCES, Truth(None), ids_of_eventbridge=via == "cloud")


def counts(emissions: list[Emission], name: str = "published") -> Counter[tuple[str, str, str]]:
    """What manifests declare, by source, type and minute."""
    found: Counter[tuple[str, str, str]] = Counter()
    for emission in emissions:
        data = msgspec.json.decode(emission.data, type=ManifestData)
        for each in data.events:
            found[emission.source, each.type, data.minute] = getattr(each, name)
    return +found


def event(source: str = "gcp", second: float = 0, **fields) -> Emission:
    return Emission(
        source=source,
        type="Paid",
        id="1",
        order_id="ORD-1",
        data=b"{}",
        due=second,
        time=START + timedelta(seconds=second),
        **fields,
    )


def test_a_manifest_follows_each_minute_and_each_change_of_its_counts():
    declared = manifests()
    declared.count(event(second=59.9))
    declared.count(event(second=60))
    assert declared.due(START + MINUTE, offset=60) == []

    (first,) = declared.due(START + MINUTE + timedelta(seconds=2), offset=62)
    assert (first.source, first.type) == ("gcp", MANIFEST_TYPE)
    assert counts([first]) == {("gcp", "Paid", "2025-11-26T12:00:00Z"): 1}

    declared.count(event(second=10))
    (second,) = declared.due(START + MINUTE + timedelta(seconds=3), offset=63)
    assert counts([second]) == {("gcp", "Paid", "2025-11-26T12:00:00Z"): 2}
    data = [msgspec.json.decode(each.data, type=ManifestData) for each in (first, second)]
    assert (data[0].publisher, data[0].revision, data[1].revision) == (data[1].publisher, 1, 2)
    assert len(declared.due(ALL, offset=70)) == 1


@pytest.mark.parametrize(
    ("source", "via", "repeated"), [("gcp", "cloud", 1), ("aws", "cloud", 0), ("aws", "webhook", 1)]
)
def test_an_event_that_is_published_again_with_its_id_is_a_repetition(source, via, repeated):
    declared = manifests(via=via)
    first = event(source)
    declared.count(first)
    declared.count(event(source, original=first))
    emissions = declared.due(ALL, offset=0)

    assert sum(counts(emissions).values()) == 2
    assert sum(counts(emissions, "repeated").values()) == repeated


def test_providers_and_manifests_themselves_are_not_counted():
    declared = manifests()
    declared.count(event("stripe"))
    declared.count(event())
    (manifest,) = declared.due(ALL, offset=0)
    declared.count(manifest)

    assert declared.due(ALL, offset=0) == []


def test_lost_orders_are_planned_counted_and_recorded_and_none_of_their_events_is_sent():
    truth = Truth(None)
    declared = Manifests(SOURCES, truth, ids_of_eventbridge=True)
    emissions = drain(schedule(most_orders=300, error_rate=1.0, lost=True))
    lost = [emission for emission in emissions if emission.is_lost]
    for emission in lost:
        assert emission.injection
        declared.lose(emission, emission.injection)

    orders = {emission.order_id for emission in lost}
    assert len(orders) == truth.counts["lost"] > 10
    assert not orders & {emission.order_id for emission in emissions if not emission.is_lost}
    assert sum(counts(declared.due(ALL, offset=0)).values()) == len(lost) >= 3 * len(orders)


def test_lost_events_take_no_slot_so_that_a_run_sends_as_many_events_as_it_should():
    emissions = drain(schedule(most_events=500, error_rate=0.5, lost=True))

    sent = [emission for emission in emissions if not emission.is_lost]
    assert len(emissions) > len(sent) == 500
