"""The demo's summary reports every event that a cloud accepted and Helios never received."""

import pytest

from local.aws.deployer import VISIBILITY_SECONDS
from local.demo import summary
from local.demo.summary import Counts, Sent, TrafficSummary, lost, report, since, wait_for_arrivals


def traffic(**accepted: int) -> TrafficSummary:
    sources = {source: Sent(sent=count, accepted=count, failed=0) for source, count in accepted.items()}
    total = sum(accepted.values())
    return TrafficSummary(total=Sent(sent=total, accepted=total, failed=0), sources=sources)


@pytest.mark.parametrize(
    ("arrived", "missing"),
    [
        ({"aws": Counts(stored=4), "gcp": Counts(stored=3)}, {}),
        ({"aws": Counts(stored=3, rejected=1), "gcp": Counts(stored=1, duplicate=1, contradictory=1)}, {}),
        ({"gcp": Counts(stored=3)}, {"aws": 4}),
        ({"aws": Counts(stored=2), "gcp": Counts(stored=3, duplicate=9)}, {"aws": 2}),
        ({"aws": Counts(stored=2, duplicate=9), "gcp": Counts(stored=3)}, {"aws": 2}),
        ({"aws": Counts(stored=9), "gcp": Counts(stored=2)}, {"gcp": 1}),
    ],
    ids=[
        "all",
        "some not stored",
        "none of one cloud",
        "duplicates of another cloud",
        "deliveries that AWS repeats",
        "events of another cloud",
    ],
)
def test_nothing_makes_up_for_the_lost_events_of_a_cloud(arrived, missing):
    assert lost(traffic(aws=4, gcp=3), arrived) == missing


def test_only_deliveries_since_the_earlier_counts_count():
    before = {"aws": Counts(stored=10, rejected=1)}
    now = {"aws": Counts(stored=12, rejected=1), "gcp": Counts(stored=1)}

    assert since(before, now) == {"aws": Counts(stored=2), "gcp": Counts(stored=1)}


class Clock:
    """A clock that only ``sleep`` moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(summary, "time", clock)
    return clock


def test_an_event_that_sqs_redelivers_is_not_lost(clock):
    said: list[str] = []

    def fetch() -> dict[str, Counts]:
        return {"aws": Counts(stored=4 if clock.now > VISIBILITY_SECONDS else 3)}

    assert wait_for_arrivals(fetch, {}, traffic(aws=4), said.append) == {"aws": Counts(stored=4)}
    assert said == ["Waiting for what has not arrived (1): a cloud may deliver again after a minute."]


def test_the_wait_for_lost_events_ends(clock):
    arrived, said = {"aws": Counts(stored=3)}, list[str]()

    assert wait_for_arrivals(lambda: arrived, {}, traffic(aws=4), said.append) == arrived
    assert VISIBILITY_SECONDS < clock.now < 2 * VISIBILITY_SECONDS


def test_a_loss_is_reported_with_its_cloud_and_fails_the_run():
    text, complete = report(traffic(aws=4, gcp=3), {"aws": Counts(stored=1), "gcp": Counts(stored=3)})

    assert not complete
    total, by_cloud = text.splitlines()[-2:]
    assert total.split()[:2] == ["3", "lost"]
    assert by_cloud.split() == ["3", "of", "them", "accepted", "by", "aws"]


def test_an_event_that_its_cloud_holds_is_not_lost_and_makes_up_for_no_loss_once_it_is_brought_back():
    sent = {"aws": Sent(sent=4, accepted=4, undelivered=1, failed=0)}
    run = TrafficSummary(total=sent["aws"], sources=sent)
    text, complete = report(run, {"aws": Counts(stored=3)})

    assert complete
    assert "1  undelivered" in text
    assert lost(run, {"aws": Counts(stored=4, brought_back=1)}) == {}
    assert lost(run, {"aws": Counts(stored=3, brought_back=1)}) == {"aws": 1}
