"""The events with which the benchmarks load Helios."""

from collections import Counter

from helios.normalise import normalise
from helios.reconciliation import declaration
from helios.services.reconciler import Reconciler
from scripts.bench.orders import PAYLOAD_BYTES, distinct, of_leg


def test_each_event_has_an_order_of_its_own_and_a_payload_of_one_kilobyte():
    events = [normalise(delivery) for delivery in distinct(100)]

    assert Counter(event.source for event in events) == {"aws": 40, "gcp": 30, "azure": 30}
    assert len({event.order_id for event in events}) == len({event.key for event in events}) == 100
    assert {len(event.data) for event in events} == {PAYLOAD_BYTES}


def test_each_event_is_evidence_of_its_order():
    reconciler = Reconciler(declaration.load())
    events = [normalise(of_leg(leg, ["ORD-1"])[0]) for leg in range(3)]

    ((identity, evidence_set),) = reconciler.evidence(events).items()
    assert identity == ("order", "ORD-1")
    assert {item.leg for item in evidence_set.items} == {"order", "payment", "inventory"}
