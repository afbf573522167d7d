"""Opens and resolves incidents: by what frames say about causes, by silent sources, and by consumers that stand still.

Ingest does not write incidents. It puts what it adds to each cause into its frame, and the process that gives frames
their positions passes it on. One process at a time makes incidents of it, so that no two batches share a row.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from msgspec.structs import replace

from helios.model.balances import COUNTED_FOR
from helios.model.counts import MinuteCount
from helios.model.incidents import SEVERITY_OF, Cause, CauseCount, Incident, Transition, TransitionKind, cause_of
from helios.ports.counts import CountReader
from helios.ports.incidents import IncidentStore, IncidentTurn
from helios.ports.stream import Outbox
from helios.reconciliation.silence import LOOKBACK, silent
from helios.sources.registry import CLOUDS, Sources

log = logging.getLogger("helios.incidents")

QUIET: Final = timedelta(minutes=10)
"""An incident is resolved when its cause has not been seen for this long."""

CALM: Final = timedelta(minutes=1)
"""An incident whose instances were all repaired is resolved this long after the last repair. Not at once: a cause that
breaks one order after the other, each of which is repaired, is one incident."""

STUCK: Final = timedelta(minutes=2)
"""A consumer for which a frame has waited this long stands still. The longest pause of a consumer that works is one
minute, between two notifications that are lost."""

MAX_REASONS: Final = 50
"""The most open incidents about dead letters of one source, and the most about its missing events. Further reasons or
types share one incident: senders choose what the reasons quote, and the types."""

FORGOTTEN: Final = COUNTED_FOR
"""After this long no missing event is counted any more, and its incident is resolved."""


class _Conditions(NamedTuple):
    """What holds now, as opposed to what happened.

    Attributes:
        present: the causes that hold.
        last_events: the minute of the last event of each source.
    """

    present: list[Cause]
    last_events: Mapping[str, datetime]


class IncidentJob:
    """Keeps the incidents up to date."""

    def __init__(
        self,
        store: IncidentStore,
        *,
        outbox: Outbox,
        counts: CountReader,
        sources: Sources = CLOUDS,
        consumers: Sequence[str] = (),
    ) -> None:
        """Take the ports.

        Args:
            store: holds the incidents.
            outbox: gives frames their positions, and knows the consumers.
            counts: the counts of each minute, by which a source is silent.
            sources: the names of the sources, for titles.
            consumers: the consumers that must be there, even if they have never run.
        """
        self._store = store
        self._outbox = outbox
        self._counts = counts
        self._sources = sources
        self._consumers = consumers

    def run(self, now: datetime) -> list[Transition]:
        """Open, update and resolve incidents, and return the transitions; none if another process does it now.

        Raises:
            Retryable: the store can't be reached. Nothing was changed; the next run does all of it.
        """
        self._outbox.number()
        conditions = self._conditions(now)
        with self._store.turn() as turn:
            if turn is None:
                return []
            before = turn.open_incidents()
            incidents = {incident.cause.key: incident.id for incident in before}
            opened = set(self._see(turn, conditions.present, incidents, now))
            opened |= set(self._count(turn, incidents, now))
            updated = _see_emptied(turn, before, now)
            transitions = list(self._transitions(turn, updated, opened, conditions, now))
            turn.announce(transitions)
        for transition in transitions:
            log.info("incident", extra={"what": transition.what, "id": transition.incident.id, "key": transition.key})
        return transitions

    def _conditions(self, now: datetime) -> _Conditions:
        minutes = self._counts.minutes(now - LOOKBACK)
        present = [Cause(kind="silence", source=source) for source in silent(minutes, now)]
        present += [
            Cause(kind="consumer", consumer=consumer.name)
            for consumer in self._outbox.consumers(*self._consumers)
            if consumer.wait_seconds(now) > STUCK.total_seconds()
        ]
        return _Conditions(present, _last_events(minutes))

    def _see(self, turn: IncidentTurn, present: Sequence[Cause], incidents: dict[str, int], now: datetime) -> list[int]:
        """Open an incident for each condition that has none, and return the new ones; the others are seen again."""
        turn.see([incidents[cause.key] for cause in present if cause.key in incidents], now)
        return [self._open(turn, cause, incidents, now) for cause in present if cause.key not in incidents]

    def _count(self, turn: IncidentTurn, incidents: dict[str, int], now: datetime) -> list[int]:
        """Add what frames say about causes to their incidents, and return the new incidents."""
        added: defaultdict[int, list[CauseCount]] = defaultdict(list)
        opened = []
        for count in turn.counts():
            if count.number <= 0:
                _take(turn, count)
                continue
            cause = _within_bounds(cause_of(count.key), incidents)
            id_ = incidents.get(cause.key)
            if id_ is None and cause.kind == "silence":
                # The source sends again, and an order still waits for it during the grace period.
                id_ = turn.latest(cause.key)
            elif id_ is None:
                id_ = self._open(turn, cause, incidents, now)
                opened.append(id_)
            if id_ is not None:
                added[id_].append(count)
        for id_, counts in added.items():
            turn.add(id_, counts)
        turn.see([*added], now)
        return opened

    def _open(self, turn: IncidentTurn, cause: Cause, incidents: dict[str, int], now: datetime) -> int:
        id_ = turn.open(cause, title=title_of(cause, self._sources), severity=SEVERITY_OF[cause.kind], at=now)
        incidents[cause.key] = id_
        return id_

    def _transitions(
        self,
        turn: IncidentTurn,
        incidents: Sequence[Incident],
        opened: set[int],
        conditions: _Conditions,
        now: datetime,
    ) -> list[Transition]:
        """What happens to each open incident now. One that has just been opened is not resolved in the same turn."""
        changes: list[tuple[TransitionKind, Incident]] = []
        for incident in incidents:
            if incident.id in opened:
                changes.append(("opened", incident))
            elif resolution := _resolution(incident, conditions, now):
                turn.resolve(incident.id, resolution, now)
                changes.append(("resolved", replace(incident, resolved_at=now, resolution=resolution)))
            elif incident.snoozed_until and incident.snoozed_until <= now:
                turn.end_snooze(incident.id)
                changes.append(("reminded", replace(incident, snoozed_until=None)))
        return [Transition(what=what, at=now, incident=incident) for what, incident in changes]


def title_of(cause: Cause, sources: Sources = CLOUDS) -> str:
    """The cause in words."""
    source = sources.label(cause.source) if cause.source else ""
    match cause.kind:
        case "flow":
            legs = " and ".join(cause.legs)
            issue = (cause.issue or "").replace("_", " ")
            return f"{cause.flow}: {issue}: {f'{cause.field} of {legs}' if cause.field else legs}"
        case "silence":
            return f"{source} is silent"
        case "dead_letters":
            what = f"{cause.field} {cause.reason}" if cause.reason else "other reasons"
            return f"Dead letters of {source}: {what}"
        case "consumer":
            return f"The consumer {cause.consumer} does not advance"
        case "drift":
            return f"{source}: {cause.type or 'events of other types'}: published, but not arrived"


def _resolution(incident: Incident, conditions: _Conditions, now: datetime) -> str | None:
    """Why an incident is resolved now; None if it is not."""
    cause, unseen = incident.cause, now - incident.seen_at
    match cause.kind:
        case "silence":
            # Not when it no longer counts as silent: after two hours nothing is expected of it, and it is still silent.
            last = conditions.last_events.get(cause.source or "")
            return (
                "The source sends again"
                if last and last >= incident.opened_at.replace(second=0, microsecond=0)
                else None
            )
        case "consumer":
            return None if cause in conditions.present else "The consumer has caught up"
        case "flow" | "drift" if incident.number <= 0 and unseen >= CALM:
            return (
                "Every instance is repaired or resolved" if cause.kind == "flow" else "Every missing event has arrived"
            )
        case "drift":
            return "The missing events are a day old" if unseen >= FORGOTTEN else None
        case "flow":
            return f"No further instance for {_minutes(QUIET)} minutes" if unseen >= QUIET else None
        case "dead_letters":
            return f"No further delivery for {_minutes(QUIET)} minutes" if unseen >= QUIET else None


def _within_bounds(cause: Cause, incidents: Mapping[str, int]) -> Cause:
    """The cause, or that of all further reasons or types if its source has many incidents of this kind already."""
    if cause.kind not in {"dead_letters", "drift"} or cause.key in incidents:
        return cause
    known = Counter(other.source for other in map(cause_of, incidents) if other.kind == cause.kind)
    return cause if known[cause.source] < MAX_REASONS else _shared(cause)


def _shared(cause: Cause) -> Cause:
    """The cause that the further reasons or types of a source share."""
    return Cause(kind=cause.kind, source=cause.source)


def _see_emptied(turn: IncidentTurn, before: Sequence[Incident], now: datetime) -> list[Incident]:
    """The open incidents now; one whose last instance this turn has taken is seen, so that CALM begins here."""
    counted = {incident.id for incident in before if incident.number > 0}
    incidents = turn.open_incidents()
    emptied = [incident.id for incident in incidents if incident.id in counted and incident.number <= 0]
    turn.see(emptied, now)
    return [replace(incident, seen_at=now) if incident.id in emptied else incident for incident in incidents]


def _take(turn: IncidentTurn, count: CauseCount) -> None:
    """Take from incidents; the missing events of a type may have been counted by the one that types share."""
    left, cause = turn.take(count), cause_of(count.key)
    if left and cause.kind == "drift":
        turn.take(left._replace(key=_shared(cause).key))


def _last_events(minutes: Sequence[MinuteCount]) -> dict[str, datetime]:
    """The minute of the last event of each source; the counts are sorted by minute."""
    return {count.source: count.minute for count in minutes if count.stored}


def _minutes(period: timedelta) -> int:
    return period // timedelta(minutes=1)
