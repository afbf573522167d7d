"""Schedules: when the next run is due."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.emulators.azure_host import ncrontab


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "now", "due"),
    [
        ("0 */5 * * * *", "2025-11-26 12:01:00", "2025-11-26 12:05:00"),
        ("0 */5 * * * *", "2025-11-26 12:05:00", "2025-11-26 12:10:00"),
        ("*/5 * * * *", "2025-11-26 12:01:30", "2025-11-26 12:05:00"),
        ("0 0 * * * *", "2025-11-26 23:00:00", "2025-11-27 00:00:00"),
        ("0 0 9-17 * * *", "2025-11-26 17:30:00", "2025-11-27 09:00:00"),
        ("0 30 9 * * 1-5", "2025-11-28 10:00:00", "2025-12-01 09:30:00"),
        ("0 30 9 * * MON-FRI", "2025-11-28 10:00:00", "2025-12-01 09:30:00"),
        ("0 30 9 * Jan Mon", "2025-11-26 12:00:00", "2026-01-05 09:30:00"),
        ("0 0 0 13 * Fri", "2025-11-26 12:00:00", "2026-02-13 00:00:00"),
        ("0 0 0 29 2 *", "2096-03-01 00:00:00", "2104-02-29 00:00:00"),
        ("0 5/20 * * * *", "2025-11-26 12:00:00", "2025-11-26 12:05:00"),
        ("0 5/20 * * * *", "2025-11-26 12:45:00", "2025-11-26 13:05:00"),
        ("10,40 * * * * *", "2025-11-26 12:00:10.5", "2025-11-26 12:00:40"),
        ("59 59 23 31 12 *", "2025-12-31 23:59:59", "2026-12-31 23:59:59"),
        ("01:30:00", "2025-11-26 12:00:00", "2025-11-26 13:30:00"),
        ("2.00:00:00", "2025-11-26 12:00:00", "2025-11-28 12:00:00"),
    ],
)
def test_the_next_run(expression: str, now: str, due: str):
    assert ncrontab.parse(expression).after(at(now)) == at(due)


@pytest.mark.parametrize(
    "expression",
    [
        *("", "* * * *", "* * * * * * *", "60 * * * * *", "* * 24 * * *", "* * * 0 * *", "* * * * 13 *", "* * * * * 7"),
        *(
            "*/0 * * * * *",
            "5-3 * * * * *",
            "x * * * * *",
            "* * * * Foo *",
            "1,,2 * * * * *",
            "00:00:00",
            "? * * * * *",
        ),
    ],
)
def test_what_is_no_schedule_is_refused(expression: str):
    with pytest.raises(ValueError, match=r"schedule|second|hour|day|month|minute"):
        ncrontab.parse(expression)


@given(
    st.sampled_from(["*", "0", "*/7", "15-45", "3,9"]),
    st.sampled_from(["*", "0", "*/7", "15-45", "59"]),
    st.sampled_from(["*", "0", "*/5", "22-23"]),
    st.sampled_from(["*", "1", "28-31"]),
    st.datetimes(datetime(2024, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC)),  # noqa: DTZ001 - Hypothesis wants them so
)
def test_the_next_run_is_the_first_second_that_fits(second: str, minute: str, hour: str, day: str, now: datetime):
    """Compared with looking at every second of the next minute, and with the run after it."""
    schedule = ncrontab.parse(f"{second} {minute} {hour} {day} * *")
    assert isinstance(schedule, ncrontab.Cron)
    due = schedule.after(now)
    whole = now.replace(microsecond=0)
    seconds = (whole + timedelta(seconds=number) for number in range(1, 61))
    fitting = [one for one in seconds if _fits(schedule, one)]
    assert due > now
    assert _fits(schedule, due)
    assert due == fitting[0] if fitting else due > whole + timedelta(seconds=60)


def _fits(schedule: ncrontab.Cron, moment: datetime) -> bool:
    return (
        moment.second in schedule.seconds
        and moment.minute in schedule.minutes
        and moment.hour in schedule.hours
        and moment.day in schedule.days
    )
