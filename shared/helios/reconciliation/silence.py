"""Which clouds have fallen silent, as the ledger's minutes tell: one incident, and no verdicts because of it."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from helios.model.counts import MinuteCount
from helios.model.events import SOURCES, Source

LISTENED = timedelta(hours=2)
"""So far back the ledger is read: a cloud that has been silent for longer is not expected to speak."""

USUAL = timedelta(minutes=30)
"""What is usual for a cloud is what it did in so long a time before it was last heard."""

LEAST_QUIET = timedelta(seconds=20)
"""How long a cloud says nothing, at least, before that is silence; reckoned from the end of the minute in which it was
last heard, so that it is noticed after 20 to 80 seconds."""

LEAST_EVENTS = 10
"""So many events must have been due from the cloud, and have come from another, before silence is no accident."""

SPEAKING = 0.25
"""The share of its usual rate at which another cloud still speaks: stragglers of a shop that has closed do not."""

_MINUTE = timedelta(minutes=1)

_Spoken = Mapping[Source, Mapping[datetime, int]]


def silent(minutes: Sequence[MinuteCount], at: datetime) -> list[Source]:
    """The clouds that have said nothing for a while, by their own measure, although another speaks.

    Args:
        minutes: the ledger from ``at - LISTENED`` on, or earlier.
        at: the moment in question.
    """
    spoken: dict[Source, dict[datetime, int]] = {source: {} for source in SOURCES}
    for one in minutes:
        if one.source != "unknown" and one.stored and at - LISTENED <= one.minute < at:
            spoken[one.source][one.minute] = one.stored
    return [source for source, told in spoken.items() if told and _is_silent(source, spoken, at)]


def excused(minutes: Sequence[MinuteCount], now: datetime, grace: timedelta) -> set[Source]:
    """The clouds that are silent, or were within the grace: what they do not tell is not missing yet."""
    this_minute = now.replace(second=0, microsecond=0)
    back = range(-(-min(grace, LISTENED / 2) // _MINUTE) + 1)
    moments = [now, *(this_minute - number * _MINUTE for number in back)]
    return {source for at in moments for source in silent(minutes, at)}


def _is_silent(source: Source, spoken: _Spoken, at: datetime) -> bool:
    heard = max(spoken[source]) + _MINUTE
    if at - heard < LEAST_QUIET:
        return False
    begin = max(heard - USUAL, min(minute for told in spoken.values() for minute in told))
    quiet = (at - heard) / (heard - begin)

    def before(one: Source) -> dict[datetime, int]:
        return {minute: number for minute, number in spoken[one].items() if begin <= minute < heard}

    def speaks(other: Source) -> bool:
        said = sum(number for minute, number in spoken[other].items() if minute >= heard)
        return said >= max(LEAST_EVENTS, SPEAKING * quiet * sum(before(other).values()))

    others = {minute for other in SOURCES if other != source for minute in before(other)}
    own = before(source)
    return (
        quiet * sum(own.values()) >= LEAST_EVENTS
        and 2 * len(own.keys() & others) >= len(others)  # it is no cloud that speaks now and then
        and any(speaks(other) for other in SOURCES if other != source)
    )
