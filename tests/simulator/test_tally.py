"""Whether an answer was the expected one, and the counts of a run."""

import pytest
from msgspec.structs import replace

from helios.model.balances import MANIFEST_TYPE
from scripts.simulator.anomalies import Injection, Truth
from scripts.simulator.answers import Answer
from scripts.simulator.tally import MAX_COMPLAINTS, Latencies, Tally
from tests.simulator.support import drain, schedule

ACCEPTED = Answer(outcome="accepted")
DUPLICATE = Answer(outcome="duplicate")
CONTRADICTORY = Answer(outcome="contradictory")
REJECTED = Answer(outcome="rejected", reason="HTTP 400 body is not valid JSON")
FAILED = Answer(outcome="failed", reason="HTTP 404")


@pytest.fixture
def emission():
    return drain(schedule(most_orders=1, error_rate=0))[0]


@pytest.fixture
def tally():
    return Tally(Truth(None), answered_by_helios=True)


def inject(emission, anomaly):
    emission.injection = Injection(
        order_id=emission.order_id, anomaly=anomaly, source=emission.source, type=emission.type
    )


@pytest.mark.parametrize(
    ("answer", "wrong"), [(ACCEPTED, 0), (DUPLICATE, 0), (CONTRADICTORY, 0), (REJECTED, 1), (FAILED, 1)]
)
def test_an_event_must_be_accepted(tally, emission, answer, wrong):
    """A duplicate counts as accepted: after a lost answer, Helios has already stored the event that is sent again."""
    tally.record_final(emission, answer, latency=0.01)

    assert tally.wrong == wrong


@pytest.mark.parametrize(("answer", "wrong"), [(REJECTED, 0), (ACCEPTED, 1), (DUPLICATE, 1), (FAILED, 1)])
def test_poison_must_be_rejected(tally, emission, answer, wrong):
    emission.poison = "NaN"
    inject(emission, "poison")
    tally.record_final(emission, answer, latency=0.01)

    assert tally.wrong == wrong


def test_a_cloud_accepts_poison(emission):
    tally = Tally(Truth(None), answered_by_helios=False)
    emission.poison = "NaN"
    inject(emission, "poison")
    tally.record_final(emission, ACCEPTED, latency=0.01)

    assert tally.wrong == 0


@pytest.mark.parametrize(
    ("anomaly", "answers", "wrong"),
    [
        ("duplicate", [ACCEPTED, DUPLICATE], 0),
        ("duplicate", [DUPLICATE, ACCEPTED], 0),  # the second delivery overtook the first
        ("duplicate", [DUPLICATE, DUPLICATE], 0),  # the first delivery was sent again after a lost answer
        ("duplicate", [ACCEPTED, ACCEPTED], 1),
        ("duplicate", [ACCEPTED, CONTRADICTORY], 1),
        ("contradictory", [ACCEPTED, CONTRADICTORY], 0),
        ("contradictory", [CONTRADICTORY, ACCEPTED], 0),
        ("contradictory", [ACCEPTED, ACCEPTED], 1),
        ("contradictory", [ACCEPTED, DUPLICATE], 1),
    ],
)
def test_a_repeated_event_must_be_recognised(tally, emission, anomaly, answers, wrong):
    inject(emission, anomaly)
    for answer in answers:
        tally.record_final(emission, answer, latency=0.01)

    assert tally.wrong == wrong


def test_an_anomaly_that_did_not_happen_is_not_in_the_truth(emission):
    """If one of its events failed, Helios can't detect the anomaly."""
    truth = Truth(None)
    tally = Tally(truth, answered_by_helios=True)
    inject(emission, "duplicate")
    for answer in (ACCEPTED, FAILED):
        tally.record_final(emission, answer, latency=0.01)

    assert truth.counts["duplicate"] == 0


def test_only_the_first_complaints_are_stored(tally, emission):
    for _ in range(100):
        tally.record_final(emission, FAILED, latency=0.01)

    assert (tally.wrong, len(tally.complaints)) == (100, MAX_COMPLAINTS)


def test_quantiles_are_within_two_percent():
    latencies = Latencies()
    for milliseconds in range(1, 1001):
        latencies.add(milliseconds / 1000)

    assert latencies.quantile(0.5) == pytest.approx(0.5, rel=0.02)
    assert latencies.quantile(0.99) == pytest.approx(0.99, rel=0.02)


def test_without_latencies_there_is_no_quantile():
    assert Latencies().quantile(0.5) is None


def test_manifests_are_no_traffic_but_must_be_accepted(tally, emission):
    manifest = replace(emission, type=MANIFEST_TYPE)
    tally.record_sent(manifest)
    tally.record_final(manifest, ACCEPTED, latency=0.01)
    assert (tally.sent.total(), tally.answered.total(), tally.wrong) == (0, 0, 0)

    tally.record_final(manifest, FAILED, latency=0.01)
    assert tally.wrong == 1


def test_an_event_that_its_cloud_does_not_deliver_is_accepted_and_counted_apart(emission):
    truth = Truth(None)
    tally = Tally(truth, answered_by_helios=False)
    inject(emission, "missing")
    emission.is_undelivered = True
    tally.record_sent(emission)
    tally.record_final(emission, ACCEPTED, latency=0.01)
    total = tally.summary(seconds=1, rate_asked=1, orders=1).total

    assert (total.accepted, total.undelivered, truth.counts["missing"]) == (1, 1, 1)
