"""A cloud is silent compared with its own rate, and only while another cloud sends events."""

from collections.abc import Iterable
from datetime import timedelta

import pytest

from helios.model.counts import MinuteCount
from helios.reconciliation.silence import LOOKBACK, deferring_sources, silent
from tests.support.deliveries import NOON


def minute_counts(source, minutes: Iterable[int], stored: int = 60) -> list[MinuteCount]:
    """Counts of a cloud that sent events in these minutes after noon."""
    none = {"duplicate": 0, "contradictory": 0, "rejected": 0}
    return [
        MinuteCount(minute=NOON + timedelta(minutes=minute), source=source, stored=stored, **none) for minute in minutes
    ]


def at(minute: float):
    return NOON + timedelta(minutes=minute)


TWO_ACTIVE_CLOUDS = minute_counts("aws", range(60)) + minute_counts("gcp", range(60))


@pytest.mark.parametrize(("minute", "expected"), [(30, []), (30.3, []), (30.4, ["azure"]), (59.9, ["azure"])])
def test_a_cloud_that_stops_is_silent_within_half_a_minute(minute, expected):
    assert silent(TWO_ACTIVE_CLOUDS + minute_counts("azure", range(30)), at(minute)) == expected


def test_two_clouds_that_stop_are_both_silent():
    assert silent(
        minute_counts("aws", range(60)) + minute_counts("gcp", range(30)) + minute_counts("azure", range(31)), at(40)
    ) == [
        "gcp",
        "azure",
    ]


@pytest.mark.parametrize(
    ("minutes", "stored"),
    [(range(0, 30, 10), 500), (range(30), 1), ([], 0)],
    ids=["once in ten minutes", "once a minute", "never"],
)
def test_a_cloud_that_sends_rarely_is_not_silent(minutes, stored):
    assert silent(TWO_ACTIVE_CLOUDS + minute_counts("azure", minutes, stored), at(32)) == []


def test_a_cloud_that_sent_once_a_minute_is_silent_after_ten_minutes():
    assert silent(TWO_ACTIVE_CLOUDS + minute_counts("azure", range(30), 1), at(41)) == ["azure"]


@pytest.mark.parametrize("stragglers", [0, 5])
def test_no_cloud_is_silent_when_all_stop(stragglers):
    others = (
        minute_counts("aws", range(30))
        + minute_counts("gcp", range(30))
        + minute_counts("gcp", range(30, 60), stragglers)
    )

    assert silent(others + minute_counts("azure", range(30)), at(45)) == []


def test_a_cloud_that_stopped_long_ago_is_not_expected():
    counts = minute_counts("aws", range(300)) + minute_counts("azure", range(30))

    assert silent(counts, at(30) + LOOKBACK - timedelta(minutes=2)) == ["azure"]
    assert silent(counts, at(30) + LOOKBACK) == []


def test_a_cloud_that_resumes_is_excused_for_the_grace_period():
    counts = TWO_ACTIVE_CLOUDS + minute_counts("azure", [*range(30), *range(40, 60)])
    grace = timedelta(seconds=60)

    assert deferring_sources(counts, at(39.9), grace) == {"azure"}
    assert silent(counts, at(40.1)) == []
    assert deferring_sources(counts, at(41), grace) == {"azure"}
    assert deferring_sources(counts, at(42), grace) == set()


def test_a_cloud_that_sends_only_duplicates_is_silent():
    duplicates = [
        MinuteCount(minute=at(m), source="azure", stored=0, duplicate=9, contradictory=0, rejected=0)
        for m in range(30, 60)
    ]

    assert silent(TWO_ACTIVE_CLOUDS + minute_counts("azure", range(30)) + duplicates, at(35)) == ["azure"]
