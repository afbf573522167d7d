"""The demo's last word: nothing that a cloud has taken is missing without a word."""

import pytest

from local.demo.summary import Account, Sent, TrafficSummary, lost, since, tell


def traffic(**accepted: int) -> TrafficSummary:
    sources = {source: Sent(sent=count, accepted=count, failed=0) for source, count in accepted.items()}
    total = sum(accepted.values())
    return TrafficSummary(total=Sent(sent=total, accepted=total, failed=0), sources=sources)


@pytest.mark.parametrize(
    ("came", "missing"),
    [
        ({"aws": Account(stored=4), "gcp": Account(stored=3)}, {}),
        ({"aws": Account(stored=3, rejected=1), "gcp": Account(stored=1, duplicate=1, contradictory=1)}, {}),
        ({"gcp": Account(stored=3)}, {"aws": 4}),
        ({"aws": Account(stored=2), "gcp": Account(stored=3, duplicate=9)}, {"aws": 2}),
        ({"aws": Account(stored=2, duplicate=9), "gcp": Account(stored=3)}, {"aws": 2}),
        ({"aws": Account(stored=9), "gcp": Account(stored=2)}, {"gcp": 1}),
    ],
    ids=[
        "all",
        "not all as events",
        "none of one",
        "others' duplicates",
        "deliveries that AWS repeats",
        "others' events",
    ],
)
def test_what_one_cloud_lost_nothing_else_makes_up_for(came, missing):
    assert lost(traffic(aws=4, gcp=3), came) == missing


def test_only_what_came_meanwhile_counts():
    before = {"aws": Account(stored=10, rejected=1)}
    now = {"aws": Account(stored=12, rejected=1), "gcp": Account(stored=1)}

    assert since(before, now) == {"aws": Account(stored=2), "gcp": Account(stored=1)}


def test_a_loss_is_told_with_its_cloud_and_fails_the_run():
    text, good = tell(traffic(aws=4, gcp=3), {"aws": Account(stored=1), "gcp": Account(stored=3)})

    assert not good
    assert [line.split() for line in text.splitlines()[-2:]] == [["3", "lost"], ["3", "that", "aws", "had", "taken"]]
