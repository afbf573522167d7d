"""The schedules of timer triggers: six-field NCRONTAB expressions, and intervals.

The rules are those of Microsoft's "Timer trigger for Azure Functions" and of NCrontab, the library behind it: a day
must fit both the day of the month and the day of the week.
"""

import re
from datetime import datetime, timedelta
from typing import NamedTuple

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_PART = re.compile(r"(?P<first>\*|\w+)(?:-(?P<last>\w+))?(?:/(?P<step>\d+))?")
_INTERVAL = re.compile(r"(?:(\d+)\.)?(\d{1,2}):(\d{2}):(\d{2})")
_SEARCH_DAYS = 366 * 8
"""Eight years contain every possible date; there is no 29 February in 2100, for example."""
_CRON_FIELDS = 5
_DAYS_OF_WEEK = 7


class _Field(NamedTuple):
    name: str
    least: int
    most: int
    words: tuple[str, ...] = ()


_FIELDS = (
    _Field("second", 0, 59),
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of week", 0, 6, _DAYS),
)


class Interval(NamedTuple):
    """A fixed time between two runs."""

    every: timedelta

    def after(self, moment: datetime) -> datetime:
        """The next run."""
        return moment + self.every


class Cron(NamedTuple):
    """The values that each field allows, ascending."""

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]

    def after(self, moment: datetime) -> datetime:
        """The first moment later than this one that fits.

        Raises:
            ValueError: no date fits, such as 30 February.
        """
        start = moment.replace(microsecond=0) + timedelta(seconds=1)
        if self._has(start) and (time := self._time_from(start)):
            return time
        midnight = start.replace(hour=0, minute=0, second=0)
        for _ in range(_SEARCH_DAYS):
            midnight += timedelta(days=1)
            if self._has(midnight):
                return midnight.replace(hour=self.hours[0], minute=self.minutes[0], second=self.seconds[0])
        raise ValueError("no date fits the schedule")

    def _has(self, date: datetime) -> bool:
        weekday = date.isoweekday() % _DAYS_OF_WEEK  # Sunday is 0
        return date.month in self.months and date.day in self.days and weekday in self.weekdays

    def _time_from(self, start: datetime) -> datetime | None:
        """The first time of this day that fits, at or after ``start``."""
        for hour in self.hours:
            for minute in self.minutes if hour >= start.hour else ():
                for second in self.seconds if (hour, minute) >= (start.hour, start.minute) else ():
                    time = start.replace(hour=hour, minute=minute, second=second)
                    if time >= start:
                        return time
        return None


def parse(expression: str) -> Cron | Interval:
    """The schedule in a text: ``0 */5 * * * *``, five fields (the second is 0), or an interval such as ``01:30:00``.

    Raises:
        ValueError: the text is not a schedule; the message names the field.
    """
    if interval := _INTERVAL.fullmatch(expression.strip()):
        days, hours, minutes, seconds = (int(part or 0) for part in interval.groups())
        every = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        if not every:
            raise ValueError(f"the schedule {expression} is an interval of zero")
        return Interval(every)
    texts = expression.split()
    if len(texts) == _CRON_FIELDS:
        texts.insert(0, "0")
    if len(texts) != len(_FIELDS):
        raise ValueError(f"the schedule {expression!r} has {len(texts)} fields, not {len(_FIELDS)}")
    return Cron(*(_values(text, field) for text, field in zip(texts, _FIELDS, strict=True)))


def _values(text: str, field: _Field) -> tuple[int, ...]:
    values: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if not match:
            raise ValueError(f"the {field.name} {text!r} is invalid")
        step = int(match["step"] or 1)
        if match["first"] == "*":
            first, last = field.least, field.most
        else:
            first = _number(match["first"], field)
            # 5/15 means from 5 upwards; 5 alone means only 5.
            last = _number(match["last"], field) if match["last"] else (field.most if match["step"] else first)
        if not step or first > last:
            raise ValueError(f"the {field.name} {text!r} allows no value")
        values |= set(range(first, last + 1, step))
    return tuple(sorted(values))


def _number(text: str, field: _Field) -> int:
    word = text[:3].lower()
    if text.isalpha() and word in field.words:
        return field.words.index(word) + field.least
    if not text.isdigit() or not field.least <= int(text) <= field.most:
        raise ValueError(f"the {field.name} {text!r} is not from {field.least} to {field.most}")
    return int(text)
