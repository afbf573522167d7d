"""The proof reports every difference between the truth and what Helios reports."""

from datetime import datetime, timedelta

import pytest

from helios.normalise import normalise
from helios.reconciliation.evaluate import FlowEvaluator
from helios.reconciliation.evidence import EvidenceExtractor, EvidenceSet, merge
from scripts.prove.compare import Bucket, Finding, compare
from scripts.prove.run import RESTARTS, Unproven, require_coverage
from scripts.simulator.anomalies import ANOMALIES, Injection, LostEvent
from tests.support.deliveries import NOON
from tests.support.instances import ORDER, leg

LONG_AFTER = NOON + timedelta(hours=1)


def row(key: str, *deliveries):
    extracted = [keyed for delivery in deliveries for keyed in EvidenceExtractor([ORDER]).extract(normalise(delivery))]
    return FlowEvaluator(ORDER).to_instance(
        key, merge([EvidenceSet(items=[keyed.evidence]) for keyed in extracted]), now=LONG_AFTER
    )


GOOD = row("ORD-1", leg("order"), leg("payment"), leg("inventory"))
MISSING = row("ORD-2", leg("order", "ORD-2"), leg("payment", "ORD-2"))
TRUTH = [Injection(order_id="ORD-2", anomaly="missing", source="azure", type="InventoryReserved")]


def compared(truth, flows, *, poisoned=(), orders=2):
    reported_at: dict[Finding, datetime] = {("ORD-2", "missing"): NOON + timedelta(seconds=92)}
    return compare(truth, flows, poisoned, orders=orders, reported_at=reported_at)


def test_a_perfect_run_has_full_scores():
    comparison = compared(TRUTH, [GOOD, MISSING])
    score = comparison.scores[0]

    assert comparison.differences == []
    assert (score.kind, score.precision, score.recall, score.seconds) == ("missing", 1.0, 1.0, 92.0)
    assert all(score.perfect for score in comparison.scores)


def test_an_anomaly_without_a_report_is_a_difference():
    truth = [*TRUTH, Injection(order_id="ORD-1", anomaly="duplicate", source="aws", type="OrderPlaced")]
    comparison = compared(truth, [GOOD, MISSING])

    assert comparison.differences == ["ORD-1: duplicate was not reported"]
    assert [(score.kind, score.recall) for score in comparison.scores if not score.perfect] == [("duplicate", 0.0)]


def test_a_report_without_an_anomaly_is_a_difference():
    comparison = compared([], [GOOD, MISSING])

    assert "ORD-2: missing was reported, but did not happen" in comparison.differences
    assert "ORD-2: is incomplete, should be matched" in comparison.differences
    assert comparison.scores[0].precision == 0.0


def test_a_poison_is_a_dead_letter_and_a_missing_leg():
    poison = [Injection(order_id="ORD-2", anomaly="poison", source="azure", type="InventoryReserved")]

    assert compared(poison, [GOOD, MISSING], poisoned=["ORD-2"]).differences == []
    assert compared(poison, [GOOD, MISSING]).differences == ["ORD-2: poison was not reported"]


def test_a_duplicate_that_may_have_happened_may_be_reported_or_not():
    """The answer was lost, so the event was sent again; the order still has its planned anomaly."""
    uncertain = [
        Injection(order_id=order, anomaly="duplicate", source="aws", type="OrderPlaced", details={"certain": False})
        for order in ("ORD-1", "ORD-2")
    ]
    twice = row("ORD-1", leg("order"), leg("order", id_="again"), leg("payment"), leg("inventory"))

    for first in (GOOD, twice):
        comparison = compared([*TRUTH, *uncertain], [first, MISSING])
        assert (comparison.differences, [score for score in comparison.scores if not score.perfect]) == ([], [])


def test_an_unknown_order_is_a_difference():
    assert compared(TRUTH, [GOOD, MISSING], orders=3).differences == [
        "3 orders were placed and not lost, but Helios has 2"
    ]


LOST_AT = NOON + timedelta(seconds=40)
LOST_EVENTS = [
    LostEvent(source, type_, LOST_AT)
    for source, type_ in (("aws", "OrderPlaced"), ("gcp", "PaymentProcessed"), ("azure", "InventoryReserved"))
]
LOST_ORDER = Injection(order_id="ORD-3", anomaly="lost", source="aws", type="OrderPlaced", lost=LOST_EVENTS)
MISSING_EVENTS = {Bucket(NOON, event.source, event.type): 1 for event in LOST_EVENTS}


def lost(missing, *, seconds: float = 120.0):
    """The comparison of a run with a lost order, of which balances have found these events missing."""
    missing_at = dict.fromkeys(missing, NOON + timedelta(seconds=seconds))
    return compare(
        [*TRUTH, LOST_ORDER], [GOOD, MISSING], (), orders=3, reported_at={}, missing=missing, missing_at=missing_at
    )


def test_an_order_that_is_lost_in_every_cloud_is_a_missing_event_of_each():
    comparison = lost(MISSING_EVENTS)
    score = comparison.scores[-1]

    assert comparison.differences == []
    assert (score.kind, score.injected, score.precision, score.recall, score.seconds) == ("lost", 3, 1.0, 1.0, 120.0)


def test_a_loss_that_is_not_found_or_found_late_or_did_not_happen_is_a_difference():
    other = Bucket(NOON, "azure", "OrderShipped")
    payment = Bucket(NOON, "gcp", "PaymentProcessed")

    assert lost({**MISSING_EVENTS, payment: 0}).differences == [
        "gcp PaymentProcessed of 12:00: 1 lost, but 0 are missing"
    ]
    assert lost({**MISSING_EVENTS, other: 2}).differences == ["azure OrderShipped of 12:00: 0 lost, but 2 are missing"]
    assert len(lost(MISSING_EVENTS, seconds=181).differences) == 3


ONE_OF_EACH = [Injection(order_id=kind, anomaly=kind, source="aws", type="OrderPlaced") for kind in ANOMALIES]


def test_a_run_without_all_of_its_restarts_proves_nothing():
    require_coverage(ONE_OF_EACH, RESTARTS)

    with pytest.raises(Unproven, match="ended after 2 of 3 restarts"):
        require_coverage(ONE_OF_EACH, RESTARTS - 1)


@pytest.mark.parametrize("kind", ANOMALIES)
def test_a_kind_that_never_happened_proves_nothing(kind):
    with pytest.raises(Unproven, match=f"no order had {kind}: raise"):
        require_coverage([injection for injection in ONE_OF_EACH if injection.anomaly != kind], RESTARTS)
