"""When a cloud counts as silent: by its own measure, and only while another speaks."""

from collections.abc import Iterable
from datetime import timedelta

import pytest

from helios.model.counts import MinuteCount
from helios.reconciliation.silence import LOOKBACK, deferring_sources, silent
from tests.support.deliveries import NOON


def heard(source, minutes: Iterable[int], stored: int = 60) -> list[MinuteCount]:
    """A cloud that was heard of in these minutes, so many from noon."""
    none = {"duplicate": 0, "contradictory": 0, "rejected": 0}
    return [
        MinuteCount(minute=NOON + timedelta(minutes=minute), source=source, stored=stored, **none) for minute in minutes
    ]


def at(minute: float):
    return NOON + timedelta(minutes=minute)


ALWAYS = heard("aws", range(60)) + heard("gcp", range(60))


@pytest.mark.parametrize(("minute", "expected"), [(30, []), (30.3, []), (30.4, ["azure"]), (59.9, ["azure"])])
def test_a_cloud_that_stops_is_silent_soon(minute, expected):
    assert silent(ALWAYS + heard("azure", range(30)), at(minute)) == expected


def test_two_clouds_that_stop_are_both_silent():
    assert silent(heard("aws", range(60)) + heard("gcp", range(30)) + heard("azure", range(31)), at(40)) == [
        "gcp",
        "azure",
    ]


@pytest.mark.parametrize(
    ("minutes", "stored"),
    [(range(0, 30, 10), 500), (range(30), 1), ([], 0)],
    ids=["once in ten minutes", "once a minute", "never"],
)
def test_a_cloud_that_speaks_rarely_is_not_silent(minutes, stored):
    assert silent(ALWAYS + heard("azure", minutes, stored), at(32)) == []


def test_once_a_minute_is_silent_after_a_while():
    assert silent(ALWAYS + heard("azure", range(30), 1), at(41)) == ["azure"]


@pytest.mark.parametrize("straggling", [0, 5])
def test_when_all_stop_none_is_silent(straggling):
    others = heard("aws", range(30)) + heard("gcp", range(30)) + heard("gcp", range(30, 60), straggling)

    assert silent(others + heard("azure", range(30)), at(45)) == []


def test_a_cloud_that_has_been_gone_for_long_is_not_expected():
    gone = heard("aws", range(300)) + heard("azure", range(30))

    assert silent(gone, at(30) + LOOKBACK - timedelta(minutes=2)) == ["azure"]
    assert silent(gone, at(30) + LOOKBACK) == []


def test_who_speaks_again_is_excused_for_the_grace():
    again = ALWAYS + heard("azure", [*range(30), *range(40, 60)])
    grace = timedelta(seconds=60)

    assert deferring_sources(again, at(39.9), grace) == {"azure"}
    assert silent(again, at(40.1)) == []
    assert deferring_sources(again, at(41), grace) == {"azure"}
    assert deferring_sources(again, at(42), grace) == set()


def test_duplicates_alone_are_silence():
    again = [
        MinuteCount(minute=at(m), source="azure", stored=0, duplicate=9, contradictory=0, rejected=0)
        for m in range(30, 60)
    ]

    assert silent(ALWAYS + heard("azure", range(30)) + again, at(35)) == ["azure"]
