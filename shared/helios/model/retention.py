"""How long Helios stores what grows with the events. What no limit names is stored forever."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final, Literal, get_args

import msgspec

from helios.errors import ConfigurationError

Topic = Literal["events", "unarchived_events", "ids", "flows", "dead_letters", "audit", "counts"]
TOPICS: tuple[Topic, ...] = get_args(Topic)

MIN_EVENT_DAYS = 7
"""Frames, which refer to events by their partition, are stored for up to seven days."""

MAX_DAYS = 36_500

MAX_AHEAD = timedelta(days=1)
"""How far the clock of a sender may be ahead, if identities are removed. An identity is stored for longer by this time,
so that an event is not forgotten before its own time is older than the horizon."""

HOURS_FOR = 12
"""Sums by the hour are stored for this many times as long as those by the minute, and those by the day forever."""


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """The limits; None: forever.

    Attributes:
        events: events, which are dropped by whole partitions, and only if the archive has all of them.
        unarchived_events: events that are dropped although no archive has them.
        ids: the identities of events: the identity horizon.
        flows: flow instances that are settled, and incidents that are resolved, by the time when they opened; manifests
            and balances, by their minute.
        dead_letters: dead letters, by the last time they were received.
        audit: audit log entries and ended replay jobs.
        counts: counts by the minute. They become counts by the hour, and after HOURS_FOR times as long by the day.
    """

    events: timedelta | None = None
    unarchived_events: timedelta | None = None
    ids: timedelta | None = None
    flows: timedelta | None = None
    dead_letters: timedelta | None = None
    audit: timedelta | None = None
    counts: timedelta | None = None

    @property
    def payloads(self) -> timedelta | None:
        """How long events are stored in Postgres, archived or not."""
        return self.events or self.unarchived_events


def parse(text: str) -> Retention:
    """Read ``topic=days`` pairs, separated by spaces: ``events=90 ids=400``.

    Raises:
        ConfigurationError: a pair has another form, or the limits contradict each other.
    """
    limits: dict[str, timedelta] = {}
    for pair in text.split():
        topic, _, days = pair.partition("=")
        if topic not in TOPICS:
            raise _error(f"{topic!r} is not one of {', '.join(TOPICS)}")
        if topic in limits:
            raise _error(f"{topic} is named twice")
        if not (days.isascii() and days.isdigit() and 1 <= int(days) <= MAX_DAYS):
            raise _error(f"{topic} needs a number of days from 1 to {MAX_DAYS}, not {days!r}")
        limits[topic] = timedelta(days=int(days))
    _check(limits)
    return msgspec.convert(limits, Retention)


def _check(limits: Mapping[str, timedelta]) -> None:
    if "events" in limits and "unarchived_events" in limits:
        raise _error("events and unarchived_events exclude each other")
    name = "events" if "events" in limits else "unarchived_events"
    payloads = limits.get(name)
    if payloads is not None and payloads < timedelta(days=MIN_EVENT_DAYS):
        raise _error(f"{name} must be at least {MIN_EVENT_DAYS}: clients of the stream may still read these events")
    if "ids" in limits and (payloads is None or limits["ids"] < payloads):
        raise _error(f"ids must not be less than {name}: an event whose identity is forgotten would be stored twice")


def _error(reason: str) -> ConfigurationError:
    return ConfigurationError(f"HELIOS_RETENTION: {reason}. Example: events=90 ids=400 flows=400 counts=30")


DEFAULT_LOG_HORIZON: Final = timedelta(days=30)
"""How long the job of Flink knows identities and records if HELIOS_RETENTION names no days of ``ids``: the state of a
stream processor has to end somewhere."""


def log_horizon(text: str | None) -> timedelta:
    """How long the job of Flink knows identities and records, by HELIOS_RETENTION."""
    return (parse(text).ids if text else None) or DEFAULT_LOG_HORIZON
