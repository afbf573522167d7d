"""The limits of HELIOS_RETENTION."""

from datetime import timedelta

import pytest

from helios.errors import ConfigurationError
from helios.model.retention import Retention, parse


def test_without_limits_everything_is_stored_for_ever():
    assert parse("") == Retention()


def test_limits_are_days_by_topic():
    limits = parse("events=90 ids=400  counts=30")

    assert limits == Retention(events=timedelta(90), ids=timedelta(400), counts=timedelta(30))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("event=90", "'event' is not one of events, unarchived_events, ids,"),
        ("events", "events needs a number of days from 1 to 36500, not ''"),
        ("events=0", "not '0'"),
        ("events=-1", "not '-1'"),
        ("events=9.5", "not '9.5'"),
        ("events=²", "not '²'"),
        ("events=40000", "not '40000'"),
        ("events=90 events=91", "events is named twice"),
        ("events=90 unarchived_events=90", "exclude each other"),
        ("events=6", "events must be at least 7"),
        ("unarchived_events=6", "unarchived_events must be at least 7"),
        ("ids=400", "ids must not be less than unarchived_events"),
        ("events=90 ids=89", "ids must not be less than events"),
    ],
)
def test_a_wrong_limit_is_refused_with_its_reason(text, reason):
    with pytest.raises(ConfigurationError, match="HELIOS_RETENTION: ") as refused:
        parse(text)

    assert reason in str(refused.value)
