"""Which clouds have gone silent, by the counts of each minute: one incident, and not many verdicts."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from helios.model.counts import MinuteCount
from helios.model.sources import BUILT_IN, UNKNOWN, Source

LOOKBACK = timedelta(hours=2)
"""How much of the counts is read: a cloud that has been silent for longer is not expected to send."""

BASELINE = timedelta(minutes=30)
"""The period before a cloud's last event that gives its usual rate."""

MIN_SILENCE = timedelta(seconds=20)
"""The shortest pause that counts as silence. It is measured from the end of the minute of the last event, so silence is
detected after 20 to 80 seconds."""

MIN_EVENTS = 10
"""A pause is silence only if at least this many events were due from the cloud, and another cloud sent this many."""

ACTIVE_SHARE = 0.25
"""The share of its usual rate at which another cloud counts as active: the last events of a shop that has closed do not
reach this rate."""

_MINUTE = timedelta(minutes=1)

_EventsByMinute = Mapping[Source, Mapping[datetime, int]]


def silent(minutes: Sequence[MinuteCount], at: datetime) -> list[Source]:
    """The clouds that have stored no event for unusually long, while another cloud is active.

    Args:
        minutes: the counts from ``at - LOOKBACK`` on, or earlier.
        at: the moment in question.
    """
    events: dict[Source, dict[datetime, int]] = {source: {} for source in BUILT_IN}
    for count in minutes:
        if count.source != UNKNOWN and count.stored and at - LOOKBACK <= count.minute < at:
            events.setdefault(count.source, {})[count.minute] = count.stored
    return [source for source, by_minute in events.items() if by_minute and _is_silent(source, events, at)]


def deferring_sources(minutes: Sequence[MinuteCount], now: datetime, grace: timedelta) -> set[Source]:
    """The clouds that are silent, or were within the grace period: their legs are not missing yet."""
    this_minute = now.replace(second=0, microsecond=0)
    back = range(-(-min(grace, LOOKBACK / 2) // _MINUTE) + 1)
    moments = [now, *(this_minute - number * _MINUTE for number in back)]
    return {source for at in moments for source in silent(minutes, at)}


def _is_silent(source: Source, events: _EventsByMinute, at: datetime) -> bool:
    last_heard = max(events[source]) + _MINUTE
    if at - last_heard < MIN_SILENCE:
        return False
    begin = max(last_heard - BASELINE, min(minute for by_minute in events.values() for minute in by_minute))
    pause = (at - last_heard) / (last_heard - begin)

    def baseline(cloud: Source) -> dict[datetime, int]:
        return {minute: number for minute, number in events[cloud].items() if begin <= minute < last_heard}

    def is_active(other: Source) -> bool:
        number_since = sum(number for minute, number in events[other].items() if minute >= last_heard)
        return number_since >= max(MIN_EVENTS, ACTIVE_SHARE * pause * sum(baseline(other).values()))

    others = {minute for other in events if other != source for minute in baseline(other)}
    own = baseline(source)
    return (
        pause * sum(own.values()) >= MIN_EVENTS
        and 2 * len(own.keys() & others) >= len(others)  # the cloud does not usually pause while others send
        and any(is_active(other) for other in events if other != source)
    )
